"""Residual variances by stratum, and autocorrelations of residuals: what a model says of them, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from _ranef.inference import (
    Autocorrelations,
    autocorrelations,
    check_level,
    first_fit,
    lag_bounds,
    require_gaussian,
    stratum_sds,
)
from _ranef.plots.drawing import (
    BLACK,
    GREY,
    LEGEND,
    PLAIN_NAMES,
    Mark,
    dodged,
    fit_marks,
    one_axes,
    plain_frame,
)
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn, name_levels
from _ranef.plots.ranef import Series
from _ranef.results import Fit
from _ranef.support.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LagPanel", "StrataPanel", "acf_axes", "lag_panel", "residual_sd_axes", "strata_panel"]


@dataclass(frozen=True)
class StrataPanel:
    """Residual standard deviations.

    Attributes
    ----------
    strata : tuple of str
    series : mapping str to Series
        By fit, with intervals.
    """

    strata: tuple[str, ...]
    series: Mapping[str, Series]


@dataclass(frozen=True)
class LagPanel:
    """Autocorrelations of the residuals of one or more fits.

    Attributes
    ----------
    fits : mapping str to Autocorrelations
    bounds : array (m,)
        Half-widths that hold those of independent residuals, lag by lag.
    """

    fits: Mapping[str, Autocorrelations]
    bounds: Floats


def strata_panel(fits: Mapping[str, Fit], level: float) -> StrataPanel:
    """Of every fit, in the order of the strata.

    Raises
    ------
    DesignError
        If the residuals have no strata.
    """
    frames = {name: stratum_sds(fit, level) for name, fit in fits.items()}
    strata = tuple(next(iter(frames.values()))["stratum"])
    series = {
        name: Series(*(own[part].to_numpy() for part in ("estimate", "lower", "upper"))) for name, own in frames.items()
    }
    return StrataPanel(strata, series)


def lag_panel(fits: Mapping[str, Fit], group: str | None, lags: int | None, level: float) -> LagPanel:
    """Of every fit, by the same groups.

    Raises
    ------
    DesignError
        For an unknown group or lag.
    """
    own = {name: autocorrelations(fit, group, lags) for name, fit in fits.items()}
    return LagPanel(own, lag_bounds(next(iter(own.values())).pairs, level))


def residual_sd_axes(fits: Mapping[str, Fit], level: float, ax: Axes | None = None) -> Axes:
    """Residual standard deviation of every stratum, one mark for each fit."""
    require_gaussian(first_fit(fits).spec, "residual_sd()", "Its rows vary as their mean says.")
    marks = _marks(fits, level)
    panel = strata_panel(fits, level)
    n = len(panel.strata)
    ax = one_axes(ax, 6.4, 1.6 + min(0.34 * n + 0.12 * n * len(fits), 7.5))
    for mark, own in zip(marks, panel.series.values(), strict=True):
        at = np.arange(n) - mark.offset  # the first stratum is uppermost
        if own.lower is not None and own.upper is not None:
            ax.hlines(at, own.lower, own.upper, color=mark.colour, linewidth=mark.width, alpha=mark.alpha)
        ax.plot(
            own.x,
            at,
            linestyle="none",
            marker=mark.marker,
            color=mark.colour,
            markersize=6,
            label=f"{mark.label}, {100 * level:g} %",
        )
    ax.set_ylim(n - 0.4, -0.6)
    name_levels(ax, panel.strata, size=9 if n <= 40 else 7)
    ax.set_xlabel(as_drawn(f"residual sd of {first_fit(fits).spec.design.response}"))
    plain_frame(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(len(marks), 2), **LEGEND)
    legible(ax)
    return ax


def acf_axes(
    fits: Mapping[str, Fit], level: float, group: str | None = None, lags: int | None = None, ax: Axes | None = None
) -> Axes:
    """Autocorrelations of residuals before and after the model's correlation is taken out, and those that it fits."""
    check_level(level)
    require_gaussian(first_fit(fits).spec, "acf()", "plot.residuals_by_group() has residuals by level.")
    panel = lag_panel(fits, group, lags, level)
    ax = one_axes(ax, 6.4, 4.2)
    first = next(iter(panel.fits.values()))
    correlated = not np.isnan(first.fitted).all()
    ax.bar(first.lags, first.pearson, width=0.5, color=GREY, alpha=0.35, label="Pearson residuals")
    for mark, own in zip(_marks(fits, level), panel.fits.values(), strict=True):
        name = "" if len(fits) == 1 else f" ({mark.label})"
        if correlated:
            ax.plot(own.lags, own.fitted, color=mark.colour, linewidth=1.8, label=f"fitted correlation{name}")
            at = own.lags + 0.5 * mark.offset
            ax.vlines(at, 0.0, own.normalized, color=mark.colour, linewidth=1.0, alpha=0.6)
            style: dict[str, Any] = {"linestyle": "none", "marker": mark.marker, "color": mark.colour, "markersize": 5}
            ax.plot(at, own.normalized, label=f"normalised residuals{name}", **style)
    edges = np.repeat(first.lags, 2) + np.tile([-0.5, 0.5], len(first.lags))
    for sign in (-1.0, 1.0):
        label = f"{100 * level:g} % if independent" if sign > 0 else None
        ax.plot(edges, sign * np.repeat(panel.bounds, 2), color=BLACK, linewidth=0.8, linestyle="--", label=label)
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    ax.set_xlabel(as_drawn("rows apart" + (f" within {first.group}" if first.group else "")))
    ax.set_ylabel("autocorrelation")
    ax.locator_params(axis="x", integer=True)
    plain_frame(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, **LEGEND)
    legible(ax)
    return ax


def _marks(fits: Mapping[str, Fit], level: float) -> list[Mark]:
    """Marks with what is estimated in their labels."""
    out = []
    for mark, (name, fit) in zip(
        dodged(fit_marks({n: f.engine for n, f in fits.items()}, level)), fits.items(), strict=True
    ):
        own = fit.engine if name in PLAIN_NAMES else name
        out.append(Mark(as_drawn(own), mark.colour, mark.marker, offset=mark.offset))
    return out
