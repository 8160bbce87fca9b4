"""Intervals by several methods, and exact tests of variances, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from _ranef.tables.blocks import Grid
from _ranef.tables.numbers import aligned, decimals_for, share, with_decimals

__all__ = ["exact_test_table", "interval_table"]

#: what is said of Wald's intervals of generalised responses
OF_ALL = "wald: normal, from the curvature of the likelihood in all parameters."

#: what is said of each method
METHODS = {
    "wald": "wald: normal, with the variance components taken as known.",
    "profile": "profile: by the likelihood ratio, with all else estimated anew.",
    "bootstrap": "bootstrap: percentiles over simulated responses.",
    "posterior": "posterior: equal-tailed, around the mean.",
}


def interval_table(frame: pd.DataFrame, level: float, *, linked: bool = False) -> Grid:
    """A line for each parameter of ``fit, method, parameter, estimate, lower, upper``: of each fit all methods.

    `linked` says that the response is a generalised one.
    """
    parameters = list(dict.fromkeys(frame["parameter"]))
    indexed = frame.set_index("parameter")
    decimals = {name: _decimals(indexed.loc[[name]]) for name in parameters}
    header, columns = ["Parameter"], [parameters]
    spanners = []
    for fit, of_fit in indexed.groupby("fit", sort=False):
        first = len(header)
        estimates = of_fit["estimate"][~of_fit.index.duplicated()]
        header.append(str(fit))
        columns.append(_cells(estimates, parameters, decimals))
        for method, own in of_fit.groupby("method", sort=False):
            word = "" if method == "posterior" else f"{method} "
            header += [f"{word}lower", "upper"]
            columns += [_cells(own[end], parameters, decimals) for end in ("lower", "upper")]
        spanners.append((str(fit), first, len(header)))
    words = METHODS | ({"wald": OF_ALL} if linked else {})
    notes = tuple(words[method] for method in METHODS if (frame["method"] == method).any())
    rows = tuple(zip(*columns, strict=True))
    return Grid(tuple(header), rows, f"{100 * level:g} % intervals", notes=notes, spanners=tuple(spanners))


def _decimals(rows: pd.DataFrame) -> int:
    """Decimals of one parameter, by the narrowest of its intervals."""
    return decimals_for(rows["estimate"].tolist(), ((rows["upper"] - rows["lower"]) / 4.0).tolist())


def _cells(values: pd.Series[float], parameters: Sequence[str], decimals: Mapping[str, int]) -> list[str]:
    """One number for each parameter, or nothing."""
    return [with_decimals([values[p]], decimals[p])[0] if p in values.index else "" for p in parameters]


def exact_test_table(tests: Sequence[tuple[str, str, str, float, float]], simulations: int) -> Grid:
    """Tests by what is zero, the fit, the kind, the statistic and its p-value."""
    statistics = aligned([statistic for *_, statistic, _ in tests])
    p = [share(value, simulations) for *_, value in tests]
    rows = tuple((*test[:3], s, v) for test, s, v in zip(tests, statistics, p, strict=True))
    note = f"By {simulations} simulations of the exact null distribution; a statistic of 0 has p = 1."
    header = ("Zero", "Fit", "Test", "Statistic", "p")
    return Grid(header, rows, "Exact tests of variances", labels=3, notes=(note,))
