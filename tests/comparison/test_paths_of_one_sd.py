"""The grid of ratios and its half-way point."""

import numpy as np
import pytest

import oracle
import ranef
from _ranef.comparison import even_ratios, moved, pooling_base, pooling_sweep
from _ranef.comparison.paths_of_one_sd import half_way
from likelihood.designs import SHAPES, make_data
from oracle import dense


def test_the_grid_is_even_in_the_reliability_of_a_typical_level():
    """Pulp has 5 rows a level: λ = r²/(r² + 1/5), and every estimate moves in equal steps."""
    ratios = even_ratios(0.3, 11)
    assert ratios[0] == 0.0
    assert ratios[-1] == np.inf
    np.testing.assert_allclose(ratios[:-1] ** 2 / (ratios[:-1] ** 2 + 0.09), np.linspace(0, 0.9, 10))
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    found = pooling_sweep(pooling_base(model.likelihood(), np.array([0.8])), 0, 0, n=11)
    np.testing.assert_allclose(found.half, np.sqrt(1 / 5))
    np.testing.assert_allclose(found.position(found.ratios), np.linspace(0, 1, 11), atol=1e-12)
    np.testing.assert_allclose(found.reliability, np.repeat(np.linspace(0, 1, 11)[:, None], 4, axis=1), atol=1e-12)
    np.testing.assert_allclose(np.diff(found.b[:, :, 0], 2, axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["intercept", "nested", "crossed", "crossed slopes", "slope", "identical"])
def test_half_way(name):
    """The information about an effect z is zᵀV⁻¹z, with V of all but it, and the rest given that it is zero."""
    model = ranef.Model(f"y ~ {SHAPES[name]}", make_data(5), weights="w")
    spec, theta = model.spec, oracle.interior(model.spec, 3)
    base = pooling_base(model.likelihood(), theta)
    at = dense(spec, theta, "REML")
    for k, g in enumerate(spec.groupings):
        p = len(g.columns)
        D = at.D[k][:p, :p]
        for q in range(p):
            column = moved(spec, k, q)
            o, m = np.delete(np.arange(p), column.columns), column.columns
            rest = np.zeros((p, p))
            rest[np.ix_(o, o)] = D[np.ix_(o, o)] - D[np.ix_(o, m)] @ np.linalg.inv(D[np.ix_(m, m)]) @ D[np.ix_(m, o)]
            w = []
            for j in range(g.n_levels):
                Z = at.Z[k][:, j * p : (j + 1) * p]
                w.append(Z[:, q] @ np.linalg.solve(at.V - Z @ (D - rest) @ Z.T, Z[:, q]))
            found = half_way(base.information[k], base.own[k], spec.lambdas(theta)[k], column)
            np.testing.assert_allclose(found, 1 / np.sqrt(np.median(w)), rtol=1e-7)


@pytest.mark.parametrize("ratios", [[-1.0], [np.nan], [[1.0, 2.0]], [], "many", {}])
def test_ratios_are_checked(ratios):
    pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
    with pytest.raises(ranef.DesignError, match="from 0 to infinity"):
        pooled.path(ratios=ratios)
    with pytest.raises(ranef.DesignError, match="whole number"):
        pooled.path(n=1)
