"""Public functions that are announced but not built: each says what to use meanwhile, whatever it is called with."""

from __future__ import annotations

from typing import Any, NoReturn

from _ranef.errors import NotAvailableError

__all__ = ["anova_components", "emmeans", "exact_rlrt", "lm_list"]


def _later(name: str, meanwhile: str) -> NoReturn:
    raise NotAvailableError(f"ranef.{name}() is not available yet. Meanwhile: {meanwhile}")


def exact_rlrt(*fits: Any, **options: Any) -> NoReturn:
    """Exact restricted likelihood ratio test of one variance. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: the posterior interval of the example.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> fb = model.sample(draws=200, seed=1, progress=False)
    >>> fb.confint().loc["sd(Intercept | operator)"].index.tolist()
    ['lower', 'upper']
    """
    _later("exact_rlrt", "the posterior interval of that standard deviation, Model.sample().confint().")


def lm_list(*formula_and_data: Any, **options: Any) -> NoReturn:
    """Separate least-squares fits by group. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: no pooling, as in the example.

    Examples
    --------
    >>> import ranef
    >>> pooled = ranef.pooling(ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")))
    >>> pooled.coef.query("level == '308'")["no_pooling"].round(2).tolist()
    [244.19, 21.76]
    """
    _later("lm_list", "the column no_pooling of ranef.pooling(model).coef.")


def anova_components(*formula_and_data: Any, **options: Any) -> NoReturn:
    """Variance components from expected mean squares. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: REML, which equals them in balanced designs where they are positive.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> fit.varcorr["vcov"].round(5).tolist()
    [0.06808, 0.10625]
    """
    _later("anova_components", "Model.fit().varcorr; in balanced designs REML equals them where they are positive.")


def emmeans(*fit_and_factors: Any, **options: Any) -> NoReturn:
    """Estimate marginal means. Not available yet.

    Raises
    ------
    NotAvailableError
        With what to use meanwhile: predictions without random effects over a grid, as in the example.

    Examples
    --------
    >>> import pandas as pd
    >>> import ranef
    >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    >>> grid = pd.DataFrame({"Days": [0, 9]})
    >>> fit.predict(grid, re="none", interval="confidence").round(1).to_numpy().tolist()
    [[251.4, 238.0, 264.8], [345.6, 316.9, 374.3]]
    """
    _later(
        "emmeans",
        "fit.predict(grid, re='none', interval='confidence') over a grid of the factors, "
        "pandas.MultiIndex.from_product([...], names=[...]).to_frame(index=False).",
    )
