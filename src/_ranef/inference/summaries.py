"""broom's three frames: ``tidy``, ``glance`` and ``augment``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["augment_frame", "glance_frame", "tidy_frame"]

TIDY = ["effect", "group", "term", "estimate", "std_error", "statistic", "lower", "upper"]


def tidy_frame(
    spec: ModelSpec,
    fixef: pd.Series[float],
    std_error: Floats,
    intervals: pd.DataFrame,
    varcorr: pd.DataFrame,
    varcorr_columns: Mapping[str, Sequence[float]] | None = None,
    tests: Mapping[str, Floats] | None = None,
) -> pd.DataFrame:
    """One row for each coefficient (aliased ones NaN) and each variance component (sd and correlation scale).

    `tests` are further columns of the coefficients, before the intervals.
    """
    columns = [*TIDY[:-2], *(tests or {}), *TIDY[-2:]]
    fixed = pd.DataFrame(
        {
            "effect": "fixed",
            "group": "",
            "term": fixef.index,
            "estimate": fixef.to_numpy(),
            "std_error": std_error,
            "statistic": fixef.to_numpy() / std_error,
            "lower": intervals["lower"].to_numpy(),
            "upper": intervals["upper"].to_numpy(),
        }
    ).assign(**dict(tests or {}))
    aliased = pd.DataFrame({"effect": "fixed", "group": "", "term": list(spec.design.dropped)})
    names = [
        _component(str(a), None if missing else str(b))
        for a, b, missing in zip(varcorr["term1"], varcorr["term2"], varcorr["term2"].isna(), strict=True)
    ]
    random = pd.DataFrame(
        {"effect": "random", "group": varcorr["group"], "term": names, "estimate": varcorr["sdcor"]}
    ).assign(**dict(varcorr_columns or {}))
    parts = [frame.reindex(columns=columns) for frame in (fixed, aliased, random) if len(frame)]
    numbers = dict.fromkeys(columns[3:], float)
    return pd.concat([part.astype(numbers) for part in parts], ignore_index=True)


def _component(term1: str, term2: str | None) -> str:
    if not term1:
        return "sigma"
    return f"sd({term1})" if term2 is None else f"cor({term1}, {term2})"


def glance_frame(values: Mapping[str, object]) -> pd.DataFrame:
    """One row that describes a fit."""
    return pd.DataFrame([dict(values)])


def augment_frame(spec: ModelSpec, fitted: Floats, fixed: Floats) -> pd.DataFrame:
    """The rows used with response, levels, fitted values and residuals.

    A name that the response or a factor has already gets a point before it, as broom's names have.
    """
    d = spec.design
    own: dict[str, object] = {d.response: d.y} | {g.name: g.levels[g.codes] for g in spec.groupings}
    found: dict[str, object] = {"fitted": fitted, "fixed": fixed, "residual": d.y - fitted}
    if d.weights is not None:
        found["weights"] = d.weights
    return pd.DataFrame(own | {f".{n}" if n in own else n: v for n, v in found.items()}, index=d.index)


def augment_classes(
    spec: ModelSpec, classes: Sequence[str], fitted: pd.DataFrame, fixed: pd.DataFrame, residual: pd.Series[float]
) -> pd.DataFrame:
    """The rows used with their class, levels, probabilities of all classes with and without effects, and residuals."""
    d = spec.design
    own = {d.response: np.array(classes)[d.y.astype(int)]} | {g.name: g.levels[g.codes] for g in spec.groupings}
    frame = pd.DataFrame(own, index=d.index)
    parts = [part.add_prefix(f"{what}[").add_suffix("]") for what, part in (("fitted", fitted), ("fixed", fixed))]
    return pd.concat([frame, *parts, residual.rename("residual")], axis=1)


def scaled_quantiles(residuals: Floats) -> Floats:
    """Minimum, quartiles and maximum of scaled residuals, as lme4 prints them."""
    return np.asarray(np.quantile(residuals, [0.0, 0.25, 0.5, 0.75, 1.0]))
