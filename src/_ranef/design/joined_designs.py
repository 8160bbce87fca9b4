"""One design for rows that were read apart: columns alike, levels of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from _ranef.design.expression_values import Codes, Factor, Numeric, Value
from _ranef.design.grouping import Grouping, grouping_of_cells
from _ranef.design.records import Design, Encoding
from _ranef.errors import DesignError
from _ranef.formula import Node, label

__all__ = ["check_alike", "united"]

_HINT = "Give like=, sums or a model of rows that have all levels, to every call of ranef.sums()."


def united(designs: Sequence[Design]) -> tuple[Design, list[dict[str, Codes]]]:
    """A design of the rows of all `designs`, and for each of them, by grouping factor, where its levels stand in it.

    Raises
    ------
    DesignError
        If their columns are not the same.
    """
    first = designs[0]
    for other in designs[1:]:
        check_alike(first, other)
    encoding = first.encoding
    groups = [node for term in encoding.random for node in term.group if node not in _predictors(encoding)]
    templates = {
        node: _joint(value, [d.encoding.templates[node] for d in designs]) if node in groups else value
        for node, value in encoding.templates.items()
    }
    kinds = {name: _joint(value, [d.encoding.kinds[name] for d in designs]) for name, value in encoding.kinds.items()}
    states = {call: _states(call, designs) for call in encoding.states}
    random, encodings = [], []
    places: list[dict[str, Codes]] = [{} for _ in designs]
    for k, term in enumerate(encoding.random):
        grouping, where = _groupings(term.group, [d.encoding.random[k].grouping for d in designs], templates)
        random.append(replace(first.random[k], levels=grouping.levels))
        encodings.append(replace(term, grouping=grouping))
        for own, place in zip(places, where, strict=True):
            own[term.name] = place
    assert first.stream is not None
    whole = replace(
        first,
        random=tuple(random),
        n_dropped=sum(d.n_dropped for d in designs),
        encoding=replace(encoding, random=tuple(encodings), templates=templates, kinds=kinds, states=states),
        stream=replace(first.stream, n_obs=sum(d.n_obs for d in designs)),
    )
    return whole, places


def check_alike(first: Design, other: Design) -> None:
    """Refuse designs whose columns are not the same."""
    for what, of in _SAME.items():
        if (own := of(first)) != (theirs := of(other)):
            raise DesignError(f"Sums can be merged where {what} are the same; they are {own!r} and {theirs!r}.")
    for node in _predictors(first.encoding):
        own, theirs = first.encoding.templates[node], other.encoding.templates[node]
        if isinstance(own, Factor) and isinstance(theirs, Factor) and own.levels != theirs.levels:
            raise DesignError(
                f"{label(node)} has the levels {', '.join(own.levels)} in some rows and {', '.join(theirs.levels)} in "
                f"others, which are other columns. {_HINT}"
            )
    if first.fixed_names != other.fixed_names:
        raise DesignError(f"Coefficients are {first.fixed_names} and {other.fixed_names}. {_HINT}")


_SAME: Mapping[str, Callable[[Design], Any]] = {
    "formulas": lambda design: design.formula,
    "columns of weights": lambda design: design.encoding.weights_column,
    "columns of offsets": lambda design: design.encoding.offset_column,
}


def _predictors(encoding: Encoding) -> set[Node]:
    terms = [*encoding.fixed.terms, *(term for random in encoding.random for term in random.effects.terms)]
    return {node for term in terms for node in term.factors}


def _states(call: Node, designs: Sequence[Design]) -> dict[str, Any]:
    """What a call has learnt, which must be the same but for levels."""
    found = [design.encoding.states[call] for design in designs]
    if all("levels" in state for state in found):
        return {"levels": _in_order([tuple(state["levels"]) for state in found], numbers=_numeric(found))}
    if any(state != found[0] for state in found[1:]):
        raise DesignError(f"{label(call)} has learnt other numbers from some rows than from others. {_HINT}")
    return dict(found[0])


def _numeric(states: Iterable[Mapping[str, Any]]) -> bool:
    try:
        return all(np.isfinite(float(level)) for state in states for level in state["levels"])
    except ValueError:
        return False


def _joint(value: Value, all_values: Sequence[Value]) -> Value:
    """A factor with the levels of all."""
    factors = [other for other in all_values if isinstance(other, Factor)]
    if not isinstance(value, Factor) or len(factors) < len(all_values):
        return value
    return replace(value, levels=_in_order([factor.levels for factor in factors], numbers=value.numbers))


def _in_order(levels: Sequence[tuple[str, ...]], *, numbers: bool) -> tuple[str, ...]:
    """Numbers ascending; text that is sorted everywhere sorted; else as met."""
    met = dict.fromkeys(level for own in levels for level in own)
    if numbers:
        return tuple(sorted(met, key=float))
    return tuple(sorted(met)) if all(list(own) == sorted(own) for own in levels) else tuple(met)


def _groupings(
    group: Sequence[Node], found: Sequence[Grouping], templates: Mapping[Node, Value]
) -> tuple[Grouping, list[Codes]]:
    """The grouping of all levels, and where those of each stand in it."""
    parts = tuple(
        _in_order([grouping.parts[k] for grouping in found], numbers=_by_number(templates[node]))
        for k, node in enumerate(group)
    )
    where = [{level: code for code, level in enumerate(levels)} for levels in parts]
    numbers = []
    for grouping in found:
        cells, total = grouping.cells, np.zeros(len(grouping.cells), dtype=np.intp)
        size = 1
        for own, known, levels in zip(reversed(grouping.parts), reversed(where), reversed(parts), strict=True):
            cells, codes = np.divmod(cells, len(own))
            total = total + size * np.array([known[level] for level in own], dtype=np.intp)[codes]
            size *= len(levels)
        numbers.append(total)
    cells = np.unique(np.concatenate(numbers))
    if len(parts) == 1:
        whole = Grouping(parts, cells, np.array(parts[0], dtype=object))
    else:
        whole = grouping_of_cells(parts, cells, group)
    return whole, [np.searchsorted(cells, own) for own in numbers]


def _by_number(template: Value) -> bool:
    return isinstance(template, Numeric) or (isinstance(template, Factor) and template.numbers)
