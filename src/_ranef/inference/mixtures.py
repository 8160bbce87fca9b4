"""Likelihood ratios at an edge of the parameter space: mixtures of χ², with their weights.

Under the smaller model the ratio is χ²(f) + ‖Πz‖², with f free parameters, and Π the projection on the cone of what the
variances that are zero may become, in the metric of their information: a mixture of χ²(f), χ²(f + 1), … (Self & Liang
1987, J. Am. Stat. Assoc. 82, 605-610; Shapiro 1988, Int. Stat. Rev. 56, 49-62). One variance has weights ½ and ½. Two
that may rise apart have a quadrant, and a 2 × 2 covariance the cone of such matrices; other cones are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from _ranef.inference.nested import covariances, n_at_zero, psd_root, some_theta
from _ranef.inference.refitting import Fitted
from _ranef.likelihood import Likelihood, adjustment
from _ranef.spec import TermSpec
from _ranef.support.arrays import Floats

__all__ = ["chi_squared", "mixed", "mixture"]

#: draws by which a share of the cone of 2 × 2 covariances is found, to a thousandth
DRAWS = 400_000


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

    NaN where none are, so that χ² holds, and where weights are not known.
    """
    df = large.n_parameters - small.n_parameters
    zeros = n_at_zero(small.spec, large.spec)
    if zeros == 0 or df < 1:
        return float("nan")
    if zeros == 1:
        return mixed(statistic, df - 1, (0.5, 0.5))
    if zeros > 2 or large.spec.structured or any(t.structure.shapes for t in large.spec.terms):
        return float("nan")
    spread, at = _spread(small, large)
    weights = _quadrant(spread) if len(at) == 2 else _two_by_two(spread)
    return mixed(statistic, df - len(at), weights)


def _spread(small: Fitted, large: Fitted) -> tuple[Floats, list[int]]:
    """Covariance of the parameters that are at zero, by the expected information there, and their places.

    At zero is what no parameter of the smaller model moves, whatever else it has estimated there.
    """
    spec, likelihood = large.spec, Likelihood(large.spec, large.products, large.estimates.method)
    estimated, some = (
        [psd_root(D) for D in covariances(small.spec, spec, theta)]
        for theta in (small.estimates.theta, some_theta(small.spec))
    )
    interior = likelihood.standard_roots(some)
    changes, zero = [], list[bool]()
    for t in spec.terms:
        p = len(spec.groupings[t.grouping].columns)
        for G, edge in _directions(t, interior[t.grouping][t.where, t.where]):
            whole = np.zeros((p, p))
            whole[t.where, t.where] = G
            changes.append((t.grouping, whole))
            zero.append(edge)
    own = adjustment(likelihood.at_roots(estimated, small.estimates.sigma), changes)
    own = own.with_scale(spec.n_obs) if spec.sigma is None else own
    information = own.information if likelihood.method == "REML" else own.traces
    inverse = np.linalg.pinv(information, 1e-12, hermitian=True)
    places = [i for i, edge in enumerate(zero) if edge]
    return inverse[np.ix_(places, places)], places


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
