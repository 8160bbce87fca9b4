"""The criterion with one parameter held: coordinates in which nothing else is constrained, with exact gradients.

A term has an absolute root M with MMᵀ = Σ (so λ = M/σ). Any root will do, so the columns of an unstructured term are
put in an order in which what is held comes first: a standard deviation is then the first entry of M, and a correlation
sin φ of the first two rows (s, 0) and (t sin φ, t cos φ). A zero variance and a correlation of ±1 are no special cases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from _ranef.inference.engines import laplace_at
from _ranef.inference.residual_parameters import told_jacobian, values_of
from _ranef.likelihood import At, CrossProducts, Laplace, Likelihood, Mode, OverRho, at_points, over_rho
from _ranef.reml import FARTHEST
from _ranef.residuals import told_names, told_places
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, TermSpec
from _ranef.support.arrays import Bools, Floats

__all__ = ["Held", "Objective", "Value", "generalised_objectives", "held_parameters", "make_objectives"]

#: share of the natural size of an effect below which a start is kept off zero, where the criterion is stationary
OFF_ZERO = 0.1

#: how near to its bounds a bounded shape is followed, as a share of their distance
EDGE = 1e-6


@dataclass(frozen=True)
class Held:
    """A parameter that can be held.

    Attributes
    ----------
    name : str
        As ``confint`` has it.
    kind : str
        ``"coefficient"``, ``"sd"``, ``"cor"``, ``"shape"``, ``"rho"``, ``"dispersion"`` or ``"sigma"``.
    place : tuple of int
        Which coefficient; term and column, or columns; term and entry of θ; entry of ρ.
    low, high : float
        Bounds of the coordinate that is held.
    ends : (float, float)
        What users read at those bounds.
    """

    name: str
    kind: str
    place: tuple[int, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    ends: tuple[float, float] = (-np.inf, np.inf)


def held_parameters(spec: ModelSpec) -> tuple[list[Held], list[str]]:
    """All parameters that can be held, by the order of ``confint``, and the names of those that cannot.

    What cannot is a correlation that no one coordinate tells, as those of ``toep()`` and of ``ARMA`` of higher order.
    """
    out = [Held(name, "coefficient", (j,)) for j, name in enumerate(spec.design.fixed_names)]
    left: list[str] = []
    for i, t in enumerate(spec.terms):
        out += [
            Held(f"sd({t.columns[c]} | {t.group})", "sd", (i, c), 0.0, ends=(0.0, np.inf)) for c in t.structure.own_sds
        ]
        for a, b in t.structure.own_pairs:
            name = f"cor({t.columns[b]}, {t.columns[a]} | {t.group})"
            if t.structure.free:
                out.append(Held(name, "cor", (i, b, a), -0.5 * np.pi, 0.5 * np.pi, (-1.0, 1.0)))
            elif len(t.structure.shapes) == 1:
                shape = t.structure.shapes[0]
                room = EDGE * (shape.high - shape.low)
                low, high = (float(shape.coordinate(np.array(x))) for x in (shape.low + room, shape.high - room))
                out.append(Held(name, "shape", (i, t.structure.n_theta - 1), low, high, (shape.low, shape.high)))
            else:
                left.append(name)
    rho, not_alone = _rho_parameters(spec)
    out += rho
    if isinstance(spec.family, Generalised):
        out += [
            Held(name, "dispersion", (k,), -FARTHEST, FARTHEST, (0.0, np.inf))
            for k, name in enumerate(spec.family.dispersions)
        ]
    if spec.sigma is None:
        out.append(Held("sigma", "sigma", ends=(0.0, np.inf)))
    return out, left + not_alone


def _rho_parameters(spec: ModelSpec) -> tuple[list[Held], list[str]]:
    """Parameters ρ by what users read of each, where that is a function of it alone."""
    if spec.rho is None or not spec.rho_names:
        return [], []
    told = spec.residual.told()
    own = told_places(told)
    moves = told_jacobian(spec)[own] != 0
    out, left = [], []
    for name, place, row in zip(told_names(told), own, moves, strict=True):
        if row.sum() == 1:
            out.append(Held(name, "rho", (int(np.flatnonzero(row)[0]), place)))
        else:
            left.append(name)
    return out, left


@dataclass(frozen=True, eq=False)
class Value:
    """The criterion at one point.

    Attributes
    ----------
    criterion : float
    gradient : array (m,)
        In all coordinates.
    slope : float
        In a coefficient that is held, which is none of them; else zero.
    """

    criterion: float
    gradient: Floats
    slope: float = 0.0


@dataclass(frozen=True, eq=False)
class _TermRoot:
    """M (p, p) of one term by its coordinates x, and the gradient back.

    Of an unstructured term x are the entries of a lower triangle by rows, for the columns in an `order`; with a
    `correlation` held the first three are log s, φ and log t. Of others x is θ with absolute standard deviations, by
    their logarithms where there are shapes, unless one is `held`.
    """

    term: TermSpec
    order: tuple[int, ...]
    correlation: bool = False
    held: int | None = None

    def root(self, x: Floats) -> Floats:
        """M at x."""
        own = self.term.structure
        if not own.free:
            return own.root(np.where(self._logs, np.exp(np.where(self._logs, x, 0.0)), x))
        L = np.zeros((own.size, own.size))
        L[np.tril_indices(own.size)] = x
        if self.correlation:
            s, t = np.exp(x[[0, 2]])
            L[0, 0], L[1, 0], L[1, 1] = s, t * np.sin(x[1]), t * np.cos(x[1])
        return L[np.argsort(self.order)]

    def back(self, x: Floats, gradient: Floats) -> Floats:
        """∂/∂x from ∂/∂M."""
        own = self.term.structure
        if not own.free:
            theta = np.where(self._logs, np.exp(np.where(self._logs, x, 0.0)), x)
            out = own.pull_back(theta, gradient)
            return np.where(self._logs, theta * out, out)
        out = gradient[list(self.order)][np.tril_indices(own.size)]
        if self.correlation:
            (s, t), sin, cos = np.exp(x[[0, 2]]), np.sin(x[1]), np.cos(x[1])
            out[:3] = s * out[0], t * (out[1] * cos - out[2] * sin), t * (out[1] * sin + out[2] * cos)
        return out

    def start(self, theta: Floats, sigma: float, units: Floats) -> Floats:
        """X at θ̂ and σ̂, with what is next to zero put off it."""
        own, least = self.term.structure, OFF_ZERO * units
        if not own.free:
            sds = list(own.own_sds)
            raised = np.maximum(sigma * theta[sds], least[sds])
            return np.concatenate([np.log(raised) if own.shapes else raised, theta[len(sds) :]])
        order = list(self.order)
        M = sigma * own.root(theta)[order]
        L = np.linalg.qr(M.T)[1].T
        L = L * np.where(np.diag(L) < 0, -1.0, 1.0)
        at = np.arange(own.size)
        L[at, at] = np.maximum(np.diag(L), least[order])
        if self.correlation:
            s, t = np.maximum(np.linalg.norm(M[:2], axis=1), least[order[:2]])
            L[0, 0], L[1, 0], L[1, 1] = np.log(s), np.arcsin(np.clip(M[0] @ M[1] / (s * t), -1.0, 1.0)), np.log(t)
        return L[np.tril_indices(own.size)]

    def sizes(self, units: Floats) -> Floats:
        """Steps of x that matter, from those of standard deviations (p,)."""
        own = self.term.structure
        if not own.free:
            sds = np.concatenate([units[list(own.own_sds)], np.ones(own.n_theta - len(own.own_sds))])
            return np.where(self._logs, 1.0, sds)
        out = units[list(self.order)][np.tril_indices(own.size)[0]]
        out[: 3 * self.correlation] = 1.0
        return out

    @property
    def _logs(self) -> Bools:
        own, at = self.term.structure, np.arange(self.term.structure.n_theta)
        return np.asarray((at < len(own.own_sds)) & (at != self.held) & bool(own.shapes))


@dataclass(frozen=True, eq=False)
class Objective(ABC):
    """The criterion as a function of coordinates, one of them held: first those of the terms.

    Attributes
    ----------
    held : Held
    index : int or None
        Which coordinate is held; None for a coefficient, which is none of them.
    roots : tuple
        The terms.
    start : array (m,)
        The coordinates at the estimates, kept off places that are stationary by symmetry.
    estimate : float
        Of what is held, as a coordinate; NaN where there is none.
    size : float
        A step of it that matters.
    sizes : array (m,)
        The same of all coordinates.
    minimum : float
        The criterion of the estimates.
    """

    held: Held
    index: int | None
    roots: tuple[_TermRoot, ...]
    start: Floats
    estimate: float
    size: float
    sizes: Floats
    minimum: float

    @property
    @abstractmethod
    def spec(self) -> ModelSpec:
        """The model."""

    @abstractmethod
    def __call__(self, x: Floats, value: float = 0.0) -> Value:
        """The criterion at coordinates, with its gradient; a coefficient that is held apart has a `value`."""

    def _parts(self, x: Floats) -> list[Floats]:
        """Coordinates of each term, and those behind them all."""
        return np.split(x, np.cumsum([r.term.structure.n_theta for r in self.roots]).astype(int))

    def _covariances(self, parts: Sequence[Floats], sigma: float) -> list[Floats]:
        """Roots (p_k, p_k) of D_k over σ² by grouping."""
        out: list[Floats] = [np.zeros((len(g.columns), len(g.columns))) for g in self.spec.groupings]
        for root, part in zip(self.roots, parts, strict=False):
            out[root.term.grouping][root.term.where, root.term.where] = root.root(part) / sigma
        return out

    @property
    def chart(self) -> tuple[object, ...]:
        """What coordinates stand for: objectives that have it in common are one function of them."""
        return tuple((r.order, r.correlation, r.held) for r in self.roots)

    @property
    def turns(self) -> bool:
        """Whether at the bound of what is held the effects beside it may turn freely, so that there is no one slope."""
        own = self.spec.terms[self.held.place[0]].structure if self.held.kind == "sd" else None
        return own is not None and own.free and own.size > 1

    def told(self, coordinate: float) -> tuple[float, float]:
        """What users read at a coordinate that is held, and its derivative."""
        kind, spec = self.held.kind, self.spec
        if kind == "cor":
            return float(np.sin(coordinate)), float(np.cos(coordinate))
        if kind in ("sigma", "dispersion"):
            return float(np.exp(coordinate)), float(np.exp(coordinate))
        if kind == "shape":
            shape = spec.terms[self.held.place[0]].structure.shapes[0]
            u = np.array(coordinate)
            return float(shape.value(u)), float(np.exp(shape.log_slope(u)[0]))
        if kind == "rho":
            return self._told_rho(coordinate)
        return coordinate, 1.0

    def _told_rho(self, coordinate: float) -> tuple[float, float]:
        spec, (k, place) = self.spec, self.held.place
        assert spec.rho is not None
        rho = spec.rho.copy()
        rho[k] = coordinate
        there = spec.with_rho(rho)
        return values_of(there.residual.told())[place], float(told_jacobian(there)[place, k])


@dataclass(frozen=True, eq=False)
class GaussianObjective(Objective):
    """The criterion of a Gaussian response: behind the terms stand ρ, then log σ; coefficients are profiled out.

    Attributes
    ----------
    likelihoods : _ByRho
    """

    likelihoods: _ByRho

    @property
    def spec(self) -> ModelSpec:
        """That of the likelihoods."""
        return self.likelihoods.spec

    def __call__(self, x: Floats, value: float = 0.0) -> Value:
        """By the likelihood at ρ."""
        spec, (*parts, tail) = self.spec, self._parts(x)
        sigma = float(np.exp(x[-1])) if spec.sigma is None else spec.sigma
        likelihood, relative = self.likelihoods.at(tail[: len(spec.rho_names)]), self._covariances(parts, sigma)
        at, slope = likelihood.at_roots(relative, sigma), 0.0
        if self.index is None:
            j = self.held.place[0]
            slope = 2.0 * (value - float(at.beta[j])) / float(at.vcov[j, j])
            at = at.holding(j, value)
        return Value(at.criterion, self._gradient(at, parts, relative, sigma), slope)

    def _gradient(self, at: At, parts: Sequence[Floats], relative: Sequence[Floats], sigma: float) -> Floats:
        own = at.likelihood
        of_root = [np.linalg.solve(T.T, g) for T, g in zip(own.maps, at.gradient, strict=True)]
        out = []
        for root, x in zip(self.roots, parts, strict=True):
            t = root.term
            out.append(root.back(x, of_root[t.grouping][t.where, t.where] / sigma))
        if own.spec.rho_names:
            out.append(self.likelihoods.over.slopes(at))
        if own.spec.sigma is None:
            nu = own.spec.n_obs - (own.spec.n_fixed if own.method == "REML" else 0)
            moved = sum(float((g * lam).sum()) for g, lam in zip(of_root, relative, strict=True))
            out.append(np.array([2.0 * nu - 2.0 * at.relative_rss - moved]))
        return np.concatenate(out) if out else np.zeros(0)


@dataclass(frozen=True, eq=False)
class GeneralisedObjective(Objective):
    """The criterion of a generalised response: behind the terms stand β, then log dispersions.

    Attributes
    ----------
    laplace : Laplace
    points : int
        Of quadrature.
    near : dict
        The last mode, from which the next is sought.
    """

    laplace: Laplace
    points: int
    near: dict[str, Mode] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """Of the response."""
        return self.laplace.spec

    def __call__(self, x: Floats, value: float = 0.0) -> Value:
        """By Laplace's approximation or quadrature."""
        model, (*parts, tail), p = self.laplace, self._parts(x), self.spec.n_fixed
        roots = model.gaussian.standard_roots(self._covariances(parts, 1.0))
        at = at_points(model.at(roots, model.inward(tail[:p]), tail[p:], self.near.get("last")), self.points)
        self.near["last"] = at.mode
        of_root = [np.linalg.solve(T.T, g) for T, g in zip(model.gaussian.maps, at.gradient, strict=True)]
        terms = [(root.term.grouping, root.term.where) for root in self.roots]
        own = [root.back(part, of_root[k][w, w]) for root, part, (k, w) in zip(self.roots, parts, terms, strict=True)]
        first = at.first_order
        return Value(at.criterion, np.concatenate([*own, model.outward_slope(first.beta), first.logs]))


@dataclass(frozen=True, eq=False)
class _ByRho:
    """The likelihood by ρ; that of the last one is kept."""

    over: OverRho
    last: dict[bytes, Likelihood] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.over.spec

    def at(self, rho: Floats) -> Likelihood:
        """The likelihood at ρ (n_rho,)."""
        key = rho.tobytes()
        if key not in self.last:
            found = self.over.at(rho)
            self.last.clear()
            self.last[key] = found
        return self.last[key]


def generalised_objectives(spec: ModelSpec, estimates: RemlEstimates, held: Sequence[Held]) -> list[Objective]:
    """The same of a generalised response, whose coefficients are coordinates like others."""
    at = laplace_at(spec, estimates)
    gaussian, errors = at.laplace.gaussian, np.sqrt(np.diag(estimates.vcov))
    out: list[Objective] = []
    for one in held:
        roots = tuple(_term_root(i, t, one) for i, t in enumerate(spec.terms))
        units = [_units(gaussian, r.term) / gaussian.response_unit for r in roots]
        parts = [r.start(estimates.theta[r.term.theta], 1.0, u) for r, u in zip(roots, units, strict=True)]
        start = np.concatenate([*parts, estimates.beta, at.logs])
        sizes = [*(r.sizes(u) for r, u in zip(roots, units, strict=True)), errors, np.full(len(at.logs), 0.5)]
        index = _place(one, spec)
        estimate = float(start[index])
        if one.kind in ("sd", "cor"):
            estimate = _estimated(spec.terms[one.place[0]], one, estimates)
            start[index] = 0.0 if np.isnan(estimate) else estimate
        size = {"coefficient": errors[one.place[0]] if one.kind == "coefficient" else 0.0, "sd": estimate}
        if one.kind == "sd":
            size["sd"] = max(estimate, float(units[one.place[0]][one.place[1]]))
        out.append(
            GeneralisedObjective(
                one,
                index,
                roots,
                start,
                estimate,
                float(size.get(one.kind, 0.5)),
                np.concatenate(sizes),
                estimates.criterion,
                at.laplace,
                estimates.nagq,
                {"last": at.mode},
            )
        )
    return out


def _place(held: Held, spec: ModelSpec) -> int:
    """Which coordinate of a generalised response is held."""
    if held.kind == "coefficient":
        return spec.n_theta + held.place[0]
    if held.kind == "dispersion":
        return spec.n_theta + spec.n_fixed + held.place[0]
    index = _index(held, spec)
    assert index is not None
    return index


def make_objectives(
    spec: ModelSpec, products: CrossProducts, estimates: RemlEstimates, held: Sequence[Held]
) -> list[Objective]:
    """The criterion that `estimates` minimise, with each of some parameters held."""
    likelihood = Likelihood(spec, products, estimates.method)
    rho = np.zeros(0) if spec.rho is None else spec.rho
    by_rho = _ByRho(over_rho(spec, estimates.method, products), {rho.tobytes(): likelihood})
    return [_objective(likelihood, by_rho, estimates, one) for one in held]


def _objective(likelihood: Likelihood, by_rho: _ByRho, estimates: RemlEstimates, held: Held) -> Objective:
    spec = likelihood.spec
    roots = tuple(_term_root(i, t, held) for i, t in enumerate(spec.terms))
    units = [_units(likelihood, r.term) for r in roots]
    parts = [r.start(estimates.theta[r.term.theta], estimates.sigma, u) for r, u in zip(roots, units, strict=True)]
    rho, sigma = np.zeros(0) if spec.rho is None else spec.rho, [np.log(estimates.sigma)]
    start = np.concatenate([*parts, rho, sigma if spec.sigma is None else []])
    parts = [r.sizes(u) for r, u in zip(roots, units, strict=True)]
    of_rho = spec.residual.units if len(rho) else np.zeros(0)
    sizes = np.concatenate([*parts, of_rho, [1.0] if spec.sigma is None else []])
    index = _index(held, spec)
    estimate = float(estimates.beta[held.place[0]]) if index is None else float(start[index])
    if held.kind in ("sd", "cor"):
        estimate = _estimated(spec.terms[held.place[0]], held, estimates)
        start[index] = 0.0 if np.isnan(estimate) else estimate
    size = _size(likelihood, estimates, held, estimate)
    return GaussianObjective(held, index, roots, start, estimate, size, sizes, estimates.criterion, by_rho)


def _size(likelihood: Likelihood, estimates: RemlEstimates, held: Held, estimate: float) -> float:
    spec = likelihood.spec
    if held.kind == "coefficient":
        return float(np.sqrt(estimates.vcov[held.place[0], held.place[0]]))
    if held.kind == "sd":
        term = spec.terms[held.place[0]]
        return max(estimate, float(_units(likelihood, term)[held.place[1]]))
    return float(spec.residual.units[held.place[0]]) if held.kind == "rho" else 0.5


def _units(likelihood: Likelihood, term: TermSpec) -> Floats:
    """Standard deviations (p,) of effects whose signal in a level is as large as the noise."""
    noise = np.sqrt(likelihood.spec.groupings[term.grouping].n_levels / likelihood.spec.n_obs)
    return np.asarray(noise * likelihood.effect_units[term.grouping][term.where])


def _term_root(i: int, term: TermSpec, held: Held) -> _TermRoot:
    own = term.structure
    here = held.kind in ("sd", "cor", "shape") and held.place[0] == i
    first = held.place[1:] if here else ()
    if not own.free:
        return _TermRoot(term, (), held=list(own.own_sds).index(first[0]) if here and held.kind == "sd" else None)
    order = (*first, *(c for c in range(own.size) if c not in first))
    return _TermRoot(term, order, correlation=here and held.kind == "cor")


def _index(held: Held, spec: ModelSpec) -> int | None:
    if held.kind == "coefficient":
        return None
    if held.kind == "sigma":
        return spec.n_theta + len(spec.rho_names)
    if held.kind == "rho":
        return spec.n_theta + held.place[0]
    term = spec.terms[held.place[0]]
    first: int = term.theta.start
    if held.kind == "cor":
        return first + 1
    return first + (0 if term.structure.free else held.place[1])


def _estimated(term: TermSpec, held: Held, estimates: RemlEstimates) -> float:
    """The estimate of a standard deviation, or the angle of a correlation: NaN beside an sd of zero."""
    M = estimates.sigma * term.structure.root(estimates.theta[term.theta])
    sds = np.linalg.norm(M, axis=1)
    if held.kind == "sd":
        return float(sds[held.place[1]])
    a, b = held.place[1:]
    if sds[a] * sds[b] == 0:
        return float("nan")
    return float(np.arcsin(np.clip(M[a] @ M[b] / (sds[a] * sds[b]), -1.0, 1.0)))
