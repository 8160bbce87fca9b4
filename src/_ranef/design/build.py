"""A formula and data to a design."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from _ranef.design.checks import (
    check_levels,
    check_na_action,
    check_names,
    check_repeated,
    check_response_varies,
    check_sizes,
    check_structures,
    check_weights,
    told_text,
    warn_of_codes,
    warn_of_lookalike,
    warn_of_marks,
    warn_of_totals,
    warn_of_twins,
)
from _ranef.design.coding import Coded, code_terms, fully_coded
from _ranef.design.evaluate import Scope, columns_in, evaluate
from _ranef.design.expression_values import (
    Array,
    Codes,
    Factor,
    Mask,
    Numeric,
    Value,
    blank,
    drop_unused,
    missing,
    rows_of,
)
from _ranef.design.far_origins import notes_on_origins
from _ranef.design.grouping import Grouping, make_grouping
from _ranef.design.rank import aliasing, independent_columns
from _ranef.design.records import Design, Encoding, RandomDesign, RandomEncoding
from _ranef.design.rowwise import not_row_by_row
from _ranef.design.size import Claim, check_blocks, check_columns, check_terms, too_large
from _ranef.design.table import read_table
from _ranef.design.transforms import with_user_transforms
from _ranef.design.usable_rows import Extra, complete_rows, on_rows, read_extra
from _ranef.errors import DesignError
from _ranef.formula import Name, Node, ParsedFormula, Terms, label
from _ranef.support.arrays import Floats

__all__ = ["build_design", "check_response", "coding_notes", "covariates", "model_nodes", "model_predictors"]

_S = TypeVar("_S", bound=np.generic)

#: what makes a response and weights of a value: see :func:`build_design`
ResponseReader = Callable[[Value, str, Floats | None, Callable[[int], str]], tuple[Floats, Floats | None]]

#: rows of a response that are looked at first
_SOME = 1000


@dataclass(frozen=True, eq=False)
class _Inputs:
    """All that a design is made of; `values` on the n rows used."""

    parsed: ParsedFormula
    scope: Scope
    values: Mapping[Node, Value]
    extras: Mapping[str, Extra]
    rows: Codes
    transforms: Mapping[str, Callable[..., Any]]
    related: Collection[str] = ()
    reader: ResponseReader | None = None


def build_design(
    parsed: ParsedFormula,
    data: Any,
    *,
    weights: str | Sequence[float] | Any = None,
    offset: str | Sequence[float] | Any = None,
    sigma: float | None = None,
    transforms: Mapping[str, Callable[..., Any]] | None = None,
    na_action: str = "omit",
    related: Collection[str] = (),
    reader: ResponseReader | None = None,
) -> Design:
    """Make the design of a mixed model.

    Parameters
    ----------
    parsed : ParsedFormula
        The formula, parsed with ``functions=registered(transforms)``.
    data : Any
        A data frame of pandas or polars, a pyarrow table, or a dict of columns. It is never changed.
    weights : str or array, optional
        Prior weights, positive: a column, or one entry for each row of the data.
    offset : str or array, optional
        A known part of the mean, added to that of ``offset()`` in the formula: a column, or one entry for each row.
    sigma : float, optional
        The residual standard deviation if it is known; here it only lifts the checks that it makes needless.
    transforms : mapping of str to callable, optional
        Functions of arrays that the formula may call besides the built-in ones.
    na_action : {"omit", "error"}
        What to do with rows in which a value is missing that the model uses.
    related : collection of str
        Grouping factors with a known covariance among levels, of which there may be as many as rows.
    reader : callable, optional
        Makes the response and prior weights of what the left side is worth, where it is not to be one column of numbers
        that varies: of the value, its name, the weights, and what names a row in a message.

    Returns
    -------
    Design
        Response, fixed-effects matrix, random terms, weights and offset on the rows used.

    Raises
    ------
    FormulaError
        For a name that is no column, or a structure that is not available.
    DesignError
        For data that do not fit the formula.
    FitError
        For a constant response.

    Examples
    --------
    >>> from _ranef.design import build_design, registered
    >>> from _ranef.formula import parse_formula
    >>> data = {"y": [3.0, 4.0, 6.0, 5.0], "x": [0, 1, 0, 1], "g": ["a", "a", "b", "b"]}
    >>> design = build_design(parse_formula("y ~ x + (1 | g)", functions=registered()), data)
    >>> design.fixed_names, design.random[0].columns, design.random[0].codes.tolist()
    (('Intercept', 'x'), ('Intercept',), [0, 0, 1, 1])
    """
    check_na_action(na_action)
    table = read_table(data)
    check_terms(parsed, table.n)
    scope = Scope(table, parsed.source, with_user_transforms(transforms), {})
    besides = {node: replace(scope, source=label(node)) for node in parsed.others}  # from texts of their own
    values = {node: evaluate(node, besides.get(node, scope)) for node in model_nodes(parsed)}
    if reader is None:
        check_response(values[parsed.response], label(parsed.response))
    given = {"weights": weights, "offset": offset}
    extras = {what: read_extra(what, it, data, table) for what, it in given.items() if it is not None}
    for node in (parsed.response, *model_predictors(parsed)):
        value = values[node]
        if isinstance(node, Name) and isinstance(value, Numeric) and value.values.ndim == 1:
            warn_of_codes(node.name, value.values)
        elif isinstance(node, Name) and isinstance(value, Factor) and node != parsed.response:
            declared = table.declares_categories(node.name)
            seen = rows_of(drop_unused(value))
            warn_of_lookalike(node.name, seen, declared=declared, n=table.n)
            if node.name not in (term.group_name for term in parsed.random):
                warn_of_twins(node.name, tuple(seen))
                warn_of_totals(node.name, seen)
    for node, value in values.items():
        if isinstance(value, Factor):
            warn_of_marks(label(node), value)
    rows = complete_rows(_gaps(values, extras, scope), table, na_action)
    try:
        used = on_rows(values, rows, table.n)
        inputs = _Inputs(parsed, scope, used, extras, rows, dict(transforms or {}), related, reader)
        return _assemble(inputs, sigma)
    except MemoryError:
        raise too_large(parsed, len(rows)) from None


def _assemble(inputs: _Inputs, sigma: float | None) -> Design:
    parsed, table, rows = inputs.parsed, inputs.scope.table, inputs.rows
    y, weights = _response(inputs, sigma)
    check_columns("the fixed part", parsed.fixed, inputs.values, len(rows))
    groupings = _groupings(inputs, sigma)
    coded = code_terms(parsed.fixed, inputs.values, len(rows))
    check_names(coded.names, "the fixed part")
    kept = independent_columns(coded.matrix, intercept=parsed.fixed.intercept)
    left_out = np.setdiff1d(np.arange(len(coded.names)), kept)
    X = coded.matrix if not len(left_out) else np.ascontiguousarray(coded.matrix[:, kept])
    aliases = aliasing(X, coded.matrix[:, left_out]) if len(left_out) else None
    known = {parsed.fixed: coded}
    random, encodings = _random(inputs, groupings, known)
    design = Design(
        formula=parsed.source,
        response=label(parsed.response),
        y=y,
        X=_frozen(X),
        fixed_names=tuple(coded.names[k] for k in kept),
        dropped=tuple(coded.names[k] for k in left_out),
        fixed_terms=tuple(term.name for term in parsed.fixed.terms),
        assign=_frozen(coded.assign[kept]),
        random=random,
        weights=weights,
        offset=_offset(inputs),
        index=table.index[rows] if len(rows) < table.n else table.index,
        rows=_frozen(rows),
        n_dropped=table.n - len(rows),
        notes=(
            *parsed.notes,
            *coding_notes(parsed, inputs.values),
            *_other_names(inputs, known),
            *(_zero_or_one(label(parsed.response), y) if inputs.reader is None else ()),
            *notes_on_origins(random, covariates(parsed, inputs.values)),
        ),
        encoding=replace(_encoding(inputs, encodings), kept=kept, aliases=aliases),
        others=tuple(inputs.values[node] for node in parsed.others),
    )
    check_sizes(design)
    return design


def _zero_or_one(name: str, y: Array) -> tuple[str, ...]:
    if not np.array_equal(np.unique(y[:_SOME]), [0.0, 1.0]) or not np.isin(y, (0.0, 1.0)).all():
        return ()
    return (f"The response {name} is 0 or 1: this is a linear model of its probability, with normal residuals.",)


def model_predictors(parsed: ParsedFormula) -> Iterable[Node]:
    """The expressions of fixed and random effects, each once."""
    effects = (parsed.fixed, *(term.effects for term in parsed.random))
    return dict.fromkeys(factor for terms in effects for term in terms.terms for factor in term.factors)


def covariates(parsed: ParsedFormula, values: Mapping[Node, Value]) -> set[str]:
    """Names of the columns of predictors that are one number a row."""
    predictors = ((node, values[node]) for node in model_predictors(parsed))
    return {label(node) for node, value in predictors if isinstance(value, Numeric) and value.values.ndim == 1}


def model_nodes(parsed: ParsedFormula) -> Iterable[Node]:
    """All expressions of a model, each once: response, predictors, offsets, groups, and what it reads besides."""
    groups = (node for term in parsed.random for node in term.group)
    return dict.fromkeys((parsed.response, *model_predictors(parsed), *parsed.offsets, *groups, *parsed.others))


def _columns(values: Iterable[Node], scope: Scope) -> dict[str, Value]:
    return {name: column for node in values for name, column in columns_in(node, scope).items()}


def _gaps(values: Mapping[Node, Value], extras: Mapping[str, Extra], scope: Scope) -> Iterator[tuple[str, Mask]]:
    for what, extra in extras.items():
        yield what, np.isnan(extra.values)
    for name, column in _columns(values, scope).items():
        yield name, missing(column)
    for node, value in values.items():
        yield label(node), missing(value)


def check_response(value: Value, name: str) -> None:
    """Refuse a response that is not one column of numbers."""
    if isinstance(value, Factor) and (told := told_text(name, value)) is not None:
        raise DesignError(f"The response {name} is {told}.")
    if not isinstance(value, Numeric):
        kind = "categories" if isinstance(value, Factor) else "true and false"
        number = f"{name} == 'one of them'" if isinstance(value, Factor) else name
        raise DesignError(
            f"The response {name} holds {kind}, and this model is Gaussian: its response must be numeric. Of two "
            f"categories Model(..., family='binomial') is the model; a linear model of 0 and 1 takes "
            f"as.numeric({number})."
        )
    if value.values.ndim == 2:
        raise DesignError(
            f"The response {name} has {value.values.shape[1]} columns; expected is one. Fit one model for each column; "
            "cbind(successes, failures) goes with family='binomial'."
        )


def _response(inputs: _Inputs, sigma: float | None) -> tuple[Array, Array | None]:
    """The response and prior weights."""
    value, name, weights = inputs.values[inputs.parsed.response], label(inputs.parsed.response), _weights(inputs)
    if inputs.reader is not None:
        read, own = inputs.reader(value, name, weights, lambda row: inputs.scope.table.row(int(inputs.rows[row])))
        return _frozen(np.asarray(read)), None if own is None else _frozen(np.asarray(own))
    y = _column(value)
    if sigma is None:
        check_response_varies(y, name)
    return _frozen(y.copy()), weights


def _weights(inputs: _Inputs) -> Array | None:
    if "weights" not in inputs.extras:
        return None
    weights = inputs.extras["weights"].values[inputs.rows]
    check_weights(weights, inputs.scope.table, inputs.rows)
    return _frozen(weights)


def _offset(inputs: _Inputs) -> Array | None:
    for node in inputs.parsed.offsets:
        value = inputs.values[node]
        if isinstance(value, Factor) or value.values.ndim == 2:
            raise DesignError(f"offset({label(node)}) must be one column of numbers. Convert it, or leave it out.")
    parts = [_column(inputs.values[node]) for node in inputs.parsed.offsets]
    if "offset" in inputs.extras:
        parts.append(inputs.extras["offset"].values[inputs.rows])
    return _frozen(np.sum(parts, axis=0)) if parts else None


def _groupings(inputs: _Inputs, sigma: float | None) -> list[tuple[Grouping, Codes]]:
    """The grouping factors of the random terms, whose sizes are checked before anything is built."""
    n, made, claims = len(inputs.rows), [], []
    check_structures(inputs.parsed, inputs.values)
    names: dict[str, list[str]] = {}
    for term in inputs.parsed.random:
        made.append(make_grouping(term.group, [inputs.values[node] for node in term.group]))
        names[term.group_name] = made[-1][0].levels.tolist()
        columns = check_columns(term.text, term.effects, inputs.values, n)
        claims.append(Claim(term.text, term.group_name, names[term.group_name], columns, term.structure))
    alone = [claim for claim in claims if claim.group not in inputs.related]
    check_levels(alone, n, sigma_fixed=sigma is not None, missing=inputs.scope.table.n - n)
    check_blocks(claims, n)
    for name, levels in names.items():
        warn_of_twins(name, levels)
    rows = {term.group_name: np.bincount(own[1]) for term, own in zip(inputs.parsed.random, made, strict=True)}
    for name, counts in rows.items():
        warn_of_totals(name, dict(zip(names[name], counts.tolist(), strict=True)))
    return made


def _random(
    inputs: _Inputs, groupings: Iterable[tuple[Grouping, Codes]], known: dict[Terms, Coded]
) -> tuple[tuple[RandomDesign, ...], tuple[RandomEncoding, ...]]:
    """The random terms; equal effects of several terms (`known`) are coded once, and are one array."""
    designs, encodings = [], []
    for term, (grouping, codes) in zip(inputs.parsed.random, groupings, strict=True):
        if term.effects not in known:
            known[term.effects] = code_terms(term.effects, inputs.values, len(inputs.rows))
        coded = known[term.effects]
        check_names(coded.names, term.text)
        designs.append(
            RandomDesign(
                group=term.group_name,
                levels=_frozen(grouping.levels),
                codes=_frozen(codes.copy()),
                columns=coded.names,
                values=_frozen(coded.matrix),
                structure=term.structure,
                text=term.text,
            )
        )
        encodings.append(RandomEncoding(term.group_name, term.effects, term.group, grouping))
    check_repeated(inputs.parsed.random, designs)
    return tuple(designs), tuple(encodings)


def _other_names(inputs: _Inputs, coded: Mapping[Terms, Coded]) -> Iterator[str]:
    """Notes on numeric columns of bars that are columns of the fixed part, but are not called so: I(x) for x."""
    fixed = coded[inputs.parsed.fixed]
    for term in inputs.parsed.random:
        numeric = _numeric_columns(term.effects, inputs.values, coded[term.effects])
        strangers = {name: column for name, column in numeric.items() if name not in fixed.names}
        known = _numeric_columns(inputs.parsed.fixed, inputs.values, fixed) if strangers else {}
        for name, column in strangers.items():
            for other in (other for other, values in known.items() if np.array_equal(values, column)):
                yield (
                    f"{name} in {term.text} is the column {other} of the fixed part by another name: coef() adds "
                    "fixed and random effects of one name, and shows two columns for this one. Write it alike."
                )


def _numeric_columns(terms: Terms, values: Mapping[Node, Value], coded: Coded) -> dict[str, Array]:
    numeric = [all(isinstance(values[factor], Numeric) for factor in term.factors) for term in terms.terms]
    return {
        name: coded.matrix[:, place]
        for place, (name, term) in enumerate(zip(coded.names, coded.assign.tolist(), strict=True))
        if term > 0 and numeric[term - 1]
    }


def _encoding(inputs: _Inputs, random: tuple[RandomEncoding, ...]) -> Encoding:
    """What new data need, with every column of X."""
    encoding = Encoding(
        source=inputs.parsed.source,
        fixed=inputs.parsed.fixed,
        offsets=inputs.parsed.offsets,
        offset_column=inputs.extras["offset"].column if "offset" in inputs.extras else None,
        offset_array="offset" in inputs.extras and inputs.extras["offset"].column is None,
        random=random,
        kept=np.empty(0, dtype=np.intp),
        aliases=None,
        kinds={name: blank(column) for name, column in _columns(inputs.values, inputs.scope).items()},
        templates={node: blank(value) for node, value in inputs.values.items()},
        states=inputs.scope.states,
        transforms=inputs.transforms,
        weights_column=inputs.extras["weights"].column if "weights" in inputs.extras else None,
        others=inputs.parsed.others,
    )
    predicting = [node for node in encoding.templates if node != inputs.parsed.response]
    bound = not_row_by_row(predicting, encoding, inputs.scope.table)
    return replace(encoding, bound=tuple(map(label, bound))) if bound else encoding


def coding_notes(parsed: ParsedFormula, values: Mapping[Node, Value]) -> list[str]:
    """What the coding of factors in bars does not do, or does differently from the fixed part."""
    return [*_double_bar_notes(parsed, values), *_differently_coded(parsed, values)]


def _differently_coded(parsed: ParsedFormula, values: Mapping[Node, Value]) -> list[str]:
    """Where a bar has a column for every level of a factor and the fixed part contrasts, or the other way round."""
    coded = fully_coded(parsed.fixed, values)
    in_fixed = {frozenset(t.factors): full for t, full in zip(parsed.fixed.terms, coded, strict=True)}
    notes = []
    for term in parsed.random:
        coded = fully_coded(term.effects, values)
        other = [
            effect.name
            for effect, full in zip(term.effects.terms, coded, strict=True)
            if in_fixed.get(frozenset(effect.factors), full) != full
        ]
        if other:
            notes.append(
                f"{', '.join(other)} in {term.text} is coded otherwise than in the fixed part (one by a column for "
                "every level, the other by contrasts): coef() adds fixed and random effects of one name, as lme4 "
                "does, and these columns have no name in common."
            )
    return list(dict.fromkeys(notes))


def _double_bar_notes(parsed: ParsedFormula, values: Mapping[Node, Value]) -> list[str]:
    """What ``||`` does not do to the columns of a factor, once for every bar."""
    blocks = [
        f"In {term.text} the columns of a factor stay one correlated block, as in lme4: '||' separates terms only. "
        f"diag(... | {term.group_name}) makes all columns independent."
        for term in parsed.random
        if term.from_double and any(not isinstance(values[f], Numeric) for t in term.effects.terms for f in t.factors)
    ]
    return list(dict.fromkeys(blocks))


def _column(value: Value) -> Array:
    assert not isinstance(value, Factor)
    return value.values


def _frozen(array: NDArray[_S]) -> NDArray[_S]:
    array.flags.writeable = False
    return array
