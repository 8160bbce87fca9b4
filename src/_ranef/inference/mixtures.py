"""Likelihood ratios at an edge of the parameter space: mixtures of χ², with their weights.

Under the smaller model the ratio is χ²(f) + ‖Πz‖², with f free parameters, and Π the projection on the cone of what the
variances that are zero may become, in the metric of their information: a mixture of χ²(f), χ²(f + 1), … (Self & Liang
1987, J. Am. Stat. Assoc. 82, 605-610; Shapiro 1988, Int. Stat. Rev. 56, 49-62). One variance has weights ½ and ½. Two
that may rise apart have a quadrant, more an orthant, and a 2 × 2 covariance the cone of such matrices. A larger one,
and several things at once, have a product of cones, on which normal draws are projected.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import scipy

from _ranef.inference.nested_models import covariances, n_at_zero, psd_root, some_theta
from _ranef.inference.other_fits import Fitted
from _ranef.likelihood import adjustment
from _ranef.spec import TermSpec
from _ranef.support.arrays import Floats, Ints

__all__ = ["chi_squared", "mixed", "mixture"]

#: draws by which a share of the cone of 2 × 2 covariances is found, to a thousandth; that are projected on an orthant,
#: face by face; and on any cone, step by step
DRAWS, ON_ORTHANTS, PROJECTED = 400_000, 100_000, 5_000

#: most variances of an orthant
MOST_FACES = 8

#: steps of a projection, and how near it ends; and steps to the weights of its lengths
STEPS, NEAR, SWEEPS = 400, 1e-4, 500


def chi_squared(statistic: float, df: int) -> float:
    """P-value of χ²; NaN without degrees of freedom."""
    return float(scipy.special.chdtrc(df, max(statistic, 0.0))) if df > 0 else float("nan")


def mixed(statistic: float, free: int, weights: Sequence[float]) -> float:
    """P-value of the mixture with `weights` of χ²(free), χ²(free + 1), and so on; χ²(0) is zero."""
    if statistic <= 0.0:
        return 1.0
    tails = [chi_squared(statistic, free + k) if free + k else 0.0 for k in range(len(weights))]
    return float(np.dot(weights, tails))


def mixture(small: Fitted, large: Fitted, statistic: float) -> float:
    """P-value of a likelihood ratio where variances of the larger model are zero in the smaller one.

    NaN where none are, so that χ² holds, and where structures of effects or residuals make another shape than a cone of
    covariances.
    """
    df = large.n_parameters - small.n_parameters
    zeros = n_at_zero(small.spec, large.spec)
    if zeros == 0 or df < 1:
        return float("nan")
    if zeros == 1:
        return mixed(statistic, df - 1, (0.5, 0.5))
    if large.spec.structured or any(t.structure.shapes for t in large.spec.terms):
        return float("nan")
    spread, blocks = _spread(small, large)
    return mixed(statistic, df - len(spread), _weights(spread, blocks))


def _weights(spread: Floats, blocks: Sequence[int]) -> Sequence[float]:
    """Of χ²(0), χ²(1) and so on: of the product of cones of covariances of sizes `blocks`."""
    if len(blocks) == len(spread) <= MOST_FACES:
        return _quadrant(spread) if len(spread) == 2 else _orthant(spread)
    return _two_by_two(spread) if list(blocks) == [2] else _by_lengths(*_lengths(spread, blocks), len(spread))


def _spread(small: Fitted, large: Fitted) -> tuple[Floats, list[int]]:
    """Covariance of the parameters that are at zero, by the expected information there, and sizes of their covariances.

    At zero is what no parameter of the smaller model moves, whatever else it has estimated there.
    """
    spec, likelihood = large.spec, large.likelihood
    estimated, some = (
        [psd_root(D) for D in covariances(small.spec, spec, theta)]
        for theta in (small.estimates.theta, some_theta(small.spec))
    )
    interior = likelihood.standard_roots(some)
    changes, zero, blocks = [], list[bool](), list[int]()
    for t in spec.terms:
        p, before = len(spec.groupings[t.grouping].columns), sum(zero)
        for G, edge in _directions(t, interior[t.grouping][t.where, t.where]):
            whole = np.zeros((p, p))
            whole[t.where, t.where] = G
            changes.append((t.grouping, whole))
            zero.append(edge)
        gone = sum(zero) - before
        blocks += [int(np.sqrt(2 * gone))] * bool(gone) if t.structure.free else [1] * gone
    own = adjustment(likelihood.at_roots(estimated, small.estimates.sigma), changes)
    own = own.with_scale(spec.n_obs) if spec.sigma is None else own
    information = own.information if likelihood.method == "REML" else own.traces
    inverse = np.linalg.pinv(information, 1e-12, hermitian=True)
    places = [i for i, edge in enumerate(zero) if edge]
    return inverse[np.ix_(places, places)], blocks


def _directions(term: TermSpec, root: Floats) -> list[tuple[Floats, bool]]:
    """Changes of a term's covariance, and whether each is of what is zero; off-diagonal ones once."""
    own = term.structure
    if not own.free:
        size = np.linalg.norm(root, axis=1)
        units = [E @ E.T for E in own.jacobian(np.ones(own.n_theta))]
        return [(E, not bool((size * np.diag(E)).any())) for E in units]
    U, s, _ = np.linalg.svd(root)
    null = s <= 1e-7 * max(s.max(initial=0.0), 1e-300) if s.any() else np.ones(len(s), dtype=bool)
    out = []
    for a in range(len(U)):
        for b in range(a + 1):
            G = np.outer(U[:, a], U[:, b])
            out.append((G if a == b else G + G.T, bool(null[a] and null[b])))
    return out


def _quadrant(spread: Floats) -> tuple[float, float, float]:
    """Of two variances: none, one, or both rise."""
    both = 0.25 + float(np.arcsin(spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1]))) / (2.0 * np.pi)
    return 0.5 - both, 0.5, both


def _two_by_two(spread: Floats) -> tuple[float, float, float, float]:
    """Of (d₁₁, d₁₂, d₂₂): the shares of the cone and of its polar; even and odd weights sum to a half each."""
    z = np.random.default_rng(0).normal(size=(DRAWS, 3)) @ np.linalg.cholesky(spread).T
    y = -np.linalg.solve(spread, z.T).T * [1.0, 0.5, 1.0]
    inside, polar = (float(((m[:, 0] > 0) & (m[:, 0] * m[:, 2] > m[:, 1] ** 2)).mean()) for m in (z, y))
    return polar, 0.5 - inside, 0.5 - polar, inside


def _orthant(spread: Floats) -> tuple[float, ...]:
    """How often a normal draw, projected on the orthant in the metric of its covariance, has so many that rise.

    The projection rises in those places F where z_F + P_FF⁻¹P_FN z_N is positive, if the slope is not negative in the
    other ones, N: one face of all.
    """
    k, P = len(spread), np.linalg.inv(spread)
    z = np.random.default_rng(0).normal(size=(ON_ORTHANTS, k)) @ np.linalg.cholesky(spread).T
    out = np.zeros(k + 1)
    for face in product([False, True], repeat=k):
        F = np.array(face)
        x = np.zeros_like(z)
        x[:, F] = z[:, F] + z[:, ~F] @ np.linalg.solve(P[np.ix_(F, F)], P[np.ix_(F, ~F)]).T
        slope = (x - z) @ P
        out[F.sum()] += ((x[:, F] > 0).all(axis=1) & (slope[:, ~F] >= 0).all(axis=1)).mean()
    return tuple(out.tolist())


def _lengths(spread: Floats, blocks: Sequence[int]) -> tuple[Floats, Floats]:
    """‖Πz‖² and ‖z − Πz‖² (PROJECTED,) for the product of cones of covariances, in the metric of the covariance of z.

    Descents with momentum (Beck & Teboulle 2009, SIAM J. Imaging Sci. 2, 183-202), after a congruence that brings the
    variances to one size; off-diagonal entries count twice.
    """
    P, starts, twice = np.linalg.inv(spread), np.cumsum([0, *(r * (r + 1) // 2 for r in blocks)]), []
    lower = [np.tril_indices(r) for r in blocks]
    scale = []
    for start, (a, b) in zip(starts, lower, strict=False):
        own = np.diag(P)[start : start + len(a)]
        half = own[a == b] ** 0.25
        scale.append(half[a] * half[b])
        twice.append(np.where(a == b, 1.0, np.sqrt(2.0)))
    size = np.concatenate(scale) * np.concatenate(twice)
    H = P / np.outer(np.concatenate(scale), np.concatenate(scale)) / np.outer(*[np.concatenate(twice)] * 2)
    z = (np.random.default_rng(0).normal(size=(PROJECTED, len(P))) @ np.linalg.cholesky(spread).T) * size
    values = np.linalg.eigvalsh(H)
    q = np.sqrt(values[0] / values[-1])
    x = ahead = np.zeros_like(z)
    for _ in range(STEPS):
        moved = _on_cones(ahead - (ahead - z) @ H / values[-1], starts, lower)
        ahead, step, x = moved + (1.0 - q) / (1.0 + q) * (moved - x), np.abs(moved - x).max(), moved
        if step <= NEAR * np.abs(z).max():
            break
    whole, left = (np.asarray(np.einsum("ni,ij,nj->n", v, H, v)) for v in (z, z - x))
    return np.maximum(whole - left, 0.0), left


def _on_cones(x: Floats, starts: Ints, lower: Sequence[tuple[Ints, Ints]]) -> Floats:
    """The nearest positive semi-definite matrices (N, m), as lower triangles with off-diagonal entries times √2."""
    out = np.empty_like(x)
    for start, (a, b) in zip(starts, lower, strict=False):
        part, weight, r = slice(start, start + len(a)), np.where(a == b, 1.0, np.sqrt(2.0)), a[-1] + 1
        D = np.zeros((len(x), r, r))
        D[:, a, b] = D[:, b, a] = x[:, part] / weight
        values, vectors = np.linalg.eigh(D)
        kept = (vectors * np.maximum(values, 0.0)[:, None]) @ np.swapaxes(vectors, 1, 2)
        out[:, part] = kept[:, a, b] * weight
    return out


def _by_lengths(lengths: Floats, left: Floats, m: int) -> tuple[float, ...]:
    """Weights of χ²(0) to χ²(m): the first and last are shares, the others by likelihood; even and odd ones sum to ½.

    Any closed convex cone has such weights, its intrinsic volumes (Amelunxen, Lotz, McCoy & Tropp 2014, Inf. Inference
    3, 224-294), and its Euler characteristic is zero unless it holds a line.
    """
    small = 1e-5 * np.median(lengths + left)
    none, whole = float((lengths <= small).mean()), float((left <= small).mean())
    inner, k = (lengths > small) & (left > small), np.arange(1, m)
    ends = np.array([0.5 - none - whole * (m % 2 == 0), 0.5 - whole * (m % 2 == 1)])[k % 2]  # of each parity
    density, share = scipy.stats.chi2.pdf(lengths[inner, None], k), ends / (m // 2)
    for _ in range(SWEEPS):
        own = density * share
        share = (own / own.sum(axis=1, keepdims=True)).mean(axis=0)
        share *= ends / np.where(k % 2 == 0, share[k % 2 == 0].sum(), share[k % 2 == 1].sum())
    return none, *share.tolist(), whole
