"""Estimated marginal means and their contrasts, as R's emmeans prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from _ranef import inference as inf
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import helpful
from _ranef.tables import Document, ResultFrame, contrasts_table, means_table
from _ranef.user.fit_base import Answers, ByFields, Shown

__all__ = ["Means", "emmeans"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class Means(ByFields, Shown):
    """Marginal means, or slopes.

    Made by :func:`ranef.emmeans`.

    Attributes
    ----------
    found : MarginalMeans
        With the combinations of coefficients ``L``, their ``cells`` and the factors ``by``.
    trend : str, optional
        The covariate whose slopes these are.
    family : Generalised, optional
        Of a generalised response, on whose link or mean they stand.
    trusted : bool
        Whether the fit is ``ok``; it is said in what is printed where it is not.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
    >>> ranef.emmeans(fit, "Variety", ddf="kenward-roger")
    Marginal means
     Variety     emmean    SE   df lower.CL upper.CL
     Golden Rain 104.50 7.798 8.87    86.82    122.2
     Marvellous  109.79 7.798 8.87    92.11    127.5
     Victory      97.63 7.798 8.87    79.95    115.3
    Degrees of freedom by Kenward-Roger's method; intervals of 95 %.
    """

    found: inf.MarginalMeans
    trend: str | None = None
    family: Generalised | None = None
    trusted: bool = True

    @property
    def frame(self) -> pd.DataFrame:
        """The cells with ``estimate, std_error, df, lower, upper, statistic, p_value``.

        Of a posterior ``std_error`` is its standard deviation, the interval equal-tailed, and ``p_value`` twice the
        probability of the other sign; ``df`` and ``statistic`` are NaN.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> means = ranef.emmeans(fit, "Variety")
        >>> means.frame["estimate"].round(2).tolist()
        [104.5, 109.79, 97.63]
        """
        return self.found.frame

    @property
    def cells(self) -> pd.DataFrame:
        """Levels of the factors asked for, those of `by` last; the first one varies fastest.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> means = ranef.emmeans(fit, "Variety")
        >>> means.cells["Variety"].tolist()
        ['Golden Rain', 'Marvellous', 'Victory']
        """
        return self.found.cells

    @property
    def by(self) -> tuple[str, ...]:
        """Within whose levels contrasts are taken.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> means = ranef.emmeans(fit, "Variety")
        >>> means.by
        ()
        """
        return self.found.by

    def contrasts(
        self,
        method: str | Mapping[str, Sequence[float]] | Any = "pairwise",
        adjust: str | None = None,
        level: float | None = None,
    ) -> ResultFrame:
        """Contrasts of the means, within every combination of levels of `by`.

        Parameters
        ----------
        method : "pairwise", "treatment", "effects", "poly", mapping or array (c, r)
            All differences; differences from the first; from the mean of all; orthogonal polynomials in whole numbers;
            or coefficients of the means, by name or in rows. Short names of emmeans, as ``"trt.vs.ctrl"``, will do.
        adjust : "tukey", "holm", "bonferroni", "sidak", "fdr" or "none", optional
            For how many contrasts there are (within one combination of `by`). By default Tukey's for all pairs, Holm's
            for differences from the first or from the mean, and none else. ``"fdr"`` is Benjamini and Hochberg's false
            discovery rate. Intervals beside it and Holm's p-values are Bonferroni's. Posteriors are not adjusted.
        level : float, optional

        Returns
        -------
        ResultFrame
            ``contrast``, the columns of `by`, ``estimate, std_error, df, lower, upper, statistic, p_value``.

        Raises
        ------
        DesignError
            For an unknown kind or adjustment, Tukey's for other contrasts than all pairs, or coefficients that are not
            as many as there are means.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro + Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> means = ranef.emmeans(fit, "Variety")
        >>> means.contrasts()[["contrast", "estimate"]].round(2).to_numpy().tolist()
        [['Golden Rain - Marvellous', -5.29], ['Golden Rain - Victory', 6.87], ['Marvellous - Victory', 12.17]]
        """
        frame = self.found.contrasts(method, adjust, level)
        chosen = "none" if self.found.law is None else inf.checked_adjustment(method, adjust)
        within = len(self.cells[list(self.by)].drop_duplicates()) if self.by else 1
        family = len(self.cells if chosen == "tukey" else frame) // within
        called, note = self.found.contrasts_called(method), ""
        if self._of_classes:
            note = "Differences of probabilities."
        elif self.family is not None and self.trend is None:
            note = f"Of the {self.family.link} scale{'' if called == 'estimate' else ', back-transformed'}."
        out = contrasts_table(frame, self.by, chosen, family, called=called, note=note)
        return out if self.trusted else out._doubted()

    @property
    def _of_classes(self) -> bool:
        """Whether these are probabilities of the classes of an ordinal response."""
        return "class" in self.by and self.family is not None and bool(self.family.classes)

    def _document(self) -> Document:
        law = self.found.law
        words = None if law is None else law.words
        back = self.found.family is not None or self._of_classes
        out = means_table(
            self.frame, list(self.cells.columns), self.trend, words, self.found.level, self.family, back=back
        )
        return out if self.trusted else out._doubted()

    def __repr__(self) -> str:
        return str(self)


@helpful
def emmeans(
    fit: Answers,
    spec: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    *,
    trend: str | None = None,
    ddf: str | None = None,
    level: float = 0.95,
    type: str = "link",
) -> Means:
    """Estimate marginal means of factors, or slopes of a covariate, over a reference grid.

    The grid has all levels of factors, and the mean of covariates over the rows used; means are of predictions without
    random effects, averaged over the factors that are not asked for (Searle, Speed & Milliken 1980, Am. Stat. 34,
    216-221; R's emmeans).

    Parameters
    ----------
    fit : EmpiricalBayesFit or PosteriorFit, or GeneralisedFit or GeneralisedPosterior
    spec : str or sequence of str
        Factors, as ``"variety"``, ``"irrigation * variety"`` or ``"variety | irrigation"``, with `by` behind the bar.
    by : str or sequence of str, optional
        Further factors, within whose levels contrasts are taken.
    at : mapping, optional
        Other values of covariates, or some of the levels of factors: ``{"nitro": [0, 0.6]}``.
    weights : "equal" or "proportional"
        How levels are averaged: alike, or as often as they occur in the rows used.
    trend : str, optional
        A covariate whose slope is estimated instead of means.
    ddf : str, optional
        Degrees of freedom of a fit by REML or ML; normal by default.
    level : float
        Probability of intervals.
    type : "link" or "response"
        Of generalised responses, whether means stay on the scale of the link, on which they are averaged, or are
        back-transformed with the ends of their intervals; standard errors then are by the delta method, tests still
        those of the link. Contrasts of logarithms and logits become ratios and odds ratios; others, and slopes, stay on
        the scale of the link. Of an ordinal response they are probabilities of each class, averaged as such, with
        normal intervals by the delta method, in which thresholds are uncertain, too; contrasts are their differences.

    Returns
    -------
    Means
        That print as R's emmeans does, with a ``frame`` and ``contrasts(method, adjust)``.

    Raises
    ------
    DesignError
        For a name that is no predictor, or a covariate whose mean the model does not hold.
    NotAvailableError
        For rows in chunks.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
    >>> means = ranef.emmeans(fit, "Variety")
    >>> means.frame["estimate"].round(2).tolist()
    [104.5, 109.79, 97.63]
    >>> means.contrasts()
    Contrasts
                              estimate    SE  z.ratio p.value
     Golden Rain - Marvellous  -5.2917 7.079 -0.74753  0.7351
     Golden Rain - Victory      6.8750 7.079  0.97120  0.5951
     Marvellous - Victory      12.1667 7.079  1.71872  0.1981
    P-values: Tukey's, of a family of 3.
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fit = ranef.Model(formula, ranef.datasets.load("cbpp"), family="binomial").fit()
    >>> ranef.emmeans(fit, "period", type="response")
    Marginal means
     period    prob      SE lower.CL upper.CL
     1      0.19805 0.03692  0.13538   0.2803
     2      0.08387 0.02384  0.04748   0.1440
     3      0.07397 0.02262  0.04014   0.1324
     4      0.04839 0.01980  0.02142   0.1057
    Normal intervals of 95 %. Back-transformed from the logit scale.
    """
    found = inf.emmeans(fit, spec, by, at, weights, trend=trend, ddf=ddf, level=level, type=type)
    own = fit.spec.family
    return Means(found, trend, own if isinstance(own, Generalised) else None, fit.ok)
