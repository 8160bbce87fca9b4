"""Separate least-squares fits of every level of a factor: no pooling, with tests and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from _ranef.inference.effect_frames import check_level
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["GroupRegressions", "group_regressions"]

#: share of a column, orthogonal to those before it, that is rounding
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class GroupRegressions:
    """A least-squares fit for every level of a factor.

    Attributes
    ----------
    group : str
    frame : DataFrame
        ``group, level, term, estimate, std_error, df, statistic, p_value``; NaN for coefficients that the rows of a
        level do not tell apart from those before, as R's ``lm`` has NA.
    groups : DataFrame
        ``level, n, df, rss, sigma``: one row a level.
    sigma : float
        The pooled residual standard deviation: √(Σ rss/Σ df).
    df : int
        Its degrees of freedom.
    pool : bool
        Whether standard errors are by it, with its degrees of freedom, or by each level's own.

    Examples
    --------
    >>> import ranef
    >>> lines = ranef.lm_list("Reaction ~ Days | Subject", ranef.datasets.load("sleepstudy"))
    >>> lines.coef.round(1).loc["308"].to_dict()
    {'Intercept': 244.2, 'Days': 21.8}
    >>> lines.confint().columns.tolist(), lines.groups.columns.tolist()
    (['level', 'term', 'estimate', 'lower', 'upper'], ['level', 'n', 'df', 'rss', 'sigma'])
    >>> round(lines.sigma, 2), lines.df
    (25.59, 144)
    """

    group: str
    frame: pd.DataFrame
    groups: pd.DataFrame
    sigma: float
    df: int
    pool: bool

    @property
    def coef(self) -> pd.DataFrame:
        """Coefficients by level: one row a level, one column a term."""
        wide = self.frame.pivot(index="level", columns="term", values="estimate")
        out = wide.loc[list(self.groups["level"]), list(dict.fromkeys(self.frame["term"]))]
        return out.rename_axis(None, axis=1)

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """``level, term, estimate, lower, upper``, by Student's t."""
        check_level(level)
        f = self.frame
        half = f["std_error"] * scipy.stats.t.ppf(0.5 + 0.5 * level, f["df"].to_numpy(dtype=float))
        out = f[["level", "term", "estimate"]]
        return out.assign(lower=f["estimate"] - half, upper=f["estimate"] + half)

    def __repr__(self) -> str:
        pooled = f"pooled sd {self.sigma:.4g} on {self.df} degrees of freedom"
        return f"<{len(self.groups)} least-squares fits by {self.group}, {pooled}>\n{self.coef}"


def group_regressions(spec: ModelSpec, *, pool: bool = True) -> GroupRegressions:
    """Fit the fixed part of a model to the rows of every level of its grouping factor.

    Parameters
    ----------
    spec : ModelSpec
        With one grouping factor.
    pool : bool
        Whether all levels have one residual variance.
    """
    spec = spec.held
    d, (g,) = spec.design, spec.groupings
    y = d.y - (0.0 if d.offset is None else d.offset)
    root = np.ones(spec.n_obs) if d.weights is None else np.sqrt(d.weights)
    X, y = d.X * root[:, None], y * root
    rows = [np.flatnonzero(g.codes == k) for k in range(g.n_levels)]
    fits = [_least_squares(X[own], y[own]) for own in rows]
    rss, dfs = np.array([f.rss for f in fits]), np.array([f.df for f in fits])
    df = int(dfs.sum())
    sigma = float(np.sqrt(rss.sum() / df)) if df else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        own_sigma = np.where(dfs > 0, np.sqrt(rss / dfs), np.nan)
    sds, each_df = (np.full(len(fits), sigma), np.full(len(fits), df)) if pool else (own_sigma, dfs)
    frame = pd.concat(
        [
            _coefficients(f, s, int(k), d.fixed_names).assign(level=level)
            for f, s, k, level in zip(fits, sds, each_df, g.levels, strict=True)
        ],
        ignore_index=True,
    ).assign(group=g.name)
    groups = pd.DataFrame({"level": g.levels, "n": [len(own) for own in rows], "df": dfs, "rss": rss})
    columns = ["group", "level", "term", "estimate", "std_error", "df", "statistic", "p_value"]
    return GroupRegressions(g.name, frame[columns], groups.assign(sigma=own_sigma), sigma, df, pool)


@dataclass(frozen=True, eq=False)
class _LeastSquares:
    """Coefficients (p,), roots (p,) of the diagonal of (XᵀX)⁻¹; NaN for those that others determine."""

    beta: Floats
    sizes: Floats
    rss: float
    df: int


def _least_squares(X: Floats, y: Floats) -> _LeastSquares:
    kept = _independent(X)
    beta, sizes = np.full(X.shape[1], np.nan), np.full(X.shape[1], np.nan)
    q, r = np.linalg.qr(X[:, kept])
    inverse = np.linalg.inv(r)
    beta[kept], sizes[kept] = inverse @ (q.T @ y), np.linalg.norm(inverse, axis=1)
    left = y - X[:, kept] @ beta[kept]
    return _LeastSquares(beta, sizes, float(left @ left), len(y) - len(kept))


def _independent(X: Floats) -> Ints:
    """Columns that those before them do not determine."""
    kept: list[int] = []
    basis = np.zeros((len(X), 0))
    for k, column in enumerate(X.T):
        left = column - basis @ (basis.T @ column)
        left = left - basis @ (basis.T @ left)
        size = float(np.linalg.norm(left))
        if size > ROUNDING * float(np.linalg.norm(column)):
            kept.append(k)
            basis = np.column_stack([basis, left / size])
    return np.array(kept, dtype=np.intp)


def _coefficients(fit: _LeastSquares, sigma: float, df: int, names: tuple[str, ...]) -> pd.DataFrame:
    out = pd.DataFrame({"term": list(names), "estimate": fit.beta, "std_error": sigma * fit.sizes, "df": df})
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = fit.beta / (sigma * fit.sizes)
    p = 2.0 * scipy.stats.t.sf(np.abs(statistic), df) if df else np.nan
    return out.assign(statistic=statistic, p_value=p)
