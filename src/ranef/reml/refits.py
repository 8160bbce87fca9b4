"""Many responses of one model, by the quickest way that its random effects allow."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from ranef.arrays import Bools, Floats, Ints
from ranef.errors import ConvergenceWarning, FitError, RanefWarning
from ranef.likelihood import CrossProducts, Method, Responses, Scaling, products_of, read_responses
from ranef.progress import LateBar
from ranef.reml.batch import (
    Batch,
    BatchPoint,
    descend_together,
    evaluate_together,
    has_blocks,
    lower_roots,
    make_batch,
    slopes_together,
    start_thetas,
    user_thetas,
)
from ranef.reml.boundary import NEAR_ZERO, escape
from ranef.reml.fit import fit_reml
from ranef.reml.problem import Problem
from ranef.reml.spectral import best_ratios, has_spectrum, make_spectrum
from ranef.results import Refits, Status
from ranef.spec import ModelSpec

__all__ = ["refit_many"]

#: numbers held at once for a slice of responses
SLICE_ENTRIES = 400_000

#: Newton decrement above which a response has not converged
CONVERGED = 1e-8


def refit_many(spec: ModelSpec, products: CrossProducts, Y: Floats, method: Method, theta: Floats) -> Refits:
    """Fit a model to every column of responses (n, B), from θ on the user's scale.

    One variance parameter is found from eigenvalues, over its whole range; one grouping factor, or several small ones,
    by Newton's method for all responses together; anything else one response after the other, from `theta`, with
    the rows read once for all.

    Raises
    ------
    FitError
        If the residual variance of a response is zero.
    """
    B = Y.shape[1]
    out = _empty(spec, method, B)
    step = _slice_size(spec)
    done = 0
    with LateBar("Refitting", "response", B) as bar:
        try:
            for start in range(0, B, step):
                part = np.arange(start, min(B, start + step))
                responses = read_responses(spec, products, Y[:, part])
                _refuse_perfect_fits(spec, responses, start)
                _fill(out, part, _fit_slice(spec, products, responses, method, theta, bar.update))
                done = part[-1] + 1
        except KeyboardInterrupt:
            if not done:
                raise
            warnings.warn(
                f"Interrupted: {done} of {B} responses are fitted, the others are NaN.", RanefWarning, stacklevel=3
            )
            return out
    if not out.converged.all():
        warnings.warn(
            f"{int((~out.converged).sum())} of {B} refits did not converge; see the column 'converged'.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return out


def _slice_size(spec: ModelSpec) -> int:
    if not has_blocks(spec):
        return 64
    columns = [len(g.columns) for g in spec.groupings]
    effects = sum(g.n_levels * p for g, p in zip(spec.groupings, columns, strict=True))
    widest = max(columns[0] if len(columns) == 1 else effects, spec.n_fixed, spec.n_theta)
    return max(1, SLICE_ENTRIES // (effects * widest))


def _empty(spec: ModelSpec, method: Method, B: int) -> Refits:
    return Refits(
        method,
        np.full((B, spec.n_theta), np.nan),
        np.full(B, np.nan),
        np.full((B, spec.n_fixed), np.nan),
        np.full(B, np.nan),
        np.zeros(B, dtype=bool),
        np.zeros(B, dtype=bool),
        spec.design.fixed_names,
        spec.theta_names,
    )


def _fill(out: Refits, where: Ints, part: Refits) -> None:
    for name in ("theta", "sigma", "beta", "criterion", "singular", "converged"):
        getattr(out, name)[where] = getattr(part, name)


def _refuse_perfect_fits(spec: ModelSpec, responses: Responses, first: int) -> None:
    flat = (responses.yy == 0) | (responses.unit**2 <= 1e-28 * responses.mean_square)
    if spec.sigma is None and flat.any():
        raise FitError(
            f"The residual variance of response {first + int(flat.argmax())} is zero: the fixed effects fit it exactly."
        )


def _fit_slice(
    spec: ModelSpec,
    products: CrossProducts,
    responses: Responses,
    method: Method,
    theta: Floats,
    count: Callable[[int], object],
) -> Refits:
    if not has_blocks(spec):
        return _one_by_one(spec, products, responses, method, theta, np.arange(responses.size), count)
    batch = make_batch(spec, products, responses, method)
    if has_spectrum(spec):
        tau = best_ratios(make_spectrum(products, responses, method, spec.sigma))
        point, failed = evaluate_together(batch, np.sqrt(tau)[:, None]), np.zeros(responses.size, dtype=bool)
    else:
        start = Problem(spec, products, method).to_internal(theta)
        point, decrements = descend_together(batch, start_thetas(batch, start))
        point = _snapped(batch, point)
        failed = ~(decrements <= CONVERGED) | _uncertified(batch, point)
    out = _on_user_scale(batch, point, products, responses)
    again = np.flatnonzero(failed)
    if again.size:
        _fill(out, again, _one_by_one(spec, products, responses, method, theta, again, lambda _: None))
    count(responses.size)
    return out


def _snapped(batch: Batch, point: BatchPoint) -> BatchPoint:
    """Nearly vanishing directions of λ set to zero where the criterion does not rise, as ``boundary.snap``."""
    theta = point.theta.copy()
    for t in batch.spec.terms:
        lam = t.template.fill_many(point.theta[:, t.theta])
        if t.template.kind == "us":
            left, values, right = np.linalg.svd(lam)
            kept = np.where(values < NEAR_ZERO, 0.0, values)
            changed = (kept != values).any(axis=1)
            theta[changed, t.theta] = t.template.read_many(
                lower_roots((left[changed] * kept[changed][:, None]) @ right[changed])
            )
        else:
            theta[:, t.theta] = np.where(np.abs(theta[:, t.theta]) < NEAR_ZERO, 0.0, theta[:, t.theta])
    changed = np.flatnonzero((theta != point.theta).any(axis=1))
    if not changed.size:
        return point
    trial = evaluate_together(batch.only(changed), theta[changed])
    before = point.criterion[changed]
    good = trial.criterion <= before + 1e-12 * np.abs(before) + 1e-10
    return point.put(changed[good], trial.only(np.flatnonzero(good)))


def _singular(batch: Batch, point: BatchPoint) -> Bools:
    out = np.zeros(len(point.theta), dtype=bool)
    for t in batch.spec.terms:
        lam = t.template.fill_many(point.theta[:, t.theta])
        out |= np.linalg.svd(lam, compute_uv=False)[:, -1] < NEAR_ZERO
    return out


def _uncertified(batch: Batch, point: BatchPoint) -> Bools:
    """Responses that lie on the boundary where their criterion falls away from it."""
    out = np.zeros(len(point.theta), dtype=bool)
    which = np.flatnonzero(_singular(batch, point))
    if which.size:
        W = slopes_together(batch.only(which), point.only(which)).W
        for i, b in enumerate(which):
            out[b] = escape(batch.spec, point.theta[b], [w[i] for w in W]) is not None
    return out


def _on_user_scale(batch: Batch, point: BatchPoint, products: CrossProducts, responses: Responses) -> Refits:
    spec, scale = batch.spec, products.scaling
    return Refits(
        batch.method,
        user_thetas(spec, scale, point.theta),
        point.sigma * responses.unit,
        _coefficients(scale, responses, point.beta),
        point.criterion,
        _singular(batch, point),
        np.ones(len(point.theta), dtype=bool),
        spec.design.fixed_names,
        spec.theta_names,
    )


def _coefficients(scale: Scaling, responses: Responses, beta: Floats) -> Floats:
    """β (B, p) on the user's scale."""
    out = (responses.inner.T + responses.unit[:, None] * beta) @ scale.X.T
    out[:, :1] += responses.centre[:, None]
    return out


def _one_by_one(
    spec: ModelSpec,
    products: CrossProducts,
    responses: Responses,
    method: Method,
    theta: Floats,
    which: Ints,
    count: Callable[[int], object],
) -> Refits:
    fits = []
    for b in which:
        fits.append(fit_reml(spec, method, start=theta, products=products_of(products, responses, int(b))))
        count(1)
    return Refits(
        method,
        np.array([f.theta for f in fits]),
        np.array([f.sigma for f in fits]),
        np.array([f.beta for f in fits]),
        np.array([f.criterion for f in fits]),
        np.array([f.singular for f in fits]),
        np.array([f.optimizer.status is not Status.NOT_CONVERGED for f in fits]),
        spec.design.fixed_names,
        spec.theta_names,
    )
