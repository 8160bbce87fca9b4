"""Tests that are functions of fits: models compared, random effects reduced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _ranef import inference as inf
from _ranef.comparison import check_names, formula_names
from _ranef.errors import DesignError, NotAvailableError
from _ranef.results import marked
from _ranef.spec import Generalised
from _ranef.support.argument_remedies import generator, helpful, one_of, whole_number
from _ranef.tables import ResultFrame, models_table, ranova_table
from _ranef.user.fit_base import BaseFit
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import EmpiricalBayesFit

__all__ = ["anova", "ranova"]


#: what ``test=`` may be, in any case
TESTS = ("LRT", "bootstrap", "KR", "Satterthwaite")


@helpful
def anova(
    *fits: EmpiricalBayesFit | Mapping[str, EmpiricalBayesFit],
    test: str = "LRT",
    refit: bool = True,
    nsim: int = 1000,
    seed: int | None = None,
) -> ResultFrame:
    """Compare nested fits, each with the next smaller one.

    Fits are put in order of their parameters, and looked at: of the same response and rows, and each a special case of
    the next, by the columns of X, the covariances of effects and those of residuals. A model may be without random
    effects, as ``ranef.Model("y ~ x", data)``.

    Parameters
    ----------
    *fits : EmpiricalBayesFit, or one mapping of names to fits
        Two at least.
    test : "LRT", "bootstrap", "KR", "Satterthwaite"
        Likelihood ratio with χ²; with the distribution of the ratio over responses simulated under the smaller model;
        or F tests of the fixed effects, where models differ in nothing else, with degrees of freedom of the larger
        model, fitted by REML, as pbkrtest's ``KRmodcomp`` and ``SATmodcomp``.
    refit : bool
        Whether fits by REML may be fitted again by ML, where fixed effects differ: it is said in what is printed.
    nsim : int
        Simulated responses of each comparison.
    seed : int, optional
        The same seed gives the same simulations.

    Returns
    -------
    ResultFrame
        ``model, npar, aic, aicc, bic, loglik, deviance, statistic, df, p, p_mixture`` from the smallest model on.
        ``p`` is that of χ², as R has it. A variance cannot be below zero, so that it is too large where one is tested:
        ``p_mixture`` is that of ½χ²(df − 1) + ½χ²(df) (Self & Liang 1987, J. Am. Stat. Assoc. 82, 605-610), of more
        variances with weights from their information (Shapiro 1988, Int. Stat. Rev. 56, 49-62), and NaN where none are,
        or structures of effects or residuals stand beside them. Of the bootstrap ``p`` is the share of simulated ratios
        that are as large, ``p_se`` its Monte Carlo error, ``p_chi2`` that of χ², ``zeros`` the share of ratios that are
        zero, ``failed`` how many could not be fitted; ``.rows`` has the ratios. Of F tests ``model, npar, statistic,
        ndf, ddf, p, scale``, the statistic times Kenward and Roger's scale.

    Raises
    ------
    DesignError
        If there is one fit, or posteriors; if fits are of other rows or not nested; if they are by REML, have other
        fixed effects and may not be fitted again; if F tests are asked for and random effects differ, too.

    See Also
    --------
    EmpiricalBayesFit.anova : tests the terms of one fit.
    compare : ranks posteriors by their expected predictive accuracy.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("pulp")
    >>> small = ranef.Model("bright ~ 1", data).fit("ML")
    >>> large = ranef.Model("bright ~ 1 + (1 | operator)", data).fit("ML")
    >>> ranef.anova(small, large)
    Likelihood ratio tests
    <BLANKLINE>
    Models:
     M1: bright ~ 1
     M2: bright ~ 1 + (1 | operator)
    <BLANKLINE>
        npar   AIC   BIC logLik -2*log(L) Chisq Df Pr(>Chisq) Pr(>mix)
     M1    2 23.08 25.07  -9.54     19.08
     M2    3 22.51 25.50  -8.26     16.51 2.568  1     0.1090   0.0545
    mix: mixture of χ² of fewer degrees of freedom, for a variance cannot be below zero.
    >>> boot = ranef.anova(small, large, test="bootstrap", seed=1)
    >>> 0.005 < float(boot["p"][1]) < 0.04
    True
    """
    named = _named(fits)
    _refuse_posteriors(list(named.values()))
    one_of("test", chosen := {name.casefold(): name for name in TESTS}.get(str(test).casefold(), test), TESTS)
    given = list(named.items())
    models = formula_names([fit.spec for _, fit in given])  # those without a name of their own are called by these
    order = inf.ordered([fit for _, fit in given])
    names, held = [given[k][0] for k in order], [given[k][1] for k in order]
    _refuse_other_families(held, chosen)
    return _compared(held, names, [models[k] for k in order], chosen.lower(), refit, nsim, seed)


def _compared(
    fits: list[EmpiricalBayesFit],
    names: list[str],
    models: list[str],
    test: str,
    refit: bool,
    nsim: int,
    seed: int | None,
) -> ResultFrame:
    words = inf.TESTS[test]
    if test in ("kr", "satterthwaite"):
        frame, note = inf.f_frame(fits, names, "kenward-roger" if test == "kr" else test)
        return marked(models_table(frame, models, words, note), fits)
    own, note = inf.by_one_criterion(fits, refit=refit)
    if test == "lrt":
        return marked(models_table(inf.likelihood_frame(own, names), models, words, note), own)
    frame, ratios = inf.bootstrap_frame(own, names, whole_number("nsim", nsim, 1), generator(seed))
    return marked(models_table(frame, models, words, note, ratios), own)


def _refuse_other_families(fits: Sequence[Any], test: str) -> None:
    kinds = {(f.estimates.family, f.estimates.link, f.estimates.nagq) for f in fits}
    if len(kinds) > 1:
        raise DesignError(
            "The fits are of several families, links or numbers of quadrature points, whose likelihoods are not "
            "nested: fit the same family= with the same nagq=. aic and bic compare families of one response."
        )
    if test in ("KR", "Satterthwaite") and isinstance(fits[0].spec.family, Generalised):
        raise NotAvailableError(
            f"test={test!r} is not available for generalised responses, which have no residual degrees of freedom: "
            "test='LRT' and 'bootstrap' are."
        )


def _named(fits: tuple[EmpiricalBayesFit | Mapping[str, EmpiricalBayesFit], ...]) -> dict[str, EmpiricalBayesFit]:
    named = fits[0] if len(fits) == 1 and isinstance(fits[0], Mapping) else None
    given: list[Any] = list(fits if named is None else named.values())
    for one in given:
        if not isinstance(one, BaseFit | GeneralisedFit | GeneralisedPosterior):
            raise DesignError(f"anova() takes fits, or one mapping of names to fits; got {type(one).__name__}.")
    if named is not None:
        check_names(list(named))
    names = formula_names([fit.spec for fit in given]) if named is None else list(named)
    return dict(zip(names, given, strict=True))


def _refuse_posteriors(fits: list[EmpiricalBayesFit]) -> None:
    if any(isinstance(fit, GeneralisedPosterior) for fit in fits):
        raise DesignError(
            "anova() compares fits by their maximised likelihoods, and a posterior has none: model.fit() gives one. "
            "posterior.test('x = 0') has the probability of the sign of a coefficient, posterior.loo() the elpd."
        )
    if any(isinstance(fit, PosteriorFit) for fit in fits):
        raise DesignError(
            "anova() compares fits by their maximised likelihoods, and a posterior has none. What takes its place: "
            "ranef.compare(fb1, fb2) ranks posteriors by expected predictive accuracy (elpd), fb.test('x = 0') has the "
            "posterior probability of the sign of a coefficient, and fb.confint() where a variance is."
        )


@helpful
def ranova(fit: EmpiricalBayesFit | GeneralisedFit) -> ResultFrame:
    """Test every random term by the likelihood ratio of the model without it, as lmerTest's ``ranova``.

    ``(1 | g)`` is taken away; ``(x | g)`` and ``(0 + x | g)`` become ``(1 | g)``; of several effects, as in
    ``(x + z | g)``, each is taken away in turn, unless an interaction holds it. Models are fitted by the criterion of
    the fit, REML or ML.

    Parameters
    ----------
    fit : EmpiricalBayesFit or GeneralisedFit

    Returns
    -------
    ResultFrame
        ``term, npar, loglik, aic, statistic, df, p, p_mixture``, the whole model first (``<none>``). ``p`` is that of
        χ² with `df` degrees of freedom, as R prints it. A variance cannot be below zero, so that it is too large by up
        to two where one variance is tested; ``p_mixture`` is that of ½χ²(df − 1) + ½χ²(df) (Stram & Lee 1994,
        Biometrics 50, 1171-1177), of more variances as in :func:`anova`.

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
    if isinstance(fit, PosteriorFit | GeneralisedPosterior):
        raise DesignError(
            "ranova() tests variances of fits by REML or ML. A posterior has the variance itself: fit.confint() and "
            "fit.plot.varcorr(); or compare posteriors of models with and without it, ranef.compare(fb1, fb2)."
        )
    return marked(ranova_table(inf.ranova_frame(fit), fit.spec.design.formula, fit.engine), [fit])
