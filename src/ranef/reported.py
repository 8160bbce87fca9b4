"""A comparison laid out as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from ranef.arrays import Floats
from ranef.comparison import moved, one_column
from ranef.fits import EmpiricalBayesFit, PosteriorFit
from ranef.interrupts import load
from ranef.plots import ComparisonPlots
from ranef.plots.drawing import figure_of
from ranef.pooled import Pooling
from ranef.report import (
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
from ranef.results import PosteriorDraws, RemlEstimates
from ranef.tables import Document

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Source", "closed", "page_of"]

AnyFit = EmpiricalBayesFit | PosteriorFit

#: steps of a slider from one end to the other
STEPS = 40


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
    plots = ComparisonPlots(fits, level)
    return Page(
        title=title,
        formula=spec.design.formula,
        words=model_words(spec, [fit.draws for fit in fits.values() if isinstance(fit, PosteriorFit)]),
        equations={
            "The model of one row": first.equation().latex,
            "Level by level": first.equation("hierarchical").latex,
            "All rows at once": first.equation("matrix").latex,
        },
        data=data_grids(spec),
        fingerprint=fingerprint(spec),
        comparison=comparison,
        several=sum(len(g.columns) for g in spec.groupings) > 1,
        explorers=_explorers(fits, level),
        pictures=_pictures(fits, plots),
        diagnostics={_heading(name, fit): _engine_words(fit) for name, fit in fits.items()},
        summaries={_heading(name, fit): fit.summary() for name, fit in fits.items()},
        calls=python_calls(spec, {name: _record(fit) for name, fit in fits.items()}, source.data, source.file, level),
        shell=source.shell,
        versions=versions(),
        date=date.today().isoformat(),
    )


def _heading(name: str, fit: AnyFit) -> str:
    return name if name == fit.engine else f"{fit.engine} ({name})"


def _record(fit: AnyFit) -> RemlEstimates | PosteriorDraws:
    return fit.estimates if isinstance(fit, EmpiricalBayesFit) else fit.draws


def _engine_words(fit: AnyFit) -> tuple[str, ...]:
    return engine_words(_record(fit), fit.warnings if isinstance(fit, PosteriorFit) else ())


def _explorers(fits: Mapping[str, AnyFit], level: float) -> tuple[Explorer, ...]:
    """One for each random effect, around the first REML or ML fit; none without one."""
    eb = next((f for f in fits.values() if isinstance(f, EmpiricalBayesFit)), None)
    if eb is None:
        return ()
    fb = next((f for f in fits.values() if isinstance(f, PosteriorFit)), None)
    pooled = Pooling(eb, fb, None, level)
    out: list[Explorer] = []
    columns = (pooled.ratios[name].tolist() for name in ("group", "term", "estimate"))
    for group, term, estimate in zip(*columns, strict=True):
        path = pooled.sweep(group, term, _grid(pooled.sweep(group, term, n=2).half, estimate))
        levels = pooled.coef[(pooled.coef["group"] == group) & (pooled.coef["term"] == term)]
        draws = None if fb is None else pooled.ratio_draws(group, term)
        k, q = one_column(pooled.spec, group, term)
        together = [path.columns[i] for i in moved(pooled.spec, k, q).columns]
        out.append(explorer(f"explorer-{len(out)}", path, levels, estimate, draws, together))
    return tuple(out)


def _grid(half: float, estimate: float) -> Floats:
    """Ratios from 0 to infinity with the estimate among them, even in r²/(r² + half²) on either side of it."""
    at = estimate**2 / (estimate**2 + half**2)
    below = min(STEPS - 1, max(1, round(STEPS * at))) if at > 0 else 0
    position = np.concatenate([np.linspace(0.0, at, below, endpoint=False), np.linspace(at, 1.0, STEPS - below + 1)])
    ratios = half * np.sqrt(position[:-1] / (1.0 - position[:-1]))
    ratios[below] = estimate
    return np.append(ratios, np.inf)


def _pictures(fits: Mapping[str, AnyFit], plots: ComparisonPlots) -> tuple[Picture, ...]:
    percent = f"{100 * plots.level:g} %"
    first = next(iter(fits.values()))
    posteriors = [f for f in fits.values() if isinstance(f, PosteriorFit)]
    drawn: list[tuple[str, str, Callable[[], Any]]] = [
        (
            "Levels, in order",
            f"The effect of every level in each fit, with {percent} intervals. Those of a REML or ML fit take the "
            "variance components as known; those of a posterior do not.",
            plots.ranef,
        ),
        (
            "Shrinkage",
            "From what each level's own rows say (no pooling) to what the model makes of them (partial pooling).",
            plots.shrinkage,
        ),
        (
            "Data and fitted lines",
            "The rows of some levels, with the line of the level alone, of the population, and of the fits.",
            plots.lines,
        ),
        (
            "Residuals",
            f"Of {first.engine}: against fitted values, against normal quantiles, their spread, and by level.",
            first.plot.diagnostics,
        ),
    ]
    n_sds = sum(len(g.columns) for g in first.spec.groupings) + (first.spec.sigma is None)
    if posteriors and n_sds > 1 and not any(f.draws.not_normal for f in posteriors):
        drawn[2:2] = [
            (
                "Two of them together",
                "Posterior draws over the contours of the criterion with all else profiled out: where the contours are "
                "round and the draws follow them, both engines see the same.",
                plots.joint,
            ),
        ]
    if posteriors and first.spec.terms:
        drawn[2:2] = [
            (
                "Variance components",
                "Posterior densities, with the prior (dashed) and the REML and ML estimates marked.",
                plots.varcorr,
            ),
        ]
        drawn.append(
            (
                "Posterior predictive check",
                "Responses simulated from the posterior over those observed: where they part, something is missing.",
                posteriors[0].plot.ppc,
            )
        )
    return tuple(Picture(title, caption, closed(draw())) for title, caption, draw in drawn)


def closed(drawn: Any) -> Figure:
    """The figure, which pyplot forgets: a page may hold many."""
    plt = load("matplotlib.pyplot")  # heavy: only where a figure is made

    figure = figure_of(drawn)
    plt.close(figure)
    return figure
