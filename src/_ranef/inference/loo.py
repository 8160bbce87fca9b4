"""Leave-one-out cross-validation of rows and of whole groups, by Pareto-smoothed importance sampling.

Vehtari, Gelman & Gabry (2017, Stat. Comput. 27, 1413-1432); for groups with their random effects integrated out,
Merkle, Furr & Rabe-Hesketh (2019, Psychometrika 84, 802-829).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from _ranef.errors import FitError
from _ranef.inference.posterior_summary import parameter_draws
from _ranef.likelihood import (
    RowGroups,
    group_log_densities,
    has_shared_effects,
    left_out_log_densities,
    row_log_densities,
)
from _ranef.posterior import wide_draws
from _ranef.results import Doubtable, PosteriorDraws
from _ranef.spec import Flat, ModelSpec, Normal, Priors
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load
from _ranef.support.progress import LateBar

if TYPE_CHECKING:
    from arviz_stats.utils import ELPDData

__all__ = ["Loo", "gaussian_prior", "loo_groups", "loo_kind", "loo_rows", "row_groups"]

#: draws of the proposal for groups that share no effects
WIDE = 20_000

#: log likelihoods held at once
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Loo(Doubtable):
    """Expected log predictive density, estimated by leaving out one row or one group at a time.

    Attributes
    ----------
    kind : str
        ``"conditional"`` (rows, given the random effects) or ``"group"``.
    group : str
        The factor whose levels are left out; empty for rows.
    elpd, se : float
        Sum of `elpd_i` with its standard error, √(n var).
    p : float
        Effective number of parameters: how much higher the log density is of rows that are not left out.
    elpd_i, p_i, pareto_k : Series
        Of each row by its label, or of each group by its level. Importance sampling is to be trusted where
        `pareto_k` is below `good_k`.
    n_samples, n_data_points : int
        Draws; rows or groups.
    good_k : float
        min(1 − 1/log₁₀ S, 0.7) for S draws.
    r_eff : float
        Relative efficiency of the draws that the smoothing assumes.
    integrated : tuple of str
        What was integrated in closed form rather than drawn.
    by_group : bool
        Whether whole groups could be left out.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, sampler="direct", progress=False)
    >>> loo = fb.loo()
    >>> loo.kind, loo.n_data_points, loo.warning, loo.words
    ('conditional', 20, False, ())
    >>> loo.frame.columns.tolist()
    ['elpd', 'p', 'pareto_k']
    >>> type(loo.to_arviz()).__name__
    'ELPDData'
    """

    kind: str
    group: str
    elpd: float
    se: float
    p: float
    elpd_i: pd.Series[float]
    p_i: pd.Series[float]
    pareto_k: pd.Series[float]
    n_samples: int
    n_data_points: int
    good_k: float
    r_eff: float
    integrated: tuple[str, ...] = ()
    scale: str = "log"
    by_group: bool = True

    @property
    def warning(self) -> bool:
        """Whether some Pareto k is above `good_k`."""
        return bool((self.pareto_k > self.good_k).any())

    @property
    def words(self) -> tuple[str, ...]:
        """What is doubtful about the estimate, and what to do; empty when nothing is."""
        if not self.warning:
            return ()
        high = self.pareto_k[self.pareto_k > self.good_k].sort_values(ascending=False)
        shown = ", ".join(f"{label} ({k:.2f})" for label, k in high[:5].items())
        more = f" and {len(high) - 5} more" if len(high) > 5 else ""
        what = f"levels of {self.group}" if self.group else "rows"
        remedy = "fit the model without each of them and score them by that fit"
        if self.by_group and not self.group:
            remedy = (
                "leave out whole groups instead (kind='group'), whose random effects are integrated exactly, or fit "
                "the model without each of them"
            )
        return (
            f"Pareto k is above {self.good_k:.2f} for {len(high)} of {self.n_data_points} {what}: {shown}{more}. The "
            "posterior without them differs so much from the posterior with them that reweighting cannot be trusted; "
            f"elpd is probably too high. More draws help where k is just above; else {remedy}.",
        )

    @property
    def frame(self) -> pd.DataFrame:
        """One row a row or level: ``elpd, p, pareto_k``."""
        return pd.DataFrame({"elpd": self.elpd_i, "p": self.p_i, "pareto_k": self.pareto_k})

    def to_arviz(self) -> ELPDData:
        """The same as ArviZ's ``ELPDData``, which ``arviz_stats.compare`` and ``arviz_plots.plot_khat`` take."""
        xarray = load("xarray")
        dim = self.group.replace("/", "|") or "obs"
        coords = {dim: np.asarray(self.elpd_i.index)}
        elpd_i, k = (xarray.DataArray(s.to_numpy(), dims=dim, coords=coords) for s in (self.elpd_i, self.pareto_k))
        numbers = (self.elpd, self.se, self.p, self.n_samples, self.n_data_points)
        data: ELPDData = load("arviz_stats.utils").ELPDData(
            "loo", *numbers, "log", self.warning, self.good_k, elpd_i, k
        )
        return data

    def _printed(self) -> str:
        what = f"levels of {self.group}" if self.group else "rows"
        given = f"; {', '.join(self.integrated)} integrated exactly" if self.integrated else ""
        lines = [
            f"Leave-one-out over {self.n_data_points} {what}, from {self.n_samples} draws{given}",
            f"  elpd {self.elpd:10.2f}  (standard error {self.se:.2f})",
            f"  p    {self.p:10.2f}",
            f"  Pareto k: largest {self.pareto_k.max():.2f}, good below {self.good_k:.2f}",
        ]
        return "\n".join([*lines, *self.words])


def loo_rows(spec: ModelSpec, draws: PosteriorDraws) -> Loo:
    """Leave out one row at a time: rows are scored given β, b and σ, however many there are."""
    spec, r_eff = spec.held, relative_efficiency(spec, draws)
    parts = []
    with LateBar("Leaving out rows", "row", spec.n_obs) as bar:
        for block in _row_blocks(spec, draws):
            parts.append(_psis(block, r_eff))
            bar.update(block.shape[2])
    elpd, p, k = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _result("conditional", "", spec.design.index, elpd, p, k, draws, r_eff, ())


def _row_blocks(spec: ModelSpec, draws: PosteriorDraws) -> Iterator[Floats]:
    step = max(1, BLOCK_ENTRIES // draws.sigma.size)
    for start in range(0, spec.n_obs, step):
        yield row_log_densities(spec, draws, slice(start, start + step))


def loo_groups(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> Loo:
    """Leave out one group of rows at a time.

    Its own random effects are integrated out, and where the priors of β are normal or flat, β too. If groups share no
    effects, θ, σ and ρ of residuals are left, and p(y_j | y_-j) = ∫p(y | θ, ρ, σ) / ∫p(y_-j | θ, ρ, σ) is computed
    from draws of a multivariate t that is wider than the posterior, and so than the posteriors without a group, where
    the compiled loops have the density. Else the posterior's draws of these and of the shared effects are reweighted.
    Where levels are related (``cov=``), the effects of a group
    are integrated given those of all other levels, and β is as drawn.

    Raises
    ------
    FitError
        If the response is not Gaussian, or a flat prior leaves a coefficient undetermined without some group.
    """
    spec = spec.with_rho(None)  # every draw has its own
    given = group_log_densities(spec, draws, groups)
    prior = None if spec.related else gaussian_prior(spec, draws.priors)
    wide = None if has_shared_effects(spec, groups) else wide_draws(spec, draws.priors, WIDE, draws.seed)
    source, log_weights = (draws, None) if wide is None else wide
    try:
        left_out = _left_out(spec, source, groups, prior)
    except np.linalg.LinAlgError as error:
        raise FitError(
            f"Without some level of {groups.name} the other rows do not determine the model: a prior that is flat, or "
            "nearly so, leaves the density of that level undefined. Give proper priors."
        ) from error
    r_eff = 1.0 if log_weights is not None else relative_efficiency(spec, draws)
    elpd, k = _reweighted(left_out, log_weights, r_eff)
    in_sample = np.logaddexp.reduce(given.reshape(-1, groups.size), axis=0) - np.log(draws.sigma.size)
    integrated = (f"the effects of each level of {groups.name}", *(() if prior is None else ("coefficients",)))
    index = pd.Index([str(level) for level in groups.levels], name=groups.name)
    return _result("group", groups.name, index, elpd, in_sample - elpd, k, draws, r_eff, integrated)


def _left_out(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups, prior: tuple[Floats, Floats] | None) -> Floats:
    """Log density of each group given the others (chains, draws, J), β integrated under a normal or flat `prior`."""
    return (
        group_log_densities(spec, draws, groups)
        if prior is None
        else left_out_log_densities(spec, draws, groups, *prior)
    )


def row_groups(spec: ModelSpec, place: int) -> RowGroups:
    """The rows by the levels of one of the model's grouping factors."""
    g = spec.groupings[place]
    return RowGroups(g.name, g.codes, [str(level) for level in g.levels])


def gaussian_prior(spec: ModelSpec, priors: Priors) -> tuple[Floats, Floats] | None:
    """Precision K (p, p) of β and K times its mean (p,); None where some prior is neither normal nor flat.

    They are priors of ``Priors.coordinates``.
    """
    K, s = np.zeros((spec.n_fixed,) * 2), np.zeros(spec.n_fixed)
    if priors.flat:
        return K, s
    if priors.r2d2 is not None:
        return None
    C, kinds = priors.coordinates(spec.design.fixed_names)
    for row, kind in zip(C, kinds, strict=True):
        prior: Any = kind
        if type(prior) is Flat:
            continue
        if type(prior) is not Normal:
            return None
        K += np.outer(row, row) / prior.scale**2
        s += row * prior.loc / prior.scale**2
    return K, s


def relative_efficiency(spec: ModelSpec, draws: PosteriorDraws) -> float:
    """Mean over the parameters of effective over actual draws; 1 where chains are too few or short to tell."""
    chains, length = draws.sigma.shape
    if draws.importance is not None and not draws.chained:
        return draws.importance.effective / draws.sigma.size
    values = [x for x in parameter_draws(spec, draws).values() if np.ptp(x) > 0]
    if chains == 1 or length < 4 or not values:
        return 1.0
    stats = load("arviz_stats.base").array_stats
    ess = [float(stats.ess(x, chain_axis=0, draw_axis=1, method="mean")) for x in values]
    return float(np.mean(ess)) / draws.sigma.size


def _reweighted(log_density: Floats, log_weights: Floats | None, r_eff: float) -> tuple[Floats, Floats]:
    """Elpd and Pareto k (m,) of what is left out, from draws that have weights unless they are the posterior's.

    With weights w for the posterior, w/p_j are those for the posterior without j.
    """
    if log_weights is None:
        elpd, _, k = _psis(log_density, r_eff)
        return elpd, k
    stats = load("arviz_stats.base").array_stats
    columns = np.ascontiguousarray(np.moveaxis(log_density, 2, 0)).reshape(log_density.shape[2], -1)
    with np.errstate(all="ignore"):
        smoothed, k = stats.psislw(columns - log_weights.ravel(), r_eff=r_eff, axis=-1)
    return np.asarray(load("scipy.special").logsumexp(smoothed + columns, axis=1)), np.asarray(k)


def _psis(log_density: Floats, r_eff: float) -> tuple[Floats, Floats, Floats]:
    """Elpd, p and Pareto k (m,) from log densities (chains, draws, m)."""
    stats = load("arviz_stats.base").array_stats  # heavy, and only Bayes needs it
    columns = np.ascontiguousarray(np.moveaxis(log_density, 2, 0))
    with np.errstate(all="ignore"):
        elpd, k, p = stats.loo(columns, chain_axis=1, draw_axis=2, r_eff=r_eff)
    return np.asarray(elpd), np.asarray(p), np.asarray(k)


def _result(
    kind: str,
    group: str,
    index: pd.Index[Any],
    elpd: Floats,
    p: Floats,
    k: Floats,
    draws: PosteriorDraws,
    r_eff: float,
    integrated: tuple[str, ...],
) -> Loo:
    S, n = draws.sigma.size, len(elpd)
    named = [pd.Series(v, index=index, name=name) for v, name in ((elpd, "elpd"), (p, "p"), (k, "pareto_k"))]
    return Loo(
        kind=kind,
        group=group,
        elpd=float(elpd.sum()),
        se=float(np.sqrt(n * elpd.var())),
        p=float(p.sum()),
        elpd_i=named[0],
        p_i=named[1],
        pareto_k=named[2],
        n_samples=S,
        n_data_points=n,
        good_k=float(min(1.0 - 1.0 / np.log10(S), 0.7)) if S > 10 else 0.0,
        r_eff=r_eff,
        integrated=integrated,
        by_group=draws.family == "gaussian",
    )


def loo_kind(kind: object) -> str:
    """``"conditional"`` or ``"group"``.

    Raises
    ------
    DesignError
        If it is neither.
    """
    one_of("kind", kind, ("conditional", "group"), but="left out (of rows, given the random effects; of whole levels)")
    return str(kind)
