"""Posterior densities of variance components, with estimates and priors on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from _ranef.errors import DesignError
from _ranef.inference import estimates_to_mark, first_fit, posteriors_of, prior_component_draws, varcorr_draws
from _ranef.plots.drawing import BLUE, GREY, VERMILLION, axes_for, legend_above, plain_frame, returned
from _ranef.plots.names import as_drawn, effects_of, per_unit
from _ranef.plots.smooth import kernel_density
from _ranef.results import Fit, RemlEstimates
from _ranef.spec import (
    LKJ,
    ModelSpec,
    Priors,
    Scale,
    TermSpec,
    corr_name,
    correlation_density,
    scale_density,
    varcorr_arrays,
)
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "POSTERIOR_COLOURS",
    "Component",
    "ComponentPanel",
    "Curve",
    "component_panels",
    "components",
    "density",
    "varcorr_figure",
]

#: points of a density over the range of the draws
POINTS = 1024

#: of ArviZ's bandwidth, which is for independent draws
SMOOTHER = 1.25

#: draws beyond this quantile lie outside the panel
SHOWN = 0.995

#: densities end so far beyond the panel, as a share of its width
BEYOND = 0.25

#: of several posteriors, after Okabe and Ito
POSTERIOR_COLOURS = (VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: dashes of several posteriors, for grey prints
DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Component:
    """One standard deviation or correlation of a model.

    Attributes
    ----------
    name : str
        As ``confint`` has it.
    title, unit : str
        What stands above its panel and along its axis.
    place : int
        Its row in ``varcorr``.
    term : TermSpec or None
        None for σ.
    column : str
        The column whose sd it is; empty for a correlation and σ.
    kind : str
        ``"sd"`` or ``"cor"``.
    """

    name: str
    title: str
    unit: str
    place: int
    term: TermSpec | None
    column: str
    kind: str


@dataclass(frozen=True)
class Curve:
    """A density.

    Attributes
    ----------
    label : str
    x, y : array (points,)
    """

    label: str
    x: Floats
    y: Floats


@dataclass(frozen=True)
class ComponentPanel:
    """One variance component.

    Attributes
    ----------
    component : Component
    posteriors, priors : tuple of Curve
    estimates : mapping str to float
        By the label of the criterion; NaN for a correlation with an effect of variance zero.
    limits : (float, float)
        Of the axis.
    """

    component: Component
    posteriors: tuple[Curve, ...]
    priors: tuple[Curve, ...]
    estimates: Mapping[str, float]
    limits: tuple[float, float]


def components(spec: ModelSpec) -> tuple[Component, ...]:
    """The standard deviations and correlations of a model, σ last; a known σ and repeats left out."""
    out: list[Component] = []
    place, response = 0, effects_of(spec)
    for t in spec.terms:
        shared = t.structure.shared
        for i, column in enumerate(t.columns):
            title = f"{t.group}: sd of {', '.join(t.columns) if shared else column}"
            one = Component(f"sd({column} | {t.group})", title, _unit(column, response), place, t, column, "sd")
            place += 1
            if i == 0 or not shared:
                out.append(one)
        for i, j in t.structure.pairs:
            a, b = t.columns[j], t.columns[i]
            title = f"{t.group}: correlation of {a}, {b}"
            one = Component(f"cor({a}, {b} | {t.group})", title, "correlation", place, t, "", "cor")
            place += 1
            if (i, j) in t.structure.own_pairs:
                out.append(one)
    if spec.sigma is None:
        out.append(Component("sigma", "Residual: σ", _unit("Intercept", response), place, None, "", "sd"))
    return tuple(out)


def _unit(column: str, response: str) -> str:
    """Unit of the sd of a column's effect in words."""
    return f"in units of {response}{per_unit(column)}"


def component_panels(fits: Mapping[str, Fit]) -> tuple[ComponentPanel, ...]:
    """A panel for each variance component that some posterior among `fits` has.

    Raises
    ------
    DesignError
        If none of the fits is a posterior.
    """
    posteriors = posteriors_of(fits)
    if not posteriors:
        raise DesignError(
            "A figure of the posterior of variance components needs a posterior among the fits: make one by "
            "Model.sample()."
        )
    spec = first_fit(fits).spec
    draws = {name: [row[4].ravel() for row in varcorr_draws(f.spec, f.draws)] for name, f in posteriors.items()}
    marks = {label: _values(spec, e) for label, e in estimates_to_mark(fits).items()}
    out = []
    for c in components(spec):
        own = {name: values[c.place] for name, values in draws.items()}
        estimates = {label: values[c.place] for label, values in marks.items()}
        limits = _limits(c, list(own.values()), list(estimates.values()))
        end = limits[1] + BEYOND * (limits[1] - limits[0])
        curves = tuple(replace(density(x, c.kind, end), label=name) for name, x in own.items())
        grid = np.linspace(max(limits[0], 0.0) if c.kind == "sd" else -1.0, limits[1] if c.kind == "sd" else 1.0, 400)
        priors = _prior_curves(spec, c, {name: f.draws.priors for name, f in posteriors.items()}, grid)
        out.append(ComponentPanel(c, curves, priors, estimates, limits))
    return tuple(out)


def density(draws: Floats, kind: str, end: float = np.inf) -> Curve:
    """Kernel density of draws (n,) of an ``"sd"``, reflected at 0, or of a ``"cor"``, reflected at ±1.

    ArviZ's estimator: Gaussian kernels by convolution on a grid, whose mirror image is added at both ends; 1.25 times
    its default bandwidth, for draws are not independent. Draws beyond `end` are left out, and only their mass counts: a
    grid over all of a heavy tail would be too coarse for the bulk. Constant draws (a chain that never moved) have no
    density, and give an empty curve.

    Examples
    --------
    >>> import numpy as np
    >>> curve = density(np.random.default_rng(1).exponential(size=4000), "sd")
    >>> bool(curve.x[0] > 0), bool(0.9 < curve.y[0] < 1.1)  # not half of it, as without reflection
    (True, True)
    """
    shown = draws[draws <= end]
    if not shown.size or np.ptp(shown) == 0:
        return Curve("", np.empty(0), np.empty(0))
    pad = 0.6 * float(shown.std())
    lowest, highest = (0.0, end) if kind == "sd" else (-1.0, 1.0)
    ends = max(lowest, float(shown.min()) - pad), min(highest, float(shown.max()) + pad)
    x, y = kernel_density(shown, ends, POINTS, factor=SMOOTHER)
    return Curve("", x, y * (shown.size / draws.size))


def _values(spec: ModelSpec, estimates: RemlEstimates) -> list[float]:
    rows = varcorr_arrays(spec, estimates.theta, np.asarray(estimates.sigma))
    return [float(row[4]) for row in rows]


def _limits(c: Component, draws: list[Floats], estimates: list[float]) -> tuple[float, float]:
    """Range of the axis: the bulk of the draws and the estimates, from 0 where that is not far."""
    if c.kind == "cor":
        return -1.03, 1.03
    finite = [e for e in estimates if np.isfinite(e)]
    top = max([float(np.quantile(x, SHOWN)) for x in draws] + finite)
    bottom = min([float(np.quantile(x, 1.0 - SHOWN)) for x in draws] + finite)
    width = top - bottom
    # a little room on the left, so that a line at zero is seen beside the axis
    low = bottom - 0.1 * width if bottom > 0.5 * width else -0.025 * top
    return low, top + 0.06 * width


def _prior_curves(spec: ModelSpec, c: Component, priors: Mapping[str, Priors], grid: Floats) -> tuple[Curve, ...]:
    """Prior densities over `grid`; one where all posteriors have the same, none where it is improper."""
    by_words: dict[tuple[str, ...], Curve | None] = {}
    curves: dict[str, Curve] = {}
    for name, own in priors.items():
        words = tuple(own.lines())
        if not own.flat and words not in by_words:
            by_words[words] = _prior_curve(spec, c, own, grid)
        if not own.flat and (curve := by_words[words]) is not None:
            curves[name] = replace(curve, label=f"prior of {name}")
    # priors of other components may differ
    first = next(iter(curves.values()), None)
    if first is not None and all(_equal(first, curve) for curve in curves.values()):
        return (replace(first, label="prior"),)
    return tuple(curves.values())


def _equal(a: Curve, b: Curve) -> bool:
    return np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y)


def _prior_curve(spec: ModelSpec, c: Component, priors: Priors, grid: Floats) -> Curve | None:
    """Density of one prior: of its family, or of draws where priors stand in other coordinates than the columns."""
    family = _family(c, priors)
    if isinstance(family, LKJ):
        return Curve("", grid, correlation_density(family, c.term.structure.size if c.term else 1, grid))
    if family is not None:
        y = scale_density(family, grid)
        return None if y is None else Curve("", grid, y)
    values = prior_component_draws(spec, priors, c.place)
    return None if values is None else density(values, c.kind, float(grid[-1]) if c.kind == "sd" else np.inf)


def _family(c: Component, priors: Priors) -> Scale | LKJ | None:
    """The family that a component has; None where it is made of several coordinates."""
    if c.term is None:
        return priors.sigma
    own = priors.term(c.term)
    if c.kind == "cor":
        plain = np.array_equal(own.outward, np.eye(len(own.outward)))
        return priors.corr.get(corr_name(c.term)) if plain else None
    i = c.term.columns.index(c.column)
    plain = np.array_equal(own.outward[i], np.eye(len(own.outward))[i])
    return priors.sd.get((c.term.group, own.names[0 if c.term.structure.shared else i])) if plain else None


def varcorr_figure(fits: Mapping[str, Fit], ax: Axes | Sequence[Axes] | None = None) -> Axes | Figure:
    """Posterior density of every variance component, with the REML and ML estimates and the prior on it.

    Parameters
    ----------
    fits : mapping of str to Fit
        Fits of one model, at least one of them a posterior. Estimates that none of them holds are computed.
    ax : Axes or sequence of Axes, optional
        One for each sd and correlation, and σ.

    Raises
    ------
    DesignError
        If none of the fits is a posterior, or `ax` holds another number of axes than there are components.
    """
    panels = component_panels(fits)
    axes = axes_for(ax, len(panels), (4.0, 3.1), 2 if len(panels) == 2 else 3)
    for a, panel in zip(axes, panels, strict=True):
        _draw_component(a, panel)
    if ax is None:
        legend_above(axes)
    return returned(axes)


def _draw_component(ax: Axes, panel: ComponentPanel) -> None:
    several = len(panel.posteriors) > 1
    peak = max([float(c.y.max()) for c in panel.posteriors if c.y.size] or [1.0])
    for i, curve in enumerate(panel.posteriors):
        colour = _colour(i)
        label = f"posterior {as_drawn(curve.label)}" if several else "posterior"
        ax.fill_between(curve.x, curve.y, color=colour, alpha=0.12 if several else 0.25, linewidth=0)
        ax.plot(curve.x, curve.y, color=colour, linewidth=1.8, linestyle=DASHES[i % len(DASHES)], label=label)
    for i, curve in enumerate(panel.priors):
        colour = GREY if len(panel.priors) == 1 else _colour(i)
        ax.plot(
            curve.x, curve.y, color=colour, linewidth=1.1, linestyle=(0, (4 + 4 * i, 2)), label=as_drawn(curve.label)
        )
    for label, value in panel.estimates.items():
        _mark(ax, label, value, peak)
    ax.set_title(as_drawn(panel.component.title), fontsize="medium")
    ax.set_xlabel(as_drawn(panel.component.unit))
    ax.set(xlim=panel.limits, ylim=(0.0, 1.22 * peak), yticks=[])
    if panel.component.kind == "cor":
        ax.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    if any(np.isnan(v) for v in panel.estimates.values()):
        ax.text(0.03, 0.96, "no estimate: a variance is 0", transform=ax.transAxes, va="top", color=BLUE, fontsize=8.5)
    plain_frame(ax)
    ax.spines["left"].set_visible(False)


def _colour(i: int) -> str:
    return POSTERIOR_COLOURS[i % len(POSTERIOR_COLOURS)]


def _mark(ax: Axes, label: str, value: float, peak: float) -> None:
    """An estimate as a line from the axis to a head of its own, so that two at one place are both seen."""
    if np.isnan(value):
        return
    reml = label.endswith(("REML", "Laplace"))
    height = (1.14 if reml else 1.03) * peak
    ax.plot(
        [value, value],
        [0.0, height],
        color=BLUE if reml else "black",
        linewidth=1.7,
        linestyle="-" if reml else "--",
        marker="o" if reml else "s",
        markersize=6,
        markevery=[1],
        markerfacecolor=BLUE if reml else "white",
        label=f"{as_drawn(label)} estimate",
        zorder=4 if reml else 5,
        clip_on=False,
    )
