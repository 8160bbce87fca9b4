"""The shrinkage explorer: a slider for one relative standard deviation, from complete pooling to none.

The numbers are computed beforehand, one set for each position of the slider; the page only looks them up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ranef.arrays import Floats
from ranef.comparison import PoolingSweep
from ranef.report.chart import chart

__all__ = ["ELEMENTS", "Explorer", "explorer", "positions"]

#: levels up to which marks are elements of the page, which screen readers find
ELEMENTS = 400


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """One slider with its picture.

    Attributes
    ----------
    identifier : str
        Of its element in the page.
    group, term : str
        Whose standard deviation the slider moves.
    ratios : array (K,)
        sd/σ at its positions, from 0 to infinity.
    start : int
        The position nearest to the estimate.
    renderer : "svg" or "canvas"
    spec : dict
        The Vega-Lite specification.
    """

    identifier: str
    group: str
    term: str
    ratios: Floats
    start: int
    renderer: str
    spec: dict[str, Any]

    @property
    def json(self) -> str:
        """The specification, safe within a script element."""
        return json.dumps(self.spec, separators=(",", ":")).replace("</", "<\\/")

    @property
    def json_ratios(self) -> str:
        """The ratios to full precision; infinity is null."""
        return json.dumps([None if np.isinf(r) else float(r) for r in self.ratios])


def explorer(
    identifier: str,
    path: PoolingSweep,
    levels: pd.DataFrame,
    estimate: float,
    draws: Floats | None,
    together: Sequence[str] = (),
) -> Explorer:
    """Build the explorer of one random effect, the fixed effect of its name included.

    Parameters
    ----------
    identifier : str
        Of its element in the page.
    path : PoolingSweep
        At K ratios from 0 to infinity.
    levels : DataFrame
        ``n, no_pooling, partial, posterior`` of the levels of the same group and term, in its order; ``posterior`` may
        be NaN.
    estimate : float
        sd/σ as estimated.
    draws : array or None
        The posterior of sd/σ.
    together : sequence of str
        Columns that share the standard deviation which the slider moves, where it is not that of one.
    """
    ratios = path.ratios
    at = positions(np.array([estimate]), ratios)
    start = int(np.rint(at[0]))
    fixed = path.beta[:, path.fixed_names.index(path.term)] if path.term in path.fixed_names else np.zeros(len(ratios))
    spec = chart(
        slider=f"#{identifier}-slider",
        names=(path.group, path.term),
        moved=_sd(together or (path.term,), path.group),
        records=_records(path, levels),
        told=[_told(r, m) for r, m in zip(ratios, path.reliability.mean(axis=1), strict=True)],
        labels=[_ratio_text(r, 2) for r in ratios],
        population=[_number(v) for v in fixed],
        start=start,
        estimate=(float(at[0]), f"estimate {estimate:.3g}"),
        posterior=None if draws is None else positions(np.ravel(draws), ratios),
    )
    renderer = "svg" if len(levels) <= ELEMENTS else "canvas"
    return Explorer(identifier, path.group, path.term, ratios, start, renderer, spec)


def _sd(columns: Sequence[str], group: str) -> str:
    return f"sd({', '.join(columns)} | {group}) / σ" + (" (one variance)" if len(columns) > 1 else "")


def positions(values: Floats, ratios: Floats) -> Floats:
    """Where ratios stand on the slider, in steps and fractions of steps; infinity stands at its right end."""
    last = len(ratios) - 1
    inside = np.interp(values, ratios[:-1], np.arange(last))
    beyond = last - ratios[-2] / np.maximum(values, ratios[-2])
    return np.asarray(np.where(values > ratios[-2], beyond, inside))


def _records(path: PoolingSweep, levels: pd.DataFrame) -> list[dict[str, Any]]:
    """One record for each level, in the order of the levels alone; few digits where there are many."""
    digits = 6 if len(levels) <= ELEMENTS else 4
    columns = [levels[name].to_numpy(dtype=float) for name in ("no_pooling", "partial", "posterior")]
    moving = path.coefficients[:, :, path.columns.index(path.term)].T
    order = np.argsort(np.where(np.isnan(columns[0]), columns[1], columns[0]), kind="stable")
    return [
        {
            "rank": rank,
            "level": str(path.levels[i]),
            "n": int(levels["n"].iloc[i]),
            **{name: _number(c[i]) for name, c in zip(("alone", "estimate", "posterior"), columns, strict=True)},
            "path": [_number(v, digits) for v in moving[i]],
            "reliability": [_number(v, digits - 2) for v in path.reliability[:, i]],
        }
        for rank, i in enumerate(order.tolist())
    ]


def _number(value: float, digits: int = 6) -> float | None:
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _ratio_text(ratio: float, digits: int) -> str:
    return "∞" if np.isinf(ratio) else f"{ratio:.{digits}g}"


def _told(ratio: float, mean_reliability: float) -> str:
    pull = " (complete pooling)" if ratio == 0 else " (no pooling)" if np.isinf(ratio) else ""
    return f"sd/σ = {_ratio_text(ratio, 3)}{pull}: mean reliability {mean_reliability:.2f}"
