"""Many responses of one generalised model fitted together: each as it is by itself, by the same exact gradient."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from _ranef.inference.generalised_refits import make_together
from _ranef.inference.joint_hessian import joint_information
from _ranef.likelihood import ManyPoints, rows_together
from _ranef.reml import refit_linked
from generalised import MODELS, gradient, laplace_of, linked_fit, somewhere, there


@pytest.mark.parametrize("name", MODELS)
def test_criteria_and_gradients_of_many_points_are_those_of_each(name):
    model, many, N = laplace_of(name), rows_together(laplace_of(name)), 2
    spec, (n, p) = model.spec, (model.spec.n_theta, model.spec.n_fixed)
    xs, order = np.array([somewhere(model, seed) for seed in range(N)]), model.products.order
    lambdas = tuple(np.stack([spec.lambdas(x[:n])[k] for x in xs]) for k in order)
    own = {name: np.exp(xs[:, n + p + i]) for i, name in enumerate(model.family.dispersions)}
    zero = tuple(np.zeros((N * J, q, 1)) for J, q in zip(many.A.n_levels, many.A.sizes, strict=True))
    found = many.slopes(ManyPoints(lambdas, xs[:, n : n + p], own), zero, 1e-8)
    for i, x in enumerate(xs):
        roots = [found.roots[order.index(k)][i] for k in range(len(order))]
        slopes = np.concatenate([spec.pull_back(x[:n], roots), found.sampled[i], found.logs[i]])
        truth = gradient(model, x)
        assert found.criterion[i] == pytest.approx(there(model, x).criterion, rel=1e-10)
        assert np.allclose(slopes, truth, atol=1e-7 * np.abs(truth).max())


@pytest.mark.parametrize("name", ["logit", "nested", "crossed", "slope", "classes", "tails"])
def test_responses_are_fitted_as_each_is_by_itself(name):
    fit = linked_fit(name)
    Y = fit.simulate(4, seed=1)
    found = make_together(fit.spec, fit.estimates).refits(Y)
    assert found.found.sum() >= 2
    b = int(found.found.argmax())
    alone = fit._again(Y[:, b])
    assert found.criterion[b] == pytest.approx(alone.criterion, abs=1e-7)
    assert np.allclose(found.theta[b], alone.theta, atol=1e-4)
    assert np.allclose(found.beta[b], alone.fixef, atol=1e-4 * np.abs(alone.fixef).max())
    assert np.allclose(found.dispersion[b], alone.dispersion, rtol=1e-4)


def test_what_may_be_separated_or_on_a_boundary_is_left_for_a_fit_of_its_own():
    fit = linked_fit("logit")
    joint, period = joint_information(fit.spec, fit.estimates), ranef.datasets.load("cbpp")["period"].astype(str)
    apart = np.where(period == "4", 0.0, fit.spec.design.y)
    flat = np.round(fit.fitted("none") * fit.spec.design.weights) / fit.spec.design.weights
    found = refit_linked(joint.problem, joint.x, joint.hessian, np.column_stack([apart, flat, fit.spec.design.y]))
    assert found.found.tolist() == [False, False, True]
    assert found.criterion[2] == pytest.approx(fit.criterion, abs=1e-8)


def test_a_bootstrap_by_batches_is_that_of_one_fit_after_the_other():
    fit = linked_fit("logit")
    whole = fit.bootstrap(12, seed=3).replicates
    one = fit.bootstrap(12, lambda again: again.fixef, seed=3).replicates
    assert np.allclose(whole[one.columns], one, atol=1e-4)


def test_quadrature_and_singular_fits_are_not_fitted_together():
    fit = linked_fit("logit")
    assert make_together(fit.spec, fit.estimates) is not None
    quadrature = ranef.Model.of(fit).fit(nagq=3)
    assert make_together(quadrature.spec, quadrature.estimates) is None
