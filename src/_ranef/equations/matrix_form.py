"""All rows at once, with dimensions: y = Xβ + Zb + ε, what b and ε are, and the covariance V of y."""

from __future__ import annotations

from _ranef.equations.effects import block_of_levels, level_covariance
from _ranef.equations.generalised_rows import linked, linked_lines, row_mean
from _ranef.equations.residual_structure import residual_structure
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Call,
    Chain,
    Diagonal,
    Identity,
    Inverse,
    Kronecker,
    Law,
    Line,
    Listed,
    Literal,
    Matrix,
    Negative,
    Node,
    Phrase,
    Product,
    Run,
    Sum,
    Symbol,
    Times,
    Transposed,
    Words,
    column,
    said,
    squared,
)
from _ranef.equations.working_responses import working_lines
from _ranef.spec import TermSpec

__all__ = ["distribution", "matrix"]

#: coefficients that are listed one by one
LISTED = 6

NO_COVARIANCE = (
    "Effects of different factors have no covariance: their levels form no pairs, one of each, that could vary "
    "together; effects of one level do"
)

SET_TO_ZERO = "Effects of different terms of one factor have no covariance because the formula says so"


def matrix(s: Symbols) -> list[Line]:
    """The stacked model; of a response with a link as far as it is one, and the normal model at its mode."""
    letters = _Whole(s)
    if s.linked:
        return [letters.linked(), *letters.coefficients(), *letters.random(), *linked_lines(s), *letters.at_mode()]
    model = Line(letters.y, "=", Sum((*letters.mean, letters.epsilon)), letters.sizes())
    return [model, *letters.coefficients(), *letters.random(), *letters.residuals(), *letters.marginal()]


def distribution(s: Symbols) -> list[Line]:
    """The stacked model as distributions: of y given b, of b, and of y alone."""
    w = _Whole(s)
    given = Symbol("y", (), ("y",))
    X_beta = Sum(w.mean[: len(w.mean) - bool(w.q)]) if len(w.mean) > bool(w.q) else Literal("0")
    law = "N" if not s.spec.family.parameters else "t"
    degrees: tuple[Node, ...] = (Symbol("ν", (), ("nu",)),) if law == "t" else ()
    left: Node = Phrase((given, Words(" given "), w.b)) if w.q else given
    lines = [Line(left, "~", Law(law, (*degrees, Sum(w.mean), w.R)))]
    lines += [Line(w.b, "~", Law("N", (Literal("0"), w.D)))] if w.q else []
    if w.q and law == "N":
        words = Words("the random effects averaged out")
        lines.append(Line(given, "~", Law("N", (X_beta, w.V)), words))
    return [*lines, *w.covariance(), *w.residuals()[1:], *w.marginal()]


class _Whole:
    """The letters of the stacked model."""

    def __init__(self, s: Symbols) -> None:
        self.s, self.spec = s, s.spec
        self.p = s.spec.n_fixed
        self.q = sum(s.spec.groupings[t.grouping].n_levels * len(t.columns) for t in s.spec.terms)
        self.y, self.X, self.beta = Symbol("y", (), ("y",)), Symbol("X", (), ("X",)), Symbol("β", (), ("beta",))
        self.Z, self.b, self.epsilon = Symbol("Z", (), ("Z",)), Symbol("b", (), ("b",)), Symbol("ε", (), ("epsilon",))
        self.D, self.R, self.V = Symbol("D", (), ("D",)), Symbol("R", (), ("R",)), Symbol("V", (), ("V",))
        self.root, self.W = Symbol("Λ", (), ("Lambda",)), Symbol("W", (), ("working W",))

    @property
    def mean(self) -> tuple[Node, ...]:
        """Xβ + o + Zb, of what there is."""
        offset: tuple[Node, ...] = (Symbol("o", (), ("offsets",)),) if self.spec.design.offset is not None else ()
        fixed: tuple[Node, ...] = (Times((self.X, self.beta)),) if self.p else ()
        random: tuple[Node, ...] = (Times((self.Z, self.b)),) if self.q else ()
        return (*fixed, *offset, *random)

    def linked(self) -> Line:
        """The link of the means of all rows."""
        means = Symbol(row_mean(self.s).letter, (), ("means",))
        eta = Symbol("η", (), ("predictors",))
        if means.letter == "η":
            return Line(eta, "=", Sum(self.mean), self.sizes())
        return Line(linked(self.s, means), "=", Chain((eta, Sum(self.mean))), self.sizes())

    def at_mode(self) -> list[Line]:
        """The weights and working responses, the equations of the conditional mode, and the covariance of z."""
        weights = Run(Symbol("ω", (), ("working weights",)), self.spec.n_obs)
        lines, z = working_lines(self.s, self.W, (weights,)), Symbol("z", (), ("working responses",))
        if not self.q:
            return lines
        u, ZL = Symbol("u", (), ("u",)), Times((self.Z, self.root))
        left = Sum((Times((Transposed(ZL), self.W, ZL)), Identity(self.q)))
        rest = Sum((z, *(Negative(part) for part in self.mean[:-1]))) if len(self.mean) > 1 else z
        return [
            *lines,
            Line(Times((left, u)), "=", Times((Transposed(ZL), self.W, rest)), Words("at the conditional mode")),
            Line(self.b, "=", Times((self.root, u))),
            Line(Call("Var", (z,)), "=", Sum((Times((self.Z, self.D, Transposed(self.Z))), Inverse(self.W)))),
        ]

    def sizes(self) -> Node:
        """Rows and columns of X and Z."""
        found = [(M, k) for M, k in ((self.X, self.p), (self.Z, self.q)) if k]
        parts = [Phrase((M, Words(f": {self.spec.n_obs} × {k}"))) for M, k in found]
        return Phrase(tuple(p for k, part in enumerate(parts) for p in ((Words(", "), part) if k else (part,))))

    def coefficients(self) -> list[Line]:
        """The vector β."""
        names = self.spec.design.fixed_names
        entries = [self.s.coefficient(k) for k in range(self.p)]
        if not entries:
            return []
        words = Words(f"of {', '.join(names)}") if self.p <= LISTED else None
        return [Line(self.beta, "=", Listed(tuple(entries), LISTED), words)]

    def random(self) -> list[Line]:
        """Z by terms and levels, b and its covariance."""
        if not self.q:
            return []
        return [*self._columns(), Line(self.b, "~", Law("N", (Symbol("0"), self.D))), *self.covariance()]

    def _columns(self) -> list[Line]:
        """Z by terms, and the rule by which a term's columns are made."""
        terms = self.spec.terms
        one = len(terms) == 1
        lines = []
        if not one:
            lines.append(Line(self.Z, "=", Matrix((tuple(self._of("Z", t) for t in terms),))))
            lines.append(Line(self.b, "=", column([self._of("b", t) for t in terms])))
        for t in terms:
            J, X, Z = self._of("J", t), self._of("X", t, "r"), self._of("Z", t)
            product = Transposed(Kronecker(Transposed(J), Transposed(X), "⊙"))
            q = self.spec.groupings[t.grouping].n_levels * len(t.columns)
            rows = "; blocks with the rows sorted by it" if one else ""
            words = f"{self.spec.n_obs} × {q}: {', '.join(t.columns)} at each row's {t.group}{rows}"
            blocks = () if not one else (self._run("Z", t.grouping, diagonal=True),)
            lines.append(Line(Z, "=", Chain((product, *blocks)) if blocks else product, Words(words)))
        return lines

    def _of(self, letter: str, term: TermSpec, role: str = "") -> Symbol:
        """A matrix or vector of one term, numbered where there are several."""
        number = self.spec.terms.index(term)
        index = (str(number + 1),) if len(self.spec.terms) > 1 else ()
        if role:
            index = (role, *index)
        return Symbol(letter, index, (f"{letter} of term", number))

    def _run(self, letter: str, grouping: int, *, diagonal: bool) -> Node:
        """A matrix by the blocks of all levels."""
        symbol = Symbol(letter, (), (f"{letter} of level", grouping))
        run = Run(symbol, self.spec.groupings[grouping].n_levels)
        return Diagonal((run,)) if diagonal else run

    def covariance(self) -> list[Line]:
        """D by blocks, and what these are."""
        terms = self.spec.terms
        if not terms:
            return []
        blocks = [block_of_levels(self.s, t, named=True) for t in terms]
        whole = blocks[0] if len(blocks) == 1 else Diagonal(tuple(blocks), whole=True)
        square = Times((self.root, Transposed(self.root)))
        factored = square if self.s.linked else Product((self.s.residual_variance, square))
        lines = [Line(self.D, "=", Chain((factored, whole)))]
        for t in terms:
            if len(t.columns) > 1:
                words = Words(f"of {', '.join(t.columns)}: {t.structure.meaning}")
                lines.append(Line(self.s.block(t), "=", level_covariance(self.s, t), words))
        if len(self.spec.groupings) > 1:
            lines += said(NO_COVARIANCE)
        if len(terms) > len(self.spec.groupings):
            lines += said(SET_TO_ZERO)
        return lines

    def residuals(self) -> list[Line]:
        """ε and R."""
        n, residual = self.spec.n_obs, self.spec.residual
        H, C, W = Symbol("H", (), ("H",)), Symbol("C", (), ("C",)), Symbol("W", (), ("W",))
        outer = [H] if self.spec.variance is not None else []
        inner: list[Node] = [C] if self.spec.correlation is not None else []
        weights: list[Node] = [Inverse(W)] if residual.weighted else []
        law = Law("t", (Symbol("ν", (), ("nu",)), Symbol("0"), self.R)) if self.spec.family.parameters else None
        lines = [Line(self.epsilon, "~", law or Law("N", (Symbol("0"), self.R)))]
        both: list[Node] = [*outer, *inner, *outer] if inner else [squared(H)] * len(outer)
        factors: list[Node] = [*both, *weights] or [Identity(n)]
        if inner and weights:
            root = Symbol("W", ("½",), ("W root",))
            factors = [*outer, Inverse(root), *inner, Inverse(root), *outer]
        product = factors[0] if len(factors) == 1 else Times(tuple(factors))
        lines.append(Line(self.R, "=", Product((self.s.residual_variance, product))))
        if outer:
            lines.append(Line(H, "=", Diagonal((Run(Symbol("h", (), ("row sds",)), n),))))
        if inner:
            lines.append(Line(C, "=", Words("correlations of the residuals")))
        if weights:
            lines.append(Line(W, "=", Diagonal((Run(Symbol("w", (), ("weights",)), n),))))
        return [*lines, *residual_structure(self.s)]

    def marginal(self) -> list[Line]:
        """V, whole and by levels where rows of different levels are independent."""
        if not self.q:
            return [Line(self.V, "=", Chain((Call("Var", (self.y,)), self.R)))]
        Z, D, R = self.Z, self.D, self.R
        lines = [Line(self.V, "=", Chain((Call("Var", (self.y,)), Sum((Times((Z, D, Transposed(Z))), R)))))]
        if len(self.spec.terms) > 1 or self.spec.groupings[0].among is not None:
            return lines
        term, letter = self.spec.terms[0], self.s.letter(0)
        V, Zj, Rj = (Symbol(m, (letter,), (f"{m} of level", 0)) for m in "VZR")
        block: Node = self.s.block(term) if len(term.columns) > 1 else self.s.variance(term, 0)
        inside = (
            Times((Zj, block, Transposed(Zj)))
            if len(term.columns) > 1
            else Product((block, Times((Zj, Transposed(Zj)))))
        )
        blocks = Line(self.V, "=", self._run("V", 0, diagonal=True), Words(f"with the rows sorted by {term.group}"))
        return [*lines, blocks, Line(V, "=", Sum((inside, Rj)), self.s.levels(0))]
