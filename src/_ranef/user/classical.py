"""Analyses without a mixed model, of the same formulas: expected mean squares, and a regression for every group."""

from __future__ import annotations

import re
from typing import Any

from _ranef import inference as inf
from _ranef.errors import FormulaError
from _ranef.support.argument_remedies import helpful
from _ranef.user.model import Model

__all__ = ["anova_components", "lm_list"]


def anova_components(formula: str, data: Any) -> inf.AnovaComponents:
    """Estimate variance components of a balanced design from expected mean squares, beside REML.

    Random factors may be nested, crossed, or both; fixed effects are fitted first. Where an estimate is negative, it
    is shown so: REML then has zero, and other estimates beside it. Where none is, REML gives the same.

    Parameters
    ----------
    formula : str
        With random intercepts, as ``"bright ~ 1 + (1 | operator)"`` or ``"strength ~ 1 + (1 | batch/cask)"``.
    data : frame or mapping of columns

    Returns
    -------
    AnovaComponents
        ``table`` with the expected mean squares in symbols, their ``coefficients``, and ``components``.

    Raises
    ------
    DesignError
        If the design is not balanced.
    NotAvailableError
        For random slopes, weights or structures.

    Examples
    --------
    >>> import ranef
    >>> found = ranef.anova_components("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> found.table["expected"].tolist()
    ['σ² + 5 σ²[operator]', 'σ²']
    >>> found.components[["formula", "anova", "reml"]].round(5).to_numpy().tolist()
    [['(MS[operator] - MS[Residual])/5', 0.06808, 0.06808], ['MS[Residual]', 0.10625, 0.10625]]
    """
    return inf.mean_squares(Model(formula, data).spec)


@helpful
def lm_list(
    formula: str, data: Any, *, pool: bool = True, weights: Any = None, offset: Any = None
) -> inf.GroupRegressions:
    """Fit a regression to every group by itself, as R's ``lmList``.

    Parameters
    ----------
    formula : str
        ``"y ~ x | g"``, or as for a mixed model of one grouping factor, whose fixed part is fitted.
    data : frame or mapping of columns
    pool : bool
        Whether standard errors are by one residual variance of all groups, with all degrees of freedom.
    weights, offset : optional
        As for :class:`ranef.Model`.

    Returns
    -------
    GroupRegressions
        ``coef`` by group, a tidy ``frame`` with tests, ``groups``, the pooled ``sigma`` and ``confint(level)``.

    Raises
    ------
    FormulaError
        Without a grouping factor, or with several.

    Examples
    --------
    The response-feature analysis of teaching texts: the slope of each subject as one number, and a t test of these.

    >>> import ranef, scipy
    >>> fits = ranef.lm_list("Reaction ~ Days | Subject", ranef.datasets.load("sleepstudy"))
    >>> fits.coef.loc["308"].round(2).tolist()
    [244.19, 21.76]
    >>> scipy.stats.ttest_1samp(fits.coef["Days"], 0.0).statistic.round(3)
    np.float64(6.771)
    """
    before, bar, group = formula.rpartition("|")
    own = f"{before} + (1 | {group})" if bar and "(" not in _open(before) else formula
    spec = Model(own, data, weights=weights, offset=offset).spec
    if len(spec.groupings) != 1:
        raise FormulaError(
            f"{formula!r} has {len(spec.groupings)} grouping factors; lm_list() is of one: 'y ~ x | g'.", formula
        )
    return inf.group_regressions(spec, pool=pool)


def _open(text: str) -> str:
    """What is left of a text when matching parentheses are taken out: an open one means a bar within it."""
    while (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
        text = shorter
    return text
