"""What the variances do to the covariance of β̂: its slopes, and the sums of Kenward and Roger's adjustment.

With V = W⁻¹ + ZDZᵀ, G_i = Z ∂D_i Zᵀ and T = ZᵀV⁻¹XRᵀ, where RᵀR = (XᵀV⁻¹X)⁻¹, all of them are sums over levels: nothing
is rows × rows, and levels that no row connects, through whichever factors, are held apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy

from _ranef.errors import NotAvailableError
from _ranef.likelihood.at import At
from _ranef.likelihood.crossproducts import CrossProducts
from _ranef.linalg import AmongLevels, BlockMatrix
from _ranef.support.arrays import Floats, Ints

__all__ = ["Adjustment", "adjustment", "coefficient_root", "vcov_slopes"]

#: effects of levels that rows connect, beyond which their covariances are not held
MOST_CONNECTED = 10_000

#: entries of such matrices held at once
CHUNK_ENTRIES = 4_000_000

#: a grouping of the spec and a change ∂D_k (p_k, p_k) of the covariance over σ² of its standard columns
Change = tuple[int, Floats]


@dataclass(frozen=True, eq=False, repr=False)
class Adjustment:
    """Sums for q changes G_i of V, in coordinates of β in which (XᵀV⁻¹X)⁻¹ is the identity.

    Attributes
    ----------
    root : array (p, p)
        H with HHᵀ = (XᵀV⁻¹X)⁻¹ on the user's scale.
    first : array (q, p, p)
        HᵀXᵀV⁻¹G_iV⁻¹XH.
    second : array (q, q, p, p)
        HᵀXᵀV⁻¹G_iV⁻¹G_jV⁻¹XH.
    trace : array (q,)
        tr V⁻¹G_i.
    traces : array (q, q)
        tr V⁻¹G_iV⁻¹G_j.
    """

    root: Floats
    first: Floats
    second: Floats
    trace: Floats
    traces: Floats

    @property
    def information(self) -> Floats:
        """Tr PG_iPG_j (q, q), twice the expected information of REML; `traces` are twice that of ML."""
        products = np.einsum("ipq,jqp->ij", self.first, self.first)
        return np.asarray(self.traces - 2.0 * np.einsum("ijpp->ij", self.second) + products)

    def with_scale(self, n: int) -> Adjustment:
        """The same with V itself as the last change, which σ² multiplies; n rows."""
        q, p = len(self.trace), self.root.shape[0]
        first = np.concatenate([self.first, np.eye(p)[None]])
        second = np.zeros((q + 1, q + 1, p, p))
        second[:q, :q], second[:q, q], second[q, :q], second[q, q] = self.second, self.first, self.first, np.eye(p)
        traces = np.block([[self.traces, self.trace[:, None]], [self.trace[None, :], np.array([[float(n)]])]])
        return Adjustment(self.root, first, second, np.append(self.trace, float(n)), traces)


def coefficient_root(at: At) -> Floats:
    """H (p, p) with HHᵀ = (XᵀV⁻¹X)⁻¹ on the user's scale."""
    return np.asarray(at.likelihood.products.scaling.X @ at.inner.inverse_root.T)


def vcov_slopes(at: At, changes: Sequence[Change]) -> Floats:
    """∂σ²(XᵀV⁻¹X)⁻¹ (q, p, p) along changes of covariances over σ², σ held."""
    half = at.sigma * coefficient_root(at)
    return np.asarray(half @ _first(at, changes) @ half.T)


def _first(at: At, changes: Sequence[Change]) -> Floats:
    """Σ over levels of TᵀdDT (q, p, p)."""
    T, p = at.across, at.inner.inverse_root.shape[0]
    sums = [np.einsum("jap,ab,jbr->pr", T[k][0], dD, T[k][1], optimize=True) for k, dD in changes]
    return np.array(sums).reshape(len(changes), p, p)


def adjustment(at: At, changes: Sequence[Change]) -> Adjustment:
    """The sums for changes of covariances over σ² of standard columns.

    Raises
    ------
    NotAvailableError
        If rows connect so many levels that the covariances of their effects cannot be held.
    """
    products, q, p = at.likelihood.products, len(changes), at.inner.inverse_root.shape[0]
    second, traces, trace = np.zeros((q, q, p, p)), np.zeros((q, q)), np.zeros(q)
    own = [(products.order.index(k), dD) for k, dD in changes]
    among = [at.likelihood.spec.groupings[k].among for k in products.order]
    for part in _connected(products, [at.across[k][0] for k in products.order], among):
        E = part.information([lam @ lam.T for lam in (at.roots[k] for k in products.order)])
        moved = [part.times(k, dD, E) for k, dD in own]  # the rows of G E that are not zero
        lifted = [part.times(k, dD, part.T) for k, dD in own]
        for i, (k, _) in enumerate(own):
            trace[i] += np.einsum("baa->", moved[i][:, :, part.where[k]])
            for j, (l, _) in enumerate(own[: i + 1]):
                between = E[:, part.where[k], part.where[l]]
                second[i, j] += np.einsum("bap,bar->pr", lifted[i], between @ lifted[j])
                ahead, back = moved[i][:, :, part.where[l]], moved[j][:, :, part.where[k]]
                traces[i, j] += np.einsum("bac,bca->", ahead, back)
    for i in range(q):
        second[:i, i], traces[:i, i] = np.swapaxes(second[i, :i], 1, 2), traces[i, :i]
    return Adjustment(coefficient_root(at), _first(at, changes), second, trace, traces)


@dataclass(frozen=True, eq=False, repr=False)
class _Connected:
    """B groups of levels that rows connect, with as many levels n_k of each factor; factors in elimination order.

    Attributes
    ----------
    A : array (B, m, m)
        ZᵀWZ of their effects.
    T : array (B, m, p)
    where : tuple of slice
        Effects of each factor among the m.
    among : sequence of AmongLevels, optional
        By factor, the covariance among levels where it is known; all of its levels are then in one group.
    """

    A: Floats
    T: Floats
    where: tuple[slice, ...]
    among: Sequence[AmongLevels | None]

    def information(self, covariances: Sequence[Floats]) -> Floats:
        """ZᵀV⁻¹Z = (I + AD)⁻¹A (B, m, m)."""
        spread = np.empty_like(self.A)
        for k, D in enumerate(covariances):
            spread[:, :, self.where[k]] = np.swapaxes(self.times(k, D, np.swapaxes(self.A, 1, 2)), 1, 2)
        return np.linalg.solve(np.eye(self.A.shape[1]) + spread, self.A)

    def times(self, k: int, dD: Floats, columns: Floats) -> Floats:
        """The rows (B, n_k p_k, r) of factor `k` of `columns` (B, m, r), from the left by dD for every level."""
        rows, known = columns[:, self.where[k]], self.among[k]
        B, m, r = rows.shape
        own = dD @ rows.reshape(B, m // len(dD), len(dD), r)
        return (own if known is None or not m else known.times(own[0])).reshape(B, m, r)


def _connected(
    products: CrossProducts, T: Sequence[Floats], among: Sequence[AmongLevels | None]
) -> Iterator[_Connected]:
    """All levels, by groups that rows connect; those alike together, as many as may be held."""
    A = products.A
    if not A.diag:
        return
    label = _components(A, [k for k, known in enumerate(among) if known is not None])
    n_groups = 1 + max(int(own.max()) for own in label)
    counts = np.stack([np.bincount(own, minlength=n_groups) for own in label], axis=1)
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    for number, count in enumerate(kinds):
        m = int((count * A.sizes).sum())
        if m > MOST_CONNECTED:
            raise NotAvailableError(
                f"Kenward and Roger's adjustment needs the covariances of all effects that rows connect, and here they "
                f"are {m} (at most {MOST_CONNECTED}). Take ddf='satterthwaite'."
            )
        alike = np.flatnonzero(kind.ravel() == number)
        step = max(1, CHUNK_ENTRIES // (m * m))
        for start in range(0, len(alike), step):
            yield _gathered(A, T, label, alike[start : start + step], count, among)


def _components(A: BlockMatrix, related: Sequence[int]) -> list[Ints]:
    """The group of every level (J_k,) by factor: levels that rows connect, or K, have the same."""
    starts = np.concatenate([[0], np.cumsum(A.n_levels)])
    ends = [(starts[k] + pair.rows, starts[l] + pair.cols) for (k, l), pair in A.pairs.items()]
    ends += [(np.full(A.n_levels[k], starts[k]), starts[k] + np.arange(A.n_levels[k])) for k in related]
    none = np.zeros(0, dtype=np.intp)
    rows, cols = (np.concatenate([none, *(end[side] for end in ends)]) for side in (0, 1))
    graph = scipy.sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(starts[-1], starts[-1]))
    label = scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.intp)
    return [label[a:b] for a, b in pairwise(starts.tolist())]


def _gathered(
    A: BlockMatrix,
    T: Sequence[Floats],
    label: Sequence[Ints],
    groups: Ints,
    count: Ints,
    among: Sequence[AmongLevels | None],
) -> _Connected:
    """The groups of that many levels of each factor."""
    ends = np.cumsum(count * A.sizes)
    where = tuple(slice(int(end - c * p), int(end)) for end, c, p in zip(ends, count, A.sizes, strict=True))
    B, m, width = len(groups), int(ends[-1]), T[0].shape[2]
    group = np.full(1 + max(int(own.max()) for own in label), -1)
    group[groups] = np.arange(B)
    first = [at.start + _place(own) * p for at, own, p in zip(where, label, A.sizes, strict=True)]
    dense, columns = np.zeros((B, m, m)), np.zeros((B, m, width))
    effects = [start[:, None] + np.arange(p) for start, p in zip(first, A.sizes, strict=True)]
    for k, own in enumerate(label):
        here = np.flatnonzero(group[own] >= 0)
        b, at = group[own[here]], effects[k][here]
        dense[b[:, None, None], at[:, :, None], at[:, None, :]] = A.diag[k][here]
        columns[b[:, None], at] = T[k].reshape(len(own), A.sizes[k], width)[here]
    for (k, l), pair in A.pairs.items():
        here = np.flatnonzero(group[label[k][pair.rows]] >= 0)
        b = group[label[k][pair.rows[here]]][:, None, None]
        rows, cols = effects[k][pair.rows[here]][:, :, None], effects[l][pair.cols[here]][:, None, :]
        dense[b, rows, cols] = pair.blocks[here]
        dense[b, np.swapaxes(cols, 1, 2), np.swapaxes(rows, 1, 2)] = np.swapaxes(pair.blocks[here], 1, 2)
    return _Connected(dense, columns, where, among)


def _place(label: Ints) -> Ints:
    """Number of each level (J,) among those of its group."""
    order = np.argsort(label, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(label))])
    out = np.empty(len(label), dtype=np.intp)
    out[order] = np.arange(len(label)) - starts[label[order]]
    return out
