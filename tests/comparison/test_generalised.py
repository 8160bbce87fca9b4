"""Generalised fits side by side."""

import html
import json
import re

import numpy as np
import pytest

import ranef

FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def model():
    return ranef.Model(FORMULA, ranef.datasets.load("cbpp"), family="binomial")


def test_frames_hold_what_the_fits_say(model):
    laplace, nine = model.fit(), model.fit(nagq=9)
    both = ranef.compare(laplace, nine)
    assert list(both.fits) == ["Laplace", "AGQ"]
    effects = both.random_effects
    np.testing.assert_array_equal(effects["AGQ_estimate"], nine.ranef()["estimate"])
    np.testing.assert_array_equal(effects["n"], ranef.datasets.load("cbpp")["herd"].value_counts()[effects["level"]])
    fixed = both.fixed_effects.set_index("term")
    np.testing.assert_array_equal(fixed["Laplace_estimate"], laplace.fixef)
    np.testing.assert_allclose(fixed["Laplace_sd"], np.sqrt(np.diag(laplace.vcov)))
    assert both.variance_components["AGQ_estimate"].tolist() == nine.varcorr["sdcor"].tolist()
    own = both.agreement.query("effect == 'random' and fit == 'AGQ'")
    np.testing.assert_allclose(own["difference"], effects["AGQ_estimate"] - effects["Laplace_estimate"])
    assert "conditional mode" in str(both)


WORDS = {
    "order": (
        "TICKS ~ YEAR + cHEIGHT + (cHEIGHT | LOCATION) + (1 | BROOD)",
        "TICKS ~ cHEIGHT + YEAR + (1 | BROOD) + (cHEIGHT | LOCATION)",
    ),
    "coding": ("TICKS ~ YEAR + (1 | BROOD)", "TICKS ~ 0 + YEAR + (1 | BROOD)"),
    "unit": ("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", "TICKS ~ I(cHEIGHT / 100 + 3) + YEAR + (1 | BROOD)"),
}


@pytest.mark.filterwarnings("ignore::ranef.SingularFitWarning")
@pytest.mark.parametrize("name", WORDS)
def test_one_model_in_other_words_is_shown_in_those_of_the_first(name):
    data = ranef.datasets.load("grouseticks")
    first, other = (ranef.Model(formula, data, family="negative binomial").fit() for formula in WORDS[name])
    shown = ranef.compare(first, other).fits["Laplace_2"]
    assert shown.fixef.index.tolist() == first.fixef.index.tolist()
    assert np.allclose(shown.fixef, first.fixef, atol=2e-4)
    assert np.allclose(shown.vcov, first.vcov, rtol=1e-3, atol=1e-8)
    assert np.allclose(shown.fitted(), first.fitted(), rtol=1e-4)
    assert np.allclose(shown.ranef()["estimate"], first.ranef()["estimate"], atol=1e-4)
    assert shown.dispersion["size"] == pytest.approx(first.dispersion["size"], rel=1e-4)
    assert shown._at.criterion == pytest.approx(other.criterion, abs=1e-6)


def test_pooling_takes_a_posterior_in_other_words():
    data = ranef.datasets.load("cbpp")
    fit = ranef.Model(FORMULA, data, family="binomial").fit()
    turned = data.assign(herd=data["herd"].cat.reorder_categories(data["herd"].cat.categories[::-1]))
    other = ranef.Model(FORMULA, turned, family="binomial").sample(500, seed=1, sampler="direct", progress=False)
    pooled = ranef.pooling(fit, other).frame
    mine = other.ranef().set_index("level")["estimate"]
    assert np.allclose(pooled.set_index("level")["posterior"], mine[pooled["level"]])


def test_other_models_and_responses_are_refused(model):
    fit, data = model.fit(), ranef.datasets.load("cbpp")
    with pytest.raises(ranef.DesignError, match="different responses"):
        ranef.compare(fit, ranef.Model("incidence ~ period + (1 | herd)", data, family="poisson").fit())
    with pytest.raises(ranef.DesignError, match="different responses"):
        ranef.compare(fit, ranef.Model(FORMULA, data, family="binomial", link="probit").fit())
    with pytest.raises(ranef.DesignError, match="different models"):
        ranef.compare(fit, ranef.Model(FORMULA.replace("period", "1"), data, family="binomial").fit())


@pytest.fixture(scope="module")
def posterior(model):
    return model.sample(draws=400, sampler="direct", seed=1, progress=False)


def test_decomposition_of_the_posterior(model, posterior):
    """Totals are of the draws; the first part, at two of them, is that of a mode found densely."""
    both = ranef.compare(model.fit(), posterior)
    parts = both.decompose(draws=2)
    drawn = posterior.draws.b[0].reshape(-1, 15)
    np.testing.assert_allclose(parts["total"], drawn.var(axis=0, ddof=1))
    np.testing.assert_allclose(parts["plug_in"], model.fit().ranef()["sd"] ** 2)
    spec, given = posterior.spec, []
    y, n = spec.design.y * spec.design.weights, spec.design.weights
    Z = np.eye(15)[spec.groupings[0].codes]
    flat_theta, flat_beta = posterior.draws.theta.reshape(-1, 1), posterior.draws.beta.reshape(-1, 4)
    for s in (0, len(flat_theta) - 1):
        b, precision = np.zeros(15), np.eye(15) / flat_theta[s] ** 2
        for _ in range(50):
            p = 1.0 / (1.0 + np.exp(-spec.design.X @ flat_beta[s] - Z @ b))
            hessian = Z.T @ (Z * (n * p * (1 - p))[:, None]) + precision
            b = b + np.linalg.solve(hessian, Z.T @ (y - n * p) - precision @ b)
        given.append(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(parts["given_theta_beta"], np.mean(given, axis=0), rtol=1e-6)
    whole = both.decomposition
    sums = whole[["given_theta_beta", "beta", "theta"]].sum(axis=1)
    # Laplace's approximation and 200 of 1600 draws
    assert abs(np.median(sums / whole["total"]) - 1.0) < 0.1


def test_numbers_stand_in_equations_and_parameters(model, posterior):
    both = ranef.compare(model.fit(), posterior)
    assert f"{model.fit().fixef['Intercept']:.3f}" in both.equation().text
    own = both.parameters.set_index("parameter")
    np.testing.assert_allclose(own.loc["period[T.2]", "fb_estimate"], posterior.fixef["period[T.2]"])
    np.testing.assert_allclose(own.loc["sd(Intercept | herd)", "eb_estimate"], model.fit().theta.iloc[0])
    found = both.intervals()
    assert found.groupby(["fit", "method"]).size().to_dict() == {("eb", "profile"): 5, ("fb", "posterior"): 5}


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_models_are_ranked_by_elpd_within_one_kind_of_response(model, posterior):
    data = ranef.datasets.load("cbpp")
    ranked = ranef.compare({"one": posterior, "other": posterior}, kind="conditional")
    np.testing.assert_allclose(ranked.loc["one", "elpd"], posterior.loo().elpd)
    normal = ranef.Model("share ~ period + (1 | herd)", data.assign(share=data["incidence"] / data["size"]))
    with pytest.raises(ranef.DesignError, match="cannot be compared"):
        ranef.compare(posterior, normal.sample(draws=100, seed=1, progress=False, sampler="direct"), kind="conditional")


def test_the_page(model, posterior, tmp_path):
    """Its calls make the same fit again, and its explorer begins at the conditional modes."""
    both = ranef.compare(model.fit(), posterior)
    text = both.report(tmp_path / "page.html", data='ranef.datasets.load("cbpp")').read_text()
    calls = html.unescape(re.search(r"<p>In Python:</p>\s*<pre>(.*?)</pre>", text, re.S)[1])
    session = {}
    exec("\n".join(line for line in calls.splitlines() if not line.startswith(("fb", "both"))), session)
    np.testing.assert_allclose(session["eb"].fixef, both.eb.fixef)
    assert "σ" not in re.search(r"Shrinkage explorer</h2>(.*?)</section>", text, re.S)[1]
    spec = json.loads(re.search(r'vegaEmbed\("#explorer-0", (\{.*?\}),\s*\{actions', text, re.S)[1])
    start = spec["params"][0]["value"]
    shown = {r["level"]: r["path"][0][start] for r in spec["datasets"]["levels"]}
    expected = ranef.pooling(both.eb).coef.set_index("level")["partial"]
    np.testing.assert_allclose([shown[level] for level in expected.index], expected, rtol=1e-5)
