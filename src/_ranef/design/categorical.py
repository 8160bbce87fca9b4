"""Transforms that make, recode or read factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from _ranef.design.arguments import Argument, State, categories, described, numbers, vector
from _ranef.design.expression_values import (
    MOST_COLUMNS,
    Constant,
    Contrast,
    Factor,
    Logical,
    Numeric,
    Value,
    drop_unused,
    factor_of,
    label_of,
    with_levels,
)
from _ranef.errors import suggestion

__all__ = ["CONTRASTS", "coded", "combine", "dummy", "factor", "ifelse", "labels", "ordered", "relevel"]

CONTRASTS: dict[str, Contrast] = {
    name: Contrast(kind)
    for kind, names in {
        "treatment": ("contr.treatment", "Treatment"),
        "sum": ("contr.sum", "Sum"),
        "helmert": ("contr.helmert", "Helmert"),
        "poly": ("contr.poly", "Poly"),
        "diff": ("contr.sdif", "Diff"),
        "SAS": ("contr.SAS", "SAS"),
    }.items()
    for name in names
}
"""The contrast codings that ``C()`` takes, by name."""


def factor(x: Argument, levels: Constant = None, *, _state: State) -> Factor:
    """Make a factor; without `levels`, those of the first data it saw, then what is new."""
    factor = categories(x)
    if levels is not None:
        return with_levels(factor, map(label_of, levels if isinstance(levels, tuple) else (levels,)))
    known = _state.setdefault("levels", drop_unused(factor).levels)
    learnt = set(known)
    unseen = tuple(level for level in drop_unused(factor).levels if level not in learnt)
    return with_levels(factor, (*known, *unseen))


def ordered(x: Argument, levels: Constant = None, *, _state: State) -> Factor:
    """Make an ordered factor, which polynomial contrasts code by default."""
    return replace(factor(x, levels, _state=_state), ordered=True)


def coded(x: Argument, contr: Constant = None) -> Factor:
    """Ask for a contrast coding: one of `CONTRASTS`, or its name."""
    factor = categories(x)
    if contr is None:
        return factor
    if isinstance(contr, str):
        contr = CONTRASTS.get(contr, contr)
    if not isinstance(contr, Contrast):
        near = suggestion(contr, CONTRASTS) if isinstance(contr, str) else ""
        raise ValueError(
            f"the second argument must be one of {', '.join(CONTRASTS)}; {described(contr)} was given.{near}"
        )
    return replace(factor, contrast=contr)


def _position(level: Constant, factor: Factor) -> int:
    if not isinstance(level, int | float | str):
        raise ValueError(f"a level is expected, and {described(level)} was given")
    text = label_of(level)
    if text not in factor.levels:
        raise ValueError(
            f"there is no level {text!r}.{suggestion(text, factor.levels)} Levels: {', '.join(factor.levels)}"
        )
    return factor.levels.index(text)


def relevel(x: Argument, ref: Constant) -> Factor:
    """Put the level `ref` first."""
    factor = categories(x)
    first = _position(ref, factor)
    return with_levels(factor, (factor.levels[first], *factor.levels[:first], *factor.levels[first + 1 :]))


def dummy(x: Argument, level: Constant = None, *, _state: State) -> Numeric:
    """Give 1 where the factor has `level`, else 0; without `level` a column for each level but the first."""
    factor = categories(x)
    known = _state.setdefault("levels", drop_unused(factor).levels)
    learnt = set(known)
    unseen = [text for text in drop_unused(factor).levels if text not in learnt]
    if unseen:
        raise ValueError(f"the level {unseen[0]!r} was not among the known ones: {', '.join(known)}")
    factor = with_levels(factor, known)
    if level is not None:
        return Numeric((factor.codes == _position(level, factor)).astype(np.float64))
    if len(known) < 2:
        raise ValueError(f"at least two levels are needed, and there is only {known[0]!r}")
    if len(known) > MOST_COLUMNS:
        raise ValueError(f"it would have {len(known) - 1} columns, one for each level but the first: name one level")
    columns = (factor.codes[:, None] == np.arange(1, len(known))).astype(np.float64)
    return Numeric(columns, tuple(f"[{text}]" for text in known[1:]))


def combine(*entries: Argument) -> tuple[float | bool | str, ...]:
    """Join constants to a vector, R's ``c()``."""
    for entry in entries:
        if not isinstance(entry, int | float | str):
            raise ValueError(f"it joins numbers, logicals or text, and {described(entry)} was given")
    return tuple(entry for entry in entries if isinstance(entry, int | float | str))


def ifelse(test: Argument, yes: Argument, no: Argument) -> Value:
    """Choose between `yes` and `no`; missing where `test` is."""
    truth = vector(test)
    if isinstance(yes, Factor | str) and isinstance(no, Factor | str):
        return factor_of(np.where(truth != 0, labels(yes, len(truth)), labels(no, len(truth))))
    chosen = np.where(truth != 0, numbers(yes), numbers(no))
    chosen = np.where(np.isnan(truth), np.nan, chosen)
    logical = all(isinstance(branch, Logical | bool) for branch in (yes, no))
    return Logical(chosen) if logical else Numeric(chosen)


def labels(argument: Factor | str, n: int) -> NDArray[np.object_]:
    """Write the entries of a factor, or `n` times a text, as an array of text."""
    if isinstance(argument, str):
        return np.full(n, argument, dtype=object)
    return np.array([*argument.levels, None], dtype=object)[argument.codes]
