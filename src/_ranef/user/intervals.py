"""Intervals of every parameter by every method, and exact tests of variances, of several fits of one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from _ranef import inference as inf
from _ranef.errors import FitError, NotAvailableError
from _ranef.tables import Document, exact_test_table, interval_table
from _ranef.user.posterior import PosteriorFit
from _ranef.user.reml_fit import FEW_ROWS, EmpiricalBayesFit

__all__ = ["interval_frame", "intervals_document", "quickly_profiled"]

AnyFit = EmpiricalBayesFit | PosteriorFit

#: simulations of a page's tests
SIMULATIONS = 20_000


def interval_frame(
    fits: Mapping[str, AnyFit], methods: Sequence[str], level: float, n: int = 1000, seed: int | None = None
) -> pd.DataFrame:
    """``fit, method, parameter, estimate, lower, upper``: of posteriors the mean and the equal-tailed interval."""
    frames = []
    for name, fit in fits.items():
        if isinstance(fit, PosteriorFit):
            draws = inf.parameter_draws(fit.spec, fit.draws)
            values = {parameter: float(draw.mean()) for parameter, draw in draws.items()}
            found = {"posterior": fit.confint(level)}
        else:
            values = inf.parameter_values(fit.spec, fit.estimates)
            found = {m: fit.confint(level, m, n=n, seed=seed) for m in methods}
        for method, intervals in found.items():
            rows = intervals.rename_axis("parameter").reset_index()
            rows.insert(1, "estimate", rows["parameter"].map(values))
            rows.insert(0, "method", method)
            rows.insert(0, "fit", name)
            frames.append(rows)
    return pd.concat(frames, ignore_index=True)


def quickly_profiled(fit: AnyFit) -> bool:
    """Whether this is a fit by REML or ML whose profiles take a moment only."""
    return isinstance(fit, EmpiricalBayesFit) and fit.quickly_profiled


def intervals_document(fits: Mapping[str, AnyFit], level: float) -> Document:
    """What a page shows: intervals by Wald, by profile where that is quick, and of posteriors; and exact tests."""
    own = {name: fit for name, fit in fits.items() if isinstance(fit, EmpiricalBayesFit)}
    quick = all(quickly_profiled(fit) for fit in own.values())
    intervals = interval_table(interval_frame(fits, ("wald", "profile") if quick else ("wald",), level), level)
    tests = [
        (test.tested, name, test.kind, test.statistic, test.p_value)
        for name, fit in own.items()
        for test in _exact_tests(fit)
    ]
    return Document((intervals, exact_test_table(tests, SIMULATIONS)) if tests else (intervals,))


def _exact_tests(fit: EmpiricalBayesFit) -> Iterator[inf.ExactTest]:
    """Of the variances that have one, in models of few rows."""
    for t in fit.spec.terms if fit.spec.n_obs <= FEW_ROWS and fit.ok else ():
        try:
            yield inf.exact_rlrt(fit, t.group, SIMULATIONS, 1, term=t.columns[0])
        except (NotAvailableError, FitError):  # it has several parameters, or is of related rows or levels
            continue
