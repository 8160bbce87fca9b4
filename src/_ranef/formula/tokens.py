"""Formula text to tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from _ranef.errors import FormulaError
from _ranef.formula.tree import Span, continues_name, error_at, starts_name

__all__ = ["MAX_LENGTH", "Token", "tokenize"]

MAX_LENGTH = 20_000

_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OPERATOR = re.compile(r"%in%|%/%|%%|\*\*|==|!=|<=|>=|&&|\|\||[-+*/^:<>!&|~(),=]")
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
_LOOKALIKES = {"−": "-", "–": "-", "—": "-", "×": "*", "÷": "/", "∗": "*", "“": '"', "”": '"', "‘": "'", "’": "'"}


@dataclass(frozen=True)
class Token:
    """One token; `text` is the operator, the number as written, the raw name, or the string with escapes resolved."""

    kind: Literal["name", "number", "string", "operator", "end"]
    text: str
    span: Span


def tokenize(source: str) -> tuple[Token, ...]:
    """Split `source` into tokens, the last of kind ``end``.

    Parameters
    ----------
    source : str
        A formula of at most `MAX_LENGTH` characters.

    Returns
    -------
    tuple of Token
        In order; white space, newlines too, is dropped, and ``**`` is written ``^``.

    Raises
    ------
    FormulaError
        For a character or literal that no formula can hold.

    Examples
    --------
    >>> from _ranef.formula.tokens import tokenize
    >>> [token.text for token in tokenize("bdi.pre ** 2")]
    ['bdi.pre', '^', '2', '']
    """
    if len(source) > MAX_LENGTH:
        message = f"The formula has {len(source)} characters; at most {MAX_LENGTH} are read. It begins:"
        raise FormulaError(message, source[:60], 0, 60)
    tokens: list[Token] = []
    position = 0
    while position < len(source):
        if source[position].isspace():
            position += 1
            continue
        tokens.append(_token_at(source, position))
        position = tokens[-1].span.end
    return (*tokens, Token("end", "", Span(len(source), len(source))))


def _token_at(source: str, start: int) -> Token:
    char = source[start]
    if _NUMBER.match(source, start):
        return _number(source, start)
    if starts_name(char):
        return _name(source, start)
    if char == "`":
        return _backquoted(source, start)
    if char in "\"'":
        return _string(source, start)
    return _operator(source, start)


def _number(source: str, start: int) -> Token:
    found = _NUMBER.match(source, start)
    assert found is not None
    end = found.end()
    tail = _name_end(source, end)
    if tail > end and source[end] != ".":
        message = (
            f"{source[start:tail]!r} is neither a number nor a name. "
            "Put an operator between them, or backquote a column's name that begins with a digit."
        )
        raise error_at(source, Span(start, tail), message)
    return Token("number", found.group(), Span(start, end))


def _name(source: str, start: int) -> Token:
    end = _name_end(source, start)
    name = source[start:end]
    if not name.strip("."):
        message = f"{name!r} does not stand for the other columns here: name the columns that you want, joined by +."
        raise error_at(source, Span(start, end), message)
    return Token("name", name, Span(start, end))


def _name_end(source: str, start: int) -> int:
    end = start
    while end < len(source) and continues_name(source[end]):
        end += 1
    return end


def _backquoted(source: str, start: int) -> Token:
    close = source.find("`", start + 1)
    if close < 0:
        raise error_at(source, Span(start, start + 1), "This backquote is never closed: end the column's name with `.")
    if close == start + 1:
        raise error_at(source, Span(start, close + 1), "Between backquotes a column's name is expected.")
    return Token("name", source[start + 1 : close], Span(start, close + 1))


def _string(source: str, start: int) -> Token:
    quote, position, value = source[start], start + 1, ""
    while position < len(source) and source[position] != quote:
        char = source[position]
        if char == "\\":
            position += 1
            char = _escaped(source, position)
        value += char
        position += 1
    if position >= len(source):
        raise error_at(source, Span(start, start + 1), f"This string is never closed: end it with {quote}.")
    return Token("string", value, Span(start, position + 1))


def _escaped(source: str, position: int) -> str:
    escaped = _ESCAPES.get(source[position : position + 1])
    if escaped is None:
        message = "Unknown escape in a string: after a backslash one of \\ ' \" n t r is expected."
        raise error_at(source, Span(position - 1, min(position + 1, len(source))), message)
    return escaped


def _operator(source: str, start: int) -> Token:
    if source.startswith("::", start):
        message = "'::' is not part of a formula: write the name alone; transforms={'name': function} adds a function."
        raise error_at(source, Span(start, start + 2), message)
    found = _OPERATOR.match(source, start)
    if found is None:
        raise error_at(source, Span(start, start + 1), _strange(source[start]))
    text = "^" if found.group() == "**" else found.group()
    return Token("operator", text, Span(start, found.end()))


def _strange(char: str) -> str:
    if char in _LOOKALIKES:
        return f"The character {char!r} is not the plain {_LOOKALIKES[char]!r}: type {_LOOKALIKES[char]!r} instead."
    if char == "%":
        return "Of the operators written with %, a formula knows %in%, %% and %/%."
    return (
        f"The character {char!r} is not part of a formula. Expected a column, a number, a call, or one of "
        "+ - * / : ^ | ( ). Backquote a column's name that holds other characters: `my column`."
    )
