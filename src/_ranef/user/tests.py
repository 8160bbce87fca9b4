"""Tests that are functions of fits."""

from __future__ import annotations

from _ranef import inference as inf
from _ranef.errors import DesignError
from _ranef.support.remedies import helpful
from _ranef.tables import ResultFrame, ranova_table
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit

__all__ = ["ranova"]


@helpful
def ranova(fit: EmpiricalBayesFit) -> ResultFrame:
    """Test every random term by the likelihood ratio of the model without it, as lmerTest's ``ranova``.

    ``(1 | g)`` is taken away; ``(x | g)`` and ``(0 + x | g)`` become ``(1 | g)``; of several effects, as in
    ``(x + z | g)``, each is taken away in turn, unless an interaction holds it. Models are fitted by the criterion of
    the fit, REML or ML.

    Parameters
    ----------
    fit : EmpiricalBayesFit

    Returns
    -------
    ResultFrame
        ``term, npar, loglik, aic, statistic, df, p, p_mixture``, the whole model first (``<none>``). ``p`` is that of
        χ² with `df` degrees of freedom, as R prints it. A variance cannot be below zero, so that it is too large by up
        to two where one variance is tested; ``p_mixture`` is that of ½χ²(df − 1) + ½χ²(df) (Stram & Lee 1994,
        Biometrics 50, 1171-1177), and NaN where several are tested at once.

    Raises
    ------
    DesignError
        If the model has no random effects, or `fit` is a posterior.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> ranef.ranova(fit)[["term", "statistic", "df"]].round(4).to_numpy().tolist()[1]
    ['Days in (Days | Subject)', 42.8368, 2.0]
    """
    if isinstance(fit, PosteriorFit):
        raise DesignError(
            "ranova() tests variances of fits by REML or ML. A posterior has the variance itself: fit.confint() and "
            "fit.plot.varcorr(); or compare posteriors of models with and without it, ranef.compare(fb1, fb2)."
        )
    return ranova_table(inf.ranova_frame(fit), fit.spec.design.formula, fit.engine)
