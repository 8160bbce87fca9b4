"""Public functions that are announced but not built: each says what to use meanwhile."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["anova", "anova_components", "emmeans", "exact_rlrt", "lm_list"]


def _later(name: str, meanwhile: str) -> NoReturn:
    raise NotImplementedError(f"ranef.{name}() is not available yet. Meanwhile: {meanwhile}")


def anova(*fits: Any, test: str = "LRT") -> NoReturn:
    """Compare nested fits. Not available yet."""
    _later("anova", "the difference of fit.deviance of two ML fits, referred to a χ² by scipy.stats.chi2.sf.")


def exact_rlrt(fit: Any, group: str | None = None, nsim: int = 10_000, seed: int | None = None) -> NoReturn:
    """Exact restricted likelihood ratio test of one variance. Not available yet."""
    _later("exact_rlrt", "the posterior interval of that standard deviation from Model.sample().")


def lm_list(formula: str, data: Any) -> NoReturn:
    """Separate least-squares fits by group. Not available yet."""
    _later("lm_list", "the no-pooling column of ranef.compare(...).random_effects or of fit.plot.shrinkage().")


def anova_components(formula: str, data: Any) -> NoReturn:
    """Variance components from expected mean squares. Not available yet."""
    _later("anova_components", "Model.fit(); in balanced designs REML equals them where they are positive.")


def emmeans(fit: Any, spec: Any) -> NoReturn:
    """Estimate marginal means. Not available yet."""
    _later("emmeans", "fit.predict(grid, re='none', interval='confidence') over a grid of the factors.")
