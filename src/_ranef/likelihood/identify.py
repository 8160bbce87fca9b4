"""Which variance parameters the data determine, by rank, before anything is maximised.

REML sees V only through SVS, S the projection off X, and ML sees V whole. V is linear in the entries of each D_k and
in σ², so a combination of them whose SZΔZᵀS vanishes changes nothing: the likelihood is flat along it everywhere, and
wherever an optimiser stops along it is arbitrary. Whether there is one is the rank of a linear map, found from the
cross-products, ZᵀSZ = A − ZᵀX(XᵀX)⁻¹XᵀZ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from _ranef.likelihood.criterion import Method
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.spec import ModelSpec, TermSpec
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["GOLDEN", "NO_PART", "Undetermined", "null_vectors", "undetermined"]

#: squared share of a direction that nothing else has, above which a look at sums of squares is proof enough
SURE = 1e-6

#: most random effects whose ZᵀSZ is decomposed where that look leaves doubt
MOST_EFFECTS = 1500

#: eigenvalue of ZᵀSZ, beside the largest, below which a combination of columns lies in X: at 3e-7 of its length
IN_X = 1e-13

#: singular value of the map below which a direction is lost, and its square where only squares are to be had
LOST, LOST_SQUARED = 1e-8, 1e-11

#: multiples of it are spread evenly between whole numbers
GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)

#: share of an undetermined direction below which a parameter has no part in it
NO_PART = 1e-5


@dataclass(frozen=True)
class _Direction:
    """A symmetric matrix Δ (p_k, p_k) by which D_k on the internal scale may change.

    Attributes
    ----------
    term : int
        Place among the terms of the spec.
    place : int
        Of its grouping in the elimination order.
    delta : array (p_k, p_k)
    """

    term: int
    place: int
    delta: Floats


@dataclass(frozen=True)
class Undetermined:
    """Which entries of θ stand for a variance or covariance that the likelihood does not determine.

    Attributes
    ----------
    entries : array of bool (n_theta,)
        By itself, or only as part of a combination with others or with σ².
    alone : array of bool (n_theta,)
        By itself.
    """

    entries: Bools
    alone: Bools


def undetermined(spec: ModelSpec, products: CrossProducts, method: Method) -> Undetermined:
    """Find what the data leave open, by rank."""
    nothing = np.zeros(spec.n_theta, dtype=bool)
    if not spec.terms:
        return Undetermined(nothing, nothing)
    directions = _directions(spec, products)
    fixed = _fixed_rows(products, method)
    if spec.related:
        return _undetermined_among_related(spec, products, directions, fixed)
    gram, sizes = _gram(products, directions, fixed, spec.sigma is None)
    if _least_eigenvalue(gram, sizes**2) > SURE:
        return Undetermined(nothing, nothing)
    effects = sum(J * p for J, p in zip(products.A.n_levels, products.A.sizes, strict=True))
    if effects <= MOST_EFFECTS:
        lost, gone = null_vectors(_map(products, directions, fixed, spec.sigma is None), sizes)
    else:
        values, vectors = np.linalg.eigh(gram / np.outer(sizes, sizes))
        lost = vectors[:, values < LOST_SQUARED] / sizes[:, None]
        gone = np.diag(gram) < LOST_SQUARED * sizes**2
    if not lost.size:
        return Undetermined(nothing, nothing)
    return Undetermined(_entries(spec, products, directions, lost), gone[: spec.n_theta])


def _undetermined_among_related(
    spec: ModelSpec, products: CrossProducts, directions: Sequence[_Direction], fixed: Sequence[Floats]
) -> Undetermined:
    """The same by the map alone, where it is not too large."""
    nothing, free = np.zeros(spec.n_theta, dtype=bool), spec.sigma is None
    if sum(J * p for J, p in zip(products.A.n_levels, products.A.sizes, strict=True)) > MOST_EFFECTS:
        return Undetermined(nothing, nothing)
    columns = _map(products, directions, fixed, free)
    sizes = np.sqrt([_length(products, d) for d in directions] + [float(products.n_obs)] * free)
    lost, gone = null_vectors(columns, np.where(sizes > 0, sizes, 1.0))
    if not lost.size:
        return Undetermined(nothing, nothing)
    return Undetermined(_entries(spec, products, directions, lost), gone[: spec.n_theta])


def _length(products: CrossProducts, d: _Direction) -> float:
    """Σ_jl K_jl² tr ΔA_jΔA_l, the square of the length of Z(K ⊗ Δ)Zᵀ."""
    moved, among = d.delta @ products.A.diag[d.place], products.among[d.place]
    if among is None:
        return float((moved * np.swapaxes(moved, 1, 2)).sum())
    weights = (among.dense_root @ among.dense_root.T) ** 2
    return float(np.einsum("jl,jab,lba->", weights, moved, moved, optimize=True))


def _directions(spec: ModelSpec, products: CrossProducts) -> list[_Direction]:
    """A basis of the matrices that each term's structure allows, in the order of θ; tangents, if these are no space."""
    out: list[_Direction] = []
    # θ all different: where sds are equal, cs() and a residual have a tangent in common that they have nowhere else
    theta = 1.0 + np.arange(spec.n_theta) * GOLDEN % 1.0
    derivatives, lambdas = spec.root_derivatives(theta), spec.lambdas(theta)
    for i, t in enumerate(spec.terms):
        place, own = products.order.index(t.grouping), [root for term, root in derivatives if term is t]
        if t.structure.shapes:
            own = [root @ lambdas[t.grouping].T for root in own]
        deltas = [0.5 * (root + root.T) for root in own]
        out += [_Direction(i, place, d) for d in deltas]
    return out


def _fixed_rows(products: CrossProducts, method: Method) -> list[Floats]:
    """U (J_k, p_k, p) of every factor with UᵢUⱼᵀ = ZᵢᵀX(XᵀX)⁻¹XᵀZⱼ; no columns under ML, which projects nothing."""
    p = products.n_fixed if method == "REML" else 0
    half = np.linalg.inv(np.linalg.cholesky(products.corner[:p, :p]))
    return [Xy[:, :, :p] @ half.T for Xy in products.Xy]


def _gram(
    products: CrossProducts, directions: Sequence[_Direction], fixed: Sequence[Floats], free: bool
) -> tuple[Floats, Floats]:
    """Inner products of the matrices SZΔZᵀS (and S, for a free σ²), and the lengths of ZΔZᵀ before the projection."""
    m = len(directions)
    gram, sizes = np.zeros((m + free, m + free)), np.ones(m + free)
    own = [np.array([d.delta for d in directions if d.place == k]) for k in range(len(fixed))]
    at = [np.flatnonzero([d.place == k for d in directions]) for k in range(len(fixed))]
    across = [np.tensordot(D, np.tensordot(U, U, (0, 0)), ((1, 2), (0, 2))) for U, D in zip(fixed, own, strict=True)]
    for k, A in enumerate(products.A.diag):
        levels = np.arange(len(A))
        gram[np.ix_(at[k], at[k])] += _between(own[k], own[k], A, fixed[k], fixed[k], levels, levels)
        sizes[at[k]] = np.sqrt(np.diagonal(_contracted(own[k], own[k], np.tensordot(A, A, (0, 0)))))
        if free:
            blocks = A.sum(axis=0) - np.einsum("jap,jbp->ab", fixed[k], fixed[k])
            gram[m, at[k]] = gram[at[k], m] = np.einsum("dab,ab->d", own[k], blocks)
    for (k, l), pair in products.A.pairs.items():
        block = _between(own[k], own[l], pair.blocks, fixed[k], fixed[l], pair.rows, pair.cols)
        gram[np.ix_(at[k], at[l])] += block
        gram[np.ix_(at[l], at[k])] += block.T
    for k in range(len(fixed)):
        for l in range(len(fixed)):
            gram[np.ix_(at[k], at[l])] += np.tensordot(across[k], across[l], ((1, 2), (2, 1)))
    if free:
        gram[m, m] = products.n_obs - fixed[0].shape[2]
        sizes[m] = np.sqrt(gram[m, m])
    return gram, np.where(sizes > 0, sizes, 1.0)


def _between(first: Floats, second: Floats, blocks: Floats, U: Floats, V: Floats, rows: Ints, cols: Ints) -> Floats:
    """Σ over pairs of levels that share rows of tr ΔNΔ'Nᵀ less what all pairs have, tr ΔUUᵀΔ'…, counted elsewhere."""
    fixed = U[rows] @ np.swapaxes(V[cols], 1, 2)
    return _contracted(first, second, np.tensordot(blocks, blocks - 2.0 * fixed, (0, 0)))


def _contracted(first: Floats, second: Floats, moment: Floats) -> Floats:
    """Σ over a, b, c, f of Δ_ab M_bcaf Δ'_cf for every pair of Δ (d, p, p) and Δ' (e, q, q)."""
    return np.tensordot(np.tensordot(first, moment, ((1, 2), (2, 0))), second, ((1, 2), (1, 2)))


def _least_eigenvalue(gram: Floats, squares: Floats) -> float:
    scale = np.sqrt(squares)
    return float(np.linalg.eigvalsh(gram / np.outer(scale, scale))[0])


def _map(products: CrossProducts, directions: Sequence[_Direction], fixed: Sequence[Floats], free: bool) -> Floats:
    """The matrices SZΔZᵀS (and S) as columns, in coordinates of the span of SZ."""
    shapes = list(zip(products.A.n_levels, products.A.sizes, strict=True))
    edges = np.cumsum([0, *(J * p for J, p in shapes)])
    at = [np.arange(low, high).reshape(shape) for (low, high), shape in zip(pairwise(edges), shapes, strict=True)]
    N = np.zeros((edges[-1], edges[-1]))
    for place, block in zip(at, products.A.diag, strict=True):
        N[place[:, :, None], place[:, None, :]] = block
    for (k, l), pair in products.A.pairs.items():
        i, j = at[k][pair.rows], at[l][pair.cols]
        N[i[:, :, None], j[:, None, :]] = pair.blocks
        N[j[:, None, :], i[:, :, None]] = pair.blocks
    U = np.concatenate([u.reshape(u.shape[0] * u.shape[1], u.shape[2]) for u in fixed])
    largest = float(np.diag(N).max())
    values, vectors = np.linalg.eigh(N - U @ U.T)
    kept = values > IN_X * largest
    R = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    columns = []
    for d in directions:
        own = R[:, at[d.place]]  # (r, J, p)
        among = products.among[d.place] if products.among else None
        if among is not None:
            own = np.einsum("rja,jl->rla", own, among.dense_root)
        columns.append(np.einsum("rja,ab,sjb->rs", own, d.delta, own, optimize=True).ravel())
    r, rest = len(R), products.n_obs - U.shape[1] - len(R)
    out = np.vstack([np.array(columns).reshape(len(directions), r * r).T, np.zeros(len(directions))])
    return np.column_stack([out, np.append(np.eye(r).ravel(), np.sqrt(max(rest, 0)))]) if free else out


def null_vectors(columns: Floats, sizes: Floats) -> tuple[Floats, Bools]:
    """Combinations (m, k) of the columns that vanish, and which columns (m,) do."""
    lengths = np.sqrt((columns**2).sum(axis=0))
    gone = lengths <= LOST * sizes
    lengths = np.where(gone, sizes, lengths)
    triangle = np.linalg.qr(np.where(gone, 0.0, columns) / lengths, mode="r")
    _, values, right = np.linalg.svd(np.vstack([triangle, np.zeros((len(sizes), len(sizes)))]))
    return np.asarray(right[values < LOST].T / lengths[:, None]), gone


def _entries(spec: ModelSpec, products: CrossProducts, directions: Sequence[_Direction], lost: Floats) -> Bools:
    """Which entries of θ have a part in lost directions, read on the user's scale."""
    out = np.zeros((spec.n_theta, lost.shape[1]))
    for i, t in enumerate(spec.terms):
        T = products.scaling.Z[t.grouping][t.where, t.where]
        rms = np.sqrt((np.linalg.inv(T) ** 2).sum(axis=0))
        at = [j for j, d in enumerate(directions) if d.term == i]
        deltas = np.array([directions[j].delta[t.where, t.where] for j in at])
        if t.structure.shapes:  # each direction is that of one parameter
            sizes = np.einsum("ab,dbc,ec->dae", T, deltas, T) * np.outer(rms, rms)
            out[t.theta] = np.abs(lost[at]) * np.abs(sizes).max(axis=(1, 2))[:, None]
            continue
        changes = np.einsum("ab,dbc,ec,dk->kae", T, deltas, T, lost[at], optimize=True) * np.outer(rms, rms)
        out[t.theta] = _strongest(t, changes).T
    return np.asarray(
        (out > NO_PART * np.maximum(out.max(axis=0), np.abs(lost[len(directions) :]).max(initial=0.0))).any(axis=1)
    )


def _strongest(term: TermSpec, changes: Floats) -> Floats:
    """The largest entry (k, n_theta) of each change (k, p, p) that belongs to each parameter."""
    touched = term.structure.touched(np.ones(term.structure.n_theta))
    return np.asarray((np.abs(changes)[:, None] * touched).max(axis=(2, 3)))
