"""Random effects over their marginal standard deviations: against the oracle, at the boundary, of a posterior."""

import numpy as np
import pytest

from _ranef.inference import effect_scores
from oracle import dense
from small_fits import many_groups


def marginal_variances(at):
    """Var b̂ of the only grouping, with b̂ = DZᵀPy."""
    return at.sigma**2 * np.diag(at.D[0] @ at.Z[0].T @ at.P @ at.Z[0] @ at.D[0])


def test_scores_divide_blups_by_their_marginal_sd(fit):
    f = fit("Reaction ~ 1 + (1 | Subject)", "sleepstudy")
    marginal = marginal_variances(dense(f.spec, f.estimates.theta))
    ((term, scores),) = effect_scores(f, "Subject")
    assert term == "Intercept"
    np.testing.assert_allclose(scores, f.ranef()["estimate"] / np.sqrt(marginal), rtol=1e-8)


def test_scores_of_normal_effects_are_standard_whatever_the_group_sizes():
    ((_, scores),) = effect_scores(many_groups(), "g")
    # 300 nearly independent standard normal values: the sd of their sd is 0.04
    assert scores.std() == pytest.approx(1.0, abs=0.13)


def test_scores_at_the_boundary_are_missing(fit):
    ((_, scores),) = effect_scores(fit("Yield ~ 1 + (1 | Batch)", "dyestuff2"), "Batch")
    assert np.isnan(scores).all()
    ax = fit("Yield ~ 1 + (1 | Batch)", "dyestuff2").plot.qq_ranef()
    assert "variance is estimated as 0" in ax.texts[0].get_text()


def test_scores_of_a_posterior_are_those_at_its_mean(posterior):
    ((_, scores),) = effect_scores(posterior, "operator")
    d = posterior.draws
    marginal = marginal_variances(dense(posterior.spec, [d.theta.mean()], "REML", d.sigma.mean()))
    np.testing.assert_allclose(scores, posterior.ranef()["estimate"] / np.sqrt(marginal), rtol=1e-8)
    assert posterior.plot.qq_ranef().get_ylabel() == "posterior mean / its marginal sd"
