"""Derived quantities, diagnostics in words and predictive draws, from draws that are made up: any must satisfy them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from _ranef.inference.derived_quantities import DERIVED, shrinkage_draws
from _ranef.inference.posterior_summary import MAX_TREE_DEPTH
from _ranef.results import PosteriorDraws
from _ranef.user import PosteriorFit
from oracle import dense

SLEEP = "Reaction ~ Days + (Days | Subject)"


def made_up(formula, data, chains=2, draws=40, seed=1, **changes):
    """Draws round the REML estimates; independent, so that no diagnostic complains of them."""
    model = ranef.Model(formula, data)
    eb, rng = model.fit(), np.random.default_rng(seed)

    def around(value, spread):
        return np.asarray(value) + spread * rng.standard_normal((chains, draws, *np.shape(value)))

    record = {
        "theta": np.abs(around(eb.estimates.theta, 0.2)),
        "sigma": np.abs(around(eb.sigma, 0.05 * eb.sigma)),
        "beta": around(eb.estimates.beta, 1.0),
        "b": tuple(around(m.values, 0.5 * eb.sigma) for m in eb.estimates.modes),
        "sample_stats": {
            "diverging": np.zeros((chains, draws), dtype=bool),
            "n_steps": np.full((chains, draws), 7),
            "tree_depth": np.full((chains, draws), 3),
            "energy": rng.standard_normal((chains, draws)),
        },
    }
    rest = {"parameterization": "marginal", "priors": model.priors(), "seed": 1, "warmup": 0, "seconds": 0.0}
    return PosteriorFit(eb.spec, PosteriorDraws(**(record | rest | {"complete": True} | changes)))


@pytest.fixture(scope="module")
def sleep():
    return made_up(SLEEP, ranef.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def pastes():
    return made_up("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("pastes"), draws=20)


def changed(fit, **changes):
    return replace(fit, draws=replace(fit.draws, **changes))


# -- shares of variance --------------------------------------------------------------------------------------------


def test_icc_and_r2_are_those_of_an_empirical_bayes_fit_at_the_same_values():
    """A posterior concentrated at the estimates answers as the estimates do."""
    data = ranef.datasets.load("sleepstudy")
    eb = ranef.Model(SLEEP, data).fit()
    at = eb.estimates

    def repeated(value):
        return np.broadcast_to(value, (2, 5, *np.shape(value))).copy()

    b = tuple(repeated(m.values) for m in at.modes)
    fit = changed(made_up(SLEEP, data), theta=repeated(at.theta), sigma=repeated(at.sigma), beta=repeated(at.beta), b=b)
    np.testing.assert_allclose(fit.r2(), eb.r2(), rtol=1e-10)
    assert fit.r2().index.tolist() == eb.r2().index.tolist()
    theirs = eb.icc()
    assert fit.icc()["group"].tolist() == theirs["group"].tolist()
    for column in ("variance", "adjusted", "unadjusted"):
        np.testing.assert_allclose(fit.icc()[column], theirs[column], rtol=1e-10)


def test_shares_draw_by_draw(sleep):
    """From their definition, row by row."""
    spec, draws = sleep.spec, sleep.draws
    c, d = 1, 13
    fixed = np.var(spec.design.X @ draws.beta[c, d], ddof=1)
    lam = spec.lambdas(draws.theta[c, d])[0]
    Z, Sigma, s2 = spec.groupings[0].Z, draws.sigma[c, d] ** 2 * lam @ lam.T, draws.sigma[c, d] ** 2
    random = np.mean([z @ Sigma @ z for z in Z])
    total = fixed + random + s2
    np.testing.assert_allclose(sleep.derive("r2").draws[c, d], [fixed / total, (fixed + random) / total])
    np.testing.assert_allclose(sleep.derive("icc").draws[c, d, 0], [random / (random + s2), random / total])


def test_student_effects_have_a_larger_variance(sleep):
    nu = np.full(sleep.draws.sigma.shape, 4.0)
    student = changed(sleep, extras={"nu_Subject": nu})
    assert student.icc()["variance"][0] == pytest.approx(2.0 * sleep.icc()["variance"][0])


def test_with_a_known_sigma_the_residual_variance_is_the_mean_of_the_rows():
    se = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    data = pd.DataFrame({"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "w": 1 / se**2, "school": list("ABCDEFGH")})
    model = ranef.Model("y ~ 1 + (1 | school)", data, weights="w", sigma=1)
    eb, fb = model.fit(), model.sample(seed=1, draws=200, sampler="nutpie", progress=False)
    tau2 = fb.draws.theta[..., 0] ** 2
    assert fb.icc()["adjusted"][0] == pytest.approx((tau2 / (tau2 + np.mean(se**2))).mean(), rel=1e-6)
    variance = eb.varcorr["vcov"][0]
    assert eb.icc()["adjusted"][0] == pytest.approx(variance / (variance + np.mean(se**2)))


@pytest.mark.parametrize("settings", [{"draws": 50}, {"draws": 2000, "chains": 1}, {"draws": 4, "warmup": 1}])
def test_a_run_that_is_too_small_is_not_ok(sleep, settings):
    fit = ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).sample(
        seed=1, sampler="nutpie", progress=False, **settings
    )
    assert not fit.ok


def test_a_student_response_has_a_larger_residual_variance(sleep):
    nu = np.full(sleep.draws.sigma.shape, 4.0)
    nu[0] = 1.5
    fit = changed(sleep, family="student", extras={"nu": nu})
    icc, plain = fit.derive("icc").draws[..., 0, 0], sleep.derive("icc").draws[..., 0, 0]
    np.testing.assert_allclose(1 / icc[1] - 1, 2.0 * (1 / plain[1] - 1))  # ν/(ν − 2) = 2
    assert (icc[0] == 0).all()  # infinite variance


# -- shrinkage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sleep", "pastes"])
def test_shrinkage_is_one_minus_conditional_over_prior_variance(request, name):
    """The conditional covariance from V built whole."""
    fit = request.getfixturevalue(name)
    for k, g in enumerate(fit.spec.groupings):
        found = fit.derive("shrinkage", group=g.name)
        assert found.dims == ("level", "term")
        assert found.coords["level"] == [str(level) for level in g.levels]
        for c, d in ((0, 3), (1, 17)):
            at = dense(fit.spec, fit.draws.theta[c, d], "ML", fit.draws.sigma[c, d])
            prior = fit.draws.sigma[c, d] ** 2 * np.diag(at.D[k])
            expected = 1 - np.diag(at.cov_b[k]) / prior
            np.testing.assert_allclose(found.draws[c, d].ravel(), expected, rtol=1e-8)


def test_shrinkage_of_one_intercept_is_the_textbooks():
    fit = made_up("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    theta2 = fit.draws.theta[..., 0] ** 2
    expected = 5 * theta2 / (5 * theta2 + 1)
    found = fit.derive("shrinkage").draws[..., 0]
    np.testing.assert_allclose(found, np.repeat(expected[..., None], 4, axis=2), rtol=1e-10)
    zero = changed(fit, theta=np.zeros_like(fit.draws.theta))
    assert (zero.derive("shrinkage").draws == 0).all()


def test_shrinkage_in_blocks(sleep, monkeypatch):
    whole = sleep.derive("shrinkage").draws
    monkeypatch.setattr("_ranef.likelihood.effects_given_draws.BLOCK_ENTRIES", 300)
    np.testing.assert_allclose(shrinkage_draws(sleep.spec, sleep.draws).draws, whole, rtol=1e-13)


# -- contrasts, ranks, parameters ----------------------------------------------------------------------------------


def test_contrasts(sleep):
    b, levels = sleep.draws.b[0], list(sleep.spec.groupings[0].levels)
    every = sleep.derive("contrast")
    assert every.draws.shape == (2, 40, 17, 2)
    np.testing.assert_array_equal(every.draws[:, :, 4], b[:, :, 5] - b[:, :, 0])
    two = sleep.derive("contrast", levels=("335", "309"))
    assert two.coords["contrast"] == ["309 - 335"]
    np.testing.assert_array_equal(two.draws[:, :, 0], b[:, :, levels.index("309")] - b[:, :, levels.index("335")])


def test_ranks(sleep):
    b = sleep.draws.b[0]
    ranks = sleep.derive("rank")
    np.testing.assert_array_equal(ranks.draws, stats.rankdata(-b, axis=2))
    np.testing.assert_array_equal(sleep.derive("rank", largest=False).draws, stats.rankdata(b, axis=2))
    frame = ranks.frame()
    assert frame.columns.tolist() == ["level", "term", "estimate", "sd", "lower", "upper", "rhat", "ess", "p_best"]
    best = frame.set_index(["level", "term"])["p_best"]
    assert best.groupby("term").sum().tolist() == pytest.approx([1.0, 1.0])
    assert best["337", "Days"] == np.mean(b[..., 1].argmax(axis=2) == list(sleep.spec.groupings[0].levels).index("337"))


def test_every_parameter_by_the_name_of_confint(sleep):
    for name in sleep.confint().index:
        derived = sleep.derive(name)
        frame = derived.frame(0.9)
        assert frame[["lower", "upper"]].to_numpy().ravel() == pytest.approx(sleep.confint(0.9).loc[name].tolist())
    assert derived.dims == ()
    assert derived.draws.shape == (2, 40)


def test_other_parameters_have_names_too(sleep):
    extras = {"nu": 4.0 + sleep.draws.sigma, "w": np.stack([sleep.draws.sigma] * 2, axis=-1)}
    fit = changed(sleep, extras=extras)
    assert fit.confint().index.tolist()[-3:] == ["nu", "w[0]", "w[1]"]
    np.testing.assert_array_equal(fit.derive("w[1]").draws, sleep.draws.sigma)
    assert fit.tidy().shape == sleep.tidy().shape
    assert "nu" in str(fit.summary())


def test_renderings(sleep):
    icc = sleep.derive("icc")
    array = icc.to_dataarray()
    assert array.dims == ("chain", "draw", "group", "kind")
    assert float(array.sel(group="Subject", kind="adjusted").mean()) == pytest.approx(icc.frame()["estimate"][0])
    text = repr(sleep.derive("shrinkage"))
    assert "shrinkage: weight of the own data of each level of Subject" in text
    assert "16 more entries" in text


def test_what_cannot_be_derived(sleep, pastes):
    with pytest.raises(ranef.DesignError, match=r"no quantity 'ranks'.*Did you mean 'rank'.*icc, r2, .*sd\(Days"):
        sleep.derive("ranks")
    with pytest.raises(ranef.DesignError, match=r"derive\('icc'\) takes no further arguments; got levels="):
        sleep.derive("icc", levels=("308", "309"))
    with pytest.raises(ranef.DesignError, match=r"takes group=, levels=; got level="):
        sleep.derive("contrast", level="308")
    with pytest.raises(ranef.DesignError, match=r"no level '3080'. Did you mean '308'"):
        sleep.derive("contrast", levels=("3080", "309"))
    with pytest.raises(ranef.DesignError, match="two or more different levels"):
        sleep.derive("contrast", levels=("308",))
    with pytest.raises(ranef.DesignError, match="Name the grouping factor"):
        pastes.derive("rank")
    student = changed(sleep, family="student", extras={"nu": sleep.draws.sigma})
    with pytest.raises(ranef.FitError, match="Student t in this model: the response"):
        student.derive("shrinkage")
    assert set(DERIVED) == {"icc", "r2", "shrinkage", "contrast", "rank"}


# -- diagnostics in words ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good():
    return made_up("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"), chains=4, draws=400)


def with_stats(fit, **stats):
    return changed(fit, sample_stats=dict(fit.draws.sample_stats) | stats)


def test_a_good_run_has_nothing_to_say(good):
    assert good.warnings == []
    assert good.ok
    row = good.glance().iloc[0]
    energy = good.draws.sample_stats["energy"]
    expected = (np.diff(energy, axis=1) ** 2).mean(axis=1) / energy.var(axis=1, ddof=1)
    assert row["bfmi_min"] == pytest.approx(expected.min())
    assert row["max_treedepth"] == 0


def test_energy(good):
    energy = good.draws.sample_stats["energy"].copy()
    energy[2] = np.cumsum(energy[2])
    fit = with_stats(good, energy=energy)
    (sentence,) = fit.warnings
    assert sentence.startswith("E-BFMI is below 0.3 in chain 2 (least 0.0")
    assert not fit.ok
    assert sentence in str(fit.summary())
    constant = with_stats(good, energy=np.zeros_like(energy))
    assert constant.ok
    assert np.isnan(constant.glance()["bfmi_min"][0])


def test_tree_depth(good):
    steps = good.draws.sample_stats["n_steps"].copy()
    steps[1, :3] = 2**MAX_TREE_DEPTH - 1
    fit = with_stats(good, n_steps=steps)
    (sentence,) = fit.warnings
    assert sentence.startswith("3 of 1600 trajectories reached the greatest tree depth, 10")
    assert fit.glance()["max_treedepth"][0] == 3


def test_divergences(good):
    diverging = good.draws.sample_stats["diverging"].copy()
    diverging[0, 5] = True
    (sentence,) = with_stats(good, diverging=diverging).warnings
    assert "1 of 1600 transitions diverged" in sentence
    assert "target_accept" in sentence


def test_chains_that_disagree_or_stand_still(good):
    sigma = good.draws.sigma.copy()
    sigma[3] += 1.0
    words = changed(good, sigma=sigma).warnings
    assert words[0].startswith("R-hat is above 1.01 for sd(Intercept) | operator, sigma | Residual (worst")
    assert any("effective sample size is small" in w for w in words)
    sigma[3] = 0.5
    assert any(w.startswith("Chain 3 never moved") for w in changed(good, sigma=sigma).warnings)


def test_notes_are_printed(good):
    assert "Note: sampled by hand" in str(changed(good, notes=("sampled by hand",)).summary())


# -- predictive draws ----------------------------------------------------------------------------------------------


def test_replicated_responses_belong_to_their_draws(sleep):
    """With σ all but zero a replicate is the linear predictor of its own draw."""
    fit = changed(sleep, sigma=np.full_like(sleep.draws.sigma, 1e-9))
    found = fit.posterior_predictive(4, seed=1)
    assert found.dims == ("chain", "draw", "obs")
    assert found.name == "Reaction"
    assert found["draw"].values.tolist() == [0, 13, 26, 39]
    g = fit.spec.groupings[0]
    b = fit.draws.b[0][1, 26]
    expected = fit.spec.design.X @ fit.draws.beta[1, 26] + (g.Z * b[g.codes]).sum(axis=1)
    np.testing.assert_allclose(found.sel(chain=1, draw=26), expected, atol=1e-6)
    assert fit.posterior_predictive(seed=1).shape == (2, 40, 180)


def test_new_levels_are_drawn_from_their_distribution(sleep):
    """Rows of day 0: Var y = σ²(θ₁² + 1), over many replicates of one draw."""
    repeated = {
        name: np.repeat(np.repeat(v[:1, :1], 2, axis=0), 300, axis=1)
        for name, v in (("theta", sleep.draws.theta), ("sigma", sleep.draws.sigma), ("beta", sleep.draws.beta))
    }
    b = np.repeat(np.repeat(sleep.draws.b[0][:1, :1], 2, axis=0), 300, axis=1)
    fit = changed(sleep, b=(b,), **repeated)
    found = fit.posterior_predictive(re="new", seed=2).values[..., ::10] - fit.draws.beta[0, 0, 0]
    variance = fit.draws.sigma[0, 0] ** 2 * (fit.draws.theta[0, 0, 0] ** 2 + 1)
    assert stats.kstest(found.ravel() / np.sqrt(variance), "norm").pvalue > 0.001


def test_a_student_response_is_drawn_from_its_family(sleep):
    nu = np.full(sleep.draws.sigma.shape, 2.5)
    fit = changed(sleep, family="student", extras={"nu": nu})
    values = fit.posterior_predictive(seed=3).values
    g = fit.spec.groupings[0]
    mean = fit.draws.beta @ fit.spec.design.X.T + np.einsum("cdna,na->cdn", fit.draws.b[0][:, :, g.codes], g.Z)
    scaled = (values - mean) / fit.draws.sigma[..., None]
    assert stats.kstest(scaled.ravel(), stats.t(2.5).cdf).pvalue > 0.001
    wide, narrow = (f.predict(re="none", interval="prediction", seed=1) for f in (fit, sleep))
    assert (wide["upper"] - wide["lower"]).mean() > 1.3 * (narrow["upper"] - narrow["lower"]).mean()


def test_predictions_in_the_datatree(sleep):
    tree = sleep.to_datatree(posterior_predictive=True, prior=sleep.draws, seed=1)
    np.testing.assert_array_equal(tree["posterior_predictive"]["Reaction"], sleep.posterior_predictive(seed=1))
    assert "prior" in tree.children
    assert "posterior_predictive" not in sleep.datatree.children


def test_too_many_replicates(sleep, monkeypatch):
    with pytest.raises(ranef.DesignError, match=r"draws=41 must be between 1 and 40"):
        sleep.posterior_predictive(41)
    monkeypatch.setattr("_ranef.inference.posterior_summary.MAX_REPLICATED", 2 * 180 * 10)
    with pytest.raises(ranef.DesignError, match=r"draws=10 or less"):
        sleep.posterior_predictive()
    assert sleep.posterior_predictive(10).shape == (2, 10, 180)
