"""Bars to random terms, with lme4's meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from _ranef.formula.parse import STRUCTURES
from _ranef.formula.terms import Terms, expand
from _ranef.formula.tree import Bar, Binary, Call, Name, Node, Span, error_at, label

__all__ = ["RandomTerm", "random_terms"]


@dataclass(frozen=True)
class RandomTerm:
    """Effects that vary over the levels of one grouping factor.

    Attributes
    ----------
    effects : Terms
        What varies.
    group : tuple of Node
        The factors whose interaction is the grouping factor.
    group_name : str
        lme4's name of the grouping factor, as ``b:a`` for ``a/b``.
    structure : str
        A word of :data:`_ranef.formula.STRUCTURES`, as ``us``.
    span : Span
        The place of the bar with its parentheses and wrapper.
    text : str
        The source text there.
    from_double : bool
        Whether this is one part of a ``||`` bar.

    Examples
    --------
    >>> from _ranef.formula import parse_formula
    >>> [(r.group_name, r.text) for r in parse_formula("y ~ (1 | a/b)", functions=()).random]
    [('b:a', '(1 | a/b)'), ('a', '(1 | a/b)')]
    """

    effects: Terms
    group: tuple[Node, ...]
    group_name: str
    structure: str
    span: Span = field(compare=False)
    text: str = field(compare=False)
    from_double: bool = False


_MAX_PAIRS = 64

# a grouping factor: the factors it crosses, and its name
_Group: TypeAlias = tuple[tuple[Node, ...], str]


def random_terms(source: str, bar: Bar | Call) -> tuple[tuple[RandomTerm, ...], tuple[str, ...]]:
    """Read one bar, with its wrapper if it has one, into random terms.

    Parameters
    ----------
    source : str
        The whole formula.
    bar : Bar or Call
        The bar, or the call of a covariance structure round it.

    Returns
    -------
    terms : tuple of RandomTerm
        One for each grouping factor, ``||`` bars split further into one for each effect.
    notes : tuple of str
        Sentences for the user about the effects.

    Raises
    ------
    FormulaError
        For a bar without effects, or a group that is no factor.

    Examples
    --------
    >>> from _ranef.formula.parse import parse_sides
    >>> from _ranef.formula.random import random_terms
    >>> source = "y ~ (x || g)"
    >>> terms, notes = random_terms(source, parse_sides(source, ())[1])
    >>> [term.effects.intercept for term in terms]
    [True, False]
    """
    span, structure = bar.span, "us"
    if isinstance(bar, Call):
        structure, inner = STRUCTURES[bar.function], bar.args[0]
        assert isinstance(inner, Bar)
        if inner.double:
            message = f"{bar.function}() and '||' both state the covariances: keep '||' alone, or write one bar '|'."
            raise error_at(source, span, message)
        bar = inner
    side = expand(source, bar.effects, in_bar=True)
    effects = side.terms
    if not effects.intercept and not effects.terms:
        message = "This random term has no effects: expected an intercept, (1 | group), or a slope, (x | group)."
        raise error_at(source, span, message)
    text = source[span.start : span.end]
    terms = tuple(
        RandomTerm(part, factors, name, structure, span, text, bar.double)
        for factors, name in _groups(source, bar.group)
        for part in (_split(effects) if bar.double else (effects,))
    )
    return terms, side.notes


def _split(effects: Terms) -> list[Terms]:
    intercept = [Terms(True, ())] if effects.intercept else []
    return intercept + [Terms(False, (term,)) for term in effects.terms]


def _groups(source: str, node: Node) -> list[_Group]:
    if isinstance(node, Call) and node.function == "offset":
        raise error_at(source, node.span, "offset() is no grouping factor: name a column.")
    if (isinstance(node, Call) and any(isinstance(arg, Bar) for arg in node.args)) or isinstance(node, Bar):
        raise error_at(source, node.span, "A random term cannot stand inside another: join them by '+'.")
    if isinstance(node, Name | Call):
        return [((node,), label(node))]
    if isinstance(node, Binary) and node.op in (":", "%in%", "*", "/"):
        left, right = _groups(source, node.left), _groups(source, node.right)
        if len(left) * len(right) > _MAX_PAIRS:
            raise error_at(
                source, node.span, "This makes too many grouping factors: write one by one those that you want."
            )
        return _distinct(_combine(node.op, left, right))
    if isinstance(node, Binary) and node.op == "+":
        added = _added(source, node)
        apart = " + ".join(f"(... | {group})" for group in added)
        message = f"Grouping factors cannot be added: write {apart}, or {':'.join(added)}."
        raise error_at(source, node.span, message)
    message = "This is no grouping factor: expected a column, or columns joined by ':' or '/'."
    raise error_at(source, node.span, message)


def _added(source: str, node: Node) -> list[str]:
    added: list[Node] = []
    while isinstance(node, Binary) and node.op == "+":
        added.append(node.right)
        node = node.left
    return [source[group.span.start : group.span.end] for group in (node, *reversed(added))]


def _combine(op: str, left: Sequence[_Group], right: Sequence[_Group]) -> list[_Group]:
    if op == "/":
        # one of the left groups crosses all the others' factors
        factors, name = max(left, key=lambda group: len(group[0]))
        name = f"({name})" if len(factors) > 1 else name
        return [*_crossed(right, [(factors, name)]), *left]
    crossed = _crossed(left, right)
    return sorted([*left, *right, *crossed], key=lambda group: len(group[0])) if op == "*" else crossed


def _crossed(left: Sequence[_Group], right: Sequence[_Group]) -> list[_Group]:
    return [_cross(one, other) for one in left for other in right]


def _cross(one: _Group, other: _Group) -> _Group:
    factors = tuple(dict.fromkeys((*one[0], *other[0])))
    if len(factors) < len(one[0]) + len(other[0]):
        return factors, ":".join(map(label, factors))
    return factors, f"{one[1]}:{other[1]}"


def _distinct(groups: Sequence[_Group]) -> list[_Group]:
    distinct: dict[frozenset[Node], _Group] = {}
    for group in groups:
        distinct.setdefault(frozenset(group[0]), group)
    return list(distinct.values())
