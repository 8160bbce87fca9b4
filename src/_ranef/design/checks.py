"""What a model cannot be built from, in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import cast

import numpy as np

from _ranef.design.expression_values import Array, Codes, Factor, Numeric, Value, drop_unused, rows_of
from _ranef.design.records import Design, RandomDesign
from _ranef.design.size import Claim, count_columns
from _ranef.design.table import Table
from _ranef.design.text_like_numbers import Look, bare_label, look_of
from _ranef.errors import (
    DataWarning,
    DesignError,
    FitError,
    FormulaError,
    RanefWarning,
    same_looks,
    told_apart,
    warn,
)
from _ranef.formula import Node, ParsedFormula, RandomTerm, quoted
from _ranef.structures import STRUCTURES
from _ranef.support.argument_remedies import one_of

__all__ = [
    "check_levels",
    "check_na_action",
    "check_names",
    "check_positive",
    "check_repeated",
    "check_response_varies",
    "check_sigma",
    "check_sizes",
    "check_structures",
    "check_weights",
    "constant_response",
    "told_text",
    "warn_of_codes",
    "warn_of_dropped",
    "warn_of_lookalike",
    "warn_of_marks",
    "warn_of_spread",
    "warn_of_totals",
    "warn_of_twins",
]

#: what tables of variance components call the residuals
RESIDUAL = "Residual"
_WIDEST = 1e6
_LARGEST = 1e140
_SHOWN = 8
#: a level that ends in a number
_NUMBERED = re.compile(r"(\D*?)(-?\d+(?:\.\d+)?)")
# levels that may well be categories though they look like plain numbers, or like dates and the like
_FEW_NUMBERS, _FEW_DATES = 10, 5
# levels of a text predictor up to which most may be met once
_MANY_WORDS = 20
#: numbers that often stand for a missing one
_NINES = re.compile(r"-?9{2,}|-9")
# levels of a factor up to which twins and totals among them are looked for
_LOOKED_AT = 20_000
#: text that stands for a missing value, or for what a spreadsheet could not compute
_HOLES = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "#null!", "#div/0!", "#value!"})
_HOLES |= {"#ref!", "#name?", "#num!", "#wert!", "#nv", ".", "?", "missing"}
#: what lines that sum up others are called
_TOTALS = re.compile(
    r"(?:sub|grand )?totals?|sum|mean|average|all|overall|summe|(?:ins)?gesamt|mittelwert|somme|moyenne|suma|media"
    r"|totale|totaal|итого"
)


def check_structures(parsed: ParsedFormula, values: Mapping[Node, Value]) -> None:
    """Refuse covariance structures on effects that they say nothing of, and warn of levels in a doubtful order.

    `values` are those of all expressions, levels without rows left out.

    Raises
    ------
    FormulaError
        For fewer columns than a structure joins, and for effects that are not the levels of one factor where it goes
        by their order.
    """
    for term in parsed.random:
        own = STRUCTURES[term.structure]
        columns = int(term.effects.intercept) + sum(count_columns(term.effects, values))
        group = quoted(term.group_name)
        if own.levels and (what := _no_levels(term, values)):
            message = (
                f"{own.word}() goes by the order of the levels of one factor, and {what}: write "
                f"{own.word}(0 + f | {group}) with a factor f, or us() or cs() for any effects."
            )
            raise FormulaError(message, parsed.source, term.span.start, term.span.end)
        if columns < own.least:
            message = (
                f"{own.word}() is about {own.least} effects of a level or more, and this term has {columns}: write "
                f"{own.word}(0 + f | {group}) with a factor f, or ({'1' if term.effects.intercept else '0 + x'} | "
                f"{group}) for one effect."
            )
            raise FormulaError(message, parsed.source, term.span.start, term.span.end)
        if own.levels and isinstance(factor := values[term.effects.terms[0].factors[0]], Factor):
            _warn_of_order(term, factor.levels)


def _no_levels(term: RandomTerm, values: Mapping[Node, Value]) -> str:
    """Why the columns of a term are not all levels of one factor; empty if they are."""
    effects = term.effects
    if effects.intercept:
        return f"the effects of {term.text} hold an intercept, which a leading 0 + takes away"
    if len(effects.terms) > 1 or effects.terms[0].degree > 1:
        return f"{term.text} has the effects {', '.join(t.name for t in effects.terms)}"
    if isinstance(values[effects.terms[0].factors[0]], Numeric):
        name = effects.terms[0].name
        return f"{name} is numeric, of which factor({name}) makes one level for each value"
    return ""


def _warn_of_order(term: RandomTerm, levels: Sequence[str]) -> None:
    """Warn where levels that end in numbers stand in another order, or unequally far apart."""
    found = [_NUMBERED.fullmatch(level) for level in levels]
    if not all(found) or len({match[1] for match in found if match}) > 1:
        return
    steps = np.diff([float(match[2]) for match in found if match])
    if len(steps) and not np.allclose(steps, steps[0]):
        shown = ", ".join(levels[:_SHOWN]) + (", …" if len(levels) > _SHOWN else "")
        mixed = (np.diff(np.sign(steps)) != 0).any()
        why = "are not in the order of their numbers" if mixed else "count as equally far apart"
        warn(
            f"{term.text} goes by the order of the levels, which is {shown}: these {why}. Make the column a "
            "categorical of pandas with its categories in order, or numbers of it that factor() puts in order.",
            DataWarning,
        )


def check_sigma(sigma: object) -> None:
    """Refuse a known residual standard deviation that is none.

    Raises
    ------
    DesignError
        If `sigma` is neither None nor a positive number.
    """
    if sigma is None:
        return
    number = isinstance(sigma, Real) and not isinstance(sigma, bool | np.bool_)
    if number and float(cast(float, sigma)) > 0:
        _check_size("sigma", np.array([float(cast(float, sigma))]))
    if not number or not (0 < float(cast(float, sigma)) < np.inf):
        raise DesignError(
            f"sigma={sigma!r} must be a positive number: the known residual standard deviation. Standard deviations "
            "that differ from row to row are given as weights=1 / sd**2 with sigma=1."
        )


def check_sizes(design: Design) -> None:
    """Refuse numbers whose squares are beyond what floating-point numbers can hold.

    Raises
    ------
    DesignError
        Naming the column, its size, and what to divide it by.
    """
    weights = np.ones(1) if design.weights is None else design.weights
    factors = np.sqrt(_size(weights[:, None]))
    _check_size("The largest weight", np.asarray(factors) ** 2)
    y = design.y if design.offset is None else design.y - design.offset
    _check_size(f"The response {design.response}", _size(y[:, None]), factors)
    for names, values in ((design.fixed_names, design.X), *((r.columns, r.values) for r in design.random)):
        sizes = _size(values)
        for column, name in enumerate(names):
            _check_size(name, sizes[column : column + 1], factors)


def _size(values: Array) -> Array:
    """The largest size of each column (n, p), without a copy of it."""
    return np.asarray(np.maximum(values.max(axis=0, initial=0.0), -values.min(axis=0, initial=0.0)))


def _check_size(name: str, size: Array, factors: Array | float = 1.0) -> None:
    largest = float(size[0])
    weighted = float((size * factors)[0])
    if largest and not 1 / _LARGEST < weighted < _LARGEST:
        raise DesignError(
            f"{name} is of size {largest:.3g}, which is beyond what can be squared and summed (1e±140"
            f"{', weights counted' if weighted != largest else ''}). Change its unit: divide it by {largest:.0e}."
        )


def check_na_action(na_action: str) -> None:
    """Refuse anything but the two ways to treat rows with missing values.

    Raises
    ------
    DesignError
        If `na_action` is neither ``omit`` nor ``error``.
    """
    one_of("na_action", na_action, ("omit", "error"))


def told_text(name: str, factor: Factor) -> str | None:
    """What to say of a column of text that looks like numbers, dates or times; None if it does not."""
    look = look_of(factor.levels, rows_of(factor))
    return None if look is None else _told(look, name, "text")


def _told(look: Look, name: str, kind: str) -> str:
    if look.bounds:
        return (
            f"{kind}, though most of its values are numbers: {look.odd}, but a limit below or above which a value was "
            "(it is censored). To make such values missing leaves out the low or the high ones. Either "
            f"{look.advice(name)}, a makeshift that is good for few rows; or a model with censored responses, which "
            "ranef does not have: cens() in brms"
        )
    if look.strays:
        return (
            f"{kind}, though most of its values are {look.words}: {look.odd}. If that stands for a missing value, read "
            f"it as one: {look.advice(name)}"
        )
    looks = f"{kind} that looks like" if kind == "text" else f"{kind} that look like"
    return f"{looks} {look.words}, such as {look.example!r}. Make numbers of it: {look.advice(name)}"


def warn_of_lookalike(name: str, rows: Mapping[str, int], *, declared: bool, n: int) -> None:
    """Warn where a predictor is a factor of many levels only because its numbers or dates are text.

    Few levels may be meant as categories, and of a column that is `declared` to hold categories many may; not so
    many, for `n` rows, that they are hardly ever met twice. `rows` tells how many were seen of each level.
    """
    levels = tuple(rows)
    look = look_of(levels, rows)
    if look is None:
        if not declared and len(levels) > max(_MANY_WORDS, n // 2):
            warn(
                f"{name} is text with {len(levels)} different entries in {n} rows, and a factor of as many levels. Is "
                f"it a group, as in (1 | {quoted(name)}), or numbers written in a way that was not read?",
                DataWarning,
            )
        return
    allowed = max(_FEW_NUMBERS, n // 2) if declared else _FEW_NUMBERS if look.plain else _FEW_DATES
    if not look.strays and len(levels) <= allowed:
        return
    kind = "categories" if declared else "text"
    warn(
        f"{name} is a factor of {len(levels)} levels, for it is {_told(look, name, kind)}. factor({quoted(name)}) "
        "in the formula says that categories are meant.",
        DataWarning,
    )


def warn_of_codes(name: str, values: Array) -> None:
    """Warn of a number of nines, as 999 or -99, that lies farther from all others than these do from one another."""
    present = values[~np.isnan(values)]
    if len(present) < _FEW_NUMBERS:
        return
    for code in {float(present.max()), float(present.min())}:
        written = f"{code:.17g}"
        if not _NINES.fullmatch(written):
            continue
        others = present[present != code]
        count = len(present) - len(others)
        if len(others) > count and np.abs(others - code).min() > np.ptp(others) > 0:
            warn(
                f"{name} is {written} in {count} row{'s' if count > 1 else ''}, and from {others.min():g} to "
                f"{others.max():g} in all others. If that stands for a missing value, make it one: "
                f"data[{name!r}].replace({written}, np.nan), or na_values=['{written}'] in pd.read_csv.",
                DataWarning,
            )


def warn_of_totals(name: str, rows: Mapping[str, int]) -> None:
    """Warn of a level of one row, beside levels of more, that is called a total: a line below a table, perhaps."""
    if len(rows) > _LOOKED_AT:
        return
    totals = [level for level, count in rows.items() if count == 1 and any(map(_TOTALS.fullmatch, bare_label(level)))]
    if totals and len(totals) < len(rows) and max(rows.values()) > 1:
        warn(
            f"{' and '.join(map(repr, totals))} of {name} has a single row and the name of a line that sums up others. "
            "If it is one, leave that row out of the data.",
            DataWarning,
        )


def warn_of_marks(name: str, factor: Factor) -> None:
    """Warn of levels that are a mark of a missing value, or of a formula that failed: rows with a hole, not a level."""
    marks = [level for level in factor.levels if level.strip().casefold() in _HOLES]
    marks = [level for level in drop_unused(factor).levels if level in marks] if marks else []
    if marks and look_of(factor.levels) is None:  # which tells them itself
        shown = ", ".join(map(repr, marks))
        warn(
            f"{name} has {'a level' if len(marks) == 1 else 'levels'} {shown}, which often stand"
            f"{'s' * (len(marks) == 1)} for a missing value, and here is a level like others. If a value is missing "
            f"there, make it so: .replace({marks!r}, None) in pandas, or na_values= where it is read.",
            DataWarning,
        )


def warn_of_twins(name: str, levels: Sequence[str]) -> None:
    """Warn of levels that differ in case, blanks, zeros or the coding of accents only: one level, perhaps, twice."""
    if len(levels) > _LOOKED_AT:
        return
    met: dict[tuple[str, ...], str] = {}
    twins = [(met[bare], level) for level in levels if met.setdefault(bare := bare_label(level), level) != level]
    if twins:
        shown = ", ".join(" and ".join(told_apart(a, b)) for a, b in twins[:3]) + (", …" if len(twins) > 3 else "")
        accents = any(same_looks(a, b) for a, b in twins)
        warn(
            f"Levels of {name} differ in case, blanks or zeros only{' or in how accents are coded' * accents}: "
            f"{shown}. They are levels apart; if they are one, write them alike.",
            DataWarning,
        )


def check_response_varies(y: Array, name: str) -> None:
    """Refuse a constant response.

    Raises
    ------
    FitError
        If all entries are equal.
    """
    if y.min() == y.max():
        raise constant_response(y[0], len(y), name)


def constant_response(value: float, n: int, name: str) -> FitError:
    """The error for a response that has one value in all `n` rows."""
    return FitError(
        f"The residual variance is zero: the response {name} is {value:g} in all {n} rows used. Check that it "
        "is the right column and that missing values have not left one row or one group only."
    )


def check_weights(weights: Array, table: Table, rows: Codes) -> None:
    """Refuse weights that are not positive, and warn where they differ widely.

    Raises
    ------
    DesignError
        For a weight of 0 or less.
    """
    check_positive(weights, table, rows)
    warn_of_spread(float(weights.min()), float(weights.max()))


def check_positive(weights: Array, table: Table, rows: Codes) -> None:
    """Refuse weights that are not positive.

    Raises
    ------
    DesignError
        For a weight of 0 or less.
    """
    wrong = weights <= 0
    if wrong.any():
        at = int(wrong.argmax())
        raise DesignError(
            f"The weight is {weights[at]:g} in {table.row(int(rows[at]))}; weights must be positive. Leave out rows "
            "that should not count."
        )


def warn_of_spread(low: float, high: float) -> None:
    """Warn where weights differ widely."""
    if high / low > _WIDEST:
        warn(
            f"The largest weight is {high / low:.3g} times the smallest: the fit rests on few rows. Check the weights' "
            "units.",
            RanefWarning,
        )


def warn_of_dropped(dropped: Sequence[str]) -> None:
    """Warn of columns of X that are left out, as lme4 prints it."""
    if dropped:
        what = "column / coefficient" if len(dropped) == 1 else "columns / coefficients"
        shown = ", ".join(dropped[:_SHOWN]) + (", ..." if len(dropped) > _SHOWN else "")
        warn(
            f"fixed-effect model matrix is rank deficient so dropping {len(dropped)} {what}: {shown}. Earlier columns "
            "determine what is dropped: a copy or a sum of columns, or a cell of an interaction without rows.",
            DataWarning,
        )


def check_levels(claims: Sequence[Claim], n: int, *, sigma_fixed: bool, missing: int = 0) -> None:
    """Refuse random terms that the data cannot tell from the residual, as lme4 does.

    Raises
    ------
    DesignError
        Unless sigma is given: for a grouping factor with one level, and for as many levels, or as many random
        effects of one term, as observations, unless few parameters tell how they go together; with the number of rows
        that had something `missing`.
    """
    if sigma_fixed:
        return
    gaps = f" {missing} rows were left out, for something is missing in them." if missing else ""
    for term in claims:
        if len(term.levels) < 2:
            raise DesignError(
                f"The grouping factor {term.group} of {term.text} has one level, {term.levels[0]!r}: a variance "
                f"between levels needs at least two. Leave the term out, or use rows with more levels.{gaps}"
            )
    problems = list(dict.fromkeys(term.group for term in claims if len(term.levels) >= n))
    if problems:
        raise DesignError(
            "number of levels of each grouping factor must be < number of observations (problems: "
            f"{', '.join(problems)}). Each row has a level of its own, so this variance cannot be told from the "
            "residual variance: leave the term out, group by a coarser factor, or give sigma if the residual "
            f"standard deviation is known.{gaps}"
        )
    for term in (claim for claim in claims if not STRUCTURES[claim.structure].few):
        effects = len(term.levels) * term.columns
        if effects >= n:
            raise DesignError(
                f"number of observations (={n}) <= number of random effects (={effects}) for term {term.text}; the "
                "random-effects parameters and the residual variance are not identifiable. Each level of "
                f"{term.group} has too few rows for {term.columns} effects: leave effects out of the term, or "
                f"give sigma if the residual standard deviation is known.{gaps}"
            )


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse two effects of one name, as of a column that is itself named Intercept.

    Raises
    ------
    DesignError
        Naming the effect, and `where` it stands.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DesignError(
            f"Two effects of {where} have the name {repeated[0]!r}, because a column of the data has the name that an "
            "intercept or a level gets. Rename that column."
        )


def check_repeated(terms: Sequence[RandomTerm], random: Sequence[RandomDesign]) -> None:
    """Refuse two terms that give the same column for the same groups, and a name of a group that tables have.

    Raises
    ------
    DesignError
        Naming the terms.
    """
    seen: dict[tuple[object, str], str] = {}
    for term, design in zip(terms, random, strict=True):
        if design.group == RESIDUAL:
            raise DesignError(
                f"A grouping factor cannot be called {RESIDUAL!r}: tables have that name for the residuals. Rename the "
                "column."
            )
        for column in design.columns:
            key = (frozenset(term.group), column)
            if key in seen:
                raise DesignError(
                    f"{seen[key]} and {design.text} both hold the effect {column} of {design.group}: their variances "
                    f"cannot be told apart. Leave it out of one of them{_without(column)}."
                )
            seen[key] = design.text


def _without(column: str) -> str:
    return ", by a leading 0 +" if column == "Intercept" else ""
