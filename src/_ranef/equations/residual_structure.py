"""How residuals vary from row to row, and together, as formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence

from _ranef.equations.generalised_rows import linked_lines
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Absolute,
    Call,
    Indicator,
    Label,
    Law,
    Line,
    Listed,
    Literal,
    Matrix,
    Name,
    Negative,
    Node,
    Of,
    Phrase,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    Variable,
    Words,
    squared,
)
from _ranef.equations.writing import places
from _ranef.residuals import (
    AR1,
    ARMA,
    CAR1,
    CompSymm,
    CorrelationFunction,
    Exponential,
    Gaussian,
    RowVariance,
    Spherical,
    Symm,
    Told,
    row_variances,
)

__all__ = ["residual_line", "residual_structure", "row_law", "row_lines", "row_variance", "told_of"]

#: the row that another is compared with
OTHER = "i′"

#: strata whose standard deviations are written one by one
STRATA = 6

ONE = Literal("1")


def told_of(s: Symbols) -> list[Told]:
    """The parameters of residuals as users read them, at their values or where these are not known yet."""
    spec = s.spec
    parts = (spec.variance, spec.correlation)
    if spec.rho is not None:
        return spec.residual.told()
    return [told for part in parts if part is not None for told in part.told(part.starts[0])]


def row_law(s: Symbols, mean: Node) -> Law:
    """Distribution of one row around its mean."""
    if s.spec.family.parameters:
        return Law("t", (Symbol("ν", (), ("nu",)), mean, row_variance(s)))
    return Law("N", (mean, row_variance(s)))


def row_variance(s: Symbols) -> Node:
    """σ²h²/w of row i."""
    own = s.residual_variance
    if s.spec.variance is not None:
        own = Product((own, squared(_h())))
    return Quotient(own, s.weight) if s.spec.residual.weighted else own


def row_lines(s: Symbols) -> list[Line]:
    """What rows are round the linear predictor: residuals with their structure, or a generalised response."""
    if s.linked:
        return linked_lines(s)
    return [residual_line(s), *residual_structure(s)]


def residual_line(s: Symbols) -> Line:
    """Distribution of the residual of one row."""
    words = Phrase((Words(f"for {s.spec.n_obs} rows "), s.row))
    return Line(s.epsilon, "~", row_law(s, Literal("0")), words)


def residual_structure(s: Symbols) -> list[Line]:
    """What h and the correlation of two rows are, where the model has them."""
    lines = []
    parameters = _Parameters(told_of(s))
    if s.spec.variance is not None:
        lines.append(Line(_h(), "=", _variance(parameters, s.spec.variance)))
    if s.spec.correlation is not None:
        function = s.spec.correlation.function
        where = f"of the same {function.group}; others have none" if function.group else "different from each other"
        both = Call("Cor", (s.epsilon, Symbol("ε", (OTHER,), ("residual",))))
        lines.append(Line(both, "=", _correlation(parameters, function), Words(f"for two rows {where}")))
        if isinstance(function, Exponential | Gaussian | Spherical):
            lines.append(Line(_distance(), "=", _apart(function)))
        if isinstance(function, ARMA):
            lines.append(_process(s, function, parameters.first))
    return lines + parameters.tables


def _h() -> Symbol:
    return Symbol("h", ("i",), ("row sd",))


class _Parameters:
    """The parameters as symbols, taken one after the other as structures need them; tables of those that are many."""

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = list(told)
        self.first = 0
        self.parts = sum(part.title.startswith("Correlation") is False for part in told)
        self.part = 0
        self.tables: list[Line] = []

    def next(self) -> tuple[Told, int, tuple[str, ...]]:
        """The next part, the place of its first value, and what tells its symbols from those of other parts."""
        part, first = self.told.pop(0), self.first
        self.part += 1
        self.first += len(part.values)
        return part, first, (str(self.part),) if self.parts > 1 else ()


def _variance(parameters: _Parameters, variance: RowVariance) -> Node:
    """H of row i."""
    if isinstance(variance, row_variances.Product):
        return Product(tuple(_variance(parameters, part) for part in variance.parts))
    told, first, index = parameters.next()
    x: Node = Variable(told.form, "i")
    if told.form == row_variances.FITTED:
        x = Symbol("ŷ", ("i",), ("fitted",))

    def delta(k: int, *more: str | Label) -> Symbol:
        return Symbol("δ", (*index, *more), ("rho", first + k))

    match variance:
        case row_variances.Strata(labels=labels) if len(labels) <= STRATA:
            here = [Indicator(x, "=", Name(name)) for name in labels]
            rest = [Product((delta(k, Label(labels[k])), here[k])) for k in range(1, len(labels))]
            return Sum((here[0], *rest))
        case row_variances.Strata():
            parameters.tables.append(_ratios(told, first, index))
            return Symbol("δ", (*index, Of("s", "i")), ("stratum", first))
        case row_variances.Power():
            return Power(Absolute(x), delta(0))
        case row_variances.LogLinear():
            return Call("exp", (Product((delta(0), x)),))
        case row_variances.ConstPower():
            return Sum((delta(0, "1"), Power(Absolute(x), delta(1, "2"))))
        case row_variances.Known():
            return Call("sqrt", (x,))
    return Symbol("h", ("i",), ("row sd", variance.meaning))


def _ratios(told: Told, first: int, index: tuple[str, ...]) -> Line:
    """δ of all strata."""
    others = [Symbol("δ", (*index, Label(name)), ("rho", first + k)) for k, name in enumerate(told.names) if k]
    return Line(Symbol("δ", index, ("strata", first)), "=", Listed((ONE, *others)), _of(told.form, told.names))


def _pairs(told: Told, first: int, form: str) -> Line:
    """The correlations of all pairs of occasions, which are told by rows of the lower triangle."""
    pairs = [Symbol("ρ", ("R", Label(name[4:-1])), ("rho", first + k)) for k, name in enumerate(told.names)]
    n = round((1 + math.sqrt(1 + 8 * len(pairs))) / 2)

    def entry(i: int, j: int) -> Node:
        return pairs[max(i, j) * (max(i, j) - 1) // 2 + min(i, j)] if i != j else ONE

    whole = Matrix(tuple(tuple(entry(i, j) for j in range(n)) for i in range(n)), STRATA)
    return Line(Symbol("ρ", ("R",), ("all occasions",)), "=", whole, Words(f"of the occasions by {form}, in order"))


def _of(form: str, labels: Sequence[str]) -> Words:
    """Which strata entries are of."""
    shown = ("…" if k is None else labels[k] for k in places(len(labels), STRATA))
    return Words(f"of {form}: {', '.join(shown)}")


def _correlation(parameters: _Parameters, function: CorrelationFunction) -> Node:
    """The correlation of rows i and i′."""
    told, first, _ = parameters.next()
    match function:
        case AR1() | CAR1():
            return Power(Symbol("φ", (), ("rho", first)), _apart(function))
        case CompSymm():
            return Symbol("ρ", ("R",), ("rho", first))
        case Symm():
            parameters.tables.append(_pairs(told, first, function.positions[0]))
            return Symbol("ρ", ("R", Of("v", "i"), Of("v", OTHER)), ("occasions", first))
        case ARMA():
            return Call("r", (_apart(function),))
    scale = Symbol("r", (), ("rho", first))
    u = Quotient(_distance(), scale)
    shape: Node = Call("exp", (Negative(u),))
    if isinstance(function, Gaussian):
        shape = Call("exp", (Negative(squared(u)),))
    elif isinstance(function, Spherical):
        cubic = Sum((ONE, Negative(Product((Literal("1.5"), u))), Product((Literal("0.5"), Power(u, Literal("3"))))))
        shape = Product((cubic, Indicator(_distance(), "<", scale)))
    assert isinstance(function, Exponential | Gaussian | Spherical)
    nugget = Sum((ONE, Negative(Symbol("κ", (), ("rho", first + 1)))))
    return Product((nugget, shape)) if function.nugget else shape


def _process(s: Symbols, function: ARMA, last: int) -> Line:
    """The process whose autocorrelations r are."""

    def term(letter: str, lag: int) -> Symbol:
        kind = "residual at" if letter == "ε" else "innovation"
        return Symbol(letter, (f"t−{lag}" if lag else "t",), (kind,))

    first = last - function.p - function.q
    past = [
        Product((Symbol(letter, (str(k + 1),), ("rho", first + before + k)), term(of, k + 1)))
        for letter, of, n, before in (("φ", "ε", function.p, 0), ("θ", "a", function.q, function.p))
        for k in range(n)
    ]
    right = Sum((*past, term("a", 0)))
    return Line(term("ε", 0), "=", right, Words("has the autocorrelations r; t are times within a group"))


def _distance() -> Symbol:
    return Symbol("d", ("i", OTHER), ("distance",))


def _apart(function: CorrelationFunction) -> Node:
    """How far apart rows i and i′ are."""
    if not function.positions:
        places = [Symbol("t", (row,), ("place",)) for row in ("i", OTHER)]
        return Absolute(Sum((places[0], Negative(places[1]))))
    steps = [Sum((Variable(name, "i"), Negative(Variable(name, OTHER)))) for name in function.positions]
    if len(steps) == 1:
        return Absolute(steps[0])
    return Call("sqrt", (Sum(tuple(squared(step) for step in steps)),))
