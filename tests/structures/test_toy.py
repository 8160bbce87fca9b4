"""The seam of structures: one of a test, not linear in θ, is fitted as the package's own are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import ranef
from _ranef.structures import STRUCTURES
from oracle import dense
from structures.toy import ToySymmetry


def made():
    rng = np.random.default_rng(4)
    group, f = np.repeat(np.arange(30), 6), np.tile(np.arange(3), 60)
    D = 4.0 * (0.6 * np.ones((3, 3)) + 0.4 * np.eye(3))
    b = rng.multivariate_normal(np.zeros(3), D, 30)
    data = pd.DataFrame({"y": b[group, f] + f + rng.normal(size=180), "f": np.array(list("abc"))[f], "g": group})
    return ranef.Model("y ~ f + cs(0 + f | g)", data)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setitem(STRUCTURES, "cs", ToySymmetry)
    return made()


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_it_is_fitted_to_the_optimum_of_dense_algebra(model, method):
    fit = model.fit(method)
    spec = model.spec

    def value(theta):
        return dense(spec, theta, method, None).criterion

    assert fit.criterion == pytest.approx(value(fit.theta.to_numpy()), rel=1e-10)
    starts = ([1.0, 0.0], [3.0, 1.0])
    best = min(optimize.minimize(value, start, method="Nelder-Mead", tol=1e-9).fun for start in starts)
    assert fit.criterion <= best + 1e-7
    assert fit.status == "converged"
    assert list(fit.theta.index) == ["g.sd", "g.rho"]


def test_it_is_printed_predicted_and_compared(model):
    fit = model.fit()
    cov = fit.varcorr
    assert cov["sdcor"].iloc[:3].round(12).nunique() == 1
    assert cov["sdcor"].iloc[3:6].round(12).nunique() == 1
    assert 0.3 < cov["sdcor"].iloc[3] < 0.9
    assert "Corr" in str(fit.summary())
    assert "equally correlated" not in str(fit.equation().text)
    np.testing.assert_allclose(fit.predict(), fit.fitted())
    both = ranef.compare(fit, model.fit("ML"))
    assert len(both.random_effects) == 90
    assert np.isfinite(fit.refit(fit.simulate(3, seed=1)).criterion).all()


class Silent(ToySymmetry):
    """It does not say what its second parameter is."""

    shapes = ()


def test_samplers_refuse_a_structure_that_does_not_name_its_parameters(monkeypatch):
    monkeypatch.setitem(STRUCTURES, "cs", Silent)
    with pytest.raises(ranef.NotAvailableError, match=r"cs\(0 \+ f \| g\) cannot be sampled"):
        made().sample(10)
