"""Draws of a posterior: which sampler takes which model, and what its outcome becomes.

JAX and numpyro are loaded here, by the first run that needs them.
"""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from _ranef.errors import FitError, NotAvailableError, RanefWarning, warn
from _ranef.likelihood import CrossProducts
from _ranef.nuts.nutpie_run import require_nutpie, run_nutpie
from _ranef.nuts.run_checkpoint import checkpoint_of
from _ranef.posterior.batched import Points
from _ranef.posterior.direct import NotDirect, require_direct, run_direct
from _ranef.posterior.generalised_density import Collapsed, joint_modes
from _ranef.posterior.generalised_draws import joint_outcome, weighted_outcome
from _ranef.posterior.layout import make_layout
from _ranef.posterior.modes import doubts, modes_of
from _ranef.posterior.problem import Problem, draw_effects, hyper_draws, prepare
from _ranef.posterior.sampler_record import Outcome, nothing_to_sample
from _ranef.posterior.settings import Settings
from _ranef.results import Importance, PosteriorDraws, RemlEstimates, response_fields
from _ranef.spec import Generalised, ModelSpec, Priors
from _ranef.support.arrays import Floats
from _ranef.support.checkpoints import Checkpoint
from _ranef.support.interrupts import deferred
from _ranef.support.progress import LateBar

__all__ = ["log_density", "require_sampler", "sample_posterior"]

#: warm-up steps where chains start at the posterior mode with its curvature for a metric, and elsewhere
SHORT_WARMUP, LONG_WARMUP = 200, 1000


_gate = threading.Lock()


def _engine() -> Any:
    """The module that imports jax and numpyro."""
    with deferred(), _gate:
        return _loaded_engine()


@cache
def _loaded_engine() -> Any:
    """Load it, and put back what that changes elsewhere: jax draws from numpy's global generator."""
    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings():  # of the whole process: hence once only, and one thread at a time
        warnings.filterwarnings("ignore", message="IProgress not found")  # numpyro's, in notebooks without widgets
        # arviz may have left numpyro to be loaded lazily: submodules loaded before it would be there twice
        _ = import_module("numpyro").__version__
        engine = import_module("_ranef.nuts.numpyro_engine")
    np.random.set_state(state)  # noqa: NPY002
    return engine


def sample_posterior(
    spec: ModelSpec,
    *,
    priors: Priors,
    settings: Settings | None = None,
    start: RemlEstimates | None = None,
    products: CrossProducts | None = None,
) -> PosteriorDraws:
    """Draw from the posterior of a model.

    Parameters
    ----------
    spec : ModelSpec
    priors : Priors
    settings : Settings, optional
        Of the sampler; by default 4 chains of 1000 draws, the marginal parameterization where the model allows it.
    start : RemlEstimates, optional
        The REML optimum, from which the posterior mode is sought.
    products : CrossProducts, optional
        Those of `spec`, where they are at hand already.

    Returns
    -------
    PosteriorDraws
        Interrupted while sampling (Ctrl-C), the draws until then, with ``complete=False`` and a warning.

    Raises
    ------
    FitError
        If settings and model do not go together, or the density is not finite where the chains begin.

    Examples
    --------
    >>> from ranef import datasets
    >>> from _ranef.design import build_design, registered
    >>> from _ranef.formula import parse_formula
    >>> from _ranef.spec import default_priors, model_spec
    >>> parsed = parse_formula("bright ~ 1 + (1 | operator)", functions=registered())
    >>> spec = model_spec(build_design(parsed, datasets.load("pulp")))
    >>> fit = sample_posterior(spec, priors=default_priors(spec), settings=Settings(draws=100, seed=1))
    >>> fit.theta.shape, fit.beta.shape, fit.b[0].shape
    ((4, 100, 1), (4, 100, 1), (4, 100, 4, 1))
    """
    settings = Settings() if settings is None else settings
    with LateBar(_doing(settings.sampler), "draw", silent=not settings.progress):
        return _sampled(spec, priors, settings, start, products)


def _doing(sampler: str) -> str:
    """What goes on, for whoever waits: most of a first time is compiling."""
    return {"direct": "Drawing from the posterior"}.get(sampler, f"Compiling and sampling by {sampler}")


def _sampled(
    spec: ModelSpec,
    priors: Priors,
    settings: Settings,
    start: RemlEstimates | None,
    products: CrossProducts | None,
) -> PosteriorDraws:
    begin = time.perf_counter()
    kind, notes = choose_parameterization(spec, priors, settings)
    if priors.flat:
        _require_levels(spec)
    require_sampler(spec, priors, settings)
    problem = prepare(spec, products, priors, start)
    checkpoint = None if settings.checkpoint is None else checkpoint_of(problem, settings, kind, start)
    seed = secrets.randbits(31) if settings.seed is None else int(settings.seed)
    seed = seed if checkpoint is None else checkpoint.seed
    asked, settings, out = settings, *_tried_directly(problem, settings.chosen(kind), seed, start, notes)
    if out is None and settings.sampler != asked.sampler:  # NUTS has another parameterization where effects are sampled
        kind, others = choose_parameterization(spec, priors, replace(asked, sampler=settings.sampler))
        settings, notes = settings.chosen(kind), [*others, *notes[-1:]]
    warmup = 0 if out else _warmup(spec, settings, kind, notes)
    if out is None:
        with deferred():  # Ctrl-C is let through between steps
            out = _run(problem, settings, warmup, seed, start, checkpoint)
    if settings.sampler != "direct" and out.importance is not None:
        notes.append(f"Draws were taken by weights of the exact over Laplace's density, {_of_weights(out.importance)}")
    _tell_of_interruption(out, settings)
    draws = _recorded(problem, settings, out, seed=seed, warmup=warmup, notes=(*notes, *priors.notes))
    return replace(draws, seconds=time.perf_counter() - begin)


def _warmup(spec: ModelSpec, settings: Settings, kind: str, notes: list[str]) -> int:
    """Steps of warm-up, with a note where few are enough."""
    if settings.warmup is not None:
        return settings.warmup
    by_numpy = isinstance(spec.family, Generalised) and (settings.sampler == "nutpie" or spec.related)
    if kind != "marginal" and not by_numpy:
        return LONG_WARMUP
    notes.append(f"{SHORT_WARMUP} warm-up steps: the chains start around the posterior mode, in its own metric.")
    return SHORT_WARMUP


def _tell_of_interruption(out: Outcome, settings: Settings) -> None:
    if not out.raw.complete:
        chains, each = out.hyper.sigma.shape[:2]
        warn(
            f"Sampling was interrupted: {each} of {settings.draws} draws are kept of each of {chains} of "
            f"{settings.chains} chains.",
            RanefWarning,
        )


def _recorded(
    problem: Problem, settings: Settings, out: Outcome, *, seed: int, warmup: int, notes: tuple[str, ...]
) -> PosteriorDraws:
    """The record of a run, its time apart."""
    kind = settings.parameterization
    beta, b = out.effects
    return PosteriorDraws(
        theta=out.hyper.theta,
        sigma=out.hyper.sigma,
        beta=beta,
        b=b,
        sample_stats=out.raw.stats,
        parameterization="partially centered" if kind == "auto" else kind,
        priors=problem.priors,
        seed=seed,
        warmup=warmup,
        seconds=0.0,
        complete=out.raw.complete,
        extras=out.hyper.extras,
        sampler=settings.sampler,
        notes=notes,
        doubts=out.doubts,
        target_accept=settings.target_accept,
        importance=out.importance,
        **response_fields(problem.spec.family),
    )


def _tried_directly(
    problem: Problem, settings: Settings, seed: int, start: RemlEstimates | None, notes: list[str]
) -> tuple[Settings, Outcome | None]:
    """Independent draws where they are asked for, and settings that say so; where NUTS is to take over a note why.

    Raises
    ------
    FitError
        If ``"direct"`` is asked for, and not to be had.
    """
    if settings.sampler not in ("direct", "auto"):
        return settings, None
    try:
        require_direct(problem, settings)
        with deferred():
            out = run_direct(problem, settings, seed, start)
    except NotDirect as reason:
        if settings.sampler == "direct":
            raise FitError(
                f"sampler='direct' cannot be used here: {reason}. sampler='auto' takes NUTS in such cases."
            ) from reason
        notes.append(f"NUTS by sampler='auto', as the direct posterior cannot be used: {reason}.")
        return replace(settings, sampler="numpyro"), None
    assert out.importance is not None
    notes.append(_of_independent(out.importance, settings.chains * settings.draws))
    return replace(settings, sampler="direct"), out


def _of_independent(found: Importance, size: int) -> str:
    repeated = "" if found.effective > 0.99 * size else f", worth {found.effective:.0f}, as some are repetitions"
    return (
        f"{size} independent draws{repeated}: no chain, and so no R-hat. They were chosen of {found.proposed} points "
        f"by weights of importance, {_of_weights(found)}"
    )


def _of_weights(found: Importance) -> str:
    k = f"{found.pareto_k:.2f}" if np.isfinite(found.pareto_k) else "none, as no weight is large"
    trusted = "(they are to be trusted below 0.7)"
    return f"worth {found.efficiency:.0%} of their number; Pareto k̂ of the weights: {k} {trusted}."


def _require_levels(spec: ModelSpec) -> None:
    """Refuse flat priors where the likelihood falls too slowly in θ: as θ^(p − J) for J levels of p fixed columns."""
    for t in spec.terms:
        J, p = spec.groupings[t.grouping].n_levels, len(t.columns)
        if set(t.columns) <= set(spec.design.fixed_names) and p + 1 >= J:
            raise FitError(
                f"Under flat priors the posterior of the variances of {t.text} is improper: {J} levels of {t.group} do "
                f"not bound it, and {p + 2} would. Give the sds priors, or take the default ones."
            )


def choose_parameterization(spec: ModelSpec, priors: Priors, settings: Settings) -> tuple[str, list[str]]:
    """The parameterization of a run, with the reason where it was chosen.

    Raises
    ------
    FitError
        If the one asked for cannot hold the model.
    """
    asked = settings.parameterization
    reasons = [f"the random effects of {', '.join(priors.effects)} are Student t"] if priors.effects else []
    reasons += [] if spec.family.collapses else [f"the response is {spec.family.label}"]
    if spec.rho_names and spec.rho is None and priors.r2d2 is not None:
        raise FitError("R2D2 is not available beside residual variances or correlations; give other priors.")
    if priors.rho and asked not in ("auto", "marginal"):
        raise FitError(
            f"A prior of {next(iter(priors.rho))!r} is sampled in the marginal parameterization only: leave "
            "parameterization= at its default."
        )
    by_rows = spec.residual.basis is None and asked not in ("auto", "marginal")
    if spec.rho_names and spec.rho is None and (reasons or by_rows):
        raise FitError(
            f"{' and '.join(spec.residual.calls)}: residual variances and correlations are sampled with normal "
            "effects and residuals, and where rows are read at every step in the marginal parameterization only. Leave "
            "the rest at its default."
        )
    if spec.related and isinstance(spec.family, Generalised):
        return _of_related(settings, priors)
    if spec.related and (reasons or asked not in ("auto", "marginal")):
        raise NotAvailableError(
            "A model with a known covariance among levels (cov=) is sampled with normal effects and a normal response, "
            "which are integrated out: parameterization='marginal' or 'auto'."
        )
    generalised = isinstance(spec.family, Generalised) and not priors.effects
    if generalised and settings.sampler in ("direct", "auto") and asked in ("auto", "marginal"):
        return "marginal", [
            "marginal parameterization: random effects and coefficients are integrated by Laplace's approximation, and "
            "draws of them weighted by the exact density."
        ]
    if generalised and asked == "marginal":
        return "marginal", [
            "marginal parameterization: random effects are integrated by Laplace's approximation, drawn afterwards, "
            "and draws taken by weights of the exact density."
        ]
    if asked == "auto" and not reasons:
        return "marginal", ["marginal parameterization: all random effects and residuals are normal."]
    if asked == "auto" and generalised and settings.sampler == "nutpie":
        return "auto", [
            "partially centred parameterization: effects stand in standard deviations that their rows leave them."
        ]
    if asked == "auto":
        return "noncentered", [f"non-centred parameterization: {' and '.join(reasons)}."]
    if asked == "marginal" and reasons:
        raise FitError(
            f"parameterization='marginal' integrates normal random effects out of a normal response, but "
            f"{' and '.join(reasons)}. Use 'noncentered' or 'auto'."
        )
    return asked, []


def _of_related(settings: Settings, priors: Priors) -> tuple[str, list[str]]:
    """Of a generalised response: effects are the root of their covariance times independent ones, which are sampled."""
    if priors.effects or settings.sampler == "direct" or settings.parameterization in ("marginal", "centered"):
        raise NotAvailableError(
            "A generalised response with a known covariance among levels (cov=) is sampled non-centred, with normal "
            "effects: parameterization='noncentered' or 'auto', by sampler='numpyro' or 'nutpie'."
        )
    return "noncentered", ["non-centred parameterization: levels have a known covariance."]


def require_sampler(spec: ModelSpec, priors: Priors, settings: Settings) -> None:
    """Refuse what settings and model cannot have together, before anything is computed.

    Raises
    ------
    FitError
        With what there is instead.
    """
    kind, _ = choose_parameterization(spec, priors, settings)
    generalised = isinstance(spec.family, Generalised)
    if kind == "marginal" and generalised and settings.sampler in ("numpyro", "nutpie"):
        _require_plain(spec, priors, "parameterization='marginal' of a generalised response")
    if settings.sampler != "nutpie":
        return
    require_nutpie()
    if settings.checkpoint is not None:
        raise FitError(
            "checkpoint= is for sampler='numpyro': nutpie does not hand out the state of its chains, from which they "
            "could go on."
        )
    if settings.warmup is not None and settings.warmup < 1:
        raise FitError(f"warmup={settings.warmup}: sampler='nutpie' needs one warm-up step or more; 200 are usual.")
    if settings.device is not None:
        raise FitError(f"device={settings.device!r} is for sampler='numpyro'; nutpie computes on the processor.")
    if kind != "marginal" and not generalised:
        raise FitError(
            f"sampler='nutpie' samples the marginal model only, and this run is {kind}. Use sampler='numpyro'."
        )
    if priors.effects:
        raise FitError(
            f"sampler='nutpie' does not know Student t effects (of {', '.join(priors.effects)}). Use sampler='numpyro'."
        )
    _require_plain(spec, priors, "sampler='nutpie'")


def _require_plain(spec: ModelSpec, priors: Priors, who: str) -> None:
    layout = make_layout(spec, priors)
    if not layout.plain:
        what = "R2D2" if layout.r2d2 else "a distribution of numpyro"
        raise FitError(
            f"{who} does not know {what} as a prior. Use sampler='numpyro' with its usual parameterization, or another "
            "family."
        )


def _run(
    problem: Problem,
    settings: Settings,
    warmup: int,
    seed: int,
    start: RemlEstimates | None,
    checkpoint: Checkpoint | None,
) -> Outcome:
    asked = settings.sampler == "nutpie" or settings.parameterization == "marginal" or problem.spec.related
    if problem.given is not None and asked:
        return _run_linked(problem, settings, warmup, seed, start, checkpoint)
    if settings.sampler == "nutpie":
        modes = modes_of(problem, start, seed)
        at = modes.best
        raw = nothing_to_sample(settings.chains, settings.draws)
        if len(at.centre):
            raw = run_nutpie(problem, modes, settings, warmup, seed)
        hyper = hyper_draws(problem, at.centre + raw.positions["hyper"] @ at.root.T)
        effects = draw_effects(problem, hyper, np.random.default_rng(seed))
        return Outcome(raw, hyper, effects, doubts(modes, raw.positions["hyper"]))
    sample = _engine().sample_marginal if settings.parameterization == "marginal" else _engine().sample_joint
    out: Outcome = sample(problem, settings, warmup, seed, start, checkpoint)
    return out


def _run_linked(
    problem: Problem,
    settings: Settings,
    warmup: int,
    seed: int,
    start: RemlEstimates | None,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """Of a generalised response the collapsed density or the joint one, as numpy computes them."""
    collapsed, whole, packed = Collapsed(problem), settings.parameterization == "marginal", None
    if whole:
        modes = collapsed.modes(start, seed)
        collapsed = replace(collapsed, near=collapsed.mode(modes.best.centre))
        gradient = collapsed.gradient
    else:
        joint, modes = joint_modes(problem, settings.parameterization, start, seed)
        gradient = joint.gradient
        packed = joint.packed(modes.best.centre, modes.best.root) if joint.by_loops else None
    if settings.sampler == "nutpie":
        raw = run_nutpie(problem, modes, settings, warmup, seed, gradient, packed)
    else:
        raw = _engine().sample_asked(problem, gradient, modes, settings, warmup, seed, checkpoint)
    flat = modes.best.outward(raw.positions["hyper"])
    return weighted_outcome(collapsed, flat, raw, seed) if whole else joint_outcome(joint, flat, raw)


def log_density(
    spec: ModelSpec, products: CrossProducts, priors: Priors, path: str = "numpy"
) -> Callable[[Floats, float], float]:
    """Collapsed log likelihood log p(y | θ, σ) as a plain function of (θ, σ) on the user's scale.

    β and b are integrated out under `priors`, which enter through β only; flat coefficients are integrated against
    Lebesgue measure, so with flat priors on all of them this is −½ REML criterion (σ not profiled).

    Parameters
    ----------
    spec : ModelSpec
    products : CrossProducts
    priors : Priors
        Normal or flat for every coefficient.
    path : {"jax", "numpy", "loops", "batched"}
        JAX, the numpy kernels, the loops that numba compiles, or numpy for many points together.

    Raises
    ------
    FitError
        If some coefficient has another prior.
    """
    problem = prepare(spec, products, priors)
    if problem.shape.n_sampled or problem.layout.r2d2:
        raise FitError("log_density() needs normal or flat priors of all coefficients.")
    if path == "jax":
        out: Callable[[Floats, float], float] = _engine().collapsed_density(problem)
        return out
    if path == "loops":
        return problem.collapsed
    none: Floats = np.zeros(0)
    host, roots = problem.host, replace(problem.roots, products=problem.products)
    if path == "batched":
        many = problem.batched
        assert many is not None
        return lambda theta, sigma: float(many.log_likelihoods(Points.one(roots.at(theta), sigma))[0])
    return lambda theta, sigma: float(host.value_and_gradient(roots.at(theta), np.asarray(sigma), none)[0])
