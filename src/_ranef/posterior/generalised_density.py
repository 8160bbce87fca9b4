"""Posterior densities of a generalised response at one point with their gradients, by numpy and the rows themselves.

Coordinates are those of the layout of the problem, internal coefficients that could be integrated out, and logarithms
of dispersions that are not known; then, where effects are sampled, those. They and the density are those of
:mod:`_ranef.nuts.joint_model`; :class:`Collapsed` has effects integrated out by Laplace's approximation.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from _ranef.likelihood import Laplace, Likelihood, Mode, RowSums, kind_of, response_rows
from _ranef.posterior.modes import Laplace as NormalAt
from _ranef.posterior.modes import Modes, find_modes
from _ranef.posterior.packing import pack_rows
from _ranef.posterior.problem import Gradient, Problem, constrained
from _ranef.posterior.related_as_independent import among_roots
from _ranef.posterior.start import internal_coefficients, start_vectors
from _ranef.results import RemlEstimates
from _ranef.spec import Gamma, Generalised, Rows
from _ranef.support.arrays import Floats, Ints
from _ranef.support.interrupts import deferred, load

__all__ = ["Collapsed", "Dispersions", "Joint", "joint_modes", "log_gamma"]

#: dispersions nearer to zero or infinity are no place to begin
LEAST = 1e-3

#: coordinates up to which effects are whitened by their whole curvature
MOST_WHITENED = 1500

#: entries of a root, beside the largest of their row, that are none but for rounding
NOTHING = 1e-5

#: step of differences of the gradient
DIFFERENCE = 1e-4

LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False, repr=False)
class Dispersions:
    """The dispersions of a generalised response among what is sampled."""

    problem: Problem

    @property
    def family(self) -> Generalised:
        """Of the rows."""
        family = self.problem.rows_of.family
        assert isinstance(family, Generalised)
        return family

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Those that are sampled."""
        response = self.problem.priors.response
        return tuple(name for name in self.family.dispersions if isinstance(response[name], Gamma))

    def own(self, logs: Floats) -> dict[str, Floats]:
        """All of them (...), of the logarithms (..., m) of those that are sampled."""
        out, sampled = {}, iter(np.moveaxis(logs, -1, 0))
        for name in self.family.dispersions:
            prior = self.problem.priors.response[name]
            out[name] = np.exp(next(sampled)) if isinstance(prior, Gamma) else np.full(logs.shape[:-1], float(prior))
        return out

    def log_starts(self, start: RemlEstimates | None) -> Floats:
        """Logarithms (m,) to begin at."""
        family, rows = self.family, response_rows(self.problem.rows_of)
        numbers = family.starts(rows) if start is None or start.dispersion is None else start.dispersion
        of_names = dict(zip(family.dispersions, np.clip(numbers, LEAST, 1.0 / LEAST).tolist(), strict=True))
        return np.asarray(np.log(np.array([of_names[name] for name in self.names], dtype=float)))


def log_gamma(prior: object, q: Floats) -> Floats:
    """Log density of the logarithms `q` of what has a gamma prior."""
    assert isinstance(prior, Gamma)
    gammaln = load("scipy.special").gammaln
    return np.asarray(prior.shape * (q + np.log(prior.rate)) - prior.rate * np.exp(q) - gammaln(prior.shape))


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """Log density of rows and effects, with slopes: in λ, raveled by factor, in coefficients, dispersions, effects."""

    value: float
    lam: Floats
    w: Floats
    logs: Floats
    effects: Floats


@dataclass(frozen=True, eq=False, repr=False)
class _Linked(Dispersions):
    """Rows, and priors of coefficients and dispersions."""

    @abstractmethod
    def _found(self, lambdas: list[Floats], w: Floats, own: dict[str, Floats], effects: Floats) -> Found:
        """At λ (p_k, p_k), coefficients w (r,), dispersions and effects."""

    @property
    def n_outer(self) -> int:
        """Number of coordinates without effects."""
        return self.problem.layout.n_hyper + len(self.problem.fixed.integrated) + len(self.names)

    @property
    def by_numpy(self) -> Gradient:
        """Value and gradient of the log posterior density."""
        problem = self.problem
        return problem.under_priors(self._likelihood, replace(problem.sampled_roots, products=problem.products))

    @cached_property
    def rows(self) -> Rows:
        """The response."""
        return response_rows(self.problem.rows_of)

    @cached_property
    def sums(self) -> RowSums:
        """Columns of the rows, internal."""
        return RowSums(self.problem.spec, self.problem.products)

    @cached_property
    def Z(self) -> tuple[Floats, ...]:
        """By factor (p_k, n)."""
        return tuple(self.sums.rows[place] for place in self.sums.places[:-1])

    @cached_property
    def X(self) -> Floats:
        """What coefficients (r,), integrated and sampled, are multiplied by for η (n, r)."""
        fixed, own = self.problem.fixed, self.sums.rows[self.sums.places[-1]][:-1]
        return np.ascontiguousarray(-fixed.unit * (own.T @ fixed.columns[:-1, :-1]))

    @cached_property
    def offset(self) -> Floats:
        """Η (n,) without coefficients."""
        d = self.problem.rows_of.design
        return d.X @ self.problem.products.scaling.pilot + (0.0 if d.offset is None else d.offset)

    @cached_property
    def _log_scale(self) -> float:
        """Of the normal priors, and of the map from internal coefficients."""
        fixed = self.problem.fixed
        unit = np.linalg.slogdet(fixed.root)[1] - len(fixed.integrated) * np.log(fixed.unit)
        return float(fixed.log_scale + 2.0 * unit)

    def split(self, rest: Floats) -> list[Floats]:
        """Coefficients, logarithms of dispersions, and effects, of what stands behind the layout's (..., d)."""
        g = len(self.problem.fixed.integrated)
        m = g + len(self.names)
        return [rest[..., :g], rest[..., g:m], rest[..., m:]]

    def lambdas(self, flat: Floats) -> list[Floats]:
        """By factor (..., p_k, p_k)."""
        return _parted(flat, [(p, p) for p in self.problem.products.sizes])

    def w(self, coefficients: Floats, sampled: Floats) -> Floats:
        """Minus the integrated coefficients, and what the sampled ones take out of the response (..., r)."""
        return np.concatenate([-coefficients, self.problem.fixed.contrast(sampled)[..., :-1]], axis=-1)

    def _likelihood(self, lam: Floats, sigma: float, sampled: Floats, rest: Floats) -> tuple[Floats, float, Floats]:
        coefficients, logs, effects = self.split(rest)
        fixed, w, own = self.problem.fixed, self.w(coefficients, sampled), self.own(logs)
        try:
            with np.errstate(all="ignore"):
                found = self._found(self.lambdas(lam), w, own, effects)
        except np.linalg.LinAlgError:
            return np.full(2 + len(lam) + len(sampled), np.nan), 0.0, np.full(len(rest), np.nan)
        whole = np.append(w, 1.0)
        prior = fixed.K @ whole
        of_w, g = found.w - prior[:-1], len(coefficients)
        value = found.value - 0.5 * (whole @ prior + self._log_scale)
        of_logs = [found.logs[self.family.dispersions.index(name)] for name in self.names]
        for i, (name, q) in enumerate(zip(self.names, logs, strict=True)):
            own_prior = self.problem.priors.response[name]
            assert isinstance(own_prior, Gamma)
            value += float(log_gamma(own_prior, q))
            of_logs[i] += own_prior.shape - own_prior.rate * np.exp(q)
        out = np.concatenate([[value], found.lam, [0.0], -of_w[g:] / fixed.unit])  # σ is known
        return out, 0.0, np.concatenate([-of_w[:g], of_logs, found.effects])

    def outer_starts(self, start: RemlEstimates | None) -> list[Floats]:
        """Where climbs to its modes begin, without effects."""
        own = [internal_coefficients(self.problem, start), self.log_starts(start)]
        return [np.concatenate([q, *own]) for q in start_vectors(self.problem, start)]


@dataclass(frozen=True, eq=False, repr=False)
class Collapsed(_Linked):
    """Effects integrated out by Laplace's approximation, with its exact gradient."""

    near: Mode | None = None

    @property
    def gradient(self) -> Gradient:
        """Value and gradient of the log posterior density."""
        return self.by_numpy

    @cached_property
    def laplace(self) -> Laplace:
        """The rows in the coordinates of the coefficients."""
        problem, sums = self.problem, self.sums
        working = Likelihood(problem.spec, replace(problem.products, rows=None), "ML")
        codes = tuple(sums.codes)
        return Laplace(problem.rows_of, self.family, working, self.rows, self.offset, self.X, self.Z, codes, sums.pairs)

    def _found(self, lambdas: list[Floats], w: Floats, own: dict[str, Floats], effects: Floats) -> Found:
        order = self.problem.products.order
        roots = [lambdas[order.index(k)] for k in range(len(order))]
        logs = np.log(np.array([own[name] for name in self.family.dispersions], dtype=float))
        at = self.laplace.at(roots, w, logs, self.near)
        first, gradient = at.first_order, at.gradient
        of_lam = np.concatenate([gradient[k].ravel() for k in order])
        return Found(-0.5 * at.criterion, -0.5 * of_lam, -0.5 * first.beta, -0.5 * first.logs, effects)

    def mode(self, q: Floats) -> Mode:
        """The conditional mode of the effects at coordinates (d,)."""
        found = []

        def likelihood(lam: Floats, sigma: float, sampled: Floats, rest: Floats) -> tuple[Floats, float, Floats]:
            coefficients, logs, _ = self.split(rest)
            found.append((self.lambdas(lam), self.w(coefficients, sampled), self.own(logs)))
            return np.zeros(2 + len(lam) + len(sampled)), 0.0, np.zeros(len(rest))

        problem = self.problem
        problem.under_priors(likelihood, replace(problem.sampled_roots, products=problem.products))(q)
        (lambdas, w, own), order = found[0], problem.products.order
        logs = np.log(np.array([own[name] for name in self.family.dispersions], dtype=float))
        return self.laplace.at([lambdas[order.index(k)] for k in range(len(order))], w, logs).mode

    def modes(self, start: RemlEstimates | None, seed: int) -> Modes:
        """The modes of the density."""
        return find_modes(self.gradient, self.outer_starts(start), seed, weigh=False)


@dataclass(frozen=True, eq=False, repr=False)
class Joint(_Linked):
    """Effects sampled too, after all other coordinates: z (J_k, p_k) with b = σ z λᵀ, or b if they are centred.

    With A (J_k, p_k, p_k) by factor in `informed`, what rows tell of a level near the mode, instead w = Lᵀz with
    LLᵀ = I + λᵀAλ. Given λ these have about unit variance whatever λ is; where rows tell nothing they are z, and where
    they tell much b but for a constant.
    """

    centered: bool = False
    informed: tuple[Floats, ...] | None = None

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Levels and effects by factor."""
        return list(zip(self.problem.products.n_levels, self.problem.products.sizes, strict=True))

    @cached_property
    def among(self) -> list[Floats | None]:
        """Roots of the covariances among levels by factor."""
        roots = among_roots(self.problem.spec)
        return [roots[k] for k in self.problem.products.order]

    @cached_property
    def _inward(self) -> list[Floats]:
        """What makes internal effects of those in the coordinates of the priors (p_k, p_k)."""
        problem = self.problem
        scale = problem.products.scaling.Z
        return [np.linalg.solve(scale[k], problem.outward[k]) for k in problem.products.order]

    @cached_property
    def _columns(self) -> Floats:
        """Columns of all effects (Σ p_k, n)."""
        return np.concatenate(self.Z)

    @cached_property
    def _places(self) -> Ints:
        """Which of all effects each of them is multiplied by."""
        out, at = [], 0
        for code, (J, p) in zip(self.sums.codes, self.shapes, strict=True):
            out.append(at + code * p + np.arange(p)[:, None])
            at += J * p
        return np.concatenate(out)

    @cached_property
    def _constant(self) -> float:
        return float(self.family.constant(self.rows, {}).sum())

    def by_factor(self, effects: Floats) -> list[Floats]:
        """Effects (..., J_k, p_k) of all coordinates of them."""
        return _parted(effects, self.shapes)

    @property
    def by_loops(self) -> bool:
        """Whether compiled loops know it: common families with independent levels and λ linear in θ."""
        problem = self.problem
        known = kind_of(self.family) and problem.sampled_roots.linear and not self.names and not self.centered
        plain = problem.layout.plain and not len(problem.shape_priors.places) and not problem.layout.rows
        return bool(known and plain and all(root is None for root in self.among))

    def packed(self, centre: Floats, root: Any) -> Floats:
        """One array of doubles, of coordinates w with q = centre + root w."""
        problem, root, y = self.problem, load("scipy.sparse").csr_array(root), self.rows.y
        fixed, g = problem.fixed, len(problem.fixed.integrated)
        nothing = [np.zeros((J, p, p)) for J, p in self.shapes]
        effects = sum(J * p for J, p in self.shapes)
        constant = self._constant + problem.prior_constant - 0.5 * (self._log_scale + effects * LOG_2PI)
        roots = replace(problem.sampled_roots, products=problem.products)
        return pack_rows(
            {
                "prior": problem.packed,
                "sizes": [p for _, p in self.shapes],
                "levels": [J for J, _ in self.shapes],
                "codes": np.array(self.sums.codes),
                "Z": self._columns,
                "X": np.ascontiguousarray(self.X.T),
                "offset": self.offset,
                "y": y,
                "weights": np.broadcast_to(self.rows.weights, y.shape),
                "log_y": self.rows.log_y,
                "informed": _joined([A.ravel() for A in self.informed or nothing]),
                "fill": roots.fill,
                "K": fixed.K,
                "origin": fixed.pilot[fixed.sampled],
                "numbers": [kind_of(self.family), problem.layout.n_hyper, g, fixed.unit, constant],
                "centre": centre,
                "indptr": root.indptr,
                "cols": root.indices,
                "root": root.data,
            }
        )

    @property
    def gradient(self) -> Gradient:
        """Value and gradient of the log posterior density, by the loops if they know it."""
        if not self.by_loops:
            return self.by_numpy
        loops: Any = load("_ranef.posterior.loops.joint_rows")
        d = self.n_outer + sum(J * p for J, p in self.shapes)
        packed = self.packed(np.zeros(d), load("scipy.sparse").eye_array(d))

        def gradient(q: Floats) -> tuple[float, Floats]:
            slope = np.empty_like(q)
            with deferred():  # it may be compiled now
                return float(loops.joint_density(q, packed, slope)), slope

        return gradient

    def _found(self, lambdas: list[Floats], w: Floats, own: dict[str, Floats], effects: Floats) -> Found:
        sampled, Z, at = self.by_factor(effects), self._columns, self._places
        scales = self._scales(lambdas)
        sampled = [_unscaled(L, x) for L, x in zip(scales, sampled, strict=True)]
        b = _joined([self._inside(k, lam, x).ravel() for k, (lam, x) in enumerate(zip(lambdas, sampled, strict=True))])
        eta = self.offset + self.X @ w + (Z * b[at]).sum(axis=0)
        rows = self.family.slopes(eta, self.rows, own)
        value = float(rows.value.sum())
        value += float(np.sum(self.family.constant(self.rows, own))) if own else self._constant
        slope = np.bincount(at.ravel(), (rows.first * Z).ravel(), len(b))
        of_lam, of_effects = [], []
        for k, bar in enumerate(self.by_factor(np.asarray(slope, dtype=float))):
            root = self.among[k]
            more, lam_bar, own_bar = self._prior(k, lambdas[k], sampled[k], bar if root is None else root.T @ bar)
            value += more
            L = scales[k]
            if L is not None and self.informed is not None:
                turned, own_bar, change = _scaled_back(L, sampled[k], own_bar)
                lam_bar = lam_bar + 2.0 * (self.informed[k] @ lambdas[k] @ turned).sum(axis=0)
                value += change
            of_lam.append(lam_bar.ravel())
            of_effects.append(own_bar.ravel())
        logs = [d.value.sum() for d in self.family.in_dispersions(eta, self.rows, own)] if self.names else []
        return Found(value, _joined(of_lam), rows.first @ self.X, np.array(logs), _joined(of_effects))

    def _scales(self, lambdas: list[Floats]) -> list[Floats | None]:
        """L (..., J_k, p_k, p_k) by factor, where effects have such; none of related levels."""
        if self.informed is None:
            return [None] * len(lambdas)
        out: list[Floats | None] = []
        for A, lam, root in zip(self.informed, lambdas, self.among, strict=True):
            if root is not None:
                out.append(None)
            elif A.shape[-1] == 1:
                out.append(np.sqrt(1.0 + lam[..., None, :, :] ** 2 * A))
            else:
                left = np.swapaxes(lam, -1, -2)[..., None, :, :] @ A @ lam[..., None, :, :]
                out.append(np.linalg.cholesky(left + np.eye(A.shape[-1])))
        return out

    def _inside(self, k: int, lam: Floats, sampled: Floats) -> Floats:
        b: Floats = sampled @ (self._inward[k] if self.centered else lam).T
        root = self.among[k]
        return b if root is None else root @ b

    def _prior(self, k: int, lam: Floats, sampled: Floats, bar: Floats) -> tuple[float, Floats, Floats]:
        """Log prior density of the effects; slopes in λ and in them, of it and of `bar` in internal effects."""
        if not self.centered:
            value = -0.5 * float((sampled**2).sum() + sampled.size * LOG_2PI)
            return value, bar.T @ sampled, bar @ lam - sampled
        inward, J = self._inward[k], len(sampled)
        root = np.linalg.solve(inward, lam)
        u = np.linalg.solve(root, sampled.T)
        value = -0.5 * float((u**2).sum() + sampled.size * LOG_2PI) - J * float(np.linalg.slogdet(root)[1])
        of_root = np.linalg.solve(root.T, u @ u.T - J * np.eye(len(root)))
        return value, np.linalg.solve(inward.T, of_root), bar @ inward - np.linalg.solve(root.T, u).T

    def effects_of(self, mode: Mode) -> Floats:
        """Coordinates of the effects of a conditional mode."""
        out = []
        for k, b in enumerate(mode.b):
            root, own = self.among[k], b[:, :, 0]
            own = own if root is None else np.linalg.solve(root, own)
            to = self._inward[k] if self.centered else mode.lambdas[k]
            out.append(np.linalg.lstsq(to, own.T, rcond=None)[0].T)
        for k, L in enumerate(self._scales(list(mode.lambdas))):
            out[k] = out[k] if L is None else np.einsum("jba,jb->ja", L, out[k])
        return _joined([own.ravel() for own in out])

    def positions(self, flat: Floats) -> dict[str, Floats]:
        """Values by site of coordinates (..., d)."""
        problem, d = self.problem, self.problem.layout.n_hyper
        coefficients, logs, effects = self.split(flat[..., d:])
        roots = replace(problem.sampled_roots, products=problem.products)
        scales = self._scales(self.lambdas(roots.at(constrained(problem, flat[..., :d])[0])))
        letter, own = "b" if self.centered else "z", self.by_factor(effects)
        out = {f"{letter}{k}": _unscaled(L, x) for k, (L, x) in enumerate(zip(scales, own, strict=True))}
        out |= dict(zip(self.names, np.moveaxis(logs, -1, 0), strict=True))
        return out | ({"beta": coefficients} if coefficients.shape[-1] else {})


def joint_modes(problem: Problem, parameterization: str, start: RemlEstimates | None, seed: int) -> tuple[Joint, Modes]:
    """The joint density, and a normal approximation of all coordinates round each mode of the collapsed one.

    That of the effects given all others is by the curvature of the joint density, and their mean is linear in the
    others.
    """
    collapsed = Collapsed(problem)
    found = collapsed.modes(start, seed)
    joint = Joint(problem, centered=parameterization == "centered")
    if parameterization == "auto":
        at = collapsed.mode(found.best.centre)
        joint = replace(joint, informed=at.model.weighted(np.maximum(at.at.curvature, 0.0)).diag)
    return joint, replace(found, at=tuple(_whole(joint, collapsed, at) for at in found.at))


def _whole(joint: Joint, collapsed: Collapsed, outer: NormalAt) -> NormalAt:
    gradient, n, sparse = joint.gradient, len(outer.centre), load("scipy.sparse")
    centre = np.concatenate([outer.centre, joint.effects_of(collapsed.mode(outer.centre))])
    d = len(centre)
    whole = d <= MOST_WHITENED  # else the sampler finds the scales of effects itself

    def slope(i: int) -> Floats:
        step = np.zeros(d)
        step[i] = DIFFERENCE
        return (gradient(centre - step)[1] - gradient(centre + step)[1])[n:] / (2.0 * DIFFERENCE)

    H = np.array([slope(i) for i in range(d)]).T if whole else np.zeros((d - n, d))  # (effects, all)
    inner = _inverse_root(0.5 * (H[:, n:] + H[:, n:].T)) if whole else np.eye(d - n)
    across = sparse.csr_array(-inner @ (inner.T @ H[:, :n]) @ outer.root)
    # levels that do not meet have nothing in common
    inner[np.abs(inner) < NOTHING * np.abs(inner).max(axis=1, keepdims=True)] = 0.0
    root = [[sparse.csr_array(outer.root), None], [across, sparse.csr_array(inner)]]
    return replace(outer, centre=centre, root=sparse.block_array(root, format="csr"))


def _inverse_root(H: Floats) -> Floats:
    """R with H⁻¹ = R Rᵀ, sparse where a factor of H in this order is; where H has none, by sizes of its eigenvalues."""
    try:
        return np.linalg.inv(np.linalg.cholesky(H)).T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(H)
        return np.asarray(vectors / np.sqrt(np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1.0))))


def _unscaled(L: Floats | None, w: Floats) -> Floats:
    """Z = L⁻ᵀw of levels (..., J, p)."""
    if L is None:
        return w
    return w / L[..., 0] if w.shape[-1] == 1 else np.linalg.solve(np.swapaxes(L, -1, -2), w[..., None])[..., 0]


def _scaled_back(L: Floats, z: Floats, bar: Floats) -> tuple[Floats, Floats, float]:
    """Slopes (J, p, p) in LLᵀ and (J, p) in w of what has the slopes `bar` in z = L⁻ᵀw, with −log |L|, and that."""
    diagonal = np.diagonal(L, axis1=1, axis2=2)
    value = -float(np.log(diagonal).sum())
    if z.shape[1] == 1:
        own: Floats = bar / L[:, 0]
        return -0.5 * (z * own / L[:, 0] + L[:, 0] ** -2)[:, None], own, value
    own = np.linalg.solve(L, bar[..., None])[..., 0]
    of_L = np.tril(-z[:, :, None] * own[:, None, :]) - np.eye(z.shape[1]) / diagonal[:, None, :]
    inside = np.tril(np.swapaxes(L, 1, 2) @ of_L)
    inside -= 0.5 * np.eye(z.shape[1]) * np.diagonal(inside, axis1=1, axis2=2)[:, None, :]
    inverse = np.linalg.inv(L)
    of_M = np.swapaxes(inverse, 1, 2) @ inside @ inverse
    return 0.5 * (of_M + np.swapaxes(of_M, 1, 2)), own, value


def _parted(flat: Floats, shapes: list[tuple[int, int]]) -> list[Floats]:
    """Matrices (..., J, p) of all their numbers (..., Σ J p)."""
    out, at = [], 0
    for J, p in shapes:
        out.append(flat[..., at : at + J * p].reshape(*flat.shape[:-1], J, p))
        at += J * p
    return out


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate([np.zeros(0), *parts])
