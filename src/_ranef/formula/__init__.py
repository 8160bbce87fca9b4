"""The formula language: text to response, fixed terms and random terms, without any data."""

from _ranef.formula.assemble import ParsedFormula, parse_formula
from _ranef.formula.parse import STRUCTURES
from _ranef.formula.random import RandomTerm
from _ranef.formula.terms import Term, Terms
from _ranef.formula.tree import Bar, Binary, Call, Name, Node, Number, Span, String, Unary, label, quoted, walk

__all__ = [
    "STRUCTURES",
    "Bar",
    "Binary",
    "Call",
    "Name",
    "Node",
    "Number",
    "ParsedFormula",
    "RandomTerm",
    "Span",
    "String",
    "Term",
    "Terms",
    "Unary",
    "label",
    "parse_formula",
    "quoted",
    "walk",
]
