"""Many responses of one generalised model, fitted together: quasi-Newton steps of all at once, by the exact gradient.

They begin at the estimates of the model's own response, whose Hessian is a good first curvature for responses that it
simulates. What comes near a boundary, goes far away or does not arrive is for a fit of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _ranef.likelihood import rows_together
from _ranef.reml.generalised import CLOSE, GeneralisedProblem, without_flat
from _ranef.support.arrays import Bools, Floats, Ints

__all__ = ["LinkedRefits", "refit_linked"]

#: iterations and halvings, and the decrement that ends them
STEPS, HALVINGS, DONE = 40, 12, 1e-9

#: how far a step may go, in standard errors; how far η may, and θ that may be on the boundary
LONGEST, FARTHEST, INTERIOR = 4.0, 6.0, 1e-2


@dataclass(frozen=True, eq=False, repr=False)
class LinkedRefits:
    """Fits of B responses.

    Attributes
    ----------
    theta : array (B, n_theta)
        For the columns as written.
    beta : array (B, p)
        On the user's scale.
    dispersion : array (B, n_dispersions)
    criterion : array (B,)
    found : array of bool (B,)
        Which ended at an interior optimum; the others are for fits of their own.
    """

    theta: Floats
    beta: Floats
    dispersion: Floats
    criterion: Floats
    found: Bools


def refit_linked(problem: GeneralisedProblem, begun: Floats, hessian: Floats, Y: Floats) -> LinkedRefits:
    """Fit responses Y (n, B), from the parameters (m,) of the model's own and the Hessian there."""
    B, spec = Y.shape[1], problem.spec
    many = _Together(problem, Y)
    x = np.repeat(begun[None], B, axis=0)
    with np.errstate(all="ignore"):
        x, criterion, found = _descended(many, x, without_flat(hessian, np.eye(len(hessian))))
        found &= ~_doubtful(problem, x, begun)
    n, p = problem.n_theta, spec.n_fixed
    beta = x[:, n : n + p] @ problem.laplace.outward_map.T
    theta = problem.to_written(np.where(found[:, None], x, begun))
    return LinkedRefits(theta, beta, np.exp(x[:, n + p :]), criterion, found)


def _doubtful(problem: GeneralisedProblem, x: Floats, begun: Floats) -> Bools:
    """Which of parameters (B, m) are near a boundary, or so far away that rows may be separated."""
    n, p = problem.n_theta, problem.spec.n_fixed
    edge = (np.abs(x[:, :n]) < INTERIOR)[:, problem.scales[:n]].any(axis=1)
    edge |= problem.at_end(x).any(axis=1)
    if problem.laplace.family.linking.endless:
        moved = (x[:, n : n + p] - begun[n : n + p]) @ problem.laplace.X.T
        edge |= ~(np.abs(moved).max(axis=1, initial=0.0) < FARTHEST)
    return np.asarray(edge)


@dataclass(eq=False, repr=False)
class _Together:
    """The criteria of responses Y (n, B) as functions of their parameters x (B, m), with the modes found last."""

    problem: GeneralisedProblem
    Y: Floats

    def __post_init__(self) -> None:
        self.rows = rows_together(self.problem.laplace)
        levels = zip(self.rows.A.n_levels, self.rows.A.sizes, strict=True)
        self.u = [np.zeros((self.Y.shape[1], J, p)) for J, p in levels]

    def at(self, x: Floats, which: Ints) -> tuple[Floats, Floats]:
        """Criteria (b,) and gradients (b, m) at parameters x (b, m) of some responses; ∞ where they are no numbers."""
        try:
            return self._at(x, which)
        except np.linalg.LinAlgError:
            if len(x) == 1:
                return np.array([np.inf]), np.zeros(x.shape)
            parts = slice(len(x) // 2), slice(len(x) // 2, None)
            found = [self.at(x[part], which[part]) for part in parts]
            return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def _at(self, x: Floats, which: Ints) -> tuple[Floats, Floats]:
        u = tuple(u[which].reshape(-1, u.shape[2], 1) for u in self.u)
        found, slopes = self.problem.slopes_together(self.rows, x, u, CLOSE, self.Y[:, which])
        for own, mode in zip(self.u, found.u, strict=True):
            own[which] = mode.reshape(len(x), *own.shape[1:])
        return found.criterion, slopes


def _descended(many: _Together, x: Floats, inverse: Floats) -> tuple[Floats, Floats, Bools]:
    """Parameters (B, m), criteria (B,), and which have arrived."""
    B, everyone = len(x), np.arange(len(x))
    H, curvature = np.repeat(inverse[None], B, axis=0), np.linalg.pinv(inverse)
    value, slope = many.at(x, everyone)
    done = np.zeros(B, dtype=bool)
    left = np.isfinite(value)
    for _ in range(STEPS):
        step = -np.einsum("bij,bj->bi", H, slope)
        decrement = -(slope * step).sum(axis=1)
        done |= left & (decrement < DONE) & (decrement >= 0.0)
        going = np.flatnonzero(left & ~done)
        if not len(going):
            break
        length = np.sqrt(0.5 * np.einsum("bi,ij,bj->b", step, curvature, step))
        step *= np.minimum(1.0, LONGEST / np.maximum(length, LONGEST))[:, None]
        moved, there, uphill = _searched(many, going, x, value, slope, step)
        change = moved[0] - x[going]
        H[going] = _updated(H[going], change, there - slope[going])
        x[going], value[going], slope[going] = moved[0], moved[1], there
        left[going[uphill]] = False
    return x, value, done


def _searched(
    many: _Together, going: Ints, x: Floats, value: Floats, slope: Floats, step: Floats
) -> tuple[tuple[Floats, Floats], Floats, Bools]:
    """Parameters and criteria a step, or a part of it, further, gradients there, and who has not moved."""
    to, new, there = x[going].copy(), value[going].copy(), slope[going].copy()
    trying, t = np.arange(len(going)), 1.0
    for _ in range(HALVINGS):
        own = going[trying]
        trial = many.problem.allowed(x[own] + t * step[own])
        criterion, gradient = many.at(trial, own)
        least = value[own] + 1e-4 * t * (slope[own] * step[own]).sum(axis=1) + 1e-12 * np.abs(value[own])
        good = criterion <= least
        to[trying[good]], new[trying[good]], there[trying[good]] = trial[good], criterion[good], gradient[good]
        trying, t = trying[~good], 0.5 * t
        if not len(trying):
            break
    stuck = np.zeros(len(going), dtype=bool)
    stuck[trying] = True
    return (to, new), there, stuck


def _updated(H: Floats, step: Floats, change: Floats) -> Floats:
    """Inverse curvatures (b, m, m) by what gradients show (BFGS), where they show that it is positive."""
    seen = (step * change).sum(axis=1)
    along = np.einsum("bij,bj->bi", H, change)
    good = seen > 1e-3 * (change * along).sum(axis=1)
    r = 1.0 / np.where(good, seen, 1.0)
    outer = step[:, :, None] * along[:, None, :]
    size = (1.0 + (change * along).sum(axis=1) * r) * r
    new = H + size[:, None, None] * step[:, :, None] * step[:, None, :]
    new = new - r[:, None, None] * (outer + np.swapaxes(outer, 1, 2))
    return np.where(good[:, None, None], new, H)
