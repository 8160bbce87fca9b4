"""Engine A: from a spec to the REML or ML estimates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from _ranef.errors import FitError
from _ranef.likelihood import (
    Batch,
    BatchPoint,
    CrossProducts,
    Method,
    best_ratios,
    cross_products,
    evaluate_together,
    has_blocks,
    has_spectrum,
    make_batch,
    make_spectrum,
    own_response,
)
from _ranef.reml.boundary import boundary_words, escape, snap
from _ranef.reml.newton_together import descend_together
from _ranef.reml.optimize import Control, Descent, Tracer, by_gradients, descend, no_residual_variance, polished
from _ranef.reml.problem import Minimand, Point, Problem
from _ranef.results import OptimizerRecord, RemlEstimates, Status
from _ranef.spec import ModelSpec, TermSpec
from _ranef.support.arrays import Floats, Ints
from _ranef.support.progress import LateBar

__all__ = ["BOUNDARY_ADVICE", "begun", "better", "certified", "fit_reml", "flat_words", "recorded"]

BOUNDARY = (
    "This is a result, not a failure: the criterion is lowest there, at the edge of what is possible, which does not "
    "prove that the truth lies there."
)

SAMPLE = "See in the posterior of Model.sample() how much the data leave open."

BOUNDARY_ADVICE = f"{BOUNDARY} {SAMPLE}"

#: rows up to which other starts are tried, and their sizes: two minima are a matter of few data
SMALL, OTHER_STARTS = 2000, (0.05, 10.0)

#: rows up to which random starts are tried, and how far out effects as many as rows are started
FEW_ROWS, FAR = 100, 1e3

#: random starts, near and wide: how many at most, how many for each parameter, logarithm of the largest, seed
NEAR, WIDE = (8, 2, 0.7, 0), (16, 4, 2.0, 3)

#: effects along one line: how many lines are looked at for each further column, how long and broad they are in units of
#: the noise, and how many descents begin there
LINES, LENGTHS, BREADTH, BEST_LINES = 12, (0.5, 1.5, 4.0, 10.0), 0.02, 6

#: coordinates of shapes from which correlations are started: of −1 to 1 ±0.76 and next to the ends; and their spread
SHAPES, SHAPES_SPREAD = (2.0, -2.0, 12.0, -12.0), 2.0

#: inflation of a standard deviation from which on columns count as nearly collinear
COLLINEAR = 3.0

#: multiples of the covariance of the least-squares effects of every level from which small residuals are sought
NEAR_MOMENTS = (1.0, 0.1, 10.0)

#: residual sd, beside the one found or the response's own, from which on a much smaller one is sought or doubted; and
#: curvature along a common factor of all θ below which it has no end
SMALL_RESIDUAL, FLAT_SCALE = 1e-2, 0.1

#: known residual sd, beside the response's, below which the likelihood of as many effects as rows has peaks
TINY = 1e-2

#: from there Newton's method is quick, or there is nothing to find
BRIEF = Control(max_iterations=60)

#: sizes of effects of which one begins a search near its minimum, and how near
SIZES, NEARBY = (0.1, 0.5, 2.0), Control(tolerance=1e-2, max_iterations=20)

#: what is allowed where Newton's steps got nowhere: starts beside the best point so far, and steps from each
GRADIENT_STARTS, LONG = 4, 2000

#: restarts allowed when the boundary certificate fails
MAX_RESTARTS = 5

#: a mean square of least-squares residuals below this share of the response's is zero to rounding
EXACT_FIXED_PART = 1e-28


def fit_reml(
    spec: ModelSpec,
    method: Method = "REML",
    *,
    start: Floats | None = None,
    control: Control | None = None,
    products: CrossProducts | None = None,
) -> RemlEstimates:
    """Maximise the (restricted) likelihood, and evaluate everything at the optimum.

    Parameters
    ----------
    spec : ModelSpec
    method : "REML" or "ML"
    start : array (n_theta,), optional
        θ on the user's scale; the default is the identity on the internal scale.
    control : Control, optional
    products : CrossProducts, optional
        Those of `spec`, where they are at hand already.

    Raises
    ------
    FitError
        If the residual variance is zero, or no start gives a finite criterion.
    """
    control = Control() if control is None else control
    products = cross_products(spec) if products is None else products
    problem = Problem(spec, products, method)
    _refuse_perfect_fit(problem)
    with LateBar(f"Fitting by {method}", "evaluation") as bar:
        tracer = Tracer(problem, bar)
        if not spec.terms:
            point = tracer.point(np.zeros(0), "start")
            descent = Descent(point, 0.0, np.zeros((0, 0)), True)
        else:
            descent = polished(problem, tracer, _best_descent(problem, tracer, start, control))
    return _estimates(problem, tracer, descent)


def _refuse_perfect_fit(problem: Problem) -> None:
    spec, products = problem.spec, problem.products
    if spec.n_fixed >= spec.n_obs:
        raise FitError(
            f"The fixed effects have {spec.n_fixed} coefficients for {spec.n_obs} rows: they fit the response exactly, "
            "and nothing is left to estimate variances from. Leave predictors out, or use a smaller basis."
        )
    nothing_left = products.corner[-1, -1] == 0 or problem.response_unit**2 <= EXACT_FIXED_PART * products.mean_square
    if spec.sigma is None and nothing_left:
        raise FitError(
            f"The residual variance of {spec.design.response!r} is zero: the fixed effects fit the response exactly. "
            "The response may be constant or computed from the predictors; check it, or drop a predictor."
        )


def _start(problem: Problem, start: Floats | None) -> Floats:
    spec = problem.spec
    if start is None:
        return np.concatenate([t.structure.closest(np.eye(t.structure.size)) for t in spec.terms])
    try:
        theta = np.asarray(start, dtype=float)
    except (TypeError, ValueError, OverflowError):
        theta = np.array(np.nan)
    if theta.shape != (spec.n_theta,) or not np.isfinite(theta).all():
        raise FitError(
            f"start must hold {spec.n_theta} finite numbers, θ in the order {', '.join(spec.theta_names)}; "
            f"got {start!r:.80}."
        )
    internal = problem.to_standard(theta)
    # a zero on the diagonal is stationary whatever the data say
    return np.where(spec.on_diagonal & (np.abs(internal) < 1e-3), 1e-3, internal)


def begun(problem: Problem, tracer: Tracer, start: Floats | None) -> Point:
    """A point near a minimum, from the start or else from where effects of a few sizes do best."""
    if not problem.spec.terms:
        return tracer.point(np.zeros(0), "start")
    first = problem.settled(_start(problem, start))
    sizes = (1.0,) if start is not None else SIZES
    lowest = min((problem.point(problem.settled(size * first)) for size in sizes), key=lambda point: point.criterion)
    found = descend(problem, tracer, lowest.theta, NEARBY, 0)
    assert found is not None  # no optimum was known
    return found.point


def _best_descent(problem: Problem, tracer: Tracer, start: Floats | None, control: Control) -> Descent:
    """Descend from the start; on small data, where the criterion may have two minima, also from far on either side."""
    first = problem.settled(_start(problem, start))
    small = start is None and problem.products.n_obs <= SMALL
    line = has_spectrum(problem.spec)
    quick = small or (line and start is None and problem.spec.related)
    if quick and control == Control() and (line or has_blocks(problem.spec)):
        if line:
            theta = _lowest_on_the_line(problem)
        else:
            theta = _best_of_many(problem, tracer, np.array([first, *_other_starts(problem, first)]))
        best = _certified_descent(problem, tracer, theta, replace(control, em_steps=0))
    else:
        best = _certified_descent(problem, tracer, first, control)
        if small:
            best = _lower(problem, tracer, best, _other_starts(problem, first), control)
    far_out = best.point.at.from_rows  # what was found by sums that had lost digits is doubtful
    if start is None and small and (far_out or problem.products.n_obs <= FEW_ROWS):
        moments = problem.least_squares
        if moments is not None and (far_out or moments.sigma < SMALL_RESIDUAL * best.point.at.relative_sigma):
            best = _lower(problem, tracer, best, [size * moments.theta for size in NEAR_MOMENTS], BRIEF)
            if moments.saturated:
                _refuse_flat_residual(problem, best)
    if not best.converged and start is None and control == Control() and problem.products.n_obs <= FEW_ROWS:
        best = _lowest_by_gradients(problem, tracer, best, first, control)
    return best


def _lowest_by_gradients(problem: Problem, tracer: Tracer, best: Descent, first: Floats, control: Control) -> Descent:
    """The lowest of descents by gradients alone, for the criterion on which Newton's steps get nowhere."""
    for theta in (best.point.theta, *islice(_other_starts(problem, first), GRADIENT_STARTS)):
        lower = by_gradients(problem, tracer, problem.point(theta), LONG)
        other = _certified_descent(problem, tracer, lower.theta, replace(control, em_steps=0))
        if better(other, best) or (other.converged and not best.converged and not better(best, other)):
            best = other
    return best


def _refuse_flat_residual(problem: Problem, best: Descent) -> None:
    """Refuse an end so far out that a common factor of all θ changes nothing: the residual variance goes to zero."""
    at = best.point
    if problem.spec.sigma is not None or at.at.relative_sigma > SMALL_RESIDUAL:
        return
    bend = float(at.theta @ problem.information(at) @ at.theta)
    if bend < FLAT_SCALE:
        raise no_residual_variance(problem.spec)


def _lower(problem: Problem, tracer: Tracer, best: Descent, starts: Iterable[Floats], control: Control) -> Descent:
    """The lowest of a descent and those from other starts."""
    for theta in starts:
        other = descend(problem, tracer, problem.settled(theta), control, 0, known=best.point)
        if other is not None and better(other, best):
            best = certified(problem, tracer, other, control)
    return best


def better(other: Descent, best: Descent) -> bool:
    if not np.isfinite(best.point.criterion):
        return bool(np.isfinite(other.point.criterion))
    return other.point.criterion < best.point.criterion - 1e-9


def _lowest_on_the_line(problem: Problem) -> Floats:
    """The only variance parameter where the criterion is lowest, found through eigenvalues over its whole range."""
    products = problem.products
    spectrum = make_spectrum(products, own_response(products), problem.method, problem.spec.sigma)
    return np.sqrt(best_ratios(spectrum))


def _best_of_many(problem: Problem, tracer: Tracer, starts: Floats) -> Floats:
    """Descend from several internal θ together, and give where the criterion is lowest."""
    products = problem.products
    batch = make_batch(problem.spec, products, own_response(products), problem.method)
    if products.n_obs <= FEW_ROWS:
        starts = np.concatenate([starts, *_thin_starts(problem, batch, starts[0])])
    looks: list[tuple[str, Ints, BatchPoint]] = []
    copies = batch.only(np.zeros(len(starts), dtype=np.intp))
    point, _ = descend_together(
        copies, starts, lambda *look: looks.append(look), one_response=True, fixed=problem.undetermined.alone
    )
    tracer.paths(looks)
    if not np.isfinite(point.criterion).any():
        return np.asarray(starts[0])
    # on a tie the first start's own optimum
    lowest = np.flatnonzero(point.criterion <= np.nanmin(point.criterion) + 1e-9)
    return np.asarray(point.theta[lowest[0]])


def _other_starts(problem: Problem, first: Floats) -> Iterator[Floats]:
    """Small and large multiples of a start, and for several groupings each of them large among small ones.

    Where independent columns are nearly collinear, as in ``(x || g)`` with x far from zero, also effects so large that
    they cancel. Where rows are few, also starts at random, the same each time, and the moments of least-squares
    effects; and where effects are as many as rows, from far out, where the residual variance is next to nothing.
    """
    return (problem.settled(theta) for theta in _free_starts(problem, first))


def _free_starts(problem: Problem, first: Floats) -> Iterator[Floats]:
    terms = problem.spec.terms
    yield from (size * first for size in OTHER_STARTS)
    yield from _shape_starts(terms, first)
    yield from _one_large(terms, first, 0.1, 3.0)
    apart = _collinear_sizes(problem)
    if apart.max(initial=1.0) > COLLINEAR:
        yield from (size * apart * first for size in (0.3, 1.0, 3.0))
    if problem.products.n_obs > FEW_ROWS:
        return
    yield from _random_starts(terms, *NEAR)
    yield from _random_starts(terms, *WIDE)
    moments = problem.least_squares
    if moments is not None:
        nearer = moments.theta * min(1.0, FAR / float(np.abs(moments.theta).max(initial=1.0)))
        yield from (nearer, 0.1 * nearer)
        if moments.saturated:
            yield from (FAR * theta for theta in _random_starts(terms, *NEAR))


def _first_shape(term: TermSpec) -> int:
    return term.structure.n_theta - len(term.structure.shapes)


def _shape_starts(terms: Sequence[TermSpec], first: Floats) -> Iterator[Floats]:
    """Shapes on either side, where correlations have two minima; those of a term together."""
    for t in terms:
        own = slice(t.theta.start + _first_shape(t), t.theta.stop)
        for u in SHAPES if t.structure.shapes else ():
            out = first.copy()
            out[own] = u
            yield out


def _collinear_sizes(problem: Problem) -> Floats:
    """By how much effects (n_theta,) may be larger that cancel one another: √ of the variance inflation of columns."""
    sizes = np.ones(problem.spec.n_theta)
    for k in range(len(problem.spec.groupings)):
        terms = [t for t in problem.spec.terms if t.grouping == k and not t.structure.pairs]
        gram = problem.levels(k).mean(axis=0)
        size = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
        inflation = np.diag(np.linalg.pinv(gram / np.outer(size, size), rcond=1e-14, hermitian=True))
        for t in terms:
            sizes[t.theta] = np.sqrt(max(1.0, inflation[t.where].max()))
    return sizes


def _one_large(terms: Sequence[TermSpec], first: Floats, small: float, large: float) -> Iterator[Floats]:
    groupings = sorted({t.grouping for t in terms})
    for k in groupings if len(groupings) > 1 else ():
        scale = np.concatenate([np.full(t.structure.n_theta, large if t.grouping == k else small) for t in terms])
        yield scale * first


def _random_starts(terms: Sequence[TermSpec], most: int, each: int, reach: float, seed: int) -> Iterator[Floats]:
    """Terms and columns of any size from a tenth of the noise to ten to the `reach`, correlations of either sign."""
    rng = np.random.default_rng(seed)
    diagonal = np.concatenate([t.structure.on_diagonal for t in terms])
    shapes = np.concatenate([np.arange(t.structure.n_theta) >= _first_shape(t) for t in terms])
    for _ in range(min(most, each * len(diagonal))):
        by_term = [np.full(t.structure.n_theta, 10 ** rng.uniform(-1.0, reach)) for t in terms]
        size = np.concatenate(by_term) * 10 ** rng.uniform(-0.7, 0.7, len(diagonal))
        yield np.where(diagonal, size, np.where(shapes, SHAPES_SPREAD, size) * rng.normal(size=len(diagonal)))


def _thin_starts(problem: Problem, batch: Batch, first: Floats) -> Iterator[Floats]:
    """Starts (S, n_theta) with all effects of a term along one line, where the criterion is lowest of many such lines.

    A minimum with a correlation of ±1 may have a basin so narrow that no start with room in all directions leads there.
    """
    for t in problem.spec.terms:
        if not t.structure.pairs or t.structure.shapes:
            continue
        p = t.structure.size
        lines = np.random.default_rng(0).normal(size=(LINES * (p - 1), p))
        if p == 2:
            angles = np.arange(LINES) * np.pi / LINES
            lines = np.column_stack([np.cos(angles), np.sin(angles)])
        lines *= np.sqrt(p / 2) / np.linalg.norm(lines, axis=1)[:, None]
        roots = np.array(LENGTHS)[:, None, None, None] * lines[:, :, None] * np.eye(p)[0] + BREADTH * np.eye(p)
        thetas = np.broadcast_to(first, (*roots.shape[:2], len(first))).copy()
        thetas[..., t.theta] = t.structure.closest(roots)
        flat = problem.settled(thetas.reshape(-1, len(first)))
        looked_at = evaluate_together(batch.only(np.zeros(len(flat), dtype=np.intp)), flat).criterion
        by_line = np.where(np.isfinite(looked_at), looked_at, np.inf).reshape(thetas.shape[:2])
        best = np.argsort(by_line.min(axis=0))[:BEST_LINES]
        yield thetas[by_line.argmin(axis=0)[best], best]


def _certified_descent(problem: Problem, tracer: Tracer, theta: Floats, control: Control) -> Descent:
    ended = descend(problem, tracer, theta, control, control.em_steps)
    assert ended is not None  # no optimum was known
    return certified(problem, tracer, ended, control)


def certified(problem: Minimand, tracer: Tracer, descent: Descent, control: Control) -> Descent:
    """Snap the end of a descent to the boundary, and check the certificate there; descend again where it fails."""
    for _ in range(MAX_RESTARTS):
        point = snap(problem, tracer, descent.point)
        if point is not descent.point:
            descent = replace(descent, point=point)
        away = escape(problem.spec, point.theta, [W[0] for W in point.W])
        if away is None:
            return descent
        ended = descend(problem, tracer, away, control, 0)
        assert ended is not None  # no optimum was known
        descent = ended
    return replace(descent, converged=False)


def _estimates(problem: Problem, tracer: Tracer, descent: Descent) -> RemlEstimates:
    point, at = descent.point, descent.point.at
    return RemlEstimates(
        method=problem.method,
        theta=problem.to_written(point.theta),
        sigma=at.sigma,
        beta=at.beta,
        vcov=at.vcov,
        criterion=at.criterion,
        modes=at.modes,
        optimizer=recorded(problem, tracer, descent),
        singular=bool(boundary_words(problem, point)),
    )


def recorded(problem: Problem, tracer: Tracer, descent: Descent) -> OptimizerRecord:
    names = tuple(n for n, lost in zip(problem.spec.theta_names, problem.undetermined.entries, strict=True) if lost)
    words = boundary_words(problem, descent.point)
    if not descent.converged:
        status, detail = (
            Status.NOT_CONVERGED,
            f"Newton decrement {descent.decrement:.3g} after {len(tracer.steps)} evaluations.",
        )
    elif names:
        status, detail = Status.NOT_IDENTIFIED, _undetermined_words(problem, names, words)
    elif words:
        advice = f"{BOUNDARY} {SAMPLE}" if problem.spec.family.collapses else BOUNDARY
        status, detail = Status.BOUNDARY, f"{words} {advice}"
    else:
        status, detail = Status.CONVERGED, f"Newton decrement {descent.decrement:.3g}."
    doubt = _crowded_words(problem)
    message = f"{status.value} {detail} {doubt}".strip()
    return OptimizerRecord(tuple(tracer.steps), descent.decrement, status, message, names, doubt)


def _crowded_words(problem: Problem) -> str:
    """What is to be feared where effects are as many as rows, so that fewer of them may fit the response exactly.

    The criterion then falls without end as the residual variance goes to zero, or far where that is known to be tiny,
    along valleys that no start is sure to find.
    """
    spec = problem.spec
    effects = sum(g.n_levels * len(g.columns) for g in spec.groupings)
    tiny = spec.sigma is None or spec.sigma < TINY * problem.response_unit
    turns = any(
        t.structure.pairs for t in spec.terms
    )  # effects are fitted exactly along lines that correlations choose
    if effects + spec.n_fixed < spec.n_obs or not (turns and tiny and spec.family.collapses):
        return ""
    return (
        f"There are {effects} random effects for {spec.n_obs} rows: some of them may fit the response exactly, and the "
        "likelihood there be higher, without bound where sigma is unknown. What is shown is the best optimum found; "
        "a model with fewer effects has one."
    )


def _undetermined_words(problem: Problem, names: Sequence[str], boundary: str) -> str:
    why = "columns of the random effects lie in the fixed effects or in another term, and one of the two should go."
    return flat_words(names, problem.method, f"{why} {boundary}".strip())


def flat_words(names: Sequence[str], method: Method, why: str) -> str:
    """What it means, in words, that the data do not determine what has those names, and `why` that is so."""
    likelihood = "restricted likelihood" if method == "REML" else "likelihood"
    return (
        f"The {likelihood} is the same along a whole line of their values, so those shown are arbitrary: {why} "
        f"Not determined, or only in combination: {', '.join(names)}."
    )
