"""Posterior draws as an ArviZ DataTree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ranef.arrays import Floats
from ranef.results import PosteriorDraws
from ranef.spec import ModelSpec

if TYPE_CHECKING:
    import xarray

__all__ = ["to_datatree"]

#: the pointwise log likelihood is left out where it would hold more numbers
MAX_LOG_LIKELIHOOD = 20_000_000

#: names of dimensions and variables that no grouping factor may take for its own dimension
RESERVED = {"chain", "draw", "obs", "coefficient", "theta", "theta_name", "beta", "sigma", "X", "weights", "offset"}


@dataclass(frozen=True)
class _Variable:
    values: Any
    dims: tuple[str, ...]


def to_datatree(spec: ModelSpec, draws: PosteriorDraws) -> xarray.DataTree:
    """Give draws the names of the model, in ArviZ's layout.

    Parameters
    ----------
    spec : ModelSpec
        The model they were drawn from.
    draws : PosteriorDraws

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data``, ``constant_data`` and, where it holds no more than
        2e7 numbers, ``log_likelihood`` (of each row given β, b and σ). The posterior has ``beta`` (dimension
        ``coefficient``), ``sigma``, ``theta`` (``theta_name``), and for each grouping factor g ``sd_g``, ``corr_g``
        where it has two columns or more, and ``ranef_g`` (dimensions ``g`` and ``g_term``).

    Examples
    --------
    >>> from ranef import datasets
    >>> from ranef.design import build_design, registered
    >>> from ranef.formula import parse_formula
    >>> from ranef.nuts import sample_posterior
    >>> from ranef.spec import default_priors, model_spec
    >>> parsed = parse_formula("bright ~ 1 + (1 | operator)", functions=registered())
    >>> spec = model_spec(build_design(parsed, datasets.load("pulp")))
    >>> fit = sample_posterior(spec, priors=default_priors(spec), draws=100, warmup=100, seed=1, progress=False)
    >>> dict(to_datatree(spec, fit)["posterior"]["ranef_operator"].sizes)
    {'chain': 4, 'draw': 100, 'operator': 4, 'operator_term': 1}
    """
    from arviz_base import from_dict  # noqa: PLC0415 - heavy, and not needed to import ranef

    groups = {
        "posterior": _posterior(spec, draws),
        "sample_stats": {name: _Variable(v, ()) for name, v in draws.sample_stats.items()},
        "observed_data": {spec.design.response: _Variable(spec.design.y, ("obs",))},
        "constant_data": _constant_data(spec),
    }
    if draws.sigma.size * spec.n_obs <= MAX_LOG_LIKELIHOOD:
        pointwise = _Variable(_log_likelihood(spec, draws), ("obs",))
        groups["log_likelihood"] = {spec.design.response: pointwise}
    values = {group: {name: v.values for name, v in members.items()} for group, members in groups.items()}
    dims = {name: list(v.dims) for members in groups.values() for name, v in members.items() if v.dims}
    attrs = _attrs(draws)
    return from_dict(values, coords=_coords(spec), dims=dims, attrs={"/": attrs, "posterior": attrs})


def _dim(group: str) -> str:
    return f"{group}_level" if group in RESERVED else group


def _coords(spec: ModelSpec) -> dict[str, Any]:
    coords: dict[str, Any] = {
        "obs": spec.design.rows,
        "coefficient": list(spec.design.fixed_names),
        "theta_name": list(spec.theta_names),
    }
    for g in spec.groupings:
        coords[_dim(g.name)] = [str(level) for level in g.levels]
        coords[f"{g.name}_term"] = coords[f"{g.name}_term2"] = list(g.columns)
    return coords


def _posterior(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, _Variable]:
    out = {
        "beta": _Variable(draws.beta, ("coefficient",)),
        "sigma": _Variable(draws.sigma, ()),
        "theta": _Variable(draws.theta, ("theta_name",)),
    }
    for g, cov, b in zip(spec.groupings, _covariances(spec, draws), draws.b, strict=True):
        term = f"{g.name}_term"
        sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
        out[f"sd_{g.name}"] = _Variable(sd, (term,))
        if len(g.columns) > 1:
            scale = np.where(sd > 0, sd, 1.0)
            out[f"corr_{g.name}"] = _Variable(cov / (scale[..., :, None] * scale[..., None, :]), (term, f"{term}2"))
        out[f"ranef_{g.name}"] = _Variable(b, (_dim(g.name), term))
    return {name: v for name, v in out.items() if np.size(v.values)}


def _covariances(spec: ModelSpec, draws: PosteriorDraws) -> list[Floats]:
    """Σ_k (chains, draws, p_k, p_k) by grouping."""
    out = []
    units = [spec.lambdas(unit) for unit in np.eye(spec.n_theta)]
    for k in range(len(spec.groupings)):
        root = draws.sigma[..., None, None] * np.einsum("cdi,ipq->cdpq", draws.theta, np.stack([u[k] for u in units]))
        out.append(root @ np.swapaxes(root, -1, -2))
    return out


def _constant_data(spec: ModelSpec) -> dict[str, _Variable]:
    d = spec.design
    out = {"X": _Variable(d.X, ("obs", "coefficient"))} if spec.n_fixed else {}
    for g in spec.groupings:
        out[f"codes_{g.name}"] = _Variable(g.codes, ("obs",))
        out[f"Z_{g.name}"] = _Variable(g.Z, ("obs", f"{g.name}_term"))
    for name, values in (("weights", d.weights), ("offset", d.offset)):
        if values is not None:
            out[name] = _Variable(values, ("obs",))
    return out


def _log_likelihood(spec: ModelSpec, draws: PosteriorDraws) -> Floats:
    """Log density of each row (chains, draws, n_obs) given β, b and σ."""
    d = spec.design
    log_w = 0.0 if d.weights is None else np.log(d.weights)
    out = np.empty((*draws.sigma.shape, spec.n_obs))
    for c in range(out.shape[0]):
        mean = draws.beta[c] @ d.X.T + (0.0 if d.offset is None else d.offset)
        for g, b in zip(spec.groupings, draws.b, strict=True):
            for column in range(len(g.columns)):
                mean += b[c, :, :, column][:, g.codes] * g.Z[:, column]
        log_sigma = np.log(draws.sigma[c])[:, None]
        squares = np.exp(log_w - 2.0 * log_sigma) * (d.y - mean) ** 2
        out[c] = -0.5 * (np.log(2.0 * np.pi) - log_w + 2.0 * log_sigma + squares)
    return out


def _attrs(draws: PosteriorDraws) -> Mapping[str, Any]:
    """Settings as text and numbers, which netCDF can hold."""
    return {
        "inference_library": "numpyro",
        "inference_library_version": version("numpyro"),
        "modeling_interface": "ranef",
        "modeling_interface_version": version("ranef"),
        "parameterization": draws.parameterization,
        "priors": "\n".join(draws.priors.lines()),
        "seed": draws.seed,
        "tuning_steps": draws.warmup,
        "sampling_time": draws.seconds,
        "complete": int(draws.complete),
    }
