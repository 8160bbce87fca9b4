"""Posterior densities of variance components, with estimates and priors on them."""

import numpy as np
import pandas as pd
import pytest
import scipy
from matplotlib import pyplot as plt

import ranef
from _ranef.plots import ComparisonPlots
from _ranef.plots.drawing import figure_of
from _ranef.plots.varcorr import component_panels, components, density
from _ranef.results import PosteriorDraws
from _ranef.user import PosteriorFit
from drawn import words
from ranef.priors import HalfNormal

PULP = ("bright ~ 1 + (1 | operator)", "pulp")


def test_density_is_reflected_at_zero():
    draws = np.abs(np.random.default_rng(1).standard_normal(20_000))
    curve = density(draws, "sd")
    truth = 2 * scipy.stats.norm.pdf(curve.x)
    assert curve.x[0] > 0
    # Monte Carlo and smoothing: the largest density is 0.8
    np.testing.assert_allclose(curve.y, truth, atol=0.05)
    assert scipy.integrate.trapezoid(curve.y, curve.x) == pytest.approx(1, abs=0.005)


def test_density_stays_within_correlations():
    draws = np.tanh(1.0 + np.random.default_rng(2).standard_normal(5000))
    curve = density(draws, "cor")
    assert curve.x[-1] < 1
    step = curve.x[1] - curve.x[0]
    assert step * curve.y.sum() == pytest.approx(1)
    # none of the mass that piles up at one is lost beyond it; kernels of width 0.06 move some across 0.9
    assert step * curve.y[curve.x > 0.9].sum() == pytest.approx((draws > 0.9).mean(), abs=0.04)


def test_constant_draws_have_no_density():
    assert density(np.zeros(10), "sd").x.size == 0


def test_a_heavy_tail_leaves_the_bulk_its_grid():
    """Draws of log-normal sds whose largest is thousands of medians: the density is right where it is seen."""
    draws = np.exp(2.2 * np.random.default_rng(3).standard_normal(8000))
    assert draws.max() > 1000
    curve = density(draws, "sd", 20.0)
    assert curve.x[-1] <= 20.0
    mass = np.trapezoid(curve.y, curve.x)
    assert mass == pytest.approx((draws <= 20.0).mean(), abs=0.01)
    for low, high in ((0.0, 1.0), (1.0, 5.0), (5.0, 20.0)):
        part = (curve.x >= low) & (curve.x <= high)
        own = np.trapezoid(curve.y[part], curve.x[part])
        # kernels of width 0.3 move some of the mass at zero
        assert own == pytest.approx(((draws > low) & (draws <= high)).mean(), abs=0.06)


def test_panels_of_a_heavy_tail(posterior):
    theta = np.exp(2.2 * np.random.default_rng(4).standard_normal(posterior.draws.theta.shape))
    draws = posterior.draws.__class__(**{**vars(posterior.draws), "theta": theta})
    panel = component_panels({"fb": PosteriorFit(posterior.spec, draws)})[0]
    (curve,) = panel.posteriors
    assert panel.limits[1] < curve.x[-1] < 1.3 * panel.limits[1]


def test_units_of_interactions():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60), "g": np.arange(60) % 6})
    data = data.assign(f=np.where(np.arange(60) % 4 < 2, "a:b", "c"), z=rng.normal(size=60))
    spec = ranef.Model("y ~ x * f + (1 + f + x:f + x:z | g)", data).spec
    units = {c.column: c.unit for c in components(spec) if c.kind == "sd"}
    per_x = {name: unit for name, unit in units.items() if "x" in name}
    assert {name: unit for name, unit in units.items() if "x" not in name} == dict.fromkeys(
        ["Intercept", "f[T.c]", ""], "in units of y"
    )
    assert per_x.pop("x:z") == "in units of y per unit of x:z"
    assert len(per_x) == 2  # f[a:b] is a level with a colon
    assert set(per_x.values()) == {"in units of y per unit of x"}


def test_components_are_the_names_of_confint(fit):
    f = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    found = components(f.spec)
    names = ["sd(Intercept | Subject)", "sd(Days | Subject)", "cor(Intercept, Days | Subject)", "sigma"]
    assert [c.name for c in found] == names
    assert [c.unit for c in found] == [
        "in units of Reaction",
        "in units of Reaction per unit of Days",
        "correlation",
        "in units of Reaction",
    ]
    rows = f.varcorr.iloc[[c.place for c in found]]
    assert rows["term1"].tolist() == ["Intercept", "Days", "Intercept", ""]


def test_a_shared_sd_is_shown_once_and_a_known_sigma_not_at_all():
    data = ranef.datasets.load("sleepstudy")
    spec = ranef.Model("Reaction ~ Days + ident(Days | Subject)", data, sigma=25).fit().spec
    (only,) = components(spec)
    assert only.name == "sd(Intercept | Subject)"
    assert "Intercept, Days" in only.title


def test_panels_hold_both_estimates_and_the_prior(fit, posterior):
    eb, (sd, sigma) = fit(*PULP), component_panels({"fb": posterior})
    assert sd.estimates["REML"] == pytest.approx(eb.varcorr["sdcor"][0], rel=1e-5)
    ml = ranef.Model(PULP[0], ranef.datasets.load("pulp")).fit("ML")
    assert sd.estimates["ML"] == pytest.approx(ml.varcorr["sdcor"][0], rel=1e-5)
    assert sigma.estimates["ML"] == pytest.approx(ml.sigma, rel=1e-5)
    (prior,) = sd.priors
    s = ranef.datasets.load("pulp")["bright"].std()
    at_one = np.interp(1.0, prior.x, prior.y) if prior.x[-1] > 1 else None
    assert prior.y[0] == pytest.approx(2 * scipy.stats.t.pdf(0, 3) / s, rel=0.03)
    assert at_one is None or at_one == pytest.approx(2 * scipy.stats.t.pdf(1 / s, 3) / s, rel=0.03)
    assert sd.limits[0] < 0 < sd.estimates["REML"] < sd.limits[1]


def test_estimates_given_are_marked_under_their_criterion(fit, posterior):
    ml = ranef.Model(PULP[0], ranef.datasets.load("pulp")).fit("ML")
    panel = component_panels({"fb": posterior, "likelihood": ml})[0]
    assert list(panel.estimates) == ["REML", "ML"]
    assert panel.estimates["ML"] == pytest.approx(ml.varcorr["sdcor"][0], rel=1e-12)
    twice = component_panels({"fb": posterior, "a": fit(*PULP), "b": fit(*PULP)})[0]
    assert list(twice.estimates) == ["a: REML", "b: REML", "ML"]


def test_priors_of_two_posteriors(posterior):
    model = ranef.Model(PULP[0], ranef.datasets.load("pulp"))
    draws = posterior.draws.__class__(**{**vars(posterior.draws), "priors": model.priors({"sd": HalfNormal(2)})})
    both = component_panels({"wide": posterior, "narrow": PosteriorFit(posterior.spec, draws)})
    assert [c.label for c in both[0].priors] == ["prior of wide", "prior of narrow"]
    assert [c.label for c in both[1].priors] == ["prior"]  # of sigma, which is the same
    assert [c.label for c in both[0].posteriors] == ["wide", "narrow"]


def test_figure_names_what_it_shows(posterior):
    figure = posterior.plot.varcorr()
    assert [ax.get_title() for ax in figure.axes] == ["operator: sd of Intercept", "Residual: σ"]
    assert {ax.get_xlabel() for ax in figure.axes} == {"in units of bright"}
    assert words(figure) == ["posterior", "prior", "REML estimate", "ML estimate"]
    figure.canvas.draw()


def test_estimates_at_zero_are_drawn_there(fit):
    eb = fit("Yield ~ 1 + (1 | Batch)", "dyestuff2")
    rng = np.random.default_rng(1)

    def around(value, spread):
        return value + spread * rng.standard_normal((2, 200, *np.shape(value)))

    model = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2"))
    drawn = {"theta": np.abs(around(np.zeros(1), 0.3)), "sigma": np.abs(around(eb.sigma, 0.4))}
    record = {"beta": around(eb.estimates.beta, 1.0), "b": (around(np.zeros((6, 1)), 1.0),)}
    told = {"sample_stats": {}, "parameterization": "marginal", "seed": 1, "warmup": 0, "seconds": 0, "complete": True}
    draws = PosteriorDraws(**drawn, **record, **told, priors=model.priors())
    figure = PosteriorFit(eb.spec, draws).plot.varcorr()
    marks = {line.get_label(): line.get_xdata()[0] for line in figure.axes[0].lines}
    assert marks["REML estimate"] == marks["ML estimate"] == 0
    assert figure.axes[0].get_xlim()[0] < 0


def test_given_axes_are_used_and_counted(posterior):
    _, pair = plt.subplots(1, 2)
    assert ComparisonPlots({"a": posterior, "b": posterior}).varcorr(pair) is pair[0].figure
    assert [t.get_label() for t in pair[0].lines][:2] == ["posterior a", "posterior b"]
    with pytest.raises(ranef.DesignError, match="2 panels but 1 axes"):
        posterior.plot.varcorr(ax=pair[0])


def test_a_posterior_is_needed(fit):
    with pytest.raises(ranef.DesignError, match="needs a posterior"):
        fit(*PULP).plot.varcorr()
    assert figure_of(plt.gca()) is plt.gcf()
