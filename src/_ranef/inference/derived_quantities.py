"""Quantities derived from posterior draws, by name: each draw gives one value, so that every interval is exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.errors import DesignError, FitError, NotAvailableError, suggestion
from _ranef.inference.effect_frames import grouping_named, only_group
from _ranef.inference.generalised import link_variances
from _ranef.inference.posterior_summary import (
    covariance_draws,
    dispersion_draws,
    interval,
    parameter_draws,
    posterior_table,
)
from _ranef.inference.variance_shares import (
    R2,
    VarianceParts,
    icc_intervals,
    mean_inverse_weight,
    r2_intervals,
    row_moments,
    variance_parts,
)
from _ranef.likelihood import Likelihood, conditional_variances, cross_products, log_precision_draws, over_rho
from _ranef.results import Doubtable, PosteriorDraws
from _ranef.spec import Generalised, LocationScale, ModelSpec, Student, covariance_arrays
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load
from _ranef.support.progress import LateBar

if TYPE_CHECKING:
    import xarray

__all__ = [
    "DERIVED",
    "Derived",
    "contrast_draws",
    "derive",
    "icc_draws",
    "posterior_icc",
    "posterior_r2",
    "r2_draws",
    "rank_draws",
    "shrinkage_draws",
    "variance_part_draws",
]

#: entries along the first dimension that are printed
SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class Derived(Doubtable):
    """A quantity derived from posterior draws.

    Attributes
    ----------
    name : str
    draws : array (chains, draws, ...)
    dims : tuple of str
        Of what comes after chains and draws.
    coords : mapping str to sequence of str
        Labels along every dimension.
    about : str
        What it is, in one sentence.
    columns : mapping str to array (...)
        Further columns of :meth:`frame`.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> icc = model.sample(draws=200, seed=1, sampler="direct", progress=False).derive("icc")
    >>> icc.dims, icc.draws.shape
    (('group', 'kind'), (4, 200, 2, 2))
    >>> icc.frame().columns.tolist()
    ['group', 'kind', 'estimate', 'sd', 'lower', 'upper', 'rhat', 'ess']
    >>> icc.to_dataarray().dims
    ('chain', 'draw', 'group', 'kind')
    """

    name: str
    draws: Floats
    dims: tuple[str, ...] = ()
    coords: Mapping[str, Sequence[str]] = field(default_factory=dict)
    about: str = ""
    columns: Mapping[str, Floats] = field(default_factory=dict)

    def frame(self, level: float = 0.95) -> pd.DataFrame:
        """One row an entry: its labels, ``estimate, sd, lower, upper, rhat, ess``, and what the quantity adds.

        The estimate is the mean, the interval equal-tailed, ``ess`` that of the bulk.
        """
        shape = self.draws.shape[2:]
        entries = list(np.ndindex(*shape))
        table = posterior_table([("", "", self.draws[(..., *at)]) for at in entries], level)
        table = table.rename(columns={"ess_bulk": "ess"})[["estimate", "sd", "lower", "upper", "rhat", "ess"]]
        for place, dim in reversed(list(enumerate(self.dims))):
            table.insert(0, dim, [self.coords[dim][at[place]] for at in entries])
        return table.assign(**{name: np.asarray(values).ravel() for name, values in self.columns.items()})

    def to_dataarray(self) -> xarray.DataArray:
        """The draws with named dimensions and labels."""
        chains, draws = self.draws.shape[:2]
        labels = {"chain": np.arange(chains), "draw": np.arange(draws)} | {d: list(self.coords[d]) for d in self.dims}
        out: xarray.DataArray = load("xarray").DataArray(
            self.draws, dims=("chain", "draw", *self.dims), coords=labels, name=self.name
        )
        return out

    def _printed(self) -> str:
        size, few = int(np.prod(self.draws.shape[2:])), self._head(SHOWN)
        shown = few.frame()
        more = f"\n{size - len(shown)} more entries are in .frame()" if len(shown) < size else ""
        return f"{self.name}: {self.about}\n{shown.to_string(index=False, float_format='{:.4g}'.format)}{more}"

    def _head(self, n: int) -> Derived:
        """The first `n` entries along the first dimension."""
        if not self.dims:
            return self
        coords = dict(self.coords) | {self.dims[0]: list(self.coords[self.dims[0]])[:n]}
        columns = {name: values[:n] for name, values in self.columns.items()}
        return replace(self, draws=self.draws[:, :, :n], coords=coords, columns=columns)


def variance_part_draws(spec: ModelSpec, draws: PosteriorDraws) -> VarianceParts:
    """The variance of the response split, draw by draw."""
    family = draws.response
    if isinstance(family, Generalised):
        owns = dispersion_draws(draws) if family.dispersions else [{}]
        residual = np.broadcast_to(link_variances(spec, family, owns), draws.sigma.size).reshape(draws.sigma.shape)
    else:
        assert isinstance(family, LocationScale)
        residual = family.variance(draws.sigma**2 * _mean_inverse_weight(spec, draws), family.own(draws.extras))
    parts = variance_parts(row_moments(spec), draws.beta, covariance_draws(spec, draws), np.asarray(residual))
    random = parts.random.copy()
    for k, g in enumerate(spec.groupings):
        if f"nu_{g.name}" in draws.extras:
            random[..., k] = Student().variance(random[..., k], {"nu": draws.extras[f"nu_{g.name}"]})
    return replace(parts, random=random)


def _mean_inverse_weight(spec: ModelSpec, draws: PosteriorDraws) -> Floats:
    """Mean variance of the rows over σ²: one number (), or (chains, draws) where ρ is sampled."""
    if "rho" not in draws.extras:
        return np.asarray(mean_inverse_weight(spec))
    return np.asarray(np.exp(-log_precision_draws(spec, draws)).mean(axis=-1))


def r2_draws(spec: ModelSpec, draws: PosteriorDraws) -> Derived:
    """R² marginal (fixed effects) and conditional (with random effects), as :func:`r2_series` defines them."""
    about = "share of the variance explained by the fixed effects, and by fixed and random effects"
    return Derived("r2", variance_part_draws(spec, draws).r2, ("kind",), {"kind": list(R2)}, about)


def icc_draws(spec: ModelSpec, draws: PosteriorDraws) -> Derived:
    """Intraclass correlations by grouping factor and of all together, as :func:`icc_frame` defines them."""
    coords = {"group": [*(g.name for g in spec.groupings), "all"], "kind": ["adjusted", "unadjusted"]}
    about = "share of the variance by grouping factor, without and with that of the fixed effects"
    return Derived("icc", variance_part_draws(spec, draws).icc, ("group", "kind"), coords, about)


def posterior_r2(
    spec: ModelSpec, draws: PosteriorDraws, method: str | None = None, level: float = 0.95
) -> pd.Series[float] | pd.DataFrame:
    """Posterior means of R² ``marginal`` and ``conditional``; with a method their intervals, too."""
    values = variance_part_draws(spec, draws).r2
    mean = values.mean(axis=(0, 1))
    if method is None:
        return pd.Series(mean, index=list(R2), name="r2")
    return r2_intervals(mean, *interval(values, level, _posterior_method(method)))


def posterior_icc(
    spec: ModelSpec, draws: PosteriorDraws, method: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Posterior means in the layout of :func:`icc_frame`; with a method the ends of :func:`icc_intervals`, too."""
    parts = variance_part_draws(spec, draws)
    values, variance = parts.icc, np.append(parts.random.mean(axis=(0, 1)), parts.random.sum(axis=-1).mean())
    adjusted, unadjusted = values.mean(axis=(0, 1)).T
    names = [*(g.name for g in spec.groupings), "all"]
    frame = pd.DataFrame({"group": names, "variance": variance, "adjusted": adjusted, "unadjusted": unadjusted})
    return frame if method is None else icc_intervals(frame, *interval(values, level, _posterior_method(method)))


def _posterior_method(method: str) -> str:
    """``"eti"`` or ``"hdi"``.

    Raises
    ------
    DesignError
        For another kind of interval.
    """
    if method not in ("eti", "hdi"):
        raise DesignError(
            f"interval={method!r} must be 'eti' (equal-tailed) or 'hdi' of a posterior; 'bootstrap' and 'delta' are of "
            "fits by REML or ML."
        )
    return method


def shrinkage_draws(spec: ModelSpec, draws: PosteriorDraws, group: str | None = None) -> Derived:
    """Shrinkage factor λ_j of every level and term: 1 − Var(b_ja | y, β, θ, σ) / Σ_aa, the reliability.

    With one random intercept it is the weight of the level's own mean, b̂_j = λ_j (ȳ_j − Xβ), n_jσ_b²/(n_jσ_b² + σ²).
    For a term of a vector of effects the diagonals of the two matrices are compared, as ``1 − shrinkage`` in
    :func:`shrinkage_frame`; 0 where the variance is zero. The conditional variance counts all grouping factors.

    Raises
    ------
    FitError
        If the response or the random effects are not normal.
    NotAvailableError
        Of a generalised response.
    """
    if isinstance(draws.response, Generalised):
        raise NotAvailableError(
            "derive('shrinkage') is of Gaussian responses, whose conditional variances are those of a closed form. Of "
            "others ranef.pooling(fit, posterior).reliability_draws() has the reliability of every level, by draw."
        )
    if draws.not_normal:
        raise FitError(
            f"Student t in this model: {draws.not_normal}. The conditional variance of a random effect, and with it "
            "the shrinkage factor, then has no closed form. Compare fit.ranef() to the data instead."
        )
    k, g = grouping_named(spec, only_group(spec, group))
    theta = draws.theta.reshape(draws.sigma.size, -1)
    conditional = _conditional_draws(spec, draws, theta, k)
    covariance = covariance_arrays(spec, theta, np.ones(len(theta)))[k]
    prior = np.diagonal(covariance, axis1=1, axis2=2)[:, None]
    if g.among is not None:
        prior = prior * g.among.variances[:, None]
    out = np.where(prior > 0, 1.0 - conditional / np.where(prior > 0, prior, 1.0), 0.0)
    return Derived(
        "shrinkage",
        out.reshape(*draws.sigma.shape, *out.shape[1:]),
        ("level", "term"),
        {"level": [str(level) for level in g.levels], "term": list(g.columns)},
        f"weight of the own data of each level of {g.name}, 1 − conditional over prior variance",
    )


def _conditional_draws(spec: ModelSpec, draws: PosteriorDraws, theta: Floats, k: int) -> Floats:
    """Var(b | y, β)/σ² (S, J, p) of the levels of grouping `k`, at each draw's own ρ where there is one."""
    if "rho" not in draws.extras:
        return conditional_variances(Likelihood(spec, cross_products(spec), "REML"), theta, k)
    over, rho = over_rho(spec, "REML"), np.asarray(draws.extras["rho"]).reshape(len(theta), -1)
    with LateBar("Conditional variances", "draw", len(theta)) as bar:
        found = []
        for one, own in zip(theta, rho, strict=True):
            found.append(conditional_variances(over.at(own), one[None], k)[0])
            bar.update()
    return np.array(found)


def contrast_draws(
    spec: ModelSpec, draws: PosteriorDraws, group: str | None = None, levels: Sequence[str] | None = None
) -> Derived:
    """Differences of random effects: every level of `levels` (all by default) minus the first of them.

    Raises
    ------
    DesignError
        If a level is not one of the factor's, or there are fewer than two.
    """
    k, g = grouping_named(spec, only_group(spec, group))
    known = [str(level) for level in g.levels]
    chosen = known if levels is None else [levels] if isinstance(levels, str) else [str(level) for level in levels]
    for level in chosen:
        if level not in known:
            raise DesignError(f"{g.name!r} has no level {level!r}.{suggestion(level, known)}")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise DesignError(f"levels={chosen!r} must name two or more different levels of {g.name!r}.")
    places = [known.index(level) for level in chosen]
    b = draws.b[k]
    values = b[:, :, places[1:]] - b[:, :, places[:1]]
    coords = {"contrast": [f"{level} - {chosen[0]}" for level in chosen[1:]], "term": list(g.columns)}
    return Derived("contrast", values, ("contrast", "term"), coords, f"differences between levels of {g.name}")


def rank_draws(spec: ModelSpec, draws: PosteriorDraws, group: str | None = None, *, largest: bool = True) -> Derived:
    """Rank of every level, term by term: 1 for the largest effect (or the smallest); ``p_best`` is P(rank = 1)."""
    k, g = grouping_named(spec, only_group(spec, group))
    b = -draws.b[k] if largest else draws.b[k]
    ranks = b.argsort(axis=2, kind="stable").argsort(axis=2, kind="stable") + 1.0
    coords = {"level": [str(level) for level in g.levels], "term": list(g.columns)}
    best = {"p_best": (ranks == 1.0).mean(axis=(0, 1))}
    word = "largest" if largest else "smallest"
    return Derived("rank", ranks, ("level", "term"), coords, f"rank of each level of {g.name}, 1 the {word}", best)


#: what can be derived by name, besides the parameters themselves
DERIVED: Mapping[str, Callable[..., Derived]] = {
    "icc": icc_draws,
    "r2": r2_draws,
    "shrinkage": shrinkage_draws,
    "contrast": contrast_draws,
    "rank": rank_draws,
}

#: arguments that each of them takes
ARGUMENTS = {
    "icc": (),
    "r2": (),
    "shrinkage": ("group",),
    "contrast": ("group", "levels"),
    "rank": ("group", "largest"),
}


def derive(spec: ModelSpec, draws: PosteriorDraws, name: str, arguments: Mapping[str, Any]) -> Derived:
    """A quantity by name: one of ``DERIVED``, or a parameter as ``confint`` names it.

    Raises
    ------
    DesignError
        If there is no such quantity, or it does not take one of the `arguments`.
    """
    named = parameter_draws(spec, draws)
    if name in named and name not in DERIVED:
        _require_arguments(name, arguments, ())
        return Derived(name, named[name], about="parameter of the model")
    if name not in DERIVED:
        near = suggestion(name, [*DERIVED, *named]) if isinstance(name, str) else ""
        raise DesignError(
            f"There is no quantity {name!r} to derive.{near} Derived quantities: {', '.join(DERIVED)}. Parameters: "
            f"{', '.join(named)}."
        )
    _require_arguments(name, arguments, ARGUMENTS[name])
    return DERIVED[name](spec, draws, **arguments)


def _require_arguments(name: str, given: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for argument in given:
        if argument not in allowed:
            takes = f"takes {', '.join(f'{a}=' for a in allowed)}" if allowed else "takes no further arguments"
            raise DesignError(f"derive({name!r}) {takes}; got {argument}=.")
