"""Posterior draws of two standard deviations over contours of the criterion."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import ranef
from _ranef.inference.profile_surface import contour_levels
from _ranef.plots import ComparisonPlots
from _ranef.plots.joint import joint_panel

PULP = ("bright ~ 1 + (1 | operator)", "pulp")
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def words(legend):
    return [t.get_text() for t in legend.get_texts()]


def test_draws_and_estimates_are_those_of_the_fits(fit, posterior):
    panel = joint_panel({"eb": fit(*PULP), "fb": posterior})
    d = posterior.draws
    np.testing.assert_allclose(panel.draws["fb"], np.stack([(d.theta[..., 0] * d.sigma).ravel(), d.sigma.ravel()], 1))
    assert panel.estimates["REML"] == pytest.approx(tuple(fit(*PULP).varcorr["sdcor"]))
    assert list(panel.estimates) == ["REML", "ML"]
    assert panel.surface.method == "REML"
    assert panel.surface.rise.shape == (80, 80)


def test_the_criterion_is_that_of_the_fit_or_as_asked(fit, posterior):
    ml = ranef.Model(PULP[0], ranef.datasets.load("pulp")).fit("ML")
    assert joint_panel({"ML": ml, "fb": posterior}).surface.method == "ML"
    assert joint_panel({"ML": ml}, method="REML").surface.method == "REML"
    with pytest.raises(ranef.DesignError, match="'REML', 'ML' or None"):
        fit(*PULP).plot.joint(method="AIC")


def test_figure_names_axes_and_contours(fit, posterior):
    ax = ComparisonPlots({"eb": fit(*PULP), "fb": posterior}).joint()
    assert ax.get_xlabel() == "operator: sd of Intercept, in units of bright"
    assert ax.get_ylabel() == "Residual: σ, in units of bright"
    assert words(ax.figure.legends[0]) == [
        "400 draws of the posterior",
        "REML criterion",
        "REML estimate",
        "ML estimate",
    ]
    (contours,) = [c for c in ax.collections if hasattr(c, "levels")]
    np.testing.assert_array_equal(contours.levels, contour_levels())
    ax.figure.canvas.draw()


def test_approximate_contours_are_called_so(fit, monkeypatch):
    monkeypatch.setattr("_ranef.inference.profile_surface.LONGEST", 0.0)
    ax = fit(*SLEEP).plot.joint()
    assert "REML criterion, profiled approximately" in words(ax.figure.legends[0])


def test_contours_alone_on_given_axes(fit):
    _, (ax, _) = plt.subplots(1, 2)
    assert fit(*SLEEP).plot.joint("sd(Days | Subject)", "sigma", ax=ax) is ax
    assert ax.get_xlabel() == "Subject: sd of Days, in units of Reaction per unit of Days"
    first = words(ax.get_legend())[0]
    assert first == "REML criterion, profiled"


def test_a_student_posterior_has_no_criterion_of_its_own(posterior):
    priors = posterior.draws.priors.__class__(**{**vars(posterior.draws.priors), "effects": {"operator": 4.0}})
    draws = posterior.draws.__class__(**{**vars(posterior.draws), "priors": priors})
    panel = joint_panel({"fb": posterior.__class__(posterior.spec, draws)})
    assert panel.surface is None
    assert panel.estimates == {}
