"""Intervals of every parameter by every method, of several fits of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from _ranef.inference import Profiles, Sampled, parameter_draws, parameter_values
from _ranef.results import Fit

__all__ = ["interval_frame"]


def interval_frame(
    fits: Mapping[str, Fit],
    methods: Sequence[str],
    level: float,
    n: int = 1000,
    seed: int | None = None,
    profiles: Mapping[str, Profiles] | None = None,
) -> pd.DataFrame:
    """``fit, method, parameter, estimate, lower, upper``: of posteriors the mean and the equal-tailed interval.

    `profiles` are those of fits that were followed before.
    """
    frames, followed = [], profiles or {}
    for name, fit in fits.items():
        own: Any = fit  # estimates have methods of their own, with options
        if isinstance(fit, Sampled):
            values = {parameter: float(x.mean()) for parameter, x in parameter_draws(fit.spec, fit.draws).items()}
            found = {"posterior": own.confint(level)}
        else:
            values = parameter_values(fit.spec, own.estimates)
            given = {"bootstrap": {"n": n, "seed": seed}}
            found = {
                m: followed[name].confint(level)
                if m == "profile" and name in followed
                else own.confint(level, m, **given.get(m, {}))
                for m in methods
            }
        for method, intervals in found.items():
            rows: pd.DataFrame = intervals.rename_axis("parameter").reset_index()
            rows.insert(1, "estimate", rows["parameter"].map(values))
            rows.insert(0, "method", method)
            rows.insert(0, "fit", name)
            frames.append(rows)
    return pd.concat(frames, ignore_index=True)
