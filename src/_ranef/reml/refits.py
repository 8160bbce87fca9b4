"""Many responses of one model, by the quickest way that its random effects allow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace

import numpy as np

from _ranef.errors import ConvergenceWarning, FitError, RanefWarning, warn
from _ranef.likelihood import (
    LOST,
    NEAR_ZERO,
    PERFECT_FIT,
    Batch,
    BatchPoint,
    CrossProducts,
    Likelihood,
    Method,
    Responses,
    best_ratios,
    evaluate_together,
    has_blocks,
    has_spectrum,
    have_digits,
    make_batch,
    make_spectrum,
    products_of,
    read_responses,
    slopes_together,
)
from _ranef.reml.boundary import escape
from _ranef.reml.fit import EXACT_FIXED_PART, fit_reml
from _ranef.reml.newton_together import descend_together, start_thetas
from _ranef.reml.problem import Problem
from _ranef.reml.structured import fit_structured
from _ranef.residuals import told_names, told_places
from _ranef.results import Refits, RemlEstimates, Status
from _ranef.spec import ModelSpec, sdcor_arrays, with_response
from _ranef.structures import without_small
from _ranef.support.arrays import Bools, Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["refit_many", "refit_structured", "slice_size"]

#: numbers held at once for a slice of responses
SLICE_ENTRIES = 400_000

#: Newton decrement above which a response has not converged; of penalized estimates a tenth of a standard error is near
CONVERGED, NEAR = 1e-10, 1e-2


def refit_many(
    spec: ModelSpec,
    products: CrossProducts,
    Y: Floats | Responses,
    method: Method,
    theta: Floats,
    *,
    tell: bool = True,
    penalty: float = 0.0,
) -> Refits:
    """Fit a model to every column of responses (n, B), or to their sums, from θ on the user's scale.

    One variance parameter is found from eigenvalues, over its whole range; one grouping factor, or several small ones,
    by Newton's method for all responses together; anything else one response after the other, from `theta`, with
    the rows read once for all.

    A response without residual variance, which the model fits exactly, is NaN and has not converged; so is what was not
    fitted yet when the work was interrupted. Progress and failures are shown unless `tell` is false. With a `penalty`,
    of :class:`~_ranef.likelihood.Batch`, no estimate is on the boundary; models too large for batches have none.

    Raises
    ------
    FitError
        If the residual variance of every response is zero.
    """
    B = Y.size if isinstance(Y, Responses) else Y.shape[1]
    out = _empty(spec, B)
    step = slice_size(spec)
    done = 0
    with LateBar("Refitting", "response", B, silent=not tell) as bar:
        try:
            for start in range(0, B, step):
                part = np.arange(start, min(B, start + step))
                responses = Y.only(part) if isinstance(Y, Responses) else read_responses(spec, products, Y[:, part])
                left = _not_exact(spec, responses)
                if left.size:
                    found = _fit_slice(spec, products, responses.only(left), method, theta, bar.update, penalty)
                    out.put(part[left], found)
                done = part[-1] + 1
        except KeyboardInterrupt:
            if not done:
                raise
            warn(
                f"Interrupted: {done} of {B} responses are fitted, the others are NaN.",
                RanefWarning,
            )
            return _refits(spec, method, out)
    if tell:
        _tell_of_failures(out)
    return _refits(spec, method, out)


def refit_structured(spec: ModelSpec, Y: Floats, method: Method, theta: Floats) -> Refits:
    """The same of a model whose residuals have parameters: one response after the other, from θ and the ρ of the model.

    What they are then stands among the standard deviations and correlations, by its name.
    """
    out, told = _empty(spec, Y.shape[1]), []
    names = told_names(spec.residual.told())
    with LateBar("Refitting", "response", Y.shape[1]) as bar:
        for b, y in enumerate(Y.T):
            own: list[float] = [np.nan] * len(names)
            with suppress(FitError, np.linalg.LinAlgError):
                fit = fit_structured(with_response(spec.with_rho(None), y), method, start=theta, at=spec.rho)
                out.put(np.array([b]), _found_by(fit.estimates))
                parts = fit.spec.residual.told()
                values = [value for part in parts for value in part.values]
                own = [values[k] for k in told_places(parts)]
            told.append(own)
            bar.update()
    _tell_of_failures(out)
    found = _refits(spec, method, out)
    return replace(found, sdcor={**found.sdcor, **dict(zip(names, np.array(told).T, strict=True))})


def slice_size(spec: ModelSpec) -> int:
    """How many responses are worked on together: until they are done, none is."""
    if not spec.terms:
        return max(1, SLICE_ENTRIES // max(1, spec.n_fixed))
    if not has_blocks(spec):
        return 64
    columns = [len(g.columns) for g in spec.groupings]
    effects = sum(g.n_levels * p for g, p in zip(spec.groupings, columns, strict=True))
    widest = max(columns[0] if len(columns) == 1 else effects, spec.n_fixed, spec.n_theta)
    return max(1, SLICE_ENTRIES // (effects * widest))


@dataclass(frozen=True, eq=False, repr=False)
class _Found:
    """Arrays of :class:`~_ranef.results.Refits`."""

    theta: Floats
    sigma: Floats
    beta: Floats
    vcov: Floats
    criterion: Floats
    singular: Bools
    converged: Bools

    def put(self, where: Ints, part: _Found) -> None:
        """Write what was found for the responses `where`."""
        for f in fields(self):
            getattr(self, f.name)[where] = getattr(part, f.name)


def _empty(spec: ModelSpec, B: int) -> _Found:
    p, no = spec.n_fixed, np.zeros(B, dtype=bool)
    theta, sigma, beta, vcov = (np.full((B, *shape), np.nan) for shape in ((spec.n_theta,), (), (p,), (p, p)))
    return _Found(theta, sigma, beta, vcov, np.full(B, np.nan), no, no.copy())


def _refits(spec: ModelSpec, method: Method, found: _Found) -> Refits:
    sdcor = sdcor_arrays(spec, found.theta, found.sigma)
    return Refits(
        method,
        found.theta,
        found.sigma,
        found.beta,
        found.vcov,
        sdcor,
        found.criterion,
        found.singular,
        found.converged,
        spec.design.fixed_names,
    )


def _not_exact(spec: ModelSpec, responses: Responses) -> Ints:
    """The responses that the fixed effects do not fit exactly; all of them where σ is known."""
    exact = (responses.yy == 0) | (responses.unit**2 <= EXACT_FIXED_PART * responses.mean_square)
    return np.flatnonzero(~exact | (spec.sigma is not None))


def _tell_of_failures(found: _Found) -> None:
    exact = np.flatnonzero(np.isnan(found.criterion))
    if exact.size and exact.size == len(found.criterion):
        raise FitError(
            "The residual variance of every response is zero: the model fits them exactly. They may be constant, or "
            "computed from the predictors."
        )
    if exact.size:
        warn(
            f"{exact.size} of {len(found.criterion)} responses have no residual variance, the first in column "
            f"{exact[0]} (counted from 0): the model fits them exactly. Their estimates are NaN.",
            RanefWarning,
        )
    failed = int((~found.converged).sum()) - exact.size
    if failed:
        warn(
            f"{failed} of {len(found.criterion)} refits did not converge; see the column 'converged'.",
            ConvergenceWarning,
        )


def _fit_slice(
    spec: ModelSpec,
    products: CrossProducts,
    responses: Responses,
    method: Method,
    theta: Floats,
    count: Callable[[int], object],
    penalty: float,
) -> _Found:
    if not spec.terms:
        return _least_squares(spec, products, responses, method)
    if not has_blocks(spec):
        return _one_by_one(spec, products, responses, method, theta, np.arange(responses.size), count)
    batch = replace(make_batch(spec, products, responses, method), penalty=penalty)
    start = Problem(spec, products, method).to_standard(theta)
    if penalty:
        point, decrements = descend_together(batch, start_thetas(batch, start))
        out, lost = _on_user_scale(batch, point, products, responses), np.flatnonzero(~(decrements <= NEAR))
        out.put(lost, _empty(spec, len(lost)))
        count(responses.size)
        return out
    if has_spectrum(spec):
        tau = best_ratios(make_spectrum(products, responses, method, spec.sigma))
        point, failed = evaluate_together(batch, np.sqrt(tau)[:, None]), np.zeros(responses.size, dtype=bool)
    else:
        point, decrements = descend_together(batch, start_thetas(batch, start))
        point = _snapped(batch, point)
        failed = ~(decrements <= CONVERGED) | _uncertified(batch, point)
    if products.rows is not None:
        failed |= ~have_digits(batch, point, LOST)
    out = _on_user_scale(batch, point, products, responses)
    exact = (point.rss <= PERFECT_FIT * responses.yy) & (spec.sigma is None) & (products.rows is None)
    out.put(np.flatnonzero(exact), _empty(spec, int(exact.sum())))
    again = np.flatnonzero(failed & ~exact)
    if again.size:
        out.put(again, _one_by_one(spec, products, responses, method, theta, again, lambda _: None))
    count(responses.size)
    return out


def _least_squares(spec: ModelSpec, products: CrossProducts, responses: Responses, method: Method) -> _Found:
    """Without random effects: the criterion moves with the residual sum of squares alone."""
    likelihood = Likelihood(spec, products, method)
    own = likelihood.at(np.zeros(0))
    p, nu = spec.n_fixed, own.inner.nu
    beta = np.linalg.solve(products.corner[:p, :p], responses.Xy)
    rss = responses.yy - (responses.Xy * beta).sum(axis=0)
    sigma = np.sqrt(rss / nu) * responses.unit if spec.sigma is None else np.full(responses.size, spec.sigma)
    criterion = own.criterion + 2.0 * nu * np.log(sigma / own.sigma)
    criterion += rss * (responses.unit / sigma) ** 2 - own.relative_rss
    yes = np.ones(responses.size, dtype=bool)
    vcov = (sigma / own.sigma)[:, None, None] ** 2 * own.vcov
    none = np.zeros((responses.size, 0))
    return _Found(none, sigma, likelihood.coefficients(responses, beta.T), vcov, criterion, ~yes, yes)


def _snapped(batch: Batch, point: BatchPoint) -> BatchPoint:
    """Nearly vanishing directions of λ set to zero where the criterion does not rise, as ``boundary.snap``."""
    theta = point.theta.copy()
    for t in batch.spec.terms:
        lam = t.structure.root(point.theta[:, t.theta])
        values = np.linalg.svd(lam, compute_uv=False)
        small = np.flatnonzero(((values > 0.0) & (values < NEAR_ZERO)).any(axis=1))
        theta[small, t.theta] = t.structure.closest(without_small(lam[small], NEAR_ZERO))
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
        lam = t.structure.root(point.theta[:, t.theta])
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


def _on_user_scale(batch: Batch, point: BatchPoint, products: CrossProducts, responses: Responses) -> _Found:
    likelihood, sigma = Likelihood(batch.spec, products, batch.method), point.sigma * responses.unit
    return _Found(
        likelihood.to_written(point.theta),
        sigma,
        likelihood.coefficients(responses, point.beta),
        likelihood.coefficient_covariances(point.inverse_root, sigma),
        point.criterion,
        _singular(batch, point),
        np.ones(len(point.theta), dtype=bool),
    )


def _one_by_one(
    spec: ModelSpec,
    products: CrossProducts,
    responses: Responses,
    method: Method,
    theta: Floats,
    which: Ints,
    count: Callable[[int], object],
) -> _Found:
    out = _empty(spec, len(which))
    for i, b in enumerate(which.tolist()):
        with suppress(FitError):  # the response is fitted exactly: it stays NaN
            fit = fit_reml(spec, method, start=theta, products=products_of(products, responses, b))
            out.put(np.array([i]), _found_by(fit))
        count(1)
    return out


def _found_by(fit: RemlEstimates) -> _Found:
    return _Found(
        fit.theta[None],
        np.array([fit.sigma]),
        fit.beta[None],
        fit.vcov[None],
        np.array([fit.criterion]),
        np.array([fit.singular]),
        np.array([fit.optimizer.status is not Status.NOT_CONVERGED]),
    )
