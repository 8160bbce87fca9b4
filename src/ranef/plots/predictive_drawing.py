"""Figures of posterior predictive checks; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ranef.arrays import Floats
from ranef.errors import DesignError
from ranef.interrupts import load
from ranef.plots.diagnostics import neighbour_means
from ranef.plots.drawing import BLUE, GREY, VERMILLION, new_axes, plain_frame
from ranef.plots.fonts import legible
from ranef.plots.names import as_drawn, name_levels
from ranef.plots.predictive import (
    GroupCheck,
    Replicated,
    Statistic,
    StatisticCheck,
    default_number,
    distribution_curves,
    group_check,
    is_discrete,
    replicated,
    statistic_check,
)
from ranef.plots.selection import LevelsArgument
from ranef.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ppc_axes"]

KINDS = ("density", "ecdf")

#: levels up to which each has a name on the axis
NAMED = 60


def ppc_axes(
    fit: Fit,
    n: int | None = None,
    statistic: Statistic | None = None,
    group: str | None = None,
    kind: str | None = None,
    re: str | None = None,
    seed: int | None = None,
    ax: Axes | None = None,
    levels: LevelsArgument = None,
) -> Axes:
    """Replicated responses beside the observed one: curves, one statistic, or one of every level."""
    if kind is not None and kind not in KINDS:
        raise DesignError(f"kind={kind!r} must be 'density', 'ecdf' or None, which chooses by the response.")
    curves = statistic is None and group is None
    number = default_number(fit, curves=curves) if n is None else n
    effects = re if re is not None else "fitted" if fit.engine == "NUTS" else "new"
    data = replicated(fit, number, effects, seed)
    if levels is not None and group is None:
        raise DesignError("levels= chooses levels of a grouping factor: name it by group=.")
    if group is not None:
        check = group_check(fit, data, group, "mean" if statistic is None else statistic, levels)
        ax = _tall_axes(len(check.levels)) if ax is None else ax
        _draw_groups(ax, check, fit)
        legible(ax)
        return ax
    ax = new_axes() if ax is None else ax
    if statistic is not None:
        _draw_statistic(ax, statistic_check(data, statistic), fit)
    else:
        cumulative = kind == "ecdf" or (kind is None and is_discrete(data.observed))
        _draw_curves(ax, data, fit, cumulative=cumulative)
    legible(ax)
    return ax


def _words(fit: Fit) -> str:
    """What replications are drawn from."""
    return "posterior predictive" if fit.engine == "NUTS" else f"simulated at the {fit.engine} estimates"


def _draw_curves(ax: Axes, data: Replicated, fit: Fit, *, cumulative: bool) -> None:
    observed, *others = distribution_curves(data, cumulative=cumulative)
    alpha = float(np.clip(12.0 / len(others), 0.12, 0.6))
    draw = ax.step if cumulative else ax.plot
    style = {"where": "post"} if cumulative else {}
    for i, curve in enumerate(others):
        label = f"{len(others)} responses, {_words(fit)}" if not i else None
        draw(*curve, color=_colour(fit), alpha=alpha, linewidth=0.9, label=label, **style)  # type: ignore[arg-type]
    draw(*observed, color="black", linewidth=2.2, label="observed", **style)  # type: ignore[arg-type]
    ax.set_xlabel(as_drawn(fit.spec.design.response))
    if cumulative:
        ax.set(ylabel="share of rows at or below", ylim=(0.0, 1.0))
    else:
        top = max(float(y.max()) for _, y in (observed, *others))
        ax.set(ylabel="density", yticks=[], ylim=(0.0, 1.25 * top))
        ax.spines["left"].set_visible(False)
    _legend(ax, "upper left")
    plain_frame(ax)


def _draw_statistic(ax: Axes, check: StatisticCheck, fit: Fit) -> None:
    label = f"{len(check.values)} responses, {_words(fit)}"
    heights, *_ = ax.hist(check.values, bins="auto", color=_colour(fit), alpha=0.45, label=label)
    ax.axvline(check.observed, color="black", linewidth=2.2, label=f"observed; {100 * check.p:.0f} % lie above")
    ax.set(xlabel=as_drawn(f"{check.name} of {fit.spec.design.response}"), ylabel="replications")
    ax.set_ylim(0.0, 1.28 * float(np.max(heights)))
    _legend(ax, "upper left")
    plain_frame(ax)


def _draw_groups(ax: Axes, check: GroupCheck, fit: Fit) -> None:
    n, colour = len(check.levels), _colour(fit)
    y: Floats = np.arange(n, dtype=float)
    if n <= NAMED:
        low, first, _, third, high = check.quantiles
        ax.hlines(y, low, high, color=colour, linewidth=1.3, label="95 % of replications")
        ax.hlines(y, first, third, color=colour, linewidth=5.0, alpha=0.5, label="half")
        ax.plot(check.observed, y, linestyle="none", marker="o", markersize=5, color="black", label="observed")
        ax.set_ylim(-0.8, n + 1.2)  # room for the legend
        name_levels(ax, check.levels, size=9 if n <= 40 else 7)
    else:
        (low, first, median, third, high, observed), y = neighbour_means(np.vstack([check.quantiles, check.observed]))
        ax.fill_betweenx(y, low, high, color=colour, alpha=0.2, linewidth=0, label="95 % of replications")
        ax.fill_betweenx(y, first, third, color=colour, alpha=0.45, linewidth=0, label="half")
        ax.plot(median, y, color=colour, linewidth=1.2, linestyle="--", label="their median")
        ax.plot(observed, y, color="black", linewidth=1.8, label="observed")
        ax.set_yticks([])
        ax.set_ylabel(as_drawn(f"{n} levels of {check.group}, in order"))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(as_drawn(f"{check.name} of {fit.spec.design.response} by {check.group}"))
    shown = "" if n == check.n_levels else f"; {n} shown"
    inside = f"{100 * check.inside:.0f} % of {check.n_levels} levels inside{shown}"
    ax.set_title(f"{inside}; {_words(fit)}", fontsize="medium", color=GREY)
    _legend(ax, "lower right" if n > NAMED else "upper left")
    plain_frame(ax)


def _tall_axes(n: int) -> Axes:
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    height = 1.4 + min(max(2.4, 0.22 * n), 7.8) if n <= NAMED else 5.2
    ax: Axes = plt.subplots(figsize=(6.4, height), layout="constrained")[1]
    return ax


def _legend(ax: Axes, where: str) -> None:
    """With solid lines: a thin translucent one shows no colour of its own."""
    for line in ax.legend(frameon=False, fontsize="small", loc=where).get_lines():
        line.set(alpha=1.0, linewidth=max(line.get_linewidth(), 2.2))


def _colour(fit: Fit) -> str:
    return VERMILLION if fit.engine == "NUTS" else BLUE
