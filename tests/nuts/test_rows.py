"""The collapsed density of models whose residual variances have parameters."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from likelihood.designs import make_data
from ranef.likelihood import RowDensity, cross_products, fixed_part
from ranef.priors import Normal, StudentT
from row_variances import ConstPower, strata, with_variance

VARIANCES = {
    "strata": lambda data: strata(data["f"]),
    "constant and power": lambda data: ConstPower(data["x"].to_numpy()),
}
PRIORS = {"default": None, "flat": "flat", "sampled": {"fixef[x]": StudentT(4, 0.5, 1.0), "fixef[z]": Normal(0.1, 0.4)}}


@pytest.mark.parametrize("priors", PRIORS)
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("formula", ["y ~ x + z + (x | a)", "y ~ x + z + (1 | a) + (1 | b)"])
def test_density_and_slopes(formula, variance, priors, dense):
    data = make_data(3).assign(x=lambda d: d["x"].abs() + 0.3)
    model = ranef.Model(formula, data, weights="w", offset=0.1 * data["z"].to_numpy())
    spec = with_variance(model.spec, VARIANCES[variance](data))
    own = model.priors(PRIORS[priors])
    start = spec.with_rho(spec.variance.start)
    products = cross_products(start)
    density = RowDensity(spec, products, fixed_part(start, products, own))
    theta = np.where(spec.on_diagonal, 0.7, 0.2) * np.ones(spec.n_theta)
    sampled = np.full(len(density.fixed.sampled), 0.4)

    def flat(theta):
        lambdas = products.scaling.inward(spec.lambdas(theta))
        return np.concatenate([lambdas[k].ravel() for k in products.order])

    def value(rho, sigma=0.8):
        return density.value_and_gradient(flat(theta), sigma, sampled, rho)[0]

    rng = np.random.default_rng(2)
    rho = spec.variance.start + 0.3 * rng.normal(size=len(spec.variance.names))
    other = rho + 0.2 * rng.normal(size=len(rho))
    if not len(sampled):
        ours = value(rho) - value(other, 1.1)
        wanted = [dense.log_density(spec.with_rho(r), own, theta, s) for r, s in ((rho, 0.8), (other, 1.1))]
        np.testing.assert_allclose(ours, wanted[0] - wanted[1], rtol=1e-8)
    found = density.value_and_gradient(flat(theta), 0.8, sampled, rho)
    differences = [(value(rho + h) - value(rho - h)) / 2e-5 for h in 1e-5 * np.eye(len(rho))]
    np.testing.assert_allclose(found[-len(rho) :], differences, rtol=1e-6, atol=1e-6)
    of_sigma = (value(rho, 0.8 + 1e-5) - value(rho, 0.8 - 1e-5)) / 2e-5
    np.testing.assert_allclose(found[1 + len(flat(theta))], of_sigma, rtol=1e-6)
