"""Which effects and levels a figure shows: one meaning of ``group=``, ``term=`` and ``levels=`` in every figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pandas as pd

from _ranef.comparison import chosen_columns
from _ranef.errors import DesignError, suggestion
from _ranef.inference import grouping_named
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Ints

__all__ = [
    "Choices",
    "LevelsArgument",
    "Selection",
    "TermArgument",
    "checked_limit",
    "require_effects",
    "select",
    "selected_levels",
    "spread",
]

#: a column of the random effects, or several
TermArgument = str | Sequence[str] | None

#: names of levels, or how many of them
LevelsArgument = int | str | Iterable[object] | None


class Choices(TypedDict, total=False):
    """Arguments by name that figures of effects have in common."""

    term: TermArgument
    levels: LevelsArgument


#: levels that an error lists
LISTED = 8


@dataclass(frozen=True)
class Selection:
    """Effects and levels to show.

    Attributes
    ----------
    columns : tuple of (int, int)
        Place of the grouping factor and of the column in it, factor by factor.
    limit : int or None
        How many levels of an effect; of more, evenly spaced ones in the order of the figure.
    names : frozenset of str or None
        The levels asked for by name; their order is that of the figure.
    """

    columns: tuple[tuple[int, int], ...]
    limit: int | None = None
    names: frozenset[str] | None = None

    def positions(self, ordered: Iterable[object]) -> Ints:
        """Places of the levels to show among all of one factor, given in the order of the figure."""
        labels = [str(level) for level in ordered]
        if self.names is not None:
            return np.array([i for i, label in enumerate(labels) if label in self.names], dtype=np.intp)
        return np.arange(len(labels)) if self.limit is None else spread(len(labels), self.limit)

    def keeps(self, spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the chosen effects of a frame with ``group`` and ``term``, in the order of the frame."""
        wanted = {(spec.groupings[k].name, spec.groupings[k].columns[q]) for k, q in self.columns}
        rows = [(str(g), str(t)) in wanted for g, t in zip(frame["group"], frame["term"], strict=True)]
        return frame[np.array(rows, dtype=bool)]

    @property
    def thinning(self) -> str:
        """How the levels shown were chosen, for the title of a panel that does not show all."""
        return "" if self.names is not None else ", evenly spaced by rank"


def select(
    spec: ModelSpec,
    group: str | None = None,
    term: TermArgument = None,
    levels: LevelsArgument = None,
    limit: int | None = None,
) -> Selection:
    """What a figure of the effects of a model shows.

    Parameters
    ----------
    group : str, optional
        One grouping factor; all by default.
    term : str or sequence of str, optional
        Columns of the random effects; all by default.
    levels : int or sequence, optional
        Names of levels, or how many: of more, evenly spaced ones in the order of the figure. A factor that has none of
        the names is left out.
    limit : int, optional
        How many levels, at least two, where `levels` does not say; ``max_levels=`` to users.

    Raises
    ------
    DesignError
        For an unknown group, term or level, a `limit` below two, or `levels` below one.
    """
    if limit is not None:
        checked_limit(limit, 2, "max_levels")
    columns = _columns(spec, group, term)
    if levels is None or _is_number(levels):
        number = limit if levels is None else checked_limit(levels)
        return Selection(columns, number)
    groups = list(dict.fromkeys(k for k, _ in columns))
    names = _named(spec, groups, levels)
    having = {k for k in groups if names & {str(level) for level in spec.groupings[k].levels}}
    return Selection(tuple((k, q) for k, q in columns if k in having), None, names)


def selected_levels(spec: ModelSpec, group: str, levels: LevelsArgument, limit: int | None = None) -> Selection:
    """What a figure of one factor's levels shows, where there are no effects to choose; as :func:`select`."""
    return select(spec, grouping_named(spec, group)[1].name, None, levels, limit)


def checked_limit(levels: object, least: int = 1, name: str = "levels") -> int:
    """A number of levels to show.

    Raises
    ------
    DesignError
        If it is below `least`.
    """
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer) or levels < least:
        raise DesignError(f"{name}={levels!r} must be at least {least}, or a list of names.")
    return int(levels)


def require_effects(chosen: Sequence[object]) -> None:
    """Refuse a figure of effects where there are none.

    Raises
    ------
    DesignError
        If nothing is chosen.
    """
    if not chosen:
        raise DesignError("There are no random effects to draw: the model has no (… | group) term.")


def spread(n: int, limit: int) -> Ints:
    """At most `limit` of n positions, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(np.intp))


def _is_number(levels: object) -> bool:
    return isinstance(levels, int | float | np.number)


def _columns(spec: ModelSpec, group: str | None, term: TermArgument) -> tuple[tuple[int, int], ...]:
    if term is None or isinstance(term, str):
        return tuple(chosen_columns(spec, group, term)) if spec.groupings else ()
    terms = list(term)
    if not terms:
        raise DesignError("term=[] names no effect. Give a column of the random effects, several, or None for all.")
    found = {place for one in terms for place in chosen_columns(spec, group, one)}
    return tuple(sorted(found))


def _named(spec: ModelSpec, groups: Sequence[int], levels: LevelsArgument) -> frozenset[str]:
    """Names of levels as they are written, each known to one of the grouping factors at least."""
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        levels = [levels]
    names = list(dict.fromkeys(str(level) for level in levels))
    if not names:
        raise DesignError("levels=[] names no level. Give names, how many to show, or None.")
    known = list(dict.fromkeys(str(level) for k in groups for level in spec.groupings[k].levels))
    of = " or ".join(spec.groupings[k].name for k in groups)
    for name in names:
        if name not in known:
            more = f", … ({len(known)} in all)" if len(known) > LISTED else ""
            raise DesignError(
                f"levels= names {name!r}, which is no level of {of}.{suggestion(name, known)} There are: "
                f"{', '.join(known[:LISTED])}{more}."
            )
    return frozenset(names)
