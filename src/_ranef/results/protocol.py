"""What every fit answers, whichever engine made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.spec import ModelSpec

__all__ = ["ESTIMATING", "Fit"]

#: engines that maximise a likelihood, by the words of `Fit.engine`; others draw from a posterior
ESTIMATING = ("REML", "ML", "Laplace", "AGQ")


@runtime_checkable
class Fit(Protocol):
    """The members that empirical-Bayes and full-Bayes fits share, with the same column names.

    Examples
    --------
    >>> import ranef
    >>> def largest(fit: ranef.Fit) -> str:
    ...     effects = fit.ranef("operator")
    ...     return effects.loc[effects["estimate"].idxmax(), "level"]
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> largest(model.fit()), largest(model.sample(draws=200, seed=1, progress=False))
    ('d', 'd')
    """

    @property
    def spec(self) -> ModelSpec:
        """The model that was fitted."""
        ...

    @property
    def fixef(self) -> pd.Series[float]:
        """Coefficient name to estimate."""
        ...

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients."""
        ...

    @property
    def varcorr(self) -> pd.DataFrame:
        """``group, term1, term2, vcov, sdcor``; residual last."""
        ...

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        ...

    @property
    def engine(self) -> str:
        """``"REML"``, ``"ML"``, ``"NUTS"`` or ``"direct"``."""
        ...

    @property
    def warnings(self) -> list[str]:
        """Sentences on why the fit should not be trusted; empty where it may be."""
        ...

    @property
    def ok(self) -> bool:
        """Whether there is nothing to warn about."""
        ...

    def ranef(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """``group, level, term, estimate, sd, lower, upper``."""
        ...

    def coef(self, group: str | None = None) -> pd.DataFrame:
        """Fixed plus random effects by level."""
        ...

    def fitted(self, re: str | Sequence[str] = "all") -> pd.Series[float]:
        """Fitted values of the rows used."""
        ...

    def residuals(self, kind: str = "response", re: str | Sequence[str] = "all") -> pd.Series[float]:
        """Residuals of the rows used."""
        ...

    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: str | Sequence[str] = ...,
        new_levels: str = ...,
        interval: None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.Series[float]: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: str | Sequence[str] = ...,
        new_levels: str = ...,
        interval: str,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self,
        data: Any = None,
        *,
        re: str | Sequence[str] = ...,
        new_levels: str = ...,
        interval: str | None = None,
        level: float = ...,
        seed: int | None = ...,
        offset: Any = ...,
        weights: Any = ...,
        uncertainty: str | None = ...,
        n: int = ...,
    ) -> pd.Series[float] | pd.DataFrame: ...
    def predict(
        self,
        data: Any = None,
        *,
        re: str | Sequence[str] = "all",
        new_levels: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
        uncertainty: str | None = None,
        n: int = 400,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predictions, with intervals if asked for."""
        ...

    def simulate(self, n: int = 1, *, re: str = "new", seed: int | None = None) -> NDArray[np.float64]:
        """Simulated responses (n_obs, n)."""
        ...

    def confint(self, level: float = 0.95, method: str = ...) -> pd.DataFrame:
        """``lower, upper`` by parameter."""
        ...

    @overload
    def r2(self, interval: None = None, level: float = ...) -> pd.Series[float]: ...
    @overload
    def r2(self, interval: str, level: float = ...) -> pd.DataFrame: ...
    def r2(self, interval: str | None = None, level: float = 0.95) -> pd.Series[float] | pd.DataFrame:
        """R² ``marginal`` and ``conditional``."""
        ...

    def icc(self, interval: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """``group, variance, adjusted, unadjusted``: shares of variance by grouping factor."""
        ...

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter."""
        ...

    def test(self, L: Any, value: Any = 0.0, *, level: float = 0.95) -> pd.DataFrame:
        """Linear hypotheses on the coefficients: tested, or where a posterior has them."""
        ...

    def glance(self) -> pd.DataFrame:
        """One row a fit."""
        ...

    def augment(self) -> pd.DataFrame:
        """One row an observation."""
        ...

    def summary(self) -> Any:
        """The printed fit."""
        ...

    @property
    def parameters(self) -> pd.DataFrame:
        """Every parameter with its symbol, meaning, place, prior, estimate and interval."""
        ...

    def equation(self, style: str = "scalar", values: bool = False) -> Any:
        """The model as an equation."""
        ...
