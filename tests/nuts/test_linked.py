"""Generalised responses by densities of numpy, joint and collapsed: against JAX, dense truths and quadrature."""

from dataclasses import replace

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import sparse, special, stats

import ranef
from _ranef.nuts.jax_settings import own_settings
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.numpyro_engine import _double
from _ranef.nuts.sampler import Code, potential
from _ranef.posterior.generalised_density import Collapsed, Joint
from _ranef.posterior.joint_draws import joint_effects, with_degrees
from _ranef.posterior.loops.joint_rows import joint_density
from _ranef.posterior.problem import hyper_draws, prepare
from generalised import MODELS, dense_laplace, linked_fit, log_density, spec_of
from nuts.counts import by_quadrature, counts

SMALL = {"draws": 30, "warmup": 30, "chains": 2, "seed": 1, "progress": False}


def problem_of(name):
    model = ranef.Model.of(linked_fit(name))
    return prepare(model.spec, None, model.priors(), linked_fit(name).estimates)


def point(joint, start, seed=0):
    """Coordinates near the fit."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([joint.outer_starts(start)[0], 0.3 * rng.normal(size=sum(J * p for J, p in joint.shapes))])
    return x + 0.002 * rng.normal(size=len(x))


def partly(problem):
    """With what rows tell of levels, were all weights one."""
    joint = Joint(problem)
    return replace(joint, informed=Collapsed(problem).laplace.weighted(np.ones(problem.spec.n_obs)).diag)


#: one factor, slopes, crossed factors, and dispersions
JAXED = [("logit", True), ("slope", False), pytest.param("crossed", True, marks=pytest.mark.slow), ("classes", False)]


@pytest.mark.parametrize(("name", "centered"), JAXED)
def test_numpy_and_jax_have_one_joint_density(name, centered):
    problem = problem_of(name)
    joint, d = Joint(problem, centered), problem.layout.n_hyper
    x = point(joint, linked_fit(name).estimates)
    with own_settings():
        shape = joint_shape(problem, centered=centered)
        data = {"hyper": _double(problem.numbers), "collapsed": joint_data(problem, shape)}
        code = Code(joint_model(problem.layout, shape, None, problem.law), problem.layout.sites, None)
        held = data | {"centre": np.zeros(d), "root": np.eye(d)}
        sites = {"hyper": x[:d], **joint.positions(x)}
        energy = float(potential(code, held)(jax.tree.map(jax.numpy.asarray, sites)))
    np.testing.assert_allclose(joint.gradient(x)[0], -energy, rtol=1e-11)


def two_columns():
    """Slopes of shares and counts, where the first factor has two effects and the second one."""
    rng, n = np.random.default_rng(3), 90
    data = pd.DataFrame({"g": rng.integers(0, 9, n), "h": rng.integers(0, 5, n), "x": rng.normal(1.0, 1.0, n)})
    eta = 0.3 * data["x"] + rng.normal(size=9)[data["g"]] + rng.normal(size=9)[data["g"]] * data["x"]
    data = data.assign(k=rng.binomial(5, special.expit(eta)), y=rng.poisson(np.exp(eta)))
    return data.assign(m=5 - data["k"], g=data["g"].astype(str), h=data["h"].astype(str))


@pytest.mark.parametrize("informed", [False, True], ids=["noncentered", "partly"])
@pytest.mark.parametrize(("response", "family"), [("cbind(k, m)", "binomial"), ("y", "poisson")])
def test_loops_have_the_joint_density_of_numpy(response, family, informed):
    """To rounding, with a coefficient that is sampled, and in coordinates of a sparse root."""
    model = ranef.Model(f"{response} ~ x + (x | g) + (1 | h)", two_columns(), family=family)
    problem = prepare(model.spec, None, model.priors({"x": ranef.priors.StudentT(4, 0.0, 1.0)}))
    joint = partly(problem) if informed else Joint(problem)
    assert joint.by_loops
    assert problem.shape.n_sampled == 1
    x = point(joint, None)
    (value, slope), (expected, other) = joint.gradient(x), joint.by_numpy(x)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(slope, other, rtol=1e-9, atol=1e-10 * np.abs(other).max())
    root = sparse.random_array((len(x), len(x)), density=0.1, rng=np.random.default_rng(1)) + sparse.eye_array(len(x))
    w, found = sparse.linalg.spsolve(root.tocsc(), x - 0.1), np.empty_like(x)
    value = joint_density(w, joint.packed(np.full(len(x), 0.1), root), found)
    np.testing.assert_allclose(value, expected, rtol=1e-11)
    np.testing.assert_allclose(found, root.T @ other, rtol=1e-8, atol=1e-9 * np.abs(other).max())


def differences(density, x, h=1e-4):
    """Of the fourth order."""

    def one(e):
        near, far = (density(x + k * h * e)[0] - density(x - k * h * e)[0] for k in (1, 2))
        return (8.0 * near - far) / (12.0 * h)

    return np.array([one(e) for e in np.eye(len(x))])


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_differences(name):
    """Of all families and links, along every parameter and some effects; to what differences resolve."""
    problem, start = problem_of(name), linked_fit(name).estimates
    collapsed = Collapsed(problem)
    for density, n in (
        (partly(problem), 3),
        (Joint(problem, True), 3),
        (collapsed, 0),
    ):
        x = point(density, start) if n else collapsed.outer_starts(start)[0] + 0.002
        g, n = density.gradient, collapsed.n_outer + n
        found = g(x)[1]
        expected = differences(lambda y, g=g, x=x, n=n: g(np.concatenate([y, x[n:]])), x[:n])
        np.testing.assert_allclose(found[:n], expected, rtol=2e-5, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("name", ["logit", "slope"])
def test_the_collapsed_density_is_laplace_of_the_joint_one(name):
    """The dense approximation, the priors by scipy, at θ and β of the coordinates."""
    problem, spec, start = problem_of(name), spec_of(name), linked_fit(name).estimates
    collapsed = Collapsed(problem)
    values = []
    for seed in (1, 2):
        q = collapsed.outer_starts(start)[0] + 0.05 * np.random.default_rng(seed).normal(size=collapsed.n_outer)
        d = problem.layout.n_hyper
        hyper = hyper_draws(problem, q[:d])
        coefficients, logs, _ = collapsed.split(q[d:])
        own = collapsed.own(logs)
        beta = problem.fixed.beta(coefficients, hyper.sampled)
        c = problem.fixed.centre @ beta
        _, kinds = problem.priors.coordinates(spec.design.fixed_names)
        prior = sum(stats.norm.logpdf(x, k.loc, k.scale) for x, k in zip(c, kinds, strict=True))
        laplace = -0.5 * dense_laplace(spec, hyper.theta, beta, {k: float(v) for k, v in own.items()})
        values.append((collapsed.gradient(q)[0], laplace + prior, q))
    (a, b, q), (e, f, r) = values
    rest = np.zeros(len(q) - problem.layout.n_hyper)
    none = lambda lam, sigma, sampled, rest: (np.zeros(2 + len(lam) + len(sampled)), 0.0, rest)  # noqa: E731
    priors = problem.under_priors(none, problem.sampled_roots)
    d = problem.layout.n_hyper
    others = [priors(np.concatenate([x[:d], rest]))[0] for x in (q, r)]
    own_priors = [
        sum(
            stats.gamma.logpdf(np.exp(z), p.shape, scale=1 / p.rate) + z
            for z, p in zip(
                collapsed.split(x[d:])[1], (problem.priors.response[n] for n in collapsed.names), strict=True
            )
        )
        for x in (q, r)
    ]
    np.testing.assert_allclose((a - e) - (others[0] - others[1]) - (own_priors[0] - own_priors[1]), b - f, atol=2e-4)


@pytest.mark.parametrize("centered", [False, True], ids=["noncentered", "centered"])
def test_effects_of_draws_are_those_of_the_density(centered):
    """With correlated slopes of a covariate far from zero, where another root of the covariance would turn them."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(6), 8), rng.normal(3.0, 1.0, 48)
    model = ranef.Model("y ~ x + (x | g)", {"y": rng.poisson(2, 48), "x": x, "g": g.astype(str)}, family="poisson")
    spec = model.spec
    problem = prepare(spec, None, model.priors())
    joint, d = Joint(problem, centered), problem.layout.n_hyper
    values = []
    for seed in (0, 1):
        q = point(joint, None, seed)
        flat = q[None, None]
        positions = joint.positions(flat)
        hyper = with_degrees(problem, positions, hyper_draws(problem, flat[..., :d]))
        beta, (b,) = joint_effects(problem, positions, hyper)
        eta = spec.design.X @ beta[0, 0] + (spec.groupings[0].Z * b[0, 0][g]).sum(axis=1)
        lam = spec.lambdas(hyper.theta[0, 0])[0]
        u = np.linalg.solve(lam, b[0, 0].T)
        own = log_density(spec, eta, None).sum() - 0.5 * (u**2).sum()
        own -= 6 * np.linalg.slogdet(lam)[1] if centered else 0.0
        c = problem.fixed.centre @ beta[0, 0]
        _, kinds = problem.priors.coordinates(spec.design.fixed_names)
        own += sum(stats.norm.logpdf(v, k.loc, k.scale) for v, k in zip(c, kinds, strict=True))
        none = lambda lam, sigma, sampled, rest: (np.zeros(2 + len(lam) + len(sampled)), 0.0, rest)  # noqa: E731
        of_hyper = problem.under_priors(none, problem.sampled_roots)(np.concatenate([q[:d], np.zeros(len(q) - d)]))[0]
        values.append(joint.gradient(q)[0] - own - of_hyper)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


SAMPLERS = {
    "joint": {"sampler": "nutpie"},
    "noncentered": {"sampler": "nutpie", "parameterization": "noncentered", "warmup": 500},
    "collapsed": {"sampler": "nutpie", "parameterization": "marginal"},
    "collapsed by numpyro": {"sampler": "numpyro", "parameterization": "marginal", "draws": 300},
}


@pytest.mark.parametrize(
    "name", [*list(SAMPLERS)[:1], *(pytest.param(n, marks=pytest.mark.slow) for n in list(SAMPLERS)[1:])]
)
def test_draws_are_those_of_quadrature(name):
    data = counts()
    model = ranef.Model("y ~ 1 + (1 | g)", data, family="poisson")
    fit = model.sample(**({"draws": 700, "seed": 1, "progress": False, "target_accept": 0.9} | SAMPLERS[name]))
    table = fit.diagnostics.set_index("name")
    for parameter, (mean, sd) in by_quadrature(data, model).items():
        row = table.loc[parameter]
        assert abs(row["estimate"] - mean) < 4.0 * sd / np.sqrt(row["ess_bulk"]), parameter
        assert abs(row["sd"] / sd - 1.0) < 0.2, parameter
    assert fit.engine == "NUTS"


def few_bits():
    """Zeros and ones, two in a level."""
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(150), 2)
    return pd.DataFrame({"y": rng.binomial(1, special.expit(rng.normal(0, 3.0, 150)[g])), "g": g.astype(str)})


@pytest.mark.slow
def test_where_laplace_is_poor_the_weights_say_so():
    with pytest.warns(ranef.ConvergenceWarning, match="Pareto k̂"):
        fit = ranef.Model("y ~ 1 + (1 | g)", few_bits(), family="binomial").sample(
            draws=300, seed=1, sampler="nutpie", parameterization="marginal", progress=False
        )
    assert not fit.ok
    assert fit.glance()["pareto_k"].item() > 0.7
    assert any("noncentered" in words for words in fit.warnings)


def test_refusals_come_before_the_fit(monkeypatch):
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson")

    def never(*_, **__):
        raise AssertionError("a fit")

    monkeypatch.setattr("_ranef.user.model.generalised_fit", never)
    with pytest.raises(ranef.FitError, match="checkpoint"):
        model.sample(sampler="nutpie", checkpoint="x.ranef")
    with pytest.raises(ranef.FitError, match="Student t effects"):
        model.sample(sampler="nutpie", priors={"ranef": ranef.priors.StudentT(4)})
    with pytest.raises(ranef.FitError, match="does not know"):
        model.sample(parameterization="marginal", priors={"sd": dist.LogNormal(0.0, 1.0)})


def test_a_saved_run_of_weights_is_the_same(tmp_path):
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson")
    with pytest.warns(ranef.ConvergenceWarning):
        fit = model.sample(**SMALL, sampler="nutpie", parameterization="marginal")
    loaded = ranef.load(fit.save(tmp_path / "p.ranef"))
    pd.testing.assert_frame_equal(loaded.tidy(), fit.tidy())
    assert loaded.draws.importance == fit.draws.importance
    assert "weights of the exact" in str(fit.summary())
    np.testing.assert_array_equal(loaded.draws.b[0], fit.draws.b[0])


def related(scale=1.0):
    """Counts of ten related levels, and the roots by which they are."""
    rng = np.random.default_rng(4)
    K = scale * 0.6 ** np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    g = np.repeat(np.arange(10), 4)
    y = rng.poisson(np.exp(0.5 + 0.6 * (np.linalg.cholesky(K) @ rng.normal(size=10))[g]))
    names = [str(j) for j in range(10)]
    return pd.DataFrame({"y": y, "g": g.astype(str)}), pd.DataFrame(K, names, names)


def test_related_levels_have_the_density_of_their_covariance():
    data, K = related()
    model = ranef.Model("y ~ 1 + (1 | g)", data, family="poisson", cov={"g": K})
    problem = prepare(model.spec, None, model.priors())
    joint, d, values = Joint(problem), problem.layout.n_hyper, []
    for seed in (0, 1):
        q = point(joint, None, seed)
        flat = q[None, None]
        positions = joint.positions(flat)
        hyper = hyper_draws(problem, flat[..., :d])
        beta, (b,) = joint_effects(problem, positions, hyper)
        own = stats.poisson.logpmf(data["y"], np.exp(beta[0, 0, 0] + b[0, 0, data["g"].astype(int), 0])).sum()
        sd = float(hyper.theta[0, 0, 0])
        own += stats.multivariate_normal.logpdf(b[0, 0, :, 0], cov=sd**2 * K.to_numpy()) + 10 * np.log(sd)
        kind = problem.priors.coordinates(("Intercept",))[1][0]
        own += stats.norm.logpdf(beta[0, 0, 0], kind.loc, kind.scale)
        prior = problem.priors.sd["g", "Intercept"]
        own += stats.t.logpdf(sd / prior.scale, prior.df) + np.log(sd)
        values.append(joint.gradient(q)[0] - own)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)
    np.testing.assert_allclose(differences(joint.gradient, q), joint.gradient(q)[1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_related_levels_are_sampled_by_both():
    data, K = related()
    model = ranef.Model("y ~ 1 + (1 | g)", data, family="poisson", cov={"g": K})
    one = model.sample(sampler="nutpie", seed=1, progress=False)
    two = model.sample(draws=300, seed=2, progress=False)
    table, other = (fit.diagnostics.set_index("name") for fit in (one, two))
    error = np.hypot(table["sd"] / np.sqrt(table["ess_bulk"]), other["sd"] / np.sqrt(other["ess_bulk"]))
    assert (np.abs(table["estimate"] - other["estimate"]) < 4.5 * error).all()
    assert np.corrcoef(one.ranef()["estimate"], model.fit().ranef()["estimate"])[0, 1] > 0.99
    with pytest.raises(ranef.NotAvailableError, match="non-centred"):
        model.sample(sampler="direct")
