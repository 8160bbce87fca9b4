"""Posteriors of generalised responses: rows in JAX against numpy, sampled draws against quadrature, priors by link."""

import pickle

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import ranef
from _ranef.nuts.jax_settings import own_settings
from _ranef.nuts.rows_model import BY_LINK
from _ranef.spec import GENERALISED
from generalised import OWN, family_of, predictors, responses
from nuts.counts import by_quadrature, counts


@pytest.mark.parametrize("word", GENERALISED)
def test_jax_has_the_densities_of_the_families(word):
    rng = np.random.default_rng(1)
    rows = responses(word, rng, 40)
    for link in GENERALISED[word].links:
        family = family_of(word, link)
        eta = predictors(family, rng, 40)
        numbers = {name: OWN[name] for name in family.dispersions}
        at = family.slopes(eta, rows, numbers)
        with own_settings():
            held = {"y": jax.numpy.asarray(rows.y), "weights": jax.numpy.asarray(rows.weights)}

            def density(eta, link=link, held=held, numbers=numbers):
                return BY_LINK[word, link](eta, held, numbers)

            value, slope = density(jax.numpy.asarray(eta)), jax.grad(lambda e: density(e).sum())(jax.numpy.asarray(eta))
            far = jax.grad(lambda e: density(e).sum())(jax.numpy.full(40, -60.0))
        np.testing.assert_allclose(value, at.value + family.constant(rows, numbers), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(slope, at.first, rtol=1e-8, atol=1e-9)
        assert np.isfinite(far).all()


@pytest.fixture(scope="module")
def posterior():
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson")
    return model.sample(draws=1200, warmup=500, seed=1, progress=False)


def test_draws_are_those_of_quadrature(posterior):
    data, model = counts(), ranef.Model.of(posterior)
    table = posterior.diagnostics.set_index("name")
    for name, (mean, sd) in by_quadrature(data, model).items():
        row = table.loc[name]
        assert abs(row["estimate"] - mean) < 4.0 * sd / np.sqrt(row["ess_bulk"]), name
        assert abs(row["sd"] / sd - 1.0) < 0.15, name
    assert abs(model.fit().fixef["Intercept"] - posterior.fixef["Intercept"]) < posterior.tidy()["std_error"][0]


def test_independent_draws_have_the_effects_of_the_chains(posterior):
    """To the errors of both: effects have posterior sds of at most 0.6."""
    direct = ranef.Model.of(posterior).sample(sampler="direct", seed=1, progress=False)
    np.testing.assert_allclose(direct.ranef()["estimate"], posterior.ranef()["estimate"], atol=5.0 * 0.6 / 2000**0.5)
    np.testing.assert_allclose(direct.ranef()["sd"], posterior.ranef()["sd"], rtol=0.1)


def test_default_priors_know_no_origin_nor_unit_of_a_covariate():
    rng = np.random.default_rng(5)
    data = counts().assign(x=rng.standard_normal(40))
    first = ranef.Model("y ~ x + (x | g)", data, family="poisson").priors()
    other = ranef.Model("y ~ x + (x | g)", data.assign(x=1990.0 + 10.0 * data["x"]), family="poisson").priors()
    assert other.fixef["Intercept"] == first.fixef["Intercept"]
    np.testing.assert_allclose(10.0 * other.fixef["x"].scale, first.fixef["x"].scale)
    for key, scale in first.sd.items():
        np.testing.assert_allclose(other.sd[key].scale, scale.scale / (10.0 if key[1] == "x" else 1.0))


def test_priors_of_dispersions_go_by_their_names():
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="negative binomial")
    assert model.priors({"size": ranef.priors.Gamma(2, 1)}).lines(model.spec.family)[-1].endswith("size ~ Gamma(2, 1)")
    with pytest.raises(ranef.DesignError, match="sigma"):
        model.priors({"sigma": ranef.priors.HalfNormal(1)})


def test_a_saved_posterior_is_the_same(tmp_path, posterior):
    loaded = ranef.load(posterior.save(tmp_path / "p.ranef"))
    pd.testing.assert_series_equal(loaded.predict(type="link"), posterior.predict(type="link"))
    assert loaded.spec.family == posterior.spec.family
    again = pickle.loads(pickle.dumps(posterior))
    pd.testing.assert_frame_equal(again.tidy(), posterior.tidy())


def test_predictions_are_means_of_draws(posterior):
    eta = posterior.draws.beta[..., 0] + posterior.draws.b[0][..., 2, 0]
    new = posterior.predict({"g": ["2", "another"]}, interval="confidence")
    np.testing.assert_allclose(new.iloc[0], [np.exp(eta).mean(), *np.quantile(np.exp(eta), [0.025, 0.975])])
    np.testing.assert_allclose(new["estimate"].iloc[1], np.exp(posterior.draws.beta[..., 0]).mean())
    held = posterior.datatree["log_likelihood"]["y"].to_numpy()[..., 12]
    np.testing.assert_allclose(held, stats.poisson.logpmf(counts()["y"][12], np.exp(eta)))


def test_residuals_and_shares_are_means_over_draws(posterior):
    eta = posterior.draws.beta[..., :1] + posterior.draws.b[0][..., 0][..., posterior.spec.groupings[0].codes]
    mean, y = np.exp(eta), counts()["y"].to_numpy()
    np.testing.assert_allclose(posterior.residuals("response"), (y - mean).mean(axis=(0, 1)), atol=1e-10)
    np.testing.assert_allclose(posterior.residuals("pearson"), ((y - mean) / np.sqrt(mean)).mean(axis=(0, 1)))
    frame = posterior.augment()
    np.testing.assert_allclose(frame["fitted"] + frame["residual"], y)
    variance = posterior.draws.theta[..., 0] ** 2
    residual = special.polygamma(1, y.mean())
    np.testing.assert_allclose(posterior.icc()["adjusted"][0], (variance / (variance + residual)).mean())
    assert posterior.r2()["marginal"] == 0.0
    np.testing.assert_allclose(posterior.derive("r2").draws[..., 1], variance / (variance + residual))
    assert posterior.derive("rank").frame()["p_best"].sum() == pytest.approx(1.0)
    assert posterior.simulated_residuals(200, re="fitted", seed=1).tests["p"].min() > 0.01
    with pytest.raises(ranef.NotAvailableError, match="reliability_draws"):
        posterior.derive("shrinkage")


def test_what_needs_a_normal_response_is_refused_by_its_name(posterior):
    with pytest.raises(ranef.FitError, match="The response is Poisson"):
        posterior.loo("group")
    with pytest.raises(ranef.DesignError, match=r"model\.fit\(\) gives one"):
        ranef.anova(posterior, posterior)


@pytest.mark.slow
def test_a_checkpoint_is_of_its_family(tmp_path):
    model, short = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson"), {"draws": 20, "warmup": 20, "seed": 1}
    with pytest.warns(ranef.ConvergenceWarning):
        first = model.sample(**short, progress=False, checkpoint=tmp_path / "run.ranef")
    with pytest.warns(ranef.ConvergenceWarning):
        again = model.sample(**short, progress=False, checkpoint=tmp_path / "run.ranef")
    np.testing.assert_array_equal(again.draws.beta, first.draws.beta)
    other = ranef.Model("y ~ 1 + (1 | g)", counts(), family="negative binomial")
    with pytest.raises(ranef.DesignError, match="family"):
        other.sample(**short, progress=False, checkpoint=tmp_path / "run.ranef")
