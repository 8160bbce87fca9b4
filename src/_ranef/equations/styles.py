"""The three ways to write a mixed model down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from _ranef.equations.hierarchical import hierarchical
from _ranef.equations.notation import Line
from _ranef.equations.parts import Parts
from _ranef.spec import TermSpec

__all__ = ["STYLES", "matrix", "scalar"]

#: coefficients that are listed one by one where they are symbols
LISTED = 6


def scalar(parts: Parts) -> list[Line]:
    """One row i, as lme4's users write it: coefficients, then random effects by grouping factor."""
    summands = [parts.product(parts.coefficient(k), x) for k, x in enumerate(parts.fixed)]
    summands += parts.offset()
    summands += [
        parts.product(parts.effect(term, i, of_row=True), z)
        for term, columns in zip(parts.spec.terms, parts.random, strict=True)
        for i, z in enumerate(columns)
    ]
    summands.append(parts.notation.symbol("ε", "i"))
    model = Line(parts.response, "=", tuple(summands))
    return [model, *map(parts.effect_line, parts.spec.terms), parts.residual_line(), *parts.notes()]


def matrix(parts: Parts) -> list[Line]:
    """All rows at once, with dimensions: y = Xβ + Zb + ε, what b and ε are, and the covariance V of y."""
    n, spec = parts.notation, parts.spec
    y, X, beta, Z, b, o, e = (n.symbol(letter) for letter in ("y", "X", "β", "Z", "b", "o", "ε"))
    p, q = spec.n_fixed, sum(_n_effects(parts, t) for t in spec.terms)
    summands = [X + beta] * (p > 0) + [o] * (spec.design.offset is not None) + [Z + b] * (q > 0) + [e]
    sizes = [(X, p)] * (p > 0) + [(Z, q)] * (q > 0)
    where = n.prose(", ").join(f"{M}: {spec.n_obs} {n.cross} {size}" for M, size in sizes)
    lines = [Line(y, "=", tuple(summands), where)]
    if p:
        lines.append(_coefficients(parts))
    if q:
        lines += _random_effects(parts)
    return [*lines, *_covariances_of_rows(parts, q > 0), *parts.notes()]


def _coefficients(parts: Parts) -> Line:
    n, p = parts.notation, parts.spec.n_fixed
    names = parts.spec.design.fixed_names
    shown = range(p) if parts.values is not None or p <= LISTED else (0, 1, p - 1)
    entries = [parts.coefficient(k) for k in shown]
    if len(entries) < p:
        entries.insert(2, n.dots)
    words = n.prose("of ") + n.prose(", ").join(map(n.name, names)) if p <= LISTED else ""
    return Line(n.symbol("β"), "=", (n.transposed(f"({', '.join(entries)})"),), words)


def _random_effects(parts: Parts) -> list[Line]:
    n = parts.notation
    D, L = n.symbol("D"), n.symbol("Λ")
    blocks = [_block(parts, t) for t in parts.spec.terms]
    factored = n.times([parts.residual_variance(), L + n.transposed(L)])
    whole = blocks[0] if len(blocks) == 1 else n.diagonal(blocks)
    lines = [
        Line(n.symbol("b"), "~", (n.normal(n.symbol("0"), D),)),
        Line(D, "=", (f"{factored} = {whole}",)),
    ]
    named = [t for t in parts.spec.terms if len(t.columns) > 1 and parts.written_out(t)]
    return lines + [
        Line(parts.block(t), "=", (parts.covariance(t),), n.prose("of ") + n.prose(", ").join(map(n.name, t.columns)))
        for t in named
    ]


def _block(parts: Parts, term: TermSpec) -> str:
    n, among = parts.notation, parts.among(term)
    if len(term.columns) == 1:
        return n.times([parts.covariance(term), among])
    return n.kronecker(among, parts.block(term))


def _covariances_of_rows(parts: Parts, mixed: bool) -> list[Line]:
    n, spec = parts.notation, parts.spec
    R, W, D, Z, V = (n.symbol(letter) for letter in ("R", "W", "D", "Z", "V"))
    weighted = spec.residual.weighted
    H, C = n.symbol("H"), n.symbol("C")
    outer = [H] if spec.variance is not None else []
    inner = [C] if spec.correlation is not None else []
    factors = [*outer, *inner, *outer, *([n.inverse(W)] if weighted else [])]
    lines = [
        Line(n.symbol("ε"), "~", (n.normal(n.symbol("0"), R),)),
        Line(R, "=", (n.times([parts.residual_variance(), *(factors or [n.identity(spec.n_obs)])]),)),
    ]
    if outer:
        lines.append(Line(H, "=", (n.diagonal([n.symbol("h", "1"), n.dots, n.symbol("h", "n")]),)))
    if inner:
        lines.append(Line(C, "=", (n.prose("correlations of the residuals"),)))
    if weighted:
        lines.append(Line(W, "=", (n.diagonal([n.symbol("w", "1"), n.dots, n.symbol("w", "n")]),)))
    variance = n.call("Var", n.symbol("y"))
    return [*lines, Line(V, "=", (f"{variance} = {f'{Z}{D}{n.transposed(Z)} + {R}' if mixed else R}",))]


def _n_effects(parts: Parts, term: TermSpec) -> int:
    return parts.spec.groupings[term.grouping].n_levels * len(term.columns)


STYLES: Mapping[str, Callable[[Parts], list[Line]]] = {
    "scalar": scalar,
    "matrix": matrix,
    "hierarchical": hierarchical,
}
