"""The same model for some of its rows, made from the design rather than from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from _ranef.design import Encoding, RandomDesign, aliasing, take_rows
from _ranef.design.checks import check_levels
from _ranef.design.rank import independent_columns
from _ranef.design.size import Claim
from _ranef.errors import DesignError
from _ranef.spec.model import Grouping, ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["with_units", "without_rows"]


def without_rows(spec: ModelSpec, keep: NDArray[np.bool_]) -> ModelSpec:
    """The same model for the rows that `keep` (n_obs,) marks; θ keeps its order.

    Levels without rows go, and so do columns of X that the columns before them determine in the rows kept; their names
    are added to ``design.dropped``. Columns keep the coding that they had in the whole data: a spline its knots, a
    centred covariate its centre.

    Raises
    ------
    DesignError
        If no row is left, or a grouping factor has too few or too many levels left.
    """
    spec = spec.held
    if not keep.any():
        raise DesignError(
            "No row is left. The level may be the only one; delete single rows or another factor's levels."
        )
    rows = np.flatnonzero(keep)
    return _taken(spec, rows, [_remaining(g, keep) for g in spec.groupings])


def with_units(spec: ModelSpec, units: Ints, drawn: Ints) -> ModelSpec:
    """The same model for a sample of `units` (n_obs,) of rows, `drawn` (m,) of them, each any number of times.

    Every unit drawn is one of its own, as are the levels that lie within it, which have its number in their names;
    levels that reach over units stay as they are.
    """
    spec = spec.held
    own = [np.flatnonzero(units == unit) for unit in range(int(units.max()) + 1)]
    rows = np.concatenate([own[unit] for unit in drawn])
    copies = np.repeat(np.arange(len(drawn)), [len(own[unit]) for unit in drawn])
    return _taken(spec, rows, [_copied(g, rows, copies, units) for g in spec.groupings])


def _copied(g: Grouping, rows: Ints, copies: Ints, units: Ints) -> tuple[NDArray[np.object_], Ints]:
    if len(np.unique(g.codes * (units.max() + 1) + units)) > g.n_levels:
        left, codes = np.unique(g.codes[rows], return_inverse=True)
        return g.levels[left], codes
    both, codes = np.unique(copies * g.n_levels + g.codes[rows], return_inverse=True)
    labels = [f"{g.levels[b % g.n_levels]}.{b // g.n_levels + 1}" for b in both.tolist()]
    return np.array(labels, dtype=object), codes


def _taken(spec: ModelSpec, rows: Ints, groups: Sequence[tuple[NDArray[np.object_], Ints]]) -> ModelSpec:
    """The model for some rows, with the levels and codes of its grouping factors."""
    d = spec.design
    columns = independent_columns(d.X[rows], intercept=d.has_intercept)
    aliased = np.setdiff1d(np.arange(spec.n_fixed), columns)
    place = {g.name: k for k, g in enumerate(spec.groupings)}
    some = take_rows(d, rows)
    random = tuple(_with_levels(r, *groups[place[r.group]]) for r in some.random)
    alone = [r for r in random if spec.groupings[place[r.group]].among is None]
    check_levels([Claim.of(r) for r in alone], some.n_obs, sigma_fixed=spec.sigma is not None)
    design = replace(
        some,
        X=np.ascontiguousarray(some.X[:, columns]),
        fixed_names=tuple(d.fixed_names[c] for c in columns),
        dropped=d.dropped + tuple(d.fixed_names[c] for c in aliased),
        assign=d.assign[columns],
        random=random,
        encoding=_without_columns(d.encoding, some.X, columns),
    )
    groupings = tuple(
        Grouping(g.name, levels, codes, g.columns, g.Z[rows], g.root, g.inverse)
        for g, (levels, codes) in zip(spec.groupings, groups, strict=True)
    )
    return replace(
        spec,
        design=design,
        groupings=groupings,
        variance=None if spec.variance is None else spec.variance.taken(rows),
        correlation=None if spec.correlation is None else spec.correlation.taken(rows),
    )


def _remaining(g: Grouping, keep: NDArray[np.bool_]) -> tuple[NDArray[np.object_], Ints]:
    """Levels that stay, and those of the rows kept; related levels all stay, for others tell of them."""
    if g.among is not None:
        return g.levels, g.codes[keep]
    left, codes = np.unique(g.codes[keep], return_inverse=True)
    return g.levels[left], codes


def _without_columns(encoding: Encoding, X: Floats, columns: Ints) -> Encoding:
    """The encoding without those of the columns kept so far, X (n, p), that are not among `columns`."""
    if len(columns) == len(encoding.kept):
        return encoding
    known = encoding.aliases if encoding.aliases is not None else np.zeros((X.shape[1], 0))
    size = X.shape[1] + known.shape[1]
    whole = np.empty((len(X), size))
    whole[:, encoding.kept], whole[:, np.setdiff1d(np.arange(size), encoding.kept)] = X, X @ known
    kept = encoding.kept[columns]
    return replace(encoding, kept=kept, aliases=aliasing(whole[:, kept], np.delete(whole, kept, axis=1)))


def _with_levels(random: RandomDesign, levels: NDArray[np.object_], codes: Ints) -> RandomDesign:
    return replace(random, levels=levels, codes=codes)
