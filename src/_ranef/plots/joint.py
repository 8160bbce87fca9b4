"""Two standard deviations together: posterior draws over contours of the profiled criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.inference import estimates_of, estimates_to_mark, first_fit, posteriors_of, products_of, require_gaussian
from _ranef.inference.profile_surface import Surface, chosen_pair, contour_levels, criterion_surface
from _ranef.plots.drawing import BLUE, GREY, figure_of, one_axes, plain_frame
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn
from _ranef.plots.selection import spread
from _ranef.plots.varcorr import POSTERIOR_COLOURS, Component, components
from _ranef.results import Fit, Method
from _ranef.spec import ModelSpec, sdcor_arrays
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["JointPanel", "joint_axes", "joint_panel"]

#: draws shown
DRAWS = 4000

#: points of the grid along one side, and where two parameters are all there is and nothing has to be minimised
POINTS, FINE = 40, 80

#: draws beyond these quantiles are not reached for by the axes
REACH = (0.003, 0.997)

PROBABILITIES = (0.5, 0.8, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class JointPanel:
    """Draws of two standard deviations over contours of the profiled criterion.

    Attributes
    ----------
    x, y : Component
    draws : mapping str to array (shown, 2)
        By the name of the posterior.
    surface : Surface or None
        None where the model sampled is not Gaussian, and no fit by REML or ML is given.
    estimates : mapping str to (float, float)
        By the label of the criterion.
    """

    x: Component
    y: Component
    draws: Mapping[str, Floats]
    surface: Surface | None
    estimates: Mapping[str, tuple[float, float]]


def joint_panel(
    fits: Mapping[str, Fit], x: str | None = None, y: str | None = None, method: Method | None = None
) -> JointPanel:
    """Gather draws, contours and estimates of two standard deviations of fits of one model.

    Parameters
    ----------
    fits : mapping of str to Fit
    x, y : str, optional
        As for :func:`_ranef.inference.profile_surface.criterion_surface`.
    method : "REML" or "ML", optional
        The criterion whose contours are taken; by default that of the first fit by REML or ML, else REML.

    Raises
    ------
    DesignError
        For an unknown standard deviation or method, or a model without two.
    """
    one_of("method", method, ("REML", "ML", None))
    spec, posteriors, marks = first_fit(fits).spec, posteriors_of(fits), estimates_to_mark(fits)
    names = chosen_pair(spec, x, y)
    known = {c.name: c for c in components(spec)}
    draws = {name: _pairs(spec, f.draws.theta, f.draws.sigma, names) for name, f in posteriors.items()}
    found = {label: _pairs(spec, e.theta, np.asarray(e.sigma), names)[0] for label, e in marks.items()}
    estimates = {label: (float(a), float(b)) for label, (a, b) in found.items()}
    surface = None
    if marks:
        own = next((f.estimates.method for f in estimates_of(fits).values()), "REML")
        optimum = next(e for e in marks.values() if e.method == (method or own))
        within = _reach(np.concatenate(list(draws.values()))) if draws else None
        points = FINE if len(known) == 2 else POINTS
        surface = criterion_surface(spec, products_of(fits), optimum, *names, points=points, within=within)
    shown = {name: d[spread(len(d), DRAWS // len(draws))] for name, d in draws.items()}
    return JointPanel(known[names[0]], known[names[1]], shown, surface, estimates)


def _pairs(spec: ModelSpec, theta: Floats, sigma: Floats, names: tuple[str, str]) -> Floats:
    """Values (n, 2) of two standard deviations."""
    found = sdcor_arrays(spec, theta, sigma)
    return np.stack([np.ravel(found[name]) for name in names], axis=1)


def _reach(draws: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    low, high = np.quantile(draws, REACH, axis=0).tolist()
    return (low[0], high[0]), (low[1], high[1])


def joint_axes(
    fits: Mapping[str, Fit],
    x: str | None = None,
    y: str | None = None,
    ax: Axes | None = None,
    method: Method | None = None,
) -> Axes:
    """Posterior draws of two standard deviations over contours of the profiled criterion.

    The contours lie where the REML (or ML) criterion, minimised over all other variance parameters, is above its
    minimum by the 50, 80, 95 and 99 % quantiles of χ² with two degrees of freedom: joint confidence regions of the
    likelihood, without the prior. The legend says so where they are approximate: where minimising would take long, the
    other parameters follow the quadratic at the estimates.

    Parameters
    ----------
    fits : mapping of str to Fit
        Fits of one model; without a posterior there are contours alone.
    x, y : str, optional
        Standard deviations as ``confint`` names them; by default the first two of random effects, or the only one and
        ``"sigma"``.
    ax : Axes, optional
    method : "REML" or "ML", optional
        By default that of the first fit by REML or ML, else REML.

    Raises
    ------
    DesignError
        For an unknown standard deviation or method, or a model without two.
    """
    spec = first_fit(fits).spec
    require_gaussian(spec, "joint()", "plot.varcorr() has the posterior of each standard deviation.")
    panel = joint_panel(fits, x, y, method)
    ax = one_axes(ax, 6.2, 5.4)
    _draw(ax, panel)
    legible(ax)
    return ax


def _draw(ax: Axes, panel: JointPanel) -> None:
    for i, (name, draws) in enumerate(panel.draws.items()):
        n = len(draws)
        label = f"{n} draws of the posterior" + (f" {as_drawn(name)}" if len(panel.draws) > 1 else "")
        style: dict[str, Any] = {"s": 7.0, "alpha": float(np.clip(600.0 / n, 0.15, 0.7)), "linewidths": 0}
        ax.scatter(*draws.T, color=POSTERIOR_COLOURS[i % len(POSTERIOR_COLOURS)], label=label, zorder=1, **style)
    if panel.surface is not None:
        _draw_contours(ax, panel.surface)
    for label, (at_x, at_y) in panel.estimates.items():
        reml = label.endswith("REML")
        ax.plot(
            at_x,
            at_y,
            linestyle="none",
            marker="o" if reml else "s",
            markersize=10 if reml else 6,
            markerfacecolor=BLUE if reml else "white",
            markeredgecolor="white" if reml else "black",
            label=f"{as_drawn(label)} estimate",
            zorder=5,
            clip_on=False,
        )
    ax.set_xlabel(as_drawn(_words(panel.x)))
    ax.set_ylabel(as_drawn(_words(panel.y)))
    _limit(ax, panel)
    plain_frame(ax)
    _legend(ax)


def _legend(ax: Axes) -> None:
    """Above the axes where the figure holds nothing else, else in a corner; its marks are opaque."""
    from matplotlib.collections import PathCollection  # noqa: PLC0415 - heavy: only where a figure is made

    style: dict[str, Any] = {"frameon": False, "fontsize": "small"}
    figure = figure_of(ax)
    if figure.axes == [ax] and figure.get_layout_engine() is not None:
        handles, labels = ax.get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=2, **style)
    else:
        legend = ax.legend(loc="upper right", **style | {"frameon": True, "framealpha": 0.8, "edgecolor": "none"})
    for handle in legend.findobj(PathCollection):
        handle.set(alpha=1.0, sizes=[20.0])


def _draw_contours(ax: Axes, surface: Surface) -> None:
    levels = contour_levels(PROBABILITIES).tolist()
    lines = ax.contour(
        surface.x, surface.y, surface.rise, levels=levels, colors=BLUE, linewidths=[1.9, 1.5, 1.2, 0.9], zorder=3
    )
    names = {level: f"{100 * p:g} %" for level, p in zip(levels, PROBABILITIES, strict=True)}
    places = _label_places(lines.allsegs, surface)
    ax.clabel(lines, fmt=names, fontsize="small", manual=places)
    how = "" if not surface.minimised else ", profiled approximately" if surface.expanded else ", profiled"
    ax.plot([], [], color=BLUE, linewidth=1.5, label=f"{surface.method} criterion{how}")


def _label_places(segments: Sequence[Sequence[Floats]], surface: Surface) -> list[tuple[float, float]]:
    """A place on the longest stretch of each contour, further round it from one to the next, as steps of a stair."""
    spans = np.array([np.ptp(surface.x), np.ptp(surface.y)])
    out = []
    for i, own in enumerate(segments):
        stretches = [line for line in own if len(line) > 1]
        if stretches:
            line = max(stretches, key=lambda at: float(np.abs(np.diff(at, axis=0) / spans).sum()))
            turn = np.deg2rad(15.0 + 20.0 * i)
            furthest = np.argmax(line / spans @ np.array([np.cos(turn), np.sin(turn)]))
            out.append((float(line[furthest, 0]), float(line[furthest, 1])))
    return out


def _limit(ax: Axes, panel: JointPanel) -> None:
    """Show the whole grid, or all draws; leave room beside zero for a mark on it."""
    if panel.surface is None:
        return
    ends = []
    for values in (panel.surface.x, panel.surface.y):
        low, high = float(values[0]), float(values[-1])
        ends.append((low - 0.03 * (high - low) if low == 0 else low, high))
    ax.set(xlim=ends[0], ylim=ends[1])
    if ends[0][0] < 0:
        ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    if ends[1][0] < 0:
        ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)


def _words(component: Component) -> str:
    return f"{component.title}, {component.unit}"
