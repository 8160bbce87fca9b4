"""Groups of rows and draws, and what is asked of them whichever way the effects of a group are integrated out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from _ranef.errors import FitError, NotAvailableError
from _ranef.linalg import AmongLevels
from _ranef.results import PosteriorDraws
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["Common", "GroupProblem", "RowGroups", "common", "homes_of", "own_root"]

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


def homes_of(spec: ModelSpec, groups: RowGroups) -> list[Ints]:
    """For every level (J_k,) of every grouping the group that holds all its rows, or −1."""
    out = []
    for g in spec.groupings:
        low, high = np.full(g.n_levels, groups.size), np.full(g.n_levels, -1)
        np.minimum.at(low, g.codes, groups.codes)
        np.maximum.at(high, g.codes, groups.codes)
        out.append(np.where(low == high, low, -1))
    return out


@dataclass(frozen=True, eq=False)
class Common:
    """One model and partition with its draws, flat, S = chains × draws.

    X̃ = X R⁻¹ is orthonormal, and β = `centre` + R⁻¹δ; `rest` is y without `centre` and the means of the effects known.

    Attributes
    ----------
    spec : ModelSpec
    groups : RowGroups
    homes : list of array of int (J_k,)
        By grouping, the group that holds all rows of each level, or −1.
    shape : tuple of int
        Chains and draws.
    sigma : array (S,)
    lambdas : sequence of array (S, p_k, p_k)
    delta : array (S, p)
    known : list of (int, array (S, J_k, p_k))
        Effects that are not integrated, and means by their relatives of those that are; both without their means.
    X, R, centre, rest : array (n, p), (p, p), (p,), (n,)
    """

    spec: ModelSpec
    groups: RowGroups
    homes: list[Ints]
    shape: tuple[int, int]
    sigma: Floats
    lambdas: Sequence[Floats]
    delta: Floats
    known: list[tuple[int, Floats]]
    X: Floats
    R: Floats
    centre: Floats
    rest: Floats

    def rows(self, some: slice) -> Floats:
        """The rows without Xβ̄ and the effects known (n, S), or (n, 1) where there are none."""
        out = self.rest[:, None]
        for k, b in self.known:
            g = self.spec.groupings[k]
            for a in range(len(g.columns)):
                out = out - (b[some, :, a].T)[g.codes] * g.Z[:, a, None]
        return out

    def within(self, values: Floats) -> Floats:
        """Sums (J, ...) over the rows of each group of values (n, ...)."""
        n = len(values)
        one = scipy.sparse.csr_array((np.ones(n), (self.groups.codes, np.arange(n))), shape=(self.groups.size, n))
        return np.asarray(one @ values.reshape(n, -1)).reshape(-1, *values.shape[1:])


class GroupProblem(ABC):
    """Integrals over the effects of every group, for blocks of draws."""

    common: Common

    @abstractmethod
    def numbers(self, m: int) -> int:
        """How many are held at once for a draw with m columns."""

    @abstractmethod
    def log_weights(self, some: slice) -> Floats:
        """Log |W| (J, S), or (J, 1) where it is the same for all draws."""

    @abstractmethod
    def given(self, some: slice) -> tuple[Floats, Floats]:
        """Log |WV| and eᵀV⁻¹e (J, S) of the rows e without Xβ and the effects known."""

    @abstractmethod
    def open(self, some: slice) -> tuple[Floats, Floats]:
        """The same with EᵀV⁻¹E (J, S, p + 1, p + 1) of columns E = [X̃ e], e without Xβ̄."""

    def blocks(self, m: int) -> Iterator[slice]:
        """Blocks of draws that keep m columns of every level in bounds."""
        step = max(1, BLOCK_ENTRIES // self.numbers(m))
        return (slice(start, start + step) for start in range(0, self.common.sigma.size, step))

    def constant(self, some: slice, log_det: Floats) -> Floats:
        """−½[n_j log 2πσ² + log|V|] (J, S)."""
        own = self.common
        n = np.bincount(own.groups.codes, minlength=own.groups.size)
        logs = self.log_weights(some)
        return np.asarray(-0.5 * (n[:, None] * np.log(2.0 * np.pi * own.sigma[some] ** 2) - logs + log_det))

    def require_determined(self, K: Floats) -> None:
        """Refuse a group without which the data and the prior leave a coefficient open."""
        own, p = self.common, self.common.spec.n_fixed
        if p == 0 or np.linalg.matrix_rank(K) == p:
            return
        weighted = own.X * own.spec.residual.precision[:, None]
        values, vectors = np.linalg.eigh(np.eye(p) - own.within(weighted[:, :, None] * own.X[:, None, :]))
        for j in np.flatnonzero(values[:, 0] < NOTHING_LEFT).tolist():
            lost = vectors[j][:, values[j] < NOTHING_LEFT]
            if np.linalg.matrix_rank(K @ lost) < lost.shape[1]:
                raise FitError(
                    f"Without the rows of {own.groups.name}={own.groups.levels[j]!r} a coefficient is not determined, "
                    "and its prior is flat: there is nothing to predict these rows from. Sample with a proper prior, "
                    "such as the default."
                )

    def as_draws(self, parts: Sequence[Floats]) -> Floats:
        """Blocks (J, S) side by side, as (chains, draws, J)."""
        own = self.common
        return np.ascontiguousarray(np.concatenate(parts, axis=1).T).reshape(*own.shape, own.groups.size)


def common(spec: ModelSpec, draws: PosteriorDraws, groups: RowGroups) -> Common:
    """What all ways of integrating share.

    Raises
    ------
    FitError
        If the response or random effects are not normal.
    NotAvailableError
        If a known covariance among levels is singular.
    """
    if draws.not_normal:
        linked = isinstance(draws.response, Generalised)
        why = f"The response is {draws.response.label}" if linked else f"Student t in this model: {draws.not_normal}"
        raise FitError(
            f"{why}. The random effects of a group can then not be integrated "
            "out in closed form. Use kind='conditional', or sample a normal model."
        )
    d, S = spec.design, draws.sigma.size
    homes = homes_of(spec, groups)
    beta = draws.beta.reshape(S, spec.n_fixed)
    centre = beta.mean(axis=0)
    R = np.linalg.qr(d.X * spec.residual.root[:, None])[1]
    known, means = _known_effects(spec, draws, homes, S)
    rest = d.y - d.X @ centre - (0.0 if d.offset is None else d.offset)
    for k, mean in means:
        g = spec.groupings[k]
        rest = rest - (g.Z * mean[g.codes]).sum(axis=1)
    return Common(
        spec=spec,
        groups=groups,
        homes=homes,
        shape=(draws.sigma.shape[0], draws.sigma.shape[1]),
        sigma=draws.sigma.ravel(),
        lambdas=spec.lambdas(draws.theta.reshape(S, -1)),
        delta=(beta - centre) @ R.T,
        known=known,
        X=np.linalg.solve(R.T, d.X.T).T,
        R=R,
        centre=centre,
        rest=rest,
    )


def _known_effects(
    spec: ModelSpec, draws: PosteriorDraws, homes: Sequence[Ints], S: int
) -> tuple[list[tuple[int, Floats]], list[tuple[int, Floats]]]:
    """Of groupings that reach over groups, or relate levels: effects (S, J_k, p_k) without means, and these (J_k, p_k).

    Of levels that are integrated it is 0, or what their relatives in other groups say of them.
    """
    around, means = [], []
    for k, (g, home, b) in enumerate(zip(spec.groupings, homes, draws.b, strict=True)):
        if g.among is None and (home >= 0).all():
            continue
        values = np.where((home < 0)[:, None], b, 0.0).reshape(S, *b.shape[2:])
        if g.among is not None:
            drawn = np.moveaxis(b.reshape(values.shape), 1, 0)  # (J, S, p)
            values = values + np.moveaxis(_from_relatives(g.among, home, drawn), 0, 1)
        means.append((k, values.mean(axis=0)))
        around.append((k, values - means[-1][1]))
    return around, means


def _from_relatives(among: AmongLevels, home: Ints, b: Floats) -> Floats:
    """Mean effects (J, S, p) of the levels H of every group given those b of all others, −(K⁻¹_HH)⁻¹K⁻¹_HR b_R."""
    P, out = _precision(among), np.zeros(b.shape)
    for group in np.unique(home[home >= 0]):
        own = np.flatnonzero(home == group)
        near = P[own].toarray()
        block = near[:, own]
        near[:, own] = 0.0
        out[own] = -np.linalg.solve(block, near @ b.reshape(len(b), -1)).reshape(len(own), *b.shape[1:])
    return out


def own_root(among: AmongLevels, levels: Ints) -> Floats:
    """A root (m, m) of the covariance (K⁻¹_HH)⁻¹ of some levels given all others."""
    return np.linalg.inv(np.linalg.cholesky(_precision(among)[levels][:, levels].toarray())).T


def _precision(among: AmongLevels) -> scipy.sparse.csr_array:
    """The whole K⁻¹ (J, J)."""
    if among.precision is None:
        raise NotAvailableError(
            "The known covariance among levels (cov=) is singular: the effects of some levels follow from those of "
            "others, and cannot be left out without them. Use kind='conditional'."
        )
    rows, cols, entries = among.precision
    upper = scipy.sparse.csr_array((entries, (rows, cols)), shape=(among.n_levels,) * 2)
    return scipy.sparse.csr_array(upper + scipy.sparse.triu(upper, 1).T)
