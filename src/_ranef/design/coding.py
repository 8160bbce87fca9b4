"""Terms to columns: R's rule for the coding of factors, and contrasts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from _ranef.design.expression_values import Array, Codes, Contrast, Factor, Logical, Numeric, Value, as_factor
from _ranef.design.lazy import formulaic
from _ranef.design.rank import is_orthonormal
from _ranef.errors import DesignError, suggestion
from _ranef.formula import Node, Term, Terms, label

__all__ = ["Coded", "code_terms", "fully_coded", "n_columns"]

_FORMULAIC = {
    "sum": ("SumContrasts", "[S.{}]"),
    "helmert": ("HelmertContrasts", "[H.{}]"),
    "diff": ("DiffContrasts", "[D.{}]"),
    "poly": ("PolyContrasts", "{}"),
}


@dataclass(frozen=True, eq=False)
class Coded:
    """The columns of some terms.

    Attributes
    ----------
    matrix : ndarray of float64
        Shape (n, p), C order; NaN where a value is missing.
    names : tuple of str
        The p column names.
    assign : ndarray of intp
        Shape (p,): 0 for the intercept, k for the k-th term, as R's ``assign``.
    """

    matrix: Array
    names: tuple[str, ...]
    assign: Codes


@dataclass(frozen=True, eq=False)
class _Block:
    names: tuple[str, ...]
    columns: Array


def code_terms(
    terms: Terms, values: Mapping[Node, Value], n: int, *, full: Sequence[Collection[Node]] | None = None
) -> Coded:
    """Make the model matrix of terms, as R's ``model.matrix`` does, with formulaic's column names.

    Parameters
    ----------
    terms : Terms
        Intercept and terms; in the columns of an interaction the first factor varies fastest.
    values : mapping
        The value of every factor of the terms. All levels of a factor get columns: leave out unused ones before.
    n : int
        The number of rows.
    full : sequence of collection, optional
        For each term the factors with a column for every level; by R's rule without it.

    Returns
    -------
    Coded
        The matrix and its column names.

    Raises
    ------
    DesignError
        If a factor has one level where it is coded by contrasts.

    Examples
    --------
    >>> import numpy as np
    >>> from _ranef.design.coding import code_terms
    >>> from _ranef.design.expression_values import Factor
    >>> from _ranef.formula import parse_formula
    >>> terms = parse_formula("y ~ f", functions=()).fixed
    >>> code_terms(terms, {terms.terms[0].factors[0]: Factor(np.array([0, 1, 2]), ("a", "b", "c"))}, 3).names
    ('Intercept', 'f[T.b]', 'f[T.c]')
    """
    blocks = [_Block(("Intercept",), np.ones((n, 1)))] if terms.intercept else []
    for term, in_full in zip(terms.terms, fully_coded(terms, values) if full is None else full, strict=True):
        blocks.append(_interaction(term, [_main(factor, values[factor], factor in in_full) for factor in term.factors]))
    names = tuple(name for block in blocks for name in block.names)
    matrix = np.empty((n, len(names)))
    assign = np.empty(len(names), dtype=np.intp)
    start = 0
    for position, block in enumerate(blocks, start=0 if terms.intercept else 1):
        end = start + len(block.names)
        matrix[:, start:end], assign[start:end] = block.columns, position
        start = end
    return Coded(matrix, names, assign)


def fully_coded(terms: Terms, values: Mapping[Node, Value]) -> list[frozenset[Node]]:
    """Tell for each term which of its factors get a column for every level, by R's rule.

    A factor of a term is coded by contrasts where the term without it is empty or contained in an earlier term;
    without an intercept the first factor of the first term that has one gets all columns (R's ``TermCode`` and
    ``modelmatrix`` in ``src/library/stats/src/model.c``).
    """
    full: list[frozenset[Node]] = []
    earlier: dict[frozenset[Node], None] = {}
    for term in terms.terms:
        own = frozenset(term.factors)
        full.append(frozenset(f for f in _categorical(term, values) if not _spanned(own - {f}, earlier)))
        earlier[own] = None
    if not terms.intercept:
        for position, term in enumerate(terms.terms):
            if first := _categorical(term, values)[:1]:
                full[position] |= {first[0]}
                break
    return full


def n_columns(value: Value, *, full: bool) -> int:
    """Columns of a predictor in its terms; of a factor, coded in full or by contrasts."""
    if isinstance(value, Numeric):
        return 1 if value.values.ndim == 1 else value.values.shape[1]
    levels = 2 if isinstance(value, Logical) else len(value.levels)
    return levels if full else max(levels - 1, 1)


def _categorical(term: Term, values: Mapping[Node, Value]) -> list[Node]:
    return [factor for factor in term.factors if not isinstance(values[factor], Numeric)]


def _spanned(rest: frozenset[Node], earlier: Collection[frozenset[Node]]) -> bool:
    return not rest or rest in earlier or any(rest <= term for term in earlier)


def _main(node: Node, value: Value, full: bool) -> _Block:
    name = label(node)
    if isinstance(value, Numeric):
        columns = value.values if value.values.ndim == 2 else value.values[:, None]
        return _Block(tuple(name + suffix for suffix in value.suffixes) or (name,), columns)
    factor = as_factor(value) if isinstance(value, Logical) else value
    if full:
        matrix, suffixes = np.eye(len(factor.levels)), tuple(f"[{level}]" for level in factor.levels)
    else:
        matrix, suffixes = _contrasts(factor, name)
    # the last row serves the code -1
    rows = np.vstack([matrix, np.full((1, matrix.shape[1]), np.nan)])
    return _Block(tuple(name + suffix for suffix in suffixes), rows[factor.codes])


def _interaction(term: Term, blocks: Sequence[_Block]) -> _Block:
    """The products of columns, the first factor's fastest, named in the order that the term is named in."""
    columns = blocks[0].columns
    for block in blocks[1:]:
        crossed = block.columns[:, :, None] * columns[:, None, :]
        columns = crossed.reshape(len(columns), crossed.shape[1] * crossed.shape[2])
    places = [term.factors.index(factor) for factor in term.shown]
    # product() moves its last part fastest
    parts = (chosen[::-1] for chosen in product(*(block.names for block in reversed(blocks))))
    return _Block(tuple(":".join(chosen[place] for place in places) for chosen in parts), columns)


def _contrasts(factor: Factor, name: str) -> tuple[Array, tuple[str, ...]]:
    """Give the contrast matrix of shape (levels, levels - 1) and the suffixes of its columns."""
    levels = factor.levels
    if len(levels) < 2:
        raise DesignError(
            f"{name} has one level in the rows used, {levels[0]!r}: its effect cannot be told from the intercept. "
            "Leave it out of the formula, or use rows with more levels."
            if levels
            else f"{name} has no level: every value is missing. Leave it out of the formula."
        )
    contrast = factor.contrast or Contrast("poly" if factor.ordered else "treatment")
    if contrast.kind in _FORMULAIC:
        kind, suffix = _FORMULAIC[contrast.kind]
        coding = formulaic(f"contrasts.{kind}")()
        with np.errstate(all="ignore"):
            matrix = np.asarray(coding.get_coding_matrix(list(levels)), dtype=np.float64)
        if contrast.kind == "poly" and not is_orthonormal(matrix):
            raise DesignError(
                f"{name} has {len(levels)} levels, and orthogonal polynomials of degree {len(levels) - 1} are beyond "
                f"double precision. Code it otherwise, as C({name}, contr.treatment), or add its rank as a number."
            )
        return matrix, tuple(suffix.format(column) for column in coding.get_coding_column_names(list(levels)))
    base = _base(contrast, levels, name)
    kept = [code for code in range(len(levels)) if code != base]
    return np.eye(len(levels))[:, kept], tuple(f"[T.{levels[code]}]" for code in kept)


def _base(contrast: Contrast, levels: tuple[str, ...], name: str) -> int:
    if contrast.base is None:
        return len(levels) - 1 if contrast.kind == "SAS" else 0
    if contrast.base not in levels:
        raise DesignError(
            f"The base level {contrast.base!r} of {name} is not among its levels.{suggestion(contrast.base, levels)} "
            f"Levels in the rows used: {', '.join(levels)}."
        )
    return levels.index(contrast.base)
