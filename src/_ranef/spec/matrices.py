"""The model as named matrices, to teach from: y, X, Z, and per term J, Xᵢ, Zᵢ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy

from _ranef.errors import DesignError, suggestion
from _ranef.spec.model import ModelSpec, TermSpec
from _ranef.support.arrays import Ints

__all__ = ["Cluster", "KhatriRao", "Maker", "ModelMatrices", "NamedMatrix", "TermMatrices"]

Maker: TypeAlias = tuple[Any, Iterable[Any], Iterable[Any]]
"""Values, and names of rows and columns."""

#: entries up to which a labelled frame is dense
DENSE = 100_000


@dataclass(frozen=True, eq=False, repr=False)
class NamedMatrix:
    """A matrix with the names of its rows and columns.

    Attributes
    ----------
    name : str
    values : array or sparse (m, k)
    rows, columns : tuple of str
    """

    name: str
    values: Any
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.rows)} × {len(self.columns)}>"

    @property
    def frame(self) -> pd.DataFrame:
        """A labelled frame, of sparse columns where it has many entries."""
        labels: dict[str, Any] = {"index": list(self.rows), "columns": list(self.columns)}
        values: Any = self.values
        if not scipy.sparse.issparse(self.values):
            return pd.DataFrame(values, **labels)
        if values.shape[0] * values.shape[1] <= DENSE:
            return pd.DataFrame(values.toarray(), **labels)
        sparse: Any = pd.DataFrame.sparse
        out: pd.DataFrame = sparse.from_spmatrix(scipy.sparse.csr_matrix(values), **labels)
        return out


@dataclass(frozen=True, eq=False)
class KhatriRao:
    """Z as the transposed Khatri-Rao product of the indicators J and the columns X of a term.

    Attributes
    ----------
    J, X, Z : NamedMatrix
    """

    J: NamedMatrix
    X: NamedMatrix
    Z: NamedMatrix


@dataclass(frozen=True)
class TermMatrices:
    """One random term as Bates et al. (2015, §2.3) write it: Zᵢ is the row-wise Kronecker product of Jᵢ and Xᵢ.

    Attributes
    ----------
    J : sparse (n, levels)
        Indicator of the level of each row.
    X : DataFrame (n, p)
        Columns of the effects.
    Z : sparse (n, levels p)
        Level by level, the columns of the effects within each level.
    names : tuple of str
        Column names of Z.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> term = model.matrices.terms[0]
    >>> term.J.shape, term.X.shape, term.Z.shape, term.names[:2]
    ((180, 18), (180, 2), (180, 36), ('Subject[308].Intercept', 'Subject[308].Days'))
    """

    J: scipy.sparse.csr_array
    X: pd.DataFrame
    Z: scipy.sparse.csr_array
    names: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """Rows of one level of a grouping factor.

    Attributes
    ----------
    level : str
    rows : array of int (n_j,)
        Positions among the rows used.
    y : Series (n_j,)
    X : DataFrame (n_j, p)
    Z : DataFrame (n_j, q)
        The columns of this level's own random effects, one block for each term on the factor.

    Examples
    --------
    >>> import ranef
    >>> model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    >>> one = model.matrices.cluster("308")
    >>> one.level, one.rows.tolist()[:3], one.y.shape, one.X.columns.tolist(), one.Z.columns.tolist()
    ('308', [0, 1, 2], (10,), ['Intercept', 'Days'], ['Intercept', 'Days'])
    """

    level: str
    rows: Ints
    y: pd.Series[float]
    X: pd.DataFrame
    Z: pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class ModelMatrices:
    """y, X and Z of a model with names; Z is only ever sparse, and built when asked for.

    Examples
    --------
    >>> import ranef
    >>> m = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).matrices
    >>> m.Z.shape, m.Z_names
    ((20, 4), ('operator[a].Intercept', 'operator[b].Intercept', 'operator[c].Intercept', 'operator[d].Intercept'))
    """

    spec: ModelSpec

    def __repr__(self) -> str:
        q = sum(g.n_levels * len(g.columns) for g in self.spec.groupings)
        n, p = self.spec.n_obs, self.spec.n_fixed
        return f"<{type(self).__name__}: y ({n},), X ({n}, {p}), Z ({n}, {q})>"

    @property
    def y(self) -> pd.Series[float]:
        """Response (n,)."""
        d = self.spec.held.design
        return pd.Series(d.y, index=d.index, name=d.response)

    @property
    def X(self) -> pd.DataFrame:
        """Fixed-effects matrix (n, p), aliased columns left out."""
        d = self.spec.held.design
        return pd.DataFrame(d.X, index=d.index, columns=list(d.fixed_names))

    @cached_property
    def terms(self) -> tuple[TermMatrices, ...]:
        """J, Xᵢ and Zᵢ of every random term, in lme4's order."""
        return tuple(self._term(t) for t in self.spec.terms)

    @cached_property
    def Z(self) -> scipy.sparse.csr_array:
        """Random-effects matrix (n, q), term by term, level by level, column by column."""
        parts = [t.Z for t in self.terms]
        return (
            scipy.sparse.csr_array(scipy.sparse.hstack(parts))
            if parts
            else scipy.sparse.csr_array((self.spec.n_obs, 0))
        )

    @property
    def Z_names(self) -> tuple[str, ...]:
        """Column names of Z, as ``Subject[308].Days``."""
        return tuple(name for t in self.spec.terms for name in self._names(t))

    @property
    def names(self) -> tuple[str, ...]:
        """What :meth:`named` knows."""
        return tuple(self._makers())

    def named(self, name: str, group: str | None = None) -> NamedMatrix:
        """A matrix by its name, with the names of its rows and columns.

        Parameters
        ----------
        name : str
            One of :attr:`names`; ``"J"``, ``"X_i"`` and ``"Z_i"`` are of one term.
        group : str, optional
            Of these, the grouping factor, or the term as written; the first by default.

        Raises
        ------
        DesignError
            If there is no such matrix, or no such term.
        """
        makers = self._makers()
        if name not in makers:
            raise DesignError(
                f"There is no matrix {name!r} here; give one of {', '.join(makers)}.{suggestion(str(name), makers)}"
            )
        values, rows, columns = makers[name](self._term_number(group))
        return NamedMatrix(name, values, tuple(map(str, rows)), tuple(map(str, columns)))

    def _makers(self) -> dict[str, Callable[[int], Maker]]:
        of_all: dict[str, Callable[[int], Maker]] = {
            "y": lambda _: (self.y.to_numpy()[:, None], self.y.index, (self.y.name,)),
            "X": lambda _: (self.X.to_numpy(), self.X.index, self.X.columns),
        }
        if not self.spec.terms:
            return of_all
        return of_all | {
            "Z": lambda _: (self.Z, self.y.index, self.Z_names),
            "J": lambda k: (self.terms[k].J, self.y.index, self.spec.groupings[self.spec.terms[k].grouping].levels),
            "X_i": lambda k: (self.terms[k].X.to_numpy(), self.y.index, self.terms[k].X.columns),
            "Z_i": lambda k: (self.terms[k].Z, self.y.index, self.terms[k].names),
        }

    def _term_number(self, group: str | None) -> int:
        """The place of a term by its factor, or as it is written."""
        if group is None:
            return 0
        known = [name for t in self.spec.terms for name in (t.group, t.text)]
        if group not in known:
            raise DesignError(f"The model has no term on {group!r}.{suggestion(group, known)}")
        return known.index(group) // 2

    def cluster(self, level: str, group: str | None = None) -> Cluster:
        """yⱼ, Xⱼ, Zⱼ of one level.

        Raises
        ------
        DesignError
            If no grouping factor has that level, or several have and `group` is not given.
        """
        spec = self.spec.held
        named = [g for g in spec.groupings if group in (None, g.name)]
        found = [g for g in named if str(level) in g.levels]
        if len(found) != 1:
            names = [g.name for g in spec.groupings]
            if group is not None and not named:
                raise DesignError(f"The model has no grouping factor {group!r}.{suggestion(group, names)}")
            if found:
                raise DesignError(f"Several factors have the level {level!r}; give group=, one of {names}.")
            known = [str(s) for g in named for s in g.levels]
            raise DesignError(f"There is no level {level!r} in {', '.join(names)}.{suggestion(str(level), known)}")
        g = found[0]
        rows = np.flatnonzero(g.levels[g.codes] == str(level))
        Z = pd.DataFrame(g.Z[rows], index=spec.design.index[rows], columns=list(g.columns))
        return Cluster(str(level), rows, self.y.iloc[rows], self.X.iloc[rows], Z)

    def _names(self, term: TermSpec) -> tuple[str, ...]:
        """Of its columns of Z."""
        g = self.spec.groupings[term.grouping]
        return tuple(f"{g.name}[{level}].{c}" for level in g.levels for c in term.columns)

    def _term(self, term: TermSpec) -> TermMatrices:
        g, n, p = self.spec.held.groupings[term.grouping], self.spec.n_obs, len(term.columns)
        values = g.Z[:, term.where]
        J = scipy.sparse.csr_array((np.ones(n), g.codes, np.arange(n + 1)), shape=(n, g.n_levels))
        columns = g.codes[:, None] * p + np.arange(p)
        Z = scipy.sparse.csr_array((values.ravel(), columns.ravel(), p * np.arange(n + 1)), shape=(n, g.n_levels * p))
        X = pd.DataFrame(values, index=self.y.index, columns=list(term.columns))
        return TermMatrices(J, X, Z, self._names(term))
