"""Log densities of whole groups of rows with the random effects of the group integrated out, for all draws.

A group integrates every effect whose rows all lie within it: those of its own level, of levels nested in it, and of
levels of other factors that happen to occur there alone. Effects that it shares with other groups keep their drawn
values. With Z, D the columns and variances (over σ²) of the effects integrated, V = W⁻¹ + ZDZᵀ and

    log p(y_j | β, b_shared, θ, σ) = −½[n_j log 2πσ² − Σ log w + log|I + ΛᵀZᵀWZΛ| + rᵀV⁻¹r/σ²],

r the rows without Xβ and the shared effects. V⁻¹ is never formed: the factor with most levels is eliminated level by
level, the others of the group densely, from cross-products of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.errors import FitError, NotAvailableError
from _ranef.linalg.blocks import cholesky, forward_substitute, segment_matrix, segment_sum, transpose
from _ranef.results import PosteriorDraws
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["RowGroups", "group_log_densities", "has_shared_effects", "left_out_log_densities"]

#: numbers held at once for a block of draws
BLOCK_ENTRIES = 4_000_000

#: share of the information on a coefficient below which a group leaves nothing for the others
NOTHING_LEFT = 1e-9


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A partition of the rows.

    Attributes
    ----------
    name : str
        Of the factor.
    codes : array of int (n,)
        Group of every row.
    levels : array of str (J,)
        Every group has rows.
    """

    name: str
    codes: Ints
    levels: Sequence[str]

    @property
    def size(self) -> int:
        """Number of groups J."""
        return len(self.levels)


def group_log_densities(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> Floats:
    """Log density (chains, draws, J) of each group's rows given β, σ, θ and the effects that it shares with others.

    Raises
    ------
    FitError
        If the response is not Gaussian: then no closed form exists.
    """
    problem = _prepare(spec, draws, groups)
    parts = []
    for some in problem.blocks(1):
        log_det, gram = problem.eliminate(some, problem.residuals(some))
        parts.append(problem.constant(some, log_det) - 0.5 * gram[..., 0, 0] / problem.sigma[some] ** 2)
    return problem.as_draws(parts)


def left_out_log_densities(
    spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups, precision: Floats, shift: Floats
) -> Floats:
    """Log density (chains, draws, J) of each group's rows given all other rows, θ, σ and shared effects.

    β is integrated, too: its posterior from the other rows is that from all rows with the group's information taken
    out. With G_j = [X e]ᵀV_j⁻¹[X e], P = K + Σ_j G_XX,j/σ² and h = s + Σ_j G_Xe,j/σ²,

        log p(y_j | y_-j) = const_j − ½ G_ee,j/σ² − ½(log|P| − log|P_-j|) + ½(hᵀP⁻¹h − h_-jᵀP_-j⁻¹h_-j).

    Parameters
    ----------
    spec, draws, groups
        As for :func:`group_log_densities`.
    precision : array (p, p)
        K, prior precision of β; zero in flat directions.
    shift : array (p,)
        K times the prior mean.

    Raises
    ------
    FitError
        If the response is not Gaussian, or flat priors leave a coefficient undetermined without some group.
    """
    problem = _prepare(spec, draws, groups)
    inverse = np.linalg.inv(problem.R)
    K = inverse.T @ precision @ inverse
    s = inverse.T @ (shift - precision @ problem.centre)
    problem.require_determined(K)
    p, parts = spec.n_fixed, []
    for some in problem.blocks(p + 1):
        log_det, gram = problem.eliminate(some, problem.joint(some))
        gram = gram / problem.sigma[some][:, None, None] ** 2
        total = gram.sum(axis=0)
        without = total - gram
        log_all, square_all = _integral(total[None, :, :p, :p] + K, total[None, :, :p, p] + s)
        log_rest, square_rest = _integral(without[..., :p, :p] + K, without[..., :p, p] + s)
        change = 0.5 * (log_rest - log_all) + 0.5 * (square_all - square_rest)
        parts.append(problem.constant(some, log_det) - 0.5 * gram[..., p, p] + change)
    return problem.as_draws(parts)


def has_shared_effects(spec: ModelSpec, groups: RowGroups) -> bool:
    """Whether some random effects reach over several groups."""
    return any(bool((home < 0).any()) for home in _homes(spec, groups))


def _integral(P: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Log |P| and hᵀP⁻¹h for positive definite P (J, S, p, p) and h (J, S, p)."""
    J, S, p = h.shape
    if p == 0:
        return np.zeros((J, S)), np.zeros((J, S))
    root = cholesky(P.reshape(J * S, p, p))
    z = forward_substitute(root, h.reshape(J * S, p, 1))
    log_det = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    return log_det.reshape(J, S), (z[..., 0] ** 2).sum(axis=1).reshape(J, S)


def _homes(spec: ModelSpec, groups: RowGroups) -> list[Ints]:
    """For every level (J_k,) of every grouping the group that holds all its rows, or −1."""
    out = []
    for g in spec.groupings:
        low, high = np.full(g.n_levels, groups.size), np.full(g.n_levels, -1)
        np.minimum.at(low, g.codes, groups.codes)
        np.maximum.at(high, g.codes, groups.codes)
        out.append(np.where(low == high, low, -1))
    return out


@dataclass(frozen=True, eq=False)
class _Bucket:
    """Groups whose outer effects are laid out alike.

    Attributes
    ----------
    groups : array of int (G,)
    rows : array of int (m,)
    Zi, Zo, one : sparse (L p, m), (G q, m), (G, m)
        Weighted columns of the inner factor's L levels, of the outer effects, and of the groups, transposed.
    Aii, Aio, Aoo : array (L, p, p), (L, p, q), (G, q, q)
        Cross-products.
    to_group : sparse (G, L)
        Which group holds a level of the inner factor.
    layout : tuple of (int, int)
        Grouping and number of its levels, for the outer effects of each of the groups.
    """

    groups: Ints
    rows: Ints
    Zi: scipy.sparse.csr_array
    Zo: scipy.sparse.csr_array
    one: scipy.sparse.csr_array
    Aii: Floats
    Aio: Floats
    Aoo: Floats
    to_group: scipy.sparse.csr_array
    layout: tuple[tuple[int, int], ...]

    def sums(self, columns: Floats) -> tuple[Floats, Floats]:
        """ZᵀW times columns (m, c) of the bucket's rows, inner (L, p, c) and outer (G, q, c)."""
        c = columns.shape[1]
        inner, outer = np.asarray(self.Zi @ columns), np.asarray(self.Zo @ columns)
        return inner.reshape(*self.Aii.shape[:2], c), outer.reshape(*self.Aoo.shape[:2], c)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Cross-products of columns to be carried through the elimination; the second axis is draws, or one for all.

    Attributes
    ----------
    inner, outer : array (L, S, p, m), (G, S, q, m)
    own : array (G, S, m, m)
    """

    inner: Floats
    outer: Floats
    own: Floats


@dataclass(frozen=True, eq=False)
class _Problem:
    """Everything about one model and partition; draws are flat, S = chains × draws.

    X̃ = X R⁻¹ is orthonormal, and β = `centre` + R⁻¹δ; `rest` is y without `centre` and the means of shared effects.
    """

    spec: ModelSpec
    groups: RowGroups
    shape: tuple[int, int]
    sigma: Floats
    lambdas: Sequence[Floats]
    delta: Floats
    shared: list[tuple[int, Floats]]
    X: Floats
    R: Floats
    centre: Floats
    rest: Floats
    fixed: list[tuple[Floats, Floats, Floats]]
    buckets: list[_Bucket]
    inner: int

    def blocks(self, m: int) -> Iterator[slice]:
        """Blocks of draws that keep m columns of every level in bounds."""
        each = self.spec.n_obs if self.shared else 1
        for b in self.buckets:
            (L, p, q), G = b.Aio.shape, len(b.groups)
            each += L * p * (2 * p + q + m) + G * (q * (2 * q + m) + 3 * m * m)
        step = max(1, BLOCK_ENTRIES // each)
        return (slice(start, start + step) for start in range(0, self.sigma.size, step))

    def rows(self, some: slice) -> Floats:
        """The rows without Xβ̄ and the shared effects (n, S), or (n, 1) where there are none."""
        out = self.rest[:, None]
        for k, b in self.shared:
            g = self.spec.groupings[k]
            for a in range(len(g.columns)):
                out = out - (b[some, :, a].T)[g.codes] * g.Z[:, a, None]
        return out

    def residuals(self, some: slice) -> list[_Columns]:
        """One column by bucket: the rows without Xβ and the shared effects."""
        values, delta = self.rows(some), self.delta[some]
        out = []
        for b, (inner, outer, own) in zip(self.buckets, self.fixed, strict=True):
            e = values[b.rows]
            inner_e, outer_e = (np.swapaxes(v, 1, 2)[..., None] for v in b.sums(e))
            X_e = self._with_X(b, e)
            squares = np.asarray(b.one @ e**2)
            squares = squares - 2.0 * np.einsum("gsp,sp->gs", np.broadcast_to(X_e, (len(own), *delta.shape)), delta)
            squares = squares + np.einsum("gpq,sp,sq->gs", own, delta, delta, optimize=True)
            inner_e = inner_e - np.einsum("lap,sp->lsa", inner, delta)[..., None]
            outer_e = outer_e - np.einsum("gap,sp->gsa", outer, delta)[..., None]
            out.append(_Columns(inner_e, outer_e, squares[..., None, None]))
        return out

    def joint(self, some: slice) -> list[_Columns]:
        """Columns [X̃ e] by bucket."""
        values, p = self.rows(some), self.spec.n_fixed
        out = []
        for b, (inner, outer, own) in zip(self.buckets, self.fixed, strict=True):
            e = values[b.rows]
            S = e.shape[1]
            inner_e, outer_e = (np.swapaxes(v, 1, 2)[..., None] for v in b.sums(e))
            both = np.empty((len(own), S, p + 1, p + 1))
            both[..., :p, :p] = own[:, None]
            both[..., :p, p] = both[..., p, :p] = self._with_X(b, e)
            both[..., p, p] = np.asarray(b.one @ e**2)
            out.append(_Columns(_beside(inner, inner_e), _beside(outer, outer_e), both))
        return out

    def _with_X(self, b: _Bucket, e: Floats) -> Floats:
        """X̃ᵀWe (G, S, p) by group."""
        columns = [np.asarray(b.one @ (self.X[b.rows, a, None] * e)) for a in range(self.spec.n_fixed)]
        return np.stack(columns, axis=-1) if columns else np.zeros((len(b.groups), e.shape[1], 0))

    def eliminate(self, some: slice, columns: list[_Columns]) -> tuple[Floats, Floats]:
        """Log |I + ΛᵀAΛ| (J, S) and EᵀV⁻¹E (J, S, m, m) for columns E."""
        lambdas = [lam[some] for lam in self.lambdas]
        S, m = self.sigma[some].size, columns[0].own.shape[-1]
        log_det, gram = np.empty((self.groups.size, S)), np.empty((self.groups.size, S, m, m))
        for b, c in zip(self.buckets, columns, strict=True):
            log_det[b.groups], gram[b.groups] = _eliminate(b, c, lambdas, self.inner, S)
        return log_det, gram

    def constant(self, some: slice, log_det: Floats) -> Floats:
        """−½[n_j log 2πσ² − Σ log w + log|V|] (J, S)."""
        J = self.groups.size
        n = np.bincount(self.groups.codes, minlength=J)
        logs = np.bincount(self.groups.codes, self.spec.residual.log_precision, minlength=J)[:, None]
        return np.asarray(-0.5 * (n[:, None] * np.log(2.0 * np.pi * self.sigma[some] ** 2) - logs + log_det))

    def require_determined(self, K: Floats) -> None:
        """Refuse a group without which the data and the prior leave a coefficient open."""
        p = self.spec.n_fixed
        if p == 0 or np.linalg.matrix_rank(K) == p:
            return
        for b, (_, _, own) in zip(self.buckets, self.fixed, strict=True):
            values, vectors = np.linalg.eigh(np.eye(p) - own)
            for j in np.flatnonzero(values[:, 0] < NOTHING_LEFT):
                lost = vectors[j][:, values[j] < NOTHING_LEFT]
                if np.linalg.matrix_rank(K @ lost) < lost.shape[1]:
                    level = self.groups.levels[b.groups[j]]
                    raise FitError(
                        f"Without the rows of {self.groups.name}={level!r} a coefficient is not determined, and its "
                        "prior is flat: there is nothing to predict these rows from. Sample with a proper prior, "
                        "such as the default."
                    )

    def as_draws(self, parts: Sequence[Floats]) -> Floats:
        """Blocks (J, S) side by side, as (chains, draws, J)."""
        return np.ascontiguousarray(np.concatenate(parts, axis=1).T).reshape(*self.shape, self.groups.size)


def _beside(fixed: Floats, e: Floats) -> Floats:
    """[X̃ e] (L, S, p, m + 1) from (L, p, m) and (L, S, p, 1)."""
    L, S, p, _ = e.shape
    return np.concatenate([np.broadcast_to(fixed[:, None], (L, S, p, fixed.shape[2])), e], axis=-1)


def _eliminate(b: _Bucket, c: _Columns, lambdas: Sequence[Floats], inner: int, S: int) -> tuple[Floats, Floats]:
    """Log-determinants (G, S) and EᵀV⁻¹E (G, S, m, m) of one bucket."""
    (L, p, q), G, m = b.Aio.shape, len(b.groups), c.own.shape[-1]
    log_det: Floats = np.zeros((G, S))
    gram: Floats = np.broadcast_to(c.own, (G, S, m, m))
    H = R = None
    if q:
        outer = _block_diagonal(lambdas, b.layout, S)
        H = np.eye(q) + transpose(outer) @ b.Aoo[:, None] @ outer
        R = np.broadcast_to(transpose(outer) @ c.outer, (G, S, q, m))
    if L:
        lam = lambdas[inner]
        root = cholesky((np.eye(p) + transpose(lam) @ b.Aii[:, None] @ lam).reshape(L * S, p, p))
        carried = np.broadcast_to(transpose(lam) @ c.inner, (L, S, p, m)).reshape(L * S, p, m)
        C = forward_substitute(root, carried).reshape(L, S, p, m)
        logs = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1).reshape(L, S)
        log_det = segment_sum(b.to_group, logs)
        gram = gram - segment_sum(b.to_group, transpose(C) @ C)
        if H is not None and R is not None:
            B = forward_substitute(root, (transpose(lam) @ b.Aio[:, None] @ outer).reshape(L * S, p, q))
            B = B.reshape(L, S, p, q)
            H = H - segment_sum(b.to_group, transpose(B) @ B)
            R = R - segment_sum(b.to_group, transpose(B) @ C)
    if H is not None and R is not None:
        root = np.linalg.cholesky(H).reshape(G * S, q, q)
        C = forward_substitute(root, R.reshape(G * S, q, m)).reshape(G, S, q, m)
        log_det = log_det + 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1).reshape(G, S)
        gram = gram - transpose(C) @ C
    return log_det, gram


def _block_diagonal(lambdas: Sequence[Floats], layout: Sequence[tuple[int, int]], S: int) -> Floats:
    """Λ (S, q, q) of the outer effects of one group."""
    q = sum(count * lambdas[k].shape[-1] for k, count in layout)
    out, start = np.zeros((S, q, q)), 0
    for k, count in layout:
        p = lambdas[k].shape[-1]
        for _ in range(count):
            out[:, start : start + p, start : start + p] = lambdas[k]
            start += p
    return out


def _prepare(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> _Problem:
    if draws.not_normal:
        raise FitError(
            f"Student t in this model: {draws.not_normal}. The random effects of a group can then not be integrated "
            "out in closed form. Use kind='conditional', or sample a normal model."
        )
    if spec.related:
        raise NotAvailableError(
            "Levels with a known covariance among them (cov=) cannot be left out one by one. Use kind='conditional'."
        )
    d, S = spec.design, draws.sigma.size
    homes = _homes(spec, groups)
    beta = draws.beta.reshape(S, spec.n_fixed)
    centre = beta.mean(axis=0)
    root = spec.residual.root
    R = np.linalg.qr(d.X * root[:, None])[1]
    X = np.linalg.solve(R.T, d.X.T).T
    shared, means = _shared_effects(draws, homes, S)
    rest = d.y - d.X @ centre - (0.0 if d.offset is None else d.offset)
    for k, mean in means:
        g = spec.groupings[k]
        rest = rest - (g.Z * mean[g.codes]).sum(axis=1)
    counts = np.zeros((max(1, len(homes)), groups.size), dtype=np.intp)
    for k, home in enumerate(homes):
        counts[k] = np.bincount(home[home >= 0], minlength=groups.size)
    inner = int(counts.sum(axis=1).argmax()) if counts.any() else -1
    buckets = _buckets(spec, groups, homes, counts, inner)
    return _Problem(
        spec=spec,
        groups=groups,
        shape=(draws.sigma.shape[0], draws.sigma.shape[1]),
        sigma=draws.sigma.ravel(),
        lambdas=_lambda_draws(spec, draws),
        delta=(beta - centre) @ R.T,
        shared=shared,
        X=X,
        R=R,
        centre=centre,
        rest=rest,
        fixed=[_fixed_columns(bucket, X[bucket.rows]) for bucket in buckets],
        buckets=buckets,
        inner=inner,
    )


def _shared_effects(
    draws: PosteriorDraws, homes: Sequence[Ints], S: int
) -> tuple[list[tuple[int, Floats]], list[tuple[int, Floats]]]:
    """Of every grouping that reaches over groups: effects (S, J_k, p_k) round their means, and means (J_k, p_k)."""
    around, means = [], []
    for k, (home, b) in enumerate(zip(homes, draws.b, strict=True)):
        if (home < 0).any():
            values = np.where((home < 0)[:, None], b, 0.0).reshape(S, *b.shape[2:])
            means.append((k, values.mean(axis=0)))
            around.append((k, values - means[-1][1]))
    return around, means


def _fixed_columns(bucket: _Bucket, X: Floats) -> tuple[Floats, Floats, Floats]:
    """ZᵀWX̃ (L, p_k, p) and (G, q, p), and X̃ᵀWX̃ (G, p, p)."""
    n, p = X.shape
    pairs = (X[:, :, None] * X[:, None, :]).reshape(n, p * p)
    return (*bucket.sums(X), np.asarray(bucket.one @ pairs).reshape(len(bucket.groups), p, p))


def _lambda_draws(spec: ModelSpec, draws: PosteriorDraws) -> Sequence[Floats]:
    """λ_k (S, p_k, p_k) of every grouping."""
    S = draws.sigma.size
    theta = draws.theta.reshape(S, -1)
    out = [np.zeros((S, len(g.columns), len(g.columns))) for g in spec.groupings]
    for t in spec.terms:
        out[t.grouping][:, t.where, t.where] = t.structure.root(theta[:, t.theta])
    return out


def _buckets(spec: ModelSpec, groups: RowGroups, homes: list[Ints], counts: Ints, inner: int) -> list[_Bucket]:
    """Groups sorted by the numbers of their outer effects."""
    outer = counts.copy()
    outer[inner] = 0  # where there is none, all are zero
    signatures, which = np.unique(outer.T, axis=0, return_inverse=True)
    out = []
    for s, signature in enumerate(signatures):
        members = np.flatnonzero(which.ravel() == s)
        layout = tuple((int(k), int(signature[k])) for k in np.flatnonzero(signature))
        out.append(_bucket(spec, groups, homes, members, layout, inner))
    return out


def _bucket(
    spec: ModelSpec,
    groups: RowGroups,
    homes: list[Ints],
    members: Ints,
    layout: tuple[tuple[int, int], ...],
    inner: int,
) -> _Bucket:
    G = len(members)
    local = np.full(groups.size, -1)
    local[members] = np.arange(G)
    rows = np.flatnonzero(local[groups.codes] >= 0)
    weights = spec.residual.precision[rows]
    place = local[groups.codes[rows]]
    widths = [len(g.columns) for g in spec.groupings]
    q = sum(count * widths[k] for k, count in layout)
    blocks, start = [], 0
    for k, count in layout:
        levels = np.flatnonzero((homes[k] >= 0) & (local[homes[k]] >= 0))
        levels = levels[np.argsort(local[homes[k][levels]], kind="stable")]  # `count` of each group, one after another
        first = np.full(spec.groupings[k].n_levels, -1)
        first[levels] = local[homes[k][levels]] * q + start + np.arange(len(levels)) % count * widths[k]
        blocks.append((first[spec.groupings[k].codes[rows]], spec.groupings[k].Z[rows]))
        start += count * widths[k]
    Zo = _sparse(blocks, len(rows), G * q)
    p, blocks = 1, []
    home: Ints = np.empty(0, dtype=np.intp)
    if inner >= 0:
        g, p = spec.groupings[inner], widths[inner]
        levels = np.flatnonzero((homes[inner] >= 0) & (local[homes[inner]] >= 0))
        home = local[homes[inner][levels]]
        first = np.full(g.n_levels, -1)
        first[levels] = np.arange(len(levels)) * p
        blocks = [(first[g.codes[rows]], g.Z[rows])]
    L = len(home)
    Zi = _sparse(blocks, len(rows), L * p)
    W = scipy.sparse.diags_array(weights)
    WZi, WZo = (W @ Zi).tocsc(), (W @ Zo).tocsc()
    one = scipy.sparse.csr_array((weights, (place, np.arange(len(rows)))), shape=(G, len(rows)))
    return _Bucket(
        groups=members,
        rows=rows,
        Zi=WZi.T.tocsr(),
        Zo=WZo.T.tocsr(),
        one=one,
        Aii=_dense_blocks(WZi.T @ Zi, (L, p, p)),
        Aio=_dense_blocks(WZi.T @ Zo, (L, p, q)),
        Aoo=_dense_blocks(WZo.T @ Zo, (G, q, q)),
        to_group=segment_matrix(home, G),
        layout=layout,
    )


def _sparse(blocks: Sequence[tuple[Ints, Floats]], n: int, width: int) -> scipy.sparse.csr_array:
    """Rows (n, width) that hold Z (n, p) from column `first` (n,) on; nothing where that is −1."""
    rows, cols, values = [], [], []
    for first, Z in blocks:
        held = np.flatnonzero(first >= 0)
        rows.append(np.repeat(held, Z.shape[1]))
        cols.append((first[held, None] + np.arange(Z.shape[1])).ravel())
        values.append(Z[held].ravel())
    if not blocks:
        return scipy.sparse.csr_array((n, width))
    triplets = (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols)))
    return scipy.sparse.csr_array(triplets, shape=(n, width))


def _dense_blocks(product: scipy.sparse.csr_array, shape: tuple[int, int, int]) -> Floats:
    """Blocks (J, a, b) of a product (J a, ...) in which every row meets columns of one block only."""
    _, a, b = shape
    coo, out = scipy.sparse.coo_array(product), np.zeros(shape)
    if b:
        rows, cols = coo.coords
        np.add.at(out, (rows // a, rows % a, cols % b), coo.data)
    return out
