"""The figures that a fit and a comparison of fits have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from _ranef.plots.drawing import figure_of, mark_doubtful
from _ranef.plots.joint import joint_axes
from _ranef.plots.lines import lines_figure
from _ranef.plots.path import path_of_fits
from _ranef.plots.residual_structure import acf_axes, residual_sd_axes
from _ranef.plots.selection import Choices, LevelsArgument, TermArgument
from _ranef.plots.shrinkage import shrinkage_figure
from _ranef.plots.varcorr import varcorr_figure
from _ranef.results import Fit, Method
from _ranef.support.argument_remedies import Answering, helpful

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SharedPlots"]

_Drawn = TypeVar("_Drawn", bound="Axes | Figure")


@helpful
class SharedPlots(Answering):
    """Figures of one or more fits of one model."""

    @property
    @abstractmethod
    def _shown(self) -> Mapping[str, Fit]:
        """The fits by name; a fit alone by one that is not drawn."""

    @property
    @abstractmethod
    def _labelled(self) -> Mapping[str, Fit]:
        """The fits by the names that legends give them; a fit alone by its engine."""

    def _marked(self, drawn: _Drawn) -> _Drawn:
        """The same, with a line under the figure where a fit should not be trusted."""
        mark_doubtful(figure_of(drawn), self._labelled)
        return drawn

    @property
    @abstractmethod
    def _level(self) -> float:
        """Probability of intervals where no other is asked for."""

    @overload
    def shrinkage(
        self,
        group: str | None = ...,
        *,
        ax: Axes,
        max_levels: int = ...,
        level: float | None = ...,
        kind: str | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes: ...
    @overload
    def shrinkage(
        self,
        group: str | None = ...,
        ax: Axes | Sequence[Axes] | None = ...,
        max_levels: int = ...,
        level: float | None = ...,
        *,
        kind: str | None = ...,
        **choices: Unpack[Choices],
    ) -> Axes | Figure: ...
    def shrinkage(
        self,
        group: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        max_levels: int = 60,
        level: float | None = None,
        *,
        kind: str | None = None,
        term: TermArgument = None,
        levels: LevelsArgument = None,
    ) -> Axes | Figure:
        """Each level alone, and where each fit draws it: towards zero, the more so the less its rows say.

        In a plane the arrows lead to the first fit's estimates; those of other fits are hollow marks, and their
        regions dashed.

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        ax : Axes or sequence of Axes, optional
            As many as there are panels: one for each random effect of each grouping factor, or for each pair in planes.
        max_levels : int
            Levels shown as dumbbells; of more, evenly spaced ones in the order of their estimates without pooling.
        level : float, optional
            Probability of the intervals of dumbbells; 0.95, or that of the comparison.
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

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.shrinkage().get_xlabel()
        'random effect on bright'
        """
        level = self._level if level is None else level
        return self._marked(
            shrinkage_figure(
                self._shown, group, ax, kind=kind, term=term, levels=levels, max_levels=max_levels, level=level
            )
        )

    @overload
    def lines(
        self,
        x: object = ...,
        group: str | None = ...,
        kind: str = ...,
        levels: LevelsArgument = ...,
        *,
        ax: Axes,
        level: float | None = ...,
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
        level: float | None = ...,
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
        level: float | None = None,
        *,
        term: TermArgument = None,
    ) -> Axes | Figure:
        """Data with fitted lines by group: each level's own, with partial pooling by each fit, and the population's.

        Along a level's line, what does not depend on the covariate is held at its mean over the level's own rows: other
        columns, the offset, and effects of other grouping factors. Curves join the values at the level's own rows.
        Along a factor its categories stand on the axis; columns it is part of are as in a level's own rows of each.
        Without a covariate rows are drawn by level with its mean and its estimates. Own lines and the population's are
        those of the first fit.

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
        level : float, optional
            Probability of posterior bands; 0.95, or that of the comparison.
        term : str, optional
            A column of the random effects, in place of `x`: lines run along its covariate.

        Raises
        ------
        DesignError
            For an unknown group, kind, covariate, term or level, or both `x` and `term`.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
        >>> len(fit.plot.lines(levels=4).axes)
        4
        """
        level = self._level if level is None else level
        return self._marked(
            lines_figure(self._shown, x=x, group=group, kind=kind, term=term, levels=levels, ax=ax, level=level)
        )

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
        ratio's distribution stands above, and all else is at the posterior mean of θ. Of several fits the paths are
        those of the first by REML or ML, the distribution that of the first posterior. Of more than 150 levels evenly
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

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
        >>> fit.plot.path().get_xlabel()
        'sd(Intercept | operator) / σ'
        """
        return self._marked(path_of_fits(self._shown, group, term, ax, levels))

    @overload
    def varcorr(self, *, ax: Axes) -> Axes: ...
    @overload
    def varcorr(self, ax: Axes | Sequence[Axes] | None = ...) -> Axes | Figure: ...
    def varcorr(self, ax: Axes | Sequence[Axes] | None = None) -> Axes | Figure:
        """Posterior density of every sd and correlation, with the REML and ML estimates and the prior drawn on it.

        A criterion that none of the fits was made by is minimised here. Several posteriors stand in one panel, each
        with its prior where they differ. Densities are reflected at 0, and at ±1 for
        correlations; priors are exact, in the units of the axis (a correlation's is the marginal of LKJ), and not
        drawn where they are improper.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            As many as there are standard deviations and correlations, σ among them.

        Raises
        ------
        DesignError
            Without a posterior: compare a fit by REML or ML with a posterior, ``ranef.compare(eb, fb).plot.varcorr()``.

        Examples
        --------
        >>> import ranef
        >>> model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
        >>> fb = model.sample(draws=200, seed=1, progress=False)
        >>> len(fb.plot.varcorr().axes)
        2
        """
        return self._marked(varcorr_figure(self._labelled, ax))

    def joint(
        self, x: str | None = None, y: str | None = None, ax: Axes | None = None, method: Method | None = None
    ) -> Axes:
        """Two standard deviations together: contours of the profiled criterion, and draws of posteriors.

        Contours lie where the criterion, least over all other variance parameters, is above its minimum by the 50, 80,
        95 and 99 % quantiles of χ² with two degrees of freedom.

        Parameters
        ----------
        x, y : str, optional
            As ``confint`` names them; by default the first two of random effects, or the only one and ``"sigma"``.
        ax : Axes, optional
        method : "REML" or "ML", optional
            That of the first fit by REML or ML by default; REML for posteriors alone.

        Raises
        ------
        DesignError
            For an unknown standard deviation or method, or a model without two.

        Examples
        --------
        >>> import ranef
        >>> fit = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")).fit()
        >>> fit.plot.joint("sd(Intercept | plate)", "sd(Intercept | sample)").get_xlabel()
        'plate: sd of Intercept, in units of diameter'
        """
        return self._marked(joint_axes(self._labelled, x, y, ax, method))

    def residual_sd(self, ax: Axes | None = None, level: float | None = None) -> Axes:
        """Residual standard deviation of every stratum of ``VarIdent``, with intervals of each fit.

        Those of REML and ML are Wald's on the logarithm, from the observed information; those of a posterior hold its
        draws.

        Parameters
        ----------
        ax : Axes, optional
        level : float, optional
            Probability of the intervals; 0.95, or that of the comparison.

        Raises
        ------
        DesignError
            If the residuals have no strata.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> data = ranef.datasets.load("Orthodont")
        >>> model = ranef.Model("distance ~ age * Sex + (1 | Subject)", data, variance=ranef.VarIdent("Sex"))
        >>> model.fit().plot.residual_sd().get_xlabel()
        'residual sd of distance'
        """
        return self._marked(residual_sd_axes(self._shown, self._level if level is None else level, ax))

    def acf(
        self, group: str | None = None, lags: int | None = None, ax: Axes | None = None, level: float | None = None
    ) -> Axes:
        """Autocorrelations of residuals by how many rows they are apart, as nlme's ``ACF``.

        Bars are of Pearson residuals, lines what the model's correlation says of them, and marks of normalised
        residuals: what it leaves, which should lie between the dashed bounds of independent ones.

        Parameters
        ----------
        group : str, optional
            Whose rows follow each other; by default that of the correlation, else the factor with the most levels.
        lags : int, optional
            The longest; by default 10 log₁₀ of the longest group.
        ax : Axes, optional
        level : float, optional
            Probability of the bounds; 0.95, or that of the comparison.

        Raises
        ------
        DesignError
            For an unknown group, lags below 1, or groups of one row.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> import ranef
        >>> data = ranef.datasets.load("Orthodont")
        >>> model = ranef.Model("distance ~ age * Sex", data, correlation=ranef.AR1("(age - 8) / 2", group="Subject"))
        >>> model.fit().plot.acf().get_xlabel()
        'rows apart within Subject'
        """
        return self._marked(acf_axes(self._shown, self._level if level is None else level, group, lags, ax))
