"""How large a design would be, counted before any of it is built."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from _ranef.design.coding import fully_coded, n_columns
from _ranef.design.expression_values import MOST_COLUMNS, Value
from _ranef.design.records import RandomDesign
from _ranef.errors import DesignError
from _ranef.formula import Node, ParsedFormula, Terms
from _ranef.structures import STRUCTURES

__all__ = ["Claim", "check_blocks", "check_columns", "check_terms", "count_columns", "too_large"]

#: columns that are never too many
ALLOWED = 1_000

_DOUBLE = 8
# a matrix is held beside its scaled copy and one more while it is worked on
_COPIES = 3
_SHOWN = 80


@dataclass(frozen=True)
class Claim:
    """What one random term asks for: `columns` effects for each of the levels of its grouping factor."""

    text: str
    group: str
    levels: Sequence[str]
    columns: int
    structure: str

    @classmethod
    def of(cls, random: RandomDesign) -> Claim:
        """That of a term that is built."""
        return cls(random.text, random.group, random.levels.tolist(), len(random.columns), random.structure)


def check_terms(parsed: ParsedFormula, n: int) -> None:
    """Refuse more terms than there may be columns: every term has one at least.

    Raises
    ------
    DesignError
        Naming the part of the formula, its terms and the rows.
    """
    parts = [("the fixed part", parsed.fixed), *((term.text, term.effects) for term in parsed.random)]
    for where, terms in parts:
        if len(terms.terms) > _most(n):
            least = f"at least {len(terms.terms)} columns, one for each of its terms"
            raise _too_many(where, least, n, terms.terms[-1].name)


def count_columns(terms: Terms, values: Mapping[Node, Value]) -> list[int]:
    """The number of columns of each term, without the intercept."""
    full = fully_coded(terms, values)
    return [
        prod(n_columns(values[factor], full=factor in in_full) for factor in term.factors)
        for term, in_full in zip(terms.terms, full, strict=True)
    ]


def check_columns(where: str, terms: Terms, values: Mapping[Node, Value], n: int, held: int | None = None) -> int:
    """Count the columns of `terms`, and refuse more than `n` rows can tell apart or memory can hold.

    Some more columns than rows are well: those that others determine are left out, as of empty cells. Of rows that come
    in chunks or stay in an engine, `held` are in memory at once.

    Returns
    -------
    int
        The number of columns, the intercept among them.

    Raises
    ------
    DesignError
        Naming the part of the formula, its largest term, the columns and the rows.
    """
    counts = count_columns(terms, values)
    total = int(terms.intercept) + sum(counts)
    if total > _most(n) or total * (n if held is None else held) * _DOUBLE * _COPIES > _memory():
        largest = max(range(len(counts)), key=counts.__getitem__)
        name = terms.terms[largest].name
        raise _too_many(where, f"{total} columns, {counts[largest]} of them of {name}", n, name)
    return total


def check_blocks(claims: Sequence[Claim], n: int) -> None:
    """Refuse random terms with more covariances than rows, or whose blocks do not fit into memory.

    Raises
    ------
    DesignError
        Naming the term, its effects and the rows.
    """
    for claim in claims:
        p, J = claim.columns, len(claim.levels)
        covariances = STRUCTURES[claim.structure](p).n_theta
        if covariances > max(n, ALLOWED):
            raise DesignError(
                f"{_cut(claim.text)} has {p} effects for each level of {claim.group}, and so {covariances} variances "
                f"and covariances, for {n} rows. Leave effects out of the term, or let the levels of a factor share "
                f"one variance, as in (1 | {claim.group}:factor)."
            )
        if (size := J * p * p * _DOUBLE) > _memory():
            raise DesignError(
                f"{_cut(claim.text)} has {p} effects for each of the {J} levels of {claim.group}: their blocks of {p} "
                f"by {p} need {size / 2**30:.0f} GiB, more than this machine has. Leave effects out of the term."
            )


def too_large(parsed: ParsedFormula, n: int) -> DesignError:
    """The error for a design that did not fit into memory after all."""
    return DesignError(
        f"The memory is not enough for the design of {_cut(parsed.source)!r} with {n} rows. Leave out columns, or give "
        "the data in chunks: a list of frames, or a function that returns an iterator of them."
    )


def _most(n: int) -> int:
    return min(MOST_COLUMNS, max(ALLOWED, 2 * n))


def _memory() -> int:
    """Bytes of memory that the machine has; a guess where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # as on Windows
        return 16 * 2**30


def _too_many(where: str, what: str, n: int, name: str) -> DesignError:
    where = _cut(where)
    return DesignError(
        f"{where[0].upper()}{where[1:]} has {what}, for {n} rows. At most {_most(n)} are built for so many rows. Leave "
        f"out terms such as {_cut(name)}, name the interactions that you want one by one, or let the levels of a "
        "factor be random effects: (1 | factor)."
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
