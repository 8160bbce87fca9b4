"""Changes of formula and data that must not matter, and the way back from the results of the changed model.

Use::

    for change in transformations.CHANGES:
        changed = change.apply(case)                  # a Case, or None where the change does not speak of this one
        back = change.back(case, changed)             # a Back, or None where the changed formula is another model
        back.beta(other.fixef), back.covariances(...), back.response(other.fitted()), ...

:func:`pairs` yields ``(change, changed, back)`` for one case. The way back is found from the two designs alone: from
rows (by their labels), levels (by the rows they hold) and columns (X' = X K by least squares), never from a fit. Its
methods take arrays with any leading axes, so draws of a posterior go through them as estimates do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

import ranef
import registry
from _ranef.spec import ModelSpec

__all__ = ["CHANGES", "Back", "Case", "Change", "pairs"]

Array = NDArray[np.floating[Any]]

#: columns of one design must lie in the span of the other's by this part of their length
SPAN = 1e-8

NAME = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True)
class Case:
    """A formula, its data and the further arguments of ``Model``; weights and offsets are columns of the data."""

    formula: str
    data: pd.DataFrame
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def registered(cls, name: str) -> Case:
        """That of an outside reference."""
        ref = registry.reference(name)
        data = registry.data_of(ref)
        return cls(registry.formula_of(ref, data), data, {k: ref[k] for k in ("weights", "offset") if ref.get(k)})

    def model(self) -> ranef.Model:
        return ranef.Model(self.formula, self.data, **self.arguments)

    @property
    def response(self) -> str:
        return self.formula.split("~")[0].strip()

    @property
    def right(self) -> str:
        return self.formula.split("~", 1)[1].strip()

    def with_right(self, right: str) -> Case:
        return replace(self, formula=f"{self.response} ~ {right}")

    def with_argument(self, name: str, value: Any) -> Case:
        return replace(self, arguments={**self.arguments, name: value})


@dataclass(frozen=True)
class Back:
    """From results of the changed model to those of the plain one.

    Attributes
    ----------
    unit, shift, weight : float
        y' = unit · y + shift and w' = weight · w.
    fixed : array (p, p)
        K of X' = X K, so that β = K β' but for the response's unit and origin.
    constant : array (p,)
        Coefficients of the constant column in X; zeros where y keeps its origin.
    groupings : tuple of int
        The place in the changed model of every grouping factor.
    levels : tuple of array (J_k,)
        The place there of every level.
    random : tuple of array (p_k, p_k)
        K_k of Z_k' = Z_k K_k.
    rows : array (n,)
        The place there of every row.
    """

    unit: float
    shift: float
    weight: float
    fixed: Array
    constant: Array
    groupings: tuple[int, ...]
    levels: tuple[NDArray[np.intp], ...]
    random: tuple[Array, ...]
    rows: NDArray[np.intp]

    def beta(self, found: ArrayLike) -> Array:
        """Coefficients (..., p)."""
        return (np.asarray(found) @ self.fixed.T - self.shift * self.constant) / self.unit

    def vcov(self, found: ArrayLike) -> Array:
        """Covariance of the coefficients (..., p, p)."""
        return self.fixed @ np.asarray(found) @ self.fixed.T / self.unit**2

    def sigma(self, found: ArrayLike) -> Array:
        """Residual standard deviation (...)."""
        return np.asarray(found) / (abs(self.unit) * np.sqrt(self.weight))

    def covariances(self, found: Sequence[Array]) -> list[Array]:
        """Σ_k (..., p_k, p_k) of the groupings."""
        ordered = [np.asarray(found[k]) for k in self.groupings]
        return [K @ cov @ K.T / self.unit**2 for K, cov in zip(self.random, ordered, strict=True)]

    def effects(self, found: Sequence[Array]) -> list[Array]:
        """b_k (..., J_k, p_k) of the groupings."""
        ordered = [np.asarray(found[k]) for k in self.groupings]
        return [b[..., at, :] @ K.T / self.unit for b, at, K in zip(ordered, self.levels, self.random, strict=True)]

    def level_covariances(self, found: Sequence[Array]) -> list[Array]:
        """Covariances (..., J_k, p_k, p_k) of the effects of every level."""
        ordered = [np.asarray(found[k]) for k in self.groupings]
        return [
            K @ cov[..., at, :, :] @ K.T / self.unit**2
            for cov, at, K in zip(ordered, self.levels, self.random, strict=True)
        ]

    def response(self, found: ArrayLike) -> Array:
        """Values on the scale of the response (..., n): fitted values, predictions, ends of intervals."""
        return (np.asarray(found)[..., self.rows] - self.shift) / self.unit

    def differences(self, found: ArrayLike) -> Array:
        """Differences on that scale (..., n): residuals, half widths (of which a negative unit changes the sign)."""
        return np.asarray(found)[..., self.rows] / self.unit

    def by_row(self, found: ArrayLike) -> Array:
        """Numbers without a unit (..., n): leverages, Pearson residuals."""
        return np.asarray(found)[..., self.rows]

    def criterion(self, found: float, method: str) -> float:
        """The criterion of ``fit(method)``; densities of the response carry its unit, REML's the unit of X too."""
        n, p = len(self.rows), len(self.constant)
        if method == "ML":
            return found - 2 * n * np.log(abs(self.unit))
        return found - 2 * (n - p) * np.log(abs(self.unit)) - 2 * np.linalg.slogdet(self.fixed)[1]


@dataclass(frozen=True)
class Change:
    """A change with its name; `apply` gives None where there is nothing to change."""

    name: str
    apply: Callable[[Case], Case | None]
    unit: float = 1.0
    shift: float = 0.0
    weight: float = 1.0

    def __str__(self) -> str:
        return self.name

    def back(self, case: Case, changed: Case) -> Back | None:
        """The way back, or None where the changed formula is another model."""
        return _back(case.model().spec, changed.model().spec, self)


def pairs(case: Case, changes: Sequence[Change] | None = None) -> Iterator[tuple[Change, Case, Back]]:
    """Every change that speaks of this case and leaves it the same model."""
    for change in CHANGES if changes is None else changes:
        changed = change.apply(case)
        if changed is not None and (back := change.back(case, changed)) is not None:
            yield change, changed, back


def _back(old: ModelSpec, new: ModelSpec, change: Change) -> Back | None:
    rows = new.design.index.get_indexer(old.design.index)
    if old.n_obs != new.n_obs or (rows < 0).any():
        return None
    fixed = _between(old.design.X, new.design.X[rows])
    ones = np.ones((old.n_obs, 1))
    constant = _between(old.design.X, ones, square=False) if change.shift else np.zeros((old.n_fixed, 1))
    places = [_same_levels(g.codes, new, rows) for g in old.groupings]
    if fixed is None or constant is None or None in places:
        return None
    levels, random = [], []
    for k, (g, place) in enumerate(zip(old.groupings, places, strict=True)):
        other = new.groupings[place]
        at = np.empty(g.n_levels, dtype=np.intp)
        at[g.codes] = other.codes[rows]
        K = _between(g.Z, other.Z[rows])
        if K is None or not _keeps_structure(old, k, new, place, K):
            return None
        levels.append(at)
        random.append(K)
    return Back(
        change.unit,
        change.shift,
        change.weight,
        fixed,
        constant[:, 0],
        tuple(places),
        tuple(levels),
        tuple(random),
        rows,
    )


def _between(old: Array, new: Array, *, square: bool = True) -> Array | None:
    """K of new = old K, None where the spans differ."""
    if square and old.shape != new.shape:
        return None
    if not old.shape[1]:
        return np.zeros((0, new.shape[1])) if square else None
    size, length = np.linalg.norm(old, axis=0), np.linalg.norm(new, axis=0)
    cosine = (old / size).T @ (new / length)
    along = np.abs(np.abs(cosine) - 1.0) < SPAN
    if (along.sum(axis=0) == 1).all():  # the same columns, which need not be independent
        K = np.where(along, np.sign(cosine), 0.0)
    else:
        K = np.linalg.lstsq(old / size, new / length, rcond=None)[0]
    if np.abs((old / size) @ K - new / length).max() > SPAN:
        return None
    K[np.abs(K) < SPAN] = 0.0
    return np.asarray(K / size[:, None] * length)


def _same_levels(codes: NDArray[np.intp], new: ModelSpec, rows: NDArray[np.intp]) -> int | None:
    """Place of the grouping that cuts the rows as `codes` do."""
    for k, other in enumerate(new.groupings):
        both = len(set(zip(codes.tolist(), other.codes[rows].tolist(), strict=True)))
        if both == len(np.unique(codes)) == other.n_levels:
            return k
    return None


def _keeps_structure(old: ModelSpec, k: int, new: ModelSpec, place: int, K: Array) -> bool:
    """Whether K D' Kᵀ runs over the covariances of the plain model: all where they are free, else term by term."""
    ours = [t for t in old.terms if t.grouping == k]
    theirs = [t for t in new.terms if t.grouping == place]
    if len(ours) == len(theirs) == 1 and ours[0].structure.word == theirs[0].structure.word == "us":
        return True
    if any((K[a.where, b.where] != 0).any() for a in ours for b in theirs if a.structure.word != b.structure.word):
        return False
    return bool(((K != 0).sum(axis=0) == 1).all() and ((K != 0).sum(axis=1) == 1).all())


# -- what a formula says ------------------------------------------------------------------------------------------


def _outside(text: str, change: Callable[[str], str]) -> str:
    """Change what is neither a grouping factor (right of a bar) nor within ``offset(…)`` or ``C(…)``."""
    kept = re.compile(r"(\|\|?[^)|]*\))|(\b(?:offset|C)\([^()]*(?:\([^()]*\)[^()]*)*\))")
    pieces, last = [], 0
    for found in kept.finditer(text):
        pieces += [change(text[last : found.start()]), found.group()]
        last = found.end()
    return "".join([*pieces, change(text[last:])])


def _covariates(case: Case, *, numeric: bool) -> list[str]:
    """Columns among the predictors that are numbers, or factors."""
    seen: list[str] = []
    _outside(case.right, lambda text: seen.extend(NAME.findall(text)) or text)
    reserved = {NAME.findall(case.response)[-1], *(str(v) for v in case.arguments.values())}
    numbers = pd.api.types.is_numeric_dtype
    return [
        name
        for name in dict.fromkeys(seen)
        if name in case.data
        and name not in reserved
        and numbers(case.data[name]) == numeric
        and not pd.api.types.is_bool_dtype(case.data[name])
    ]


def _groups(case: Case) -> list[str]:
    found = [name for bar in re.findall(r"\|\|?([^)|]*)\)", case.right) for name in NAME.findall(bar)]
    return [name for name in dict.fromkeys(found) if name in case.data]


def _replaced(case: Case, names: Sequence[str], new: Callable[[pd.Series], Any]) -> Case | None:
    if not names:
        return None
    return replace(case, data=case.data.assign(**{name: new(case.data[name]) for name in names}))


# -- the changes --------------------------------------------------------------------------------------------------


def _response(unit: float, shift: float, name: str) -> Change:
    def apply(case: Case) -> Case | None:
        if unit != 1.0 and "offset(" in case.formula:
            return None  # the offset would have to change its unit within the formula
        if case.response in case.data:
            out = replace(case, data=case.data.assign(**{case.response: unit * case.data[case.response] + shift}))
        else:
            out = replace(case, formula=f"I({unit!r} * ({case.response}) + ({shift!r})) ~ {case.right}")
        if (offset := case.arguments.get("offset")) is not None:
            out = replace(out, data=out.data.assign(**{offset: unit * out.data[offset]}))
        sigma = case.arguments.get("sigma")
        return out if sigma is None else out.with_argument("sigma", abs(unit) * sigma)

    return Change(name, apply, unit=unit, shift=shift)


def _weights(unit: float) -> Change:
    """All weights times one number; where there are none, one weight for all rows."""

    def apply(case: Case) -> Case:
        name = case.arguments.get("weights")
        column = 1.0 if name is None else case.data[name]
        out = replace(case, data=case.data.assign(the_weights=unit * column)).with_argument("weights", "the_weights")
        sigma = case.arguments.get("sigma")
        return out if sigma is None else out.with_argument("sigma", np.sqrt(unit) * sigma)

    return Change(f"weights x {unit:g}", apply, weight=unit)


def _covariate(unit: float, shift: float, name: str) -> Change:
    def apply(case: Case) -> Case | None:
        names = _covariates(case, numeric=True)
        moved = [
            x for x in names if not shift or not re.search(rf"log\({x}\)", case.right)
        ]  # no log of negative numbers
        return _replaced(case, moved, lambda column: unit * column + shift)

    return Change(name, apply)


def _reversed_levels(column: pd.Series) -> pd.Categorical:
    levels = pd.Categorical(column).categories
    return pd.Categorical(column, categories=levels[::-1])


def _other_reference(case: Case) -> Case | None:
    return _replaced(case, _covariates(case, numeric=False), _reversed_levels)


def _sum_contrasts(case: Case) -> Case | None:
    right, names = case.right, _covariates(case, numeric=False)
    for name in names:
        right = _outside(
            right, lambda text, name=name: re.sub(rf"(?<![\w.]){name}(?![\w.])", f"C({name}, contr.sum)", text)
        )
    return case.with_right(right) if right != case.right else None


def _cell_means(case: Case) -> Case | None:
    if not _covariates(case, numeric=False) or re.match(r"(0|-1)\b", case.right):
        return None
    return case.with_right(f"0 + {re.sub(r'^1 [+] ', '', case.right)}")


def _cell_means_in_bars(case: Case) -> Case | None:
    factors = _covariates(case, numeric=False)

    def bar(found: re.Match[str]) -> str:
        names = NAME.findall(found.group(1))
        return f"(0 + {found.group(1).strip()} |{found.group(2)})" if set(names) & set(factors) else found.group()

    right = re.sub(r"\(([^()|01]*)\|([^()|]*)\)", bar, case.right)
    return case.with_right(right) if right != case.right else None


def _slopes_by_level(case: Case) -> Case | None:
    """``f * x`` as ``f + f:x``, left of bars: the slope of every level, and no slope of all with differences."""
    factors, numbers = _covariates(case, numeric=False), _covariates(case, numeric=True)

    def product(found: re.Match[str]) -> str:
        names = re.split(r"\s*\*\s*", found.group())
        own, of = [n for n in names if n in factors], [n for n in names if n in numbers]
        if not own or len(of) != 1 or len(own) + 1 != len(names):
            return found.group()
        return f"{' * '.join(own)} + {':'.join([*own, *of])}"

    right = _outside(case.right, lambda text: re.sub(r"[\w.]+(\s*\*\s*[\w.]+)+", product, text))
    return case.with_right(right) if right != case.right else None


def _order_within_products(case: Case) -> Case | None:
    """``a:b`` as ``b:a``, ``a*b`` as ``b*a``, left and right of bars."""
    right = re.sub(r"([^\W\d][\w.]*)(\s*[:*]\s*)([^\W\d][\w.]*)(?![\w.(]|\s*[:*(])", r"\3\2\1", case.right)
    return case.with_right(right) if right != case.right else None


def _order_of_terms(case: Case) -> Case | None:
    depth, terms = 0, [""]
    for letter in case.right:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "+" and not depth:
            terms.append("")
        else:
            terms[-1] += letter
    if len(terms) == 1 or any(re.search(r"-\s*[01]\s*$", term) for term in terms):
        return None
    return case.with_right(" + ".join(term.strip() for term in reversed(terms)))


def _order_of_rows(case: Case) -> Case:
    return replace(case, data=case.data.sample(frac=1, random_state=7))


def _labels(case: Case) -> Case | None:
    """Other names for the levels of grouping factors, in another order."""
    names = [name for name in _groups(case) if name not in _covariates(case, numeric=True)]

    def renamed(column: pd.Series) -> pd.Series:
        levels = list(pd.unique(column.dropna()))
        return column.map({level: f"z{len(levels) - i:04d}" for i, level in enumerate(levels)}).astype(object)

    return _replaced(case, names, renamed)


CHANGES: tuple[Change, ...] = (
    _response(1e-6, 0.0, "y x 1e-6"),
    _response(1e6, 0.0, "y x 1e6"),
    _response(-1.0, 0.0, "y with its sign changed"),
    _response(1.0, 1e4, "y + 1e4"),
    _covariate(1e-3, 0.0, "x x 1e-3"),
    _covariate(1e4, 0.0, "x x 1e4"),
    _covariate(1.0, -30.0, "x - 30"),
    _covariate(1.0, 2005.0, "x + 2005"),
    _weights(1e-8),
    _weights(1e4),
    _weights(1e8),
    Change("another reference level", _other_reference),
    Change("sum contrasts", _sum_contrasts),
    Change("cell means", _cell_means),
    Change("cell means in bars", _cell_means_in_bars),
    Change("slopes by level", _slopes_by_level),
    Change("order of a:b", _order_within_products),
    Change("order of terms", _order_of_terms),
    Change("order of rows", _order_of_rows),
    Change("labels of levels", _labels),
)
