"""Residual variances with parameters of their own: dense algebra, differences, and nlme."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

import ranef
import registry
from _ranef.inference import variance_information, vcov_theta_frame
from _ranef.likelihood import Likelihood, cross_products, row_slopes
from _ranef.reml.row_variance import fit_rows
from _ranef.user import empirical_bayes
from likelihood.designs import make_data
from oracle import dense
from row_variances import ConstPower, Power, strata, with_variance

FORMULAS = ["y ~ x + (x | a)", "y ~ x + f + (1 | a) + (1 | b)", "y ~ x + (1 | a / c)", "y ~ x + diag(x | a)"]
VARIANCES = {
    "strata": lambda data: strata(data["f"]),
    "power": lambda data: Power(data["x"].to_numpy()),
    "constant and power": lambda data: ConstPower(data["x"].to_numpy()),
}

#: nlme's cases: formula of ours, and the variance
NLME = {
    "machines_varIdent": ("score ~ Machine + (1 | Worker/Machine)", lambda d: strata(d["Machine"])),
    "sleep_varIdent": ("Reaction ~ Days + (Days | Subject)", lambda d: strata(d["Phase"])),
    "hetero_D_varIdent": (
        "log(VarD) ~ log(Var2) + log(Var3) + Var4 + Var5 + (1 | Var6)",
        lambda d: strata(d["Var8"]),
    ),
    "hetero_D_varIdent_ml": (
        "log(VarD) ~ log(Var2) + log(Var3) + Var4 + Var5 + (1 | Var6)",
        lambda d: strata(d["Var8"]),
    ),
    "bodyweight_varPower": ("weight ~ Time * Diet + (Time | Rat)", lambda d: Power(d["Time"].to_numpy(float))),
    "sleep_varConstPower": ("Reaction ~ Days + (1 | Subject)", lambda d: ConstPower(d["Days"].to_numpy(float))),
    "orthodont_varIdent_rs_ml": (
        "distance ~ I(age - 11) * Sex + (I(age - 11) | Subject)",
        lambda d: strata(d["Sex"]),
    ),
}


def at(spec, rho, theta, method):
    own = spec.with_rho(rho)
    return Likelihood(own, cross_products(own), method).at(theta)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("formula", FORMULAS)
def test_slopes_are_differences_of_the_dense_criterion(formula, variance, method):
    data = make_data(3).assign(x=lambda d: d["x"].abs() + 0.3)
    spec = ranef.Model(formula, data, weights="w").spec
    spec = with_variance(spec, VARIANCES[variance](data))
    rng = np.random.default_rng(1)
    theta = np.where(spec.on_diagonal, 0.7, 0.2) * np.ones(spec.n_theta)
    rho = spec.variance.start + 0.3 * rng.normal(size=len(spec.variance.names))

    def criterion(values):
        return dense(spec.with_rho(values), theta, method).criterion

    here = at(spec, rho, theta, method)
    np.testing.assert_allclose(here.criterion, criterion(rho), rtol=1e-10)
    steps = 1e-5 * np.eye(len(rho))
    wanted = [(criterion(rho + h) - criterion(rho - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(row_slopes(here), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_the_optimum_is_that_of_a_search_over_all_parameters(method):
    data = make_data(5, n=120)
    spec = with_variance(ranef.Model("y ~ x + (1 | a)", data).spec, strata(data["f"]))
    found = fit_rows(spec, method)

    def criterion(values):
        return dense(spec.with_rho(values[1:]), np.abs(values[:1]), method).criterion

    starts = ([1.0, 0.0, 0.0], [0.3, 0.5, -0.5])
    searched = min(minimize(criterion, start, method="Nelder-Mead", options={"xatol": 1e-8}).fun for start in starts)
    assert found.estimates.criterion <= searched + 1e-7
    np.testing.assert_allclose(criterion([*found.estimates.theta, *found.spec.rho]), found.estimates.criterion)


@pytest.mark.parametrize("case", NLME)
def test_criteria_are_those_of_nlme(case):
    """nlme's, polished: criterion to 1e-8 relative, standard deviations and coefficients to 1e-5."""
    ref = json.loads((registry.FOLDER / f"{case}.json").read_text())
    formula, variance = NLME[case]
    data = ranef.datasets.load(ref["dataset"])
    spec = with_variance(ranef.Model(formula, data).spec, variance(data))
    found = fit_rows(spec, ref["method"])
    own = found.estimates
    assert own.criterion <= ref["criterion"] + 1e-8 * abs(ref["criterion"])
    np.testing.assert_allclose(own.criterion, ref["criterion"], rtol=1e-8)
    np.testing.assert_allclose(found.spec.residual.sds(own.sigma)[:10], ref["residual_sd_first10"], rtol=1e-5)
    np.testing.assert_allclose(own.beta, ref["fixef"]["estimate"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(own.vcov)), ref["fixef"]["se"], rtol=1e-5)


def test_the_first_stratum_may_be_any():
    data = make_data(7, n=120)
    spec = ranef.Model("y ~ x + (x | a)", data).spec
    renamed = data["f"].map({"p": "3", "q": "1", "r": "2"})
    fits = [fit_rows(with_variance(spec, strata(column))) for column in (data["f"], renamed)]
    first, second = (f.spec.residual.sds(f.estimates.sigma) for f in fits)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert abs(fits[0].estimates.criterion - fits[1].estimates.criterion) < 1e-8


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("variance", ["strata", "constant and power"])
def test_standard_errors_count_the_parameters_of_rows(variance, method):
    """The inverse of the dense deviance's second differences in (θ, ρ, σ)."""
    data = make_data(3).assign(x=lambda d: d["x"].abs() + 0.3)
    spec = with_variance(ranef.Model("y ~ x + (1 | a)", data).spec, VARIANCES[variance](data))
    found = fit_rows(spec, method)
    theta, sigma = found.estimates.theta, found.estimates.sigma
    at_optimum = Likelihood(found.spec, found.products, method).at(theta)
    frame = vcov_theta_frame(found.spec, variance_information(at_optimum, theta))
    assert list(frame) == [*spec.theta_names, *spec.variance.names, "sigma"]
    n_theta, start = len(theta), np.concatenate([theta, found.spec.rho, [sigma]])

    def deviance(values):
        own = spec.with_rho(values[n_theta:-1])
        return dense(own, values[:n_theta], method, values[-1]).criterion

    wanted = np.linalg.inv(0.5 * second_differences(deviance, start))
    np.testing.assert_allclose(frame.to_numpy(), wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())


def second_differences(function, at, step=1e-3):
    n = len(at)
    steps = step * np.maximum(np.abs(at), 0.1) * np.eye(n)
    out = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            total = sum(a * b * function(at + a * steps[i] + b * steps[j]) for a, b in signs)
            out[i, j] = total / (4 * steps[i, i] * steps[j, j])
    return out


def test_a_fit_knows_its_rows():
    """AIC counts ρ, Pearson residuals and simulated responses have the rows' own standard deviations."""
    ref = json.loads((registry.FOLDER / "machines_varIdent.json").read_text())
    data = ranef.datasets.load("Machines")
    formula, variance = NLME["machines_varIdent"]
    fit = empirical_bayes(with_variance(ranef.Model(formula, data).spec, variance(data)), "REML")
    assert fit.df == ref["df_logLik"]
    np.testing.assert_allclose(fit.aic, ref["AIC"], rtol=1e-8)
    np.testing.assert_allclose(fit.residuals("pearson").iloc[:10], ref["residuals_pearson"]["values"][:10], atol=1e-5)
    sims = fit.simulate(4000, re="fitted", seed=1)
    sds = fit.sigma / np.sqrt(fit.spec.residual.precision)
    np.testing.assert_allclose(sims.std(axis=1, ddof=1), sds, rtol=0.06)
    assert list(fit.vcov_theta()) == [*fit.spec.theta_names, "B", "C", "sigma"]
