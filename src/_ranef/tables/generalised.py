"""The printed fit of a generalised response, in glmer's order and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from _ranef.inference import CoefficientTests
from _ranef.results import RemlEstimates, Status
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats
from _ranef.tables.model import Block, Document, Grid, Text
from _ranef.tables.numbers import aligned, p_values
from _ranef.tables.summary import (
    MOST_CORRELATIONS,
    SCALED,
    counts_line,
    fixed_correlations,
    model_title,
    random_grid,
    remarks,
)

__all__ = ["generalised_summary", "generalised_title"]


def generalised_title(spec: ModelSpec, estimates: RemlEstimates) -> str:
    """What kind of fit it is."""
    if not spec.terms:
        return f"{model_title(spec)} fit by maximum likelihood"
    how = "Laplace approximation" if estimates.nagq == 1 else f"adaptive quadrature with {estimates.nagq} points"
    return f"{model_title(spec)} fit by maximum likelihood ({how})"


def generalised_summary(
    spec: ModelSpec,
    estimates: RemlEstimates,
    fixef: pd.Series[float],
    varcorr: pd.DataFrame,
    scaled_residuals: Floats,
    criteria: Mapping[str, float],
    tests: CoefficientTests,
    dispersions: Mapping[str, float],
) -> Document:
    """Lay out a fit of a generalised response, with z tests of the coefficients."""
    about = [
        generalised_title(spec, estimates),
        f"Family: {estimates.family} ({estimates.link})",
        f"Formula: {spec.design.formula}",
    ]
    blocks: list[Block] = [Text(tuple(about))]
    blocks.append(Grid(tuple(criteria), (tuple(f"{v:.1f}" for v in criteria.values()),), labels=0))
    quantiles = tuple(f"{q:.4f}" for q in scaled_residuals)
    blocks.append(Grid(("Min", "1Q", "Median", "3Q", "Max"), (quantiles,), SCALED, labels=0))
    notes = [counts_line(spec)]
    if estimates.optimizer.status is not Status.CONVERGED:
        notes.append(estimates.optimizer.message)
    blocks.append(random_grid(spec, varcorr, notes) if spec.terms else Text(tuple(notes)))
    if dispersions:
        blocks.append(
            Text(
                tuple(f"{name}: {value:.4g}" for name, value in dispersions.items()),
                "Thresholds:" if estimates.classes else "Dispersion:",
            )
        )
    if len(fixef):
        blocks.append(_fixed(fixef, tests))
        if 1 < len(fixef) <= MOST_CORRELATIONS:
            blocks.append(fixed_correlations(list(fixef.index), tests.vcov, tests.std_error))
    return Document((*blocks, *remarks(spec)))


def _fixed(fixef: pd.Series[float], tests: CoefficientTests) -> Grid:
    se: Sequence[float] = tests.std_error.tolist()
    both = aligned([*fixef.tolist(), *se], [*se, *se])
    columns = {
        "Estimate": both[: len(se)],
        "Std. Error": both[len(se) :],
        "z value": aligned(tests.statistic.tolist()),
        "Pr(>|z|)": p_values(tests.p.tolist()),
    }
    return Grid(("", *columns), tuple(zip(map(str, fixef.index), *columns.values(), strict=True)), "Fixed effects:")
