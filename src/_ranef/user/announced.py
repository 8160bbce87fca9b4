"""Public functions that are announced but not built: each says what to use meanwhile, whatever it is called with."""

from __future__ import annotations

from typing import Any, NoReturn

from _ranef.errors import NotAvailableError

__all__ = ["anova"]


def _later(name: str, meanwhile: str) -> NoReturn:
    raise NotAvailableError(f"ranef.{name}() is not available yet. Meanwhile: {meanwhile}")


def anova(*fits: Any, **options: Any) -> NoReturn:
    """Compare nested fits, or test terms. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: for two nested fits by ML the likelihood ratio test of the example.

    Examples
    --------
    >>> import ranef
    >>> from scipy.stats import chi2
    >>> data = ranef.datasets.load("sleepstudy")
    >>> small = ranef.Model("Reaction ~ 1 + (Days | Subject)", data).fit("ML")
    >>> large = ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit("ML")
    >>> f"{chi2.sf(small.deviance - large.deviance, large.df - small.df):.1e}"
    '1.2e-06'
    """
    one = len(fits) == 1
    ratio = "the difference of .deviance of two ML fits of nested models, referred to a χ² by scipy.stats.chi2.sf"
    wald = "fit.tidy() for each coefficient, with normal intervals; Model.sample() where the groups are few; or "
    ddf = " ddf= (Satterthwaite, Kenward and Roger): R's lmerTest has them." if "ddf" in options else ""
    _later("anova", f"{wald if one else ''}{ratio}.{ddf}")
