"""Exact (restricted) likelihood ratio tests of one variance, by simulation from the spectrum of its design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from _ranef.errors import DesignError, FitError, NotAvailableError, suggestion
from _ranef.inference.engines import Estimated
from _ranef.likelihood import EffectRoots, Likelihood, effect_roots
from _ranef.reml import fit_reml
from _ranef.results import Doubtable, Method, marked
from _ranef.spec import ModelSpec, TermSpec, model_spec
from _ranef.support.argument_remedies import generator, helpful, whole_number
from _ranef.support.arrays import Floats

__all__ = ["ExactTest", "exact_rlrt", "simulated_ratios"]

#: variance ratios tried, beside the mean eigenvalue; a parabola finds the best between them
GRID = np.geomspace(1e-5, 1e5, 100)

#: numbers held at once
ENTRIES = 400_000

#: a statistic below this, beside the criterion, is zero to rounding
ZERO = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class ExactTest(Doubtable):
    """A test of one variance against zero by the exact null distribution of its likelihood ratio.

    Attributes
    ----------
    tested : str
        The standard deviation that is zero under the null hypothesis, and coefficients that are.
    kind : str
        ``"RLRT"`` or ``"LRT"``.
    statistic : float
        By how much the criterion is larger under the null hypothesis.
    p_value : float
        Share of simulated statistics that are as large; 1 where the statistic is zero.
    p_error : float
        Its Monte-Carlo standard error.
    simulated : array (nsim,)
        Statistics under the null hypothesis.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> test = ranef.exact_rlrt(fit, nsim=1000, seed=1)
    >>> test.kind, round(test.statistic, 2), test.p_value < 0.05
    ('RLRT', 3.47, True)
    >>> 0.5 < test.share_of_zeros < 0.7
    True
    """

    tested: str
    kind: str
    statistic: float
    p_value: float
    p_error: float
    simulated: Floats

    @property
    def share_of_zeros(self) -> float:
        """Share of simulated statistics that are zero: samples whose estimate is on the boundary."""
        return float(np.mean(self.simulated == 0.0))

    def _printed(self) -> str:
        return (
            f"<Exact {self.kind} of {self.tested} = 0: {self.statistic:.4f}, p = {self.p_value:.4g} "
            f"(± {self.p_error:.1g}, {len(self.simulated)} simulations, {self.share_of_zeros:.0%} of them zero)>"
        )


@helpful
def exact_rlrt(
    fit: Estimated,
    group: str | None = None,
    nsim: int = 100_000,
    seed: int | None = None,
    *,
    term: str | None = None,
    fixed: Sequence[str] | str = (),
) -> ExactTest:
    """Test whether a variance is zero by simulating the exact null distribution of the likelihood ratio.

    With ξ the eigenvalues of ZᵀSZ (S the projection off X) the restricted ratio is, under the null hypothesis, as

        sup_τ  ν log (Σ w + r)/(Σ w/(1 + τξ) + r) − Σ log(1 + τξ),   w ~ χ²₁, r ~ χ²

    whatever β and σ (Crainiceanu & Ruppert 2004, J. R. Stat. Soc. B 66, 165-185, theorem 1; with coefficients tested
    too theorem 2), which takes no fit. With further variances in the model the statistic is that of the fits with and
    without the one tested, and the distribution that of a model in which it stands alone (Greven, Crainiceanu,
    Küchenhoff & Peters 2008, J. Comput. Graph. Stat. 17, 870-891: RLRsim's ``m``, ``mA`` and ``m0``).

    Parameters
    ----------
    fit : EmpiricalBayesFit
        Of the larger model; by REML, or by ML for the test without restriction.
    group : str, optional
        The grouping factor whose variance is tested; needed where there are several.
    nsim : int
        Simulations.
    seed : int, optional
    term : str, optional
        The column of the random effects, where a factor has several terms.
    fixed : str or sequence of str, optional
        Coefficients that are zero under the null hypothesis too; of a fit by ML with one variance.

    Returns
    -------
    ExactTest
        ``statistic``, ``p_value`` and the simulated statistics.

    Raises
    ------
    DesignError
        For an unknown factor or coefficient, or a choice that is not made.
    NotAvailableError
        Where a term has several variance parameters, or residuals or levels have covariances of their own.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> test = ranef.exact_rlrt(fit, seed=1)
    >>> round(test.statistic, 4), round(test.p_value, 2)
    (3.4701, 0.02)
    """
    nsim, rng = whole_number("nsim", nsim, 1), generator(seed)
    if not isinstance(fit, Estimated):
        raise DesignError("An exact test is of a Gaussian fit by REML or ML: ranef.exact_rlrt(model.fit()).")
    spec, method = fit.spec, fit.estimates.method
    chosen = _tested(spec, group, term)
    zero = _coefficients(spec, method, fixed)
    statistic, more = _statistic(fit, chosen, zero)
    roots = effect_roots(Likelihood(spec, fit.products, method), chosen.grouping, chosen.where)
    known = spec.sigma is not None
    simulated = simulated_ratios(rng, nsim, roots, method, spec.n_obs, spec.n_fixed, len(zero), known=known)
    statistic = 0.0 if statistic <= ZERO * (1.0 + abs(fit.estimates.criterion)) else statistic
    p = float(np.mean(simulated >= statistic))
    name = ", ".join([f"sd({chosen.columns[0]} | {chosen.group})", *more])
    kind = "RLRT" if method == "REML" else "LRT"
    found = ExactTest(name, kind, statistic, p, float(np.sqrt(p * (1.0 - p) / nsim)), simulated)
    return marked(found, [fit.estimates.optimizer])


def _tested(spec: ModelSpec, group: str | None, term: str | None) -> TermSpec:
    """The term whose variance is tested."""
    streamed = spec.design.stream is not None
    if spec.structured or spec.related or streamed:
        what = "residuals with structures of their own" if spec.structured else "related levels (cov=)"
        what = "rows that are read in chunks" if streamed else what
        raise NotAvailableError(
            f"The exact null distribution is of independent rows and levels; this model has {what}. "
            "fit.bootstrap() or fit.profile() tell of its variances."
        )
    groups = list(dict.fromkeys(t.group for t in spec.terms))
    if group is not None and group not in groups:
        raise DesignError(
            f"There is no grouping factor {group!r}.{suggestion(group, groups)} The model has: {', '.join(groups)}."
        )
    found = [t for t in spec.terms if group in (None, t.group) and (term is None or term in t.columns)]
    if len(found) != 1:
        terms = ", ".join(f"{t.columns[0]} of {t.group}" for t in found or spec.terms)
        raise DesignError(f"Which variance is tested? Choose by group= and term= one of: {terms}.")
    if found[0].structure.n_theta > 1:
        raise NotAvailableError(
            f"{found[0].text} has {found[0].structure.n_theta} variance parameters, and the exact distribution is of "
            "one. Write its terms apart, as (x || g), or compare the fits by ranef.anova(..., test='bootstrap')."
        )
    return found[0]


def _coefficients(spec: ModelSpec, method: str, fixed: Sequence[str] | str) -> list[int]:
    names = [fixed] if isinstance(fixed, str) else list(fixed)
    known = list(spec.design.fixed_names)
    for name in names:
        if name not in known:
            raise DesignError(
                f"There is no coefficient {name!r}.{suggestion(name, known)} The model has: {', '.join(known)}."
            )
    if names and method == "REML":
        raise DesignError("Criteria by REML with other coefficients do not compare; test fixed= by model.fit('ML').")
    if names and len(spec.terms) > 1:
        raise NotAvailableError("fixed= is tested in models of one variance. ranef.anova() compares others.")
    return [known.index(name) for name in names]


def _statistic(fit: Estimated, term: TermSpec, zero: list[int]) -> tuple[float, list[str]]:
    """By how much the criterion is larger without the term and the coefficients, and the names of these."""
    spec, method, best = fit.spec, fit.estimates.method, fit.estimates.criterion
    if len(spec.terms) > 1:
        kept = tuple(r for k, r in enumerate(spec.design.random) if k != term.source)
        smaller = model_spec(replace(spec.design, random=kept), spec.sigma)
        return fit_reml(smaller, method).criterion - best, []
    at = Likelihood(spec, fit.products, method).at(np.zeros(spec.n_theta))
    more = 0.0
    if zero:
        wald = float(at.beta[zero] @ np.linalg.solve(at.vcov[np.ix_(zero, zero)], at.beta[zero]))
        more = wald if spec.sigma is not None else spec.n_obs * float(np.log1p(wald / spec.n_obs))
    return at.criterion + more - best, [spec.design.fixed_names[j] for j in zero]


def simulated_ratios(
    rng: np.random.Generator, nsim: int, roots: EffectRoots, method: Method, n: int, p: int, tested: int, *, known: bool
) -> Floats:
    """Likelihood ratios (nsim,) under the null hypothesis.

    Parameters
    ----------
    rng : Generator
    nsim : int
    roots : EffectRoots
    method : "REML" or "ML"
    n, p : int
        Rows and coefficients.
    tested : int
        Coefficients that are zero, too.
    known : bool
        Whether σ is known.

    Raises
    ------
    FitError
        If effects leave nothing of the rows.
    """
    rest = n - p - int(roots.counts.sum())
    if not roots.roots.size or (rest < 1 and not known):
        why = "lie in the fixed effects" if rest else "fit the rows exactly"
        raise FitError(f"There is no null distribution of this variance: its random effects {why}.")
    nu, determinant = (
        (n - p, np.repeat(roots.roots, roots.counts.astype(int))) if method == "REML" else (n, roots.det_roots)
    )
    tau = GRID / roots.roots.mean()
    shrunk = 1.0 / (1.0 + np.outer(roots.roots, tau))
    log_det = np.log1p(np.outer(determinant, tau)).sum(axis=0)
    out = np.empty(nsim)
    step = max(1, ENTRIES // (len(shrunk) + len(tau)))
    for first in range(0, nsim, step):
        own = slice(first, min(first + step, nsim))
        size = own.stop - own.start
        w = rng.chisquare(roots.counts, (size, len(shrunk)))
        r = rng.chisquare(rest, size) if rest else np.zeros(size)
        null, left = w.sum(axis=1) + r, w @ shrunk
        left += r[:, None]
        start = null + (rng.chisquare(tested, size) if tested else 0.0)
        gain = start if known else nu * np.log(start)
        lost = -left if known else np.multiply(-nu, np.log(left, out=left), out=left)
        lost -= log_det
        none = gain - null if known else gain - nu * np.log(null)  # no variance, but the coefficients
        out[own] = np.maximum(gain + _highest(lost), none)
    return out


def _highest(ratios: Floats) -> Floats:
    """The largest of each row (B, m), by a parabola through the best of even steps and its neighbours."""
    rows, last = np.arange(len(ratios)), ratios.shape[1] - 1
    best = ratios.argmax(axis=1)
    inner = np.clip(best, 1, last - 1)
    low, middle, high = (ratios[rows, inner + k] for k in (-1, 0, 1))
    bend = low - 2.0 * middle + high
    with np.errstate(divide="ignore", invalid="ignore"):
        top = middle - 0.125 * (high - low) ** 2 / bend
    inside = (best == inner) & (bend < 0)
    return np.asarray(np.where(inside, top, ratios[rows, best]))
