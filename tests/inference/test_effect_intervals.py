"""Intervals of random effects, each against what it is made of."""

import dataclasses
import warnings

import numpy as np
import pytest
import scipy

import oracle
import ranef
from _ranef.inference import EFFECT_INTERVALS, robust_critical_value
from _ranef.inference.estimate_draws import estimate_draws, mixture_quantile
from _ranef.inference.resampling import make_resampling
from registry import CASES, model, reference

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def fitted(formula, name, method="REML", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, ranef.datasets.load(name), **options).fit(method)


HENDERSON = [c for c in CASES if "values" in reference(c).get("mme_ranef_se", {}) and not reference(c)["singular"]][:8]


@pytest.mark.parametrize("case", HENDERSON)
def test_hendersons_are_of_the_mixed_model_equations(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = model(case).fit("REML" if reference(case)["REML"] else "ML")
    found = fit.ranef(interval="henderson")["sd_given_theta"]
    np.testing.assert_allclose(np.sort(found), np.sort(reference(case)["mme_ranef_se"]["values"]), rtol=1e-4)


@pytest.mark.parametrize(
    ("formula", "data", "options"),
    [
        (*PULP, {}),
        (*SLEEP, {}),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", {}),
        ("score ~ Machine + cs(0 + Machine | Worker)", "Machines", {}),
        ("bright ~ 1 + (1 | operator)", "pulp", {"sigma": 0.3}),
    ],
)
def test_corrected_is_the_delta_method(formula, data, options):
    """Slopes of the effects in θ by differences, and the covariance of θ̂ that the fit tells."""
    fit = fitted(formula, data, **options)
    theta = fit.theta.to_numpy()
    names = list(fit.theta.index)
    cov = fit.vcov_theta().loc[names, names].to_numpy()
    steps = 1e-5 * np.maximum(np.abs(theta), 0.1)

    def effects(at):
        return np.concatenate([b.ravel() for b in fit.likelihood.at(at).effects])

    J = np.array([(effects(theta + h) - effects(theta - h)) / (2 * h.sum()) for h in np.diag(steps)]).T
    expected = fit.ranef(interval="henderson")["sd_given_theta"] ** 2 + 2 * np.einsum("ia,ab,ib->i", J, cov, J)
    np.testing.assert_allclose(fit.ranef(interval="corrected")["sd_corrected"] ** 2, expected, rtol=1e-4)


def test_corrected_counts_parameters_of_residuals():
    fit = fitted("score ~ Machine + (1 | Worker)", "Machines", variance=ranef.VarIdent("Machine"))
    corrected, henderson = fit.ranef(interval="corrected"), fit.ranef(interval="henderson")
    assert (corrected["sd_corrected"] > henderson["sd_given_theta"]).all()


def test_each_takes_less_as_known():
    fit = fitted(*PULP)
    widths = [np.ptp(fit.ranef(interval=k)[["lower", "upper"]].to_numpy(), axis=1) for k in list(EFFECT_INTERVALS)[:3]]
    assert (np.diff(widths, axis=0) > 0).all()
    for kind, column in EFFECT_INTERVALS.items():
        frame = fit.ranef(interval=kind, seed=1)
        assert frame.columns.tolist() == ["group", "level", "term", "estimate", column, "lower", "upper"]
        np.testing.assert_array_equal(frame["estimate"], fit.ranef()["estimate"])


def test_bootstrap_is_a_mixture_over_refits():
    fit = fitted(*PULP)
    one, two = (fit.ranef(interval="bootstrap", n=50, seed=s) for s in (1, 1))
    np.testing.assert_array_equal(one["lower"], two["lower"])
    wide = fit.ranef("operator", 0.99, "bootstrap", n=50, seed=1)
    assert (wide["lower"] < one["lower"]).all()
    variances = []
    drawn = estimate_draws(fit.likelihood, fit.estimates, 50, 1)
    for theta, sigma in zip(drawn.theta, drawn.sigma, strict=True):
        at = oracle.dense(fit.spec, theta, "REML", sigma)
        variances.append((at.b[0].ravel(), np.diag(at.cov_prediction[0])))
    means, own = np.array(variances).transpose(1, 0, 2)
    np.testing.assert_allclose(one["sd_bootstrap"], np.sqrt(own.mean(axis=0) + means.var(axis=0)), rtol=1e-6)


@pytest.mark.parametrize(
    ("formula", "data"),
    [PULP, SLEEP, ("Yield ~ 1 + (1 | Batch)", "Dyestuff2"), ("score ~ Machine + cs(0 + Machine | Worker)", "Machines")],
)
def test_its_estimates_minimise_the_penalized_criterion(formula, data):
    """The criterion less log|D|, by a search that knows no derivatives, for the first response that is simulated."""
    fit = fitted(formula, data)

    def estimated(fit):
        def penalized(theta):
            roots = [t.structure.root(theta[t.theta]) for t in fit.spec.terms]
            return fit.likelihood.at(theta).criterion - 2.0 * sum(np.linalg.slogdet(lam)[1] for lam in roots)

        start = fit.estimates.theta + 0.3 * fit.spec.on_diagonal
        options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 5000, "maxfev": 5000}
        theta = scipy.optimize.minimize(penalized, start, method="Nelder-Mead", options=options).x
        return theta, fit.likelihood.at(theta).sigma

    theta, sigma = estimated(fit)
    drawn = make_resampling(fit.spec, dataclasses.replace(fit.estimates, theta=theta, sigma=sigma), "parametric", "new")
    seed = np.random.SeedSequence(3).spawn(1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        again = fit.refit(drawn.response(np.random.default_rng(seed)))
    theta, sigma = estimated(again)
    found = estimate_draws(fit.likelihood, fit.estimates, 10, 3)
    np.testing.assert_allclose(found.theta[0], theta, atol=2e-4 * np.abs(theta).max())
    np.testing.assert_allclose(found.sigma[0], sigma, rtol=1e-4)


def test_a_variance_of_zero_has_intervals():
    """Dyestuff2: every BLUP is zero, and lme4's condVar too; the bootstrap knows that the variance may not be."""
    fit = fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    found = fit.ranef(interval="bootstrap", seed=1)
    assert (fit.ranef()["sd"] == 0).all()
    assert ((found["lower"] < 0) & (found["upper"] > 0)).all()


def test_too_few_levels_for_a_bootstrap():
    """Of two the penalized criterion falls without end; three have a minimum."""
    data = {"y": [1.0, 2.0, 5.0, 3.0], "g": ["a", "a", "b", "b"]}
    three = {"y": [*data["y"], 1.5, 2.0], "g": [*data["g"], "c", "c"]}
    assert np.isfinite(ranef.Model("y ~ 1 + (1 | g)", three).fit().ranef(interval="bootstrap", seed=1)["upper"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = ranef.Model("y ~ 1 + (1 | g)", data).fit()
    with pytest.raises(ranef.NotAvailableError, match="too few levels"):
        fit.ranef(interval="bootstrap", seed=1)


def test_quantiles_of_a_mixture():
    rng = np.random.default_rng(1)
    means, sds = rng.normal(size=(30, 2)), rng.uniform(0.1, 1.0, (30, 2))
    sds[0] = 0.0
    q = mixture_quantile(means, sds, 0.9)
    below = scipy.stats.norm.cdf(q, means[1:], sds[1:]).sum(axis=0) + (means[0] < q)
    np.testing.assert_allclose(below / 30, 0.9, atol=1e-9)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("m2", [0.0, 0.3, 1.0, 4.0, 30.0])
def test_the_critical_value_is_of_the_worst_distribution(m2, level):
    """The supremum over distributions of the squared bias as a linear programme on a fine grid."""
    chi = robust_critical_value(m2, level)
    t = np.linspace(0, chi + 12, 6000) ** 2
    missed = scipy.stats.norm.cdf(np.sqrt(t) - chi) + scipy.stats.norm.cdf(-np.sqrt(t) - chi)
    worst = scipy.optimize.linprog(-missed, A_eq=np.array([np.ones_like(t), t]), b_eq=[1.0, m2])
    assert -worst.fun == pytest.approx(1 - level, abs=2e-5)


def test_robust_is_cva_times_the_error_of_the_shrunken_estimate():
    fit = fitted("travel ~ 1 + (1 | Rail)", "Rail")
    tau, sigma = fit.varcorr["sdcor"]
    s2 = sigma**2 / 3
    w = tau**2 / (tau**2 + s2)
    frame = fit.ranef(interval="robust")
    np.testing.assert_allclose(frame["sd_given_effect"], w * np.sqrt(s2), rtol=1e-6)
    half = robust_critical_value(s2 / tau**2) * w * np.sqrt(s2)
    np.testing.assert_allclose(frame["upper"] - frame["estimate"], half, rtol=1e-6)


def test_at_zero_variance():
    fit = fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    for kind in ("conditional", "henderson", "corrected", "robust"):
        assert (fit.ranef(interval=kind)[["lower", "upper"]] == 0).all().all()
    assert (fit.ranef(interval="bootstrap", seed=1)["upper"] > 0).all()


def test_what_cannot_be_asked_says_so():
    fit = fitted(*SLEEP)
    with pytest.raises(ranef.NotAvailableError, match="one effect in each level"):
        fit.ranef(interval="robust")
    with pytest.raises(ranef.DesignError, match="'conditional', 'henderson', 'corrected', 'bootstrap' or 'robust'"):
        fit.ranef(interval="credible")
    structured = fitted("score ~ Machine + (1 | Worker)", "Machines", variance=ranef.VarIdent("Machine"))
    with pytest.raises(ranef.NotAvailableError, match="'corrected' is"):
        structured.ranef(interval="bootstrap")


@pytest.mark.parametrize("kind", EFFECT_INTERVALS)
def test_none_of_no_effects(kind):
    data, given = ranef.datasets.load("Orthodont"), ranef.CompSymm(group="Subject")
    fit = ranef.Model("distance ~ age", data, correlation=given).fit()
    if kind == "bootstrap":
        with pytest.raises(ranef.NotAvailableError, match="structured residuals"):
            fit.ranef(interval=kind)
    else:
        assert fit.ranef(interval=kind).empty
