from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.likelihood import cross_products, evaluate
from _ranef.nuts import log_density
from _ranef.nuts.collapsed_model import collapsed_model, fits_in_jax
from _ranef.nuts.sampler import Code, potential
from _ranef.posterior import batched, problem
from _ranef.posterior.blocks import Shape, collapsed_arrays, skyline, tail_products
from _ranef.posterior.problem import Hyper, draw_effects, hyper_draws
from _ranef.spec import default_priors
from ranef.priors import R2D2, Cauchy, Exponential, Gamma, HalfCauchy, HalfNormal, StudentT

#: what takes long to compile, and others hold parts of
DEAR = ("three", "crossed slopes", "large p")

STRUCTURES = [
    "one",
    "slope",
    "three",
    "diag",
    "ident",
    "double",
    "crossed",
    "crossed slopes",
    "nested",
    "no intercept",
    "no fixed",
    "intercept only",
    "no random",
    "large p",
]


@pytest.mark.parametrize("path", ["jax", "numpy", "loops", "batched"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_density_is_the_dense_multivariate_normal(name, path, make, dense):
    spec = make.spec(make.formulas[name])
    products = cross_products(spec)
    rng = np.random.default_rng(1)
    for prior in make.priors.values():
        priors = prior(spec)
        density = log_density(spec, products, priors, path)
        for kind in ("random", "random", "zero"):
            theta, sigma = dense.theta(spec, rng, kind), float(np.exp(rng.normal(0.0, 0.5)))
            assert density(theta, sigma) == pytest.approx(dense.log_density(spec, priors, theta, sigma), rel=1e-9)


@pytest.mark.parametrize("path", ["jax", "numpy", "loops", "batched"])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_density_with_weights_offset_and_a_shifted_response(path, shift, make, dense):
    data = make.data()
    data["y"] += shift
    spec = make.spec(make.formulas["crossed"], data, weights="w", offset="o")
    rng = np.random.default_rng(2)
    for prior in make.priors.values():
        priors = prior(spec)
        density = log_density(spec, cross_products(spec), priors, path)
        theta = dense.theta(spec, rng)
        # the dense formula itself loses digits on the shifted response
        tolerance = 1e-9 if shift == 0.0 else 1e-5
        assert density(theta, 0.8) == pytest.approx(dense.log_density(spec, priors, theta, 0.8), rel=tolerance)


def test_flat_priors_give_the_reml_criterion(make, dense):
    spec = make.spec(make.formulas["nested"], weights="w")
    products = cross_products(spec)
    theta = dense.theta(spec, np.random.default_rng(3))
    lambdas = products.scaling.inward(spec.lambdas(theta))
    at = evaluate(products, [lambdas[k] for k in products.order], "REML", 0.7)
    value = log_density(spec, products, make.priors["flat"](spec), "jax")(theta, 0.7)
    assert value == pytest.approx(-0.5 * at.criterion, rel=1e-12)


@pytest.mark.parametrize("name", ["three", "crossed", "nested", "large p"])
def all_families(spec):
    """Every family somewhere, with coefficients that cannot be integrated out."""
    changes = {"sigma": Gamma(2.0, 1.5), "sd": Exponential(0.7)}
    first = next(iter(default_priors(spec).sd), None)
    if first is not None:
        changes["sd[{}, {}]".format(*first)] = HalfCauchy(1.0) if len(spec.terms) > 1 else HalfNormal(2.0)
    names = spec.design.fixed_names
    changes |= dict(zip(names[1:], (StudentT(4.0, 0.1, 0.5), Cauchy(0.2, 1.0)), strict=False))
    if len(names) == 1:
        changes[names[0]] = StudentT(3.0, 9.0, 2.0)
    return default_priors(spec, changes)


def by_jax(problem, q):
    """Value and gradient of the log posterior density by NumPyro."""
    shape, d = problem.shape.padded, problem.layout.n_hyper
    with jax.enable_x64(True):
        data = {
            "hyper": problem.numbers,
            "collapsed": collapsed_arrays(problem.products, problem.fixed, shape, problem.sampled_fill),
            "centre": np.zeros(d),
            "root": np.eye(d),
        }
        energy = potential(Code(collapsed_model(problem.layout, shape), problem.layout.sites, None), data)
        value, slope = jax.value_and_grad(lambda at: -energy({"hyper": at}))(q)
        return float(value), np.asarray(slope)


def without_loops(monkeypatch):
    """Leave the density to the numpy kernels."""
    for name in ("MAX_TAIL", "MAX_SHORT_ROWS"):
        monkeypatch.setattr(problem, name, -1)


@pytest.mark.parametrize("families", ["default", "flat", "all"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DEAR else []) for n in STRUCTURES])
def test_numpyro_the_loops_and_the_numpy_kernels_have_one_density(name, families, make, monkeypatch):
    """Value and gradient in unconstrained coordinates, with padded levels in NumPyro."""
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    priors = all_families(spec) if families == "all" else make.priors[families](spec)
    one = make.problem(spec, priors)
    loops = one.gradient
    without_loops(monkeypatch)
    host = make.problem(spec, priors).gradient
    rng = np.random.default_rng(7)
    for scale in (0.3, 1.5):
        q = scale * rng.standard_normal(one.layout.n_hyper)
        q[len(q) - one.shape.n_sampled :] += one.fixed.pilot[one.fixed.sampled]
        expected, slope = by_jax(one, q)
        for value, gradient in (loops(q), host(q)):
            assert value == pytest.approx(expected, rel=1e-10)
            np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["three", "crossed", "nested", "large p"])
def test_gradient_is_that_of_finite_differences(name, make):
    one = make.problem(spec := make.spec(make.formulas[name]), all_families(spec))
    q, h = 0.5 * np.random.default_rng(4).standard_normal(one.layout.n_hyper), 1e-5
    _, slope = one.gradient(q)
    numeric = [(one.gradient(q + s)[0] - one.gradient(q - s)[0]) / (2 * h) for s in h * np.eye(q.size)]
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-6)


def districts(seed=0):
    """Rows of classes in schools in districts, whose labels say nothing of which is in which."""
    rng = np.random.default_rng(seed)
    c = np.repeat(np.arange(120), 3)
    s, d = c // 4, c // 24
    codes = {"d": rng.permutation(5)[d], "s": rng.permutation(30)[s], "c": rng.permutation(120)[c]}
    x = rng.normal(size=len(c))
    y = rng.normal(size=5)[d] + rng.normal(size=30)[s] * (1 + x) + rng.normal(size=120)[c] + rng.normal(size=len(c))
    return pd.DataFrame({"y": y, "x": x, **{name: np.char.add("l", v.astype(str)) for name, v in codes.items()}})


def test_nested_levels_have_short_rows(make, monkeypatch):
    """One density by the loops, the numpy kernels and NumPyro; where the loops do not look there are no entries."""
    spec = make.spec("y ~ x + (1 | d) + (x | s) + (1 | c)", districts())
    one = make.problem(spec, default_priors(spec))
    assert one.short_rows
    assert one.asks_loops
    first, reach = skyline(one.products, one.shape, 1)
    C = collapsed_arrays(one.products, one.fixed, one.shape, one.fill)["C"]
    rows = tail_products(one.products, one.fixed, one.shape) + np.einsum("amj,anj->mn", C, C)  # as after elimination
    for i, low in enumerate(first[: one.shape.tail]):
        assert not rows[i, :low].any()
        assert not rows[reach[i] : one.shape.tail, i].any()
    q = 0.5 * np.random.default_rng(4).standard_normal(one.layout.n_hyper)
    (value, slope), (expected, its) = one.gradient(q), by_jax(one, q)
    without_loops(monkeypatch)
    kernels = make.problem(spec, default_priors(spec)).gradient(q)
    assert [value, kernels[0]] == pytest.approx([expected, expected], rel=1e-10)
    np.testing.assert_allclose([slope, kernels[1]], [its, its], rtol=1e-7, atol=1e-7)
    crossed = make.spec("y ~ x + (1 | s) + (1 | k)", districts().assign(k=lambda data: np.arange(len(data)) % 30))
    assert not make.problem(crossed, default_priors(crossed)).short_rows


def test_large_crossed_designs_leave_jax(make):
    spec = make.spec(make.formulas["crossed"])
    assert fits_in_jax(make.problem(spec, default_priors(spec)).shape)
    assert not fits_in_jax(Shape((1, 1), (3000, 1100), 3, 0))


def by(path, monkeypatch):
    """Leave draws to one of the ways that there are."""
    if path == "loops":
        monkeypatch.setattr(batched, "MOST_PRODUCTS", -1)
    elif path == "numpy kernels":
        without_loops(monkeypatch)


@pytest.mark.parametrize("path", ["batched", "loops", "numpy kernels"])
@pytest.mark.parametrize("name", ["one", "three", "crossed slopes", "nested", "no intercept", "no fixed", "large p"])
@pytest.mark.parametrize("prior", ["default", "flat"])
def test_draws_have_the_conditional_mean_and_covariance(name, prior, path, make, dense, monkeypatch):
    spec, priors = make.spec(make.formulas[name], weights="w", offset="o"), make.priors[prior]
    theta, sigma = dense.theta(spec, np.random.default_rng(5)) + 0.1, 0.8
    n = 1000 if path == "numpy kernels" else 20_000
    by(path, monkeypatch)
    one = make.problem(spec, priors(spec))
    hyper = Hyper(np.tile(theta, (n, 1)), np.full(n, sigma), np.zeros((n, 0)), {})
    beta, b = draw_effects(one, hyper, np.random.default_rng(6))
    mean, cov = dense.conditional(spec, priors(spec), theta, sigma)
    dense.check_moments(np.hstack([beta, *(x.reshape(n, -1) for x in b)]), mean, cov)


@pytest.mark.parametrize("path", ["batched", "loops", "numpy kernels"])
@pytest.mark.parametrize("name", ["slope", "crossed"])
def test_draws_given_a_coefficient_have_the_moments_given_it(name, path, make, dense, monkeypatch):
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    by(path, monkeypatch)
    one = make.problem(spec, default_priors(spec, {"x": StudentT(4.0, 0.0, 1.0)}))
    theta, sigma, n = (
        dense.theta(spec, np.random.default_rng(5)) + 0.1,
        0.8,
        1000 if path == "numpy kernels" else 20_000,
    )
    hyper = Hyper(np.tile(theta, (n, 1)), np.full(n, sigma), np.full((n, 1), 0.4), {})
    beta, b = draw_effects(one, hyper, np.random.default_rng(6))
    np.testing.assert_allclose(beta[:, 1], 0.4, rtol=1e-12)
    # the same with x as an offset, whose prior then does not matter
    mean, cov = dense.conditional(spec, default_priors(spec, {"x": StudentT(4.0, 0.0, 1.0)}), theta, sigma)
    keep = np.arange(len(mean)) != 1
    step = cov[keep, 1] / cov[1, 1]
    mean, cov = mean[keep] + step * (0.4 - mean[1]), cov[np.ix_(keep, keep)] - np.outer(step, cov[1, keep])
    dense.check_moments(np.hstack([np.delete(beta, 1, axis=1), *(x.reshape(n, -1) for x in b)]), mean, cov)


def test_coordinates_become_what_they_stand_for(make):
    spec = make.spec(make.formulas["three"])
    one = make.problem(spec, default_priors(spec))
    q = np.random.default_rng(2).normal(0.0, 0.7, (5, one.layout.n_hyper))
    hyper = hyper_draws(one, q)
    lam = np.linalg.solve(one.outward[0], spec.terms[0].structure.root(hyper.theta))
    cov = hyper.sigma[:, None, None] ** 2 * lam @ np.swapaxes(lam, 1, 2)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    np.testing.assert_allclose(sd, np.exp(q[:, :3]), rtol=1e-12)
    np.testing.assert_allclose(cov[:, 1, 0] / (sd[:, 1] * sd[:, 0]), np.tanh(q[:, 3] / 2), rtol=1e-10)
    np.testing.assert_allclose(hyper.sigma, np.exp(q[:, -1]), rtol=1e-12)


def test_a_global_scale_is_refused_where_numpy_has_the_density():
    """It was ignored in the density where the tail is short enough for exact draws by the loops."""
    rng = np.random.default_rng(0)
    g, h = rng.integers(0, 2000, 6000), rng.integers(0, 150, 6000)
    data = pd.DataFrame({"y": rng.normal(size=6000), "x": rng.normal(size=6000), "g": g, "h": h})
    model = ranef.Model("y ~ x + (1 | g) + (1 | h)", data)
    with pytest.raises(ranef.FitError, match="R2D2 is not available for crossed designs as large"):
        model.sample(draws=10, warmup=10, priors={"fixef": R2D2()}, seed=1, progress=False)
