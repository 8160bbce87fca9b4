"""Which parameters ρ of residual variances and correlations the data determine, and which have come to an edge.

V is not linear in ρ, so that no rank of a fixed map says what :mod:`_ranef.likelihood.identify` says of θ. But where
the criterion is the same along a line through (θ, ρ), its slope along it is zero *whatever the response*, and the other
way round: what counts is the rank of the slopes of a few random responses at a point of no special kind.

At an edge rows stay as they are while ρ goes on: a correlation of 1, a range beyond all distances, a constant of zero.
Or the criterion does, as where the standard deviation of one stratum goes to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from _ranef.errors import DesignError
from _ranef.likelihood.at import Likelihood
from _ranef.likelihood.criterion import Method
from _ranef.likelihood.identify import GOLDEN, NO_PART, null_vectors
from _ranef.likelihood.sums_by_basis import cross_products, product_slopes
from _ranef.likelihood.sums_by_whitening import RowSums
from _ranef.spec import ModelSpec, without_rows
from _ranef.support.arrays import Bools, Floats

__all__ = ["at_edge", "flat_beyond", "undetermined_with_rho"]

#: rows up to which all are read; of more, groups with about as many say it as well, if nothing is wanting
MANY_ROWS = 3_000

#: of random responses; nobody's own, for a response that is a column of X says nothing
SEED = 1_618_033_988

#: responses beyond as many as there are parameters
SPARE = 2

#: movement of whitened rows, beside that at a point of no special kind, below which they stay as they are
STUCK = 1e-4

#: units of ρ that are far from where descents begin, and change of the criterion by another that is none
FAR, FLAT = 3.0, 1e-5

#: share of a direction below which a parameter has no part in it
SOME_PART = 0.1


def undetermined_with_rho(spec: ModelSpec, method: Method) -> Bools:
    """Which entries (n_theta + n_rho,) of θ and ρ the likelihood does not determine, but for θ alone.

    Those are of all ρ or none.
    """
    if spec.design.stream is not None:  # many rows in a few strata, of which a sample may lack one
        return np.zeros(spec.n_theta + len(spec.rho_names), dtype=bool)
    return _by_few(spec, partial(_undetermined, method=method))


def _by_few(spec: ModelSpec, wanting: Callable[[ModelSpec], Bools]) -> Bools:
    """What all rows leave wanting; where a part of many leaves nothing so, they do not either."""
    few = _some_groups(spec) if spec.n_obs > MANY_ROWS else None
    found = None if few is None else wanting(few)
    return wanting(spec) if found is None or found.any() else found


def _some_groups(spec: ModelSpec) -> ModelSpec | None:
    """The model for some of its groups of correlated rows, or of its rows; None where they make no model."""
    codes = np.arange(spec.n_obs) if spec.correlation is None else spec.correlation.codes
    if spec.correlation is None and spec.groupings:
        codes = max(spec.groupings, key=lambda g: g.n_levels).codes
    groups = int(codes.max()) + 1
    few = max(2, groups * MANY_ROWS // spec.n_obs)
    chosen = np.zeros(groups, dtype=bool)
    chosen[np.linspace(0, groups - 1, few).astype(int)] = True
    try:
        return without_rows(spec, chosen[codes])
    except DesignError:
        return None


def _undetermined(spec: ModelSpec, method: Method) -> Bools:
    own = spec.with_rho(_anywhere(spec))
    products = cross_products(own)
    products = replace(products, scaling=replace(products.scaling, y=1.0), rows=None)
    theta = Likelihood(own, products, method).to_written(1.0 + _spread(spec.n_theta))
    rng = np.random.default_rng(SEED)
    m = len(theta) + len(spec.rho_names)
    noise = rng.normal(size=(m + SPARE, spec.n_obs)) * (1.0 if spec.sigma is None else spec.sigma)
    slopes = np.array([_slopes(RowSums(own, products, y), method, theta) for y in noise])
    lost, gone = null_vectors(slopes, np.full(m, np.sqrt(spec.n_obs)))
    lost = np.abs(lost * np.linalg.norm(np.where(gone, 1.0, slopes), axis=0)[:, None])
    lost = lost[:, lost[spec.n_theta :].max(axis=0) > NO_PART]
    return np.asarray((lost > NO_PART).any(axis=1))


def _anywhere(spec: ModelSpec) -> Floats:
    """ρ (n_rho,) at a point of no special kind."""
    units = spec.with_rho(spec.rho_start).residual.units
    return np.asarray(spec.rho_start + units * (0.2 + 0.8 * _spread(len(units))))


def _spread(n: int) -> Floats:
    return np.asarray(np.arange(1, n + 1) * GOLDEN % 1.0)


def _slopes(sums: RowSums, method: Method, theta: Floats) -> Floats:
    """∂criterion/∂(θ, ρ) (n_theta + n_rho,) on the user's scale."""
    spec = sums.spec
    likelihood = Likelihood(spec, sums.at(spec), method)
    at = likelihood.at(theta)
    roots = [np.linalg.solve(T.T, slope) for T, slope in zip(likelihood.maps, at.gradient, strict=True)]
    of_rho = sums.slopes(spec, product_slopes(likelihood.products.A, at.inner))
    return np.append(spec.pull_back(theta, roots) if roots else np.zeros(0), of_rho)


def at_edge(spec: ModelSpec) -> Bools:
    """Which of the ρ (n_rho,) of `spec` may go on, alone or together, without a change of the rows."""
    if spec.design.stream is not None:
        basis = replace(spec.residual, weights=None).basis
        assert basis is not None
        assert spec.rho is not None
        return _stuck(basis.movement(spec.rho), basis.movement(_anywhere(spec)))
    return _by_few(spec, _at_edge)


def flat_beyond(spec: ModelSpec, theta: Floats, method: Method) -> Bools:
    """Which of the ρ (n_rho,) of `spec` are far out, and may go on, each alone, with no change of the criterion."""
    assert spec.rho is not None
    units, away = spec.residual.units, spec.rho - spec.rho_start
    out = np.zeros(len(away), dtype=bool)
    for k in np.flatnonzero((np.abs(away) > FAR * units) & (spec.design.stream is None)):
        further = spec.rho + np.sign(away[k]) * units[k] * np.eye(len(away))[k]
        here, there = (_criterion(spec.with_rho(rho), theta, method) for rho in (spec.rho, further))
        out[k] = abs(there - here) < FLAT
    return out


def _criterion(spec: ModelSpec, theta: Floats, method: Method) -> float:
    return Likelihood(spec, cross_products(spec), method).at(theta).criterion


def _at_edge(spec: ModelSpec) -> Bools:
    values = np.random.default_rng(SEED).normal(size=spec.n_obs)
    return _stuck(_movement(spec, values), _movement(spec.with_rho(_anywhere(spec)), values))


def _stuck(movement: Floats, anywhere: Floats) -> Bools:
    """Which ρ (n_rho,) move next to nothing, beside what they do anywhere."""
    usual = np.linalg.norm(anywhere, axis=1)
    own = movement / np.where(usual > 0, usual, 1.0)[:, None]
    directions, sizes, _ = np.linalg.svd(own, full_matrices=False)
    return np.asarray((np.abs(directions[:, sizes < STUCK]) > SOME_PART).any(axis=1))


def _movement(spec: ModelSpec, values: Floats) -> Floats:
    """∂/∂ρ (n_rho, n) of whitened values, but for their length: σ follows that."""
    white = spec.residual.whitened(values)
    length = np.linalg.norm(white)
    way, moved = white / length, spec.residual.changes(values) / length
    return np.asarray(moved - np.outer(moved @ way, way))
