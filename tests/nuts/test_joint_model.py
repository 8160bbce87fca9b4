from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density as joint_density
from scipy import stats

from _ranef.likelihood import cross_products, evaluate, score
from _ranef.nuts import log_density
from _ranef.nuts.collapsed_model import collapsed_model
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.sampled_priors import Scalars
from _ranef.posterior.blocks import collapsed_arrays
from _ranef.posterior.problem import hyper_draws
from _ranef.posterior.start import start_vector
from _ranef.spec import default_priors, inward_theta
from ranef.priors import StudentT


class JointModel:
    """A joint model's log density as a function of (β, b), user's scale, at given variance parameters."""

    def __init__(self, problem, *, centered):
        self.problem, self.spec, self.centered = problem, problem.spec, centered
        self.shape = joint_shape(problem, centered=centered)
        self.data = {"hyper": problem.numbers, "collapsed": joint_data(problem, self.shape)}
        self.model = joint_model(problem.layout, self.shape)

    def hyper_values(self, seed):
        """Constrained values of the sampled sites, with θ and σ."""
        q = start_vector(self.problem, None)
        q = q + 0.3 * np.random.default_rng(seed).standard_normal(q.size)
        at, sites = hyper_draws(self.problem, q), {}
        for name, n in self.problem.layout.sites:
            own, q = q[:n], q[n:]
            sites[name] = np.tanh(own / 2) if name == "partial" else own if name == "fixef" else np.exp(own)
        return sites, at

    def collapsed(self, hyper):
        """Log density of the collapsed model."""
        p = self.problem
        data = {"hyper": p.numbers, "collapsed": collapsed_arrays(p.products, p.fixed, p.shape, p.sampled_fill)}
        return joint_density(collapsed_model(p.layout, p.shape), (data,), {}, hyper)[0]

    def log_joint(self, v, data, hyper, theta, sigma):
        """Log density of integrated coefficients and b; change of variables included."""
        fixed, g = self.problem.fixed, len(self.problem.fixed.integrated)
        arrays, value = data["collapsed"], 0.0
        internal = fixed.root @ (v[:g] - fixed.pilot[fixed.integrated]) / fixed.unit
        value += np.linalg.slogdet(fixed.root)[1] - g * np.log(fixed.unit)
        sites = {"beta": internal} if g else {}
        start = g
        for grouping, levels in enumerate(self.spec.groupings):
            k = self.problem.products.order.index(grouping)
            b = v[start : start + levels.n_levels * len(levels.columns)].reshape(levels.n_levels, -1)
            start += b.size
            outward = self.problem.outward[grouping]
            b = jnp.linalg.solve(outward, b.T).T
            value -= levels.n_levels * jnp.linalg.slogdet(outward)[1]
            if self.centered:
                sites[f"b{k}"] = b
            else:
                root = sigma * (arrays["outer"][k] @ theta)
                sites[f"z{k}"] = jnp.linalg.solve(root, b.T).T
                value -= levels.n_levels * jnp.log(jnp.abs(jnp.linalg.det(root)))
        return value + joint_density(self.model, (data,), {}, {**hyper, **sites})[0]


@pytest.mark.parametrize("centered", [True, False], ids=["centered", "noncentered"])
@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("slope", "default"),
        ("crossed", "mixed"),
        ("ident", "sampled"),
        *(pytest.param("slope", prior, marks=pytest.mark.slow) for prior in ("mixed", "sampled")),
        *(pytest.param("ident", prior, marks=pytest.mark.slow) for prior in ("default", "mixed")),
        *(pytest.param("crossed", prior, marks=pytest.mark.slow) for prior in ("default", "sampled")),
    ],
)
def test_the_log_density_is_quadratic_with_blups_at_its_mode(name, prior, centered, make, dense):
    """Mode, inverse Hessian and Gaussian integral, at several variance parameters and priors of β."""
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    priors = default_priors(spec, {"x": StudentT(4.0, 0.2, 0.7)}) if prior == "sampled" else make.priors[prior](spec)
    rows = JointModel(make.problem(spec, priors), centered=centered)
    g = rows.shape.blocks.n_integrated
    n = g + sum(level.n_levels * len(level.columns) for level in spec.groupings)
    with jax.enable_x64(True):
        joint = jax.jit(rows.log_joint)
        slope_and_hessian = jax.jit(lambda *at: (jax.grad(joint)(*at), jax.jacfwd(jax.grad(joint))(*at)))
        for seed in (1, 2):
            hyper, values = rows.hyper_values(seed)
            at = (rows.data, hyper, inward_theta(spec, priors.columns, values.theta), float(values.sigma))
            zero, other = np.zeros(n), np.random.default_rng(seed).normal(size=n)
            slope, hessian = map(np.asarray, slope_and_hessian(zero, *at))
            predicted = joint(zero, *at) + slope @ other + 0.5 * other @ hessian @ other
            np.testing.assert_allclose(joint(other, *at), predicted, rtol=1e-9)
            mode, cov = -np.linalg.solve(hessian, slope), -np.linalg.inv(hessian)
            if prior != "sampled":
                expected = centred_moments(
                    spec, priors, *dense.conditional(spec, priors, values.theta, float(values.sigma))
                )
                np.testing.assert_allclose(mode, expected[0], rtol=1e-7, atol=1e-7)
                np.testing.assert_allclose(cov, expected[1], rtol=1e-6, atol=1e-9)
            integral = joint(mode, *at) + 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
            assert float(integral) == pytest.approx(float(rows.collapsed(hyper)), rel=1e-9)


def centred_moments(spec, priors, mean, cov):
    """Mean and covariance of (c, b), c the coordinates of β that have priors."""
    C = np.eye(len(mean))
    C[: spec.n_fixed, : spec.n_fixed] = priors.coordinates(spec.design.fixed_names)[0]
    return C @ mean, C @ cov @ C.T


def test_flat_priors_on_beta_give_gls_and_blups(make, dense):
    """The mode agrees with the REML engine's own conditional modes."""
    spec = make.spec(make.formulas["nested"], weights="w")
    products = cross_products(spec)
    theta, sigma = dense.theta(spec, np.random.default_rng(3)) + 0.1, 0.7
    mean, _ = dense.conditional(spec, make.priors["flat"](spec), theta, sigma)
    scale = products.scaling
    internal = scale.inward(spec.lambdas(theta))
    at = evaluate(products, [internal[k] for k in products.order], "REML", sigma)
    first = score(products, at)
    beta = scale.pilot + scale.y * scale.X @ at.beta
    b = [scale.y * first.b[products.order.index(k)] @ T.T for k, T in enumerate(scale.Z)]
    np.testing.assert_allclose(mean, np.concatenate([beta, *(x.ravel() for x in b)]), rtol=1e-8, atol=1e-9)


def test_the_collapsed_model_adds_the_same_priors(make):
    """Sites' log densities plus the collapsed likelihood, by hand."""
    spec = make.spec(make.formulas["slope"])
    priors = make.priors["default"](spec)
    rows = JointModel(make.problem(spec, priors), centered=True)
    hyper, at = rows.hyper_values(4)
    by_hand = log_density(spec, cross_products(spec), priors)(at.theta, float(at.sigma))
    for sd, prior in zip(hyper["sd"], priors.sd.values(), strict=True):
        by_hand += np.log(2.0) + stats.t.logpdf(sd, prior.df, scale=prior.scale)
    by_hand += np.log(2.0) + stats.t.logpdf(at.sigma, priors.sigma.df, scale=priors.sigma.scale)
    by_hand += np.log(0.5)  # LKJ(1) of two columns is uniform on (-1, 1)
    with jax.enable_x64(True):
        assert float(rows.collapsed(hyper)) == pytest.approx(float(by_hand), rel=1e-10)


def test_families_have_their_densities():
    """The log constants too, against scipy."""
    families = ("normal", "student", "gamma", "flat")
    numbers = np.array([[1.0, 0.0, 2.0, 0.0], [3.0, 0.0, 2.0, 0.0], [2.5, 0.0, 0.5, 0.0], [1.0, 0.0, 1.0, 0.0]])
    x = np.array([0.3, 1.2, 2.0, 5.0])
    with jax.enable_x64(True):
        prior = Scalars(families, numbers, positive=True)
        kernel = float(prior.log_prob(x))
        assert biject_to(prior.support)(jnp.zeros(4)).tolist() == [1.0] * 4
    expected = -0.5 * (0.3 / 2) ** 2 - 2.0 * np.log1p((1.2 / 2) ** 2 / 3) + 1.5 * np.log(2.0) - 2.0 / 0.5
    assert kernel == pytest.approx(expected, rel=1e-12)
