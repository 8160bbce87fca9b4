"""The figures of one fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, overload

from _ranef.inference import check_level
from _ranef.plots.joint import joint_axes
from _ranef.plots.lines import lines_figure
from _ranef.plots.path import path_of_fits
from _ranef.plots.pattern import pattern_axes
from _ranef.plots.ppc import ppc_axes
from _ranef.plots.qq import qq_axes, qq_ranef_axes
from _ranef.plots.ranef import ranef_figure
from _ranef.plots.residuals import (
    diagnostics_figure,
    residuals_axes,
    residuals_by_group_axes,
    scale_location_axes,
)
from _ranef.plots.selection import Choices, LevelsArgument, TermArgument
from _ranef.plots.shrinkage import shrinkage_figure
from _ranef.plots.varcorr import varcorr_figure
from _ranef.results import Fit, Method
from _ranef.support.arrays import Floats
from _ranef.support.remedies import Answering, helpful

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FitPlots"]


@helpful
@dataclass(frozen=True)
class FitPlots(Answering):
    """Figures of a fit of either engine, as ``fit.plot.shrinkage()``.

    A method that draws one panel returns its Axes, one that draws several their Figure; ``ax=`` draws on given axes.
    What is shown is chosen alike in all: ``group=`` a grouping factor, ``term=`` columns of its effects, ``levels=``
    some of its levels, by name or by how many.

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

    def __call__(self, **choices: Any) -> Any:
        """The same as :meth:`ranef`, with its arguments."""
        return self.ranef(**choices)

    @overload
    def shrinkage(
        self,
        group: str | None = ...,
        *,
        ax: Axes,
        max_levels: int = ...,
        level: float = ...,
        kind: str | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes: ...
    @overload
    def shrinkage(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        max_levels: int = ...,
        level: float = ...,
        *,
        kind: str | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def shrinkage(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        max_levels: int = 60,
        level: float = 0.95,
        *,
        kind: str | None = None,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Each level alone, and where the fit draws it: towards zero, the more so the less its rows say.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor, or for each pair in planes.
        max_levels : int
            Levels shown as dumbbells; of more, evenly spaced ones in the order of their estimates without pooling.
        level : float
            Probability of the intervals of dumbbells.
        kind : "dumbbell" or "plane", optional
            Dumbbells, a panel for each effect; or arrows in the plane of two effects, with the regions that hold 50 %
            and 95 % of N(0, Σ̂). By default a plane where two effects of every grouping factor are shown.
        term : str or sequence of str, optional
            Columns of the random effects; all by default.
        levels : int or sequence, optional
            Names of levels, or how many: of more, evenly spaced ones in the order of the figure. A factor with none
            of the names has no panel.

        Raises
        ------
        DesignError
            For an unknown group, term, level or kind, a model without random effects, or `max_levels` below two.
        """
        return shrinkage_figure(
            self._fits, group, ax, kind=kind, term=term, levels=levels, max_levels=max_levels, level=level
        )

    @overload
    def ranef(
        self,
        group: str | None = ...,
        *,
        ax: Axes,
        level: float = ...,
        max_levels: int | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes: ...
    @overload
    def ranef(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        level: float = ...,
        *,
        max_levels: int | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def ranef(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        level: float = 0.95,
        *,
        max_levels: int | None = None,
        term: TermArgument = None,
        levels: LevelsArgument = None,
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
        max_levels : int, optional
            Levels shown; of more, evenly spaced ones in the order of their estimates. All by default.
        term : str or sequence of str, optional
            Columns of the random effects; all by default.
        levels : int or sequence, optional
            Names of levels, or how many: of more, evenly spaced ones in the order of the figure. A factor with none
            of the names has no panel.

        Raises
        ------
        DesignError
            For an unknown group, term or level, a model without random effects, or `max_levels` below two.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.plot.ranef(term="Days", levels=[308, 309]).get_xlabel()
        'random effect on Reaction per unit of Days'
        """
        return ranef_figure(self._fits, group, ax, term=term, levels=levels, max_levels=max_levels, level=level)

    @overload
    def lines(
        self,
        x: object = ...,
        group: str | None = ...,
        kind: str = ...,
        levels: LevelsArgument = ...,
        *,
        ax: Axes,
        level: float = ...,
        term: TermArgument = ...,
    ) -> Axes: ...
    @overload
    def lines(
        self,
        x: object = ...,
        group: str | None = ...,
        kind: str = ...,
        levels: LevelsArgument = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        level: float = ...,
        *,
        term: TermArgument = ...,
    ) -> Axes | Figure: ...
    def lines(
        self,
        x: object = None,
        group: str | None = None,
        kind: str = "facets",
        levels: LevelsArgument = None,
        ax: Axes | Sequence[Axes] | None = None,
        level: float = 0.95,
        *,
        term: TermArgument = None,
    ) -> Axes | Figure:
        """Data with fitted lines by group: each level's own, with partial pooling, and the population's.

        Along a level's line, what does not depend on the covariate is held at its mean over the level's own rows: other
        columns, the offset, and effects of other grouping factors. Curves join the values at the level's own rows.
        Along a factor its categories stand on the axis; columns it is part of are as in a level's own rows of each.
        Without a covariate rows are drawn by level with its mean and its estimates.

        Parameters
        ----------
        x : str, array or Series, optional
            A covariate of the model, numeric or a factor, or the values of a numeric one, as ``data["age"]`` for a
            model in ``poly(age, 2)``. By default the first of the random effects, else of the fixed ones, a numeric
            one before a factor; factors of the fixed effects that are constant within levels are passed over.
        group : str, optional
            A grouping factor; by default the first with a slope on the covariate, else the first.
        kind : "facets" or "spaghetti"
            A panel for each level, or the lines of all levels in one.
        levels : int or sequence, optional
            Names of levels, or how many: of more, evenly spaced ones in the order of their mean fitted values. By
            default 12 panels, 40 places of a model without covariate, and all lines of spaghetti.
        ax : Axes or sequence of Axes, optional
            As many as there are panels.
        level : float
            Probability of posterior bands.
        term : str, optional
            A column of the random effects, in place of `x`: lines run along its covariate.

        Raises
        ------
        DesignError
            For an unknown group, kind, covariate, term or level, or both `x` and `term`.
        """
        return lines_figure(self._fits, x=x, group=group, kind=kind, term=term, levels=levels, ax=ax, level=level)

    @overload
    def path(
        self, group: str | None = ..., term: str | None = ..., *, ax: Axes, levels: LevelsArgument = ...
    ) -> Axes: ...
    @overload
    def path(
        self,
        group: str | None = ...,
        term: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        *,
        levels: LevelsArgument = ...,
    ) -> Axes | Figure: ...
    def path(
        self,
        group: str | None = None,
        term: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        *,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Every level's effect from complete pooling to none: all sds of its factor move in proportion, from 0 to ∞.

        All else stays as estimated, and the right end is each level's own least squares. With `term` the sd of that
        effect moves alone, the others at θ̂; its right end is not no pooling (see :meth:`ranef.Pooling.path`).

        The axis is even in the reliability of a typical level. A line marks the estimated ratio; of a posterior the
        ratio's distribution stands above, and all else is at the posterior mean of θ. Of more than 150 levels evenly
        spaced ones are drawn, unless `levels` says which.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        term : str, optional
            An effect that moves alone.
        ax : Axes or sequence of Axes, optional
            As many as there are effects.
        levels : int or sequence, optional
            Names of levels, or how many: of more, evenly spaced ones in the order of their ends. A factor with none of
            the names has no panel.

        Raises
        ------
        DesignError
            For an unknown group, term or level, or a model without random effects.
        """
        return path_of_fits(self._fits, group, term, ax, levels)

    def residuals(self, ax: Axes | None = None) -> Axes:
        """Pearson residuals against fitted values, with their running median.

        Parameters
        ----------
        ax : Axes, optional
        """
        return residuals_axes(self.fit, ax)

    # -- residuals and effects against what the model says of them ------------------------------------------------

    def diagnostics(self, group: str | None = None, *, levels: LevelsArgument = None) -> Figure:
        """Four panels: residual against fitted, normal quantiles, scale-location, and residuals by group.

        Parameters
        ----------
        group : str, optional
            For the last panel; the factor with the most levels by default. A model without groups has three panels.
        levels : int or sequence, optional
            For the last panel, as in :meth:`residuals_by_group`.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> len(fit.plot.diagnostics().axes)
        4
        """
        return diagnostics_figure(self.fit, group, levels)

    def qq(self, ax: Axes | None = None, level: float = 0.95) -> Axes:
        """Pearson residuals against normal quantiles, with a band that holds all of a normal sample.

        The line goes through the quartiles. The band holds for independent values; residuals are nearly that.

        Parameters
        ----------
        ax : Axes, optional
        level : float
            Probability that the whole sample lies within the band.
        """
        check_level(level)
        return qq_axes(self.fit, ax, level)

    @overload
    def qq_ranef(
        self, group: str | None = ..., *, ax: Axes, level: float = ..., **choices: Unpack[Choices]
    ) -> Axes: ...
    @overload
    def qq_ranef(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        level: float = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def qq_ranef(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        level: float = 0.95,
        *,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Random effects against normal quantiles, each divided by its marginal standard deviation.

        That is Var(b̂) = Σ̂ − Var(b̂ − b), which differs between levels of different size; divided by it normal effects
        lie on the line of equality.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor.
        level : float
            Probability that the whole sample lies within the band.
        term : str or sequence of str, optional
            Columns of the random effects; all by default.
        levels : int or sequence, optional
            Names of levels, or how many: those shown, each at its place among all levels and with its name. All by
            default, without names.
        """
        check_level(level)
        return qq_ranef_axes(self.fit, group, ax, level, term=term, levels=levels)

    def scale_location(self, ax: Axes | None = None) -> Axes:
        """Square root of absolute Pearson residuals against fitted values, to see whether spread goes with level.

        Parameters
        ----------
        ax : Axes, optional
        """
        return scale_location_axes(self.fit, ax)

    def residuals_by_group(
        self, group: str | None = None, ax: Axes | None = None, *, levels: LevelsArgument = None
    ) -> Axes:
        """Pearson residuals of every level, in order of their medians: boxes, or bands of quantiles of many levels.

        Parameters
        ----------
        group : str, optional
            A grouping factor; the one with the most levels by default.
        ax : Axes, optional
        levels : int or sequence, optional
            Names of levels, or how many: of more, evenly spaced ones in the order of the figure. All by default.

        Raises
        ------
        DesignError
            For an unknown group or level, or a model without groups.
        """
        return residuals_by_group_axes(self.fit, group, ax, levels)

    # -- variance components --------------------------------------------------------------------------------------

    @overload
    def varcorr(self, *, ax: Axes) -> Axes: ...
    @overload
    def varcorr(self, ax: Axes | Sequence[Axes] | None = ...) -> Axes | Figure: ...
    def varcorr(self, ax: Axes | Sequence[Axes] | None = None) -> Axes | Figure:
        """Posterior density of every sd and correlation, with the REML and ML estimates and the prior drawn on it.

        The estimates are those of the same model, computed here. Densities are reflected at 0, and at ±1 for
        correlations; priors are exact, in the units of the axis (a correlation's is the marginal of LKJ), and not
        drawn where they are improper.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            As many as there are standard deviations and correlations, σ among them.

        Raises
        ------
        DesignError
            For a fit by REML or ML alone: compare it with a posterior, ``ranef.compare(eb, fb).plot.varcorr()``.
        """
        return varcorr_figure({self.fit.engine: self.fit}, ax)

    def ppc(
        self,
        n: int | None = None,
        statistic: str | Callable[[Floats], float] | None = None,
        group: str | None = None,
        *,
        kind: str | None = None,
        re: str | None = None,
        seed: int | None = None,
        ax: Axes | None = None,
        levels: LevelsArgument = None,
    ) -> Axes:
        """Replicated responses beside the observed one (a predictive check).

        Replications are drawn from the posterior predictive distribution; for a fit by REML or ML they are simulated
        at the estimates. Without `statistic` and `group` their distributions are drawn over the observed one; with
        `statistic` a histogram of it, the observed value marked; with `group` the mean, or `statistic`, of every level.

        Parameters
        ----------
        n : int, optional
            Replications: 50 curves or 1000 values by default, fewer for very many rows.
        statistic : str or callable, optional
            ``"mean"``, ``"sd"``, ``"min"``, ``"max"``, ``"median"``, or a function of a response (rows,).
        group : str, optional
            A grouping factor.
        kind : "density" or "ecdf", optional
            Curves as densities or distribution functions; by default the latter where the response takes few values.
        re : "fitted" or "new", optional
            Whether replications keep the random effects, or draw new ones. A posterior keeps its draws by default; a
            fit by REML or ML draws new ones: BLUPs vary less than effects do, and every check would look amiss.
        seed : int, optional
        ax : Axes, optional
        levels : int or sequence, optional
            With `group`: names of levels, or how many. All by default.

        Raises
        ------
        DesignError
            For an unknown statistic, group, level or kind, `levels` without `group`, or more replications than can be
            held.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> fit.plot.ppc(statistic="sd", seed=1).get_xlabel()
        'sd of Reaction'
        """
        return ppc_axes(self.fit, n, statistic, group, kind, re, seed, ax, levels)

    def pattern(self, which: str = "Z", ax: Axes | None = None) -> Axes:
        """Draw where Z, ZᵀZ or the Cholesky factor L of ΛᵀZᵀWZΛ + I are not zero, with the blocks of factors named.

        Never made dense; of a matrix with over 300 rows or columns a cell of the picture is darker the more of its
        places are not zero. L stands in the order in which this package eliminates the factors.

        Parameters
        ----------
        which : "Z", "ZtZ" or "L"
        ax : Axes, optional

        Raises
        ------
        DesignError
            For another name, or a model without random effects.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> print(fit.plot.pattern("ZtZ").get_title())
        $Z^T Z$
        36 × 36, 5.6 % not zero
        """
        return pattern_axes(self.fit, which, ax)

    def joint(
        self, x: str | None = None, y: str | None = None, ax: Axes | None = None, method: Method | None = None
    ) -> Axes:
        """Two standard deviations together: contours of the profiled criterion, and draws where the fit is a posterior.

        Contours lie where the criterion, least over all other variance parameters, is above its minimum by the 50, 80,
        95 and 99 % quantiles of χ² with two degrees of freedom.

        Parameters
        ----------
        x, y : str, optional
            As ``confint`` names them; by default the first two of random effects, or the only one and ``"sigma"``.
        ax : Axes, optional
        method : "REML" or "ML", optional
            That of the fit by default; REML for a posterior.

        Raises
        ------
        DesignError
            For an unknown standard deviation or method, or a model without two.
        """
        return joint_axes({self.fit.engine: self.fit}, x, y, ax, method)

    @property
    def _fits(self) -> dict[str, Fit]:
        """The fit by a name that says nothing."""
        return {"eb": self.fit}
