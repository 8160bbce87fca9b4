"""The figures of one fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ranef.comparison.shrinkage import shrinkage_frame
from ranef.errors import DesignError
from ranef.inference import grouping_named
from ranef.plots.drawing import BLUE, GREY, VERMILLION, Mark, draw_panels, draw_residuals, new_axes
from ranef.plots.panels import caterpillar_panels, residual_cloud, shrinkage_panels
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FitPlots"]


@dataclass(frozen=True)
class FitPlots:
    """Figures of a fit of either engine, as ``fit.plot.shrinkage()``.

    A method that draws one panel returns its Axes, one that draws several their Figure; ``ax=`` draws on given axes.

    Attributes
    ----------
    fit : Fit

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> ax = fit.plot.shrinkage()
    >>> ax.get_title()
    'operator: Intercept'
    """

    fit: Fit

    def shrinkage(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        max_levels: int = 60,
        level: float = 0.95,
    ) -> Axes | Figure:
        """Each level alone, and where the fit draws it: towards zero, the more so the less its rows say.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor.
        max_levels : int
            Levels shown; of more, evenly spaced ones in the order of their estimates without pooling.
        level : float
            Probability of the intervals.

        Raises
        ------
        DesignError
            For an unknown group, a model without random effects, or `max_levels` below two.
        """
        if max_levels < 2:
            raise DesignError(f"max_levels={max_levels!r} must be at least 2.")
        frame = shrinkage_frame(self.fit, level)
        if group is not None:
            frame = frame[frame["group"] == grouping_named(self.fit.spec, group)[1].name]
        alone = Mark("no pooling: each level alone", GREY, hollow=True)
        return draw_panels(shrinkage_panels(frame, max_levels), [alone, self._mark(level)], ax, joined=True)

    def ranef(
        self, group: str | None = None, ax: Axes | Sequence[Axes] | None = None, level: float = 0.95
    ) -> Axes | Figure:
        """Random effects with their intervals, in order (a caterpillar plot).

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels.
        level : float
            Probability of the intervals.

        Raises
        ------
        DesignError
            For an unknown group, or a model without random effects.
        """
        return draw_panels(caterpillar_panels(self.fit.ranef(group, level)), [self._mark(level)], ax)

    def residuals(self, ax: Axes | None = None) -> Axes:
        """Pearson residuals against fitted values, with their running median.

        Parameters
        ----------
        ax : Axes, optional
        """
        fitted, residual = self.fit.fitted().to_numpy(), self.fit.residuals("pearson").to_numpy()
        ax = new_axes() if ax is None else ax
        draw_residuals(ax, residual_cloud(fitted, residual))
        return ax

    def _mark(self, level: float) -> Mark:
        if self.fit.engine in ("REML", "ML"):
            return Mark(rf"partial pooling (BLUP, {100 * level:g} % given $\hat{{\theta}}$)", BLUE)
        return Mark(f"partial pooling (posterior mean, {100 * level:g} %)", VERMILLION, "s")
