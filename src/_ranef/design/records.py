"""What this layer hands on: frozen records of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.design.cellsums import CellSums
from _ranef.design.chunks import Chunks
from _ranef.design.expression_values import Array, Codes, Value
from _ranef.design.grouping import Grouping
from _ranef.design.table import Table
from _ranef.formula import Node, Terms

__all__ = ["Design", "Encoded", "EncodedRandom", "Encoding", "RandomDesign", "RandomEncoding", "Stream", "Summed"]


@dataclass(frozen=True, eq=False)
class RandomDesign:
    """One random term on the rows used.

    Attributes
    ----------
    group : str
        The name of the grouping factor, as ``b:a``.
    levels : ndarray of object
        Shape (J,): labels of the levels present, all text.
    codes : ndarray of intp
        Shape (n,): the level of each row, 0 to J - 1.
    columns : tuple of str
        Names of the p effects.
    values : ndarray of float64
        Shape (n, p), C order. Row i of Z has ``values[i]`` in the p columns of level ``codes[i]``.
    structure : str
        ``us``, ``diag`` or ``ident``.
    text : str
        The term as written.
    """

    group: str
    levels: NDArray[np.object_]
    codes: Codes
    columns: tuple[str, ...]
    values: Array
    structure: str
    text: str


@dataclass(frozen=True, eq=False)
class RandomEncoding:
    """What is needed to encode one random term on new data.

    Attributes
    ----------
    name : str
        The name of the grouping factor.
    effects : Terms
        What varies.
    group : tuple of Node
        The factors whose interaction groups.
    grouping : Grouping
        The known levels.
    """

    name: str
    effects: Terms
    group: tuple[Node, ...]
    grouping: Grouping


@dataclass(frozen=True, eq=False)
class Encoding:
    """What is remembered of the data a design was built from, so that new data encode alike.

    Attributes
    ----------
    source : str
        The formula.
    fixed : Terms
        The fixed effects.
    offsets : tuple of Node
        The expressions of ``offset()``.
    offset_column : str, optional
        The column named by the argument `offset`.
    offset_array : bool
        Whether the argument `offset` was an array, of which new data hold nothing.
    random : tuple of RandomEncoding
        The random terms, as written.
    kept : ndarray of intp
        Shape (p,): which columns of the full model matrix were kept.
    aliases : ndarray of float64, optional
        Shape (p, d): the d columns left out, in their order, as combinations of those kept; None where all are kept.
    kinds : mapping
        What each column was, without rows.
    templates : mapping
        What the value of each expression was, without rows; the levels of a factor are those of the rows used.
    states : dict
        What each call of a stateful transform has learnt.
    transforms : mapping
        The user's transforms.
    bound : tuple of str
        Calls of the user's transforms whose value in a row depends on the other rows, so that it is another one among
        other rows.
    weights_column : str, optional
        The column named by the argument `weights`.
    others : tuple of Node
        Expressions that residual variances and correlations read.
    """

    source: str
    fixed: Terms
    offsets: tuple[Node, ...]
    offset_column: str | None
    offset_array: bool
    random: tuple[RandomEncoding, ...]
    kept: Codes
    aliases: Array | None
    kinds: Mapping[str, Value]
    templates: Mapping[Node, Value]
    states: dict[Node, dict[str, Any]]
    transforms: Mapping[str, Callable[..., Any]]
    bound: tuple[str, ...] = ()
    weights_column: str | None = None
    others: tuple[Node, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Summed:
    """What is known of rows that are elsewhere.

    Attributes
    ----------
    sums, moments : Any
        Those that a fit and default priors read.
    columns : tuple
        Of X and Z, that they are of.
    """

    sums: Any
    moments: Any
    columns: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Stream:
    """Where the rows of a design are, when they are not in memory.

    Attributes
    ----------
    chunks : Chunks
        The data.
    columns : tuple of str
        The columns that the model reads.
    response : Node
        The expression of the response.
    weights : str, optional
        The column of weights.
    n_obs : int
        The number of rows used.
    sample : tuple of (int, Table)
        Some rows of the data, evenly chosen; with each piece the position of its first row.
    marks : mapping
        The checksum of each column at the first reading.
    counts : tuple of int
        The rows that have each of the combinations of levels that :attr:`Design.others` lists.
    cells : CellSums, optional
        Sums that stand for the rows where an engine made them.
    summed : Summed, optional
        What stands for rows that are elsewhere.
    """

    chunks: Chunks
    columns: tuple[str, ...]
    response: Node
    weights: str | None
    n_obs: int
    sample: tuple[tuple[int, Table], ...]
    marks: Mapping[str, int]
    counts: tuple[int, ...] = ()
    cells: CellSums | None = field(default=None, metadata={"saved": False})
    summed: Summed | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """A formula and data made one: everything an engine needs. n rows used, p fixed effects; arrays are read-only.

    Attributes
    ----------
    formula : str
        The formula as given.
    response : str
        The response as canonical text.
    y : ndarray of float64
        Shape (n,).
    X : ndarray of float64
        Shape (n, p), C order, of full column rank; p may be 0.
    fixed_names : tuple of str
        The p column names.
    dropped : tuple of str
        Names of columns left out, because earlier ones determine them.
    fixed_terms : tuple of str
        Names of the terms, without the intercept.
    assign : ndarray of intp
        Shape (p,): 0 for the intercept, k for column of ``fixed_terms[k - 1]``.
    random : tuple of RandomDesign
        The random terms as written.
    weights : ndarray of float64, optional
        Shape (n,): prior weights, positive.
    offset : ndarray of float64, optional
        Shape (n,): the sum of all offsets.
    index : pandas.Index
        Labels of the n rows: the data's own index for pandas, else positions.
    rows : ndarray of intp
        Shape (n,): positions of the rows used among those of the data.
    n_dropped : int
        How many rows were left out because something is missing.
    notes : tuple of str
        Sentences for the user about what is legal but may not be meant.
    encoding : Encoding
        What `encode` needs for new data.
    stream : Stream, optional
        Where the rows are if they are read in chunks: then no array here holds rows, and `row_parts` reads them.
    others : tuple of Value
        What residual variances and correlations read, on the rows used.
    """

    formula: str
    response: str
    y: Array
    X: Array
    fixed_names: tuple[str, ...]
    dropped: tuple[str, ...]
    fixed_terms: tuple[str, ...]
    assign: Codes
    random: tuple[RandomDesign, ...]
    weights: Array | None
    offset: Array | None
    index: pd.Index[Any]
    rows: Codes
    n_dropped: int
    notes: tuple[str, ...]
    encoding: Encoding
    stream: Stream | None = None
    others: tuple[Value, ...] = ()

    @property
    def n_obs(self) -> int:
        """The number of rows used."""
        return len(self.y) if self.stream is None else self.stream.n_obs

    @property
    def has_intercept(self) -> bool:
        """Whether the first column of X is the intercept: a column of the data may have its name."""
        return bool(len(self.assign) and self.assign[0] == 0)


@dataclass(frozen=True, eq=False)
class EncodedRandom:
    """One random term on new data.

    Attributes
    ----------
    codes : ndarray of intp
        Shape (m,): the level of each row: a known one below J, an unseen one from J on, -1 where it is missing.
    unseen : tuple of str
        Labels of the unseen levels, in order of appearance: code J + i is ``unseen[i]``.
    values : ndarray of float64
        Shape (m, p), C order; NaN where a predictor is missing.
    """

    codes: Codes
    unseen: tuple[str, ...]
    values: Array


@dataclass(frozen=True, eq=False)
class Encoded:
    """New data in the columns of a design; m rows, none dropped.

    Attributes
    ----------
    X : ndarray of float64
        Shape (m, p), C order; NaN in rows where a predictor is missing.
    random : tuple of EncodedRandom or None
        Aligned with the random terms of the design; None where the group was not asked for.
    offset : ndarray of float64
        Shape (m,): the sum of the offsets that the formula or a column gives, 0 without any.
    complete : ndarray of bool
        Shape (m,): whether every predictor is there. A missing level only gives the code -1.
    determined : ndarray of bool
        Shape (m,): whether Xβ is determined by the rows fitted, whichever aliased columns were left out of X.
    index : pandas.Index
        The data's own index for pandas, else positions.
    """

    X: Array
    random: tuple[EncodedRandom | None, ...]
    offset: Array
    complete: NDArray[np.bool_]
    determined: NDArray[np.bool_]
    index: pd.Index[Any]
