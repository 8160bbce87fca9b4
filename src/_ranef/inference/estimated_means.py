"""Estimated marginal means over a reference grid, slopes of a covariate, and their contrasts, by either engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import lcm
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError
from _ranef.inference.covariates import numeric_columns
from _ranef.inference.ddf import CoefficientLaw, Fixed, coefficient_law
from _ranef.inference.effect_frames import check_level
from _ranef.inference.engines import Maximum, Sampled, dispersions_of
from _ranef.inference.joint_hessian import joint_information
from _ranef.inference.reference_grid import Grid, cell_weights, encoded, reference_grid
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = ["ADJUSTMENTS", "CONTRASTS", "MarginalMeans", "checked_adjustment", "emmeans", "marginal_means"]

#: kinds of contrasts with the adjustment of each by default, and adjustments
CONTRASTS = {"pairwise": "tukey", "treatment": "holm", "effects": "holm", "poly": "none"}
ADJUSTMENTS = ("tukey", "holm", "bonferroni", "sidak", "fdr", "none")

#: what emmeans calls some of them
SHORT = {"pairs": "pairwise", "trt.vs.ctrl": "treatment", "dunnett": "treatment", "eff": "effects"}

#: what differences of links are called that are logarithms, once they are back-transformed
RATIOS = {"log": "ratio", "logit": "odds.ratio"}

#: names of polynomial contrasts
DEGREES = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")

#: step of a slope, as a share of the covariate's standard deviation, or of its size where that is not known
STEP = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class MarginalMeans:
    """Marginal means, or slopes, with what their contrasts need.

    Attributes
    ----------
    cells : DataFrame (r rows)
        Levels of the factors asked for, those of `by` last; the first one varies fastest.
    by : tuple of str
        Within whose levels contrasts are taken.
    L : array (r, p)
        The combinations of coefficients; NaN where the data do not determine them.
    offset : float
        What is added to each mean: the mean offset.
    beta : array (p,)
    law : CoefficientLaw or None
        None for a posterior.
    draws : array (draws, p) or None
        Of a posterior.
    level : float
    family : Generalised, optional
        Through whose inverse link means go, and contrasts that are ratios; None on the scale of β.
    """

    cells: pd.DataFrame
    by: tuple[str, ...]
    L: Floats
    offset: float
    beta: Floats
    law: CoefficientLaw | None
    draws: Floats | None
    level: float
    family: Generalised | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The cells with ``estimate, std_error, df, lower, upper, statistic, p_value``.

        Of a posterior ``std_error`` is its standard deviation, the interval equal-tailed, and ``p_value`` twice the
        probability of the other sign; ``df`` and ``statistic`` are NaN.
        """
        found = self._estimates(self.L, self.offset, "none", 1, self.level, self.family)
        return pd.concat([self.cells, found], axis=1)

    def contrasts(
        self,
        method: str | Mapping[str, Sequence[float]] | Any = "pairwise",
        adjust: str | None = None,
        level: float | None = None,
    ) -> pd.DataFrame:
        """Contrasts, as :meth:`ranef.Means.contrasts` has them."""
        method = SHORT.get(method, method) if isinstance(method, str) else method
        adjust = checked_adjustment(method, adjust)
        level = self.level if level is None else level
        check_level(level)
        parts = [self._family(rows, method, adjust, level) for rows in self._families()]
        return pd.concat(parts, ignore_index=True)

    def _families(self) -> list[Ints]:
        if not self.by:
            return [np.arange(len(self.cells))]
        return [np.asarray(v) for v in self.cells.groupby(list(self.by), sort=False, observed=True).indices.values()]

    def _family(self, rows: Ints, method: Any, adjust: str, level: float) -> pd.DataFrame:
        names, coefficients = self._combined(rows, method)
        ratios = self._ratio(coefficients)
        names = [name.replace(" - ", " / ") for name in names] if ratios else names
        out = pd.DataFrame({"contrast": names})
        for name in self.by:
            out[name] = self.cells[name].iloc[rows[0]]
        shift = self.offset * coefficients.sum(axis=1)
        through = _Exponential() if ratios else None
        found = self._estimates(coefficients @ self.L[rows], shift, adjust, len(rows), level, through)
        return pd.concat([out, found], axis=1)

    def contrasts_called(self, method: str | Mapping[str, Sequence[float]] | Any = "pairwise") -> str:
        """``"ratio"`` or ``"odds.ratio"`` where such contrasts are, else ``"estimate"``."""
        method = SHORT.get(method, method) if isinstance(method, str) else method
        return self._ratio(self._combined(self._families()[0], method)[1]) or "estimate"

    def _combined(self, rows: Ints, method: Any) -> tuple[list[str], Floats]:
        own = [c for c in self.cells.columns if c not in self.by]
        return _coefficients(method, _labels(self.cells.iloc[rows][own]))

    def _ratio(self, coefficients: Floats) -> str:
        """What back-transformed contrasts of logarithms are called, if their coefficients (c, r) sum to zero."""
        called = "" if self.family is None else RATIOS.get(self.family.link, "")
        return called if np.allclose(coefficients.sum(axis=1), 0.0) else ""

    def _estimates(
        self, L: Floats, offset: Any, adjust: str, means: int, level: float, through: Back | None
    ) -> pd.DataFrame:
        if self.draws is not None:
            eta = self.draws @ L.T + offset
            out = _of_draws(eta if through is None else through.mean(eta), level)
            return out.assign(p_value=_of_draws(eta, level)["p_value"])
        assert self.law is not None
        estimate, se = L @ self.beta + offset, np.sqrt(np.einsum("rp,pq,rq->r", L, self.law.vcov, L))
        known = np.isfinite(estimate)
        df = np.full(len(L), np.nan)
        df[known] = self.law.ddf(L[known])
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = estimate / se
        p, critical = _adjusted(np.abs(statistic), df, adjust, means, level)
        lower, upper = estimate - critical * se, estimate + critical * se
        if through is not None:
            se = se * through.mean_slope(estimate)
            estimate, lower, upper = (through.mean(x) for x in (estimate, lower, upper))
        columns = {"estimate": estimate, "std_error": se, "df": df, "lower": lower, "upper": upper}
        return pd.DataFrame({**columns, "statistic": statistic, "p_value": p})


class Back(Protocol):
    """The way back from the scale of a link."""

    def mean(self, eta: Floats) -> Floats:
        """The inverse link."""
        ...

    def mean_slope(self, eta: Floats) -> Floats:
        """Its derivative."""
        ...


class _Exponential:
    """From differences of logarithms to ratios."""

    def mean(self, eta: Floats) -> Floats:
        return np.exp(eta)

    def mean_slope(self, eta: Floats) -> Floats:
        return np.exp(eta)


def _of_draws(draws: Floats, level: float) -> pd.DataFrame:
    lower, upper = np.quantile(draws, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    above = (draws > 0).mean(axis=0)
    nothing = np.full(draws.shape[1], np.nan)
    return pd.DataFrame(
        {
            "estimate": draws.mean(axis=0),
            "std_error": draws.std(axis=0, ddof=1),
            "df": nothing,
            "lower": lower,
            "upper": upper,
            "statistic": nothing,
            "p_value": np.where(np.isnan(draws).any(axis=0), np.nan, 2.0 * np.minimum(above, 1.0 - above)),
        }
    )


def _adjusted(size: Floats, df: Floats, adjust: str, means: int, level: float) -> tuple[Floats, Floats]:
    """P-values (c,) of |t| and critical values (c,), for c contrasts of so many means."""
    t, tukey, n, tail = scipy.stats.t, scipy.stats.studentized_range, len(size), 0.5 - 0.5 * level
    p: Any = 2.0 * t.sf(size, df)
    if adjust == "tukey" and means > 2:
        alike, which = np.unique(df.round(8), return_inverse=True)  # a quantile takes long
        p = tukey.sf(np.sqrt(2.0) * size, means, df)
        critical = np.asarray(tukey.ppf(level, means, alike))[which] / np.sqrt(2.0)
    elif adjust == "sidak":
        p, critical = -np.expm1(n * np.log1p(-p)), t.isf(-0.5 * np.expm1(np.log(level) / max(n, 1)), df)
    elif adjust in FAMILIES:
        p, critical = FAMILIES[adjust](p), t.isf(tail / max(n, 1), df)
    else:
        critical = t.isf(tail, df)
    return np.asarray(p), np.asarray(critical)


def _holm(p: Floats) -> Floats:
    """Step-down adjusted p-values (Holm 1979, Scand. J. Stat. 6, 65-70)."""
    order = np.argsort(p)
    out = np.empty(len(p))
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out


def _false_discoveries(p: Floats) -> Floats:
    """Adjusted for the share of false ones among those that are rejected (Benjamini & Hochberg 1995), NaN left out."""
    out, known = p.copy(), np.isfinite(p)
    out[known] = scipy.stats.false_discovery_control(p[known])
    return out


#: adjustments beside which intervals are Bonferroni's
FAMILIES = {"holm": _holm, "bonferroni": lambda p: np.minimum(1.0, len(p) * p), "fdr": _false_discoveries}


def checked_adjustment(method: Any, adjust: str | None) -> str:
    method = SHORT.get(method, method) if isinstance(method, str) else method
    if isinstance(method, str):
        one_of("method", method, list(CONTRASTS), but="a mapping or an array")
    chosen = (CONTRASTS[method] if isinstance(method, str) else "none") if adjust is None else adjust
    one_of("adjust", chosen, list(ADJUSTMENTS))
    if chosen == "tukey" and not (isinstance(method, str) and method == "pairwise"):
        raise DesignError("adjust='tukey' is for all pairs; for other contrasts choose 'holm', 'bonferroni' or 'none'.")
    return chosen


def _labels(cells: pd.DataFrame) -> list[str]:
    """Levels of each cell, with the name of a factor whose levels are numbers."""
    parts = []
    for name in cells.columns:
        numbers = pd.to_numeric(cells[name].astype(str), errors="coerce").notna().all()
        words = [f"{v:g}" if isinstance(v, float) else str(v) for v in cells[name]]
        parts.append([f"{name}{w}" if numbers else w for w in words])
    return [" ".join(words) for words in zip(*parts, strict=True)] if parts else ["overall"] * len(cells)


def _coefficients(method: Any, labels: Sequence[str]) -> tuple[list[str], Floats]:
    """Names and coefficients (c, r) of contrasts of r means."""
    r = len(labels)
    if isinstance(method, str):
        if method == "poly":
            return _polynomial(r)
        if method == "effects":
            return [f"{label} effect" for label in labels], np.eye(r) - 1.0 / r
        pairs = list(combinations(range(r), 2)) if method == "pairwise" else [(i, 0) for i in range(1, r)]
        rows = [np.eye(r)[i] - np.eye(r)[j] for i, j in pairs]
        return [f"{labels[i]} - {labels[j]}" for i, j in pairs], np.array(rows).reshape(len(pairs), r)
    names = [str(name) for name in method] if isinstance(method, Mapping) else None
    try:
        given = np.atleast_2d(np.asarray(list(method.values()) if names else method, dtype=float))
    except (TypeError, ValueError) as error:
        raise DesignError(f"The coefficients of contrasts are no numbers: {error}.") from None
    if given.shape[1] != r:
        raise DesignError(
            f"Contrasts have {given.shape[1]} coefficients, and there are {r} means: {', '.join(labels)}."
        )
    return names or [f"contrast {k + 1}" for k in range(len(given))], given


def _polynomial(r: int) -> tuple[list[str], Floats]:
    """Orthogonal polynomials over even steps, in the smallest whole numbers."""
    q, _ = np.linalg.qr(np.vander(np.arange(r) - 0.5 * (r - 1), r, increasing=True))
    rows = []
    for column in q.T[1 : len(DEGREES) + 1]:
        column = column * np.sign(column[-1])
        shares = [Fraction(float(c)).limit_denominator(1000) for c in column / np.abs(column).max()]
        whole = np.array([float(s * lcm(*(t.denominator for t in shares))) for s in shares])
        rows.append(whole / np.gcd.reduce(whole.astype(int)))
    return list(DEGREES[: r - 1]), np.array(rows).reshape(len(rows), r)


def emmeans(
    fit: Any,
    spec: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    *,
    trend: str | None = None,
    ddf: str | None = None,
    level: float = 0.95,
    type: str = "link",
) -> MarginalMeans:
    """Marginal means, or slopes, as :func:`ranef.emmeans` has them."""
    one_of("type", type, ("link", "response"))
    family = fit.spec.family
    if type == "response" and trend is None and isinstance(family, Generalised) and family.classes:
        coefficient_moments(fit, ddf)  # which refuses what has none, and degrees of freedom
        return _of_classes(fit, spec, by, at, weights, level)
    found = marginal_means(fit, coefficient_moments(fit, ddf), spec, by, at, weights, trend, level)
    if type == "link" or trend is not None or not isinstance(family, Generalised):
        return found
    return replace(found, family=family)


def coefficient_moments(fit: Any, ddf: str | None) -> CoefficientLaw | None:
    """Covariance and degrees of freedom of the coefficients of a maximum; None for a posterior."""
    if isinstance(fit, Sampled):
        return None
    if not isinstance(fit, Maximum):
        raise DesignError(f"emmeans() is of a fit, model.fit() or model.sample(); got {type(fit).__name__}.")
    return coefficient_law(fit, ddf)


def marginal_means(
    fit: Maximum | Sampled,
    law: CoefficientLaw | None,
    spec: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    trend: str | None = None,
    level: float = 0.95,
) -> MarginalMeans:
    """What :func:`emmeans` does, by a law of the coefficients."""
    check_level(level)
    one_of("weights", weights, ("equal", "proportional"))
    factors, within = _asked(spec, by)
    grid = reference_grid(fit.spec, at)
    names = tuple(dict.fromkeys(grid.named(name).name for name in (*factors, *within)))
    rows = grid.X if trend is None else _slopes(fit.spec, grid, trend)
    rows = np.where(grid.determined[:, None], rows, np.nan)
    cells, L = _averaged(fit.spec, grid, rows, names, weights)
    offset = grid.offset if trend is None else 0.0
    own = tuple(grid.named(name).name for name in within)
    if isinstance(fit, Sampled):
        draws = fit.draws.beta.reshape(-1, fit.spec.n_fixed)
        return MarginalMeans(cells, own, L, offset, draws.mean(axis=0), None, draws, level)
    return MarginalMeans(cells, own, L, offset, fit.estimates.beta, law, None, level)


def _of_classes(
    fit: Maximum | Sampled,
    spec: str | Sequence[str],
    by: str | Sequence[str] | None,
    at: Mapping[str, Any] | None,
    weights: str,
    level: float,
) -> MarginalMeans:
    """Probabilities of classes, averaged over the grid as such, with the covariance that thresholds and β̂ give them."""
    check_level(level)
    one_of("weights", weights, ("equal", "proportional"))
    grid, family = reference_grid(fit.spec, at), fit.spec.family
    assert isinstance(family, Generalised)
    factors, within = ([grid.named(name).name for name in names] for names in _asked(spec, by))
    names = tuple(dict.fromkeys((*factors, *within)))
    X, classes = np.where(grid.determined[:, None], grid.X, np.nan), family.classes

    def averaged(values: Floats) -> tuple[pd.DataFrame, Floats]:
        """Cells (r), and values (m, K, ...) as means in each of them of each class (rK, ...)."""
        cells, means = _averaged(fit.spec, grid, values.reshape(len(X), -1), names, weights)
        by_class = means.reshape(len(cells), *values.shape[1:]).swapaxes(0, 1)
        return cells, by_class.reshape(-1, *values.shape[2:])

    if isinstance(fit, Sampled):
        owns = {name: np.reshape(x, (-1, 1)) for name, x in family.own(fit.draws.extras).items()}
        eta = fit.draws.beta.reshape(-1, fit.spec.n_fixed) @ X.T + grid.offset
        cells, drawn = averaged(np.moveaxis(family.predicted(eta, owns), 0, -1))
        p, law, draws = drawn.mean(axis=-1), None, drawn.T
    else:
        joint, own = joint_information(fit.spec, fit.estimates), dispersions_of(fit.estimates)
        eta = X @ fit.estimates.beta + grid.offset
        cells, p = averaged(family.predicted(eta, own))
        slopes = family.predicted_slopes(eta, own)
        of_means = slopes[..., :1] * (X @ joint.coefficient_slopes)[:, None]
        of_own = slopes[..., 1:] @ np.eye(len(joint.x))[len(joint.x) - len(own) :]
        moves = averaged(of_means + of_own)[1]
        law, draws = Fixed(moves @ joint.covariance @ moves.T, np.inf, ""), None
    cells = pd.concat([cells.assign(**{"class": name}) for name in classes], ignore_index=True)
    return MarginalMeans(cells, (*within, "class"), np.eye(len(p)), 0.0, p, law, draws, level)


def _asked(spec: str | Sequence[str], by: str | Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of the factors, and of those behind a bar or in `by`."""
    if not isinstance(spec, str):
        return list(spec), _names(by)
    asked, _, right = spec.rpartition("~")
    if asked.strip():
        raise DesignError(
            f"{spec!r}: means are asked for by the right side, and contrasts of the means: "
            f"ranef.emmeans(fit, {right.strip()!r}).contrasts({asked.strip()!r})."
        )
    before, _, after = right.partition("|")
    return _names(before), [*_names(after), *_names(by)]


def _names(text: str | Sequence[str] | None) -> list[str]:
    if text is None:
        return []
    if not isinstance(text, str):
        return list(text)
    for sign in "*:+":
        text = text.replace(sign, " ")
    return [name for name in text.split() if name != "1"]


def _averaged(
    spec: ModelSpec, grid: Grid, rows: Floats, names: tuple[str, ...], weights: str
) -> tuple[pd.DataFrame, Floats]:
    """Cells of the factors asked for, the first fastest, and the mean of the grid's rows in each (r, p)."""
    over = [p.name for p in grid.predictors if p.name not in names]
    factors = [name for name in over if grid.named(name).factor]
    share = np.ones(len(rows)) if weights == "equal" else cell_weights(spec, grid, factors)
    if not names:
        return pd.DataFrame(index=range(1)), (share @ rows / share.sum())[None]
    order = [
        tuple(grid.named(name).values.index(v) for name, v in zip(names, row, strict=True))
        for row in _rows(grid, names)
    ]
    cells = sorted(set(order), key=lambda cell: cell[::-1])
    L = np.empty((len(cells), rows.shape[1]))
    for k, cell in enumerate(cells):
        own = np.array([o == cell for o in order])
        L[k] = share[own] @ rows[own] / share[own].sum()
    values = {name: [grid.named(name).values[c[i]] for c in cells] for i, name in enumerate(names)}
    return pd.DataFrame(values), L


def _rows(grid: Grid, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(grid.frame[list(names)].itertuples(index=False, name=None))


def _slopes(spec: ModelSpec, grid: Grid, trend: str) -> Floats:
    """∂X/∂x (m, p) in a covariate x, by central differences."""
    p = grid.named(trend)
    if p.factor:
        raise DesignError(f"trend={trend!r} is a factor; slopes are of covariates.")
    known = numeric_columns(spec, None).get(p.name)
    size = STEP * (float(np.abs(p.values).max()) if known is None else float(known[1].std()))
    size = size or STEP
    ahead, behind = (
        encoded(spec, grid.frame.assign(**{p.name: grid.frame[p.name] + s * size}))[0] for s in (1.0, -1.0)
    )
    return np.asarray((ahead - behind) / (2.0 * size))
