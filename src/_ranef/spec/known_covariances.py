"""Known covariances among the levels of a grouping factor, as a pedigree or a phylogeny gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy

from _ranef.design import Design
from _ranef.errors import DesignError, suggestion
from _ranef.linalg import AmongLevels
from _ranef.spec.model import ModelSpec, model_spec
from _ranef.support.arrays import Floats

__all__ = ["Precision", "check_cov", "with_known"]

#: difference of K from its transpose, beside its largest entry, that is rounding; and of an eigenvalue from zero
SYMMETRIC, ZERO = 1e-8, 1e-10

#: share of entries that are not zero below which an inverse is sparse, however it is given
SPARSE = 0.1

#: levels that a message names
SHOWN = 5


@dataclass(frozen=True, eq=False, repr=False)
class Precision:
    """The inverse of a known covariance among levels, as pedigrees give it: sparse where the covariance is not.

    What is sparse stays so: thousands of levels are a matter of seconds.

    Parameters
    ----------
    inverse : DataFrame, array or scipy.sparse matrix (J, J)
        K⁻¹, positive definite.
    levels : sequence, optional
        Labels of its rows; a DataFrame has them itself.

    Examples
    --------
    >>> import numpy as np
    >>> import ranef
    >>> inverse = np.linalg.inv(0.5 * np.eye(6) + 0.5)
    >>> data = ranef.datasets.load("Rail")
    >>> model = ranef.Model("travel ~ 1 + (1 | Rail)", data, cov={"Rail": ranef.Precision(inverse, range(1, 7))})
    >>> model.fit().status
    'converged'
    """

    inverse: Any
    levels: Sequence[Any] | None = None

    def __repr__(self) -> str:
        return f"<Precision of {np.shape(self.inverse)[0]} levels>"


def check_cov(cov: object) -> Mapping[str, Any]:
    """The argument ``cov`` of a model as a mapping from groupings.

    Raises
    ------
    DesignError
        If it is none.
    """
    if cov is None:
        return {}
    if not isinstance(cov, Mapping) or not all(isinstance(name, str) for name in cov):
        raise DesignError(
            f"cov={type(cov).__name__} must be a dict from a grouping factor to the covariance among its levels, as "
            "cov={'species': K} with K a pandas DataFrame, (array, levels) or ranef.Precision(inverse, levels)."
        )
    return cov


def with_known(spec: ModelSpec, cov: Mapping[str, Any]) -> ModelSpec:
    """The model with known covariances among levels; levels of K without rows are added after those of the data.

    Raises
    ------
    DesignError
        For a grouping factor or levels that are not there, and for what is no covariance matrix.
    """
    design, known_among = spec.design, {}
    for name, given in cov.items():
        groups = {g.name: g for g in spec.groupings}
        if name not in groups:
            raise DesignError(
                f"cov= names {name!r}, which is no grouping factor of the model.{suggestion(name, groups)} It has: "
                f"{', '.join(groups) or 'none'}."
            )
        levels, matrix, inverse = _labelled(name, given)
        own = [str(level) for level in groups[name].levels]
        _check_levels(name, own, levels)
        known = set(own)
        others = [level for level in levels if level not in known] if ":" not in name else []
        place = {level: i for i, level in enumerate(levels)}
        at, every = [place[level] for level in (*own, *others)], [*own, *others]
        if inverse and isinstance(matrix, np.ndarray) and np.count_nonzero(matrix) < SPARSE * matrix.size:
            matrix = scipy.sparse.csr_array(matrix)
        sparse = not isinstance(matrix, np.ndarray)
        if inverse and sparse and len(at) == len(levels):
            known_among[name] = _by_inverse(name, matrix[at][:, at], every)
        else:
            matrix = matrix.toarray() if sparse else matrix
            if inverse:  # what is left out of an inverse is no block of it
                matrix = _inverted(name, matrix, levels)
            known_among[name] = AmongLevels(_root(name, matrix[np.ix_(at, at)], every))
        design = _with_levels(design, name, others)
    if not known_among:
        return spec
    # levels without rows change nothing of the residuals
    whole = replace(model_spec(design, spec.sigma), variance=spec.variance, correlation=spec.correlation, rho=spec.rho)
    return whole.with_among(known_among)


def _labelled(name: str, given: Any) -> tuple[list[str], Any, bool]:
    """Labels, the matrix (J, J), sparse if it is few numbers, and whether it is an inverse."""
    inverse = isinstance(given, Precision)
    matrix, levels = (given.inverse, given.levels) if isinstance(given, Precision) else (given, None)
    if isinstance(matrix, tuple) and len(matrix) == 2:
        matrix, levels = matrix
    if isinstance(matrix, pd.DataFrame):
        rows, columns = [str(v) for v in matrix.index], [str(v) for v in matrix.columns]
        if sorted(rows) != sorted(columns):
            odd = sorted(set(rows) ^ set(columns)) or rows
            raise DesignError(
                f"Rows and columns of cov[{name!r}] must have the same labels; only one of the two has {_some(odd)}."
            )
        _check_unique(name, rows)
        order = [columns.index(label) for label in rows] if rows != columns else slice(None)
        return rows, _numbers(name, matrix.to_numpy()[:, order]), inverse
    if levels is None:
        raise DesignError(
            f"cov[{name!r}] has no labels: give a pandas DataFrame whose index and columns are levels of {name}, or "
            "(K, levels) for an array or a sparse matrix."
        )
    labels = [str(v) for v in levels]
    numbers = _sparse_numbers(name, matrix) if scipy.sparse.issparse(matrix) else _numbers(name, matrix)
    if len(labels) != numbers.shape[0]:
        raise DesignError(
            f"cov[{name!r}] has {numbers.shape[0]} rows and {len(labels)} levels: one for each row is needed."
        )
    _check_unique(name, labels)
    return labels, numbers, inverse


def _sparse_numbers(name: str, values: Any) -> Any:
    _numbers(name, np.broadcast_to(np.asarray(values.data).ravel()[:1].sum(), values.shape))
    made: Any = scipy.sparse.csr_array
    return made(values, dtype=np.float64)


def _numbers(name: str, values: Any) -> Floats:
    try:
        out = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DesignError(f"cov[{name!r}] does not hold numbers: {error}.") from error
    if out.ndim != 2 or out.shape[0] != out.shape[1]:
        raise DesignError(f"cov[{name!r}] is of shape {out.shape}: a square matrix, levels by levels, is needed.")
    return out


def _check_unique(name: str, labels: Sequence[str]) -> None:
    seen: set[str] = set()
    twice = [label for label in labels if label in seen or seen.add(label)]  # type: ignore[func-returns-value]
    if twice:
        raise DesignError(f"cov[{name!r}] has some levels more than once: {_some(twice)}. Each may have one row.")


def _check_levels(name: str, own: Sequence[str], levels: Sequence[str]) -> None:
    missing = sorted(set(own) - set(levels))
    if missing:
        raise DesignError(
            f"cov[{name!r}] lacks {len(missing)} of the {len(own)} levels of {name} in the data: {_some(missing)}."
            f"{suggestion(missing[0], levels)} Levels are matched by their labels, as text."
        )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:SHOWN])) + (", …" if len(labels) > SHOWN else "")


def _check_symmetric(name: str, K: Floats, levels: Sequence[str]) -> None:
    if not np.isfinite(K).all():
        i, j = np.argwhere(~np.isfinite(K))[0].tolist()
        raise DesignError(f"cov[{name!r}] is {K[i, j]} for {levels[i]!r} and {levels[j]!r}: it must be finite.")
    apart = np.abs(K - K.T)
    if (apart > SYMMETRIC * max(float(np.abs(K).max(initial=0.0)), 1e-300)).any():
        i, j = divmod(int(apart.argmax()), len(K))
        raise DesignError(
            f"cov[{name!r}] is not symmetric: for {levels[i]!r} and {levels[j]!r} it has {K[i, j]:g} and {K[j, i]:g}."
        )


def _root(name: str, K: Floats, levels: Sequence[str]) -> Floats:
    """L with LLᵀ = K, which may be singular."""
    _check_symmetric(name, K, levels)
    try:
        return np.linalg.cholesky(K)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(0.5 * (K + K.T))
    if not values[-1] > 0 or values[0] < -ZERO * len(K) * values[-1]:
        raise _no_covariance(name, values[0], vectors[:, 0], levels)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _by_inverse(name: str, P: Any, levels: Sequence[str]) -> AmongLevels:
    """K by its sparse inverse."""
    P.sort_indices()
    apart = scipy.sparse.coo_array(P - P.T)
    largest, most = float(np.abs(P.data).max(initial=0.0)), np.abs(apart.data).max(initial=0.0)
    if not np.isfinite(largest) or most > SYMMETRIC * max(largest, 1e-300):
        _check_symmetric(name, P.toarray(), levels)
    known = AmongLevels(inverse=P)
    try:
        _ = known.log_det_inverse
    except np.linalg.LinAlgError:
        _inverted(name, P.toarray(), levels)
        raise
    return known


def _inverted(name: str, P: Floats, levels: Sequence[str]) -> Floats:
    _check_symmetric(name, P, levels)
    try:
        C = np.linalg.cholesky(P)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(0.5 * (P + P.T))
        raise _no_covariance(name, values[0], vectors[:, 0], levels) from None
    half = scipy.linalg.solve_triangular(C, np.eye(len(C)), lower=True)
    return np.asarray(half.T @ half)


def _no_covariance(name: str, value: float, vector: Floats, levels: Sequence[str]) -> DesignError:
    most = [levels[i] for i in np.argsort(-np.abs(vector))[:SHOWN]]
    return DesignError(
        f"cov[{name!r}] is not positive definite: a combination of effects has the variance {value:.3g}, mostly of "
        f"{_some(most)}. A covariance that was rounded, or put together of pairs, may be such; use the nearest one "
        "that is positive definite."
    )


def _with_levels(design: Design, name: str, others: Sequence[str]) -> Design:
    """The design with levels of one grouping factor that have no rows."""
    if not others:
        return design
    random = tuple(
        replace(r, levels=np.array([*r.levels, *others], dtype=object)) if r.group == name else r for r in design.random
    )
    encodings = []
    for e in design.encoding.random:
        if e.name == name:
            levels = (*e.grouping.parts[0], *others)
            grouping = replace(
                e.grouping, parts=(levels,), cells=np.arange(len(levels)), levels=np.array(levels, dtype=object)
            )
            e = replace(e, grouping=grouping)
        encodings.append(e)
    return replace(design, random=random, encoding=replace(design.encoding, random=tuple(encodings)))
