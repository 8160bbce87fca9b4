"""Sums over rows as a value: to keep, to send, to add up, and to build a model from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from _ranef import tables
from _ranef.design import (
    Chunks,
    Design,
    as_chunks,
    check_sigma,
    registered,
    scan_chunks,
    united,
    without_rows,
)
from _ranef.errors import DesignError
from _ranef.formula import parse_formula
from _ranef.likelihood import Sums, merged_sums, summed
from _ranef.spec import ModelSpec, Moments, merged_moments, model_spec, moments
from _ranef.support.argument_remedies import helpful
from _ranef.user.fit_base import Shown

__all__ = ["RowSums", "sums"]


@helpful
@dataclass(frozen=True, eq=False, repr=False)
class RowSums(Shown):
    """What a fit reads of rows: [Z X y]ᵀW[Z X y] by levels and pairs of levels, and no row.

    ``ranef.sums`` makes one. Sums of rows that are in different places, or came on different days, are merged, and
    ``ranef.Model.from_sums`` is the model of all of them. For a level with a single row the sums are that row.

    Attributes
    ----------
    spec : ModelSpec
        Without rows.
    sums : Sums
    moments : Moments

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("pulp")
    >>> here = ranef.sums("bright ~ 1 + (1 | operator)", data[data["operator"] != "d"])
    >>> here.n_obs, here.n_levels
    (15, {'operator': 3})
    >>> here + ranef.sums("bright ~ 1 + (1 | operator)", data[data["operator"] == "d"])
    <RowSums 'bright ~ 1 + (1 | operator)': 20 rows, groups: operator (4)>
    """

    spec: ModelSpec
    sums: Sums
    moments: Moments

    @property
    def formula(self) -> str:
        """The formula as given.

        Examples
        --------
        >>> import ranef
        >>> ranef.sums("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).formula
        'bright ~ 1 + (1 | operator)'
        """
        return self.spec.design.formula

    @property
    def n_obs(self) -> int:
        """The number of rows.

        Examples
        --------
        >>> import ranef
        >>> ranef.sums("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).n_obs
        20
        """
        return self.spec.n_obs

    @property
    def n_levels(self) -> dict[str, int]:
        """The number of levels by grouping factor.

        Examples
        --------
        >>> import ranef
        >>> ranef.sums("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).n_levels
        {'operator': 4}
        """
        return {g.name: g.n_levels for g in self.spec.groupings}

    def merge(self, *others: RowSums) -> RowSums:
        """The sums over the rows of all; levels are matched by their labels, and may differ.

        Raises
        ------
        DesignError
            If formulas, or the columns of X or Z, are not the same.

        Examples
        --------
        >>> import ranef
        >>> data = ranef.datasets.load("sleepstudy")
        >>> days = [ranef.sums("Reaction ~ Days + (Days | Subject)", data[data["Days"] == day]) for day in range(10)]
        >>> days[0].merge(*days[1:])
        <RowSums 'Reaction ~ Days + (Days | Subject)': 180 rows, groups: Subject (18)>
        """
        parts = [self, *others]
        for other in others:
            if not isinstance(other, RowSums):
                raise DesignError(f"merge() takes what ranef.sums() made; got {type(other).__name__}.")
        design, places = united([part.spec.design for part in parts])
        spec = model_spec(design, self.spec.sigma)
        total = merged_sums(spec, [(part.spec, part.sums, where) for part, where in zip(parts, places, strict=True)])
        moments = merged_moments(spec, [(part.spec, part.moments) for part in parts])
        return RowSums(spec, total, moments)

    def __add__(self, other: RowSums) -> RowSums:
        return self.merge(other)

    def _document(self) -> tables.Document:
        groups = ", ".join(f"{name} ({n} levels)" for name, n in self.n_levels.items()) or "none"
        return tables.Document((tables.Text((f"Sums over {self.n_obs} rows: {self.formula}", f"Groups: {groups}")),))

    def __repr__(self) -> str:
        groups = ", ".join(f"{name} ({n})" for name, n in self.n_levels.items()) or "none"
        return f"<RowSums {self.formula!r}: {self.n_obs} rows, groups: {groups}>"


@helpful
def sums(
    formula: str,
    data: Any,
    *,
    like: Any = None,
    weights: str | None = None,
    offset: str | None = None,
    sigma: float | None = None,
    transforms: Mapping[str, Callable[..., Any]] | None = None,
    na_action: Literal["omit", "error"] = "omit",
) -> RowSums:
    """Read rows into all that a fit needs of them: sums that can be saved, sent and added up, and hold no row.

    Parameters
    ----------
    formula, data, sigma, transforms, na_action
        As for :class:`ranef.Model`.
    like : RowSums, Model or fit, optional
        Of rows that have every level of the factors among the predictors: where some rows lack one, as when sites
        differ, their columns of X are those of `like`, and so is what ``scale(x)`` has learnt. Levels of grouping
        factors need no such thing.
    weights, offset : str, optional
        Names of columns.

    Returns
    -------
    RowSums

    Raises
    ------
    FormulaError, DesignError
        As for :class:`ranef.Model`, and for levels that `like` has not.

    Examples
    --------
    >>> import ranef
    >>> data = ranef.datasets.load("sleepstudy")
    >>> early = data["Subject"].isin(["308", "309", "310"])
    >>> here, there = (ranef.sums("Reaction ~ Days + (Days | Subject)", data[rows]) for rows in (early, ~early))
    >>> ranef.Model.from_sums(here, there).fit().fixef.round(4).to_dict()
    {'Intercept': 251.4051, 'Days': 10.4673}
    """
    check_sigma(sigma)
    parsed = parse_formula(formula, functions=registered(transforms))
    chunks = as_chunks(data)
    design = scan_chunks(
        parsed,
        Chunks(lambda columns: [data]) if chunks is None else chunks,
        weights=weights,
        offset=offset,
        sigma=sigma,
        transforms=transforms,
        na_action=na_action,
        like=_design_of(like),
        part=True,
    )
    spec = model_spec(design, sigma)
    return RowSums(model_spec(without_rows(design), sigma), summed(spec), moments(spec))


def _design_of(like: Any) -> Design | None:
    if like is None:
        return None
    spec = getattr(like, "spec", None)
    if not isinstance(spec, ModelSpec):
        raise DesignError(f"like={like!r} must be what ranef.sums() made, a model or a fit.")
    return spec.design
