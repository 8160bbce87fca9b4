"""The optimiser's record: every evaluation, the decrement, and a status in words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import ranef
from edges.made import FORMULAS, made
from oracle import dense


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", FORMULAS)
def test_every_step_holds_theta_and_the_criterion_there(name, method):
    """θ is given on the user's scale, where the oracle finds the same criterion."""
    fit = ranef.Model(f"y ~ {FORMULAS[name]}", made(3)).fit(method)
    record = fit.optimizer
    assert record.n_evaluations == len(record.steps) > 5
    assert record.steps[0].kind == "start"
    for step in record.steps:
        assert step.theta.shape == fit.theta.shape
        assert step.criterion == pytest.approx(dense(fit.spec, step.theta, method).criterion, rel=1e-9)
        assert step.criterion > fit.criterion - 1e-9


def test_newton_steps_never_go_up():
    fit = ranef.Model("y ~ x + (x | a)", made(3)).fit()
    kinds = [step.kind for step in fit.optimizer.steps]
    first = kinds.index("restart") if "restart" in kinds else len(kinds)
    path = [s.criterion for s in fit.optimizer.steps[:first] if s.kind in ("start", "em", "newton")]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(path))


def test_converged():
    fit = ranef.Model("y ~ x + (x | a)", made(3)).fit()
    assert fit.status == "converged"
    assert 0 <= fit.optimizer.decrement < ranef.Control().tolerance
    assert fit.optimizer.message.startswith("The optimum is interior and the gradient vanishes there.")
    assert f"{fit.optimizer.decrement:.3g}" in fit.optimizer.message
    assert fit.optimizer.message not in str(fit.summary())


def boundary_data() -> pd.DataFrame:
    """Groups have the same mean (each level's noise is centred), and slopes differ."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(10), 8), np.tile([-1.0, 1.0], 40)
    noise = rng.normal(size=(10, 8))
    noise -= noise.mean(axis=1, keepdims=True)
    return pd.DataFrame({"y": noise.ravel() + 2 * rng.normal(size=10)[g] * x, "x": x, "g": g})


def test_boundary_names_the_variance():
    fit = ranef.Model("y ~ x + (x || g)", boundary_data()).fit()
    assert fit.status == "boundary"
    assert "The variance of Intercept by g is estimated as zero." in fit.optimizer.message
    assert "The variance of x" not in fit.optimizer.message
    assert fit.theta["g.Intercept"] == 0.0
    assert fit.theta["g.x"] > 1
    assert fit.optimizer.message in str(fit.summary())


def test_boundary_names_the_term_of_several():
    data = boundary_data().assign(h=lambda d: np.repeat(np.arange(5), 2)[d["g"]])
    data["y"] += 3 * np.arange(5)[data["h"]]
    fit = ranef.Model("y ~ x + (1 | g) + (1 | h)", data).fit()
    assert "The variance of Intercept by g is estimated as zero." in fit.optimizer.message
    assert "by h" not in fit.optimizer.message


def test_not_converged_warns_and_says_so():
    model = ranef.Model("y ~ x + f + (x | a) + (x | b)", made(3))
    with pytest.warns(ranef.ConvergenceWarning, match="stopped before the gradient vanished"):
        fit = model.fit(control=ranef.Control(max_iterations=1))
    assert fit.status == "not converged"
    assert fit.optimizer.message in str(fit.summary())
    assert fit.criterion > model.fit().criterion + 1e-8


@pytest.mark.parametrize("iterations", [0, 1])
def test_the_decrement_is_that_of_the_point_returned(iterations):
    """Half the decrement is about how much lower the criterion goes."""
    model = ranef.Model("y ~ x + (1 | a)", made(3))
    control = ranef.Control(max_iterations=iterations, em_steps=0, tolerance=1e-30)
    with pytest.warns(ranef.ConvergenceWarning):
        stopped = model.fit(start=[0.7], control=control)
    still = stopped.criterion - model.fit().criterion
    assert still == pytest.approx(0.5 * stopped.optimizer.decrement, rel=0.5)
    assert stopped.optimizer.n_evaluations == 1 + iterations


def test_a_record_can_be_read_without_its_arrays():
    record = ranef.Model("y ~ x + (x | a)", made(3)).fit().optimizer
    assert repr(record) == f"<OptimizerRecord: {len(record.steps)} evaluations. {record.message}>"
