"""Replicated responses beside the observed one (predictive checks)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from _ranef.errors import DesignError
from _ranef.inference import grouping_named
from _ranef.plots.drawing import BLUE, GREY, VERMILLION, one_axes, plain_frame
from _ranef.plots.fonts import legible
from _ranef.plots.names import as_drawn, name_levels
from _ranef.plots.residuals import neighbour_means
from _ranef.plots.selection import LevelsArgument, selected_levels
from _ranef.plots.smooth import kernel_density
from _ranef.results import ESTIMATING, Fit
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "STATISTICS",
    "GroupCheck",
    "Replicated",
    "Rootogram",
    "StatisticCheck",
    "distribution_curves",
    "group_check",
    "is_discrete",
    "ppc_axes",
    "replicated",
    "rootogram",
    "statistic_check",
]

Statistic = str | Callable[[Floats], float]

#: statistics by name: of a column of responses
STATISTICS: dict[str, Callable[[Floats], float]] = {
    "mean": lambda y: float(np.mean(y)),
    "sd": lambda y: float(np.std(y, ddof=1)),
    "min": lambda y: float(np.min(y)),
    "max": lambda y: float(np.max(y)),
    "median": lambda y: float(np.median(y)),
}

#: replicated responses by default: for curves, and for a statistic
CURVES, STATISTIC_DRAWS = 50, 1000

#: numbers of replicated responses held
MAX_NUMBERS = 20_000_000

#: rows of a response that a curve is made of
ROWS = 20_000

#: a response with fewer distinct values than this share of its rows is drawn as steps rather than a density
DISTINCT = 0.1

KINDS = ("density", "ecdf", "rootogram")

#: families whose responses are shown as frequencies by default, and counts that have a bar
COUNTED, BARS = ("binomial", "poisson", "negative binomial"), 60

#: levels up to which each has a name on the axis
NAMED = 60


@dataclass(frozen=True)
class Replicated:
    """A response and its replications.

    Attributes
    ----------
    observed : array (rows,)
    values : array (rows, n)
    """

    observed: Floats
    values: Floats


@dataclass(frozen=True)
class Rootogram:
    """How often each count is observed, and in replications.

    Attributes
    ----------
    counts : array (K,)
        Of successes, where the response is binomial; the last stands for all from there on, if there were very many.
    observed : array (K,)
        Rows that have each.
    quantiles : array (3, K)
        0.025, 0.5 and 0.975 quantiles of the replications.
    open : bool
        Whether the last count stands for larger ones too.
    """

    counts: Floats
    observed: Floats
    quantiles: Floats
    open: bool


@dataclass(frozen=True)
class StatisticCheck:
    """A statistic of the replications beside that of the data.

    Attributes
    ----------
    name : str
    observed : float
    values : array (n,)
    p : float
        Share of replications whose statistic is at least the observed one, ties counted half: the posterior
        predictive p-value.
    """

    name: str
    observed: float
    values: Floats
    p: float


@dataclass(frozen=True)
class GroupCheck:
    """A statistic of every level, levels in order of the observed one.

    Attributes
    ----------
    name, group : str
    levels : tuple of str
        Those shown.
    n_levels : int
        How many there are.
    observed : array (levels,)
    quantiles : array (5, levels)
        0.025, 0.25, 0.5, 0.75 and 0.975 quantiles of the replications.
    inside : float
        Share of all levels whose observed statistic lies between the outer two.
    """

    name: str
    group: str
    levels: tuple[str, ...]
    n_levels: int
    observed: Floats
    quantiles: Floats
    inside: float


def replicated(fit: Fit, n: int, re: str, seed: int | None) -> Replicated:
    """The response of a fit and `n` replications of it.

    Raises
    ------
    DesignError
        If `n` is not positive, or all would hold more than 2e7 numbers.
    """
    rows = fit.spec.n_obs
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise DesignError(f"n={n!r} must be a positive whole number: how many responses to replicate.")
    if n * rows > MAX_NUMBERS:
        raise DesignError(
            f"{n} responses of {rows} rows are {n * rows:.2g} numbers, too many to hold. Ask for fewer: "
            f"n={max(1, MAX_NUMBERS // rows)} or less."
        )
    return Replicated(fit.spec.held.design.y, fit.simulate(n, re=re, seed=seed))


def default_number(fit: Fit, *, curves: bool) -> int:
    """How many replications a figure has room for."""
    return CURVES if curves else min(STATISTIC_DRAWS, max(CURVES, MAX_NUMBERS // fit.spec.n_obs))


def is_discrete(y: Floats) -> bool:
    """Whether a response takes few values, for which a smooth density would be a picture of the kernel."""
    return len(np.unique(y)) < max(12.0, DISTINCT * len(y))


def distribution_curves(data: Replicated, *, cumulative: bool) -> list[tuple[Floats, Floats]]:
    """Curves of the observed response (first) and of every replication: x and height.

    Kernel densities by ArviZ, with Silverman's bandwidth (others follow the rounding of an observed response), or
    empirical distribution functions on a common grid. Of very many rows evenly chosen ones are taken, the same for all.
    """
    step = np.linspace(0, len(data.observed) - 1, min(len(data.observed), ROWS)).round().astype(np.intp)
    columns = [data.observed[step], *data.values[step].T]
    if cumulative:
        low, high = np.quantile(np.concatenate(columns), [0.0005, 0.9995]).tolist()
        grid = np.unique(np.concatenate([np.linspace(low, high, 600), np.unique(data.observed)[:2000]]))
        return [(grid, np.searchsorted(np.sort(y), grid, side="right") / len(y)) for y in columns]
    curves = []
    for y in columns:
        pad = 0.75 * float(y.std())
        ends = float(y.min()) - pad, float(y.max()) + pad
        curves.append(kernel_density(y, ends, bandwidth="silverman"))
    return curves


def rootogram(data: Replicated, trials: Floats | None) -> Rootogram:
    """Frequencies of counts, those of proportions times their trials (n,) where given.

    Raises
    ------
    DesignError
        If the response is no counts.
    """
    weights = np.ones(len(data.observed)) if trials is None else trials
    y, drawn = data.observed * weights, data.values * weights[:, None]
    if (y < 0).any() or np.abs(y - np.round(y)).max() > 1e-6:
        raise DesignError(
            "kind='rootogram' is of counts, which this response is not. kind='ecdf' has its distribution."
        )
    counts, whole = np.round(y).astype(np.intp), np.round(drawn).astype(np.intp)
    top = int(np.quantile(np.concatenate([counts, whole.ravel()]), 0.999))
    last = min(max(top, 1), BARS)
    tallies = [np.bincount(np.minimum(column, last), minlength=last + 1) for column in (counts, *whole.T)]
    quantiles = np.quantile(np.array(tallies[1:]), [0.025, 0.5, 0.975], axis=0)
    more = bool(max(counts.max(), whole.max()) > last)
    return Rootogram(np.arange(last + 1.0), tallies[0].astype(float), quantiles, more)


def statistic_check(data: Replicated, statistic: Statistic) -> StatisticCheck:
    """A statistic of every replication and of the data.

    Raises
    ------
    DesignError
        If the name is not known, or the function does not give a number.
    """
    name, function = _named(statistic)
    observed = _number(function(data.observed), name)
    values = np.array([_number(function(y), name) for y in data.values.T])
    p = float((values > observed).mean() + 0.5 * (values == observed).mean())
    return StatisticCheck(name, observed, values, p)


def group_check(
    fit: Fit, data: Replicated, group: str, statistic: Statistic, levels: LevelsArgument = None
) -> GroupCheck:
    """A statistic of the levels of a grouping factor, in the data and in the replications.

    Raises
    ------
    DesignError
        If there is no such factor or level, or the statistic is not known.
    """
    _, g = grouping_named(fit.spec.held, group)
    name, function = _named(statistic)
    observed = _by_level(data.observed[:, None], g.codes, g.n_levels, name, function)[:, 0]
    values = _by_level(data.values, g.codes, g.n_levels, name, function)
    quantiles = np.quantile(values, [0.025, 0.25, 0.5, 0.75, 0.975], axis=1)
    order = np.argsort(observed, kind="stable")
    order = order[selected_levels(fit.spec, g.name, levels).positions(g.levels[order])]
    inside = float(((observed >= quantiles[0]) & (observed <= quantiles[4])).mean())
    names = tuple(str(g.levels[j]) for j in order)
    return GroupCheck(name, g.name, names, g.n_levels, observed[order], quantiles[:, order], inside)


def _by_level(y: Floats, codes: Ints, n_levels: int, name: str, function: Callable[[Floats], float]) -> Floats:
    """The statistic by level (levels, columns) of responses (rows, columns)."""
    if name == "mean":  # the common one, at once
        sums = np.zeros((n_levels, y.shape[1]))
        np.add.at(sums, codes, y)
        return np.asarray(sums / np.bincount(codes, minlength=n_levels)[:, None])
    parts = pd.Series(np.arange(len(codes))).groupby(codes).indices
    return np.array([[_number(function(c), name) for c in y[parts[j]].T] for j in range(n_levels)])


def _named(statistic: Statistic) -> tuple[str, Callable[[Floats], float]]:
    if callable(statistic):
        return getattr(statistic, "__name__", "statistic").replace("<lambda>", "statistic"), statistic
    one_of("statistic", statistic, list(STATISTICS), but="a function of an array that returns a number")
    return statistic, STATISTICS[statistic]


def _number(value: object, name: str) -> float:
    if np.ndim(value) or not isinstance(value, int | float | np.number):  # type: ignore[arg-type]
        raise DesignError(f"The statistic {name!r} gave {value!r}; it must give one number for a response.")
    return float(value)


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
    one_of("kind", kind, (*KINDS, None))
    curves = statistic is None and group is None
    counted = curves and (kind == "rootogram" or (kind is None and fit.spec.family.word in COUNTED))
    number = default_number(fit, curves=curves and not counted) if n is None else n
    effects = re if re is not None else "fitted" if fit.engine not in ESTIMATING else "new"
    data = replicated(fit, number, effects, seed)
    if levels is not None and group is None:
        raise DesignError("levels= chooses levels of a grouping factor: name it by group=.")
    if group is not None:
        check = group_check(fit, data, group, "mean" if statistic is None else statistic, levels)
        n = len(check.levels)
        ax = one_axes(ax, height=1.4 + min(max(2.4, 0.22 * n), 7.8) if n <= NAMED else 5.2)
        _draw_groups(ax, check, fit)
        legible(ax)
        return ax
    ax = one_axes(ax)
    if statistic is not None:
        _draw_statistic(ax, statistic_check(data, statistic), fit)
    elif counted:
        trials = fit.spec.held.design.weights if fit.spec.family.word == "binomial" else None
        _draw_rootogram(ax, rootogram(data, trials), fit)
    else:
        cumulative = kind == "ecdf" or (kind is None and is_discrete(data.observed))
        _draw_curves(ax, data, fit, cumulative=cumulative)
    legible(ax)
    return ax


def _words(fit: Fit) -> str:
    """What replications are drawn from."""
    return "posterior predictive" if fit.engine not in ESTIMATING else f"simulated at the {fit.engine} estimates"


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


def _draw_rootogram(ax: Axes, found: Rootogram, fit: Fit) -> None:
    """Draw observed frequencies as bars, on a scale of roots, with the median and 95 % of replications over them."""
    low, middle, high = found.quantiles
    ax.bar(found.counts, found.observed, width=0.9, color=GREY, alpha=0.4, label="observed")
    ax.fill_between(found.counts, low, high, color=_colour(fit), alpha=0.25, linewidth=0, label="95 % of replications")
    ax.plot(found.counts, middle, color=_colour(fit), marker="o", markersize=4, label=f"median, {_words(fit)}")
    top = float(max(found.observed.max(), high.max()))
    ax.set_yscale("function", functions=(np.sqrt, np.square))
    ax.set_ylim(0.0, 1.45 * top)
    ax.set_ylabel("rows (scale of roots)")
    more = f"; {len(found.counts) - 1} stands for more, too" if found.open else ""
    ax.set_xlabel(as_drawn(f"{fit.spec.design.response}{more}"))
    ax.locator_params(axis="x", integer=True)
    _legend(ax, "upper right")
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


def _legend(ax: Axes, where: str) -> None:
    """With solid lines: a thin translucent one shows no colour of its own."""
    for line in ax.legend(frameon=False, fontsize="small", loc=where).get_lines():
        line.set(alpha=1.0, linewidth=max(line.get_linewidth(), 2.2))


def _colour(fit: Fit) -> str:
    return VERMILLION if fit.engine not in ESTIMATING else BLUE
