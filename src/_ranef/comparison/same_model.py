"""Whether two specs are one model of the same data, whatever the order, coding and names of what it is written with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.design import Factor, Value
from _ranef.spec import Grouping, ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Correspondence", "SameFactor", "correspondence", "same_as_itself"]

SAME_MODEL = "Make both fits from the same ranef.Model."

#: what, beside its length, is left of a column that others make
ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class SameFactor:
    """Where effects of a grouping factor of one spec stand in another.

    Attributes
    ----------
    place : int
        Of the factor among those of the other spec.
    levels : array of int (J,)
        Of every level among those of the other.
    columns : array (p, p)
        b is this times the effects on the columns of the other.
    """

    place: int
    levels: Ints
    columns: Floats


@dataclass(frozen=True, eq=False)
class Correspondence:
    """How the parameters of one spec follow from those of another of the same model.

    Attributes
    ----------
    fixed : array (p, p)
        β is this times the coefficients of the other.
    factors : tuple of SameFactor
        By grouping.
    alike : bool
        Whether all stands where it stands in the other, by the same names.
    """

    fixed: Floats
    factors: tuple[SameFactor, ...]
    alike: bool

    def roots(self, theirs: Sequence[Floats]) -> list[Floats]:
        """Roots (..., p, p) of covariances by grouping, from those of the other spec."""
        return [f.columns @ theirs[f.place] for f in self.factors]

    @property
    def reordered(self) -> bool:
        """Whether columns are those of the other but for their order."""
        return all(_is_permutation(M) for M in (self.fixed, *(f.columns for f in self.factors)))


def correspondence(first: ModelSpec, second: ModelSpec) -> Correspondence | str:
    """How effects of `second` are those of `first`; or why the two are not one model of the same data.

    Columns of X, and of the random effects of a factor, are the same if each makes the other linearly; levels if they
    divide the rows in the same way; covariances if what one structure can be, the other can. Of designs that were read
    in chunks, whose rows are not held, only names, levels and the number of rows are looked at. Families of the
    response may differ; priors and parameterisations are no part of a spec.

    Returns
    -------
    Correspondence, or str
        The string is a sentence with the likely cause and a next step.
    """
    if first is second:
        return same_as_itself(first)
    if (reason := _other_rows(first, second)) is not None:
        return reason
    if first.design.stream is not None or second.design.stream is not None:
        return _other_names(first, second) or same_as_itself(first)
    a, b = first.design, second.design
    fixed = _in_columns(a.X, b.X)
    if fixed is None:
        return _other_columns(first, second, "coefficients", (a.X, b.X), (a.fixed_names, b.fixed_names))
    factors: list[SameFactor] = []
    for g in first.groupings:
        found = _same_factor(first, second, g, [f.place for f in factors])
        if isinstance(found, str):
            return found
        factors.append(found)
    if len(factors) < len(second.groupings):
        left = [g.name for k, g in enumerate(second.groupings) if k not in [f.place for f in factors]]
        return _models(first, second, f"random effects of {_listed(left)} are in the second only")
    out = Correspondence(fixed, tuple(factors), False)
    if (reason := _other_structures(first, second, out)) is not None:
        return reason
    names = _names(first) == _names(second) and [f.place for f in factors] == [*range(len(factors))]
    still = all(np.array_equal(M, np.eye(len(M))) for M in (fixed, *(f.columns for f in factors)))
    levels = all(np.array_equal(g.levels, h.levels) for g, h in zip(first.groupings, second.groupings, strict=True))
    return Correspondence(fixed, out.factors, names and still and levels)


def same_as_itself(spec: ModelSpec) -> Correspondence:
    """Of a spec and itself."""
    factors = enumerate(spec.groupings)
    own = tuple(SameFactor(k, np.arange(g.n_levels), np.eye(len(g.columns))) for k, g in factors)
    return Correspondence(np.eye(spec.n_fixed), own, True)


def _names(spec: ModelSpec) -> tuple[object, ...]:
    return spec.design.fixed_names, spec.theta_names


def _models(first: ModelSpec, second: ModelSpec, how: str) -> str:
    formulas = f"{first.design.formula!r} and {second.design.formula!r}"
    return f"The fits are of different models, {formulas}: {how}. {SAME_MODEL}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:6]))
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _only(first: Sequence[str], second: Sequence[str]) -> str:
    """What is in one and not in the other, of each."""
    both = ((first, "first"), (second, "second"))
    parts = [f"{_listed(own)} {'is' if len(own) == 1 else 'are'} in the {which} only" for own, which in both if own]
    return " and ".join(parts)


def _other_names(first: ModelSpec, second: ModelSpec) -> str | None:
    """Of models whose rows are not held."""
    a, b = first.design, second.design
    for what, own, others in (
        ("coefficients", a.fixed_names, b.fixed_names),
        ("random effects", first.theta_names, second.theta_names),
    ):
        if own != others:
            only = _only([n for n in own if n not in others], [n for n in others if n not in own])
            order = "stand in another order, and rows that are not held cannot tell whether they are the same"
            return _models(first, second, f"the {what} {only or order}")
    for g, h in zip(first.groupings, second.groupings, strict=True):
        if not np.array_equal(g.levels, h.levels):
            return (
                f"The fits are to different data: {g.name!r} has {g.n_levels} levels in one and {h.n_levels} in the "
                f"other, or other ones, or in another order. {SAME_MODEL}"
            )
    return None


def _other_rows(first: ModelSpec, second: ModelSpec) -> str | None:
    """What differs besides the columns: rows, responses, weights, offsets and residuals."""
    a, b = first.design, second.design
    if first.n_obs != second.n_obs:
        return (
            f"The fits are to different data: {first.n_obs} and {second.n_obs} rows are used. Rows with missing values "
            f"that only one of the models drops are the usual cause. {SAME_MODEL}"
        )
    if first.sigma != second.sigma:
        known = [f"known to be {s:g}" if s is not None else "estimated" for s in (first.sigma, second.sigma)]
        return (
            f"The fits are of different models: σ is {known[0]} in one and {known[1]} in the other. Give sigma= to "
            "both or to neither."
        )
    if (words := _residuals(first)) != (others := _residuals(second)):
        return _models(first, second, f"residuals are {words} in one and {others} in the other")
    if a.stream is not None or b.stream is not None:
        return None
    if not _equal(a.y, b.y):
        if a.response == b.response and np.array_equal(np.sort(a.y), np.sort(b.y)):
            return f"The fits are to the same rows in another order. Sort both frames alike. {SAME_MODEL}"
        return (
            f"The fits are to different data: the responses, {a.response!r} and {b.response!r}, are other numbers. A "
            f"transformation or another subset are the usual causes. {SAME_MODEL}"
        )
    besides = tuple(zip(map(_read, a.others), map(_read, b.others), strict=True))
    for what, x, y in (
        ("weights", a.weights, b.weights),
        ("offsets", a.offset, b.offset),
        *(("columns that the residuals' structure reads", x, y) for x, y in besides),
    ):
        if not _equal(x, y):
            return f"The fits are to different data: the {what} of one are not those of the other. {SAME_MODEL}"
    return None


def _residuals(spec: ModelSpec) -> str:
    """Variances and correlations of residuals, as they were asked for."""
    return ", ".join(spec.residual.calls) or "independent with one standard deviation"


def _read(value: Value) -> Any:
    """A column as an array."""
    return np.asarray(value.levels, dtype=object)[value.codes] if isinstance(value, Factor) else value.values


def _equal(x: Any, y: Any) -> bool:
    if x is None or y is None:
        return x is y
    return bool(np.array_equal(np.asarray(x), np.asarray(y)))


def _other_columns(
    first: ModelSpec,
    second: ModelSpec,
    what: str,
    columns: tuple[Floats, Floats],
    names: tuple[Sequence[str], Sequence[str]],
) -> str:
    """Which of two sets of columns one has and the other cannot make."""
    own, others = _apart(columns[0], columns[1], names[0]), _apart(columns[1], columns[0], names[1])
    if tuple(own) == tuple(others):
        return (
            f"The fits are to different data: the {what} {_listed(own)} are of other columns in one than in the other. "
            f"Transforms or subsets that differ under the same names are the usual cause. {SAME_MODEL}"
        )
    return _models(first, second, f"the {what} {_only(own, others)}")


def _apart(own: Floats, others: Floats, names: Sequence[str]) -> list[str]:
    """Names of columns that the others do not make."""
    left = own - others @ _least_squares(others, own)
    far = np.linalg.norm(left, axis=0) > ROUNDING * np.linalg.norm(own, axis=0)
    return [name for name, away in zip(names, far, strict=True) if away]


def _least_squares(X: Floats, Y: Floats) -> Floats:
    unit = np.linalg.norm(X, axis=0)
    unit[unit == 0] = 1.0
    return np.asarray(np.linalg.lstsq(X / unit, Y, rcond=1e-12)[0] / unit[:, None])


def _in_columns(X: Floats, Y: Floats) -> Floats | None:
    """M (p, p) with Y = XM, of 0 and 1 where columns only stand in another order; None where there is none."""
    if X.shape != Y.shape:
        return None
    order = _order(X, Y)
    if order is not None:
        return np.eye(len(order))[:, order]
    M = _least_squares(X, Y)
    fits = np.linalg.norm(X @ M - Y, axis=0) <= ROUNDING * np.linalg.norm(Y, axis=0)
    if not fits.all() or np.linalg.matrix_rank(M / np.linalg.norm(M, axis=0)) < len(M):
        return None
    return M


def _order(X: Floats, Y: Floats) -> list[int] | None:
    """Which column of X (n, p) each of Y (n, p) is, but for rounding; None where one is none."""
    if np.array_equal(X, Y):
        return list(range(X.shape[1]))
    mark = np.random.default_rng(0).normal(size=len(X))
    x, y, size = mark @ X, mark @ Y, np.linalg.norm(Y, axis=0) * np.linalg.norm(mark)
    order: list[int] = []
    for j in range(Y.shape[1]):
        near = [i for i in np.flatnonzero(np.abs(x - y[j]) <= 1e-12 * size[j]).tolist() if i not in order]
        if not near:
            return None
        order.append(j if j in near else near[0])
    return order if np.allclose(X[:, order], Y, rtol=1e-12, atol=0.0) else None


def _is_permutation(M: Floats) -> bool:
    return bool(((M == 0) | (M == 1)).all() and (M.sum(axis=0) == 1).all() and (M.sum(axis=1) == 1).all())


def _same_factor(first: ModelSpec, second: ModelSpec, g: Grouping, taken: Sequence[int]) -> SameFactor | str:
    """The factor of the second that divides rows as `g` does, by the same name if there is one."""
    left = [(k, h) for k, h in enumerate(second.groupings) if k not in taken]
    for k, h in sorted(left, key=lambda item: item[1].name != g.name):
        levels = _same_levels(g, h)
        if levels is None:
            continue
        columns = _in_columns(g.Z, h.Z)
        if columns is None:
            what = f"random effects of {g.name!r} on the columns"
            return _other_columns(first, second, what, (g.Z, h.Z), (g.columns, h.columns))
        if not _same_relations(g, h, levels):
            return _models(
                first, second, f"cov= gives the levels of {g.name!r} other covariances in one than the other"
            )
        return SameFactor(k, levels, columns)
    if g.name in [h.name for _, h in left]:
        return (
            f"The fits are to different data: the levels of {g.name!r} of one hold other rows than those of the other. "
            f"{SAME_MODEL}"
        )
    return _models(first, second, f"random effects of {g.name!r} are in the first only")


def _same_levels(g: Grouping, h: Grouping) -> Ints | None:
    """Places (J,) of the levels of g among those of h, where they hold the same rows, or have none and one label."""
    if g.n_levels != h.n_levels:
        return None
    if np.array_equal(g.levels, h.levels) and np.array_equal(g.codes, h.codes):
        return np.arange(g.n_levels)
    found = np.full(g.n_levels, -1)
    found[g.codes] = h.codes
    if not np.array_equal(found[g.codes], h.codes):
        return None
    empty = np.flatnonzero(found < 0)
    labels = {label: j for j, label in enumerate(h.levels)}
    found[empty] = [labels.get(label, -1) for label in g.levels[empty]]
    return found if np.array_equal(np.sort(found), np.arange(g.n_levels)) else None


def _same_relations(g: Grouping, h: Grouping, levels: Ints) -> bool:
    """Whether what is known of the covariance among levels is the same."""
    if g.among is None or h.among is None:
        return g.among is h.among
    if np.array_equal(levels, np.arange(len(levels))) and g.among.given is h.among.given:
        return True
    if g.root is not None and h.root is not None:  # roots of one matrix, which need not be equal
        ours, theirs = (L @ L.T for L in (g.root, h.root[levels]))
        return bool(np.abs(ours - theirs).max() <= ROUNDING * np.abs(ours).max())
    if g.inverse is None or h.inverse is None:
        return False
    return bool(abs(g.inverse - h.inverse[levels][:, levels]).max() <= ROUNDING * abs(g.inverse).max())


def _other_structures(first: ModelSpec, second: ModelSpec, found: Correspondence) -> str | None:
    """Whether some covariance that one model can have is none of the other."""
    rng = np.random.default_rng(0)
    theirs = second.lambdas(rng.uniform(0.3, 1.3, second.n_theta))
    ours = first.lambdas(rng.uniform(0.3, 1.3, first.n_theta))
    back = {f.place: np.linalg.inv(f.columns) @ ours[j] for j, f in enumerate(found.factors)}
    lost = _lost(first, found.roots(theirs))
    lost |= {j for j, f in enumerate(found.factors) if f.place in _lost(second, [back[k] for k in range(len(back))])}
    for j in sorted(lost):
        own, others = first.groupings[j].name, second.groupings[found.factors[j].place].name
        texts = [" + ".join(t.text for t in s.terms if t.group == n) for s, n in ((first, own), (second, others))]
        how = f"the random effects of {own!r} have another covariance in {texts[0]!r} than in {texts[1]!r}"
        return _models(first, second, how)
    return None


def _lost(spec: ModelSpec, roots: Sequence[Floats]) -> set[int]:
    """Groupings of which covariances with these roots are none that the model can have."""
    out = set()
    for k, (root, own) in enumerate(zip(roots, spec.lambdas(spec.theta_of(roots)), strict=True)):
        D = root @ root.T
        if not np.abs(own @ own.T - D).max(initial=0.0) <= 1e-6 * np.abs(D).max(initial=0.0):
            out.add(k)
    return out
