"""Covariates of random slopes whose zero lies far from the data, and what that does to a term."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from _ranef.design.records import RandomDesign
from _ranef.errors import DataWarning, warn
from _ranef.structures import STRUCTURES

__all__ = ["notes_on_origins"]

#: standard deviations between zero and the mean: where a model depends on the origin, and where only its numbers do
FAR, VERY_FAR = 5.0, 50.0

#: spread of a column, beside its mean, that is rounding
CONSTANT = 1e-13

#: rows looked at for a constant among the columns, and how near to one it must come
LOOKED_AT, SPAN = 1000, 1e-6


def notes_on_origins(random: Sequence[RandomDesign], numeric: Collection[str]) -> tuple[str, ...]:
    """Sentences on covariates whose zero is far from the data; `numeric` are names of columns that are covariates.

    Warns
    -----
    DataWarning
        Of terms that are another model with another origin.
    """
    depends = _terms_that_know_an_origin(random, numeric)
    for sentence in depends:
        warn(sentence, DataWarning)
    return (*depends, *_free_terms_from_afar(random, numeric))


def _terms_that_know_an_origin(random: Sequence[RandomDesign], numeric: Collection[str]) -> tuple[str, ...]:
    """Sentences on terms that are other models with another origin of a covariate, whose zero is far from the data.

    That is where slopes have no intercept beside them, or one that they do not correlate with.
    """
    out = []
    for term in random:
        if STRUCTURES[term.structure].free and _holds_constant(term):
            continue
        beside = any(t.group == term.group and _holds_constant(t) for t in random)
        for x, sds in _from_zero(term, numeric, FAR):
            what = f"independent of the intercepts where {x} is 0"
            if not beside:
                what = f"without intercepts beside them: all lines meet where {x} is 0"
            out.append(
                f"In {term.text} the slopes of {x} are {what}, {sds:.0f} standard deviations from its mean. This model "
                f"depends on the origin of {x}; centre {x}, or write ({x} | {term.group})."
            )
    return tuple(out)


def _free_terms_from_afar(random: Sequence[RandomDesign], numeric: Collection[str]) -> tuple[str, ...]:
    """Sentences on terms whose numbers, though not their model, are of a place very far from the data."""
    return tuple(
        f"In {term.text} the intercepts, their sd and their correlation with the slopes of {x} are of where {x} is 0, "
        f"{sds:.0f} standard deviations from its mean. Predictions do not depend on it; with {x} centred these numbers "
        "are easier to read."
        for term in random
        if STRUCTURES[term.structure].free and "Intercept" in term.columns
        for x, sds in _from_zero(term, numeric, VERY_FAR)
    )


def _holds_constant(term: RandomDesign) -> bool:
    """Whether its columns together hold an intercept, as those of all cells of a factor do."""
    if "Intercept" in term.columns:
        return True
    rows = term.values[:LOOKED_AT]
    ones = np.ones(len(rows))
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(rows, axis=0)
        unit = rows / np.where((length > 0) & np.isfinite(length), length, 1.0)
    if not np.isfinite(unit).all():
        return False
    return bool(np.abs(unit @ np.linalg.lstsq(unit, ones)[0] - ones).max() < SPAN)


def _from_zero(term: RandomDesign, numeric: Collection[str], far: float) -> Iterator[tuple[str, float]]:
    """Covariates of a term that are so many standard deviations from zero on average, and how many."""
    for name, column in zip(term.columns, term.values.T, strict=True):
        if name in numeric:
            with np.errstate(over="ignore", invalid="ignore"):  # sizes are refused elsewhere
                mean, spread = float(np.abs(column.mean())), float(column.std())
            if far * spread < mean and spread > CONSTANT * mean:
                yield name, mean / spread
