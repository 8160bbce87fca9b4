"""The shrinkage explorer: a slider from complete pooling to none.

The numbers are computed beforehand, one set for each position of the slider; the page only looks them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.comparison import CovarianceSweep, PoolingSweep
from _ranef.report.chart import CHOICE, Motion, chart
from _ranef.support.arrays import Floats
from _ranef.support.escaped_names import script_json

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
        The effect that is shown.
    ratios : array (K,)
        Its sd/σ at the positions of the slider, from 0 to infinity.
    scales : array (K,)
        The factor on all standard deviations of the group there.
    start : int
        The position of the estimate.
    singular : bool
        Whether the estimated covariance of the group is.
    renderer : "svg" or "canvas"
    spec : dict
        The Vega-Lite specification.
    """

    identifier: str
    group: str
    term: str
    ratios: Floats
    scales: Floats
    start: int
    singular: bool
    renderer: str
    spec: dict[str, Any]

    @property
    def choice(self) -> bool:
        """Whether the standard deviation of the effect can also be moved alone."""
        return any(p["name"] == CHOICE and "bind" in p for p in self.spec["params"])

    @property
    def json(self) -> str:
        """The specification, as it stands within a script element."""
        return script_json(self.spec)

    @property
    def json_places(self) -> str:
        """Ratios and scales to full precision; infinity is null."""
        places = {"ratios": self.ratios, "scales": self.scales}
        return script_json({k: [None if np.isinf(v) else float(v) for v in values] for k, values in places.items()})


def explorer(
    identifier: str,
    whole: CovarianceSweep,
    term: str,
    levels: pd.DataFrame,
    draws: Floats | None,
    alone: PoolingSweep | None = None,
    together: Sequence[str] = (),
    *,
    linked: bool = False,
) -> Explorer:
    """Build the explorer of one random effect, the fixed effect of its name included.

    Parameters
    ----------
    identifier : str
        Of its element in the page.
    whole : CovarianceSweep
        At K scales from 0 to infinity, 1 among them.
    term : str
        The effect.
    levels : DataFrame
        ``n, no_pooling, partial, posterior`` of the levels of the same group and term, in its order; ``posterior`` may
        be NaN.
    draws : array or None
        The posterior of sd/σ.
    alone : PoolingSweep, optional
        The path of this effect's standard deviation alone, at K ratios with the estimate at the same place.
    together : sequence of str
        Columns that share one standard deviation, where it is not that of one.
    linked : bool
        Whether the response is a generalised one: its standard deviations stand on the scale of the link, without σ.
    """
    q, start = whole.columns.index(term), _start(whole)
    estimate = float(whole.covariance.sds(np.array(1.0))[q])
    sd = _sd(together or (term,), whole.group)
    unit = "sd" if linked else "sd/σ"
    motions = [_of_whole(whole, q, draws, unit)]
    if alone is not None:
        motions.append(_of_one(alone, draws, f"{sd} alone, other variances as estimated"))
    spec = chart(
        slider=f"#{identifier}-slider",
        names=(whole.group, term),
        moved=sd + ("" if linked else " / σ") + (" (one variance)" if len(together) > 1 else ""),
        records=_records(whole.levels, motions, levels),
        motions=motions,
        start=start,
        estimate=(float(start), f"estimate {estimate:.3g}"),
        linked=linked,
    )
    renderer = "svg" if len(levels) <= ELEMENTS else "canvas"
    singular = whole.covariance.singular
    return Explorer(identifier, whole.group, term, whole.ratios[:, q], whole.scales, start, singular, renderer, spec)


def _start(whole: CovarianceSweep) -> int:
    """The place of the estimate; where D̂ is zero that is complete pooling."""
    return 0 if whole.covariance.zero else int(np.argmin(np.abs(whole.scales - 1.0)))


def _of_whole(path: CovarianceSweep, q: int, draws: Floats | None, unit: str) -> Motion:
    ratios, reliability = path.ratios[:, q], path.reliability[:, :, q]
    others = f"all standard deviations of {path.group} in proportion: " if len(path.columns) > 1 else ""
    return Motion(
        f"{others}complete pooling (left) to no pooling (right)",
        [_told(s, r, m, unit) for s, r, m in zip(path.scales, ratios, reliability.mean(axis=1), strict=True)],
        [_ratio_text(r, 2) for r in ratios],
        np.full(len(ratios), path.beta[q]),
        None if draws is None else positions(np.ravel(draws), ratios),
        path.coefficients[:, :, q].T,
        reliability.T,
    )


def _of_one(path: PoolingSweep, draws: Floats | None, words: str) -> Motion:
    ratios, K = path.ratios, len(path.ratios)
    return Motion(
        words,
        [f"sd/σ = {_ratio_text(r, 3)}, other variances as estimated" for r in ratios],
        [_ratio_text(r, 2) for r in ratios],
        path.beta[:, path.fixed_names.index(path.term)] if path.term in path.fixed_names else np.zeros(K),
        None if draws is None else positions(np.ravel(draws), ratios),
        path.coefficients[:, :, path.columns.index(path.term)].T,
        None,
    )


def _sd(columns: Sequence[str], group: str) -> str:
    return f"sd({', '.join(columns)} | {group})"


def positions(values: Floats, ratios: Floats) -> Floats:
    """Where ratios stand on the slider, in steps and fractions of steps; infinity stands at its right end.

    An effect whose ratio stays at zero for some steps leaves it at the last of them.
    """
    last = len(ratios) - 1
    first = int(np.flatnonzero(ratios == 0.0).max(initial=0))
    inside = np.interp(values, ratios[first:-1], np.arange(first, last))
    beyond = last - ratios[-2] / np.maximum(values, ratios[-2])
    return np.asarray(np.where(values > ratios[-2], beyond, inside))


def _records(names: NDArray[np.object_], motions: Sequence[Motion], levels: pd.DataFrame) -> list[dict[str, Any]]:
    """One record for each level, in the order of the levels alone; few digits where there are many."""
    digits = 6 if len(levels) <= ELEMENTS else 4
    columns = [levels[name].to_numpy(dtype=float) for name in ("no_pooling", "partial", "posterior")]
    order = np.argsort(np.where(np.isnan(columns[0]), columns[1], columns[0]), kind="stable")
    reliability = motions[0].reliability
    assert reliability is not None
    return [
        {
            "rank": rank,
            "level": str(names[i]),
            "n": int(levels["n"].iloc[i]),
            **{name: _number(c[i]) for name, c in zip(("alone", "estimate", "posterior"), columns, strict=True)},
            "path": [[_number(v, digits) for v in m.estimates[i]] for m in motions],
            "reliability": [_number(v, digits - 2) for v in reliability[i]],
        }
        for rank, i in enumerate(order.tolist())
    ]


def _number(value: float, digits: int = 6) -> float | None:
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _ratio_text(ratio: float, digits: int) -> str:
    return "∞" if np.isinf(ratio) else f"{ratio:.{digits}g}"


def _told(scale: float, ratio: float, mean_reliability: float, unit: str) -> str:
    pull = " (complete pooling)" if scale == 0 else " (no pooling)" if np.isinf(scale) else ""
    return f"{unit} = {_ratio_text(ratio, 3)}{pull}: mean reliability {mean_reliability:.2f}"
