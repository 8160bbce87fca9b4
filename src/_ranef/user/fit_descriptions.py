"""Equations, parameters and figures of a fit, whatever its response."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import pandas as pd

from _ranef import equations, plots
from _ranef import inference as inf
from _ranef.results import Fit
from _ranef.spec import Generalised, ModelSpec, Priors, default_priors
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats

__all__ = ["Described"]


@helpful
class Described:
    """A fit in symbols, as a table of its parameters, and drawn."""

    spec: ModelSpec

    @property
    @abstractmethod
    def _beta(self) -> Floats:
        """Coefficients (p,)."""

    @property
    @abstractmethod
    def _modes(self) -> tuple[Floats, ...]:
        """Random effects (J, p) by grouping."""

    def equation(
        self,
        style: str = "scalar",
        values: bool = False,
        *,
        level: str | None = None,
        group: str | None = None,
        entries: str = "numbers",
    ) -> equations.Equation:
        """The model as an equation: LaTeX, MathML, Typst and text.

        Parameters
        ----------
        style : str
            One of those of :meth:`ranef.Model.equation`.
        values : bool
            Whether the estimates, or posterior means, stand in the place of symbols.
        level, group, entries : str, optional
            Of ``style="cluster"``: as for :meth:`ranef.Model.equation`.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> print(fit.equation(values=True).text)
        brightᵢ = 60.400 + b[j[i]] + εᵢ
           b[j] ~ N(0, 0.06808)   for 4 levels j of operator
             εᵢ ~ N(0, 0.1063)   for 20 rows i
        """
        values_by = {cast(Fit, self).engine: self._numbers(style)} if values else None
        asked = equations.Asked(equations.Chosen(level, group, entries), self._priors)
        return equations.model_equation(self.spec, style=style, values=values_by, asked=asked)

    @property
    def parameters(self) -> pd.DataFrame:
        """Every parameter: ``symbol, parameter, kind, meaning, place, prior, estimate, lower, upper``.

        ``kind`` is ``"fixed"``, ``"sd"``, ``"cor"`` or ``"residual"``: all but the first are variance components, and
        ``place`` says where each stands in D or R. Intervals are of 95 %: of REML and ML from the profile where that
        takes a moment, else Wald's; of a posterior equal-tailed.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> print(fit.parameters[["symbol", "estimate", "place"]].round(3).to_string(index=False))
             symbol  estimate                                           place
                 β₀    60.400                                      β, entry 1
        σ[operator]     0.261 D: in the block of each of 4 levels of operator
                  σ     0.326                R: σ² is a factor of every entry
        """
        values, bounds = self._estimated()
        frame = equations.parameter_table(self.spec, self._priors())
        names = frame["parameter"]
        own = {name: names.map(bounds[name]) for name in ("lower", "upper")}
        return frame.assign(estimate=names.map(values).astype(float), **own)

    @abstractmethod
    def _estimated(self) -> tuple[dict[str, float], pd.DataFrame]:
        """Estimates and intervals of all parameters by name."""

    def _numbers(self, style: str) -> dict[equations.Key, float]:
        """What takes the place of symbols: random effects and residuals where single ones are shown."""
        fit = cast(Fit, self)
        if style != "cluster":
            return equations.numbers_of(self.spec, fit.fixef, fit.varcorr, more=self._more_numbers)
        spec = self.spec.held
        more = self._more_numbers | self._row_numbers(spec)
        return equations.numbers_of(spec, fit.fixef, fit.varcorr, modes=self._modes, more=more)

    def _row_numbers(self, spec: ModelSpec) -> dict[equations.Key, float]:
        """Numbers of single rows: residuals, or with a link means and working weights."""
        fitted = inf.fitted_values(spec, self._beta, self._modes, "all")
        if not isinstance(spec.family, Generalised):
            return equations.row_numbers({"residual": spec.design.y - fitted})
        own = {str(key[1]): value for key, value in self._more_numbers.items()}
        return equations.row_numbers(inf.working_rows(spec, fitted, own))

    @property
    def _more_numbers(self) -> dict[equations.Key, float]:
        return {}

    def _priors(self) -> Priors:
        """The priors that equations show."""
        return default_priors(self.spec)

    @property
    def plot(self) -> plots.FitPlots:
        """Figures: ``plot.ranef()``, ``shrinkage``, ``path``, ``lines``, ``diagnostics``, ``ppc`` and others.

        Effects of generalised responses are drawn on the scale of the link, rows on that of the response.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.ranef().get_xlabel()
        'random effect on bright'
        """
        return plots.FitPlots(cast(Fit, self))
