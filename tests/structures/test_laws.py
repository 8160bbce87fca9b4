"""The laws that every covariance structure keeps, alone and in a model: all that are registered, and one of a test.

A structure that is added to ``STRUCTURES`` is tested here without a line of its own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import _ranef.formula
import ranef
from _ranef.structures import STRUCTURES
from oracle import dense, interior, jacobian
from structures.toy import ToySymmetry

SIZES = (1, 2, 3)

KINDS = [*STRUCTURES.values(), *([] if ToySymmetry in STRUCTURES.values() else [ToySymmetry])]

EVERY = [pytest.param(kind, p, id=f"{kind.__name__}-{p}") for kind in KINDS for p in SIZES if p >= kind.least]

#: columns of each size: of a factor, which all structures are made for, and of covariates, which have to be scaled
COLUMNS = {"factor": ("1", "0 + two", "0 + three"), "covariates": ("0 + x", "x", "x + z")}

METHODS = ("REML", "ML")

of_every_structure = pytest.mark.parametrize(("kind", "p"), EVERY)

on_all_columns = pytest.mark.parametrize(
    ("kind", "p", "columns"),
    [
        pytest.param(*case.values, columns, id=f"{case.id}-{columns}")
        for case in EVERY
        for columns in COLUMNS
        if columns == "factor" or not case.values[0].levels
    ],
)


def drawn(kind, p, seed=0):
    """A structure, θ away from its boundary and numbers for more."""
    rng, own = np.random.default_rng(seed), kind(p)
    theta = rng.normal(size=own.n_theta)
    return own, np.where(own.on_diagonal, 0.3 + np.abs(theta), theta), rng


def covariance(root):
    return root @ np.swapaxes(root, -1, -2)


# -- alone -----------------------------------------------------------------------------------------------------------


@of_every_structure
def test_the_root_is_lower_triangular_and_every_parameter_has_a_name(kind, p):
    own, theta, _ = drawn(kind, p)
    assert own.root(theta).shape == (p, p)
    assert (np.triu(own.root(theta), 1) == 0).all()
    assert len(own.labels("abc"[:p])) == own.n_theta == len(own.on_diagonal) == len(theta)
    assert own.shared == (len(own.own_sds) < own.size)
    assert all(0 <= j < i < p for i, j in own.pairs)


@of_every_structure
def test_the_jacobian_is_that_of_differences(kind, p):
    own, theta, _ = drawn(kind, p)
    differences = np.moveaxis(jacobian(own.root, theta, 1e-6), -1, 0)
    np.testing.assert_allclose(own.jacobian(theta), differences, atol=1e-8)
    assert (own.touched(theta) == (own.jacobian(theta) != 0)).all()


@of_every_structure
def test_pulling_back_is_adjoint_to_the_step_of_the_root(kind, p):
    """⟨pull_back(G), s⟩ = ⟨G, J s⟩ for every G and s, with the jacobian of differences."""
    own, theta, rng = drawn(kind, p)
    G, step = rng.normal(size=(p, p)), rng.normal(size=own.n_theta)
    along = jacobian(lambda h: own.root(theta + h[0] * step), np.zeros(1), 1e-6)[..., 0]
    assert own.pull_back(theta, G) @ step == pytest.approx((G * along).sum(), abs=1e-7)


@of_every_structure
def test_the_change_of_theta_is_what_changed_the_root(kind, p):
    own, theta, rng = drawn(kind, p)
    step = rng.normal(size=own.n_theta)
    change = np.einsum("i,ijk->jk", step, own.jacobian(theta))
    np.testing.assert_allclose(own.change(theta, change), step, atol=1e-10)


@of_every_structure
def test_the_closest_of_a_root_turned_gives_its_covariance_back(kind, p):
    own, theta, rng = drawn(kind, p)
    lam = own.root(theta)
    turn = np.linalg.qr(rng.normal(size=(p + 1, p)))[0].T
    again = own.root(own.closest(lam @ turn))
    np.testing.assert_allclose(covariance(again), covariance(lam), rtol=1e-11, atol=1e-13)


@of_every_structure
def test_the_closest_of_any_root_stays_where_it_is(kind, p):
    """A projection: what is closest to the closest is itself, and no θ near it is closer in the sense of EM."""
    own, _, rng = drawn(kind, p)
    second = covariance(rng.normal(size=(p, 30))) / 30
    theta = own.closest(np.linalg.cholesky(second))
    np.testing.assert_allclose(own.closest(own.root(theta)), theta, rtol=1e-8, atol=1e-10)

    def misfit(at):
        D = covariance(own.root(at))
        return np.linalg.slogdet(D)[1] + np.trace(np.linalg.solve(D, second))

    assert all(misfit(theta) <= misfit(theta + h) + 1e-10 for e in np.eye(own.n_theta) for h in (-0.01 * e, 0.01 * e))


@of_every_structure
def test_maps_of_scale_are_upper_triangular_and_keep_the_structure(kind, p):
    own, theta, rng = drawn(kind, p)
    columns = rng.normal(size=(9, p)) * [1.0, 10.0, 0.2][:p]
    T = own.scaling_map(columns.T @ columns / 9)
    assert (np.tril(T, -1) == 0).all()
    assert (np.diag(T) > 0).all()
    scaled = T @ own.root(theta)
    again = own.root(own.closest(scaled))
    np.testing.assert_allclose(covariance(again), covariance(scaled), rtol=1e-10)
    assert ((columns @ T) ** 2).mean() == pytest.approx(1.0)


@of_every_structure
def test_many_at_once_are_each_on_its_own(kind, p):
    own, _, rng = drawn(kind, p)
    roots = rng.normal(size=(2, 5, p, p))
    thetas = own.closest(roots)
    assert thetas.shape == (2, 5, own.n_theta)
    assert own.root(thetas).shape == (2, 5, p, p)
    for i in np.ndindex(2, 5):
        np.testing.assert_allclose(thetas[i], own.closest(roots[i]), rtol=1e-12)
        np.testing.assert_allclose(own.root(thetas)[i], own.root(thetas[i]), rtol=1e-12)
        np.testing.assert_allclose(
            own.pull_back(thetas, roots)[i], own.pull_back(thetas[i], roots[i]), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(own.change(thetas, roots)[i], own.change(thetas[i], roots[i]), rtol=1e-9, atol=1e-12)


@of_every_structure
def test_from_zero_the_steepest_variance_is_of_the_structure(kind, p):
    """Along each direction D grows within the structure, and W says how fast the criterion moves."""
    own, _, rng = drawn(kind, p, 1)
    W = rng.normal(size=(p, p))
    W = W + W.T
    slopes, directions = own.falls(W, np.eye(p))
    for slope, v in zip(slopes, directions.T, strict=True):
        D = covariance(own.root(own.closest(v[:, None])))
        # a correlation of one may be the end of an open interval, as that of the test's own structure is
        assert np.trace(W @ D) == pytest.approx(slope, rel=1e-5, abs=1e-5)


# -- in a model ------------------------------------------------------------------------------------------------------


def rows():
    """Twelve groups of nine rows with effects of three levels of a factor."""
    rng = np.random.default_rng(5)
    group, three = np.repeat(np.arange(12), 9), np.tile(np.arange(3), 36)
    b = rng.normal(size=(12, 1)) + 0.8 * rng.normal(size=(12, 3))
    x, z = rng.normal(1.0, 2.0, 108), rng.normal(size=108)
    y = three + x + b[group, three] + 0.3 * b[group, 0] * x + 0.7 * rng.normal(size=108)
    frame = {"y": y, "x": x, "z": z, "g": group, "w": rng.uniform(0.5, 2.0, 108)}
    return pd.DataFrame(frame | {"three": np.array(list("abc"))[three], "two": np.array(list("pq"))[three // 2]})


@pytest.fixture
def make(monkeypatch):
    """Make a model with one term of a structure."""

    def model(kind, p, columns):
        monkeypatch.setitem(STRUCTURES, kind.word, kind)
        word = next(name for name, means in _ranef.formula.STRUCTURES.items() if means == kind.word)
        return ranef.Model(f"y ~ three + x + {word}({COLUMNS[columns][p - 1]} | g)", rows(), weights="w")

    return model


@pytest.mark.parametrize("method", METHODS)
@on_all_columns
def test_criterion_and_gradient_at_any_theta_are_the_oracles(kind, p, columns, method, make):
    model = make(kind, p, columns)
    spec, theta = model.spec, interior(model.spec, 2)
    at = model.likelihood(method).at(theta)
    by_lambda = [np.linalg.solve(T.T, G) for T, G in zip(at.likelihood.maps, at.gradient, strict=True)]
    slope = jacobian(lambda t: dense(spec, t, method).criterion, theta)
    assert at.criterion == pytest.approx(dense(spec, theta, method).criterion, rel=1e-11)
    np.testing.assert_allclose(spec.pull_back(theta, by_lambda), slope, atol=1e-6 * (1 + np.abs(slope).max()))


@pytest.mark.parametrize("method", METHODS)
@on_all_columns
def test_theta_for_standard_columns_and_back_is_the_same_covariance(kind, p, columns, method, make):
    model = make(kind, p, columns)
    likelihood, theta = model.likelihood(method), interior(model.spec, 3)
    again = likelihood.to_written(likelihood.to_standard(theta))
    for lam, own in zip(model.spec.lambdas(again), model.spec.lambdas(theta), strict=True):
        np.testing.assert_allclose(covariance(lam), covariance(own), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@of_every_structure
def test_no_search_from_a_few_starts_ends_below_the_fit(kind, p, method, make):
    model = make(kind, p, "factor")
    fit, spec = model.fit(method), model.spec

    def value(theta):
        return dense(spec, theta, method).criterion

    options = {"xatol": 1e-6, "fatol": 1e-9, "maxfev": 400 * spec.n_theta}
    found = [
        optimize.minimize(value, drawn(kind, p, s)[1], method="Nelder-Mead", options=options).fun for s in range(3)
    ]
    assert fit.criterion == pytest.approx(value(fit.theta.to_numpy()), rel=1e-10)
    assert fit.criterion <= min(found) + 1e-7
    assert fit.status == "converged"
