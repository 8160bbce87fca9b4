"""Inference of generalised fits by the functions of Gaussian ones: R's numbers, dense truth, least squares' algebra."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference.held_parameter import generalised_objectives, held_parameters
from _ranef.inference.joint_hessian import joint_information
from _ranef.inference.prediction import PredictOptions, rows_for
from _ranef.spec import sdcor_arrays
from generalised import data_of, dense_laplace, fitted, log_density, reference

OURS = reference("generalised_inference")
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def ticks() -> pd.DataFrame:
    """Heights in hundreds, as R has them: its Hessian is by steps of one size."""
    return ranef.datasets.load("grouseticks").assign(cHEIGHT=lambda d: d["cHEIGHT"] / 100)


def fit_of(formula: str, data: pd.DataFrame, family: str, **options) -> ranef.GeneralisedFit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, data, family=family, **options).fit()


@pytest.fixture(scope="module")
def logit():
    return fitted("cbpp_laplace")


@pytest.fixture(scope="module")
def log():
    return fit_of("TICKS ~ YEAR * cHEIGHT + (1 | BROOD)", ticks(), "poisson")


@pytest.fixture(scope="module")
def size():
    return fit_of("TICKS ~ YEAR + (1 | BROOD)", ticks(), "negative binomial")


# -- marginal means ----------------------------------------------------------------------------------------------


def columns(theirs: dict, name: str) -> np.ndarray:
    """A column by any of emmeans' names for it."""
    names = {
        "estimate": ("emmean", "prob", "rate", "odds.ratio", "ratio", "estimate", "cHEIGHT.trend"),
        "std_error": ("SE",),
        "lower": ("asymp.LCL",),
        "upper": ("asymp.UCL",),
        "statistic": ("z.ratio",),
        "p_value": ("p.value",),
    }[name]
    return np.asarray(theirs[next(n for n in names if n in theirs)], dtype=float)


def same(frame: pd.DataFrame, theirs: dict, names: tuple[str, ...]) -> None:
    """The Hessian of R is by differences of what PIRLS gives to 1e-13."""
    for name in names:
        np.testing.assert_allclose(frame[name], columns(theirs, name), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(("which", "factor"), [("cbpp", "period"), ("grouseticks", "YEAR")])
def test_means_and_contrasts_are_those_of_emmeans_on_both_scales(which, factor, logit, log):
    fit, ref = {"cbpp": logit, "grouseticks": log}[which], OURS["emmeans"][which]
    ends, tests = ("estimate", "std_error", "lower", "upper"), ("statistic", "p_value")
    link, back = (ranef.emmeans(fit, factor, type=scale) for scale in ("link", "response"))
    same(link.frame, ref["means"], ends)
    same(back.frame, ref["response"], ends)
    same(link.contrasts(), ref["pairs"], (*ends, *tests))
    same(back.contrasts(), ref["ratios"], (*ends, *tests))
    assert back.contrasts()["contrast"].str.replace(" ", "").tolist() == [
        c.replace(" ", "") for c in ref["ratios"]["contrast"]
    ]


def test_slopes_are_those_of_emtrends(log):
    found, ref = ranef.emmeans(log, "YEAR", trend="cHEIGHT", type="response"), OURS["emmeans"]["trends"]
    same(found.frame, ref["means"], ("estimate", "std_error", "lower", "upper"))
    same(found.contrasts(), ref["pairs"], ("estimate", "std_error", "statistic", "p_value"))


def test_contrasts_that_are_no_differences_of_logarithms_stay_on_the_link(logit):
    means = ranef.emmeans(logit, "period", type="response")
    assert means.contrasts({"first": [1, 0, 0, 0]})["estimate"][0] == pytest.approx(logit.fixef["Intercept"])
    probit = fit_of(CBPP, data_of("cbpp_laplace"), "binomial", link="probit")
    found = ranef.emmeans(probit, "period", type="response")
    assert found.contrasts()["estimate"][0] == pytest.approx(-probit.fixef["period[T.2]"])
    assert np.allclose(found.frame["estimate"], scipy.stats.norm.cdf(ranef.emmeans(probit, "period").frame["estimate"]))


# -- profiles ----------------------------------------------------------------------------------------------------


def test_profiles_end_where_those_of_lme4_do(logit):
    """Within what lme4 interpolates."""
    ref, ours = OURS["profile"]["cbpp"], logit.confint(method="profile")
    np.testing.assert_allclose(ours.iloc[[4, 0, 1, 2, 3]], ref["ends"], atol=2e-4)


@pytest.mark.parametrize("name", ["coefficient", "sd", "dispersion"])
def test_gradients_of_profiles_are_those_of_the_criterion(name, size):
    held = next(one for one in held_parameters(size.spec)[0] if one.kind == name)
    (objective,) = generalised_objectives(size.spec, size.estimates, [held])
    x = objective.start + 0.1 * objective.sizes
    exact = objective(x).gradient
    for i, step in enumerate(1e-4 * np.diag(objective.sizes)):
        numeric = (objective(x + step).criterion - objective(x - step).criterion) / (2 * step[i])
        assert numeric == pytest.approx(exact[i], rel=1e-4, abs=1e-3)


def test_the_ends_of_a_profile_are_where_the_likelihood_ratio_says(size):
    """With the size held as a known number the criterion, minimised over the rest, is higher by a quantile of χ²."""
    low, high = size.confint(method="profile", parameters="size").loc["size"]
    held = next(one for one in held_parameters(size.spec)[0] if one.name == "size")
    (objective,) = generalised_objectives(size.spec, size.estimates, [held])
    free = np.arange(len(objective.start)) != objective.index
    for end in (low, high):
        x = objective.start.copy()
        x[objective.index] = np.log(end)

        def rest(part, x=x):
            whole = x.copy()
            whole[free] = part
            at = objective(whole)
            return at.criterion, at.gradient[free]

        found = scipy.optimize.minimize(rest, x[free], jac=True, method="BFGS", options={"gtol": 1e-7})
        assert found.fun - size.criterion == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-4)


def test_intervals_of_dispersions_are_by_the_curvature_of_their_logarithms(size):
    """That of the criterion with the rest at its best, by which Wald's interval is the parabola of a profile."""
    held = next(one for one in held_parameters(size.spec)[0] if one.name == "size")
    (objective,) = generalised_objectives(size.spec, size.estimates, [held])
    x, k = objective.start, objective.index
    steps = 1e-4 * objective.sizes
    hessian = np.array(
        [(objective(x + h).gradient - objective(x - h).gradient) / (2.0 * h.sum()) for h in np.diag(steps)]
    )
    sd = np.sqrt(2.0 * np.linalg.inv(0.5 * (hessian + hessian.T))[k, k])
    row, own = size.tidy().set_index("term").loc["size"], size.dispersion["size"]
    assert row["std_error"] == pytest.approx(own * sd, rel=1e-3)
    ends = own * np.exp(scipy.stats.norm.ppf([0.025, 0.975]) * sd)
    assert np.allclose(row[["lower", "upper"]].astype(float), ends, rtol=1e-3)
    assert np.allclose(size.confint(parameters="size"), ends, rtol=1e-3)
    assert np.allclose(
        size.parameters.set_index("parameter").loc["size", ["lower", "upper"]].astype(float), ends, rtol=1e-3
    )
    assert np.isnan(size.tidy(vcov="CR1").set_index("term")["std_error"]["size"])
    assert "size" not in size.confint(vcov="CR1").index


def test_profiles_do_not_depend_on_coding_or_order(logit):
    data = data_of("cbpp_laplace").sample(frac=1.0, random_state=1)
    again = fit_of(CBPP.replace("period", "C(period, contr.sum)"), data, "binomial")
    ours, others = (f.confint(method="profile", parameters="sd(Intercept | herd)") for f in (logit, again))
    np.testing.assert_allclose(ours, others, atol=1e-5)


# -- simulated responses -----------------------------------------------------------------------------------------


def test_bootstrap_is_the_same_whoever_makes_it_and_goes_on(logit, tmp_path):
    whole = logit.bootstrap(6, seed=1, checkpoint=tmp_path / "boot")
    kept = logit.bootstrap(6, seed=1, checkpoint=tmp_path / "boot")
    pd.testing.assert_frame_equal(whole.replicates, kept.replicates)
    assert whole.replicates.columns.tolist() == [*logit.fixef.index, "sd(Intercept | herd)"]
    one = logit.refit(logit.simulate(seed=np.random.SeedSequence(1).spawn(1)[0])[:, 0])
    assert np.allclose(whole.replicates.iloc[0], [*one.fixef, *one.theta], atol=1e-6)
    ends = logit.confint(method="bootstrap", n=6, seed=1)
    assert (ends["lower"] < ends["upper"]).all()


def test_a_bootstrap_counts_dispersions_and_refuses_residuals(size):
    assert size.bootstrap(3, seed=1).replicates["size"].gt(0).all()
    assert size.bootstrap(3, kind="cases", seed=1).failed == 0
    with pytest.raises(ranef.NotAvailableError, match="residual"):
        size.bootstrap(3, kind="residual")


def test_ratios_are_simulated_under_the_smaller_model(logit):
    small = fit_of(CBPP.replace("period", "1"), data_of("cbpp_laplace"), "binomial")
    found = ranef.anova(small, logit, test="bootstrap", nsim=8, seed=1)
    assert found["p"][1] == 0.0
    assert found["failed"][1] == 0
    with pytest.raises(ranef.NotAvailableError, match="degrees of freedom"):
        ranef.anova(small, logit, test="KR")


# -- tests of terms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["cbpp", "grouseticks"])
def test_deletions_are_those_of_drop1(which, logit, log):
    ours, ref = {"cbpp": logit, "grouseticks": log}[which].drop1(), OURS["drop1"][which]
    np.testing.assert_allclose(ours["aic"], ref["AIC"], atol=1e-5)
    np.testing.assert_allclose(ours["statistic"][1:], [float(v) for v in ref["LRT"][1:]], atol=5e-5)


def test_terms_are_tested_by_walds_chi_square(log):
    """Of the interaction, which no other term contains, by all types; of type II each given the other."""
    beta, V = log.fixef, log.vcov
    for kind in (1, 2, 3):
        own = [n for n in beta.index if ":" in n]
        expected = beta[own] @ np.linalg.solve(V.loc[own, own], beta[own])
        table = log.anova(kind).set_index("term")
        assert table.loc["YEAR:cHEIGHT", "statistic"] == pytest.approx(expected)
        assert table.loc["YEAR:cHEIGHT", "p"] == pytest.approx(scipy.stats.chi2.sf(expected, 2))
    coded = fit_of("TICKS ~ C(YEAR, contr.sum) * cHEIGHT + (1 | BROOD)", ticks(), "poisson")
    assert np.allclose(coded.anova()["statistic"], log.anova()["statistic"], rtol=1e-4)
    with pytest.raises(ranef.NotAvailableError, match="z and χ²"):
        log.test("cHEIGHT", ddf="satterthwaite")


def test_random_terms_are_tested_by_fits_without_them():
    data = ticks()
    fit = fit_of("TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)", data, "poisson")
    table = ranef.ranova(fit).set_index("term")
    for left, other in (("BROOD", "LOCATION"), ("LOCATION", "BROOD")):
        small = fit_of(f"TICKS ~ YEAR + (1 | {other})", data, "poisson")
        row = table.loc[f"(1 | {left})"]
        assert row["statistic"] == pytest.approx(small.criterion - fit.criterion, abs=1e-6)
        assert row["p_mixture"] == pytest.approx(0.5 * row["p"])


# -- robust covariances ------------------------------------------------------------------------------------------


def dense_scores(fit: ranef.GeneralisedFit, herds: list[int]) -> np.ndarray:
    """∂(−2 log L) of some herds alone in (θ, β) by differences: rows of others have no trials."""
    spec, n = fit.spec, fit.spec.n_theta
    x, codes, out = np.concatenate([fit.theta, fit.fixef]), spec.groupings[0].codes, []
    for c in herds:
        own = replace(spec, design=replace(spec.design, weights=spec.design.weights * (codes == c)))
        steps = 1e-3 * np.eye(len(x))
        ends = [[dense_laplace(own, (x + s * h)[:n], (x + s * h)[n:]) for s in (1, -1)] for h in steps]
        out.append([(a - b) / 2e-3 for a, b in ends])
    return np.array(out)


def test_scores_by_cluster_and_their_sandwich_are_those_of_dense_matrices(logit):
    herds, p = [0, 3, 7, 14], logit.spec.n_fixed
    dense = dense_scores(logit, herds)
    own = joint_information(logit.spec, logit.estimates)
    model, theta = own.problem.laplace, own.x[0]
    found, unit = own.at.scores(logit.spec.groupings[0].codes, 15), logit.theta.to_numpy()[0] / theta
    of_theta, of_beta = 2.0 * found.W[0][:, 0, 0] * theta / unit, model.outward_slope(found.beta.T).T
    scores = np.column_stack([of_theta, of_beta])
    assert np.allclose(scores[herds], dense, atol=2e-3)
    assert np.allclose(scores.sum(axis=0), 0.0, atol=1e-4)
    J = np.zeros((1 + p, 1 + p))  # to the coordinates of users
    J[0, 0], J[1:, 1:] = 1.0 / unit, model.inward(np.eye(p))
    H = J.T @ own.hessian @ J
    half = np.linalg.solve(H, scores.T)
    np.testing.assert_allclose(logit.vcov_robust("CR0"), (half @ half.T)[1:, 1:], rtol=1e-6)
    np.testing.assert_allclose(logit.vcov, 2 * np.linalg.inv(H)[1:, 1:], rtol=1e-4)
    assert np.allclose(logit.vcov_robust(), logit.vcov_robust("CR0") * 15 / 14)


def test_without_random_effects_it_is_that_of_a_generalised_linear_model():
    data = ticks()
    fit = fit_of("TICKS ~ YEAR + cHEIGHT", data, "poisson")
    X, mean = fit.spec.design.X, fit.fitted().to_numpy()
    scores = pd.DataFrame(X * (data["TICKS"].to_numpy() - mean)[:, None]).groupby(data["BROOD"].to_numpy()).sum()
    bread = np.linalg.inv(X.T @ (X * mean[:, None]))
    found = fit.vcov_robust("CR0", cluster=data["BROOD"].to_numpy())
    np.testing.assert_allclose(found, bread @ scores.T.to_numpy() @ scores.to_numpy() @ bread, rtol=1e-4)


def test_robust_tests_are_told_and_refused(logit):
    assert np.allclose(logit.tidy(vcov="CR1")["std_error"][:4], np.sqrt(np.diag(logit.vcov_robust("CR1"))))
    assert "CR1 clustered by herd" in str(logit.anova(vcov="CR1"))
    with pytest.raises(ranef.NotAvailableError, match="CR1"):
        logit.vcov_robust("CR2")
    with pytest.raises(ranef.NotAvailableError, match="quadrature"):
        fitted("cbpp_agq9").vcov_robust()


# -- shares of variance ------------------------------------------------------------------------------------------


def test_shares_of_variance_are_nakagawas(size):
    """The residual variance of a logarithm, with μ the mean of the response and v = 1/μ + 1/size."""
    mean, sd = ticks()["TICKS"].mean(), size.theta.to_numpy()[0]
    v = 1 / mean + 1 / size.dispersion["size"]
    parts = {"delta": v, "lognormal": np.log1p(v), "trigamma": scipy.special.polygamma(1, 1 / v)}
    for name, residual in parts.items():
        assert size.icc(approximation=name)["adjusted"][0] == pytest.approx(sd**2 / (sd**2 + residual))
    fixed = (size.spec.design.X @ size.fixef.to_numpy()).var(ddof=1)
    whole = fixed + sd**2 + parts["trigamma"]
    assert size.r2().tolist() == pytest.approx([fixed / whole, (fixed + sd**2) / whole])
    ends = size.r2("bootstrap", n=10, seed=1)
    assert (ends["lower"] < ends["upper"]).all()


def test_the_variance_of_the_logarithm_of_a_gamma_is_trigamma():
    """Drawn, where it is exact: the others are not."""
    data = ranef.datasets.load("sleepstudy")
    fit = fit_of("Reaction ~ Days + (1 | Subject)", data, "gamma")
    logs = np.log(fit.simulate(300, re="fitted", seed=1) / fit.fitted().to_numpy()[:, None])
    parts = fit.icc().set_index("group")
    residual = parts.loc["Subject", "variance"] * (1 / parts.loc["Subject", "adjusted"] - 1)
    assert logs.var() == pytest.approx(residual, rel=0.02)


# -- random effects ----------------------------------------------------------------------------------------------


def test_corrected_intervals_are_those_of_tmb(logit):
    """Of sdreport, in which modes move with all parameters."""
    found = logit.ranef(interval="corrected")["sd_corrected"]
    np.testing.assert_allclose(found, OURS["sdreport"]["cbpp"], rtol=1e-5)


def test_intervals_of_effects_count_more_and_more(logit):
    sds = {kind: logit.ranef(interval=kind).iloc[:, 4] for kind in ("conditional", "henderson", "corrected")}
    assert (sds["conditional"] < sds["henderson"]).all()
    assert (sds["conditional"] < sds["corrected"]).all()
    boot = logit.ranef(interval="bootstrap", n=12, seed=1)
    assert (boot["sd_bootstrap"] / sds["corrected"]).between(0.5, 1.5).all()
    assert boot["estimate"].between(boot["lower"], boot["upper"]).all()
    with pytest.raises(ranef.NotAvailableError, match="robust"):
        logit.ranef(interval="robust")


def test_influence_is_by_fits_without_each_level(logit):
    data = data_of("cbpp_laplace")
    found = logit.influence("herd")
    rest = fit_of(CBPP, data[data["herd"].astype(str) != "1"], "binomial")
    own = found.fixef[found.fixef["deleted"] == "1"]
    assert np.allclose(own["estimate"], rest.fixef, atol=1e-5)
    assert "sigma" not in found.deleted
    with pytest.raises(ranef.NotAvailableError, match="refit=False"):
        logit.influence("herd", refit=False)


# -- predictions and power ---------------------------------------------------------------------------------------


def test_corrected_intervals_of_means_are_those_of_tmb(logit):
    """Of predict(se.fit = TRUE), which counts that all parameters are estimated."""
    found = logit.predict(type="link", interval="confidence", uncertainty="corrected")
    np.testing.assert_allclose(found["sd_corrected"], OURS["sdreport"]["predict"], rtol=1e-5)
    half = scipy.stats.norm.ppf(0.975) * found["sd_corrected"]
    np.testing.assert_allclose(found["upper"] - found["estimate"], half)


def test_prediction_intervals_are_quantiles_of_responses():
    """Without random effects, and with many rows, those of Poisson; the share inside is at least what is asked for."""
    data = ranef.datasets.load("grouseticks")
    data = pd.concat([data] * 20, ignore_index=True)
    fit = fit_of("TICKS ~ YEAR", data, "poisson")
    new = pd.DataFrame({"YEAR": ["95", "96", "97"]})
    found, mean = fit.predict(new, interval="prediction", seed=1), fit.predict(new)
    for end, tail in (("lower", 0.025), ("upper", 0.975)):
        assert np.abs(found[end] - scipy.stats.poisson.ppf(tail, mean)).max() <= 1
    y = fit.simulate(20, seed=1)[:403]
    whole = fit.predict(data[:403], interval="prediction", seed=1)
    inside = (y >= whole["lower"].to_numpy()[:, None]) & (y <= whole["upper"].to_numpy()[:, None])
    assert 0.945 < inside.mean() < 0.995


def test_prediction_intervals_need_trials_and_responses(logit):
    new = {"period": ["1"], "herd": ["another"]}
    many, few = (logit.predict(new, interval="prediction", weights=w, seed=1) for w in (100, 5))
    assert (many["upper"] - many["lower"])[0] < (few["upper"] - few["lower"])[0]
    assert (few["upper"][0] * 5) % 1 == 0
    with pytest.raises(ranef.DesignError, match="trials"):
        logit.predict(new, interval="prediction")
    with pytest.raises(ranef.DesignError, match="no link"):
        logit.predict(new, interval="prediction", weights=5, type="link")


def test_power_is_the_share_of_walds_tests(logit):
    found = ranef.power(logit, "period[T.2]", 6, effect={"period[T.2]": -3.0}, extend={"herd": [15]}, seed=1)
    assert found.ddf is None
    assert found.frame["power"][0] == 1.0


# -- variances, leverages, classes -------------------------------------------------------------------------------


def test_errors_of_sds_and_correlations_are_those_of_the_joint_hessian():
    """By θ for the columns as written, whose slopes differences make."""
    data = ranef.datasets.load("sleepstudy")
    fit = fit_of("Reaction ~ Days + (Days | Subject)", data, "gamma")
    joint = joint_information(fit.spec, fit.estimates)
    n = joint.problem.n_theta

    def sdcor(x: np.ndarray) -> np.ndarray:
        values = sdcor_arrays(fit.spec, joint.problem.to_written(x), np.asarray(1.0))
        return np.array([values[name] for name in values])

    slopes = np.column_stack(
        [(sdcor(joint.x + h) - sdcor(joint.x - h)) / 2e-5 for h in 1e-5 * np.eye(len(joint.x))[:n]]
    )
    dense = np.sqrt(np.diag(slopes @ joint.covariance[:n, :n] @ slopes.T))
    assert np.allclose(fit.varcorr_se()["std_error"], dense, rtol=1e-4)
    assert np.allclose(np.sqrt(np.diag(fit.vcov_theta())), np.sqrt(np.diag(_written(joint, n))), rtol=1e-4)


def _written(joint, n: int) -> np.ndarray:
    """The covariance of θ for the columns as written, by differences."""
    to = joint.problem.to_written
    J = np.column_stack([(to(joint.x + h) - to(joint.x - h)) / 2e-6 for h in 1e-6 * np.eye(len(joint.x))[:n]])
    return J @ joint.covariance[:n, :n] @ J.T


def test_intervals_of_sds_are_by_logarithms_and_in_every_table(logit):
    (error,), (sd,) = logit.varcorr_se()["std_error"], logit.varcorr["sdcor"]
    ends = sd * np.exp(np.array([-1.0, 1.0]) * scipy.stats.norm.ppf(0.975) * error / sd)
    assert np.allclose(logit.confint().loc["sd(Intercept | herd)"], ends)
    row = logit.tidy().set_index("term").loc["sd(Intercept)"]
    assert np.allclose(row[["std_error", "lower", "upper"]].astype(float), [error, *ends])


def test_a_variance_of_zero_has_no_error_and_no_interval():
    data = pd.DataFrame({"y": [0, 1] * 20, "g": np.repeat(list("abcdefghij"), 4)})
    fit = fit_of("y ~ 1 + (1 | g)", data, "binomial")
    assert fit.status == "boundary"
    assert fit.varcorr_se()["note"].tolist() == ["on the boundary, or not determined"]
    assert fit.tidy()["lower"].isna().tolist() == [False, True]


def test_errors_by_quadrature_are_those_of_its_own_criterion(logit):
    """An sd is a multiple of the one θ."""
    fit = ranef.Model.of(logit).fit(nagq=9)
    joint = joint_information(fit.spec, fit.estimates)
    error = np.sqrt(joint.covariance[0, 0]) * fit.varcorr["sdcor"][0] / joint.x[0]
    assert fit.varcorr_se()["std_error"][0] == pytest.approx(error, rel=1e-5)
    assert error > 1.005 * logit.varcorr_se()["std_error"][0]


@pytest.mark.parametrize("which", ["logit", "log"])
def test_hat_values_and_the_conditional_aic_are_those_of_dense_matrices(which, logit, log):
    fit = {"logit": logit, "log": log}[which]
    m, p = fit.matrices, fit.spec.n_fixed
    C = np.hstack([m.Z @ m.Lambda.toarray(), m.X.to_numpy()])
    W = m.W.diagonal()
    prior = np.diag(np.append(np.ones(C.shape[1] - p), np.zeros(p)))
    hat = W * np.einsum("ij,jk,ik->i", C, np.linalg.inv(C.T @ (W[:, None] * C) + prior), C)
    assert np.allclose(fit.hatvalues(), hat, rtol=1e-8)
    density = log_density(fit.spec, fit.predict(type="link").to_numpy(), None).sum()
    assert fit.caic() == pytest.approx(-2.0 * density + 2.0 * hat.sum(), rel=1e-10)
    pearson = fit.residuals("pearson")
    assert np.allclose(fit.cooks_distance(), (pearson / (1 - hat)) ** 2 * hat / p)


@pytest.fixture(scope="module")
def classes():
    data = ranef.datasets.load("VerbAgg")
    return fit_of("resp ~ Anger + Gender + btype + (1 | id)", data, "ordinal")


def test_probabilities_are_those_of_emmeans_with_errors_by_the_joint_hessian(classes):
    """Clmm takes its Hessian by differences, and its standard errors are too small by 15 to 75 per cent here."""
    theirs = reference("generalised_designs")["classes"]
    rows = pd.DataFrame({"btype": theirs["btype"], "Gender": theirs["gender"]}).drop_duplicates()
    new = rows.assign(Anger=theirs["anger"], id="1")
    found = classes.predict(new, re="none", interval="confidence", uncertainty="corrected")
    assert np.allclose(found["estimate"], theirs["prob"], atol=1e-4)  # as far as clmm stops from the maximum
    assert found["class"].tolist()[:3] == ["no", "perhaps", "yes"]
    joint = joint_information(classes.spec, classes.estimates)
    X = rows_for(classes.spec, new, PredictOptions("none", "population", None, 0.95)).X

    def at(x: np.ndarray) -> np.ndarray:
        eta = X @ joint.problem.laplace.products.scaling.X @ x[1:-1]
        return classes.family.predicted(eta, {"gap2": np.exp(x[-1])}).ravel()

    J = np.column_stack([(at(joint.x + h) - at(joint.x - h)) / 2e-6 for h in 1e-6 * np.eye(len(joint.x))])
    assert np.allclose(found["sd_corrected"], np.sqrt(np.diag(J @ joint.covariance @ J.T)), rtol=1e-5)
    logit = scipy.special.logit(found["estimate"])
    half = scipy.stats.norm.ppf(0.975) * found["sd_corrected"] / (found["estimate"] * (1 - found["estimate"]))
    assert np.allclose(found["upper"], scipy.special.expit(logit + half))
    assert classes.predict(new, interval="confidence").shape == (18, 4)


def test_slopes_of_probabilities_are_exact(classes):
    family, own = classes.family, classes.dispersion.to_dict()
    eta, logs = np.array([-1.3, 0.4, 2.0]), np.log(list(own.values()))

    def at(x: np.ndarray) -> np.ndarray:
        return family.predicted(eta + x[0], dict(zip(own, np.exp(logs + x[1:]), strict=True)))

    steps = 1e-6 * np.eye(1 + len(logs))
    differences = np.stack([(at(h) - at(-h)) / 2e-6 for h in steps], axis=-1)
    assert np.allclose(family.predicted_slopes(eta, own), differences, atol=1e-9)


def test_classes_are_augmented(classes):
    frame = classes.augment()
    probabilities = frame.filter(like="fitted[")
    assert np.allclose(probabilities, classes.fitted())
    assert np.allclose(frame.filter(like="fixed[").sum(axis=1), 1.0)
    assert frame["resp"].tolist() == ranef.datasets.load("VerbAgg")["resp"].astype(str).tolist()


def test_residuals_of_classes_are_drawn_against_their_mean_place(classes):
    ax = classes.plot.residuals()
    places = ax.collections[0].get_offsets()[:, 0]
    assert np.all(np.isin(np.round(places, 9), np.round(classes.fitted().to_numpy() @ [0.0, 1.0, 2.0], 9)))


def test_means_of_classes_are_averaged_probabilities(classes):
    theirs = reference("generalised_designs")["classes"]
    cells = ranef.emmeans(classes, "btype * Gender", type="response", at={"Anger": [theirs["anger"]]})
    keys = pd.DataFrame({"btype": theirs["btype"], "Gender": theirs["gender"], "class": theirs["class"]})
    keys["class"] = keys["class"].map(dict(zip("123", classes.family.classes, strict=True)))
    own = cells.frame.assign(btype=cells.frame["btype"].astype(str), Gender=cells.frame["Gender"].astype(str))
    matched = keys.merge(own, on=list(keys))
    assert np.allclose(matched["estimate"], theirs["prob"], atol=1e-4)
    new = keys.drop_duplicates(["btype", "Gender"]).drop(columns="class").assign(Anger=theirs["anger"], id="1")
    alone = classes.predict(new, re="none", interval="confidence", uncertainty="corrected")
    assert np.allclose(matched["std_error"], alone["sd_corrected"], rtol=1e-6)
    means = ranef.emmeans(classes, "btype", type="response")
    averaged = own.groupby(["btype", "class"])["estimate"].mean()
    assert np.allclose(
        means.frame["estimate"], averaged[list(zip(means.frame["btype"], means.frame["class"], strict=True))]
    )
    assert np.allclose(means.frame.groupby("btype", observed=True)["estimate"].sum(), 1.0)
    differences = means.contrasts("treatment", adjust="none")
    assert differences["class"].tolist() == ["no", "no", "perhaps", "perhaps", "yes", "yes"]
    assert np.allclose(differences.groupby("contrast")["estimate"].sum(), 0.0)
    assert "prob" in str(means)
    assert "Averaged as probabilities" in str(means)


def test_new_responses_of_classes_are_classes(classes):
    """To the distribution of a class given that the linear predictor is normal, by quadrature."""
    new = ranef.datasets.load("VerbAgg")[:40]
    found = classes.predict(new, interval="prediction", level=0.5, seed=1)
    link = classes.predict(new, type="link", interval="confidence", uncertainty="fixef")
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    eta = link["estimate"].to_numpy()[:, None] + link["sd_given_theta"].to_numpy()[:, None] * nodes
    shares = np.einsum(
        "mgk,g->mk", classes.family.predicted(eta, classes.dispersion.to_dict()), weights / weights.sum()
    )
    for name, share in {"lower": 0.25, "estimate": 0.5, "upper": 0.75}.items():
        below = np.cumsum(shares, axis=1)
        clear = np.abs(below - share).min(axis=1) > 0.05
        expected = np.array(classes.family.classes)[(below < share).sum(axis=1)]
        assert clear.sum() > 10
        assert (found[name].to_numpy() == expected)[clear].all()


@pytest.mark.parametrize("which", ["logit", "log"])
def test_the_joint_covariance_is_the_inverse_hessian_of_rows_and_effects(which, logit, log):
    fit = {"logit": logit, "log": log}[which]
    m, p = fit.matrices, fit.spec.n_fixed
    XZ = np.hstack([m.X.to_numpy(), m.Z.toarray()])
    precision = np.zeros((XZ.shape[1],) * 2)
    precision[p:, p:] = np.linalg.inv(m.D.toarray())
    joint = fit.vcov_joint()
    assert np.allclose(joint, np.linalg.inv(XZ.T @ (m.W.diagonal()[:, None] * XZ) + precision), rtol=1e-7)
    assert list(joint.index) == [*fit.fixef.index, *m.Z_names]


def test_corrected_intervals_without_random_effects_are_walds():
    data = ranef.datasets.load("cbpp")
    fit = fit_of("cbind(incidence, size - incidence) ~ period", data, "binomial")
    both = [fit.predict(interval="confidence", uncertainty=kind) for kind in ("fixef", "corrected")]
    assert np.allclose(both[0][["lower", "upper"]], both[1][["lower", "upper"]], rtol=1e-5)
    assert "mixed" not in str(fit.summary())
    assert fit.engine == "ML"
