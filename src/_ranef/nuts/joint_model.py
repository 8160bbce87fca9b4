"""NumPyro models that sample β and b too, non-centred and centred, under the priors of the collapsed model.

A normal response enters by its cross-products, so that a step does not depend on the number of rows; others have to be
read row by row. Random effects may be Student t as well, by a scale for each level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist

from _ranef.nuts.collapsed_model import RootsInJax, at_rho, contrast, lambdas_of, normal_priors
from _ranef.nuts.rows_model import BY_LINK, ROUND_ZERO
from _ranef.nuts.sampled_priors import Sampled, hyperparameters
from _ranef.posterior.blocks import Shape
from _ranef.posterior.layout import Layout
from _ranef.posterior.problem import Problem
from _ranef.residuals import LogLaw
from _ranef.spec import Gamma, Generalised

__all__ = ["JointShape", "degrees_sites", "joint_data", "joint_model", "joint_shape"]


@dataclass(frozen=True)
class JointShape:
    """What compilation of a joint model depends on.

    Attributes
    ----------
    blocks : Shape
    effects : tuple of str
        By factor in elimination order: ``"normal"``, or Student t with ``"known"`` or ``"sampled"`` degrees of freedom.
    response : str
        Word of its family.
    link : str
        Of a generalised response.
    sampled : tuple of str
        Parameters of the family that are sampled.
    centered : bool
    """

    blocks: Shape
    effects: tuple[str, ...]
    response: str
    link: str
    sampled: tuple[str, ...]
    centered: bool


def joint_shape(problem: Problem, *, centered: bool) -> JointShape:
    """The shape of a joint model."""
    priors, spec = problem.priors, problem.spec

    def kind(df: object) -> str:
        return "sampled" if isinstance(df, Gamma) else "known"

    names = [spec.groupings[k].name for k in problem.products.order]
    effects = tuple(kind(priors.effects[n]) if n in priors.effects else "normal" for n in names)
    sampled = tuple(name for name in spec.family.parameters if isinstance(priors.response[name], Gamma))
    link = spec.family.link if isinstance(spec.family, Generalised) else ""
    return JointShape(problem.shape, effects, spec.family.word, link, sampled, centered)


def degrees_sites(shape: JointShape) -> list[str]:
    """Sites of degrees of freedom, and of parameters of the response, that are sampled."""
    return [*(f"df{k}" for k, kind in enumerate(shape.effects) if kind == "sampled"), *shape.sampled]


def joint_data(problem: Problem, shape: JointShape) -> dict[str, Any]:
    """Arrays of a joint model: the blocks of the collapsed one, maps of b inward, degrees of freedom, and rows if read.

    Rows are on the internal scale: ``left`` (n,), of which X and Z leave residuals, or −η; ``X`` (n, r − 1); by factor
    ``codes`` and ``Z``; and what the density of the family reads.
    """
    spec, products, fixed, sums = problem.spec, problem.products, problem.fixed, problem.sums
    scale, order = products.scaling, products.order
    names = [spec.groupings[k].name for k in order]
    units = [spec.lambdas(unit) for unit in np.eye(spec.n_theta)] if problem.roots.linear else []
    out: dict[str, Any] = {
        **problem.arrays(shape.blocks),
        "inward": tuple(np.linalg.solve(scale.Z[k], problem.outward[k]).T / scale.y for k in order),
        "outer": tuple(np.stack([u[k] for u in units], axis=-1) for k in order if units),
        "df": tuple(_df_numbers(problem.priors.effects.get(n, 1.0)) for n in names),
        "own": {name: _df_numbers(problem.priors.response[name]) for name in spec.family.parameters},
        "log_weights": np.array(products.log_weights if sums is None else sums.basis.log_weights),
        # of the normal priors, and of the map from internal coefficients
        "log_scale": np.array(
            fixed.log_scale + 2.0 * (np.linalg.slogdet(fixed.root)[1] - len(fixed.integrated) * np.log(fixed.unit))
        ),
        "n": np.array(float(products.n_obs)),
    }
    if spec.family.by_rows:
        d, generalised = problem.rows_of.design, isinstance(spec.family, Generalised)
        offset = 0.0 if d.offset is None else d.offset
        own = {"root_weights": spec.residual.root}
        if generalised:
            own = {"y": d.y, "weights": np.ones(len(d.y)) if d.weights is None else d.weights}
        out["rows"] = own | {
            "left": ((0.0 if generalised else d.y) - offset - d.X @ scale.pilot) / scale.y,
            "X": d.X @ scale.X @ fixed.columns[:-1, :-1],
            "codes": tuple(spec.groupings[k].codes for k in order),
            "Z": tuple(spec.groupings[k].Z @ scale.Z[k] for k in order),
        }
    return out


def _df_numbers(df: float | Gamma) -> Any:
    return np.array([df.shape, df.rate]) if isinstance(df, Gamma) else np.array([df, 1.0])


@lru_cache(maxsize=32)
def joint_model(
    layout: Layout, shape: JointShape, roots: RootsInJax | None = None, law: LogLaw | None = None
) -> Callable[[Mapping[str, Any]], None]:
    """The joint model.

    Sites besides the sampled parameters: ``beta`` (g,), internal, on which its coefficients are nearly independent; for
    every factor k in elimination order ``b{k}`` (J_k, p_k) in the coordinates of the priors, or non-centred ``z{k}``
    with b = σ z λᵀ; for Student t effects ``mix{k}`` (J_k,), b = σ z λᵀ / √mix; ``df{k}`` and parameters of the
    response, as ``nu``, if they are sampled.
    """

    def model(data: Mapping[str, Any]) -> None:
        arrays = at_rho(data["collapsed"], law, layout.rows)
        at = hyperparameters(layout, data["hyper"])
        beta = _beta(shape.blocks, arrays, at)
        lambdas = lambdas_of(shape.blocks, arrays, at.theta, roots)
        effects = [_effects(k, shape, arrays, at, lam) for k, lam in enumerate(lambdas)]
        likelihood = _normal_likelihood if shape.response == "gaussian" else _likelihood_of_rows
        numpyro.factor("likelihood", likelihood(shape, arrays, at, beta, effects))

    return model


def _beta(shape: Shape, data: Mapping[str, Any], at: Sampled) -> jax.Array:
    """Minus the integrated coefficients, and v, in the columns of the tail; their normal priors are added."""
    v = jnp.array(contrast(data, at.fixed))
    g = shape.n_integrated
    own = numpyro.sample("beta", dist.ImproperUniform(dist.constraints.real_vector, (), (g,))) if g else jnp.zeros(0)
    w = jnp.concatenate([-own, v])
    K, log_scale = normal_priors(data, at.variances)
    numpyro.factor("fixed_priors", -0.5 * (w @ K @ w + log_scale + data["log_scale"]))
    return w


def _effects(k: int, shape: JointShape, data: Mapping[str, Any], at: Sampled, lam: jax.Array) -> jax.Array:
    """b̃ (J_k, p_k), internal, of internal λ_k."""
    p, J = shape.blocks.sizes[k], shape.blocks.levels[k]
    mix = jnp.ones(J)
    if shape.effects[k] != "normal":
        df = data["df"][k][0]
        if shape.effects[k] == "sampled":
            df = numpyro.sample(f"df{k}", dist.Gamma(*data["df"][k]))
        mix = numpyro.sample(f"mix{k}", dist.Gamma(0.5 * df, 0.5 * df).expand([J]).to_event(1))
    if shape.centered:
        if data["outer"]:
            outer = data["outer"][k] @ at.theta
        else:
            outer = jnp.linalg.solve(data["unit"] * data["inward"][k].T, lam)
        root = at.sigma * outer / jnp.sqrt(mix)[:, None, None]
        b = numpyro.sample(f"b{k}", dist.MultivariateNormal(jnp.zeros((J, p)), scale_tril=root).to_event(1))
        return jnp.asarray(b @ data["inward"][k])
    z = numpyro.sample(f"z{k}", dist.Normal(0.0, 1.0).expand([J, p]).to_event(2))
    return jnp.asarray(at.sigma / data["unit"] * (z / jnp.sqrt(mix)[:, None]) @ lam.T)


def _normal_likelihood(
    shape: JointShape, data: Mapping[str, Any], at: Sampled, w: jax.Array, effects: list[jax.Array]
) -> jax.Array:
    """From r² = eᵀTe + Σ b_iᵀA_ib_i − 2 b_iᵀC_ie with e = (−b_tail, w)."""
    e = jnp.concatenate([*(-b.ravel() for b in effects[1:]), w])
    rss = e @ data["T"] @ e
    if effects:
        b = effects[0].T
        Ab = jnp.sum(data["A"] * b, axis=1)
        rss = rss + jnp.sum(b * (Ab - 2.0 * jnp.einsum("imj,m->ij", data["C"], e)))
    sigma2 = (at.sigma / data["unit"]) ** 2
    deviance = (
        data["n"] * jnp.log(2.0 * np.pi * at.sigma**2) - data["log_weights"] - data.get("log_det", 0.0) + rss / sigma2
    )
    return jnp.asarray(-0.5 * deviance)


def _likelihood_of_rows(
    shape: JointShape, data: Mapping[str, Any], at: Sampled, w: jax.Array, effects: list[jax.Array]
) -> jax.Array:
    rows = data["rows"]
    own = {name: numbers[0] for name, numbers in data["own"].items()}
    own |= {name: numpyro.sample(name, dist.Gamma(*data["own"][name])) for name in shape.sampled}
    residual = rows["left"] * w[-1] + rows["X"] @ w[:-1]
    for codes, Z, b in zip(rows["codes"], rows["Z"], effects, strict=True):
        residual = residual - jnp.sum(Z * b[codes], axis=1)
    residual = residual * data["unit"]
    if shape.link:
        return jnp.asarray(jnp.sum(BY_LINK[shape.response, shape.link](-residual, rows, own)))
    scale = at.sigma / rows["root_weights"]
    return jnp.asarray(jnp.sum(ROUND_ZERO[shape.response](scale, **own).log_prob(residual)))
