"""The criterion with some standard deviations held and everything else minimised, at many points together.

Every term has an absolute root M with MMᵀ = Σ (so λ = M/σ). The sd of a column is the norm of its row of M: a row
whose sd is held keeps its norm and turns by angles, any other row is free, and log σ is free unless σ is held or
known; of a structure with shapes the sds that are not held are free, and the shapes. In these coordinates nothing is
constrained, and β is profiled out by the criterion itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.likelihood import (
    Batch,
    CrossProducts,
    Likelihood,
    Method,
    evaluate_together,
    has_blocks,
    make_batch,
    own_response,
)
from _ranef.linalg import RelatedPlan
from _ranef.results import RemlEstimates
from _ranef.spec import ModelSpec, TermSpec
from _ranef.support.arrays import Bools, Floats

__all__ = [
    "SIGMA",
    "Criterion",
    "Profile",
    "derivatives",
    "make_criterion",
    "minimise",
    "profile_names",
    "seconds_per_value",
]

#: name of the residual standard deviation, as ``confint`` has it
SIGMA = "sigma"

#: numbers worked on at once
BLOCK = 2_000_000

#: step of the differences, in the coordinates' own units
STEP = 1e-3

#: expected decrease of the criterion at which a point is done, Newton steps, and shortenings of one
TOLERANCE, STEPS, SHORTENINGS = 1e-3, 12, 4

Function = Callable[[Floats, Floats], Floats]


def profile_names(spec: ModelSpec) -> dict[str, tuple[int, int] | None]:
    """Names of the standard deviations that can be held, with their term and row; None for σ."""
    out: dict[str, tuple[int, int] | None] = {}
    for i, t in enumerate(spec.terms):
        out |= {f"sd({t.columns[row]} | {t.group})": (i, row) for row in t.structure.own_sds}
    return out if spec.sigma is not None else {**out, SIGMA: None}


@dataclass(frozen=True, eq=False)
class Criterion:
    """The criterion at absolute roots and σ, for many points at once.

    Attributes
    ----------
    likelihood : Likelihood
    batch : Batch or None
        Where the random effects fit its blocks.
    """

    likelihood: Likelihood
    batch: Batch | None

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.likelihood.spec

    def __call__(self, roots: Sequence[Floats], sigma: Floats) -> Floats:
        """Criterion (B,) at the roots of every term (B, p, p) and σ (B,)."""
        relative = [self._inward(t, M / sigma[:, None, None]) for t, M in zip(self.spec.terms, roots, strict=True)]
        if self.batch is None:
            return np.array([self._one([r[b] for r in relative], float(s)) for b, s in enumerate(sigma)])
        theta = np.concatenate([t.structure.closest(r) for t, r in zip(self.spec.terms, relative, strict=True)], axis=1)
        held = max(1, self.batch.A.size + self.batch.ZX.size)
        size = max(1, BLOCK // held)
        parts = range(0, len(theta), size)
        return np.concatenate([self._together(self.batch, theta[a : a + size], sigma[a : a + size]) for a in parts])

    def _inward(self, t: TermSpec, relative: Floats) -> Floats:
        """A root of the internal covariance of a term, for λ (B, p, p) on the user's scale."""
        return np.asarray(np.linalg.solve(self.likelihood.maps[t.grouping][t.where, t.where], relative))

    def _one(self, relative: Sequence[Floats], sigma: float) -> float:
        lambdas = [np.zeros((len(g.columns), len(g.columns))) for g in self.spec.groupings]
        for t, root in zip(self.spec.terms, relative, strict=True):
            lambdas[t.grouping][t.where, t.where] = root
        return self.likelihood.at_standard(lambdas, sigma).criterion

    def _together(self, batch: Batch, theta: Floats, sigma: Floats) -> Floats:
        at = evaluate_together(batch.only(np.zeros(len(theta), dtype=np.intp)), theta)
        unit = self.likelihood.response_unit
        own = batch.nu if self.spec.sigma is None else at.rss / at.sigma**2
        log_det = at.criterion - batch.nu * np.log(2.0 * np.pi * (at.sigma * unit) ** 2) - own
        return np.asarray(log_det + batch.nu * np.log(2.0 * np.pi * sigma**2) + at.rss * (unit / sigma) ** 2)


def make_criterion(spec: ModelSpec, products: CrossProducts, method: Method) -> Criterion:
    """Prepare the criterion of a model for many points."""
    batch = make_batch(spec, products, own_response(products), method) if has_blocks(spec) else None
    return Criterion(Likelihood(spec, products, method), batch)


def seconds_per_value(criterion: Criterion) -> float:
    """Roughly how long one value of the criterion takes; an order of magnitude, to choose a grid by."""
    if criterion.batch is not None:
        J, p, P = criterion.batch.ZX.shape
        return float(4e-6 + J * p * p * (2e-8 + 1e-9 * (p + P)))
    products = criterion.likelihood.products
    plan = products.plan
    if isinstance(plan, RelatedPlan):
        return plan.pattern.seconds
    tail = plan.crossed.size if plan.crossed else 0
    blocks = sum(pair.blocks.size for pair in products.A.pairs.values())
    return float(3e-4 + 1.5e-10 * tail**3 + 4e-8 * blocks)


@dataclass(frozen=True, eq=False)
class Profile:
    """Coordinates of everything but the standard deviations held.

    Attributes
    ----------
    criterion : Criterion
    places : tuple of (int, int) or None
        Term and row of each sd held; None for σ.
    start : array (k,)
        The free coordinates at the estimates, kept off places that are stationary by symmetry.
    sizes : tuple of array (p,)
        Unit of the entries of each row of M, by term.
    """

    criterion: Criterion
    places: tuple[tuple[int, int] | None, ...]
    start: Floats
    sizes: tuple[Floats, ...]

    @classmethod
    def at(cls, criterion: Criterion, places: Sequence[tuple[int, int] | None], estimates: RemlEstimates) -> Profile:
        """Coordinates that start from estimates."""
        spec, maps = criterion.spec, criterion.likelihood.maps
        sizes, start = [], []
        for i, t in enumerate(spec.terms):
            M = estimates.sigma * t.structure.root(estimates.theta[t.theta])
            unit = estimates.sigma * np.abs(np.diag(maps[t.grouping][t.where, t.where]))
            size = np.maximum(np.linalg.norm(M, axis=1), 0.1 * unit)
            sizes.append(size)
            for row in t.structure.own_sds:
                if (i, row) in places:
                    start += _angles(M[row, : row + 1]) if t.structure.free else []
                else:
                    first = 0 if t.structure.free else row
                    entries = M[row, first : row + 1] / size[row]
                    if t.structure.shapes:
                        entries = np.array([np.linalg.norm(M[row])]) / size[row]
                    start += [*entries[:-1], max(float(entries[-1]), 0.1)]
            start += estimates.theta[t.theta][t.structure.n_theta - len(t.structure.shapes) :].tolist()
        if spec.sigma is None and None not in places:
            start.append(float(np.log(estimates.sigma)))
        return cls(criterion, tuple(places), np.array(start), tuple(sizes))

    def __call__(self, values: Floats, free: Floats) -> Floats:
        """Criterion (B,) at the sds held (B, h) and the free coordinates (B, k)."""
        spec = self.criterion.spec
        left = iter(free.T)
        roots = [self._root(i, t, values, left) for i, t in enumerate(spec.terms)]
        if spec.sigma is not None:
            sigma = np.full(len(values), spec.sigma)
        elif None in self.places:
            sigma = values[:, self.places.index(None)]
        else:
            sigma = np.exp(next(left))
        return self.criterion(roots, sigma)

    def _root(self, i: int, t: TermSpec, values: Floats, left: Any) -> Floats:
        """M (B, p, p) of one term."""
        if t.structure.shapes:
            return self._shaped(i, t, values, left)
        p = t.structure.size
        M = np.zeros((len(values), p, p))
        for row in t.structure.own_sds:
            held = (i, row) in self.places
            norm = values[:, self.places.index((i, row))] if held else self.sizes[i][row]
            first = 0 if t.structure.free else row
            if held:
                rest = np.ones(len(values))
                for j in range(first, row):
                    angle = next(left)
                    M[:, row, j], rest = norm * rest * np.sin(angle), rest * np.cos(angle)
                M[:, row, row] = norm * rest
            else:
                for j in range(first, row + 1):
                    M[:, row, j] = norm * next(left)
        if t.structure.shared:
            M[:, range(p), range(p)] = M[:, 0, 0, None]
        return M

    def _shaped(self, i: int, t: TermSpec, values: Floats, left: Any) -> Floats:
        """M (B, p, p) of a term whose θ are sds and then shapes, to which the root is proportional."""
        theta = []
        for row in t.structure.own_sds:
            held = (i, row) in self.places
            theta.append(values[:, self.places.index((i, row))] if held else self.sizes[i][row] * np.abs(next(left)))
        return t.structure.root(np.stack([*theta, *(next(left) for _ in t.structure.shapes)], axis=-1))


def _angles(row: Floats) -> list[float]:
    """Angles of the direction of a row; kept off ±90°, where the criterion is stationary by symmetry."""
    out, rest = [], float(np.linalg.norm(row))
    for entry in row[:-1]:
        sine = float(entry) / rest if rest > 0 else 0.0
        out.append(float(np.clip(np.arcsin(np.clip(sine, -1.0, 1.0)), -1.3, 1.3)))
        rest *= float(np.sqrt(max(0.0, 1.0 - sine**2)))
    return out


def minimise(function: Function, values: Floats, free: Floats) -> tuple[Floats, Floats]:
    """Minimise over the free coordinates (B, k) at every row of `values` (B, h), by Newton's method together.

    Derivatives are central differences; where the curvature is negative its size is taken, so that steps go down.

    Returns
    -------
    criterion : array (B,)
        Within about 1e-3 of the minimum.
    free : array (B, k)
    """
    u = np.array(free, dtype=float)
    lowest = function(values, u)
    active = np.arange(len(u)) if u.shape[1] else np.arange(0)
    for _ in range(STEPS):
        if not active.size:
            break
        gradient, hessian = derivatives(function, values[active], u[active], lowest[active])
        step = _newton_step(gradient, hessian)
        promise = -(gradient * step).sum(axis=1)
        active, step = active[promise > TOLERANCE], step[promise > TOLERANCE]
        moved = _descend(function, values, u, lowest, active, step)
        active = active[moved]
    return lowest, u


def _newton_step(gradient: Floats, hessian: Floats) -> Floats:
    curvatures, axes = np.linalg.eigh(hessian)
    turned = np.einsum("bij,bi->bj", axes, gradient) / np.maximum(np.abs(curvatures), 1e-2)
    step = -np.einsum("bij,bj->bi", axes, turned)
    longest = np.abs(step).max(axis=1)
    return np.asarray(step / np.maximum(1.0, longest)[:, None])


def _descend(function: Function, values: Floats, u: Floats, lowest: Floats, active: Any, step: Floats) -> Bools:
    """Take the first of the step and its fourths that goes down, in place; which points moved."""
    moved = np.zeros(len(active), dtype=bool)
    for shortening in range(SHORTENINGS):
        waiting = np.flatnonzero(~moved)
        if not waiting.size:
            break
        at = active[waiting]
        trial = u[at] + 0.25**shortening * step[waiting]
        criterion = function(values[at], trial)
        good = criterion < lowest[at]
        u[at[good]], lowest[at[good]] = trial[good], criterion[good]
        moved[waiting[good]] = True
    return moved


def derivatives(function: Function, values: Floats, u: Floats, middle: Floats) -> tuple[Floats, Floats]:
    """Gradient (B, k) and Hessian (B, k, k) by differences, all points in one call."""
    B, k = u.shape
    shifts = [*(STEP * np.eye(k)), *(-STEP * np.eye(k))]
    pairs = [(i, j) for i in range(k) for j in range(i)]
    shifts += [STEP * (np.eye(k)[i] + np.eye(k)[j]) for i, j in pairs]
    points = np.concatenate([u + shift for shift in shifts])
    found = function(np.tile(values, (len(shifts), 1)), points).reshape(len(shifts), B)
    up, down = found[:k], found[k : 2 * k]
    hessian = np.zeros((B, k, k))
    hessian[:, range(k), range(k)] = ((up - 2.0 * middle + down) / STEP**2).T
    for both, (i, j) in zip(found[2 * k :], pairs, strict=True):
        hessian[:, i, j] = hessian[:, j, i] = (both - up[i] - up[j] + middle) / STEP**2
    return ((up - down) / (2.0 * STEP)).T, hessian
