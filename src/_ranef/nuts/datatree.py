"""Posterior draws as an ArviZ DataTree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import RowGroups, group_log_densities, has_shared_effects, row_log_densities
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec, covariance_arrays
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import load

if TYPE_CHECKING:
    import xarray

__all__ = ["predictive_array", "prior_tree", "to_datatree", "to_inference_data"]

#: a variable of log likelihoods is left out where it, or what it is made of, would hold more numbers
MAX_LOG_LIKELIHOOD = 20_000_000

#: names of dimensions and variables that no grouping factor may take for its own dimension
RESERVED = {"chain", "draw", "obs", "coefficient", "theta", "theta_name", "beta", "sigma", "X", "weights", "offset"}


@dataclass(frozen=True)
class _Variable:
    values: Any
    dims: tuple[str, ...]


def to_datatree(
    spec: ModelSpec,
    draws: PosteriorDraws,
    *,
    prior: PosteriorDraws | None = None,
    posterior_predictive: Floats | None = None,
    kept: Ints | None = None,
) -> xarray.DataTree:
    """Give draws the names of the model, in ArviZ's layout.

    Parameters
    ----------
    spec : ModelSpec
        The model they were drawn from.
    draws : PosteriorDraws
    prior : PosteriorDraws, optional
        Draws of the same parameters from the prior, for a group ``prior``.
    posterior_predictive : array (chains, m, n_obs), optional
        Replicated responses, for a group ``posterior_predictive``; their draws may be fewer.
    kept : array of int (m,), optional
        The draws of each chain that they stand for; the first by default.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data``, ``constant_data`` and ``log_likelihood``.

        The posterior has ``beta`` (dimension ``coefficient``), ``sigma``, ``theta`` (``theta_name``), for each
        grouping factor g ``sd_g``, ``corr_g`` where it has two columns or more, and ``ranef_g`` (dimensions ``g`` and
        ``g_term``), and what else was sampled (``nu``).

        ``log_likelihood`` has one variable by the name of the response (dimension ``obs``), of each row given β, b
        and σ, and for each grouping factor g ``group_g`` (dimension ``g``): of all rows of a level given β, θ, σ, with
        the effects that belong to that level alone integrated out, and the drawn values of those that it shares with
        others. Name one of them to ArviZ, as in ``arviz_stats.loo(tree, var_name="group_g")``. A variable that holds
        more than 2e7 numbers is left out; so are the groups of a response that is not Gaussian.

    Notes
    -----
    A slash is no part of a name in a DataTree or a netCDF file: ``|`` stands for it.

    Examples
    --------
    >>> from ranef import datasets
    >>> from _ranef.design import build_design, registered
    >>> from _ranef.formula import parse_formula
    >>> from _ranef.nuts import Settings, sample_posterior
    >>> from _ranef.spec import default_priors, model_spec
    >>> parsed = parse_formula("bright ~ 1 + (1 | operator)", functions=registered())
    >>> spec = model_spec(build_design(parsed, datasets.load("pulp")))
    >>> fit = sample_posterior(spec, priors=default_priors(spec), settings=Settings(draws=100, seed=1))
    >>> tree = to_datatree(spec, fit)
    >>> dict(tree["posterior"]["ranef_operator"].sizes)
    {'chain': 4, 'draw': 100, 'operator': 4, 'operator_term': 1}
    >>> dict(tree["log_likelihood"]["group_operator"].sizes)
    {'chain': 4, 'draw': 100, 'operator': 4}
    """
    response = _safe(spec.design.response)
    groups = {
        "posterior": _posterior(spec, draws),
        "sample_stats": {name: _Variable(v, ()) for name, v in draws.sample_stats.items()},
    }
    if spec.design.stream is None:
        groups |= {
            "observed_data": {response: _Variable(spec.design.y, ("obs",))},
            "constant_data": _constant_data(spec),
            "log_likelihood": _log_likelihood(spec, draws),
        }
    if prior is not None:
        groups["prior"] = _posterior(spec, prior)
    if posterior_predictive is not None:
        groups["posterior_predictive"] = {response: _Variable(posterior_predictive, ("obs",))}
    tree = _tree(spec, draws, groups)
    if kept is not None:
        replicated = tree["posterior_predictive"]
        replicated.dataset = replicated.to_dataset().assign_coords(draw=kept)
    return tree


def prior_tree(spec: ModelSpec, draws: PosteriorDraws, replicated: Floats) -> xarray.DataTree:
    """Draws from the prior and responses (chains, draws, n_obs) simulated from them, beside the data."""
    response = _safe(spec.design.response)
    groups = {
        "prior": _posterior(spec, draws),
        "prior_predictive": {response: _Variable(replicated, ("obs",))},
        "observed_data": {response: _Variable(spec.design.y, ("obs",))},
        "constant_data": _constant_data(spec),
    }
    return _tree(spec, draws, groups)


def _tree(spec: ModelSpec, draws: PosteriorDraws, groups: Mapping[str, Mapping[str, _Variable]]) -> xarray.DataTree:
    from_dict = load("arviz_base").from_dict  # heavy, and not needed to import ranef

    coords, attrs, first = _coords(spec), _attrs(draws), next(iter(groups))
    found = {}
    for group, members in groups.items():  # one by one: the response may have the name of a parameter
        if members:
            values = {name: v.values for name, v in members.items()}
            dims = {name: list(v.dims) for name, v in members.items() if v.dims}
            own = {group: attrs} if group == first else {}
            found[group] = from_dict({group: values}, coords=coords, dims=dims, attrs=own)[group].to_dataset()
    tree: xarray.DataTree = load("xarray").DataTree.from_dict(found)
    tree.attrs.update(attrs)
    return tree


def to_inference_data(tree: xarray.DataTree) -> Any:
    """The groups of a DataTree as ArviZ before 1.0 holds them.

    Raises
    ------
    FitError
        If that ArviZ is not installed.
    """
    try:
        kind = import_module("arviz").InferenceData
    except (ImportError, AttributeError):
        raise FitError(
            "InferenceData is of ArviZ before 1.0, which is not installed. Later versions take fit.datatree as it is: "
            "arviz_stats.summary(fit.datatree)."
        ) from None
    return kind(**{name: group.to_dataset() for name, group in tree.children.items()})


def predictive_array(spec: ModelSpec, values: Floats, kept: Ints) -> xarray.DataArray:
    """Replicated responses (chains, m, n_obs) with the names of the DataTree; `kept` are the draws they stand for."""
    coords = {"chain": np.arange(values.shape[0]), "draw": kept, "obs": spec.design.rows}
    make = load("xarray").DataArray  # heavy, and not needed to import ranef
    array: xarray.DataArray = make(
        values, dims=("chain", "draw", "obs"), coords=coords, name=_safe(spec.design.response)
    )
    return array


def _safe(name: str) -> str:
    return name.replace("/", "|")


def _dim(group: str) -> str:
    return f"{group}_level" if group in RESERVED else _safe(group)


def _coords(spec: ModelSpec) -> dict[str, Any]:
    coords: dict[str, Any] = {
        **({"obs": spec.design.rows} if spec.design.stream is None else {}),
        "coefficient": list(spec.design.fixed_names),
        "theta_name": list(spec.theta_names),
    }
    for g in spec.groupings:
        name = _safe(g.name)
        coords[_dim(g.name)] = [str(level) for level in g.levels]
        coords[f"{name}_term"] = coords[f"{name}_term2"] = list(g.columns)
    coords["rho_name"] = list(spec.rho_names)
    return coords


def _posterior(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, _Variable]:
    out = {
        "beta": _Variable(draws.beta, ("coefficient",)),
        "sigma": _Variable(draws.sigma, ()),
        "theta": _Variable(draws.theta, ("theta_name",)),
    }
    covs = covariance_arrays(spec, draws.theta, draws.sigma)
    for g, cov, b in zip(spec.groupings, covs, draws.b, strict=True):
        name = _safe(g.name)
        term = f"{name}_term"
        sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
        out[f"sd_{name}"] = _Variable(sd, (term,))
        if len(g.columns) > 1:
            scale = np.where(sd > 0, sd, 1.0)
            out[f"corr_{name}"] = _Variable(cov / (scale[..., :, None] * scale[..., None, :]), (term, f"{term}2"))
        out[f"ranef_{name}"] = _Variable(b, (_dim(g.name), term))
    dims = {"rho": ("rho_name",)}
    out |= {_safe(name): _Variable(np.asarray(v), dims.get(name, ())) for name, v in draws.extras.items()}
    return {name: v for name, v in out.items() if np.size(v.values)}


def _constant_data(spec: ModelSpec) -> dict[str, _Variable]:
    d = spec.design
    out = {"X": _Variable(d.X, ("obs", "coefficient"))} if spec.n_fixed else {}
    for g in spec.groupings:
        name = _safe(g.name)
        out[f"codes_{name}"] = _Variable(g.codes, ("obs",))
        out[f"Z_{name}"] = _Variable(g.Z, ("obs", f"{name}_term"))
    for name, values in (("weights", d.weights), ("offset", d.offset)):
        if values is not None:
            out[name] = _Variable(values, ("obs",))
    return out


def _log_likelihood(spec: ModelSpec, draws: PosteriorDraws) -> dict[str, _Variable]:
    """Of rows, and of groups of rows, where they are small enough to be held."""
    S, out = draws.sigma.size, {}
    if S * spec.n_obs <= MAX_LOG_LIKELIHOOD and spec.correlation is None:
        out[_safe(spec.design.response)] = _Variable(row_log_densities(spec, draws), ("obs",))
    for g in () if draws.not_normal else spec.groupings:
        groups = RowGroups(g.name, g.codes, list(g.levels))
        held = spec.n_obs if has_shared_effects(spec, groups) else g.n_levels
        if S * held <= MAX_LOG_LIKELIHOOD:
            values = group_log_densities(spec, draws, groups)
            out[f"group_{_safe(g.name)}"] = _Variable(values, (_dim(g.name),))
    return out


def _attrs(draws: PosteriorDraws) -> Mapping[str, Any]:
    """Settings as text and numbers, which netCDF can hold."""
    return {
        "inference_library": draws.sampler,
        **({"inference_library_version": version("numpyro")} if draws.sampler == "numpyro" else {}),
        "modeling_interface": "ranef",
        "modeling_interface_version": version("ranef"),
        "family": draws.family,
        "parameterization": draws.parameterization,
        "priors": "\n".join(draws.priors.lines(draws.response)),
        "seed": draws.seed,
        "tuning_steps": draws.warmup,
        "sampling_time": draws.seconds,
        "complete": int(draws.complete),
    }
