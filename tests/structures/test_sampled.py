"""What the samplers need of a structure: any of them, known to JAX and the loops or not, is sampled by numpy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density as density_of
from scipy import special, stats

import ranef
from _ranef.inference.sensitivity import _log_likelihood, prior_sensitivity
from _ranef.nuts import log_density, sample_prior
from _ranef.nuts.callbacks import asked_roots, hosted_model
from _ranef.nuts.collapsed_model import collapsed_model
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.sampled_priors import ShapeCoordinates
from _ranef.nuts.sampler import Code, log_posterior
from _ranef.posterior.blocks import collapsed_arrays
from _ranef.posterior.problem import prepare
from _ranef.spec import default_priors, flat_priors, shape_density
from _ranef.structures import STRUCTURES, ShapeParameter
from _ranef.structures.base import Linear
from nuts import quadrature
from nuts.conftest import dense_log_density
from nuts.test_quadrature import check
from structures.toy import ToySymmetry

#: by a name: the random part of a model of y
TERMS = {
    "us": "us(0 + f | g)",
    "diag": "diag(0 + f | g)",
    "ident": "ident(0 + f | g)",
    "cs": "cs(0 + f | g)",
    "cs and us": "cs(0 + f | g) + (x | h)",
    "us and cs": "(x | g) + cs(0 + f | h)",
}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(STRUCTURES, "cs", ToySymmetry)


def made(levels=10, seed=4, noise=1.0):
    """A balanced design: each level of g has every level of f twice."""
    rng = np.random.default_rng(seed)
    group, f = np.repeat(np.arange(levels), 6), np.tile(np.arange(3), 2 * levels)
    n = len(f)
    b = rng.multivariate_normal(np.zeros(3), 4.0 * (0.6 * np.ones((3, 3)) + 0.4 * np.eye(3)), levels)
    frame = {"f": np.array(list("abc"))[f], "g": group, "h": np.arange(n) * 7 % 5, "x": rng.normal(size=n)}
    return pd.DataFrame(frame | {"y": b[group, f] + f + noise * rng.normal(size=n)})


def model(terms):
    return ranef.Model(f"y ~ x + {TERMS[terms]}", made())


def in_jax(problem, *, hosted=False):
    """Value and gradient at unconstrained coordinates of the NumPyro model, or of the one for long tails."""
    roots, d = asked_roots(problem.sampled_roots), problem.layout.n_hyper
    model = collapsed_model(problem.layout, problem.shape, roots)
    if hosted:
        model = hosted_model(problem.layout, problem.host, roots)
    compiled = log_posterior(Code(model, problem.layout.sites, None))
    arrays = collapsed_arrays(problem.products, problem.fixed, problem.shape, problem.sampled_fill)
    data = {"hyper": problem.numbers, "collapsed": arrays, "centre": np.zeros(d), "root": np.eye(d)}

    def at(q):
        with jax.enable_x64(True):
            value, slope = compiled(jnp.asarray(q), jax.tree.map(jnp.asarray, data))
            return float(value), np.asarray(slope)

    return at


@pytest.mark.parametrize(
    ("terms", "kind"), [*((terms, "default") for terms in TERMS), ("diag", "flat"), ("us and cs", "flat")]
)
def test_one_density_by_numpy_jax_and_the_loops(terms, kind, monkeypatch):
    """Up to a constant, with its gradient; numpy asks each structure, though the loops may know it."""
    spec = model(terms).spec
    priors = default_priors(spec) if kind == "default" else flat_priors(spec)
    paths = [prepare(spec, None, priors).gradient]
    monkeypatch.setattr(Linear, "kernels", False)
    asked = prepare(spec, None, priors)
    assert not asked.compiled
    paths.append(asked.gradient)
    if "cs" in terms and kind == "default":  # of the others JAX is compared with the loops elsewhere
        paths.append(in_jax(asked))
    if terms == "us and cs" and kind == "flat":
        paths.append(in_jax(asked, hosted=True))
    rng = np.random.default_rng(2)
    points = 0.7 * rng.standard_normal((3, asked.layout.n_hyper))
    answers = [[path(q) for q in points] for path in paths]
    for answer in answers[1:]:
        for (value, slope), (expected, expected_slope) in zip(answer, answers[0], strict=True):
            assert value - answer[0][0] == pytest.approx(expected - answers[0][0][0], abs=1e-8)
            np.testing.assert_allclose(slope, expected_slope, rtol=1e-6, atol=1e-6)
    h = 1e-5 * np.eye(points.shape[1])
    numeric = [(asked.gradient(points[0] + s)[0] - asked.gradient(points[0] - s)[0]) / 2e-5 for s in h]
    np.testing.assert_allclose(asked.gradient(points[0])[1], numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("terms", ["cs", "us and cs"])
def test_log_density_is_that_of_dense_algebra(terms):
    own = model(terms)
    priors, theta = own.priors(), 0.5 * np.random.default_rng(3).standard_normal(own.spec.n_theta) + 0.4
    expected = dense_log_density(own.spec, priors, theta, 1.3)
    for path in ("numpy", "jax", "loops"):
        assert log_density(own.spec, own.products, priors, path)(theta, 1.3) == pytest.approx(expected, rel=1e-10)


def test_joint_models_ask_numpy_for_the_same_density(monkeypatch):
    """Centred and not, of a structure that JAX knows."""
    spec, values = model("us").spec, {}
    for known in (True, False):
        monkeypatch.setattr(Linear, "kernels", known)
        problem = prepare(spec, None, default_priors(spec))
        for centered in (True, False):
            shape, rng = joint_shape(problem, centered=centered), np.random.default_rng(5)
            of = joint_model(problem.layout, shape, asked_roots(problem.sampled_roots))
            data = {"hyper": problem.numbers, "collapsed": joint_data(problem, shape)}
            with jax.enable_x64(True), handlers.seed(rng_seed=0):
                sites = {"sd": rng.uniform(1, 2, 3), "partial": rng.uniform(-0.5, 0.5, 3), "sigma": np.ones(1)}
                sites |= {"beta": rng.normal(size=2), "b0" if centered else "z0": rng.normal(size=(10, 3))}
                values[known, centered] = float(density_of(of, (data,), {}, sites)[0])
    for centered in (True, False):
        assert values[True, centered] == pytest.approx(values[False, centered], rel=1e-12)


BOUNDS = {
    "both": ShapeParameter("cor", -0.5, 1.0),
    "below": ShapeParameter("range", 0.0, scale=3.0),
    "none": ShapeParameter("tilt"),
}


@pytest.mark.parametrize(
    ("bounds", "prior"),
    [
        ("both", "Uniform(-0.5, 1)"),
        ("both", ranef.priors.Normal(0.2, 0.01)),
        ("below", "HalfStudentT(3, 3)"),
        ("below", ranef.priors.Gamma(2.0, 0.7)),
        ("below", ranef.priors.Exponential(0.7)),
        ("none", "Normal(0, 1)"),
        ("none", ranef.priors.Cauchy(1.0, 0.4)),
    ],
)
def test_priors_of_shape_parameters_by_their_coordinates(bounds, prior, monkeypatch):
    """The default is as it says; densities integrate to one, have their gradient, and are the same in JAX."""
    parameter = BOUNDS[bounds]
    monkeypatch.setattr(ToySymmetry, "shapes", (parameter,))
    name = parameter.name
    given = {} if isinstance(prior, str) else {f"{name}[g]": prior}
    own = model("cs")
    priors = own.priors(given)
    assert f"{name}(f[a], f[b], f[c] | g) ~ {prior}" in priors.lines()
    problem = prepare(own.spec, None, priors)
    of = problem.shape_priors
    u = np.sinh(np.linspace(-1.0, 1.0, 20_001) * np.arcsinh(60.0 if bounds != "none" else 1e6))
    logs = shape_density(of.priors[0], parameter.value(u))[0] + parameter.log_slope(u)[0]
    assert np.trapezoid(np.exp(logs), u) == pytest.approx(1.0, abs=1e-6)
    for u in np.array([[-1.3], [0.4], [2.0]]):
        value, slope = of.log_density(u)
        expected = shape_density(of.priors[0], parameter.value(u))[0] + parameter.log_slope(u)[0]
        assert value == pytest.approx(expected[0], rel=1e-13)
        numeric = (of.log_density(u + 1e-6)[0] - of.log_density(u - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-6)
        with jax.enable_x64(True):
            in_jax = ShapeCoordinates(problem.layout.shapes, problem.numbers["shape"]).log_prob(jnp.asarray(u))
        assert float(in_jax) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(parameter.coordinate(parameter.value(u)), u)


@pytest.mark.parametrize("terms", ["cs", "cs and us"])
@pytest.mark.parametrize("changes", [{}, {"x": ranef.priors.StudentT(3.0, 0.0, 1.0)}])
def test_loops_in_lambda_are_the_numpy_kernels(terms, changes):
    own = model(terms)
    problem = prepare(own.spec, own.products, own.priors(changes))
    lam, _ = problem.sampled_roots.with_slopes(np.linspace(0.3, 0.9, own.spec.n_theta))
    sampled = np.full(problem.shape.n_sampled, 0.2)
    host = problem.host.value_and_gradient(lam, np.asarray(1.1), sampled)
    found = problem._by_loops_in_lambda(lam, 1.1, sampled, np.zeros(0))[0]
    np.testing.assert_allclose(found, host, rtol=1e-10, atol=1e-9)


def test_priors_go_by_the_names_of_the_parameters():
    own = model("us and cs")
    name = "cor(f[a], f[b], f[c] | h)"
    normal, lkj = ranef.priors.Normal(0.5, 0.1), ranef.priors.LKJ(3.0)
    assert own.priors({"cor[h]": normal}).shape == own.priors({name: normal}).shape == {name: normal}
    both = own.priors({"cor": lkj, "cor[h]": normal})
    assert (both.shape, list(both.corr.values())) == ({name: normal}, [lkj])
    assert own.priors({"cor": ranef.priors.Flat()}).shape == own.priors().shape
    with pytest.raises(ranef.DesignError, match=r"'cor\[h\]' is LKJ\(3\); it must be Normal or StudentT or Cauchy"):
        own.priors({"cor[h]": lkj})
    with pytest.raises(ranef.DesignError, match=r"cor\[h\]"):
        own.priors({"cor[k]": normal})


def test_columns_that_share_the_first_sd_do_so_beside_others(monkeypatch):
    monkeypatch.setattr(ToySymmetry, "own_sds", range(2))
    assert list(model("cs").priors().sd) == [("g", "f[a]"), ("g", "f[b]")]


@pytest.mark.parametrize("prior", [None, ranef.priors.Normal(0.9, 0.5)])
def test_draws_from_the_prior_have_its_shape(prior):
    own = model("cs")
    priors = own.priors({} if prior is None else {"cor": prior})
    theta = sample_prior(own.spec, priors, draws=2000, seed=1).theta[0]
    exact = stats.uniform(-0.5, 1.5) if prior is None else stats.truncnorm(-1.4 / 0.5, 0.1 / 0.5, 0.9, 0.5)
    assert stats.kstest(ToySymmetry(3).rho.value(theta[:, 1]), exact.cdf).pvalue > 1e-3
    assert own.prior_predictive(draws=20, seed=1)["prior"]["corr_g"].shape[-2:] == (3, 3)


class Symmetric(quadrature.Oracle):
    """One term, compound symmetry: coordinates log sd, logit of where ρ stands between its bounds, log σ."""

    names = ("sd00", "logit", "sigma")

    def natural(self, points):
        sd, rho, sigma = points.T
        return {"sd00": np.exp(sd), "logit": -0.5 + 1.5 * special.expit(rho), "sigma": np.exp(sigma)}

    def log_prior(self, points):
        at, u = self.natural(points), points[:, 1]
        out = special.log_expit(u) + special.log_expit(-u)
        for name, (_, df, scale) in {"sd00": self.sd_priors[0], "sigma": self.sigma_prior}.items():
            out += stats.t(df, scale=scale).logpdf(at[name]) + np.log(at[name])
        return out

    def roots(self, points):
        at = self.natural(points)
        rho = at["logit"][:, None, None]
        return [at["sd00"][:, None, None] * np.linalg.cholesky((1 - rho) * np.eye(3) + rho)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "numpyro"])
def test_the_toy_is_sampled_as_quadrature_has_it(sampler):
    data = made(6, noise=0.3)
    own = ranef.Model("y ~ 1 + cs(0 + f | g)", data)
    priors = own.priors()
    levels = np.eye(6)[data["g"]]
    oracle = Symmetric(
        y=data["y"].to_numpy(),
        X=np.ones((len(data), 1)),
        weights=np.ones(len(data)),
        blocks=(levels[:, :, None] * (data["f"].to_numpy()[:, None] == np.array(list("abc")))[:, None, :],),
        at_means=np.eye(1),
        loc=np.array([priors.fixef["Intercept"].loc]),
        scale=np.array([priors.fixef["Intercept"].scale]),
        sd_priors=(("t", 3.0, priors.sd["g", "f[a]"].scale),),
        sigma_prior=("t", 3.0, priors.sigma.scale),
    )
    exact = quadrature.tabulate(oracle, [0.7, 0.5, -1.2], points=21)
    fit = own.sample(500, chains=2, seed=3, progress=False, sampler=sampler)
    d = fit.draws
    check(np.log(d.theta[..., 0] * d.sigma), exact.coordinate("sd00"), "sd")
    check(d.theta[..., 1], exact.coordinate("logit"), "ρ")
    check(np.log(d.sigma), exact.coordinate("sigma"), "σ")
    check(d.beta[..., 0], exact.effect(0), "β")
    check(d.b[0][..., 2, 1], exact.effect(1 + 7), "b")


@pytest.mark.parametrize("sampler", ["nutpie", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_a_model_with_one_term_of_each_is_sampled_and_read(sampler, tmp_path):
    own = model("us and cs")
    fit = own.sample(40, chains=2, warmup=40, seed=3, progress=False, sampler=sampler)
    cov = fit.varcorr
    assert list(cov["group"]) == ["g"] * 3 + ["h"] * 6 + ["Residual"]
    assert cov["sdcor"].iloc[3:6].round(9).nunique() == 1
    assert fit.datatree["posterior"]["corr_h"].shape[-2:] == (3, 3)
    assert len(fit.ranef()) == 2 * 10 + 3 * 5
    assert np.isfinite(fit.predict()).all()
    assert "cor(f[a], f[b], f[c] | h) ~ Uniform(-0.5, 1)" in str(fit.summary())
    of = _log_likelihood(own.spec, fit.draws)[0, :5]
    exact = log_density(own.spec, own.products, fit.draws.priors)
    again = np.array([exact(theta, s) for theta, s in zip(fit.draws.theta[0, :5], fit.draws.sigma[0, :5], strict=True)])
    np.testing.assert_allclose(of - of[0], again - again[0], atol=1e-7)
    assert np.isfinite(prior_sensitivity(own.spec, fit.draws)["prior"]).all()
    both = ranef.compare(own.fit(), fit)
    assert len(both.random_effects) == 35
    again = ranef.load(fit.save(tmp_path / "fit.ranef"))
    assert again.draws.priors.shape == fit.draws.priors.shape


@pytest.mark.slow
def test_numpyro_samples_it_with_a_student_response_too():
    fit = model("cs").sample(200, chains=2, seed=3, progress=False, family="student", warmup=300)
    assert fit.draws.parameterization == "noncentered"
    assert np.isfinite(fit.draws.theta).all()
    assert 0.5 < fit.varcorr["sdcor"].iloc[0] < 4.0
