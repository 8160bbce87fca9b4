"""The figures of several fits of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack, overload

from _ranef.comparison import interval_frame
from _ranef.plots.decomposition import decomposition_figure
from _ranef.plots.drawing import figure_of, returned_figure
from _ranef.plots.intervals import intervals_figure
from _ranef.plots.ranef import compared_figure, ranef_figure
from _ranef.plots.selection import Choices, LevelsArgument, TermArgument
from _ranef.plots.shared_plots import SharedPlots
from _ranef.results import Fit
from _ranef.support.argument_remedies import helpful

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ComparisonPlots"]


@helpful
@dataclass(frozen=True)
class ComparisonPlots(SharedPlots):
    """Figures of several fits of one model: call it for the comparison figure, or one of its methods.

    A method that draws one panel returns its Axes, one that draws several their Figure; ``ax=`` draws on given axes.

    Attributes
    ----------
    fits : mapping str to Fit
        Two to four fits of one model, by name.
    level : float
        Probability of the intervals.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import ranef
    >>> from _ranef.plots import ComparisonPlots
    >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    >>> plot = ComparisonPlots({"REML": model.fit(), "ML": model.fit("ML")}, 0.95)
    >>> [ax.get_title() for ax in plot().axes]
    ['operator: Intercept']
    >>> plot.ranef().get_xlabel()
    'random effect on bright'
    """

    fits: Mapping[str, Fit]
    level: float = 0.95

    def __call__(
        self,
        group: str | None = None,
        max_levels: int = 40,
        *,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Figure:
        """What each level says alone, and the estimate and interval of every fit; a panel for each random effect.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        max_levels : int
            Levels shown in a panel; of more, evenly spaced ones in the order of the first fit's estimates.
        term, levels
            As :meth:`FitPlots.ranef`.

        Raises
        ------
        DesignError
            For an unknown group, term or level, a model without random effects, or `max_levels` below two.
        """
        drawn = compared_figure(self.fits, group, term=term, levels=levels, max_levels=max_levels, level=self.level)
        return self._marked(returned_figure(drawn))

    @overload
    def ranef(
        self, group: str | None = ..., *, ax: Axes, max_levels: int | None = ..., **choices: Unpack[Choices]
    ) -> Axes: ...
    @overload
    def ranef(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        max_levels: int | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def ranef(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        max_levels: int | None = None,
        *,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Random effects in order, with the intervals of all fits (a caterpillar plot).

        For one REML or ML fit and one posterior, the thin dark line is the interval of the BLUP, conditional on θ̂, and
        the broad light bar behind it the posterior interval, marginal over θ: what shows beside the line is what the
        plug-in leaves out. Other sets of fits stand side by side. More than 80 levels become bands.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor.
        max_levels : int, optional
            Levels shown; of more, evenly spaced ones in the order of the first fit's estimates. All by default.
        term, levels
            As :meth:`FitPlots.ranef`.

        Raises
        ------
        DesignError
            For an unknown group, term or level, a model without random effects, or `max_levels` below two.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.fit("ML"))
        >>> both.plot.ranef().get_xlabel()
        'random effect on bright'
        """
        return self._marked(
            ranef_figure(self.fits, group, ax, term=term, levels=levels, max_levels=max_levels, level=self.level)
        )

    @overload
    def decomposition(
        self,
        group: str | None = ...,
        *,
        ax: Axes,
        max_levels: int = ...,
        draws: int | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes: ...
    @overload
    def decomposition(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        max_levels: int = ...,
        draws: int | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def decomposition(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        max_levels: int = 40,
        draws: int | None = None,
        *,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Where the posterior variance of every level comes from, and what a BLUP's own variance has of it.

        Bars are E[Var(b | y, θ, β)], what β adds, and Var(E[b | y, θ]) of the first posterior, as
        :meth:`ranef.Comparison.decompose` computes them; the mark is the conditional variance of the
        first REML or ML fit.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor.
        max_levels : int
            Levels shown; of more, evenly spaced ones in the order of their variances.
        draws : int, optional
            Draws of (θ, σ) to use.
        term, levels
            As :meth:`FitPlots.ranef`.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> both = ranef.compare(model.fit(), model.sample(draws=200, seed=1, progress=False))
        >>> both.plot.decomposition().get_xlabel()
        'posterior variance of the effect on bright'
        """
        return self._marked(decomposition_figure(self.fits, group, ax, max_levels, draws, term=term, levels=levels))

    def intervals(
        self,
        *methods: str,
        parameters: Sequence[str] | str | None = None,
        n: int = 1000,
        seed: int | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Axes | Figure:
        """Intervals of every parameter by every method beside each other: a panel for each parameter.

        Parameters
        ----------
        *methods : "wald", "profile", "bootstrap"
            Of fits by REML or ML; all three by default. Wald has the coefficients alone.
        parameters : str or sequence of str, optional
            Some of them, by the names that ``confint`` has; all by default.
        n, seed : int
            Of the bootstrap.
        ax : Axes or sequence of Axes, optional
            As many as there are parameters.

        Raises
        ------
        DesignError
            For an unknown method or parameter.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> len(ranef.compare(model.fit(), model.fit("ML")).plot.intervals("wald", "profile").axes)
        3
        """
        own = methods or ("wald", "profile", "bootstrap")
        drawn = intervals_figure(interval_frame(self.fits, own, self.level, n, seed), parameters, ax)
        return self._marked(returned_figure(drawn) if drawn is figure_of(drawn) else drawn)

    @property
    def _shown(self) -> Mapping[str, Fit]:
        return self.fits

    @property
    def _labelled(self) -> Mapping[str, Fit]:
        return self.fits

    @property
    def _level(self) -> float:
        return self.level
