"""Rows of a generalised response: its distribution, and the link of its mean to the linear predictor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from _ranef.equations.covariates import counted, response
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Call,
    Dots,
    Law,
    Line,
    Listed,
    Literal,
    Negative,
    Node,
    Phrase,
    Power,
    Product,
    Quotient,
    Related,
    Sum,
    Symbol,
    Words,
    squared,
)
from _ranef.spec import Generalised

__all__ = ["linked", "linked_law", "linked_lines", "linked_mean", "predicted", "response_symbols", "row_mean", "trials"]

#: classes that are named, and steps between thresholds that are written out
SHOWN = 6


def predicted(s: Symbols) -> tuple[Node, tuple[Node, ...]]:
    """What the linear predictor is of, and the residual beside it where there is one."""
    if s.linked:
        return linked_mean(s), ()
    return s.response, (s.epsilon,)


def linked_mean(s: Symbols) -> Node:
    """The link of the mean of row i."""
    return linked(s, row_mean(s))


def linked(s: Symbols, means: Node) -> Node:
    """The link of means; of classes these are linear predictors themselves."""
    assert isinstance(s.spec.family, Generalised)
    link = s.spec.family.link
    if link == "identity" or s.spec.family.classes:
        return means
    if link in ("inverse", "1/mu^2"):
        return Quotient(Literal("1"), means if link == "inverse" else squared(means))
    return Call(link, (means,))


def linked_lines(s: Symbols) -> list[Line]:
    """What the response of row i is round its mean, with its variance where its name does not tell it."""
    family, law = s.spec.family, linked_law(s)
    assert isinstance(family, Generalised)
    words = Phrase((Words(f"for {s.spec.n_obs} rows "), s.row, Words(_counted_often(s))))
    if law is None:
        return _classes(s, words)
    left = response(s.spec)
    if law.name == "Binomial" and not counted(s.spec):
        left = Product((trials(), left))
    lines, variance = [Line(left, "~", law, words)], _VARIANCES.get(family.word)
    if variance is None:
        return lines
    return [*lines, Line(Call("Var", (left,)), "=", variance(*law.arguments), Words("given the random effects"))]


def linked_law(s: Symbols) -> Law | None:
    """The distribution of row i; none of classes, which have a line for each."""
    family, mean = s.spec.family, row_mean(s)
    assert isinstance(family, Generalised)
    if family.classes:
        return None
    if family.word != "binomial":
        return Law(family.law, (mean, *(_weighed(s, own) for own in response_symbols(s))))
    if s.spec.design.weights is None:
        return Law("Bernoulli", (mean,))
    return Law("Binomial", (trials(), mean))


def response_symbols(s: Symbols) -> tuple[Symbol, ...]:
    """Parameters of the response besides its mean."""
    family = s.spec.family
    assert isinstance(family, Generalised)
    letters = {name: family.symbols.get(name, "φ") for name in family.dispersions}
    return tuple(Symbol(x[0], (x[1:],) if x[1:] else (), ("dispersion", name)) for name, x in letters.items())


def _weighed(s: Symbols, own: Symbol) -> Node:
    """A parameter of the response as prior weights of rows divide it, in the families where they do."""
    if s.spec.design.weights is None or _counted_often(s):
        return own
    return {"dispersion": Quotient(own, s.weight), "scale": Quotient(own, Call("sqrt", (s.weight,)))}.get(
        str(own.key[1]), own
    )


def _counted_often(s: Symbols) -> str:
    """Words on prior weights by which log densities are multiplied."""
    divided = ("binomial", "gamma", "inverse gaussian", "gaussian", "t")
    some = s.spec.design.weights is not None and s.spec.family.word not in divided
    return ", whose log densities count as often as their weights say" if some else ""


def _classes(s: Symbols, words: Node) -> list[Line]:
    """Cumulative probabilities of ordered classes, and the thresholds by their steps."""
    family, k = s.spec.family, Symbol("k", (), ("class",))
    assert isinstance(family, Generalised)
    event = Related(response(s.spec), "≤", k)
    threshold = Symbol("τ", ("k",), ("threshold",))
    steps, last = response_symbols(s), len(family.classes) - 1
    some = family.classes if len(family.classes) <= SHOWN else (*family.classes[:3], "…", family.classes[-1])
    named = Phrase((words, Words(" and classes "), k, Words(f" from 1 to {last} of {last + 1}: {', '.join(some)}")))
    each = tuple(Symbol("τ", (str(a + 1),), ("threshold", a)) for a in range(last))
    made = (Literal("0"), *(_stepped(steps[: a + 1]) for a in range(last - 1)))
    return [
        Line(Call(family.link, (Call("P", (event,)),)), "=", Sum((threshold, Negative(row_mean(s)))), named),
        Line(Listed(each), "=", Listed(made), Words("less the intercept they are fit.thresholds")),
    ]


def _stepped(steps: Sequence[Symbol]) -> Node:
    if len(steps) > SHOWN:
        return Sum((steps[0], Dots(), steps[-1]))
    return steps[0] if len(steps) == 1 else Sum(tuple(steps))


def trials() -> Symbol:
    """Trials of row i."""
    return Symbol("n", ("i",), ("trials",))


def row_mean(s: Symbols, row: int | None = None) -> Symbol:
    """The mean of row i, or of one row by its number; of classes its linear predictor."""
    family = s.spec.family
    classes = isinstance(family, Generalised) and family.classes
    letter = "η" if classes else "p" if family.word == "binomial" else "μ"
    key = "predictor" if classes else "mean"
    return Symbol(letter, ("i",), (key,)) if row is None else Symbol(letter, (str(row + 1),), (key, row))


def _times(*factors: Node) -> Node:
    return Product(factors)


#: variances of rows by their mean and other parameters, where these are not what the law is called by
_VARIANCES: Mapping[str, Callable[..., Node]] = {
    "negative binomial": lambda mean, size: Sum((mean, Quotient(squared(mean), size))),
    "negative binomial 1": lambda mean, phi: _times(mean, Sum((Literal("1"), phi))),
    "gamma": lambda mean, phi: _times(phi, squared(mean)),
    "inverse gaussian": lambda mean, phi: _times(phi, Power(mean, Literal("3"))),
    "beta": lambda mean, phi: Quotient(_times(mean, Sum((Literal("1"), Negative(mean)))), Sum((Literal("1"), phi))),
    "gaussian": lambda mean, sd: squared(sd),
}
