"""R² and intraclass correlations."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import oracle
import ranef
import registry
from _ranef.inference import estimated_parts
from _ranef.inference.derived_quantities import icc_draws, r2_draws, variance_part_draws
from likelihood.designs import SHAPES, make_data
from small_fits import fit_of, scattered_posterior

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
CASES = [c for c in registry.FITTED if "r2_icc" in registry.reference(c)]


@pytest.mark.parametrize("case", CASES)
def test_references(case):
    ref, fit = registry.reference(case), registry.fit(case)
    expected, parts, icc = ref["r2_icc"], fit._variance_parts, fit.icc()
    w = fit.spec.design.weights
    # variances move with θ, which two polished optima share to about 1e-7
    assert parts.fixed == pytest.approx(expected["var_fixed"], rel=1e-6, abs=1e-12)
    assert parts.random.sum() == pytest.approx(expected["var_random"], rel=1e-6, abs=1e-6 * parts.residual)
    # R's is that of a row of weight one, whose size is the unit of the weights
    residual = expected["var_residual"] * (1.0 if w is None else np.mean(1.0 / w))
    assert parts.residual == pytest.approx(residual, rel=1e-6)
    fixed, random = expected["var_fixed"], expected["var_random"]
    total = fixed + random + residual
    assert fit.r2()["marginal"] == pytest.approx(fixed / total, abs=1e-6)
    assert fit.r2()["conditional"] == pytest.approx((fixed + random) / total, abs=1e-6)
    assert icc["adjusted"].iloc[-1] == pytest.approx(random / (random + residual), abs=1e-6)
    assert icc["unadjusted"].iloc[-1] == pytest.approx(random / total, abs=1e-6)
    if w is None:
        names = ["R2_marginal", "R2_conditional", "ICC_adjusted", "ICC_unadjusted"]
        ours = [*fit.r2(), *icc[["adjusted", "unadjusted"]].iloc[-1]]
        np.testing.assert_allclose(ours, [expected[name] for name in names], atol=1e-6)
    assert icc["group"].tolist() == [*(g.name for g in fit.spec.groupings), "all"]
    np.testing.assert_allclose(icc.iloc[:-1, 1:].sum(), icc.iloc[-1, 1:].astype(float), rtol=1e-12)


PERFORMANCE = ["sleep_rs", "sleep_ri", "penicillin", "pastes_slash", "oats", "hsb_crosslevel", "zj_slope", "exam_rs"]


@pytest.mark.parametrize("case", PERFORMANCE)
def test_the_performance_package_where_it_means_the_same(case):
    """It differs where a slope has no intercept in its term, and with weights."""
    ref, fit = registry.reference(case), registry.fit(case)
    assert fit.icc()["adjusted"].iloc[-1] == pytest.approx(ref["icc"]["ICC_adjusted"], abs=1e-6)
    assert fit.icc()["unadjusted"].iloc[-1] == pytest.approx(ref["icc"]["ICC_unadjusted"], abs=1e-6)
    r2 = {key.split(".")[0]: value for key, value in ref["r2_nakagawa"].items()}
    assert fit.r2()["marginal"] == pytest.approx(r2["R2_marginal"], abs=1e-6)
    assert fit.r2()["conditional"] == pytest.approx(r2["R2_conditional"], abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_random_part_is_the_mean_diagonal_of_zdz(shape):
    fit = ranef.Model(f"y ~ {SHAPES[shape]}", make_data(4)).fit()
    m = fit.matrices
    parts = estimated_parts(fit)
    assert parts.random.sum() == pytest.approx((m.Z @ m.D @ m.Z.T).diagonal().mean(), rel=1e-10)


def test_boundary_and_nothing_to_explain():
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2")).fit()
    assert fit.r2().tolist() == [0.0, 0.0]
    assert (fit.icc()[["variance", "adjusted", "unadjusted"]] == 0).all(axis=None)
    flat = ranef.Model("Yield ~ 1", ranef.datasets.load("dyestuff2")).fit()
    assert flat.icc()["group"].tolist() == ["all"]
    assert flat.icc()["adjusted"].tolist() == [0.0]
    none = ranef.Model("y ~ 0 + (1 | a)", make_data(2)).fit()
    assert none.r2()["marginal"] == 0.0
    assert 0 < none.r2()["conditional"] < 1


def test_units_and_shifts_do_not_matter():
    data = make_data(6)
    fit = ranef.Model("y ~ x + (x | a) + (1 | b)", data).fit()
    other = ranef.Model("y ~ x + (x | a) + (1 | b)", data.assign(y=5 * data["y"] - 1e3, x=data["x"] / 100)).fit()
    np.testing.assert_allclose(fit.r2(), other.r2(), atol=1e-6)
    np.testing.assert_allclose(fit.icc()["adjusted"], other.icc()["adjusted"], atol=1e-6)


def test_an_offset_explains_nothing():
    data = make_data(6)
    known = 3.0 * data["z"].to_numpy()
    fit = ranef.Model("y ~ x + (1 | a)", data).fit()
    other = ranef.Model("y ~ x + (1 | a)", data.assign(y=data["y"] + known), offset=known).fit()
    np.testing.assert_allclose(fit.r2(), other.r2(), atol=1e-7)


def weighted(unit: float, rows: int = 96) -> ranef.Model:
    data = make_data(6, rows)
    w = np.exp(np.random.default_rng(3).uniform(-3, 3, len(data)))
    return ranef.Model("y ~ x + (x | a) + (1 | b)", data.assign(w=unit * w), weights="w")


def test_the_residual_variance_is_the_mean_over_rows():
    """The trace of V over the rows, from its definition, and R² and ICC as its parts."""
    fit = weighted(1.0).fit()
    m, n = fit.matrices, fit.spec.n_obs
    parts = fit._variance_parts
    assert parts.random.sum() + parts.residual == pytest.approx(np.trace(m.V.toarray()) / n, rel=1e-10)
    fixed = float(np.var(fit.fitted("none"), ddof=1))
    assert fit.r2()["marginal"] == pytest.approx(fixed / (fixed + np.trace(m.V.toarray()) / n), rel=1e-10)


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e4, 1e8])
def test_the_unit_of_the_weights_does_not_matter(unit):
    plain, other = weighted(1.0).fit(), weighted(unit).fit()
    np.testing.assert_allclose(other.r2(), plain.r2(), rtol=1e-7)
    np.testing.assert_allclose(other.icc()["adjusted"], plain.icc()["adjusted"], rtol=1e-7)
    assert other.sigma / np.sqrt(unit) == pytest.approx(plain.sigma, rel=1e-7)


def test_shares_of_draws_count_the_weights():
    """One draw, put at the estimates, has the shares of the estimates."""
    fit = weighted(1e4).fit()
    e = fit.estimates
    one = {"theta": e.theta[None, None], "sigma": np.full((1, 1), e.sigma), "beta": e.beta[None, None]}
    draws = SimpleNamespace(**one, extras={}, response=fit.spec.family)
    parts = variance_part_draws(fit.spec, draws)
    assert parts.residual[0, 0] == pytest.approx(fit._variance_parts.residual, rel=1e-12)
    np.testing.assert_allclose(r2_draws(fit.spec, draws).draws[0, 0], fit.r2(), rtol=1e-12)
    np.testing.assert_allclose(icc_draws(fit.spec, draws).draws[0, 0, :, 0], fit.icc()["adjusted"], rtol=1e-12)


# -- intervals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
        ("yield ~ nitro + (1 | Block/Variety)", "Oats"),
    ],
)
def test_delta_intervals_carry_the_covariance_of_all_parameters(formula, data):
    """Logits as a function of (β, θ, σ), written out, and differences of it."""
    fit = fit_of(formula, data)
    spec, X = fit.spec, fit.spec.design.X
    n = fit.spec.n_theta
    cov = np.zeros((spec.n_fixed + n + 1,) * 2)
    cov[: spec.n_fixed, : spec.n_fixed] = fit.vcov
    cov[spec.n_fixed :, spec.n_fixed :] = fit.vcov_theta()
    here = np.concatenate([fit.fixef, fit.theta, [fit.sigma]])

    def shares(v):
        beta, theta, sigma = v[: spec.n_fixed], v[spec.n_fixed : -1], v[-1]
        random = [
            np.mean([z @ lam @ lam.T @ z for z in g.Z]) * sigma**2
            for g, lam in zip(spec.groupings, spec.lambdas(theta), strict=True)
        ]
        fixed, all_of_it = np.var(X @ beta, ddof=1), sum(random)
        total = fixed + all_of_it + sigma**2
        adjusted = [*(r / (all_of_it + sigma**2) for r in random), all_of_it / (all_of_it + sigma**2)]
        r2 = [fixed / total, (fixed + all_of_it) / total]
        return np.array([*adjusted, *(r2 if spec.n_fixed > 1 else r2[1:])])

    slopes = oracle.jacobian(lambda v: np.log(shares(v) / (1 - shares(v))), here)
    half = 1.959964 * np.sqrt(np.diag(slopes @ cov @ slopes.T))
    logits = np.log(shares(here) / (1 - shares(here)))
    expected = 1 / (1 + np.exp(-(logits + np.multiply.outer([-1, 1], half))))
    icc, r2 = fit.icc("delta"), fit.r2("delta")
    own = r2 if spec.n_fixed > 1 else r2.iloc[1:]
    for k, end in enumerate(("lower", "upper")):
        np.testing.assert_allclose([*icc[f"adjusted_{end}"], *own[end]], expected[k], rtol=1e-5)
    if spec.n_fixed == 1:
        assert r2.loc["marginal"].tolist() == [0, 0, 0]


def test_bootstrap_intervals_are_percentiles_of_refits():
    fit = fit_of("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    seed = 3
    boot = fit.bootstrap(40, lambda own: [*own.r2(), *own.icc()["unadjusted"]], seed=seed).confint(0.9)
    r2, icc = fit.r2("bootstrap", 0.9, n=40, seed=seed), fit.icc("bootstrap", 0.9, n=40, seed=seed)
    for end in ("lower", "upper"):
        np.testing.assert_allclose([*r2[end], *icc[f"unadjusted_{end}"]], boot[end], rtol=1e-6)
    assert icc.columns.tolist()[2:5] == ["adjusted", "adjusted_lower", "adjusted_upper"]


def test_intervals_of_a_posterior_are_of_its_draws():
    fb = scattered_posterior()
    derived = fb.derive("icc").frame(0.9)
    found = fb.icc("eti", 0.9)
    assert found.columns.tolist() == fit_of(*PULP).icc("bootstrap", n=20, seed=1).columns.tolist()
    for kind in ("adjusted", "unadjusted"):
        own = derived[derived["kind"] == kind]
        np.testing.assert_allclose(found[[kind, f"{kind}_lower", f"{kind}_upper"]], own[["estimate", "lower", "upper"]])
    assert (fb.r2("hdi", 0.9)["lower"] <= fb.r2()).all()


def test_refused_intervals_of_shares():
    fit = fit_of(*PULP)
    with pytest.raises(ranef.DesignError, match="'bootstrap' or 'delta'"):
        fit.r2("profile")
    with pytest.raises(ranef.DesignError, match="'eti'"):
        scattered_posterior().icc("bootstrap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.SingularFitWarning)
        singular = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2")).fit()
    with pytest.raises(ranef.NotAvailableError, match="interval='bootstrap' has"):
        singular.icc("delta")
    assert singular.icc("bootstrap", n=100, seed=1)["adjusted_lower"].eq(0).all()
    data = ranef.datasets.load("Machines")
    strata = ranef.Model("score ~ Machine + (1 | Worker)", data, variance=ranef.VarIdent("Machine")).fit()
    with pytest.raises(ranef.NotAvailableError, match="statistic="):
        strata.r2("bootstrap")
