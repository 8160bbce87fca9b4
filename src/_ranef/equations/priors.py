"""The Bayesian model: rows, random effects, and the priors of all that they stand on, with their numbers."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np

from _ranef.equations.generalised_rows import response_symbols
from _ranef.equations.scalar import distribution_of_rows
from _ranef.equations.symbols import Symbols
from _ranef.equations.tree import (
    Label,
    Law,
    Line,
    Literal,
    Node,
    Number,
    Product,
    Sum,
    Symbol,
    Words,
    said,
    squared,
    symbols_in,
)
from _ranef.spec import Gamma, Priors, TermSpec
from _ranef.support.arrays import Floats

__all__ = ["with_priors"]


def with_priors(s: Symbols, priors: Priors) -> list[Line]:
    """Distributions of rows and random effects, then the priors."""
    rows = [_heavy(s, priors, line) for line in distribution_of_rows(s)]
    if priors.flat:
        return [*rows, *said("flat on β, on θ (the relative Cholesky factor) and on log σ")]
    out = [*rows, *_coefficients(s, priors)]
    for term in s.spec.terms:
        out += _of_term(s, priors, term)
    own = [_of_degrees(_degrees(s, group), df) for group, df in priors.effects.items()]
    if s.linked:
        letters = {part.key[1]: part for part in response_symbols(s)}
        return [*out, *own, *(_of_degrees(letters[name], prior) for name, prior in priors.dispersions.items())]
    if s.spec.sigma is None:
        own.append(Line(s.sigma, "~", _law(priors.sigma)))
    else:
        own.append(Line(s.sigma, "=", Number(s.spec.sigma), Words("known")))
    if s.spec.family.parameters:
        own.append(_of_degrees(Symbol("ν", (), ("nu",)), priors.df))
    words = [line for words in s.spec.residual_prior_words(priors.rho) for line in said(words)]
    return [*out, *own, *words]


def _symbols(line: Line) -> list[Symbol]:
    return [p for part in line.parts for p in symbols_in(part) if isinstance(p, Symbol)]


def _heavy(s: Symbols, priors: Priors, line: Line) -> Line:
    """The distribution of random effects, which is Student t where priors say so: by a scale of each level."""
    effects = [p for part in line.parts[:1] for p in symbols_in(part) if isinstance(p, Symbol)]
    key = effects[0].key if effects else ()
    match key:
        case ("ranef", int(g), int(_)):
            group = s.spec.groupings[g].name
        case ("all effects", int(t)):
            group = s.spec.terms[t].group
        case _:
            return line
    if group not in priors.effects or not isinstance(line.right, Law):
        return line
    return replace(line, right=Law("t", (_degrees(s, group), *line.right.arguments)))


def _degrees(s: Symbols, group: str) -> Symbol:
    number = [g.name for g in s.spec.groupings].index(group)
    return Symbol("ν", (Label(group),), ("nu of", number))


def _of_degrees(symbol: Symbol, df: float | Gamma) -> Line:
    """Degrees of freedom, known or with a prior."""
    return Line(symbol, "~", _law(df)) if isinstance(df, Gamma) else Line(symbol, "=", _short(df), Words("known"))


def _coefficients(s: Symbols, priors: Priors) -> list[Line]:
    """Priors of β, or of the combinations of them that have independent ones."""
    names = s.spec.design.fixed_names
    C, laws = priors.coordinates(names)
    lines = []
    for k, (row, law) in enumerate(zip(C, laws, strict=True)):
        words = None
        if k == 0 and names[0] == "Intercept" and np.count_nonzero(row) > 1:
            words = Words("mean response at the means of the other columns")
        scaled = str(priors.r2d2) if priors.r2d2 is not None and names[k] != "Intercept" else ""
        lines.append(Line(_combination(s, row), "~", Words(scaled) if scaled else _law(law), words))
    return lines


def _combination(s: Symbols, row: Floats) -> Node:
    terms = [
        s.coefficient(int(k)) if row[k] == 1.0 else Product((Number(float(row[k])), s.coefficient(int(k))))
        for k in np.flatnonzero(row)
    ]
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _of_term(s: Symbols, priors: Priors, term: TermSpec) -> list[Line]:
    """Priors of the standard deviations and correlations of a term, in its coordinates."""
    own = priors.term(term)
    lines = []
    for i, law in zip(term.structure.own_sds, priors.sds(term), strict=True):
        plain = own.names[i] == term.columns[i] and not own.where[i]
        left: Node = s.sd(term, i) if plain else Words(f"sd({own.names[i]} | {term.group})")
        lines.append(Line(left, "~", _law(law), Words(own.where[i].strip()) if own.where[i] else None))
    for name, lkj in priors.corr.items():
        if name == f"cor({', '.join(term.columns)} | {term.group})":
            lines.append(Line(Words(f"correlations of {', '.join(own.names)}"), "~", _law(lkj)))
    for shape, of_shape in zip(term.structure.shapes, priors.shapes(term), strict=True):
        few = [p for p in term.structure.pairs if term.structure.correlation(*p) == (0, 1)]
        known = shape.name == "cor" and few
        symbol: Node = s.correlation(term, few[0][1], few[0][0])[0] if known else Words(f"{shape.name} of {term.text}")
        lines.append(Line(symbol, "~", _law(of_shape)))
    return lines


def _law(prior: object) -> Node:
    """A prior as a distribution; those that are no family of numbers in words."""
    name = type(prior).__name__
    if name in ("Flat", "Custom", "R2D2"):
        return Words(str(prior) if name != "Flat" else "flat")
    numbers = [_short(float(v)) for v in astuple(prior)]  # type: ignore[call-overload]
    if name == "Normal":
        return Law("N", (numbers[0], squared(numbers[1])))
    return Law(name, tuple(numbers))


def _short(value: float) -> Node:
    return Literal(f"{value:.0f}") if value == round(value) and abs(value) < 1e6 else Number(value)
