"""The grid over which marginal means are taken: levels of factors by means of covariates, as columns of the design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from _ranef.design import encode
from _ranef.design.expression_values import Factor, Logical
from _ranef.errors import DesignError, NotAvailableError, suggestion
from _ranef.formula import Call, Name, Node, label, walk
from _ranef.inference.covariates import factor_columns, numeric_means
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Bools, Floats

__all__ = ["Grid", "reference_grid"]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A column of the data that the fixed part reads.

    Attributes
    ----------
    name : str
    called : str
        What the formula makes of it, as ``C(nitro)``; its name where that is all.
    values : tuple
        Those in the grid.
    factor : bool
    """

    name: str
    called: str
    values: tuple[Any, ...]
    factor: bool


@dataclass(frozen=True, eq=False)
class Grid:
    """All combinations of the predictors' values.

    Attributes
    ----------
    predictors : tuple of Predictor
    frame : DataFrame (m rows)
        Columns of the data.
    X : array (m, p)
    determined : array of bool (m,)
        Where the columns that were left out of X for being determined by others are what these say.
    offset : float
        The mean offset of the rows used.
    """

    predictors: tuple[Predictor, ...]
    frame: pd.DataFrame
    X: Floats
    determined: Bools
    offset: float

    def named(self, name: str) -> Predictor:
        """The predictor of that name, or that the formula calls so.

        Raises
        ------
        DesignError
            If the fixed part has none.
        """
        return _named(self.predictors, name)


def _named(predictors: Sequence[Predictor], name: str) -> Predictor:
    for p in predictors:
        if name in (p.name, p.called):
            return p
    known = [p.name for p in predictors]
    raise DesignError(
        f"{name!r} is no predictor of the fixed part.{suggestion(name, known)} It has: {', '.join(known) or 'none'}."
    )


def reference_grid(spec: ModelSpec, at: Mapping[str, Any] | None = None) -> Grid:
    """Levels of every factor, the mean of every covariate over the rows used, or what `at` says.

    Raises
    ------
    DesignError
        If `at` names no predictor, or a level that there is not; or for a covariate that stands in a function alone, of
        which the model does not hold the values.
    """
    wanted = {} if at is None else dict(at)
    found: dict[str, Predictor] = {}
    columns = spec.design.encoding.kinds  # a node may name a contrast besides
    means = numeric_means(spec)
    for node in dict.fromkeys(f for term in spec.design.encoding.fixed.terms for f in term.factors):
        for name in dict.fromkeys(p.name for p in walk(node) if isinstance(p, Name) and p.name in columns):
            own = _predictor(spec, node, name, means, wanted)
            if name not in found or (own.factor and not found[name].factor):
                found[name] = own
    predictors = tuple(found.values())
    for name in wanted:
        _named(predictors, name)
    unknown = [p.name for p in predictors if not p.values]
    if unknown:
        raise DesignError(
            f"{unknown[0]} stands in a function alone, or in a product, so the model does not hold its mean. Say where "
            f"to take the means: at={{{unknown[0]!r}: ...}}."
        )
    combinations = list(product(*(p.values for p in reversed(predictors))))
    values = {p.name: [c[-1 - k] for c in combinations] for k, p in enumerate(predictors)}
    frame = pd.DataFrame(values, index=range(len(combinations)))
    X, determined = encoded(spec, frame)
    return Grid(predictors, frame, X, determined, _mean_offset(spec))


def _mean_offset(spec: ModelSpec) -> float:
    if spec.design.offset is None:
        return 0.0
    given = [part.design.offset for part in spec.parts()]
    return float(sum(offset.sum() for offset in given if offset is not None)) / spec.n_obs


def encoded(spec: ModelSpec, frame: pd.DataFrame) -> tuple[Floats, Bools]:
    """Columns of X (m, p) for rows of predictors, and where they are determined; without offsets."""
    if frame.empty:  # of an intercept alone
        return np.ones((len(frame), spec.n_fixed)), np.ones(len(frame), dtype=bool)
    encoding = replace(spec.design.encoding, offsets=(), offset_column=None, offset_array=False)
    found = encode(encoding, frame, groups=())
    return found.X, found.determined


def _predictor(spec: ModelSpec, node: Node, name: str, means: Mapping[str, float], at: Mapping[str, Any]) -> Predictor:
    value, called = spec.design.encoding.templates[node], label(node)
    asked = next((at[key] for key in (name, called) if key in at), None)
    kind = spec.design.encoding.kinds.get(name)
    of_itself = isinstance(node, Name) or (isinstance(node, Call) and isinstance(value, Factor))
    if of_itself and isinstance(value, Factor):
        levels = tuple(_raw(level, kind) for level in value.levels)
        return Predictor(name, called, levels if asked is None else _levels(asked, levels, name), True)
    if isinstance(kind, Logical):
        return Predictor(name, called, (False, True) if asked is None else tuple(np.atleast_1d(asked).tolist()), True)
    if isinstance(kind, Factor):
        return Predictor(name, called, kind.levels if asked is None else _levels(asked, kind.levels, name), True)
    if asked is not None:
        return Predictor(name, called, _numbers(asked, name), False)
    return Predictor(name, called, (means[name],) if name in means else (), False)


def _raw(level: str, kind: Any) -> Any:
    """A level as the data have it: a number where the column is of numbers."""
    return level if isinstance(kind, Factor) else level == "True" if isinstance(kind, Logical) else float(level)


def _levels(asked: Any, known: Sequence[Any], name: str) -> tuple[Any, ...]:
    out = []
    for level in [asked] if isinstance(asked, str) or np.ndim(asked) == 0 else list(asked):
        same = [own for own in known if own == level or str(own) == str(level)]
        if not same:
            raise DesignError(f"{name} has no level {level!r}. It has: {', '.join(map(str, known))}.")
        out.append(same[0])
    return tuple(out)


def _numbers(asked: Any, name: str) -> tuple[float, ...]:
    try:
        values = np.atleast_1d(np.asarray(asked, dtype=float))
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if not len(values) or not np.isfinite(values).all():
        raise DesignError(f"at={{{name!r}: {asked!r}}} must be a finite number, or several.")
    return tuple(map(float, values))


def cell_weights(spec: ModelSpec, grid: Grid, over: Sequence[str]) -> Floats:
    """How many rows used have the values of the factors `over` that each row of the grid has (m,).

    Raises
    ------
    NotAvailableError
        For a factor without a main effect, of which the model does not hold the rows' levels.
    """
    rows = factor_columns(spec, None)
    keys, counted = [], []
    for name in over:
        p = grid.named(name)
        if p.called not in rows:
            raise NotAvailableError(
                f"weights='proportional' needs the rows of {p.name}, which has no main effect; 'equal' does not."
            )
        levels = [str(_raw(level, spec.design.encoding.kinds.get(p.name))) for level in rows[p.called].categories]
        keys.append(np.array(levels, dtype=object)[rows[p.called].values.astype(int)])
        counted.append(grid.frame[p.name].astype(str).to_numpy())
    counts = pd.Series(list(zip(*keys, strict=True))).value_counts() if keys else pd.Series(dtype=int)
    cells = list(zip(*counted, strict=True)) if counted else []
    return np.array([float(counts.get(cell, 0)) for cell in cells]) if cells else np.ones(len(grid.frame))
