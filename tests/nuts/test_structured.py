"""The collapsed density of models whose residual variances have parameters."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.likelihood import RowDensity, RowSums, cross_products, fixed_part
from _ranef.nuts import Settings, sample_posterior
from _ranef.nuts.collapsed_model import collapsed_model
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.sampler import Code, potential
from _ranef.posterior.blocks import arrays_of_sums
from _ranef.posterior.problem import draw_effects, hyper_draws, prepare
from _ranef.spec import rho_log_prior
from likelihood.designs import make_data
from ranef.priors import Normal, StudentT

STRUCTURES = {
    "strata": (ranef.VarIdent("f"), None),
    "constant and power": (ranef.VarConstPower("x"), None),
    "AR(1) in strata": (ranef.VarIdent("f"), ranef.AR1(group="a:b")),
    "compound symmetry": (None, ranef.CompSymm(group="a:b")),
}
PRIORS = {"default": None, "flat": "flat", "sampled": {"fixef[x]": StudentT(4, 0.5, 1.0), "fixef[z]": Normal(0.1, 0.4)}}


@pytest.mark.parametrize("priors", PRIORS)
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("formula", ["y ~ x + z + (x | a)", "y ~ x + z + (1 | a) + (1 | b)"])
def test_density_and_slopes(formula, name, priors, dense):
    data = make_data(3).assign(x=lambda d: d["x"].abs() + 0.3)
    variance, correlation = STRUCTURES[name]
    offset = 0.1 * data["z"].to_numpy()
    model = ranef.Model(formula, data, weights="w", offset=offset, variance=variance, correlation=correlation)
    spec = model.spec
    own = model.priors(PRIORS[priors])
    start = spec.with_rho(spec.rho_start)
    products = cross_products(start)
    density = RowDensity(spec, products, fixed_part(start, products, own))
    theta = np.where(spec.on_diagonal, 0.7, 0.2) * np.ones(spec.n_theta)
    sampled = np.full(len(density.fixed.sampled), 0.4)

    def flat(theta):
        lambdas = products.scaling.inward(spec.lambdas(theta))
        return np.concatenate([lambdas[k].ravel() for k in products.order])

    def value(rho, sigma=0.8):
        return density.value_and_gradient(flat(theta), sigma, sampled, rho)[0]

    rng = np.random.default_rng(2)
    rho = spec.rho_start + 0.3 * rng.normal(size=len(spec.rho_names))
    other = rho + 0.2 * rng.normal(size=len(rho))
    if not len(sampled):
        ours = value(rho) - value(other, 1.1)
        wanted = [dense.log_density(spec.with_rho(r), own, theta, s) for r, s in ((rho, 0.8), (other, 1.1))]
        np.testing.assert_allclose(ours, wanted[0] - wanted[1], rtol=1e-8)
    found = density.value_and_gradient(flat(theta), 0.8, sampled, rho)
    differences = [(value(rho + h) - value(rho - h)) / 2e-5 for h in 1e-5 * np.eye(len(rho))]
    np.testing.assert_allclose(found[-len(rho) :], differences, rtol=1e-6, atol=1e-6)
    of_sigma = (value(rho, 0.8 + 1e-5) - value(rho, 0.8 - 1e-5)) / 2e-5
    np.testing.assert_allclose(found[1 + len(flat(theta))], of_sigma, rtol=1e-6)


def gaps(n=60):
    """Groups of unequal sizes within a, whole times with gaps, three strata."""
    rng = np.random.default_rng(6)
    d = pd.DataFrame({"a": np.repeat(np.arange(6), n // 6), "x": rng.normal(size=n), "y": rng.normal(size=n)})
    d["g"] = d["a"].astype(str) + np.where(d.index % 10 < 3, "p", "q")
    d["t"] = d.groupby("a")["x"].transform(lambda x: np.cumsum(1 + (np.arange(len(x)) % 3 == 1)))
    return d.assign(b=rng.integers(0, 4, n), s=rng.choice(list("uvw"), n), w=rng.uniform(0.5, 2.0, n), h=d["a"] % 3)


LAWS = {
    "strata": {"variance": ranef.VarIdent("s")},
    "exchangeable": {"correlation": ranef.CompSymm(group="g")},
    "autoregression of either sign": {"correlation": ranef.AR1("t", group="a")},
    "autoregression": {"correlation": ranef.CAR1("t", group="a")},
}


@pytest.mark.parametrize(
    "formula", ["y ~ x + (x | a)", pytest.param("y ~ x + (x | a) + (1 | h)", marks=pytest.mark.slow), "y ~ x"]
)
@pytest.mark.parametrize("law", LAWS)
def test_loops_and_jax_are_the_numpy_kernels(law, formula):
    model = ranef.Model(formula, gaps(), weights="w", **LAWS[law])
    priors = model.priors({"fixef[x]": StudentT(4, 0.5, 1.0)})
    problem = prepare(model.spec, None, priors)
    assert problem.compiled
    layout, rng = problem.layout, np.random.default_rng(1)
    lam = problem.sampled_roots.at(rng.uniform(0.3, 0.9, layout.n_theta))
    for rho in rng.normal(0.0, 0.8, (3, layout.rows)):
        out, _, slopes = problem._by_loops_in_lambda(lam, 1.1, np.full(1, 0.2), rho)
        host = problem.rows.value_and_gradient(lam, 1.1, np.full(1, 0.2), rho)
        prior, of_rho = rho_log_prior(model.spec, rho)
        np.testing.assert_allclose(out[0], host[0] + prior, rtol=1e-12)
        np.testing.assert_allclose(out[1:], host[1 : len(out)], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(slopes, host[len(out) :] + of_rho, rtol=1e-9, atol=1e-9)
    shape, d = problem.shape.padded, layout.n_hyper
    code = Code(collapsed_model(layout, shape, None, problem.sums.basis.law), layout.sites, None)
    with jax.enable_x64(True):
        arrays = arrays_of_sums(problem.sums, problem.fixed, shape, problem.sampled_fill)
        data = {"hyper": problem.numbers, "collapsed": arrays, "centre": np.zeros(d), "root": np.eye(d)}
        own = jax.value_and_grad(lambda w: -potential(code, data)({"hyper": w}))
        for q in rng.normal(0.0, 0.5, (3, d)):
            value, slope = own(jnp.asarray(q))
            wanted = problem.gradient(q)
            np.testing.assert_allclose(value, wanted[0], rtol=1e-11)
            np.testing.assert_allclose(slope, wanted[1], rtol=1e-9, atol=1e-9)


def patterns(n=60):
    """Groups that stand in few patterns, and a covariate of few values."""
    data = gaps(n).assign(t=np.arange(n) % 5, k=np.arange(n) // 5, v=1.0 + np.arange(n) % 4)
    return data.drop(index=[3, 17])


#: laws whose coefficients numpy alone knows
NUMERIC = {
    "power": {"variance": ranef.VarPower("v")},
    "constant and power in strata": {"variance": ranef.VarConstPower("v") * ranef.VarIdent("s")},
    "unstructured": {"correlation": ranef.Symm("t", group="k")},
    "by distance": {"correlation": ranef.Exponential("t", group="k", nugget=True)},
}


@pytest.mark.parametrize("formula", ["y ~ x + (x | a)", "y ~ x + (x | a) + (1 | h)", "y ~ x"])
@pytest.mark.parametrize("law", NUMERIC)
def test_sums_by_coefficients_of_numpy_are_the_rows(law, formula):
    """And exact draws of the effects have the same moments."""
    model = ranef.Model(formula, patterns(), weights="w", **NUMERIC[law])
    problem = prepare(model.spec, None, model.priors({"fixef[x]": StudentT(4, 0.5, 1.0)}))
    by_rows = prepare(model.spec, None, problem.priors)
    by_rows.rows.__dict__["sums"] = RowSums(by_rows.rows.spec, by_rows.rows.products)
    assert problem.by_loops
    assert not by_rows.by_loops
    rng = np.random.default_rng(1)
    for q in rng.normal(0.0, 0.5, (3, problem.layout.n_hyper)):
        value, slope = problem.gradient(q)
        wanted, of_rows = by_rows.gradient(q)
        np.testing.assert_allclose(value, wanted, rtol=1e-11)
        np.testing.assert_allclose(slope, of_rows, rtol=1e-8, atol=1e-8)
    hyper = hyper_draws(problem, np.tile(q, (300, 1)))
    ours, theirs = (draw_effects(own, hyper, np.random.default_rng(k)) for k, own in enumerate((problem, by_rows)))
    for a, b in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        error = np.maximum(a.std(axis=0), 1e-12) / np.sqrt(150)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5.5 * error + 1e-9).all()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("centered", [False, True])
def test_the_joint_density_integrates_to_the_collapsed_one(law, centered):
    """It is quadratic in (β, b): its value at the mode with the curvature there is the integral, at any ρ."""
    formula = "y ~ x + (1 | h)" if law == "exchangeable" else "y ~ x + (x | a) + (1 | h)"
    model = ranef.Model(formula, gaps(), weights="w", **LAWS[law])
    problem = prepare(model.spec, None, model.priors())
    layout, d, effects = (
        problem.layout,
        problem.layout.n_hyper,
        zip(problem.shape.levels, problem.shape.sizes, strict=True),
    )
    shape = joint_shape(problem, centered=centered)
    code = Code(joint_model(layout, shape, None, problem.law), layout.sites, None)
    names = [("beta", (2,)), *((f"{'b' if centered else 'z'}{k}", own) for k, own in enumerate(effects))]
    with jax.enable_x64(True):
        arrays = joint_data(problem, shape)
        data = {"hyper": problem.numbers, "collapsed": arrays, "centre": np.zeros(d), "root": np.eye(d)}

        def density(flat, q):
            ends = np.cumsum([int(np.prod(own)) for _, own in names])
            parts = jnp.split(flat, ends[:-1])
            sites = {name: part.reshape(own) for (name, own), part in zip(names, parts, strict=True)}
            return -potential(code, data)({"hyper": q, **sites})

        m = sum(int(np.prod(own)) for _, own in names)
        at = jax.jit(lambda x, q: (density(x, q), jax.grad(density)(x, q), jax.hessian(density)(x, q)))
        values = []
        for q in np.random.default_rng(1).normal(0.0, 0.4, (3, d)):
            _, slope, curvature = at(jnp.zeros(m), q)
            mode = -np.linalg.solve(curvature, slope)
            value, rest, again = at(jnp.asarray(mode), q)
            np.testing.assert_allclose(again, curvature, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(rest, 0.0, atol=1e-6)
            integral = value + 0.5 * m * np.log(2.0 * np.pi) - 0.5 * np.linalg.slogdet(-curvature)[1]
            values.append(integral - problem.gradient(q)[0])
    np.testing.assert_allclose(values, values[0], atol=1e-8)  # a Jacobian of internal coordinates is left


@pytest.mark.slow
def test_non_centred_draws_are_those_of_the_marginal_model():
    spec, priors = small()
    settings = Settings(draws=400, chains=4, warmup=300, seed=3, progress=False, parameterization="noncentered")
    draws = sample_posterior(spec, priors=priors, settings=settings)
    rho = draws.extras["rho"][..., 0]
    found = np.stack([np.log(draws.theta[..., 0] * draws.sigma), np.log(draws.sigma) + 0.5 * rho, rho], axis=-1)
    wanted, spread = quadrature()
    of_chains = found.mean(axis=1)
    error = np.maximum(of_chains.std(axis=0, ddof=1) / 2.0, spread / 25.0)
    assert (np.abs(of_chains.mean(axis=0) - wanted) < 5.0 * error).all()


@pytest.mark.parametrize("law", LAWS)
def test_related_levels(law):
    """The host's density is that of the loops where the known covariance is that of independent levels."""
    data, formula = gaps(), "y ~ x + (1 | h)" if law == "exchangeable" else "y ~ x + (x | a)"
    names = sorted(data["h" if law == "exchangeable" else "a"].unique())
    identity = pd.DataFrame(np.eye(len(names)), names, names)
    gradients = []
    for cov in (None, {formula[-2]: identity}):
        model = ranef.Model(formula, data, weights="w", cov=cov, **LAWS[law])
        problem = prepare(model.spec, None, model.priors())
        assert problem.compiled == (cov is None)
        gradients.append(problem.gradient)
    for q in np.random.default_rng(1).normal(0.0, 0.5, (3, problem.layout.n_hyper)):
        (value, slope), wanted = (gradient(q) for gradient in gradients)
        np.testing.assert_allclose(value, wanted[0], rtol=1e-12)
        np.testing.assert_allclose(slope, wanted[1], rtol=1e-8, atol=1e-9)


def small():
    """Two strata of residuals, 6 groups of 8."""
    rng = np.random.default_rng(4)
    g, s = np.repeat(np.arange(6), 8), np.tile(["p", "q"], 24)
    y = 3.0 + rng.normal(size=6)[g] + np.where(s == "p", 0.5, 1.2) * rng.normal(size=48)
    data = pd.DataFrame({"y": y, "g": g, "s": s})
    model = ranef.Model("y ~ 1 + (1 | g)", data, variance=ranef.VarIdent("s"))
    return model.spec, model.priors()


@cache
def quadrature():
    """Posterior means and sds of log sd(g), the mean log sd of rows and ρ, over a grid."""
    spec, priors = small()
    gradient = prepare(spec, None, priors).gradient
    axes = [np.linspace(*ends, 25) for ends in ((-3.5, 2.5), (-1.0, 0.6), (-0.6, 2.0))]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    logs = np.array([gradient(q)[0] for q in grid])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = weights @ grid
    return mean, np.sqrt(weights @ (grid - mean) ** 2)


def test_the_gradient_of_the_posterior():
    gradient = prepare(small()[0], None, small()[1]).gradient
    q = np.array([0.2, -0.4, 0.6])
    steps = 1e-5 * np.eye(3)
    wanted = [(gradient(q + h)[0] - gradient(q - h)[0]) / 2e-5 for h in steps]
    np.testing.assert_allclose(gradient(q)[1], wanted, rtol=1e-6)


@pytest.mark.parametrize("sampler", ["nutpie", "direct", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_both_samplers_find_the_posterior(sampler):
    spec, priors = small()
    settings = Settings(draws=400, chains=4, seed=3, progress=False, sampler=sampler)
    draws = sample_posterior(spec, priors=priors, settings=settings)
    sd = draws.theta[..., 0] * draws.sigma
    rho = draws.extras["rho"][..., 0]
    mean = np.log(draws.sigma) + 0.5 * rho  # of the rows, on which the prior of sigma stands
    found = np.stack([np.log(sd), mean, rho], axis=-1)
    wanted, spread = quadrature()
    of_chains = found.mean(axis=1)
    error = np.maximum(of_chains.std(axis=0, ddof=1) / 2.0, spread / 25.0)
    assert (np.abs(of_chains.mean(axis=0) - wanted) < 5.0 * error).all()
    np.testing.assert_allclose(found.reshape(-1, 3).std(axis=0), spread, rtol=0.15)
    # effects given all else: their means over the draws are those of the plain formula at each draw
    y, codes = spec.design.y, spec.groupings[0].codes
    weights = np.exp(-2.0 * rho[..., None] * spec.variance.codes) / draws.sigma[..., None] ** 2
    precision = np.stack([weights[..., codes == j].sum(axis=-1) for j in range(6)], axis=-1) + 1.0 / sd[..., None] ** 2
    left = (y - draws.beta) * weights
    means = np.stack([left[..., codes == j].sum(axis=-1) for j in range(6)], axis=-1) / precision
    z = (draws.b[0][..., 0] - means) * np.sqrt(precision)
    assert np.abs(z.mean(axis=(0, 1))).max() * np.sqrt(z[..., 0].size) < 4.5
    np.testing.assert_allclose(z.std(axis=(0, 1)), 1.0, atol=0.08)


@pytest.mark.parametrize("law", ["strata", "autoregression of either sign"])
def test_slopes_where_effects_have_a_structure_too(law):
    """λ is of numpy then, and all else of the loops."""
    model = ranef.Model("y ~ x + cs(0 + s | a)", gaps(120), **LAWS[law])
    problem = prepare(model.spec, None, model.priors())
    assert problem.by_loops
    assert not problem.compiled
    q = np.random.default_rng(1).normal(0.0, 0.4, problem.layout.n_hyper)
    steps = 1e-5 * np.eye(len(q))
    wanted = [(problem.gradient(q + h)[0] - problem.gradient(q - h)[0]) / 2e-5 for h in steps]
    np.testing.assert_allclose(problem.gradient(q)[1], wanted, rtol=1e-6, atol=1e-6)
