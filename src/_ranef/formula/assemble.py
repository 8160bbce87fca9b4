"""The whole way from formula text to its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from _ranef.errors import FormulaError
from _ranef.formula.parse import parse_expression, parse_sides
from _ranef.formula.random import RandomTerm, random_terms
from _ranef.formula.terms import Term, Terms, expand
from _ranef.formula.tree import Binary, Call, Name, Node, error_at, walk

__all__ = ["ParsedFormula", "parse_formula"]

#: functions that make categories of a column
CODED = {"C", "as.factor", "dummy", "factor", "ordered", "relevel"}


@dataclass(frozen=True)
class ParsedFormula:
    """A formula taken apart; nothing in it knows any data.

    Attributes
    ----------
    source : str
        The text as given.
    response : Node
        The left side.
    fixed : Terms
        The fixed effects.
    offsets : tuple of Node
        The expression inside each ``offset()``.
    random : tuple of RandomTerm
        The random terms, in the order of the bars.
    notes : tuple of str
        Sentences for the user about what is legal but may not be meant.
    others : tuple of Node
        Expressions that the model reads besides, each from a text of its own.
    """

    source: str
    response: Node
    fixed: Terms
    offsets: tuple[Node, ...]
    random: tuple[RandomTerm, ...]
    notes: tuple[str, ...]
    others: tuple[Node, ...] = ()

    @property
    def label_columns(self) -> frozenset[str]:
        """Columns that only tell rows apart: grouping factors, and what stands nowhere but in ``factor()`` and alike.

        Examples
        --------
        >>> from _ranef.formula import parse_formula
        >>> sorted(parse_formula("y ~ x + factor(site) + (x | g) + (1 | x:h)", functions={"factor"}).label_columns)
        ['g', 'h', 'site']
        """
        bars = [effect for term in self.random for effect in term.effects.terms]
        effects = [factor for term in (*self.fixed.terms, *bars) for factor in term.factors]
        coded = [node for node in effects if isinstance(node, Call) and node.function in CODED]
        values = [node for node in (self.response, *effects, *self.offsets, *self.others) if node not in coded]
        groups = [node for term in self.random for node in term.group]
        return frozenset(_names((*groups, *coded)) - _names(values))


def parse_formula(formula: str, *, functions: Collection[str], others: Sequence[str] = ()) -> ParsedFormula:
    """Read an lme4-style formula.

    Parameters
    ----------
    formula : str
        For example ``"Reaction ~ Days + (Days | Subject)"``, at most 20 000 characters.
    functions : collection of str
        Names that may be called, ``I`` among them if arithmetic is wanted.
    others : sequence of str
        Expressions that the model reads besides.

    Returns
    -------
    ParsedFormula
        Response, fixed terms, offsets, random terms and notes.

    Raises
    ------
    FormulaError
        For text that is not such a formula, with the place underlined.

    Examples
    --------
    >>> from _ranef.formula import parse_formula
    >>> parsed = parse_formula("Reaction ~ Days + (Days | Subject)", functions={"I", "log"})
    >>> [term.name for term in parsed.fixed.terms], parsed.random[0].group_name
    (['Days'], 'Subject')
    """
    if not isinstance(formula, str):
        raise FormulaError(f"A formula is text, for example 'y ~ x + (1 | g)'; got {type(formula).__name__}.")
    response, right = parse_sides(formula, functions)
    _check_response(formula, response)
    side = expand(formula, right)
    read = [random_terms(formula, bar) for bar in side.bars]
    random = _named_alike(side.terms, [term for terms, _ in read for term in terms])
    notes = (*side.notes, *(note for _, notes in read for note in notes), *_repeated(random))
    besides = tuple(parse_expression(text, functions) for text in others)
    return ParsedFormula(formula, response, side.terms, side.offsets, random, notes, besides)


def _names(nodes: Iterable[Node]) -> set[str]:
    return {part.name for node in nodes for part in walk(node) if isinstance(part, Name)}


def _check_response(source: str, response: Node) -> None:
    if isinstance(response, Binary) and response.op in ("|", "||"):
        raise error_at(source, response.span, "The response holds no bar: one column or expression is expected.")
    if not any(isinstance(node, Name) for node in walk(response)):
        raise error_at(source, response.span, "The response names no column: expected for example y or log(y).")


def _named_alike(fixed: Terms, random: Sequence[RandomTerm]) -> tuple[RandomTerm, ...]:
    """Give one name to one interaction: ``b:a`` in a bar is the ``a:b`` of the fixed part, or of an earlier bar.

    Names only: columns stay in the order of their own bar, and so does θ. One grouping factor has one name too.
    """
    crossed = {frozenset(effect.factors) for term in random for effect in term.effects.terms if effect.degree > 1}
    orders = {} if not crossed else {frozenset(term.factors): term.factors for term in fixed.terms}
    groups: dict[frozenset[Node], tuple[tuple[Node, ...], str]] = {}
    named = []
    for term in random:
        effects = tuple(_in_order(effect, orders) for effect in term.effects.terms)
        group, name = groups.setdefault(frozenset(term.group), (term.group, term.group_name))
        named.append(replace(term, effects=replace(term.effects, terms=effects), group=group, group_name=name))
    return tuple(named)


def _in_order(term: Term, orders: dict[frozenset[Node], tuple[Node, ...]]) -> Term:
    order = orders.setdefault(frozenset(term.factors), term.factors)
    return term if order == term.factors else replace(term, named=order)


def _repeated(random: Sequence[RandomTerm]) -> list[str]:
    repeated = [term for term, count in Counter(random).items() if count > 1]
    return [f"{term.text} repeats a random term: their variances cannot be told apart." for term in repeated]
