"""One model with everything that samplers share, none of it needing JAX: density, start, coordinates, exact draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import (
    CrossProducts,
    FixedPart,
    FixedSums,
    HostDensity,
    RowDensity,
    cross_products,
    fixed_part,
    working_spec,
)
from _ranef.posterior.batched import Batched, Points, has_batches, make_batched
from _ranef.posterior.blocks import Roots, Shape, arrays_of_sums, collapsed_arrays, dense_work, make_shape, skyline
from _ranef.posterior.layout import Layout, hyper_numbers, make_layout, theta_of, unconstrained_values
from _ranef.posterior.packing import pack, packed_parts, whiten, with_products
from _ranef.posterior.related_as_independent import among_roots, with_independent_levels
from _ranef.posterior.shape_priors import ShapePriors, shape_priors
from _ranef.residuals import Centred, LogLaw
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, Priors, mean_log_sds, outward_theta, rho_log_prior
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import let_through, load

__all__ = [
    "Effects",
    "Gradient",
    "Hyper",
    "Likelihood",
    "Problem",
    "constrained",
    "draw_effects",
    "hyper_draws",
    "prepare",
    "prepare_draws",
]

Effects = tuple[Floats, tuple[Floats, ...]]

#: value and gradient of the log posterior density at unconstrained coordinates (d,)
Gradient = Callable[[Floats], tuple[float, Floats]]

#: of internal λ, σ, sampled coefficients and the coordinates that stand last: value and slopes in the first three, what
#: the last add to the value, and their slopes
Likelihood = Callable[[Floats, float, Floats, Floats], tuple[Floats, float, Floats]]

#: the longest tail that the compiled loops are given, dense and of short rows; LAPACK is faster beyond
MAX_TAIL, MAX_SHORT_ROWS = 200, 500

#: share of a dense factorisation's work that short rows may cost, and multiplications that a dense tail takes in JAX
#: from which on asking the loops is cheaper
SHORT_ROWS, MUCH_IN_JAX = 0.3, 500_000

#: numbers in one block of draws
BLOCK = 4_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A model under its priors.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
    priors : Priors
    layout : Layout
        Of the sampled parameters.
    numbers : dict
        Of their priors.
    fixed : FixedPart
    shape : Shape
    blocks : CrossProducts
        What loops and JAX are given: few related levels as independent ones.
    given : ModelSpec, optional
        Of a generalised response the model as it is; `spec` then is the Gaussian one of its working response.
    """

    spec: ModelSpec
    products: CrossProducts
    priors: Priors
    layout: Layout
    numbers: dict[str, Any]
    fixed: FixedPart
    shape: Shape
    blocks: CrossProducts
    given: ModelSpec | None = None

    @property
    def rows_of(self) -> ModelSpec:
        """The model whose rows have the response."""
        return self.spec if self.given is None else self.given

    @property
    def short(self) -> bool:
        """Whether the tail is short enough for the compiled loops, which know independent levels alone."""
        tail, related = self.shape.tail, self.shape.related
        return not related and (tail <= MAX_TAIL or (tail <= MAX_SHORT_ROWS and self.short_rows))

    @cached_property
    def short_rows(self) -> bool:
        """Whether the rows of the tail are short, as those of nested factors are."""
        t = self.shape.tail
        lengths = 1.0 + np.arange(t) - skyline(self.blocks, self.shape, 0)[0]
        return bool(3.0 * lengths @ lengths <= SHORT_ROWS * t**3)

    @property
    def asks_loops(self) -> bool:
        """Whether JAX asks the compiled loops for the density, to which a dense tail would be much work."""
        plain = self.compiled and self.layout.plain
        return plain and dense_work(self.shape) > MUCH_IN_JAX and self.short_rows

    @property
    def compiled(self) -> bool:
        """Whether the compiled loops compute the density, rather than the numpy kernels."""
        return self.by_loops and self.roots.linear and self.known_law

    @property
    def known_law(self) -> bool:
        """Whether loops and JAX make cross-products at ρ themselves, or there is no ρ."""
        return self.rows is None or self.law is not None

    @property
    def by_loops(self) -> bool:
        """Whether they compute it of λ and ρ."""
        return self.short and (self.rows is None or self.sums is not None)

    @cached_property
    def packed(self) -> Floats:
        """The model as one array; its cross-products are left out where the numpy kernels hold them."""
        return pack(
            self.blocks,
            self.fixed,
            self.shape,
            self.layout,
            self.numbers,
            self.sampled_fill,
            blocks=self.short,
            sums=self.sums if self.short else None,
        )

    @cached_property
    def host(self) -> HostDensity:
        """The density through the numpy kernels."""
        return HostDensity(self.products, self.fixed)

    @cached_property
    def rows(self) -> RowDensity | None:
        """The same of residual variances and correlations with parameters, where there are any.

        Its σ, if it is not known, is the geometric mean of the standard deviations of the rows: its prior is of that.
        """
        if not self.layout.rows:
            return None
        own = self.spec.variance
        spec = self.spec if own is None or self.spec.sigma is not None else replace(self.spec, variance=Centred(own))
        return RowDensity(spec, self.products, self.fixed)

    @property
    def sums(self) -> FixedSums | None:
        """The cross-products at any ρ, where rows need not be read again and ρ has the prior that the loops know."""
        sums = None if self.rows is None or self.priors.rho else self.rows.sums
        return sums if isinstance(sums, FixedSums) else None

    @cached_property
    def batched(self) -> Batched | None:
        """The density at many points together, where the model is small enough."""
        if not self.by_loops or not has_batches(self.shape):
            return None
        return make_batched(
            self.shape, self.fixed, self.arrays(self.shape), None if self.sums is None else self.sums.basis
        )

    def arrays(self, shape: Shape) -> dict[str, Floats]:
        """The arrays of the collapsed density for JAX, padded to `shape`; with sums those that ρ makes it of."""
        if self.sums is None:
            return collapsed_arrays(self.blocks, self.fixed, shape, self.sampled_fill)
        return arrays_of_sums(self.sums, self.fixed, shape, self.sampled_fill)

    @property
    def law(self) -> LogLaw | None:
        """How these depend on ρ, where loops and JAX know that."""
        law = None if self.sums is None else self.sums.basis.law
        return law if isinstance(law, LogLaw) else None

    @cached_property
    def parts(self) -> Floats:
        """The fixed cross-products (K, ·), as they stand in :attr:`packed`."""
        assert self.sums is not None
        return packed_parts(self.sums, self.fixed, self.shape)

    def packed_at(self, rho: Floats) -> Floats:
        """The packed model at ρ (n_rho,), where numpy makes the cross-products."""
        assert self.sums is not None
        c, log_det = self.sums.basis.at(rho)
        return with_products(self.packed, c @ self.parts, log_det - self.sums.basis.log_weights)

    @cached_property
    def shape_priors(self) -> ShapePriors:
        """Priors of the shape parameters of the structures."""
        return shape_priors(self.spec, self.priors)

    @cached_property
    def roots(self) -> Roots:
        """Internal λ of the θ of columns as written."""
        return Roots(self.spec, self.blocks, tuple(np.eye(len(g.columns)) for g in self.spec.groupings))

    @property
    def fill(self) -> Floats:
        """Array (Σ p_k², n_theta) that makes internal λ of the θ of columns as written; empty if it is not linear."""
        return self.roots.fill

    @cached_property
    def outward(self) -> tuple[Floats, ...]:
        """T (p_k, p_k) by grouping: random effects are T times the coordinates in which priors stand."""
        out = tuple(np.eye(len(g.columns)) for g in self.spec.groupings)
        for t in self.spec.terms:
            out[t.grouping][t.where, t.where] = self.priors.term(t).outward
        return out

    @cached_property
    def sampled_roots(self) -> Roots:
        """Internal λ of the θ of those coordinates, which is sampled."""
        return Roots(self.spec, self.blocks, self.outward)

    @property
    def sampled_fill(self) -> Floats:
        """Array (Σ p_k², n_theta) that makes them of it; empty if that is not linear."""
        return self.sampled_roots.fill

    @property
    def gradient(self) -> Gradient:
        """Value and gradient of the log posterior density; only for priors of this package's families."""
        if self.compiled:
            return self._by_loops(load("_ranef.posterior.loops"))
        return self.under_priors(self._likelihood, self.sampled_roots)

    def collapsed(self, theta: Floats, sigma: float) -> float:
        """Log p(y | θ, σ) by the compiled loops, where all coefficients are integrated out."""
        loops: Any = load("_ranef.posterior.loops")
        return float(loops.log_likelihood(self.roots.at(theta), float(sigma), self.packed)) - self.prior_constant

    def _by_loops(self, loops: Any) -> Gradient:
        d = self.layout.n_hyper
        u = whiten(self.packed, np.zeros(d), np.eye(d))

        def gradient(q: Floats) -> tuple[float, Floats]:
            slope = np.empty_like(q)
            return float(loops.density(q, u, slope)), slope

        return gradient

    def under_priors(self, likelihood: Likelihood, roots: Roots) -> Gradient:
        """The density whose `likelihood` numpy computes, of λ by `roots` and of coordinates that stand last in q.

        The loops know all priors of the others but those of shape parameters.
        """
        loops: Any = load("_ranef.posterior.loops")
        u, n_theta, shapes = self.packed, self.layout.n_theta, self.shape_priors
        places, n_lam = shapes.places, sum(p * p for p in roots.products.sizes)
        n_known = self.layout.n_hyper - len(places) - self.layout.rows

        def gradient(q: Floats) -> tuple[float, Floats]:
            known, own, rest = np.split(q, np.cumsum([n_known, len(places)]))
            slope, values, theta = np.empty_like(known), np.empty_like(known), np.empty(n_theta)
            prior, sigma = loops.hyper_forward(known, u, values, theta, slope)
            theta[places] = own
            sampled = values[len(known) - self.shape.n_sampled :]
            of_shapes, own_slope = shapes.log_density(own)
            lam, slopes = roots.with_slopes(theta)
            out, of_rest, rest_slope = likelihood(lam, sigma, sampled, rest)
            theta_bar, of_sigma = slopes.T @ out[1 : 1 + n_lam], out[1 + n_lam :]
            loops.hyper_backward(u, values, theta, sigma, theta_bar, of_sigma[0], of_sigma[1:], slope)
            value = prior + of_shapes + of_rest + out[0] + self.prior_constant
            return value, np.concatenate([slope, own_slope + theta_bar[places], rest_slope])

        return gradient

    def _likelihood(self, lam: Floats, sigma: float, sampled: Floats, rho: Floats) -> tuple[Floats, float, Floats]:
        """Value and gradient by the host; the log prior of ρ, and the slopes of both in it."""
        if self.by_loops and self.known_law:
            return self._by_loops_in_lambda(lam, float(sigma), sampled, rho)
        if self.by_loops:
            return self._by_loops_at(lam, float(sigma), sampled, rho)
        if self.rows is None:
            return self.host.value_and_gradient(lam, np.asarray(sigma), sampled), 0.0, rho
        out = self.rows.value_and_gradient(lam, float(sigma), sampled, rho)
        log_prior, slopes = rho_log_prior(self.spec, rho, self.priors.rho)
        return out[: -len(rho)], log_prior, out[-len(rho) :] + slopes

    def _by_loops_in_lambda(
        self, lam: Floats, sigma: float, sampled: Floats, rho: Floats
    ) -> tuple[Floats, float, Floats]:
        """The same by the compiled loops."""
        loops: Any = load("_ranef.posterior.loops")
        of_lam, of_sampled, of_rho = np.zeros(lam.size), np.zeros(self.shape.n_sampled + 1), np.zeros(len(rho))
        value, of_sigma = loops.likelihood(lam, sigma, sampled, rho, self.packed, of_lam, of_sampled, of_rho)
        return np.concatenate([[value - self.prior_constant], -0.5 * of_lam, [of_sigma], of_sampled[:-1]]), 0.0, of_rho

    def _by_loops_at(self, lam: Floats, sigma: float, sampled: Floats, rho: Floats) -> tuple[Floats, float, Floats]:
        """The same of products that numpy makes at ρ; NaN so far out that correlations are singular to rounding."""
        loops: Any = load("_ranef.posterior.loops")
        of_lam, of_sampled = np.zeros(lam.size), np.zeros(self.shape.n_sampled + 1)
        bar = np.zeros(self.parts.shape[1])
        try:
            with np.errstate(all="ignore"):
                packed = self.packed_at(rho)
                assert self.sums is not None
                change, log_det = self.sums.basis.slopes(rho)
        except (np.linalg.LinAlgError, OverflowError):
            return np.full(lam.size + 1 + len(of_sampled), np.nan), np.nan, np.full(len(rho), np.nan)
        value, of_sigma = loops.likelihood_of_products(lam, sigma, sampled, packed, of_lam, of_sampled, bar)
        log_prior, slopes = rho_log_prior(self.spec, rho)
        of_rho = slopes + 0.5 * (log_det - change @ (self.parts @ bar))
        out = np.concatenate([[value - self.prior_constant], -0.5 * of_lam, [of_sigma], of_sampled[:-1]])
        return out, log_prior, of_rho

    @cached_property
    def prior_constant(self) -> float:
        """What the loops leave out of the log priors."""
        numbers = [self.numbers["sd"], self.numbers["fixef"]]
        if self.layout.sigma_family != "known":
            numbers.append(self.numbers["sigma"][None])
        return float(sum(n[:, 3].sum() for n in numbers) + self.numbers["vine"][:, 1].sum())


def prepare(
    spec: ModelSpec, products: CrossProducts | None, priors: Priors, start: RemlEstimates | None = None
) -> Problem:
    """Everything that samplers share.

    A generalised response is sampled on the scale of the Gaussian model of its working response at `start`, or without
    random effects, and begun at its modes.
    """
    given = None
    if isinstance(spec.family, Generalised):
        given, spec = spec, working_spec(spec, start)
    products = cross_products(spec) if products is None else products
    fixed = fixed_part(spec, products, priors)
    layout, numbers = make_layout(spec, priors), hyper_numbers(spec, priors)
    apart = None if layout.rows else with_independent_levels(spec, products)
    shape = make_shape(apart or products, fixed, related=spec.related and apart is None)
    return Problem(spec, products, priors, layout, numbers, fixed, shape, apart or products, given)


@dataclass(frozen=True, eq=False, repr=False)
class Hyper:
    """Draws of what is not integrated out, on the user's scale.

    Attributes
    ----------
    theta : array (..., n_theta)
    sigma : array (...)
    sampled : array (..., s)
        Coefficients that are sampled.
    extras : mapping str to array (...)
        Further parameters: ``R2`` and ``phi`` of a global scale, ``rho`` (..., r) of residual variances.
    """

    theta: Floats
    sigma: Floats
    sampled: Floats
    extras: Mapping[str, Floats]


def hyper_draws(problem: Problem, flat: Floats, custom: Mapping[str, Floats] | None = None) -> Hyper:
    """What unconstrained coordinates (..., d) stand for; `custom` holds values (...) that only numpyro could map."""
    own = dict(custom or {})
    inner, sigma, sampled, rho = constrained(problem, flat, own)
    theta = outward_theta(problem.spec, problem.priors.columns, inner)
    extras = {str(name): own[name] for name in ("R2", "phi") if name in own}
    if problem.layout.rows:
        extras["rho"] = rho
        factor = np.exp(mean_log_sds(problem.spec, rho))  # σ was that of the rows' mean
        theta, sigma = problem.spec.times(theta, factor), sigma / factor
    return Hyper(theta, sigma, sampled, extras)


def constrained(
    problem: Problem, flat: Floats, custom: Mapping[str, Floats] | None = None
) -> tuple[Floats, Floats, Floats, Floats]:
    """θ (..., n_theta) of the coordinates in which priors stand, σ (...), sampled coefficients (..., s) and ρ (..., r).

    σ is that of rows at the mean of their standard deviations.
    """
    layout, numbers, own = problem.layout, problem.numbers, custom or {}
    at = unconstrained_values(layout, flat)
    shape = flat.shape[:-1]
    sigma: Floats = np.broadcast_to(numbers["known"], shape).copy()
    if layout.sigma_family == "custom":
        sigma = own["sigma"]
    elif layout.sigma_family != "known":
        sigma = np.exp(at["log_sigma" if layout.flat else "sigma"][..., 0])
    if layout.flat:
        relative = _columns(np.exp(at["diagonal"])) if layout.n_sd else []
        off = _columns(at["off_diagonal"]) if layout.n_partial else []
    else:
        plain = iter(_columns(np.exp(at["sd"])) if "sd" in at else [])
        sds = [own[f"sd{i}"] if f == "custom" else next(plain) for i, f in enumerate(layout.families)]
        relative = [sd / sigma for sd in sds]
        off = _columns(np.tanh(0.5 * at["partial"])) if layout.n_partial else []
    shapes = _columns(at["shape"]) if layout.shapes else []
    inner = np.moveaxis(theta_of(layout, relative, off, shapes, np), 0, -1) if layout.terms else np.zeros((*shape, 0))
    coefficients = iter(_columns(at["fixef"]) if "fixef" in at else [])
    sampled = [own[f"fixef{i}"] if f == "custom" else next(coefficients) for i, f in enumerate(layout.fixed_families)]
    rho = at["rho"] if layout.rows else np.zeros((*shape, 0))
    return inner, sigma, np.stack(sampled, -1) if sampled else np.zeros((*shape, 0)), rho


def _columns(values: Floats) -> list[Floats]:
    return list(np.moveaxis(values, -1, 0))


def draw_effects(problem: Problem, hyper: Hyper, rng: np.random.Generator) -> Effects:
    """β (..., p) and b by grouping (..., J_k, p_k): one exact draw for each (θ, σ), on the user's scale."""
    shape, n = hyper.sigma.shape, hyper.sigma.size
    theta, sigma = hyper.theta.reshape(n, -1), hyper.sigma.ravel()
    sampled = hyper.sampled.reshape(n, -1)
    lam = problem.roots.at(theta)
    rho = hyper.extras["rho"].reshape(n, -1) if problem.layout.rows else np.zeros((n, 0))
    if problem.layout.rows:  # σ of the density is that of the rows' mean
        factor = np.exp(mean_log_sds(problem.spec, rho))
        lam, sigma = lam / factor[:, None], sigma * factor
    K = _normal_priors(problem, hyper)
    if problem.batched is not None:
        internal, b = problem.batched.draw(Points(lam, sigma, sampled, rho, K), rng)
    elif problem.by_loops:
        internal, b = _draw_by_loops(problem, lam, sigma, sampled, rho, problem.fixed.K[None] if K is None else K, rng)
    else:
        internal, b = _draw_by_host(problem, lam, sigma, sampled, rho, rng)
    beta = problem.fixed.beta(internal, sampled)
    out, scale = [], problem.products.scaling
    apart = [None] * len(scale.Z) if problem.blocks is problem.products else among_roots(problem.spec)
    for k, (T, L) in enumerate(zip(scale.Z, apart, strict=True)):
        own = b[problem.blocks.order.index(k)]
        own = own if L is None else L @ own
        out.append((own.reshape(-1, len(T)) @ (scale.y * T.T)).reshape(*shape, *own.shape[1:]))
    if not np.isfinite(beta).all():
        raise FitError("A draw of the coefficients is not finite; the priors or the response span too many magnitudes.")
    return beta.reshape(*shape, -1), tuple(out)


def _normal_priors(problem: Problem, hyper: Hyper) -> Floats | None:
    """K for each draw (n, r, r) under a global scale; None where one serves all."""
    if not problem.layout.r2d2:
        return None
    n = hyper.sigma.size
    return problem.fixed.under_global_scale(
        hyper.extras["R2"].reshape(n), hyper.extras["phi"].reshape(n, -1), hyper.sigma.reshape(n)
    )


def prepare_draws(problem: Problem) -> None:
    """Compile or load what :func:`draw_effects` needs, so that it can be done while something else compiles."""
    if problem.short and problem.batched is None:
        sizes = (sum(p * p for p in problem.shape.sizes), problem.shape.n_sampled, problem.layout.rows)
        lam, sampled, rho = (np.zeros((0, n)) for n in sizes)
        _draw_by_loops(problem, lam, np.zeros(0), sampled, rho, problem.fixed.K[None], np.random.default_rng(0))


def _draw_by_loops(
    problem: Problem,
    lam: Floats,
    sigma: Floats,
    sampled: Floats,
    rho: Floats,
    K: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, list[Floats]]:
    """In blocks of draws; with none to draw the loops are called all the same."""
    loops: Any = load("_ranef.posterior.loops")
    n, shape = len(sigma), problem.shape
    p, J = (shape.sizes[0], shape.levels[0]) if shape.sizes else (0, 0)
    a = shape.tail + shape.n_integrated
    integrated, first = np.empty((n, a)), np.empty((n, J, p))
    s2, v = (sigma / problem.fixed.unit) ** 2, problem.fixed.contrast(sampled)
    step = max(1, BLOCK // (a + J * p + 1))
    for at in (slice(i, i + step) for i in range(0, max(n, 1), step)):
        let_through()
        noise = rng.standard_normal((len(s2[at]), a + J * p))
        own = K if len(K) == 1 else K[at]
        if problem.known_law:
            loops.draw_effects(lam[at], s2[at], v[at], rho[at], own, problem.packed, noise, integrated[at], first[at])
            continue
        for i, r in zip(range(n)[at], rho[at], strict=True):
            one, packed, K_one = slice(i, i + 1), problem.packed_at(r), own if len(K) == 1 else K[i : i + 1]
            eps = noise[i - at.start : i - at.start + 1]
            loops.draw_effects(lam[one], s2[one], v[one], rho[:1, :0], K_one, packed, eps, integrated[one], first[one])
    b: list[Floats] = [first] if shape.sizes else []
    start = 0
    for size, levels in zip(shape.sizes[1:], shape.levels[1:], strict=True):
        b.append(integrated[:, start : start + size * levels].reshape(n, levels, size))
        start += size * levels
    return integrated[:, start:], b


def _draw_by_host(
    problem: Problem, lam: Floats, sigma: Floats, sampled: Floats, rho: Floats, rng: np.random.Generator
) -> tuple[Floats, list[Floats]]:
    """Each with the residual variances and correlations of its own ρ; a global scale was refused before.

    Draws at one point share its factor.
    """
    _, first, which = np.unique(
        np.column_stack([lam, sigma, sampled, rho]), axis=0, return_index=True, return_inverse=True
    )
    places, parts = [], []
    for i in np.argsort(first):
        let_through()
        places.append(np.flatnonzero(which.ravel() == i))
        at = first[i]
        density = problem.host if problem.rows is None else problem.rows.at(rho[at])
        parts.append(density.draw(lam[at], float(sigma[at]), sampled[at], len(places[-1]), rng))
    back = np.argsort(np.concatenate(places))
    beta = np.concatenate([own for own, _ in parts])[back]
    return beta, [np.concatenate(b)[back] for b in zip(*(b for _, b in parts), strict=True)]
