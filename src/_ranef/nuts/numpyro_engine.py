"""Sampling by NumPyro: the module behind the gate, which imports jax.

All arithmetic is in double precision and under JAX's default settings inside
:func:`~_ranef.nuts.jax_settings.own_settings`, so that the user's own stay as they are and do not matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints

from _ranef.errors import FitError
from _ranef.nuts.callbacks import asked_posterior, asked_roots, hosted_model
from _ranef.nuts.collapsed_model import collapsed_model, fits_in_jax, log_likelihood
from _ranef.nuts.jax_settings import own_settings, require_device
from _ranef.nuts.joint_model import degrees_sites, joint_data, joint_model, joint_shape
from _ranef.nuts.sampled_priors import Sampled
from _ranef.nuts.sampler import Code, log_posterior, run_nuts
from _ranef.posterior.blocks import Shape, collapsed_arrays
from _ranef.posterior.joint_draws import joint_effects, with_degrees
from _ranef.posterior.layout import unconstrained_values
from _ranef.posterior.modes import Laplace, Modes, doubts, find_modes, modes_of
from _ranef.posterior.problem import Gradient, Hyper, Problem, draw_effects, hyper_draws, prepare_draws
from _ranef.posterior.sampler_record import Outcome, Raw, nothing_to_sample
from _ranef.posterior.settings import Settings
from _ranef.posterior.start import effect_positions, start_vectors
from _ranef.results import RemlEstimates
from _ranef.support.arrays import Floats
from _ranef.support.checkpoints import Checkpoint

__all__ = ["collapsed_density", "sample_asked", "sample_joint", "sample_marginal"]


def collapsed_density(problem: Problem) -> Callable[[Floats, float], float]:
    """Log p(y | θ, σ) of a problem all of whose coefficients are integrated out, by JAX."""
    data = collapsed_arrays(problem.blocks, problem.fixed, problem.shape, problem.fill)
    compiled = jax.jit(partial(log_likelihood, problem.shape, roots=asked_roots(problem.roots)))

    def density(theta: Floats, sigma: float) -> float:
        with own_settings():
            at = Sampled(jnp.asarray(theta, dtype=float), jnp.asarray(float(sigma)), jnp.zeros(0), jnp.zeros(0))
            return float(compiled(data, at))

    return density


def sample_marginal(
    problem: Problem,
    settings: Settings,
    warmup: int,
    seed: int,
    start: RemlEstimates | None,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """Sample the variance parameters, then draw β and b exactly."""
    with _computing_on(settings.device), contextlib.ExitStack() as stack:
        shape, roots = problem.shape.padded, asked_roots(problem.sampled_roots)
        hosted = not fits_in_jax(shape) or not problem.known_law or problem.asks_loops
        _refuse_unknown(problem, hosted=hosted)
        data: dict[str, Any] = {"hyper": _double(problem.numbers)}
        if hosted and (problem.rows is not None or problem.asks_loops):
            d = problem.layout.n_hyper
            code = Code(asked_posterior(problem.gradient, d), (("q", d),), None)
        elif hosted:
            data["fill"] = problem.sampled_fill
            code = Code(hosted_model(problem.layout, problem.host, roots), problem.layout.sites, None)
        else:
            data["collapsed"] = problem.arrays(shape)
            code = _collapsed(problem, shape)
        background = ThreadPoolExecutor(1)
        stack.callback(background.shutdown, wait=False)  # Ctrl-C does not wait for it
        background.submit(prepare_draws, problem)
        modes = _modes(problem, None if hosted and problem.layout.plain else code, data, start, seed)
        at = modes.best
        rng = np.random.default_rng(seed)
        positions = {"hyper": modes.starts(settings.chains, rng)}
        raw = nothing_to_sample(settings.chains, settings.draws)
        if len(at.centre):
            raw = run_nuts(
                code,
                data | {"centre": at.centre, "root": at.root},
                positions,
                jax.random.key(seed),
                settings,
                warmup,
                host=problem.host if hosted else None,
                checkpoint=checkpoint,
            )
        hyper = _hyper(problem, at, raw)
    return Outcome(raw, hyper, draw_effects(problem, hyper, rng), doubts(modes, raw.positions["hyper"]))


def sample_asked(
    problem: Problem,
    gradient: Gradient,
    modes: Modes,
    settings: Settings,
    warmup: int,
    seed: int,
    checkpoint: Checkpoint | None,
) -> Raw:
    """Sample a density that numpy computes, from around its modes."""
    at = modes.best
    with _computing_on(settings.device):
        code = Code(asked_posterior(gradient, len(at.centre)), (("q", len(at.centre)),), None)
        return run_nuts(
            code,
            {"centre": at.centre, "root": at.root.toarray() if hasattr(at.root, "toarray") else at.root},
            {"hyper": modes.starts(settings.chains, np.random.default_rng(seed))},
            jax.random.key(seed),
            settings,
            warmup,
            host=problem.host,
            checkpoint=checkpoint,
        )


def _collapsed(problem: Problem, shape: Shape) -> Code:
    """The model of what is not integrated out."""
    layout, roots, law = problem.layout, asked_roots(problem.sampled_roots), problem.law
    name = None if layout.custom or roots else f"marginal {layout} {shape} {law}"
    return Code(collapsed_model(layout, shape, roots, law), layout.sites, name)


def _refuse_unknown(problem: Problem, *, hosted: bool) -> None:
    """Refuse priors that numpy's density does not know, before anything is sampled."""
    if hosted and problem.layout.r2d2:
        raise FitError("R2D2 is not available for crossed designs as large as this; give coefficients normal priors.")
    if problem.rows is not None and problem.layout.custom:
        raise FitError(
            "Distributions of numpyro are not available beside residual variances with parameters; use the families of "
            "ranef.priors."
        )


def sample_joint(
    problem: Problem,
    settings: Settings,
    warmup: int,
    seed: int,
    start: RemlEstimates | None,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """Sample variance parameters, β and b together."""
    with _computing_on(settings.device):
        shape = joint_shape(problem, centered=settings.parameterization == "centered")
        arrays = joint_data(problem, shape)
        data: dict[str, Any] = {"hyper": _double(problem.numbers), "collapsed": arrays}
        roots = asked_roots(problem.sampled_roots)
        custom = bool(problem.layout.custom or roots)
        name = None if custom else f"joint {problem.layout} {shape} {problem.law}"
        code = Code(joint_model(problem.layout, shape, roots, problem.law), problem.layout.sites, name)
        if fits_in_jax(problem.shape):
            within = {"hyper": data["hyper"], "collapsed": arrays}
            modes = _modes(problem, _collapsed(problem, problem.shape), within, start, seed)
        else:
            raise FitError(
                f"parameterization={settings.parameterization!r} is not available for crossed designs as large as this "
                "one; parameterization='marginal' is."
            )
        at, rng = modes.best, np.random.default_rng(seed)
        positions: dict[str, Any] = {}
        if len(at.centre):
            positions["hyper"] = modes.starts(settings.chains, rng)
        positions |= effect_positions(problem, start, settings.chains, rng, centered=shape.centered)
        positions |= _extra_positions(shape.effects, problem, degrees_sites(shape), settings.chains, rng)
        whole = data | {"centre": at.centre, "root": at.root}
        raw = run_nuts(code, whole, positions, jax.random.key(seed), settings, warmup, checkpoint=checkpoint)
        hyper = _hyper(problem, at, raw)
        own = with_degrees(problem, raw.positions, hyper)
        normal = problem.spec.family.collapses and not problem.priors.effects  # else the modes are approximate
        words = doubts(modes, raw.positions["hyper"]) if normal and len(at.centre) else ()
        return Outcome(raw, own, joint_effects(problem, raw.positions, hyper), words)


@contextlib.contextmanager
def _computing_on(device: Any) -> Any:
    """Double precision, and the device asked for, within the block only."""
    with own_settings(), contextlib.ExitStack() as stack:
        require_device()
        if device is not None:
            stack.enter_context(jax.default_device(_device(device)))
        yield


def _device(asked: Any) -> Any:
    if not isinstance(asked, str):
        return asked
    try:
        return jax.devices(asked)[0]
    except RuntimeError as error:
        found = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise FitError(f"device={asked!r} is not there: JAX finds {found}. Install a JAX that supports it.") from error


def _double(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the numbers of numpyro's distributions in double precision."""
    return {**numbers, "custom": jax.tree.map(lambda v: np.asarray(v, dtype=float), numbers["custom"])}


def _modes(
    problem: Problem, code: Code | None, data: Mapping[str, Any], start: RemlEstimates | None, seed: int
) -> Modes:
    """The modes, by the host where there is no `code`."""
    if code is None:
        return modes_of(problem, start, seed)
    supports = dict(zip(problem.layout.custom, (d.support for d in problem.numbers["custom"]), strict=True))

    def inverse(name: str, value: float) -> float:
        q = float(biject_to(supports[name]).inv(value))
        return q if np.isfinite(q) else 0.0

    d = problem.layout.n_hyper
    arrays = jax.tree.map(jnp.asarray, {**data, "centre": np.zeros(d), "root": np.eye(d)})
    compiled = log_posterior(code)

    def gradient(q: Floats) -> tuple[float, Floats]:
        value, slope = compiled(jnp.asarray(q), arrays)
        return float(value), np.asarray(slope)

    by_jax: Gradient = gradient
    return find_modes(by_jax, start_vectors(problem, start, inverse), seed)


def _hyper(problem: Problem, at: Laplace, raw: Raw) -> Hyper:
    shape = raw.stats["diverging"].shape
    w = raw.positions.get("hyper", np.zeros((*shape, 0)))
    flat = at.centre + w @ at.root.T
    values = unconstrained_values(problem.layout, flat)
    custom = {}
    for name, d in zip(problem.layout.custom, problem.numbers["custom"], strict=True):
        custom[name] = np.asarray(biject_to(d.support)(jnp.asarray(values[f"custom_{name}"][..., 0])))
    if problem.layout.r2d2:
        custom["R2"] = np.asarray(biject_to(constraints.unit_interval)(jnp.asarray(values["r2"][..., 0])))
        custom["phi"] = np.ones((*shape, 1))
        if problem.layout.r2d2 > 1:
            custom["phi"] = np.asarray(biject_to(constraints.simplex)(jnp.asarray(values["phi"])))
    return hyper_draws(problem, flat, custom)


def _extra_positions(
    effects: tuple[str, ...], problem: Problem, degrees: list[str], chains: int, rng: np.random.Generator
) -> dict[str, Floats]:
    """Logarithms of scales of levels and of degrees of freedom to start from."""
    out = {name: np.log(10.0) + 0.3 * rng.standard_normal(chains) for name in degrees}
    for k, kind in enumerate(effects):
        if kind != "normal":
            out[f"mix{k}"] = 0.1 * rng.standard_normal((chains, problem.products.A.n_levels[k]))
    return out
