"""Draws without a chain: that they are of the posterior, what is told of them, and what is refused.

That they have the moments and quantiles of tabulated posteriors is in test_quadrature.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats

import ranef
import registry
from _ranef.inference.posterior_summary import labelled_draws
from _ranef.nuts import Settings, sample_posterior
from _ranef.posterior import batched, density_together, direct, pareto
from _ranef.posterior.bounded_coordinates import make_edges
from _ranef.posterior.density_together import Together
from _ranef.posterior.mixture import Mixture
from _ranef.posterior.mode_search import ascend
from _ranef.posterior.modes import laplace
from _ranef.posterior.pareto import smoothed
from _ranef.posterior.problem import prepare
from _ranef.posterior.start import start_vector
from ranef.priors import R2D2, Cauchy, Exponential, Flat, Gamma, HalfNormal, StudentT

SLEEP = "Reaction ~ Days + (Days | Subject)"


def sleep(**arguments):
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy"), **arguments)


def machines(formula="score ~ Machine + (1 | Worker)", **arguments):
    return ranef.Model(formula, ranef.datasets.load("Machines"), **arguments)


def orthodont(**arguments):
    return ranef.Model("distance ~ age + (age | Subject)", ranef.datasets.load("Orthodont"), **arguments)


MODELS = {
    "slopes": (sleep, None),
    "flat": (sleep, "flat"),
    "families": (sleep, {"sd": Gamma(2.0, 0.1), "sigma": Exponential(0.05), "Days": StudentT(3.0, 10.0, 5.0)}),
    "coefficients": (sleep, {"Intercept": Cauchy(250.0, 50.0), "Days": Flat(), "sd": HalfNormal(30.0)}),
    "known sigma": (lambda: sleep(sigma=25.0), None),
    "not linear": (lambda: machines("score ~ Machine + cs(Machine | Worker)"), None),
    "lags": (lambda: machines("score ~ Machine + toep(0 + Machine | Worker)"), None),
    "strata": (lambda: machines(variance=ranef.VarIdent("Machine")), None),
    "autoregression": (lambda: orthodont(correlation=ranef.AR1(group="Subject")), None),
    "rows read again": (lambda: orthodont(variance=ranef.VarPower("age")), None),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_density_of_many_points_is_that_of_each(name):
    """As the compiled loops, and the kernels behind them, have it with all constants."""
    make, priors = MODELS[name]
    model = make()
    problem = prepare(model.spec, model.products, model.priors(priors))
    rng, start = np.random.default_rng(1), start_vector(problem, None)
    points = start + 0.4 * rng.standard_normal((12, len(start)))
    found, gradient = Together(problem).log_density(points), Together(problem).gradient
    each = [problem.gradient(q) for q in points]
    np.testing.assert_allclose(found, [value for value, _ in each], rtol=1e-10)
    # central differences of step 1e-4
    np.testing.assert_allclose(gradient(points[0])[1], each[0][1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["slopes", "not linear", "strata"])
def test_the_climb_ends_at_the_mode(name):
    make, priors = MODELS[name]
    model = make()
    problem = prepare(model.spec, model.products, model.priors(priors))
    start = start_vector(problem, None)
    one, two = ascend(Together(problem).log_density, start), laplace(problem.gradient, start)
    sds = np.linalg.norm(two.root, axis=1)
    np.testing.assert_allclose((one.centre - two.centre) / sds, 0.0, atol=2e-3)
    np.testing.assert_allclose(one.root @ one.root.T, two.root @ two.root.T, rtol=0.02, atol=1e-3)
    assert one.log_mass == pytest.approx(two.log_mass, abs=0.01)


@pytest.mark.parametrize("shape", [0.7, 0.9])
def test_heavy_tails_are_smoothed_as_arviz_does(shape, monkeypatch):
    monkeypatch.setattr(pareto, "ABOVE", 0.0)  # whatever their mean
    logs = np.random.default_rng(2).exponential(shape, 4000)
    weights, k = smoothed(logs)
    theirs, their_k = array_stats.psislw(-logs)
    assert k == pytest.approx(float(their_k), rel=1e-10)
    np.testing.assert_allclose(np.log(weights), theirs, rtol=1e-8)


def test_even_weights_have_no_tail():
    weights, k = smoothed(np.log(np.random.default_rng(3).uniform(0.9, 1.1, 2000)))
    assert k == -np.inf
    assert weights.sum() == pytest.approx(1.0)
    assert weights.max() < 1.2 / 2000


@pytest.mark.parametrize("few", [1, 2, 4])
def test_weights_that_are_those_of_few_points_are_not_trusted(few):
    logs = np.full(2000, -900.0)
    logs[:few] = 0.0
    assert smoothed(logs)[1] == np.inf
    assert smoothed(np.full(2000, -np.inf))[1] == np.inf


def test_a_mixture_finds_the_density_that_its_points_are_of():
    rng = np.random.default_rng(4)
    wanted = Mixture(
        np.array([0.3, 0.7]),
        np.array([[-3.0, 0.0], [2.0, 1.0]]),
        np.array([np.eye(2), 0.5 * np.eye(2)]),
        np.full(2, 8.0),
    )
    points = wanted.draw(6000, rng)
    start = Mixture(
        np.full(2, 0.5), np.array([[-1.0, 0.5], [1.0, 0.5]]), np.array([2.0 * np.eye(2)] * 2), np.full(2, 8.0)
    )
    for _ in range(5):
        start = start.fitted(points, np.full(6000, 1.0 / 6000))
    order = np.argsort(start.centres[:, 0])
    np.testing.assert_allclose(start.shares[order], wanted.shares, atol=0.03)
    np.testing.assert_allclose(start.centres[order], wanted.centres, atol=0.1)
    np.testing.assert_allclose(start.log_density(points).mean(), wanted.log_density(points).mean(), atol=0.01)


@pytest.mark.parametrize("name", ["slopes", "not linear", "flat"])
def test_coordinates_that_end_are_one_to_one(name):
    make, priors = MODELS[name]
    model = make()
    problem = prepare(model.spec, model.products, model.priors(priors))
    centre = start_vector(problem, None)
    edges = make_edges(problem.layout, centre, np.full(len(centre), 0.3))
    q = centre + np.random.default_rng(5).standard_normal((7, len(centre)))
    w, slope = edges.outward(q)
    back, log_slope = edges.inward(w)
    assert edges.inside(w).all()
    np.testing.assert_allclose(back, q, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_slope, -np.log(slope).sum(axis=1), rtol=1e-9, atol=1e-9)
    h = 1e-6
    np.testing.assert_allclose(
        edges.outward(q + h)[0] - edges.outward(q - h)[0], 2.0 * h * slope, rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize(
    "name", ["flat", "coefficients", "strata", "autoregression", pytest.param("not linear", marks=pytest.mark.slow)]
)
def test_direct_draws_and_those_of_nuts_are_of_one_posterior(name):
    """Means and sds of all that a summary shows, and of effects, within the Monte-Carlo error of both."""
    make, priors = MODELS[name]
    settings = {"seed": 5, "priors": priors, "progress": False}
    one = make().sample(1000, sampler="direct", **settings)
    two = make().sample(2000, sampler="nutpie", target_accept=0.95, **settings)
    a, b = one.diagnostics, two.diagnostics
    error = np.sqrt(a["sd"] ** 2 / a["ess_bulk"] + b["sd"] ** 2 / b["ess_bulk"])
    assert (np.abs(a["estimate"] - b["estimate"]) < 4.5 * error).all()
    shown = [{n: x for g, n, x in labelled_draws(fb.spec, fb.draws)} for fb in (one, two)]
    for (name, x), ess in zip(shown[1].items(), b["ess_tail"], strict=True):
        for p in (0.05, 0.5, 0.95):
            below = (shown[0][name] < np.quantile(x, p)).mean()
            assert abs(below - p) < 4.5 * np.sqrt(p * (1.0 - p) * (1.0 / a["ess_bulk"].iloc[0] + 1.0 / ess))
    for x, y in zip(one.draws.b, two.draws.b, strict=True):
        sd = y.std(axis=(0, 1))
        np.testing.assert_allclose((x.mean(axis=(0, 1)) - y.mean(axis=(0, 1))) / sd, 0.0, atol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in registry.FITTED if registry.rows_of(c) < 3000])
def test_every_registered_model_has_the_posterior_of_nuts(case):
    model = registry.model(case)
    try:
        one = model.sample(seed=1, sampler="direct")
    except ranef.FitError as refusal:
        pytest.skip(str(refusal))
    two = model.sample(seed=2, sampler="nutpie", progress=False, target_accept=0.95)
    a, b = one.diagnostics, two.diagnostics
    error = np.sqrt(a["sd"] ** 2 / a["ess_bulk"] + b["sd"] ** 2 / b["ess_bulk"])
    assert (np.abs(a["estimate"] - b["estimate"]) < 5.0 * error).all()


def test_draws_are_told_as_what_they_are(capsys):
    fb = sleep().sample(seed=1, sampler="direct")
    draws, found = fb.draws, fb.draws.importance
    assert draws.sampler == fb.engine == "direct"
    assert draws.warmup == 0
    assert draws.theta.shape == (4, 1000, 3)
    assert found.pareto_k < 0.7
    assert found.proposed * found.efficiency > 4000
    assert found.effective > 3900
    # hardly any is a repetition, and they come in no order
    assert len(np.unique(draws.sigma)) > 3900
    assert abs(np.corrcoef(draws.sigma[:, 1:].ravel(), draws.sigma[:, :-1].ravel())[0, 1]) < 0.07
    assert fb.diagnostics["rhat"].isna().all()
    assert (fb.diagnostics[["ess_bulk", "ess_tail"]] == found.effective).all(axis=None)
    assert fb.warnings == []
    assert fb.glance()["pareto_k"].item() == found.pareto_k
    text = str(fb.summary())
    assert "4000 independent" in text
    assert "Pareto k̂" in text
    assert "Rhat" not in text


def test_the_same_seed_gives_the_same_draws():
    one, two, other = (sleep().sample(50, seed=s, sampler="direct").draws for s in (1, 1, 2))
    np.testing.assert_array_equal(one.b[0], two.b[0])
    assert not np.array_equal(one.sigma, other.sigma)


@pytest.mark.parametrize("long", [False, True])
def test_one_by_one_where_the_model_is_large(long, monkeypatch):
    """The kernels of engine A, which large designs need, find the same posterior; draws may share points."""
    model = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin"))
    one = model.sample(200, seed=1, sampler="direct")
    monkeypatch.setattr(batched, "MOST_PRODUCTS", -1)
    monkeypatch.setattr(density_together, "LONG_TAIL", 0 if long else 300)
    monkeypatch.setattr(direct, "COSTLY_POOL", 300)
    two = model.sample(200, seed=2, sampler="direct")
    assert two.draws.importance.proposed <= (300 if long else 2 * 800)
    a, b, worth = one.diagnostics, two.diagnostics, two.draws.importance.effective
    assert (200 < worth <= 300) if long else (worth > 600)
    assert (np.abs(a["estimate"] - b["estimate"]) < 4.5 * a["sd"] * np.sqrt(1.0 / 700 + 1.0 / worth)).all()
    theta, effects = two.draws.theta.reshape(800, -1), two.draws.b[0].reshape(800, -1)
    assert len(np.unique(theta, axis=0)) == (pytest.approx(250, abs=50) if long else pytest.approx(700, abs=100))
    assert len(np.unique(effects, axis=0)) == 800  # each with draws of its own


REFUSED = {
    "Student t": ({"family": "student"}, "the response is Student t"),
    "effects": ({"priors": {"ranef": StudentT(4.0)}}, "the random effects of Subject are Student t"),
    "R2D2": ({"priors": {"fixef": R2D2()}}, "R2D2 as a prior is known to sampler='numpyro' alone"),
    "numpyro": ({"priors": {"Days": dist.Laplace(0.0, 5.0)}}, "a distribution of numpyro as a prior"),
    "centred": ({"parameterization": "centered"}, "the parameterization is centered"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_integrated_out_is_refused_by_name(name):
    arguments, words = REFUSED[name]
    with pytest.raises(ranef.FitError, match=words):
        sleep().sample(sampler="direct", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"warmup": 10}, "of chains"), ({"device": "gpu"}, "computes on the processor")]
)
def test_settings_of_chains_are_refused(arguments, words):
    with pytest.raises(ranef.FitError, match=words):
        sleep().sample(sampler="direct", **arguments)


@pytest.mark.slow
def test_nuts_takes_over_where_no_proposal_fits(monkeypatch):
    assert sleep().sample(20, chains=2, seed=1, sampler="auto").draws.sampler == "direct"
    monkeypatch.setattr(pareto, "ABOVE", 0.0)
    monkeypatch.setattr(direct, "MOST_K", -5.0)
    with pytest.raises(ranef.FitError, match=r"Pareto k̂ of the weights is .*sampler='auto' takes NUTS"):
        sleep().sample(20, seed=1, sampler="direct")
    model = sleep()
    record = sample_posterior(
        model.spec,
        priors=model.priors(),
        settings=Settings(draws=20, warmup=20, seed=1, sampler="auto", progress=False),
    )
    assert record.sampler == "numpyro"
    assert any("NUTS by sampler='auto'" in note and "Pareto" in note for note in record.notes)


def test_nothing_heavy_is_loaded():
    script = """
    import sys, ranef
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    fit = model.sample(seed=1, sampler="direct")
    str(fit)
    print({"jax", "numpyro", "numba"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_all_that_stands_on_draws_takes_them(tmp_path):
    model = sleep()
    eb, fb = model.fit(), model.sample(250, seed=1, sampler="direct")
    fb.save(tmp_path / "fit.ranef")
    back = ranef.load(tmp_path / "fit.ranef")
    assert back.draws.importance == fb.draws.importance
    np.testing.assert_array_equal(back.draws.b[0], fb.draws.b[0])
    both = ranef.compare(eb, fb)
    assert list(both.fits) == ["eb", "fb"]
    assert np.isfinite(both.random_effects["fb_estimate"]).all()
    chained = model.sample(50, seed=1, sampler="nutpie", progress=False)
    assert list(ranef.compare(fb, chained, eb).fits) == ["direct", "NUTS", "REML"]
    with pytest.warns(ranef.RanefWarning, match="Pareto k"):  # of outlying rows, whatever the sampler
        assert fb.loo().r_eff == fb.draws.importance.effective / 1000
    assert np.isfinite(fb.loo(kind="group").elpd)
    assert np.isfinite(fb.prior_sensitivity()).all(axis=None)
    assert np.isfinite(fb.derive("icc").frame()["estimate"]).all()
    assert np.isfinite(ranef.pooling(eb, fb).frame["posterior"]).all()
    assert set(fb.datatree["sample_stats"].data_vars) == {"lp", "log_ratio"}
    page = both.report(tmp_path / "page.html", data="ranef.datasets.load('sleepstudy')")
    assert "sampler=&#39;direct&#39;" in page.read_text() or "sampler='direct'" in page.read_text()
