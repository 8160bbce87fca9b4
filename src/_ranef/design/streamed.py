"""A design whose rows are read in chunks, from what a first reading of them found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from _ranef.design.build import coding_notes, covariates, model_predictors
from _ranef.design.cellsums import CellSums
from _ranef.design.checks import (
    check_levels,
    check_na_action,
    check_names,
    check_repeated,
    check_sizes,
    check_structures,
    warn_of_lookalike,
)
from _ranef.design.chunks import Chunks, NotHeld
from _ranef.design.coding import code_terms
from _ranef.design.evaluate import Scope, evaluate
from _ranef.design.expression_values import MOST_COLUMNS, Factor, Value, as_factor, blank, kind_of, rows_of
from _ranef.design.far_origins import notes_on_origins
from _ranef.design.first_reading import SAMPLE, Found, Plan, of_one_factor, scan
from _ranef.design.first_reading_by_engine import grouped
from _ranef.design.grouping import Grouping, grouping_of_cells
from _ranef.design.parts_of_rows import sample_rows
from _ranef.design.records import Design, Encoding, RandomDesign, RandomEncoding, Stream
from _ranef.design.rowwise import not_row_by_row
from _ranef.design.size import Claim, check_blocks, check_columns, check_terms
from _ranef.design.stateful import learnt
from _ranef.design.table import Table
from _ranef.design.transforms import with_user_transforms
from _ranef.errors import DesignError
from _ranef.formula import Name, Node, ParsedFormula, label, walk

__all__ = ["check_whole", "scan_chunks"]


def scan_chunks(
    parsed: ParsedFormula,
    chunks: Chunks,
    *,
    weights: Any = None,
    offset: Any = None,
    sigma: float | None = None,
    transforms: Mapping[str, Callable[..., Any]] | None = None,
    na_action: str = "omit",
    like: Design | None = None,
    part: bool = False,
) -> Design:
    """Make the design of a mixed model from chunks, without their rows and with every fixed-effects column.

    Parameters
    ----------
    parsed, sigma, transforms, na_action
        As for :func:`~_ranef.design.build_design`; `transforms` must work row by row.
    chunks : Chunks
        The data; read once here.
    weights, offset : str, optional
        Names of columns.
    like : Design, optional
        Whose columns the fixed effects and effects in bars are to have: its levels, and what its calls have learnt.
    part : bool
        Whether more rows will come, so that too few are no fault: :func:`check_whole` looks at all of them.

    Returns
    -------
    Design
        With a `stream`; which columns of X are aliased is not known yet.

    Raises
    ------
    FormulaError, DesignError, FitError
        As :func:`~_ranef.design.build_design`; DesignError for what needs all rows at once.
    """
    check_na_action(na_action)
    check_terms(parsed, MOST_COLUMNS)
    plan = Plan.of(parsed, {"weights": weights, "offset": offset}, with_user_transforms(transforms), na_action)
    asked = None if chunks.engine is None else grouped(plan, chunks.engine)
    found, cells = asked or (scan(plan, chunks), None)
    found.check(plan, 1.0 if part else sigma)
    assembly = _Assembly(plan, found, dict(transforms or {}), cells, like)
    design = assembly.design(chunks)
    if not part:
        check_whole(design, sigma)
    _check_row_by_row(design)
    sample = sample_rows(design, SAMPLE)
    check_sizes(sample)
    notes = notes_on_origins(sample.random, covariates(parsed, design.encoding.templates))
    return replace(design, notes=(*design.notes, *notes))


def check_whole(design: Design, sigma: float | None) -> None:
    """Refuse fewer rows than effects of a term."""
    claims = [Claim.of(term) for term in design.random]
    check_levels(claims, design.n_obs, sigma_fixed=sigma is not None)
    check_blocks(claims, design.n_obs)


def _check_row_by_row(design: Design) -> None:
    """Refuse a user's function that gives some rows other values when it sees fewer rows."""
    assert design.stream is not None
    encoding = design.encoding
    calls = not_row_by_row(encoding.templates, encoding, next(piece for _, piece in design.stream.sample if piece.n))
    if calls:
        raise DesignError(
            f"{label(calls[0])} gives a row another value when it sees fewer rows, and the data come in chunks. "
            "Use a function that works row by row, or add its result to the data."
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Assembly:
    """From what was found to a design."""

    plan: Plan
    found: Found
    transforms: Mapping[str, Callable[..., Any]]
    cells: CellSums | None
    like: Design | None

    def design(self, chunks: Chunks) -> Design:
        plan, parsed, found = self.plan, self.plan.parsed, self.found
        states, kinds, templates = self._learnt()
        self._warn_of_lookalikes(templates)
        check_structures(parsed, templates)
        check_columns("the fixed part", parsed.fixed, templates, found.complete, min(found.complete, SAMPLE))
        coded = code_terms(parsed.fixed, templates, 0)
        check_names(coded.names, "the fixed part")
        random, encodings = self._random(templates)
        check_repeated(parsed.random, random)
        encoding = Encoding(
            source=parsed.source,
            fixed=parsed.fixed,
            offsets=parsed.offsets,
            offset_column=plan.extras.get("offset"),
            offset_array=False,
            random=encodings,
            kept=np.arange(len(coded.names)),
            aliases=None,
            kinds=kinds,
            templates=templates,
            states=states,
            transforms=self.transforms,
            weights_column=plan.extras.get("weights"),
            others=parsed.others,
        )
        has_offset = bool(parsed.offsets) or "offset" in plan.extras
        others, counts = self._strata()
        held: Any = NotHeld
        return Design(
            formula=parsed.source,
            response=label(parsed.response),
            y=held("the response"),
            X=held("the predictors"),
            fixed_names=coded.names,
            dropped=(),
            fixed_terms=tuple(term.name for term in parsed.fixed.terms),
            assign=coded.assign,
            random=random,
            weights=held("the weight") if "weights" in plan.extras else None,
            offset=held("the offset") if has_offset else None,
            index=pd.RangeIndex(0),
            rows=np.empty(0, dtype=np.intp),
            n_dropped=found.rows - found.complete,
            notes=(*parsed.notes, *coding_notes(parsed, templates)),
            encoding=encoding,
            stream=self._stream(chunks, counts),
            others=others,
        )

    def _learnt(self) -> tuple[dict[Node, dict[str, Any]], dict[str, Value], dict[Node, Value]]:
        """What calls have learnt, the kinds of columns, and templates of what terms are made of."""
        plan, found = self.plan, self.found
        states: dict[Node, dict[str, Any]] = {c: {"levels": found.call_levels[c].labels()} for c in found.call_levels}
        if self.like is not None:
            states = dict(self.like.encoding.states)
        else:
            states |= {call: learnt(call, moments) for call, moments in found.moments.items()}
        kinds = {name: self._column(name) for name in found.columns}
        templates = {node: self._template(node, kinds, states) for node in plan.nodes}
        if self.like is not None:
            kinds, templates = _alike(self.like.encoding, plan, kinds, templates)
        return states, kinds, templates

    def _warn_of_lookalikes(self, templates: Mapping[Node, Value]) -> None:
        """Warn of factors that look like numbers."""
        found = self.found
        for node in model_predictors(self.plan.parsed):
            value = templates[node]
            if isinstance(node, Name) and isinstance(value, Factor):
                declared = found.sample[0][1].declares_categories(node.name)
                rows = _rows_seen(node.name, value, found)
                warn_of_lookalike(node.name, rows, declared=declared, n=found.complete)

    def _stream(self, chunks: Chunks, counts: tuple[int, ...]) -> Stream:
        """What reads the rows again."""
        plan, found = self.plan, self.found
        return Stream(
            chunks,
            tuple({**found.columns, **dict.fromkeys(plan.extras.values())}),
            plan.parsed.response,
            plan.extras.get("weights"),
            found.complete,
            tuple((int(positions[0]), piece) for positions, piece in found.sample if len(positions)),
            found.marks,
            counts,
            self.cells,
        )

    def _strata(self) -> tuple[tuple[Value, ...], tuple[int, ...]]:
        """The combinations of levels of what is read besides, in their order, and the rows of each."""
        levels = [self.found.node_levels[node].labels() for node in self.plan.parsed.others]
        where = [{level: code for code, level in enumerate(own)} for own in levels]
        counted = {_cell_number(cell, where): (cell, n) for cell, n in self.found.strata.items()}
        ordered = [counted[number] for number in sorted(counted)]
        others = tuple(
            Factor(np.array([where[k][cell[k]] for cell, _ in ordered], dtype=np.intp), own)
            for k, own in enumerate(levels)
        )
        return others, tuple(n for _, n in ordered)

    def _column(self, name: str) -> Value:
        column = self.found.columns[name]
        if isinstance(column, Factor):
            return replace(column, levels=self.found.column_levels[name].labels())
        return column

    def _template(self, node: Node, kinds: Mapping[str, Value], states: dict[Node, dict[str, Any]]) -> Value:
        """What the value of an expression is, without rows, with the levels of all complete rows."""
        value = self.found.values[node]
        if (name := of_one_factor(node, kinds)) is None:
            return replace(value, levels=self.found.node_levels[node].labels()) if isinstance(value, Factor) else value
        column = kinds[name]
        assert isinstance(column, Factor)
        levels = Table((name,), len(column.levels), pd.RangeIndex(len(column.levels)), {name: column.levels})
        scope = Scope(levels, self.plan.parsed.source, self.plan.transforms, states, kinds)
        return blank(evaluate(node, scope))

    def _random(self, templates: Mapping[Node, Value]) -> tuple[tuple[RandomDesign, ...], tuple[RandomEncoding, ...]]:
        designs, encodings = [], []
        held: Any = NotHeld
        for term in self.plan.parsed.random:
            grouping = self._grouping(term.group)
            check_columns(term.text, term.effects, templates, self.found.complete, min(self.found.complete, SAMPLE))
            coded = code_terms(term.effects, templates, 0)
            check_names(coded.names, term.text)
            codes, values = held("the level"), held("the predictors")
            designs.append(
                RandomDesign(term.group_name, grouping.levels, codes, coded.names, values, term.structure, term.text)
            )
            encodings.append(RandomEncoding(term.group_name, term.effects, term.group, grouping))
        return tuple(designs), tuple(encodings)

    def _grouping(self, group: Sequence[Node]) -> Grouping:
        parts = tuple(self.found.node_levels[node].labels() for node in group)
        if len(parts) == 1:
            return Grouping(parts, np.arange(len(parts[0])), np.array(parts[0], dtype=object))
        where = [{level: code for code, level in enumerate(levels)} for levels in parts]
        cells = sorted(_cell_number(cell, where) for cell in self.found.cells[tuple(group)])
        return grouping_of_cells(parts, np.array(cells, dtype=np.intp), group)


def _alike(
    known: Encoding, plan: Plan, kinds: Mapping[str, Value], templates: Mapping[Node, Value]
) -> tuple[dict[str, Value], dict[Node, Value]]:
    """Columns and expressions as known from other rows; levels of groups are one's own."""
    if known.source != plan.parsed.source:
        raise DesignError(f"like= is of the formula {known.source!r}, and this is {plan.parsed.source!r}.")
    predictors = [node for node in model_predictors(plan.parsed) if node in known.templates]
    for node in predictors:
        own, theirs = templates[node], known.templates[node]
        if type(own) is not type(theirs):
            raise DesignError(f"{label(node)} is {kind_of(own)} here, and {kind_of(theirs)} in like=.")
        if isinstance(own, Factor) and isinstance(theirs, Factor):
            new = [level for level in own.levels if level not in theirs.levels]
            if new:
                raise DesignError(
                    f"{label(node)} has the level {new[0]!r} here, which like= has not ({', '.join(theirs.levels)}). "
                    "Give a like= of rows that have all levels."
                )
    names = {part.name for node in predictors for part in walk(node) if isinstance(part, Name)}
    return (
        {name: known.kinds[name] if name in names else kind for name, kind in kinds.items()},
        {node: known.templates[node] if node in predictors else value for node, value in templates.items()},
    )


def _cell_number(cell: Iterable[str], where: Sequence[Mapping[str, int]]) -> int:
    number = 0
    for level, codes in zip(cell, where, strict=True):
        number = number * len(codes) + codes[level]
    return number


def _rows_seen(name: str, factor: Factor, found: Found) -> dict[str, int]:
    """How many of the rows looked at have each level of a column."""
    seen: Counter[str] = Counter()
    for _, piece in found.sample:
        seen.update(rows_of(as_factor(piece.column(name))))  # of nothing but gaps it is read as numbers
    return {level: seen[level] for level in factor.levels}
