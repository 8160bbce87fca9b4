"""Residual variances with parameters of their own: dense algebra, differences, and nlme."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import nlme_models
import ranef
from _ranef.inference import variance_information, vcov_theta_frame
from _ranef.likelihood import Likelihood, cross_products, row_slopes
from _ranef.reml import fit_structured
from likelihood.designs import make_data
from oracle import dense

FORMULAS = ["y ~ x + (x | a)", "y ~ x + f + (1 | a) + (1 | b)", "y ~ x + (1 | a / c)", "y ~ x + diag(x | a)"]
STRUCTURES = {
    "strata": (ranef.VarIdent("f"), None),
    "power": (ranef.VarPower("x"), None),
    "constant and power": (ranef.VarConstPower("x"), None),
    "strata and exponential": (ranef.VarIdent("f") * ranef.VarExp("x"), None),
    "AR(1)": (None, ranef.AR1(group="cell")),
    "CAR(1) in strata": (ranef.VarIdent("f"), ranef.CAR1("t", group="cell")),
    "compound symmetry": (None, ranef.CompSymm(group="cell")),
    "general": (None, ranef.Symm("place", group="cell")),
    "ARMA(2,1)": (None, ranef.ARMA(2, 1, group="cell")),
    "by distance": (ranef.VarPower("x"), ranef.Exponential(["t", "z"], group="cell", nugget=True)),
}


def data_of(seed, n=100):
    """Rows of a third or so of each level of a and b, at times and at places of four at the most."""
    data = make_data(seed, n).assign(x=lambda d: d["x"].abs() + 0.3)
    data["t"] = np.random.default_rng(seed).uniform(0, 3, n)
    data["cell"] = data["a"].astype(str) + "." + data["b"].astype(str) + "." + data["c"].astype(str)
    data["place"] = data.groupby("cell").cumcount()
    data["cell"] += "." + (data["place"] // 4).astype(str)
    data["place"] %= 4
    return data


def spec_of(formula, name, data, **others):
    variance, correlation = STRUCTURES[name]
    return ranef.Model(formula, data, variance=variance, correlation=correlation, **others).spec


def somewhere(spec, seed=1):
    rng = np.random.default_rng(seed)
    return spec.rho_start + 0.3 * rng.normal(size=len(spec.rho_names))


def at(spec, rho, theta, method):
    own = spec.with_rho(rho)
    return Likelihood(own, cross_products(own), method).at(theta)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("formula", FORMULAS)
def test_slopes_are_differences_of_the_dense_criterion(formula, name, method):
    spec = spec_of(formula, name, data_of(3), weights="w")
    theta = np.where(spec.on_diagonal, 0.7, 0.2) * np.ones(spec.n_theta)
    rho = somewhere(spec)

    def criterion(values):
        return dense(spec.with_rho(values), theta, method).criterion

    here = at(spec, rho, theta, method)
    np.testing.assert_allclose(here.criterion, criterion(rho), rtol=1e-10)
    steps = 1e-5 * np.eye(len(rho))
    wanted = [(criterion(rho + h) - criterion(rho - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(row_slopes(here), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", ["strata", "AR(1)", "compound symmetry", "CAR(1) in strata"])
def test_the_optimum_is_that_of_a_search_over_all_parameters(name, method):
    spec = spec_of("y ~ x + (1 | a)", name, data_of(5, n=120))
    found = fit_structured(spec, method)

    def criterion(values):
        try:
            return dense(spec.with_rho(values[1:]), np.abs(values[:1]), method).criterion
        except np.linalg.LinAlgError:
            return np.inf

    starts = ([1.0, *spec.rho_start], [0.3, *(spec.rho_start + 0.5)])
    options = {"xatol": 1e-8, "maxiter": 2000}
    searched = min(minimize(criterion, start, method="Nelder-Mead", options=options).fun for start in starts)
    assert found.estimates.criterion <= searched + 1e-7
    np.testing.assert_allclose(criterion([*found.estimates.theta, *found.spec.rho]), found.estimates.criterion)


@pytest.mark.parametrize("case", [case for case in nlme_models.CASES if case not in nlme_models.APART])
def test_estimates_are_those_of_nlme(case):
    """nlme's, polished: criterion to 1e-8 relative, standard deviations, parameters and coefficients to 1e-5."""
    ref, fit = nlme_models.reference(case), nlme_models.fit(case)
    assert fit.criterion <= ref["criterion"] + 1e-8 * abs(ref["criterion"])
    np.testing.assert_allclose(fit.criterion, ref["criterion"], rtol=1e-8)
    assert fit.df == ref["df_logLik"]
    order = np.argsort(np.argsort([*map(str, ref["fixef"]["names"])]))  # names of ours differ, not their order
    assert len(order) == len(fit.fixef)
    np.testing.assert_allclose(fit.fixef, ref["fixef"]["estimate"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)), ref["fixef"]["se"], rtol=1e-5)
    told = fit.spec.residual.told()
    if strata := [part for part in told if part.sds]:  # nlme's first stratum is that of the first row
        sds = dict(zip(ref["residual_variance"]["strata"], ref["residual_variance"]["sd"], strict=True))
        ours = dict(zip(strata[0].names, fit.sigma * np.array(strata[0].values), strict=True))
        assert ours == pytest.approx({k.replace("*", ":"): sd for k, sd in sds.items()}, rel=1e-5)
    found = [v for part in told if not part.sds for v in part.values]
    np.testing.assert_allclose(
        found, nlme_models.natural(ref)[-len(found) or None :][: len(found)], rtol=1e-4, atol=1e-9
    )
    pearson = ref["residuals_pearson"]
    shown = pearson.get("values", pearson.get("first"))
    np.testing.assert_allclose(fit.residuals("pearson").iloc[: len(shown)], shown, atol=1e-4)


def test_a_stratum_whose_variance_goes_to_zero_ends_as_in_nlme():
    """The criterion falls towards a limit: where a descent ends on the way is arbitrary, but not where it leads."""
    ref, fit = nlme_models.reference("irrigation_varIdent"), nlme_models.fit("irrigation_varIdent")
    np.testing.assert_allclose(fit.criterion, ref["criterion"], rtol=1e-7)
    assert fit.criterion <= ref["criterion"] * (1 + 1e-8)
    first, second = fit.sigma * np.array(fit.spec.residual.told()[0].values)
    assert first == pytest.approx(ref["residual_variance"]["sd"][0], rel=1e-5)
    assert second < 1e-3 * first
    assert fit.status == "boundary"
    assert "log ratio(v2) of ranef.VarIdent('variety') has come to an edge" in fit.optimizer.message


def test_the_first_stratum_may_be_any():
    data = make_data(7, n=120)
    renamed = data.assign(f=data["f"].map({"p": "3", "q": "1", "r": "2"}))
    fits = [fit_structured(spec_of("y ~ x + (x | a)", "strata", d)) for d in (data, renamed)]
    first, second = (f.spec.residual.sds(f.estimates.sigma) for f in fits)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert abs(fits[0].estimates.criterion - fits[1].estimates.criterion) < 1e-8


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", ["strata", "constant and power", "AR(1)", "compound symmetry"])
def test_standard_errors_count_the_parameters_of_rows(name, method):
    """The inverse of the dense deviance's second differences in (θ, ρ, σ)."""
    spec = spec_of("y ~ x + (1 | a)", name, data_of(3, 60))
    found = fit_structured(spec, method)
    theta, sigma = found.estimates.theta, found.estimates.sigma
    at_optimum = Likelihood(found.spec, found.products, method).at(theta)
    frame = vcov_theta_frame(found.spec, variance_information(at_optimum, theta))
    assert list(frame) == [*spec.theta_names, *spec.rho_names, "sigma"]
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
    """AIC counts ρ, and simulated responses have the rows' own standard deviations."""
    ref, fit = nlme_models.reference("machines_varIdent"), nlme_models.fit("machines_varIdent")
    np.testing.assert_allclose(fit.aic, ref["AIC"], rtol=1e-8)
    sims = fit.simulate(4000, re="fitted", seed=1)
    np.testing.assert_allclose(sims.std(axis=1, ddof=1), fit.spec.residual.sds(fit.sigma), rtol=0.06)
    assert list(fit.vcov_theta()) == [*fit.spec.theta_names, "log ratio(B)", "log ratio(C)", "sigma"]
