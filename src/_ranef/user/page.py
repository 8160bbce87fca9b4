"""A comparison laid out as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from _ranef.comparison import moved, one_column, ratios_at
from _ranef.equations import Equation
from _ranef.errors import RowsNotHeld
from _ranef.plots import ComparisonPlots
from _ranef.plots.drawing import NAMED, figure_of, mark_doubtful
from _ranef.plots.intervals import intervals_figure
from _ranef.plots.profile import draw_profiles
from _ranef.report import (
    Explorer,
    Page,
    Picture,
    data_grids,
    engine_words,
    explorer,
    fingerprint,
    model_words,
    python_calls,
    versions,
)
from _ranef.results import PosteriorDraws, RemlEstimates
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import deferred, load
from _ranef.tables import Document
from _ranef.user.generalised_fit import GeneralisedFit
from _ranef.user.generalised_pooled import GeneralisedPooling
from _ranef.user.generalised_posterior import GeneralisedPosterior
from _ranef.user.intervals import REPLICATES, Intervals, intervals_document, signs_document, summary_with_tests
from _ranef.user.pooled import Pooling
from _ranef.user.posterior import PosteriorFit
from _ranef.user.posterior_base import Drawn
from _ranef.user.reml_fit import EmpiricalBayesFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Source", "closed", "page_of"]

AnyFit: TypeAlias = EmpiricalBayesFit | PosteriorFit | GeneralisedFit | GeneralisedPosterior

#: what captions end with, where a fit failed
NOT_TRUSTED = "Some of the fits drawn here should not be trusted: see the top of the page."

#: steps of a slider from one end to the other
STEPS = 40

#: levels by name in a figure, two of which are to fit on a sheet of paper
SHOWN = 24


@dataclass(frozen=True)
class Source:
    """Where a page's data came from, for the calls that make it again.

    Attributes
    ----------
    file : str
        Name of the page.
    data : str, optional
        Python that reads the data.
    shell : str
        The command line, if there was one.
    """

    file: str
    data: str | None = None
    shell: str = ""


def page_of(fits: Mapping[str, AnyFit], level: float, comparison: Document, title: str, source: Source) -> Page:
    """Lay out the page of fits of one model."""
    first = next(iter(fits.values()))
    spec = first.spec
    plots = ComparisonPlots(fits, level)  # type: ignore[arg-type]  # they have what figures ask for
    equations, unwritten = _equations(first)
    intervals = Intervals(fits, level)
    pictures, undrawn = _pictures(intervals, plots)
    headings = {name: _heading(name, fit) for name, fit in fits.items()}
    return Page(
        title=title,
        formula=spec.design.formula,
        doubts=tuple(f"{_heading(name, fit)}: {words}" for name, fit in fits.items() for words in fit.warnings),
        words=model_words(spec, [fit.draws for fit in fits.values() if isinstance(fit, Drawn)])
        + _left_out([*unwritten, *undrawn]),
        equations=equations,
        linked=isinstance(spec.family, Generalised),
        data=data_grids(spec),
        fingerprint=fingerprint(spec),
        comparison=comparison,
        intervals=intervals_document(intervals, headings),
        signs=signs_document({_heading(name, fit): fit for name, fit in fits.items()}),
        explorers=_explorers(fits, level),
        pictures=pictures,
        diagnostics={_heading(name, fit): _engine_words(fit) for name, fit in fits.items()},
        summaries={_heading(name, fit): summary_with_tests(fit) for name, fit in fits.items()},
        calls=python_calls(spec, {name: _record(fit) for name, fit in fits.items()}, source.data, source.file, level),
        shell=source.shell,
        versions=versions(),
        date=date.today().isoformat(),
    )


def _styles(spec: ModelSpec) -> dict[str, str]:
    """Titles and styles of the equations."""
    last = {"Distributions": "distribution"} if isinstance(spec.family, Generalised) else {"All rows at once": "matrix"}
    return {"The model of one row": "scalar", "Level by level": "hierarchical"} | last


def _equations(fit: AnyFit) -> tuple[dict[str, Equation], list[str]]:
    """Those of the model by title, and titles of those that need more rows than memory is to hold."""
    out, missing = {}, []
    for title, style in _styles(fit.spec).items():
        try:
            out[title] = fit.equation(style)
        except RowsNotHeld:
            missing.append(title)
    return out, missing


def _left_out(titles: Sequence[str]) -> tuple[str, ...]:
    """Say so, if there are any."""
    return (f"What needs all rows in memory at once is left out: {', '.join(titles)}.",) if titles else ()


def _heading(name: str, fit: AnyFit) -> str:
    return name if name == fit.engine else f"{fit.engine} ({name})"


def _record(fit: AnyFit) -> RemlEstimates | PosteriorDraws:
    return fit.draws if isinstance(fit, Drawn) else fit.estimates


def _engine_words(fit: AnyFit) -> tuple[str, ...]:
    return engine_words(_record(fit), fit.warnings)


def _explorers(fits: Mapping[str, AnyFit], level: float) -> tuple[Explorer, ...]:
    """One for each random effect, around the first REML or ML fit; none without either."""
    eb: Any = next((f for f in fits.values() if not isinstance(f, Drawn)), None)
    if eb is None or not eb.spec.terms:
        return ()
    fb: Any = next((f for f in fits.values() if isinstance(f, Drawn)), None)
    pooled = (GeneralisedPooling if isinstance(eb, GeneralisedFit) else Pooling)(eb, fb, None, level)
    return tuple(
        _explorer(f"explorer-{i}", pooled, group, term)
        for i, (group, term) in enumerate(zip(pooled.ratios["group"], pooled.ratios["term"], strict=True))
    )


def _explorer(identifier: str, pooled: Pooling | GeneralisedPooling, group: str, term: str) -> Explorer:
    """The whole covariance of the factor moves; of several effects, one may be moved alone."""
    k, q = one_column(pooled.spec, group, term)
    together = [pooled.spec.groupings[k].columns[i] for i in moved(pooled.spec, k, q).columns]
    covariance = pooled.sweep(group, n=2).covariance
    middle = float(covariance.position(1.0))
    before = _steps_before(middle)
    whole = pooled.sweep(group, scales=_with_estimate(covariance.scale(_positions(middle, before)), before, 1.0))
    alone = None
    if isinstance(pooled, Pooling) and len(together) < len(whole.columns):
        rows = pooled.ratios[(pooled.ratios["group"] == group) & (pooled.ratios["term"] == term)]
        estimate, half = rows["estimate"].item(), pooled.sweep(group, term, n=2).half
        middle = estimate**2 / (estimate**2 + half**2)
        ratios = ratios_at(half, _positions(middle, before))
        alone = pooled.sweep(group, term, _with_estimate(ratios, before, estimate))
    levels = pooled.coef[(pooled.coef["group"] == group) & (pooled.coef["term"] == term)]
    draws = None if pooled.fb is None else pooled.ratio_draws(group, term)
    linked = isinstance(pooled, GeneralisedPooling)
    return explorer(identifier, whole, term, levels, draws, alone, together, linked=linked)


def _steps_before(middle: float) -> int:
    """How many of the slider's steps lie before the estimate, which stands at `middle` of 0 to 1."""
    return min(STEPS - 1, max(1, round(STEPS * middle))) if middle > 0 else 0


def _positions(middle: float, before: int) -> Floats:
    """Places from 0 to 1 with `middle` at step `before`, even on either side of it."""
    ends = np.linspace(0.0, middle, before, endpoint=False), np.linspace(middle, 1.0, STEPS - before + 1)
    return np.concatenate(ends)


def _with_estimate(values: Floats, at: int, estimate: float) -> Floats:
    """The same, with the estimate itself where rounding has put it nearly; at zero it is zero."""
    out = values.copy()
    if at > 0:
        out[at] = estimate
    return out


def _pictures(intervals: Intervals, plots: ComparisonPlots) -> tuple[tuple[Picture, ...], list[str]]:
    """What is drawn, and titles of what needs more rows than memory is to hold."""
    mark = "" if all(fit.ok for fit in intervals.fits.values()) else f" {NOT_TRUSTED}"
    drawn, missing = [], []
    # titles stand right above the frame, where nothing else does: matplotlib need not look for room
    placed = {"axes.titley": 1.0}
    for own in _drawn(intervals, plots):
        try:
            # in a callback of JAX, as in any collection of garbage, Ctrl-C would be lost
            with deferred(), load("matplotlib").rc_context(placed):
                figure = closed(own.draw())
            drawn.append(Picture(own.title, own.caption + mark, figure, own.on_paper))
        except RowsNotHeld:
            missing.append(own.title)
    return tuple(drawn), missing


@dataclass(frozen=True)
class _Drawing:
    """A figure to be drawn; what is for the screen alone is not printed, for a page is to be few sheets."""

    title: str
    caption: str
    draw: Callable[[], Any]
    on_paper: bool = True


def _drawn(intervals: Intervals, plots: ComparisonPlots) -> Iterator[_Drawing]:
    """All figures that the model has."""
    fits = intervals.fits
    first = next(iter(fits.values()))
    posteriors = [f for f in fits.values() if isinstance(f, Drawn)]
    linked = isinstance(first.spec.family, Generalised)
    if first.spec.terms:
        yield from _of_levels(first, plots)
    if posteriors and (first.spec.terms or first.spec.rho_names):
        yield _Drawing(
            "Variance components",
            f"Posterior densities, with the prior (dashed) and the {'Laplace' if linked else 'REML and ML'} estimates "
            "marked.",
            plots.varcorr,
        )
    yield from _of_likelihoods(intervals)
    n_sds = sum(len(g.columns) for g in first.spec.groupings) + (first.spec.sigma is None)
    if posteriors and not linked and n_sds > 1 and not any(f.draws.not_normal for f in posteriors):
        yield _Drawing(
            "Two of them together",
            "Posterior draws over the contours of the criterion with all else profiled out: where the contours are "
            "round and the draws follow them, both engines see the same.",
            plots.joint,
        )
    if first.spec.terms and not linked:
        yield _Drawing(
            "Data and fitted lines",
            "The rows of some levels, with the line of the level alone, of the population, and of the fits.",
            plots.lines,
        )
    yield from _of_residuals(first, plots)
    if posteriors:
        yield _Drawing(
            "Posterior predictive check",
            "How often each count is observed (bars) and simulated: where they part, something is missing."
            if linked
            else "Responses simulated from the posterior over those observed: where they part, something is missing.",
            posteriors[0].plot.ppc,
        )


def _of_levels(first: AnyFit, plots: ComparisonPlots) -> Iterator[_Drawing]:
    # as bands all levels take no more room than some
    shown = None if any(g.n_levels > NAMED for g in first.spec.groupings) else SHOWN
    yield _Drawing(
        "Levels, in order",
        f"The effect of every level in each fit, with {_percent(plots)} intervals. Those of a REML or ML fit take the "
        "variance components as known; those of a posterior do not.",
        lambda: plots.ranef(max_levels=shown),
    )
    if isinstance(first.spec.family, Generalised):
        yield _Drawing(
            "From complete pooling to none",
            "Every level as the standard deviation grows from zero, with its estimate (line) and posterior (above).",
            plots.path,
            on_paper=False,
        )
    yield _Drawing(
        "Shrinkage",
        "From what each level's own rows say (no pooling) to what the model makes of them (partial pooling).",
        lambda: plots.shrinkage(max_levels=SHOWN),
    )


def _of_likelihoods(intervals: Intervals) -> Iterator[_Drawing]:
    """Profiles and what stands on them, where they take a moment."""
    first = next(iter(intervals.profiles), None)
    if first is None:
        return
    yield _Drawing(
        "Profiles",
        f"Of {intervals.fits[first].engine}: the signed root of the likelihood ratio of each parameter, a straight "
        "line where a normal interval would do, with intervals of 50, 80, 90, 95 and 99 %.",
        lambda: draw_profiles(intervals.profiles[first]),
        on_paper=False,
    )
    if intervals.quick:
        yield _Drawing(
            "Intervals by method",
            f"Of {100 * intervals.level:g} %: Wald (coefficients alone), profile, bootstrap (percentiles of "
            f"{REPLICATES} simulated responses) and posterior, beside each other.",
            lambda: _beside_each_other(intervals),
            on_paper=False,
        )


def _beside_each_other(intervals: Intervals) -> Figure:
    figure = figure_of(intervals_figure(intervals.frame))
    mark_doubtful(figure, intervals.fits)  # type: ignore[arg-type]  # they have what figures ask for
    return figure


def _of_residuals(first: AnyFit, plots: ComparisonPlots) -> Iterator[_Drawing]:
    by_level = ", and by level" if first.spec.terms else ""
    yield _Drawing(
        "Residuals",
        f"Of {first.engine}: against fitted values, against normal quantiles, their spread{by_level}.",
        first.plot.diagnostics,
    )
    if any(part.sds for part in first.spec.residual.told()):
        yield _Drawing(
            "Residual standard deviations",
            f"Of every stratum in each fit, with {_percent(plots)} intervals.",
            plots.residual_sd,
        )
    if first.spec.correlation is not None:
        yield _Drawing(
            "Autocorrelation of residuals",
            "By how many rows they are apart: bars of the residuals over their sds, lines what the fitted correlation "
            "says of them, marks of what it leaves.",
            plots.acf,
        )


def _percent(plots: ComparisonPlots) -> str:
    return f"{100 * plots.level:g} %"


def closed(drawn: Any) -> Figure:
    """The figure, which pyplot forgets: a page may hold many."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    figure = figure_of(drawn)
    plt.close(figure)
    return figure
