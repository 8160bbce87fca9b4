"""Whether one model is a special case of another, of the same rows: columns, covariances of effects, residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from _ranef.residuals import RowVariance
from _ranef.spec import Grouping, ModelSpec, TermSpec
from _ranef.support.arrays import Floats

__all__ = [
    "covariances",
    "n_at_zero",
    "other_rows",
    "psd_root",
    "same_columns",
    "same_random_part",
    "some_theta",
    "why_not_nested",
]

#: what is left of a unit column, or covariance, that is rounding
ROUNDING = 1e-7

#: covariances of the smaller model that the larger one must have, too
TRIALS = 3


def other_rows(first: ModelSpec, second: ModelSpec) -> str | None:
    """Why two models are not of the same response and rows, or None."""
    a, b = first.design, second.design
    if a.response != b.response and not _held(first, second):
        return f"the responses are {a.response!r} and {b.response!r}"
    if first.n_obs != second.n_obs:
        return (
            f"{first.n_obs} and {second.n_obs} rows are used. Rows with missing values that only one of them drops "
            "are the usual cause: leave them out of the data first"
        )
    if _held(first, second):
        if not np.array_equal(a.y, b.y):
            return f"the responses, {a.response!r} and {b.response!r}, are other numbers"
        for name, x, y in (("weights", a.weights, b.weights), ("offsets", a.offset, b.offset)):
            if not _equal(x, y):
                return f"their {name} differ"
    if first.sigma != second.sigma:
        return "σ is known in one and estimated in the other, or known to be another number"
    return None


def _equal(x: Floats | None, y: Floats | None) -> bool:
    return x is y if x is None or y is None else np.array_equal(x, y)


def same_columns(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether the fixed effects are the same columns, so that REML criteria may be compared."""
    if not _held(first, second):
        return first.design.fixed_names == second.design.fixed_names
    return first.design.X.shape == second.design.X.shape and np.array_equal(first.design.X, second.design.X)


def same_random_part(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether each is a special case of the other but for the fixed effects."""
    return not any(_random_part(a, b) or _residuals(a, b) for a, b in ((first, second), (second, first)))


def why_not_nested(small: ModelSpec, large: ModelSpec) -> str | None:
    """Why the one is no special case of the other, or None."""
    d, e = small.design, large.design
    if _held(small, large):
        lost = [d.fixed_names[k] for k in _outside(d.X, e.X)]
    else:
        lost = [name for name in d.fixed_names if name not in e.fixed_names]
    if lost:
        names = ", ".join(lost[:3])
        return f"the fixed effects {names} of the smaller model are no combinations of those of the larger one"
    return _random_part(small, large) or _residuals(small, large)


def _outside(columns: Floats, others: Floats) -> list[int]:
    """Which columns are no combinations of others."""
    if not columns.shape[1]:
        return []
    size = np.linalg.norm(columns, axis=0)
    unit = columns / np.where(size > 0.0, size, 1.0)
    Q = np.linalg.qr(others / np.maximum(np.linalg.norm(others, axis=0), np.finfo(float).tiny))[0]
    rest = unit - Q @ (Q.T @ unit)
    rest = rest - Q @ (Q.T @ rest)
    return np.flatnonzero(np.linalg.norm(rest, axis=0) > ROUNDING).tolist()


def n_at_zero(small: ModelSpec, large: ModelSpec) -> int:
    """How many variances of the larger model, or directions of its covariances, are zero in the smaller one."""
    found = covariances(small, large, some_theta(small))
    return sum(_zeros_of(t, found[t.grouping][t.where, t.where]) for t in large.terms)


def _zeros_of(term: TermSpec, D: Floats) -> int:
    """How many variances, or directions, of a term are zero where its covariance is D."""
    root = psd_root(D)
    size = np.linalg.norm(root, axis=1)
    if not term.structure.free:
        return int((size[list(term.structure.own_sds)] < ROUNDING).sum())
    return len(root) - int(np.linalg.matrix_rank(root, ROUNDING)) if size.any() else len(root)


def some_theta(spec: ModelSpec, seed: int = 0) -> Floats:
    """θ (n_theta,) with no variance of zero."""
    return spec.allowed(np.abs(np.random.default_rng(seed).normal(size=spec.n_theta)) + 0.1)


def psd_root(D: Floats) -> Floats:
    """R with RRᵀ = D, what is zero to rounding left out."""
    values, vectors = np.linalg.eigh(D)
    return np.asarray(vectors * np.sqrt(np.where(values > ROUNDING * values.max(initial=0.0), values, 0.0)))


def _random_part(small: ModelSpec, large: ModelSpec) -> str | None:
    """Why some covariances of the smaller model are none that the larger one has, or None."""
    for g in small.groupings:
        place = _place(g, large)
        if place is None and _coarser(g, large) is None:
            return f"the larger one has no effects by {g.name}"
        if place is not None and _on_columns(g, large.groupings[place]) is None:
            return f"effects of {g.name} in the smaller model are no combinations of those in the larger one"
    for seed in range(TRIALS):
        found = covariances(small, large, some_theta(small, seed))
        for k, (h, D) in enumerate(zip(large.groupings, found, strict=True)):
            terms = [t for t in large.terms if t.grouping == k]
            if not np.isfinite(D).all() or np.abs(_nearest(terms, D) - D).max() > ROUNDING * max(1.0, np.abs(D).max()):
                return f"the covariance of the effects by {h.name} in the smaller model is none that the larger one has"
    return None


def _nearest(terms: Sequence[TermSpec], D: Floats) -> Floats:
    """The covariance (p, p) of those terms that is nearest to D."""
    out, root = np.zeros_like(D), psd_root(D)
    for t in terms:
        lam = t.structure.root(t.structure.closest(root[t.where]))
        out[t.where, t.where] = lam @ lam.T
    return out


def covariances(small: ModelSpec, large: ModelSpec, theta: Floats) -> list[Floats]:
    """D_k (p_k, p_k) by grouping of the larger model at θ (n_theta,) of the smaller one; NaN where there is none.

    Effects of a finer factor, as of a:b, add to those by a the products of what their columns are of its columns.
    """
    out: list[Floats] = [np.zeros((len(h.columns),) * 2) for h in large.groupings]
    for g, lam in zip(small.groupings, small.lambdas(theta), strict=True):
        place = _place(g, large)
        if place is not None:
            M = _on_columns(g, large.groupings[place])
            out[place] += np.full_like(out[place], np.nan) if M is None else M @ lam @ lam.T @ M.T
        elif (over := _coarser(g, large)) is not None:
            out[over] += _of_finer(g, lam, large.groupings[over])
    return out


def _held(*specs: ModelSpec) -> bool:
    """Whether rows are in memory; else columns and levels are the same if their names are."""
    return all(spec.design.stream is None for spec in specs)


def _on_columns(g: Grouping, h: Grouping) -> Floats | None:
    """Columns of g as combinations (p_h, p_g) of those of h; None where they are none."""
    if not (isinstance(g.Z, np.ndarray) and isinstance(h.Z, np.ndarray)):
        if not set(g.columns) <= set(h.columns):
            return None
        return np.array([[float(a == b) for b in g.columns] for a in h.columns])
    return None if _outside(g.Z, h.Z) else np.asarray(np.linalg.lstsq(h.Z, g.Z, rcond=None)[0])


def _place(g: Grouping, spec: ModelSpec) -> int | None:
    """The factor of a model with the same levels."""
    return next((i for i, h in enumerate(spec.groupings) if _same_levels(g, h)), None)


def _coarser(g: Grouping, spec: ModelSpec) -> int | None:
    """The factor of a model whose levels hold those of g whole."""
    if not isinstance(g.codes, np.ndarray) or not _held(spec):
        return None
    for i, h in enumerate(spec.groupings):
        inside = len(np.unique(g.codes * h.n_levels + h.codes)) == g.n_levels
        if g.root is None and h.root is None and inside:
            return i
    return None


def _of_finer(g: Grouping, lam: Floats, h: Grouping) -> Floats:
    """What effects of levels within those of h add to its covariance; NaN if it is not the same for all of them."""
    none = np.full((len(h.columns),) * 2, np.nan)
    found = None
    ends = np.cumsum(np.bincount(h.codes, minlength=h.n_levels))
    for rows in np.split(np.argsort(h.codes, kind="stable"), ends[:-1]):
        columns = [np.where((g.codes[rows] == j)[:, None], g.Z[rows], 0.0) @ lam for j in np.unique(g.codes[rows])]
        own, _, rank, _ = np.linalg.lstsq(h.Z[rows], np.hstack(columns), rcond=None)
        if np.abs(h.Z[rows] @ own - np.hstack(columns)).max(initial=0.0) > ROUNDING:
            return none
        if rank < len(h.columns):
            continue  # a level in which some columns do not occur
        if found is not None and np.abs(own @ own.T - found).max() > ROUNDING * max(1.0, np.abs(found).max()):
            return none
        found = own @ own.T
    return none if found is None else found


def _same_levels(first: Grouping, second: Grouping) -> bool:
    """Whether two factors part the rows alike, with the same known covariance, if any."""
    if (first.root is None) != (second.root is None) or first.n_levels != second.n_levels:
        return False
    if not (isinstance(first.codes, np.ndarray) and isinstance(second.codes, np.ndarray)):
        return first.name == second.name
    if first.root is not None:
        assert second.root is not None
        return np.array_equal(first.codes, second.codes) and np.allclose(first.root, second.root)
    pairs = np.unique(first.codes * second.n_levels + second.codes)
    return len(pairs) == first.n_levels


def _residuals(small: ModelSpec, large: ModelSpec) -> str | None:
    if not _variance_within(small.variance, large.variance):
        return "the residual variance of the smaller model is none that the larger one has"
    one, other = small.correlation, large.correlation
    if one is not None and (other is None or repr(one.function) != repr(other.function)):
        return "the residual correlation of the smaller model is none that the larger one has"
    return None


def _variance_within(small: RowVariance | None, large: RowVariance | None) -> bool:
    if small is None:
        return True
    if large is None:
        return False
    if small.call == large.call:
        return True
    parts: Sequence[RowVariance] = (small, large)
    slopes = [[part.jacobian(np.full(len(part.names), at)) for at in (0.0, 0.5)] for part in parts]
    if small.of_fitted or large.of_fitted or not all(np.array_equal(at, there) for at, there in slopes):
        return False
    inner, outer = (np.vstack([own[0], np.ones((1, own[0].shape[1]))]).T for own in slopes)
    return not _outside(inner, outer)
