"""The figures of one fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, overload

from _ranef.inference import check_level
from _ranef.plots.influence import influence_axes
from _ranef.plots.marginal_means import emmeans_axes
from _ranef.plots.matrix_pattern import pattern_axes
from _ranef.plots.ppc import ppc_axes
from _ranef.plots.profile import profile_axes
from _ranef.plots.qq import qq_axes, qq_ranef_axes
from _ranef.plots.ranef import ranef_figure
from _ranef.plots.residuals import (
    diagnostics_figure,
    residuals_axes,
    residuals_by_group_axes,
    scale_location_axes,
)
from _ranef.plots.selection import Choices, LevelsArgument, TermArgument
from _ranef.plots.shared_plots import SharedPlots
from _ranef.results import Fit
from _ranef.support.argument_remedies import helpful
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FitPlots"]


@helpful
@dataclass(frozen=True)
class FitPlots(SharedPlots):
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
        return self._marked(
            ranef_figure(self._shown, group, ax, term=term, levels=levels, max_levels=max_levels, level=level)
        )

    def residuals(self, ax: Axes | None = None) -> Axes:
        """Pearson residuals against fitted values, with their running median.

        Parameters
        ----------
        ax : Axes, optional

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.residuals().get_xlabel()
        'fitted value'
        """
        return self._marked(residuals_axes(self.fit, ax))

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
        return self._marked(diagnostics_figure(self.fit, group, levels))

    def qq(self, ax: Axes | None = None, level: float = 0.95) -> Axes:
        """Pearson residuals against normal quantiles, with a band that holds all of a normal sample.

        The line goes through the quartiles. The band holds for independent values; residuals are nearly that.

        Parameters
        ----------
        ax : Axes, optional
        level : float
            Probability that the whole sample lies within the band.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.qq().get_xlabel()
        'normal quantile'
        """
        check_level(level)
        return self._marked(qq_axes(self.fit, ax, level))

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

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.qq_ranef()
        <Axes: title={'center': 'operator: Intercept'}, xlabel='normal quantile', ylabel='BLUP / its marginal sd'>
        """
        check_level(level)
        return self._marked(qq_ranef_axes(self.fit, group, ax, level, term=term, levels=levels))

    def scale_location(self, ax: Axes | None = None) -> Axes:
        """Square root of absolute Pearson residuals against fitted values, to see whether spread goes with level.

        Parameters
        ----------
        ax : Axes, optional

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.scale_location().get_ylabel()
        '√|Pearson residual|'
        """
        return self._marked(scale_location_axes(self.fit, ax))

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

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.residuals_by_group().get_xlabel()
        'Pearson residual (in σ)'
        """
        return self._marked(residuals_by_group_axes(self.fit, group, ax, levels))

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
        kind : "density", "ecdf" or "rootogram", optional
            Curves as densities or distribution functions; by default the latter where the response takes few values.
            A rootogram has how often each count occurs, on a scale of roots: the default of counts and of successes.
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
        return self._marked(ppc_axes(self.fit, n, statistic, group, kind, re, seed, ax, levels))

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

    def profile(
        self, parameters: Sequence[str] | str | None = None, ax: Axes | Sequence[Axes] | None = None
    ) -> Axes | Figure:
        """Profiles: ζ, the signed root of the likelihood ratio, of each parameter, with its intervals.

        ζ is a straight line where a normal interval would do. Vertical lines reach it at the ends of the intervals of
        50, 80, 90, 95 and 99 %. The curves are those of ``fit.profile()``.

        Parameters
        ----------
        parameters : str or sequence of str, optional
            As ``confint(method="profile")`` names them; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are parameters.

        Raises
        ------
        DesignError
            For an unknown parameter, a fixed σ, or a posterior.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.profile("sigma").get_ylabel()
        'ζ, REML'
        """
        return self._marked(profile_axes(self.fit, parameters, ax))

    def influence(
        self,
        group: str | None = None,
        measure: str = "cooks_distance",
        *,
        refit: bool = False,
        ax: Axes | None = None,
    ) -> Axes | Figure:
        """What the fit becomes without each level of a factor, or each row: the most influential uppermost.

        Parameters
        ----------
        group : str, optional
            A grouping factor; single rows by default.
        measure : str
            A column of ``fit.influence(group).deleted``: ``"cooks_distance"``, ``"mdffits"``, ``"covtrace"``,
            ``"covratio"`` or ``"sigma"``.
        refit : bool
            Whether θ is estimated anew each time.
        ax : Axes, optional

        Raises
        ------
        DesignError
            For an unknown factor or measure, or a posterior.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.influence("operator", "mdffits").get_xlabel()
        'MDFFITS'
        """
        return self._marked(influence_axes(self.fit, group, measure, refit=refit, ax=ax))

    def emmeans(
        self,
        spec: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Axes:
        """Marginal means with their intervals; further factors of `by` stand beside each other.

        Parameters
        ----------
        spec : str or sequence of str
            As for :func:`ranef.emmeans`.
        by : str or sequence of str, optional
        ax : Axes, optional
        **options
            ``at``, ``weights``, ``trend``, ``ddf`` and ``level`` of :func:`ranef.emmeans`.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> fit = ranef.Model("yield ~ nitro * Variety + (1 | Block/Variety)", ranef.datasets.load("Oats")).fit()
        >>> fit.plot.emmeans("Variety", trend="nitro").get_ylabel()
        'slope in nitro of yield'
        """
        return self._marked(emmeans_axes(self.fit, spec, {"by": by, **options}, ax))

    @property
    def _shown(self) -> dict[str, Fit]:
        return {"eb": self.fit}

    @property
    def _labelled(self) -> dict[str, Fit]:
        return {self.fit.engine: self.fit}

    @property
    def _level(self) -> float:
        return 0.95
