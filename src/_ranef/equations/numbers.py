"""Numbers that take the place of symbols: estimates, or posterior means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from _ranef.equations.residual_structure import told_of
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import Key
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["decimals_of", "numbers_of", "row_numbers"]


def numbers_of(
    spec: ModelSpec,
    fixef: pd.Series[float],
    varcorr: pd.DataFrame,
    *,
    modes: Sequence[Floats] = (),
    more: Mapping[Key, float] | None = None,
) -> dict[Key, float]:
    """By what symbols are of, their numbers.

    Parameters
    ----------
    spec : ModelSpec
    fixef : Series
        Coefficients.
    varcorr : DataFrame
        Variance components, the residual's last.
    modes : sequence of array (J, p)
        Random effects by grouping.
    more : mapping, optional
        Others, as degrees of freedom, or those of :func:`row_numbers`.
    """
    out: dict[Key, float] = {("fixef", k): float(value) for k, value in enumerate(fixef)}
    rows = zip(varcorr["vcov"].tolist(), varcorr["sdcor"].tolist(), strict=True)
    for t in spec.terms:
        first = (t.grouping, t.start)
        for i in range(len(t.columns)):
            variance, sd = next(rows)
            out["variance", first[0], first[1] + i] = float(variance)
            out["sd", first[0], first[1] + i] = float(sd)
        for j, i in t.structure.pairs:
            covariance, cor = next(rows)
            out["covariance", first[0], first[1] + i, first[1] + j] = float(covariance)
            out["cor", first[0], first[1] + i, first[1] + j] = float(cor)
    for variance, sd in rows:  # of the residual, which generalised responses do not have
        out["variance",], out["sd",] = float(variance), float(sd)
    values = [value for part in told_of(Symbols(spec)) for value in part.values] if spec.structured else []
    out |= {("rho", place): float(value) for place, value in enumerate(values)}
    for g, effects in enumerate(modes):
        out |= {("ranef", g, int(c), int(j)): float(b) for (j, c), b in np.ndenumerate(effects)}
    return out | dict(more or {})


def row_numbers(rows: Mapping[str, Floats]) -> dict[Key, float]:
    """Numbers of single rows (n,), by the kinds of symbols that equations of one level have of them."""
    return {(kind, row): float(v) for kind in _OF_ROWS if kind in rows for row, v in enumerate(rows[kind])}


#: kinds of symbols of single rows that numbers take the place of
_OF_ROWS = ("residual", "mean", "working weight")


def decimals_of(spec: ModelSpec) -> dict[Key, int]:
    """Decimals of the coefficients with which equations give fitted values to a hundredth of the response's scale.

    A slope by calendar years needs more than four digits. Without rows at hand there is no need that is known. Where
    the response has a link, the scale is that of the link.
    """
    design = spec.design
    if design.stream is not None:
        return {}
    scale = 1.0 if isinstance(spec.family, Generalised) else float(np.std(design.y)) or 1.0
    unit = math.floor(math.log10(scale)) - 2
    sizes = np.abs(design.X).max(axis=0, initial=1.0)
    return {("fixef", k): max(0, math.ceil(math.log10(size)) - unit) for k, size in enumerate(sizes)}
