"""The rows of one level: matrices written out, and their products multiplied out for a row.

Of a response with a link it is the linear predictor that is written out, and the covariance of the working response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from _ranef.equations.effects import level_covariance
from _ranef.equations.generalised_rows import linked, linked_law, linked_lines, row_mean
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Atom,
    Call,
    Chain,
    Diagonal,
    Entries,
    Identity,
    Inverse,
    Label,
    Law,
    Line,
    Literal,
    Matrix,
    Negative,
    Node,
    Number,
    Phrase,
    Product,
    Quotient,
    Sum,
    Symbol,
    Times,
    Transposed,
    Words,
    column,
    squared,
)
from _ranef.equations.working_responses import working_lines, working_response, working_weight
from _ranef.errors import DesignError
from _ranef.spec import ModelMatrices, TermSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["ENTRIES", "Chosen", "cluster"]

ENTRIES = ("numbers", "symbols")

#: effects up to which the covariance of a cluster's effects is written by its entries
WRITTEN = 6


@dataclass(frozen=True)
class Chosen:
    """Which rows are written out, and how.

    Attributes
    ----------
    level, group : str, optional
        The first level of the first grouping factor by default; all rows where there is none.
    entries : "numbers" or "symbols"
        Whether X and Z show data, or what each entry is.
    """

    level: str | None = None
    group: str | None = None
    entries: str = "numbers"


def cluster(s: Symbols, chosen: Chosen | None = None) -> list[Line]:
    """Y_j = X_jβ + Z_jb_j + ε_j written out, and multiplied out for one row; then V_j likewise."""
    own = _Cluster(replace(s, spec=s.spec.held), chosen or Chosen())
    return [own.title(), *own.responses(), *own.model(), *own.roles(), *own.working(), *own.covariance()]


@dataclass(frozen=True, eq=False)
class _Cluster:
    """Rows of one level with all random effects that are in them."""

    s: Symbols
    chosen: Chosen

    def __post_init__(self) -> None:
        if self.chosen.entries not in ENTRIES:
            raise DesignError(f"entries={self.chosen.entries!r} must be 'numbers' or 'symbols'.")

    @cached_property
    def grouping(self) -> int | None:
        """The factor whose level it is."""
        names = [g.name for g in self.s.spec.groupings]
        return (names.index(self.chosen.group) if self.chosen.group in names else self._found) if names else None

    @property
    def _found(self) -> int:
        """The first factor, or the one that has the level."""
        level = self.chosen.level
        if level is None:
            return 0
        matrices = ModelMatrices(self.s.spec)
        rows = matrices.cluster(level, self.chosen.group).rows
        same = [
            g.levels[g.codes[rows[0]]] == str(level) and len(rows) == (g.codes == g.codes[rows[0]]).sum()
            for g in self.s.spec.groupings
        ]
        return same.index(True)

    @cached_property
    def level(self) -> str:
        """Its name."""
        if self.grouping is None:
            return ""
        g = self.s.spec.groupings[self.grouping]
        level = str(g.levels[0]) if self.chosen.level is None else str(self.chosen.level)
        ModelMatrices(self.s.spec).cluster(level, g.name)  # an unknown level is refused there
        return level

    @cached_property
    def rows(self) -> Ints:
        """Its rows among those used."""
        if self.grouping is None:
            return np.arange(self.s.spec.n_obs)
        g = self.s.spec.groupings[self.grouping]
        return np.flatnonzero(g.levels[g.codes] == self.level)

    @cached_property
    def effects(self) -> list[tuple[TermSpec, int, int]]:
        """Term, level and column of every random effect that is in these rows, in the order of Z."""
        return [
            (t, int(level), c)
            for t in self.s.spec.terms
            for level in np.unique(self.s.spec.groupings[t.grouping].codes[self.rows])
            for c in range(len(t.columns))
        ]

    @cached_property
    def Z(self) -> Floats:
        """Their columns (n_j, q_j)."""
        columns = []
        for t, level, c in self.effects:
            g = self.s.spec.groupings[t.grouping]
            columns.append(g.Z[self.rows, t.start + c] * (g.codes[self.rows] == level))
        return np.column_stack(columns) if columns else np.zeros((len(self.rows), 0))

    @property
    def X(self) -> Floats:
        """Rows of X."""
        return self.s.spec.design.X[self.rows]

    @property
    def index(self) -> tuple[Atom, ...]:
        """What tells its matrices from those of all rows."""
        return () if self.grouping is None else (self.s.letter(self.grouping),)

    def of(self, letter: str) -> Symbol:
        """A vector or matrix of the cluster."""
        return Symbol(letter, self.index, (f"{letter} of cluster", -1 if self.grouping is None else self.grouping))

    def effect(self, term: TermSpec, level: int, c: int) -> Symbol:
        """A random effect of a level by the level's name, with its factor's where there are several."""
        g = self.s.spec.groupings[term.grouping]
        name = str(g.levels[level])
        where = Label(name if len(self.s.spec.groupings) == 1 else f"{g.name} {name}")
        return Symbol("b", (*self.s.number(term, c), where), ("ranef", term.grouping, term.start + c, level))

    def residual(self, row: int) -> Symbol:
        """ε of a row by its number among those used."""
        return Symbol("ε", (str(row + 1),), ("residual", row))

    def response(self, row: int) -> Node:
        """Y of a row, with its number."""
        return Symbol("y", (str(row + 1),), ("response", row))

    def title(self) -> Line:
        """Whose rows they are."""
        n = len(self.rows)
        if self.grouping is None:
            return Line(None, "", None, Words(f"All {n} rows"))
        g = self.s.spec.groupings[self.grouping]
        letter = self.s.letter(self.grouping)
        return Line(None, "", None, Words(f"The {n} rows of {g.name} {self.level}, which is {letter} here"))

    def responses(self) -> list[Line]:
        """Responses with a link round their means, which the equations are of: all rows with their numbers."""
        if not self.s.linked:
            return []
        law = linked_law(self.s)
        if law is None:
            return self._classes()
        y, trials = self.of("y"), self.of("n")
        own = {"mean": self.means, "trials": trials}
        arguments = tuple(own.get(str(a.key[0]), a) if isinstance(a, Symbol) else a for a in law.arguments)
        lines = [Line(y, "~", Law(law.name, arguments), Words("given the random effects, rows independent"))]
        if self.chosen.entries == "symbols":
            return lines
        rows, weights = self.rows, self.s.spec.design.weights
        counts = law.name == "Binomial" and weights is not None
        shown = self.s.spec.design.y[rows] * (weights[rows] if counts and weights is not None else 1.0)
        lines.append(Line(y, "=", Entries((np.round(shown) if counts else shown)[:, None])))
        if counts and weights is not None:
            lines.append(Line(trials, "=", Entries(weights[rows][:, None])))
        return lines

    def _classes(self) -> list[Line]:
        """Ordered classes of its rows by their places."""
        lines = linked_lines(self.s)
        if self.chosen.entries == "symbols":
            return lines
        places = Entries(self.s.spec.design.y[self.rows][:, None] + 1.0)
        return [*lines, Line(self.of("y"), "=", places, Words("places of the classes"))]

    @property
    def means(self) -> Symbol:
        """The means of its rows."""
        return self.of(row_mean(self.s).letter)

    def model(self) -> list[Line]:
        """Equations (1) and (2)."""
        beta = tuple(self.s.coefficient(k) for k in range(self.s.spec.n_fixed))
        d, rows = self.s.spec.design, self.rows
        parts: list[tuple[Node, Node]] = []
        if beta:
            parts.append((Times((self.of("X"), Symbol("β", (), ("beta",)))), Times((self._X, column(beta)))))
        if d.offset is not None:
            parts.append((self.of("o"), Entries(d.offset[rows][:, None])))
        if self.effects:
            b = column([self.effect(*e) for e in self.effects])
            parts.append((Times((self.of("Z"), self.of("b"))), Times((self._Z, b))))
        if not self.s.linked:
            parts.append((self.of("ε"), column([self.residual(int(r)) for r in rows])))
        short, long = self._lefts()
        return [
            Line(
                short,
                "=",
                Sum(tuple(a for a, _ in parts)),
                Words("(1)" if isinstance(short, Symbol) else "(1), entry by entry"),
            ),
            Line(long, "=", Sum(tuple(b for _, b in parts))),
            self._one_row(),
        ]

    def _lefts(self) -> tuple[Node, Node]:
        """What the rows are equations of, as a letter and written out."""
        if self.s.linked:
            return linked(self.s, self.means), linked(self.s, column([row_mean(self.s, int(r)) for r in self.rows]))
        if self.chosen.entries == "numbers":
            return self.of("y"), Entries(self.s.spec.design.y[self.rows][:, None])
        return self.of("y"), column([self.response(int(r)) for r in self.rows])

    @property
    def _row(self) -> int:
        """The place of the row that is multiplied out: the third, for in the first covariates are often 0 or 1."""
        return min(2, len(self.rows) - 1)

    def _one_row(self) -> Line:
        """Equation (2): a row of (1) multiplied out."""
        k, d = self._row, self.s.spec.design
        row = int(self.rows[k])
        X, Z = self._entries("X"), self._entries("Z")
        terms: list[Node] = [_product(X[k][c], self.s.coefficient(c)) for c in range(len(X[k]))]
        terms += [Number(float(d.offset[row]))] if d.offset is not None else []
        terms += [_product(z, self.effect(*e)) for z, e in zip(Z[k], self.effects, strict=True) if z != Literal("0")]
        words = Words(f"(2): row {k + 1} of (1), as style='scalar' has it")
        if self.s.linked:
            return Line(linked(self.s, row_mean(self.s, row)), "=", Sum(tuple(terms)), words)
        terms.append(self.residual(row))
        left = _number(d.y[row]) if self.chosen.entries == "numbers" else self.response(row)
        return Line(left, "=", Sum(tuple(terms)), words)

    @property
    def _X(self) -> Node:
        return Entries(self.X) if self.chosen.entries == "numbers" else _matrix(self._entries("X"))

    @property
    def _Z(self) -> Node:
        return Entries(self.Z) if self.chosen.entries == "numbers" else _matrix(self._entries("Z"))

    def _entries(self, letter: str) -> list[list[Node]]:
        """X or Z by its entries: numbers, or the variables of each row."""
        values = self.X if letter == "X" else self.Z
        if self.chosen.entries == "numbers":
            return [[_number(v) for v in row] for row in values]
        out = []
        for _k, r in enumerate(self.rows):
            at = str(int(r) + 1)
            if letter == "X":
                factors = [x.factors(self.s.spec, at) for x in self.s.fixed]
            else:
                terms = self.s.spec.terms
                factors = [self.s.random[terms.index(t)][c].factors(self.s.spec, at) for t, _, c in self.effects]
            own = [Literal("1") if not f else f[0] if len(f) == 1 else Product(f) for f in factors]
            if letter == "Z":
                codes = [self.s.spec.groupings[t.grouping].codes[r] for t, _, _ in self.effects]
                own = [
                    o if code == level else Literal("0")
                    for o, code, (_, level, _) in zip(own, codes, self.effects, strict=True)
                ]
            out.append(own)
        return out

    def roles(self) -> list[Line]:
        """Why a column stands in X and again in Z."""
        if not self.effects:
            return []
        names = self.s.spec.design.fixed_names
        own = list(dict.fromkeys(c for t in self.s.spec.terms for c in t.columns))
        X, Z, b, beta = self.of("X"), self.of("Z"), self.of("b"), Symbol("β", (), ("beta",))
        of_all, of_levels = Words(" multiplies what all rows share, "), Words(" what levels have of their own")
        lines: list[tuple[Node, ...]] = [(X, of_all, Z, of_levels)]
        both, only = ([c for c in own if (c in names) is known] for known in (True, False))
        if both:
            said = f"In both: {', '.join(both)}: "
            lines.append(
                (Words(said), beta, Words(" has what they do on average, "), b, Words(" the deviations from it"))
            )
        if only:
            said = f"In {{}} alone: {', '.join(only)}: what they do on average is taken to be 0"
            first, second = said.split("{}")
            lines.append((Words(first), Z, Words(second)))
        return [Line(None, "", None, Phrase(parts)) for parts in lines]

    def working(self) -> list[Line]:
        """What the covariance is of, where the response has a link."""
        entries = tuple(working_weight(int(r)) for r in self.rows)
        return working_lines(self.s, self.of("W"), entries) if self.s.linked else []

    def covariance(self) -> list[Line]:
        """Equations (3) and (4): of the responses, or of the working responses."""
        Z, D = self.of("Z"), self.of("D")
        V: Node = self.of("V")
        R: Node = self.of("R")
        if self.s.linked:
            V, R = Call("Var", (self.of("z"),)), Inverse(self.of("W"))
        if not self.effects:
            return [Line(V, "=", Chain((R, self._R())), Words("(3)"))]
        short = Line(V, "=", Sum((Times((Z, D, Transposed(Z))), R)), Words("(3)"))
        lines = [short]
        if len(self.effects) <= WRITTEN:
            inside = Times((self._Z, self._D(), Transposed(self._Z)))
            lines.append(Line(None, "=", Sum((inside, self._R()))))
        first, second = self._row, max(0, self._row - 1)
        lines.append(self._entry(first, first))
        if first != second:
            lines.append(self._entry(first, second))
        return lines

    def _D(self) -> Node:
        """Covariance of the effects in these rows."""
        terms = [t for t in self.s.spec.terms if any(own is t for own, _, _ in self.effects)]
        if any(self.s.spec.groupings[t.grouping].among is not None for t in terms):
            return self.of("D")
        blocks: list[Node] = []
        for t in terms:
            n = len({level for own, level, _ in self.effects if own is t})
            own = level_covariance(self.s, t)
            blocks += [own if len(t.columns) > 1 else Matrix(((own,),))] * n
        if len(blocks) == 1:
            return blocks[0]
        flat = [b.rows[0][0] if isinstance(b, Matrix) and len(b.rows) == 1 else b for b in blocks]
        return Diagonal(tuple(flat), whole=True)

    def _R(self) -> Node:
        """Covariance of the residuals of these rows."""
        if self.s.linked:
            return Inverse(self.of("W"))
        if self.s.spec.residual.plain and not self.s.spec.structured:
            return Product((self.s.residual_variance, Identity(len(self.rows))))
        return self.of("R")

    def _entry(self, i: int, j: int) -> Line:
        """Equation (4): a variance or covariance of two rows."""
        rows = [int(self.rows[k]) for k in (i, j)]
        y = [working_response(r) if self.s.linked else self.response(r) for r in rows]
        left = Call("Var", (y[0],)) if i == j else Call("Cov", tuple(y))
        Z = self._entries("Z")
        terms: list[Node] = []
        for a, (t, level, c) in enumerate(self.effects):
            for b, (u, other, e) in enumerate(self.effects[: a + 1]):
                if t is u:
                    terms += self._pair((Z[i][a], Z[j][a]), (Z[i][b], Z[j][b]), (t, c, e), (level, other))
        terms += self._residual_part(rows)
        words = Words("(4): an entry of (3) multiplied out" if i == j else "(4)")
        return Line(left, "=", Sum(tuple(terms)) if terms else Literal("0"), words)

    def _pair(
        self,
        first: tuple[Node, Node],
        second: tuple[Node, Node],
        entry: tuple[TermSpec, int, int],
        levels: tuple[int, int],
    ) -> list[Node]:
        """What two effects (or one) add to a covariance of two rows: z_i z'_j D, and z'_i z_j D."""
        t, c, e = entry
        among = self.s.spec.groupings[t.grouping].among
        if levels[0] != levels[1] and among is None:
            return []
        D = self.s.covariance(t, c, e)
        if Literal("0") == D:
            return []
        if among is not None:
            k = Symbol(
                "K",
                (Label(t.group), *(Label(str(self.s.spec.groupings[t.grouping].levels[v])) for v in levels)),
                ("known entry", t.grouping, *levels),
            )
            D = Product((k, D))
        if (c, levels[0]) == (e, levels[1]):
            known = isinstance(first[0], Literal | Number)
            return _summand([squared(first[0])] if first[0] == first[1] and not known else list(first), D)
        if first[0] == first[1] and second[0] == second[1]:
            return _summand([Literal("2"), first[0], second[0]], D)
        crossed = [[first[0], second[1]], [second[0], first[1]]]
        if all(isinstance(z, Literal | Number) for pair in crossed for z in pair):
            total = sum(_value(a) * _value(b) for a, b in crossed)
            return _summand([_number(total)], D)
        return [part for pair in crossed for part in _summand(pair, D)]

    def _residual_part(self, rows: Sequence[int]) -> list[Node]:
        """R of two rows, or an entry of the inverse of W."""
        if self.s.linked:
            return [Quotient(Literal("1"), working_weight(rows[0]))] if rows[0] == rows[1] else []
        plain = self.s.spec.residual.plain and not self.s.spec.structured
        if plain:
            return [self.s.residual_variance] if rows[0] == rows[1] else []
        if rows[0] != rows[1] and self.s.spec.correlation is None:
            return []
        return [Symbol("R", tuple(str(r + 1) for r in rows), ("R entry", *rows))]


def _number(value: float) -> Node:
    own = float(value)
    return Literal(f"{own:.0f}") if own == round(own) and abs(own) < 1e7 else Number(own)


def _value(node: Node) -> float:
    return float(node.text) if isinstance(node, Literal) else float(getattr(node, "value"))  # noqa: B009


def _product(entry: Node, symbol: Node) -> Node:
    return symbol if entry == Literal("1") else Product((symbol, entry))


def _summand(entries: Sequence[Node], D: Node) -> list[Node]:
    """Entries times D: none where one of them is zero."""
    if Literal("0") in entries:
        return []
    known = [e for e in entries if isinstance(e, Literal | Number)]
    total = float(np.prod([_value(e) for e in known]))
    rest = [e for e in entries if e not in known]
    factors: list[Node] = [*([] if total in (1.0, -1.0) else [_number(abs(total))]), *rest, D]
    out = factors[0] if len(factors) == 1 else Product(tuple(factors))
    return [Negative(out) if total < 0 else out]


def _matrix(rows: list[list[Node]]) -> Node:
    return Matrix(tuple(tuple(row) for row in rows))
