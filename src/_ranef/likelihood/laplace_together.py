"""Laplace's approximation at many points together, with coefficients integrated out too, and draws with exact weights.

Coefficients with normal or flat priors are integrated with the random effects: they stand as z, in standard deviations
of their priors. N points are one model with N times the levels, whose blocks are scaled by each point's own λ, so that
the elimination of one model serves for all. The mode in (z, u) is found by Newton's steps, as in
:mod:`~_ranef.likelihood.laplace`.

Draws come from the normal approximation (of z from a t), but for the levels of the factor that is eliminated first.
Given all else these are independent; each is drawn of a few points of a randomly shifted lattice, with heavy tails, by
the exact density there, and the mean of the weights is an unbiased estimate of the level's integral, next to exact. The
density of a draw over that of its proposal is then known up to a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from _ranef.likelihood.laplace import Laplace
from _ranef.likelihood.laplace_proposals import Around, lattice, pick, strata
from _ranef.likelihood.slopes_of_rows import FEW, heights_of, kind_of, level_values, slopes_of
from _ranef.linalg import (
    BlockedFactor,
    BlockMatrix,
    PairBlocks,
    Plan,
    all_blocks,
    back_substitute,
    backward,
    factorize,
    forward,
    make_plan,
    transpose,
)
from _ranef.spec import Generalised, Rows, Slopes
from _ranef.support.arrays import Bools, Floats, Ints
from _ranef.support.interrupts import let_through

__all__ = ["LaplaceTogether", "ManyDraws", "ManyPoints", "ManySlopes", "rows_together"]

#: Newton's steps, halvings of one, and the decrement after which one step is the last
STEPS, HALVINGS, QUADRATIC = 60, 30, 1e-3

#: fall of a density, beside itself, that is none
ROUNDING = 1e-11

#: rows of all points held at once, fewer where loops read them, which want them near; length of dense tails together
MOST_ROWS, MOST_BY_LOOPS, MOST_TAIL = 300_000, 120_000, 400

#: columns of small blocks that are multiplied one by one
FEW_COLUMNS = 3

#: draws of a level of outer ones
NESTED = 12

#: points at which the proposal of z is improved, how often, and the efficiency of their weights that will do
PILOT, PILOTS, GOOD = 400, 3, 0.6

LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False, repr=False)
class ManyPoints:
    """What is held at N points.

    Attributes
    ----------
    lambdas : tuple of array (N, p_k, p_k)
        By factor in the order of elimination, for its columns.
    sampled : array (N, s)
        Coefficients that are not integrated out.
    own : mapping str to array (N,)
        Dispersions.
    y : array (n, N), optional
        Responses, where they are not that of the model.
    """

    lambdas: tuple[Floats, ...]
    sampled: Floats
    own: Mapping[str, Floats]
    y: Floats | None = None

    def __len__(self) -> int:
        return len(self.sampled)

    def only(self, which: slice | Ints) -> ManyPoints:
        """Some of the points."""
        own = {name: values[which] for name, values in self.own.items()}
        y = None if self.y is None else self.y[:, which]
        return ManyPoints(tuple(lam[which] for lam in self.lambdas), self.sampled[which], own, y)


@dataclass(frozen=True, eq=False, repr=False)
class ManyDraws:
    """Draws of coefficients and effects at N points.

    Attributes
    ----------
    z : array (N, q)
    b : tuple of array (N, J_k, p_k)
        By factor in the order of elimination, of its columns.
    log_ratio : array (N,)
        Logarithm of the exact density of points and draws over that of the draws' proposal and Laplace's approximation.
    """

    z: Floats
    b: tuple[Floats, ...]
    log_ratio: Floats


@dataclass(frozen=True, eq=False, repr=False)
class ManySlopes:
    """−2 log L (N,) with its derivatives.

    Attributes
    ----------
    criterion : array (N,)
    roots : tuple of array (N, p_k, p_k)
        In λ by factor.
    sampled : array (N, s)
        In coefficients.
    logs : array (N, d)
        In the logarithms of dispersions.
    u : tuple of array (N J_k, p_k, 1)
        The modes.
    """

    criterion: Floats
    roots: tuple[Floats, ...]
    sampled: Floats
    logs: Floats
    u: tuple[Floats, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Place:
    """Effects of N points: z (N, q), and u by factor (N J_k, p_k, 1), with what they make of the rows.

    Attributes
    ----------
    first, curvature : array (n, N)
    height : array (N,)
        Log density of rows and effects, without constants.
    """

    z: Floats
    u: tuple[Floats, ...]
    first: Floats
    curvature: Floats
    height: Floats


@dataclass(frozen=True, eq=False, repr=False)
class System:
    """The factor of minus the second derivatives in (u, z).

    Attributes
    ----------
    factor : BlockedFactor
        Of those in u, of all points.
    white : tuple of array (N J_k, p_k, q)
        L⁻¹ times those in u and z.
    root : array (N, q, q)
        Lower Cholesky factors of what is left of those in z.
    A, scaled : BlockMatrix
        ZᵀWZ and ΛᵀZᵀWZΛ, of all points.
    """

    factor: BlockedFactor
    white: tuple[Floats, ...]
    root: Floats
    A: BlockMatrix
    scaled: BlockMatrix


@dataclass(frozen=True, eq=False, repr=False)
class LaplaceTogether:
    """The rows of a model of a generalised response.

    Attributes
    ----------
    family : Generalised
    rows : Rows
    offset : array (n,)
        With what the means of the priors of integrated coefficients make of the rows.
    X : array (q, n)
        Columns of z.
    proper : array of bool (q,)
        Whether z is standard normal a priori; else its prior is flat.
    sampled : array (s, n)
        Columns of the other coefficients.
    Z : tuple of array (p_k, n)
    codes : tuple of array (n,)
    pairs : mapping (k, l) to array (n,)
        Which pair of levels each row has.
    A : BlockMatrix
        Which levels meet.
    often : bool
        Whether it will be asked at thousands of points.
    """

    family: Generalised
    rows: Rows
    offset: Floats
    X: Floats
    proper: Bools
    sampled: Floats
    Z: tuple[Floats, ...]
    codes: tuple[Ints, ...]
    pairs: Mapping[tuple[int, int], Ints]
    A: BlockMatrix
    often: bool = False
    _patterns: dict[int, tuple[BlockMatrix, Plan]] = field(default_factory=dict)
    _near: dict[str, tuple[Place, ManyPoints]] = field(default_factory=dict)
    _seen: list[tuple[ManyPoints, Floats, tuple[Floats, ...]]] = field(default_factory=list)

    def log_density(self, given: ManyPoints) -> Floats:
        """Laplace's approximation of the log density of the response (N,); −∞ where it is no number."""
        self._seen.clear()
        return np.concatenate([np.zeros(0), *(self._log_density(given.only(part)) for part in self._parts(given))])

    def draw(self, given: ManyPoints, rng: np.random.Generator, shares: Floats | None = None) -> ManyDraws:
        """Draw coefficients and effects at every point; `shares` (N,) are what the points are worth."""
        around = self._improved(given, rng, shares)
        found = [draws for draws, _ in self._drawn(given, around, rng)]
        b = [np.concatenate(parts) for parts in zip(*(f.b for f in found), strict=True)]
        return ManyDraws(np.concatenate([f.z for f in found]), tuple(b), np.concatenate([f.log_ratio for f in found]))

    def _drawn(self, given: ManyPoints, around: Around, rng: np.random.Generator) -> Iterator[tuple[ManyDraws, Floats]]:
        for part in self._parts(given):
            let_through()
            with np.errstate(all="ignore"):
                own = given.only(part)
                yield self._draws(own, *self._mode(own), around, rng)

    def _improved(self, given: ManyPoints, rng: np.random.Generator, shares: Floats | None) -> Around:
        """A proposal of z, fitted to draws at some of the points."""
        around = Around.at_zero(len(self.X))
        if not len(self.X) or len(given) < PILOT:
            return around
        few = given.only(rng.choice(len(given), PILOT, p=shares))
        for _ in range(PILOTS):
            draws, points = zip(*self._drawn(few, around, rng), strict=True)
            log_weights = np.concatenate([own.log_ratio for own in draws])
            usable = np.isfinite(log_weights)
            if usable.sum() < 2 * len(self.X):
                break
            better, efficiency = around.fitted(np.concatenate(points)[usable], log_weights[usable])
            if efficiency > GOOD:
                break
            around = better
        return around

    @cached_property
    def plan(self) -> Plan:
        """The elimination of one point."""
        return make_plan(self.A)

    @property
    def first(self) -> int:
        """The factor that is eliminated first."""
        if self.plan.nested:
            return self.plan.nested[0].k
        assert self.plan.crossed is not None
        return self.plan.crossed.k

    @property
    def outermost(self) -> int | None:
        """The factor in whose levels all others are nested, if there are others."""
        return self.plan.nested[-1].k if self.plan.crossed is None and len(self.plan.nested) > 1 else None

    def _parts(self, given: ManyPoints) -> list[slice]:
        tail = 1 if self.plan.crossed is None else self.plan.crossed.size
        most = MOST_BY_LOOPS if self._by_loops else MOST_ROWS
        step = max(1, min(most // len(self.offset), MOST_TAIL // max(tail, 1)))
        return [slice(i, i + step) for i in range(0, len(given), step)]

    def _log_density(self, given: ManyPoints) -> Floats:
        let_through()
        try:
            with np.errstate(all="ignore"):
                place, system = self._mode(given)
                out = self._approximated(given, place, system)
            self._seen.append((given, place.z, place.u))
            return np.where(np.isfinite(out), out, -np.inf)
        except np.linalg.LinAlgError:
            if len(given) == 1:
                return np.array([-np.inf])
            half = len(given) // 2
            return np.concatenate([self._log_density(given.only(part)) for part in (slice(half), slice(half, None))])

    def _pattern(self, N: int) -> tuple[BlockMatrix, Plan]:
        """Levels of N points, one point after the other."""
        if N not in self._patterns:
            pattern = _repeated(self.A, N)
            self._patterns[N] = pattern, make_plan(pattern)
        return self._patterns[N]

    @cached_property
    def _Z(self) -> tuple[Any, ...]:
        """By factor the columns of effects, sparse (n, J_k p_k)."""
        n, out = len(self.offset), []
        for Z, code, J in zip(self.Z, self.codes, self.A.n_levels, strict=True):
            cols = code[:, None] * len(Z) + np.arange(len(Z))
            out.append(_sparse(np.repeat(np.arange(n), len(Z)), cols.ravel(), Z.T.ravel(), (n, J * len(Z))))
        return tuple(out)

    @cached_property
    def _sums(self) -> Any:
        """What makes of weights (n, N) of rows the blocks of ZᵀWZ and ZᵀWX one after the other, sparse (m, n)."""
        parts = []
        for Z, code, J in zip(self.Z, self.codes, self.A.n_levels, strict=True):
            parts.append(_products(Z, Z, code, J))
            parts.append(_products(Z, self.X, code, J))
        for (k, l), place in self.pairs.items():
            parts.append(_products(self.Z[k], self.Z[l], place, len(self.A.pairs[k, l].blocks)))
        return scipy.sparse.vstack(parts, format="csr")

    @cached_property
    def _widths(self) -> list[tuple[int, int, int]]:
        """Shapes of those blocks."""
        q, out = len(self.X), []
        for J, p in zip(self.A.n_levels, self.A.sizes, strict=True):
            out += [(J, p, p), (J, p, q)]
        return out + [self.A.pairs[key].blocks.shape for key in self.pairs]

    @cached_property
    def _XX(self) -> Floats:
        """Products of the columns of z (q², n)."""
        return np.asarray((self.X[:, None] * self.X).reshape(-1, len(self.offset)))

    @cached_property
    def _held(self) -> Rows:
        return Rows(self.rows.y[:, None], self.rows.weights[:, None])

    def _rows(self, given: ManyPoints) -> Rows:
        """Responses (n, 1), or (n, N)."""
        return self._held if given.y is None else Rows(given.y, self._held.weights)

    def _fixed(self, given: ManyPoints, z: Floats) -> Floats:
        """Part (n, N) in η of coefficients."""
        return self._whole @ np.vstack([np.ones((1, len(given))), given.sampled.T, z.T])

    @cached_property
    def _whole(self) -> Floats:
        """Offset and columns of all coefficients (n, 1 + s + q)."""
        return np.column_stack([self.offset, self.sampled.T, self.X.T])

    def _spread(self, k: int, b: Floats, N: int) -> Floats:
        """Part (n, N) in η of effects (N J_k, p_k, 1) of the columns of factor k."""
        return np.asarray(self._Z[k] @ np.ascontiguousarray(b.reshape(N, -1).T))

    @property
    def _by_loops(self) -> bool:
        """Whether compiled loops read the rows."""
        return bool(self.often and kind_of(self.family) and len(self.offset) >= FEW)

    def _at(self, given: ManyPoints, eta: Floats) -> Slopes:
        """At η (n, N)."""
        return slopes_of(self.family, eta, self._rows(given), given.own, often=self.often)

    def _place(self, given: ManyPoints, z: Floats, u: tuple[Floats, ...]) -> Place:
        N, eta = len(given), self._predictor(given, z, u)
        if self._by_loops and given.y is None:
            first, curvature, height = heights_of(self.family, eta, self._held)
        else:
            at = self._at(given, eta)
            first, curvature, height = at.first, at.curvature, at.value.sum(axis=0)
        height = height - 0.5 * (self.proper * z**2).sum(axis=1)
        height = height - 0.5 * sum(_by_point(own**2, N).sum(axis=1) for own in u)
        return Place(z, u, first, curvature, height)

    def _system(self, given: ManyPoints, place: Place) -> System:
        (pattern, plan), N, lambdas = self._pattern(len(given)), len(given), given.lambdas
        ends = np.cumsum([J * a * c for J, a, c in self._widths])[:-1]
        flat = np.split(self._sums @ place.curvature, ends)
        blocks = [
            np.ascontiguousarray(own.T).reshape(N * shape[0], *shape[1:])
            for own, shape in zip(flat, self._widths, strict=True)
        ]
        diag, columns, pairs, whole_pairs = [], [], {}, {}
        for lam, whole, across in zip(lambdas, blocks[::2], blocks[1::2], strict=False):
            left = transpose(_by_level(lam, whole))
            diag.append(_times(_times(left, whole), transpose(left)))
            columns.append(_times(left, across))
        for (k, l), own in zip(self.pairs, blocks[2 * len(self.Z) :], strict=True):
            pair, scaled = pattern.pairs[k, l], _times(transpose(_by_level(lambdas[k], own)), own)
            pairs[k, l] = PairBlocks(pair.rows, pair.cols, _times(scaled, _by_level(lambdas[l], own)))
            whole_pairs[k, l] = PairBlocks(pair.rows, pair.cols, own)
        all_scaled = BlockMatrix(tuple(diag), pairs)
        factor = factorize(all_scaled, plan, [np.eye(len(Z)) for Z in self.Z])
        assert isinstance(factor, BlockedFactor)
        q = len(self.X)
        white = forward(factor, columns).white if q else tuple(columns)
        corner = (self._XX @ place.curvature).T.reshape(N, q, q) + np.diag(self.proper.astype(float))
        A = BlockMatrix(tuple(blocks[: 2 * len(self.Z) : 2]), whole_pairs)
        return System(factor, white, np.linalg.cholesky(corner - _gram(white, white, N)), A, all_scaled)

    def mode_from(
        self, given: ManyPoints, z: Floats, u: tuple[Floats, ...], close: float = QUADRATIC, none: float = 0.0
    ) -> tuple[Place, System]:
        """Where the density is highest, and the curvature there, from somewhere.

        A step as small as `close` is the last, and one as small as `none` is not taken.
        """
        now = self._place(given, z, u)
        for _ in range(STEPS):
            system, bent = self._downward(given, now)
            step_z, step_u, decrement = self._step(given, now, system)
            decrement = np.where(np.isfinite(now.height), decrement, 0.0)
            if not bent and not (decrement > none).any():
                return now, system
            now = self._raised(given, now, step_z, step_u)
            if not (decrement > (QUADRATIC**2 if bent else close)).any():
                break
        return now, self._system(given, now)

    def _downward(self, given: ManyPoints, now: Place) -> tuple[System, bool]:
        """The curvature, and whether that of rows whose density bends upwards had to be taken for its size."""
        try:
            return self._system(given, now), False
        except np.linalg.LinAlgError:
            if not (now.curvature < 0.0).any():
                raise
            return self._system(given, replace(now, curvature=np.abs(now.curvature))), True

    def _mode(self, given: ManyPoints) -> tuple[Place, System]:
        """The same, from where it was last."""
        now, system = self.mode_from(given, *self._begun(given), none=QUADRATIC**2)
        best = int(np.argmax(np.where(np.isfinite(now.height), now.height, -np.inf)))
        self._near["last"] = _one(now, best), given.only(np.array([best]))
        return now, system

    def _begun(self, given: ManyPoints) -> tuple[Floats, tuple[Floats, ...]]:
        """Effects of these points if they were seen, or of the last mode, u smaller where λ is larger, as b is not."""
        N, last = len(given), self._near.get("last")
        for at, z, u in self._seen:
            if len(at) == N and all(np.array_equal(a, b) for a, b in zip(at.lambdas, given.lambdas, strict=True)):
                return z, u
        if last is None:
            zero = [np.zeros((N * J, p, 1)) for J, p in zip(self.A.n_levels, self.A.sizes, strict=True)]
            return np.zeros((N, len(self.X))), tuple(zero)
        (near, at), begun = last, []
        for own, lam, other in zip(near.u, given.lambdas, at.lambdas, strict=True):
            ratio = np.linalg.norm(other[0]) / np.linalg.norm(lam, axis=(1, 2))
            begun.append(np.minimum(ratio, 1.0).repeat(len(own))[:, None, None] * np.tile(own, (N, 1, 1)))
        return np.repeat(near.z, N, axis=0), tuple(begun)

    def _step(self, given: ManyPoints, now: Place, system: System) -> tuple[Floats, tuple[Floats, ...], Floats]:
        """Newton's step in z and u, and its decrement (N,)."""
        N, slopes = len(given), []
        for k, (lam, own) in enumerate(zip(given.lambdas, now.u, strict=True)):
            slopes.append(_times(transpose(_by_level(lam, own)), self._summed(k, now.first, N)) - own)
        of_z = (self.X @ now.first).T - self.proper * now.z
        white = forward(system.factor, slopes).white
        step_z = _solved(system.root, of_z - _gram(system.white, white, N)[..., 0])
        step_u = backward(system.factor, _less(white, system.white, step_z))
        pairs = zip(slopes, step_u, strict=True)
        return step_z, step_u, (of_z * step_z).sum(axis=1) + sum(_by_point(a * b, N).sum(axis=1) for a, b in pairs)

    def _raised(self, given: ManyPoints, now: Place, step_z: Floats, step_u: Sequence[Floats]) -> Place:
        """A step on, halved at points where the density does not rise."""
        N, t = len(given), 1.0
        out = self._place(given, now.z + step_z, tuple(a + b for a, b in zip(now.u, step_u, strict=True)))
        for _ in range(HALVINGS):
            low = out.height < now.height - ROUNDING * np.abs(now.height)
            low |= np.isnan(out.height) & ~np.isnan(now.height)
            if not low.any():
                break
            which, t = np.flatnonzero(low), 0.5 * t
            u = tuple(_of(a, which, N) + t * _of(b, which, N) for a, b in zip(now.u, step_u, strict=True))
            trial = self._place(given.only(which), now.z[which] + t * step_z[which], u)
            _put(out, which, trial)
        return out

    def _approximated(self, given: ManyPoints, place: Place, system: System) -> Floats:
        flat, N = float((~self.proper).sum()), len(given)
        half = _log_diagonal(system.root, N) + sum(_log_diagonals(system.factor, N).values())
        return np.asarray(place.height + self._constant(given) - half + 0.5 * flat * LOG_2PI)

    def _constant(self, given: ManyPoints) -> Floats:
        constant = self.family.constant(self._rows(given), given.own)
        return np.broadcast_to(constant.sum(axis=0), (len(given),))

    def slopes(self, given: ManyPoints, u: tuple[Floats, ...], close: float) -> ManySlopes:
        """−2 log L and its gradient, from effects `u` (N J_k, p_k, 1), where no coefficients are integrated out.

        The derivation is in ``docs/generalised.md``; here it stands in u, so that nothing is divided by λ.
        """
        with np.errstate(all="ignore"):
            place, system = self.mode_from(given, np.zeros((len(given), 0)), u, close)
            N, rows, lambdas = len(given), self._rows(given), given.lambdas
            eta = self._predictor(given, place.z, place.u)
            at, (Q, _) = self._at(given, eta), all_blocks(system.scaled, system.factor)
            leverage = self._leverage(lambdas, Q, N)
            bent = -at.third * leverage
            columns = [self._summed(k, bent, N) for k in range(len(u))]
            whitened = [_times(transpose(_by_level(lam, c)), c) for lam, c in zip(lambdas, columns, strict=True)]
            a = backward(system.factor, forward(system.factor, whitened).white)
            turned = sum(self._spread(k, _times(_by_level(lambdas[k], b), b), N) for k, b in enumerate(a))
            left = bent - at.curvature * turned - 2.0 * at.first
            roots = []
            for k, G in enumerate(_of_log_det(system.A, lambdas, Q, N)):
                through = self._summed(k, left, N) * place.u[k][:, None, :, 0]
                through = through + self._summed(k, at.first, N) * a[k][:, None, :, 0]
                roots.append(G + through.reshape(N, -1, *through.shape[1:]).sum(axis=1))
            logs = [
                (-2.0 * d.value + leverage * d.curvature + turned * d.first).sum(axis=0)
                for d in self.family.in_dispersions(eta, rows, given.own)
            ]
            value = -2.0 * self._approximated(given, place, system)
        return ManySlopes(value, tuple(roots), (self.sampled @ left).T, np.array(logs).reshape(-1, N).T, place.u)

    def _leverage(self, lambdas: Sequence[Floats], Q: Mapping[tuple[int, int], Floats], N: int) -> Floats:
        """Variances (n, N) of η given all else, from blocks of those of u."""
        out = np.zeros((len(self.offset), N))
        keys = [
            *((k, k, code) for k, code in enumerate(self.codes)),
            *((k, l, at) for (k, l), at in self.pairs.items()),
        ]
        for k, l, place in keys:
            own = Q[k, l]
            own = _times(_times(_by_level(lambdas[k], own), own), transpose(_by_level(lambdas[l], own)))
            own = own.reshape(N, -1, *own.shape[1:])
            for a, first in enumerate(self.Z[k]):
                for c, second in enumerate(self.Z[l]):
                    out += (1.0 if k == l else 2.0) * (first * second * own[:, place, a, c]).T
        return out

    def _summed(self, k: int, column: Floats, N: int) -> Floats:
        """Zᵀ times columns (n, N): (N J_k, p_k, 1)."""
        return np.ascontiguousarray((self._Z[k].T @ column).T).reshape(N * self.A.n_levels[k], -1, 1)

    def _predictor(self, given: ManyPoints, z: Floats, u: Sequence[Floats]) -> Floats:
        """Η (n, N)."""
        N, eta = len(given), self._fixed(given, z)
        for k, (lam, own) in enumerate(zip(given.lambdas, u, strict=True)):
            eta += self._spread(k, _times(_by_level(lam, own), own), N)
        return eta

    def _draws(
        self, given: ManyPoints, place: Place, system: System, around: Around, rng: np.random.Generator
    ) -> tuple[ManyDraws, Floats]:
        """Draws, and what makes z of them (N, q), in standard deviations of Laplace's approximation about its mode."""
        N = len(given)
        noise, log_proposal = around.draw(N, rng)
        away = _half_solved(system.root, noise)
        z = place.z + away
        fixed, nothing = self._fixed(given, z), [np.zeros(u.shape) for u in place.u]
        moved = backward(system.factor, _less(nothing, system.white, away))
        centre = [a + b for a, b in zip(place.u, moved, strict=True)]
        outer = self.outermost
        M = 1 if outer is None else NESTED
        white = [
            np.zeros((M, *own.shape)) if k == self.first else strata(M, own.shape, rng) for k, own in enumerate(centre)
        ]
        tries = [self._effects(given, centre, fixed, system.factor, own, rng) for own in zip(*white, strict=True)]
        u, log_mean = tries[0] if outer is None else self._chosen_by_level(tries, rng)
        exact = log_mean.reshape(N, -1).sum(axis=1) + self._constant(given)
        exact = exact - 0.5 * (self.proper * (z**2 + LOG_2PI)).sum(axis=1) - _log_diagonal(system.root, N)
        exact = exact - log_proposal
        b = [_times(_by_level(lam, own), own) for lam, own in zip(given.lambdas, u, strict=True)]
        by_point = tuple(own[:, :, 0].reshape(N, -1, own.shape[1]) for own in b)
        return ManyDraws(z, by_point, exact - self._approximated(given, place, system)), noise

    def _effects(
        self,
        given: ManyPoints,
        centre: Sequence[Floats],
        fixed: Floats,
        factor: BlockedFactor,
        white: Sequence[Floats],
        rng: np.random.Generator,
    ) -> tuple[list[Floats], Floats]:
        """Effects u (N J_k, p_k, 1) of standard normals, and logarithms of the ratios of densities.

        These are by point (N,), or by level of the outermost factor (N J,).
        """
        N, k, outer = len(given), self.first, self.outermost
        u: list[Floats] = [a + b for a, b in zip(centre, backward(factor, white), strict=True)]
        eta = fixed
        for l, own in enumerate(u):
            if l != k:
                eta = eta + self._spread(l, _times(_by_level(given.lambdas[l], own), own), N)
        u[k], log_ratio = self._leaves(given, eta, u[k], factor, rng)
        logs, roots = {k: log_ratio}, _log_roots(factor)
        for l, own in enumerate(u):
            if l != k:
                logs[l] = (0.5 * (white[l] ** 2 - own**2)).sum(axis=(1, 2)) - roots[l]
        if outer is None:
            return u, np.asarray(sum(_by_point(own, N).sum(axis=1) for own in logs.values()))
        return u, np.asarray(sum(self._by_outer[l] @ _by_point(own, N).T for l, own in logs.items()).T.ravel())

    @cached_property
    def _by_outer(self) -> list[Any]:
        """By factor what adds up its levels by those of the outermost factor, sparse (J, J_k)."""
        outer, out = self.outermost, []
        assert outer is not None
        J = self.A.n_levels[outer]
        for l, own in enumerate(self.A.n_levels):
            inside = np.arange(own) if l == outer else np.empty(own, dtype=np.intp)
            inside[self.codes[l]] = self.codes[outer]
            out.append(_sparse(inside, np.arange(own), np.ones(own), (J, own)))
        return out

    def _chosen_by_level(
        self, tries: Sequence[tuple[list[Floats], Floats]], rng: np.random.Generator
    ) -> tuple[list[Floats], Floats]:
        """One of the draws of every level of the outermost factor, with all that lies in it, and mean ratios (N J,)."""
        logs = np.stack([log_ratio for _, log_ratio in tries])
        chosen, log_mean = pick(logs, rng)
        by_point = chosen.reshape(-1, self.A.n_levels[self.outermost or 0])
        out: list[Floats] = []
        for l in range(len(self.A.sizes)):
            own = (by_point @ np.asarray(self._by_outer[l].todense()).astype(np.intp)).ravel()
            whole = np.stack([u[l] for u, _ in tries])
            out.append(whole[own, np.arange(len(own))])
        return out, log_mean

    def _leaves(
        self, given: ManyPoints, eta: Floats, centre: Floats, factor: BlockedFactor, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Effects u (N J, p, 1) of levels that are eliminated first, and log estimates (N J,) of their integrals."""
        J, p = centre.shape[:2]
        L = _first_root(factor)
        noise, log_proposal = lattice(J, p, rng)
        log_proposal = log_proposal + np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        places = np.stack([centre + back_substitute(L, own[:, :, None]) for own in noise])
        logs = self._values(given, eta, places)
        logs -= 0.5 * ((places**2).sum(axis=(2, 3)) + p * LOG_2PI) + log_proposal
        chosen, log_mean = pick(logs, rng)
        return places[chosen, np.arange(J)], log_mean

    def _values(self, given: ManyPoints, eta: Floats, places: Floats) -> Floats:
        """Log densities (M, N J) of the rows of levels that are eliminated first at M trials (M, N J, p, 1) of u."""
        N, k, M = len(given), self.first, len(places)
        b = [_times(_by_level(given.lambdas[k], own), own) for own in places]
        if not self._by_loops:
            return np.stack(
                [(self._indicator @ self._at(given, eta + self._spread(k, own, N)).value).T.ravel() for own in b]
            )
        by_level = np.array(b).reshape(M, N, -1, len(self.Z[k])).transpose(2, 3, 0, 1)
        ours = self._held, self.Z[k], self.codes[k], np.ascontiguousarray(by_level)
        return level_values(self.family, eta, *ours).transpose(1, 2, 0).reshape(M, -1)

    @cached_property
    def _indicator(self) -> Any:
        """Adds up rows by the levels that are eliminated first, sparse (J, n)."""
        code = self.codes[self.first]
        return _sparse(code, np.arange(len(code)), np.ones(len(code)), (self.A.n_levels[self.first], len(code)))


def rows_together(model: Laplace) -> LaplaceTogether:
    """The rows of a model with all coefficients given, none integrated out."""
    none, X = np.zeros((0, len(model.offset))), np.ascontiguousarray(model.X.T)
    rest = model.Z, model.codes, model.pairs, model.products.A
    return LaplaceTogether(model.family, model.rows, model.offset, none, np.zeros(0, dtype=bool), X, *rest)


def _of_log_det(A: BlockMatrix, lambdas: Sequence[Floats], Q: Mapping[tuple[int, int], Floats], N: int) -> list[Floats]:
    """Derivatives of log |I + ΛᵀAΛ| in λ_k (N, p_k, p_k), A held, by blocks of the inverse."""

    def added(blocks: Floats) -> Floats:
        return np.asarray(2.0 * blocks.reshape(N, -1, *blocks.shape[1:]).sum(axis=1))

    out = [
        added(_times(_times(own, _by_level(lam, own)), Q[k, k]))
        for k, (own, lam) in enumerate(zip(A.diag, lambdas, strict=True))
    ]
    for (k, l), pair in A.pairs.items():
        own, between = pair.blocks, Q[k, l]
        out[k] = out[k] + added(_times(_times(own, _by_level(lambdas[l], own)), transpose(between)))
        out[l] = out[l] + added(_times(_times(transpose(own), _by_level(lambdas[k], own)), between))
    return out


def _sparse(rows: Ints, cols: Ints, values: Floats, shape: tuple[int, int]) -> Any:
    out = scipy.sparse.csr_array((values, (rows, cols)), shape=shape)
    out.eliminate_zeros()
    return out


def _products(first: Floats, second: Floats, code: Ints, J: int) -> Any:
    """What makes of weights of rows the blocks Σ w z xᵀ by level, sparse (J p r, n)."""
    p, r, n = len(first), len(second), len(code)
    values = (first[:, None] * second).reshape(p * r, n)
    rows = code * (p * r) + np.arange(p * r)[:, None]
    return _sparse(rows.ravel(), np.tile(np.arange(n), p * r), values.ravel(), (J * p * r, n))


def _repeated(A: BlockMatrix, N: int) -> BlockMatrix:
    def levels(of: Ints, J: int) -> Ints:
        return np.asarray((np.arange(N)[:, None] * J + of).ravel())

    J, diag = A.n_levels, tuple(np.zeros((N * len(d), *d.shape[1:])) for d in A.diag)
    pairs = {
        (k, l): PairBlocks(
            levels(pair.rows, J[k]),
            levels(pair.cols, J[l]),
            np.zeros((N * len(pair.blocks), *pair.blocks.shape[1:])),
        )
        for (k, l), pair in A.pairs.items()
    }
    return BlockMatrix(diag, pairs)


def _of(u: Floats, which: Ints, N: int) -> Floats:
    """Effects of some of N points."""
    return np.asarray(u.reshape(N, -1, *u.shape[1:])[which].reshape(-1, *u.shape[1:]))


def _put(place: Place, which: Ints, other: Place) -> None:
    """Overwrite some points."""
    N = len(place.z)
    for own, new in zip(place.u, other.u, strict=True):
        own.reshape(N, -1, *own.shape[1:])[which] = new.reshape(len(which), -1, *own.shape[1:])
    place.z[which], place.height[which] = other.z, other.height
    place.first[:, which], place.curvature[:, which] = other.first, other.curvature


def _one(place: Place, i: int) -> Place:
    """One of N points."""
    N, one = len(place.z), slice(i, i + 1)
    u = tuple(_of(own, np.array([i]), N) for own in place.u)
    return Place(place.z[one], u, place.first[:, one], place.curvature[:, one], place.height[one])


def _by_level(by_point: Floats, like: Floats) -> Floats:
    """A matrix for each point (N, ...) repeated for its levels, as many as blocks are in `like`."""
    return np.repeat(by_point, len(like) // len(by_point), axis=0)


def _times(left: Floats, right: Floats) -> Floats:
    """Blocks (J, r, p) times blocks (J, p, s); few columns one by one, for numpy makes a call for each block."""
    if left.shape[-2:] == (1, 1) or right.shape[-2:] == (1, 1):
        return left * right
    if not 0 < left.shape[-1] <= FEW_COLUMNS:
        return left @ right
    out = left[..., :1] * right[..., :1, :]
    for k in range(1, left.shape[-1]):
        out += left[..., k : k + 1] * right[..., k : k + 1, :]
    return out


def _by_point(values: Floats, N: int) -> Floats:
    return values.reshape(N, -1)


def _gram(first: Sequence[Floats], second: Sequence[Floats], N: int) -> Floats:
    """Σ F_kᵀG_k (N, r, s) of columns (N J_k, p_k, r) and (N J_k, p_k, s), by point."""
    pairs = [(_tall(a, N), _tall(b, N)) for a, b in zip(first, second, strict=True)]
    return np.asarray(sum(transpose(a) @ b for a, b in pairs))


def _tall(blocks: Floats, N: int) -> Floats:
    """Columns (N, J p, r) of blocks (N J, p, r)."""
    J, p, r = blocks.shape
    return blocks.reshape(N, J // N * p, r)


def _less(white: Sequence[Floats], across: Sequence[Floats], z: Floats) -> list[Floats]:
    """Columns (N J_k, p_k, 1) less what steps z (N, q) take of them."""
    return [own - own_z @ _by_level(z[:, :, None], own) for own, own_z in zip(white, across, strict=True)]


def _solved(root: Floats, right: Floats) -> Floats:
    """(root rootᵀ)⁻¹ right (N, q)."""
    return _half_solved(root, np.linalg.solve(root, right[..., None])[..., 0])


def _half_solved(root: Floats, right: Floats) -> Floats:
    """Root⁻ᵀ right (N, q)."""
    return np.asarray(np.linalg.solve(transpose(root), right[..., None])[..., 0])


def _first_root(factor: BlockedFactor) -> Floats:
    if factor.nested:
        return factor.nested[0].L
    assert factor.crossed is not None
    return factor.crossed.L


def _log_roots(factor: BlockedFactor) -> dict[int, Floats]:
    """By factor the logarithms of the diagonal of L, summed by level (N J_k,)."""
    out = {f.step.k: np.log(np.diagonal(f.L, axis1=1, axis2=2)).sum(axis=1) for f in factor.nested}
    if factor.crossed:
        step, whole, lambdas = factor.crossed.step, np.log(factor.crossed.U.diagonal), factor.lambdas
        out[step.k] = np.log(np.diagonal(factor.crossed.L, axis1=1, axis2=2)).sum(axis=1)
        out |= {l: whole[at].reshape(-1, len(lambdas[l])).sum(axis=1) for l, at in step.where.items()}
    return out


def _log_diagonals(factor: BlockedFactor, N: int) -> dict[int, Floats]:
    """The same by point (N,)."""
    return {k: own.reshape(N, -1).sum(axis=1) for k, own in _log_roots(factor).items()}


def _log_diagonal(roots: Floats, N: int) -> Floats:
    return np.asarray(np.log(np.diagonal(roots, axis1=1, axis2=2)).reshape(N, -1).sum(axis=1))
