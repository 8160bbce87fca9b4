"""Variance components of balanced designs from expected mean squares: the analysis of variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, NotAvailableError
from _ranef.reml import fit_reml
from _ranef.spec import Grouping, ModelSpec, covariance_arrays
from _ranef.support.arrays import Floats, Ints

__all__ = ["AnovaComponents", "mean_squares"]

#: share of a sum of squares that is rounding
ROUNDING = 1e-9

#: most levels of all factors together
MOST_LEVELS = 4000


@dataclass(frozen=True, eq=False, repr=False)
class AnovaComponents:
    """The analysis of variance of a balanced design, and the variances that it estimates.

    Attributes
    ----------
    table : DataFrame
        ``source, df, sum_sq, mean_sq, expected, f, p_value``: one row a factor and one for the residual. ``expected``
        is the expected mean square in symbols; F is to the line that has the same expectation where the factor's
        variance is zero, if there is one.
    coefficients : DataFrame
        Of the variances (columns) in the expected mean squares (rows).
    components : DataFrame
        ``group, formula, anova, reml``: the variance in mean squares, its estimate as it is, negative or not, and that
        by REML.

    Examples
    --------
    >>> import ranef
    >>> found = ranef.anova_components("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> found.table[["source", "df", "expected"]]
         source  df             expected
    0  operator   3  σ² + 5 σ²[operator]
    1  Residual  16                   σ²
    >>> found.components.round(3)
          group                          formula  anova   reml
    0  operator  (MS[operator] - MS[Residual])/5  0.068  0.068
    1  Residual                     MS[Residual]  0.106  0.106
    >>> found.coefficients.to_numpy().tolist()
    [[5.0, 1.0], [0.0, 1.0]]
    """

    table: pd.DataFrame
    coefficients: pd.DataFrame
    components: pd.DataFrame

    def __repr__(self) -> str:
        table, components = (f.to_string(index=False) for f in (self.table, self.components))
        return f"<Analysis of variance>\n{table}\n\n{components}"


def mean_squares(spec: ModelSpec) -> AnovaComponents:
    """Sums of squares of random factors, one after the other, coarse ones first, and what they are expected to be.

    With Q the projection onto the space of a factor orthogonal to those before it, E(yᵀQy) = σ² tr Q + Σ σ²_k tr ZₖᵀQZₖ
    (Searle, Casella & McCulloch 1992, *Variance Components*, ch. 4).

    Parameters
    ----------
    spec : ModelSpec
        Of random intercepts.

    Raises
    ------
    DesignError
        For a design that is not balanced.
    NotAvailableError
        For random slopes, weights, residual structures, or very many levels.
    """
    spec = spec.held
    _check(spec)
    groupings = sorted(spec.groupings, key=lambda g: g.n_levels)
    names = [*(g.name for g in groupings), "Residual"]
    found = _swept(spec, groupings)
    table = pd.DataFrame({"source": names, "df": found.df.astype(int), "sum_sq": found.squares})
    table["mean_sq"] = table["sum_sq"] / table["df"]
    coefficients = pd.DataFrame(found.coefficients, index=names, columns=names)
    table["expected"] = [_symbols(row, names) for row in found.coefficients]
    table["f"], table["p_value"] = zip(*_f_tests(table, found.coefficients), strict=True)
    weights = np.linalg.inv(found.coefficients)
    components = pd.DataFrame({"group": names, "formula": [_words(row, names) for row in weights]})
    components["anova"] = weights @ table["mean_sq"].to_numpy()
    estimates = fit_reml(spec, "REML")
    covs = covariance_arrays(spec, estimates.theta, np.asarray(estimates.sigma))
    reml = {g.name: float(cov[0, 0]) for g, cov in zip(spec.groupings, covs, strict=True)}
    components["reml"] = [*(reml[g.name] for g in groupings), estimates.sigma**2]
    return AnovaComponents(table, coefficients, components)


def _check(spec: ModelSpec) -> None:
    d = spec.design
    for refused, what in (
        (spec.structured, "A residual structure"),
        (spec.related, "A covariance among levels"),
        (d.weights is not None or spec.sigma is not None, "Weights, or a known sigma,"),
        (any(t.columns != ("Intercept",) for t in spec.terms), "A random slope"),
        (sum(g.n_levels for g in spec.groupings) > MOST_LEVELS, f"A design of over {MOST_LEVELS} levels"),
    ):
        if refused:
            raise NotAvailableError(f"{what} has no analysis of variance here; Model(...).fit() estimates by REML.")
    for g in spec.groupings:
        _same([g], np.bincount(g.codes))
    for i, g in enumerate(spec.groupings):
        for h in spec.groupings[:i]:
            cells = np.bincount(g.codes * h.n_levels + h.codes)
            _same([h, g], cells[cells > 0])


def _same(groupings: Sequence[Grouping], counts: Ints) -> None:
    if counts.min() != counts.max():
        where = " and ".join(g.name for g in groupings)
        raise DesignError(
            f"The design is not balanced: cells of {where} have {counts.min()} to {counts.max()} rows, and expected "
            "mean squares then depend on the order of the factors. Model(...).fit() estimates by REML."
        )


@dataclass(frozen=True, eq=False)
class _Swept:
    """Degrees of freedom (K + 1,), sums of squares (K + 1,) and coefficients (K + 1, K + 1), the residual last."""

    df: Floats
    squares: Floats
    coefficients: Floats


def _swept(spec: ModelSpec, groupings: Sequence[Grouping]) -> _Swept:
    """Take X and then every factor out of the products of [X Z y], and see what each takes."""
    d = spec.design
    y = d.y - (0.0 if d.offset is None else d.offset)
    blocks = [
        scipy.sparse.csr_array(d.X),
        *(_indicators(g) for g in groupings),
        scipy.sparse.csr_array((y - d.X @ np.linalg.lstsq(d.X, y)[0])[:, None]),
    ]
    ends = np.cumsum([0, *(b.shape[1] for b in blocks)])
    places = [slice(a, b) for a, b in pairwise(ends)]
    columns = scipy.sparse.hstack(blocks).tocsr()
    S = (columns.T @ columns).toarray()
    size = np.sqrt(np.maximum(np.diag(S), 1e-300))
    K, own = len(groupings), places[1:-1]
    df, squares, traces = np.zeros(K + 1), np.zeros(K + 1), np.zeros((K + 1, K + 1))
    rank = 0
    for k, place in enumerate(places[:-1]):
        half, r = _half(S, place, size)
        if k:
            df[k - 1], squares[k - 1] = r, float((half[:, -1] ** 2).sum())
            traces[k - 1, :K] = [float((half[:, other] ** 2).sum()) for other in own]
        S, rank = S - half.T @ half, rank + r
    df[K], squares[K] = spec.n_obs - rank, S[-1, -1]
    if (df < 1).any():
        name = [*(g.name for g in groupings), "Residual"][int(np.argmin(df))]
        raise DesignError(f"{name} has no degrees of freedom beside what comes before it. Leave out a term.")
    coefficients = np.round(traces / df[:, None], 9)
    coefficients[:, K] = 1.0
    return _Swept(df, squares, coefficients)


def _indicators(g: Grouping) -> scipy.sparse.csr_array:
    n = len(g.codes)
    return scipy.sparse.csr_array((np.ones(n), (np.arange(n), g.codes)), shape=(n, g.n_levels))


def _half(S: Floats, place: slice, size: Floats) -> tuple[Floats, int]:
    """H (r, all) with HᵀH what the columns in a place take out of S, and their rank."""
    scale = 1.0 / size[place]
    values, vectors = np.linalg.eigh(S[place, place] * np.outer(scale, scale))
    kept = values > ROUNDING * len(values)
    half = (vectors[:, kept] * scale[:, None] / np.sqrt(values[kept])).T @ S[place]
    return half, int(kept.sum())


def _symbols(row: Floats, names: Sequence[str]) -> str:
    """An expected mean square, as ``σ² + 5 σ²[operator]``."""
    parts = ["σ²", *(f"{c:g} σ²[{name}]" for c, name in zip(row[-2::-1], names[-2::-1], strict=True) if c)]
    return " + ".join(parts).replace(" 1 σ", " σ")


def _words(weights: Floats, names: Sequence[str]) -> str:
    """A variance as a combination of mean squares, as ``(MS[operator] - MS[Residual])/5``."""
    kept = [(w, name) for w, name in zip(weights, names, strict=True) if abs(w) > ROUNDING]
    unit = abs(kept[0][0])
    terms = []
    for w, name in kept:
        ratio = abs(w) / unit
        times = "" if np.isclose(ratio, 1.0) else f"{ratio:.6g} "
        terms.append(f"{'-' if w < 0 else '+'} {times}MS[{name}]")
    text = " ".join(terms).removeprefix("+ ")
    if np.isclose(unit, 1.0):
        return text
    return f"({text})/{1.0 / unit:.6g}" if len(kept) > 1 else f"{text}/{1.0 / unit:.6g}"


def _f_tests(table: pd.DataFrame, coefficients: Floats) -> list[tuple[float, float]]:
    """F and p of every line whose expectation without its own variance is that of another."""
    out = []
    for k, row in enumerate(coefficients):
        null = row.copy()
        null[k] = 0.0
        other = [
            j for j in range(len(coefficients)) if k < len(coefficients) - 1 and np.allclose(coefficients[j], null)
        ]
        if not other:
            out.append((np.nan, np.nan))
            continue
        ratio = float(table["mean_sq"][k] / table["mean_sq"][other[0]])
        out.append((ratio, float(scipy.stats.f.sf(ratio, table["df"][k], table["df"][other[0]]))))
    return out
