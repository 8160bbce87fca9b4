from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density as joint_density
from scipy import stats

from ranef.likelihood import cross_products, evaluate, score
from ranef.nuts import log_density
from ranef.nuts.collapsed import collapsed_data, collapsed_model, make_shape
from ranef.nuts.layout import fixed_prior, hyper_numbers, make_layout
from ranef.nuts.rows import row_data, row_model
from ranef.nuts.start import hyper_positions


class RowModel:
    """A row-level model's log density as a function of (β, b), user's scale, at given variance parameters."""

    def __init__(self, spec, priors, *, centered):
        self.spec, self.priors, self.centered = spec, priors, centered
        self.products = cross_products(spec)
        self.layout, self.shape = make_layout(spec, priors), make_shape(self.products)
        prior = fixed_prior(spec, self.products, priors)
        self.data = {
            "hyper": hyper_numbers(spec, priors),
            "rows": row_data(spec, self.products, prior),
            "collapsed": collapsed_data(spec, self.products, prior),
        }
        self.model = row_model(self.layout, tuple(g.n_levels for g in spec.groupings), centered=centered)

    def hyper_values(self, seed):
        """Values of the variance sites."""
        rng = np.random.default_rng(seed)
        at = {n: v[0] for n, v in hyper_positions(self.spec, self.products, self.layout, None, 1, rng).items()}
        return {n: np.tanh(v / 2 + 0.3) if n == "partial" else np.exp(v) for n, v in at.items()}

    def theta_sigma(self, hyper):
        """The same as θ and σ, through covariance matrices (of two columns at most)."""
        sigma = float(hyper["sigma"][0])
        parts, sds, correlations = [], iter(hyper["sd"] / sigma), iter(hyper.get("partial", []))
        for t in self.spec.terms:
            if t.template.kind != "us":
                parts.append(np.array([next(sds) for _ in range(t.template.n_theta)]))
                continue
            sd = np.array([next(sds) for _ in range(t.template.size)])
            R = np.eye(sd.size)
            if sd.size == 2:
                R[0, 1] = R[1, 0] = next(correlations)
            parts.append(t.template.read(np.linalg.cholesky(R * np.outer(sd, sd))))
        return np.concatenate(parts), sigma

    def collapsed(self, hyper):
        """Log density of the collapsed model."""
        return joint_density(collapsed_model(self.layout, self.shape), (self.data,), {}, hyper)[0]

    def log_joint(self, v, data, hyper, theta, sigma):
        """Log density; the non-centred model's is that of b, not of z."""
        rows, p, value = data["rows"], self.spec.n_fixed, 0.0
        sites = {"beta": jnp.linalg.solve(rows["beta_map"], v[:p] - rows["pilot"])}
        start = p
        for k, g in enumerate(self.spec.groupings):
            b = v[start : start + g.n_levels * len(g.columns)].reshape(g.n_levels, -1)
            start += b.size
            if self.centered:
                sites[f"b{k}"] = b
            else:
                root = sigma * (rows["fill"][k] @ theta)
                sites[f"z{k}"] = jnp.linalg.solve(root, b.T).T
                value -= g.n_levels * jnp.log(jnp.abs(jnp.linalg.det(root)))
        return value + joint_density(self.model, (data,), {}, {**hyper, **sites})[0]


@pytest.mark.parametrize("centered", [True, False], ids=["centered", "noncentered"])
@pytest.mark.parametrize("name", ["slope", "ident", "crossed"])
def test_the_log_density_is_quadratic_with_blups_at_its_mode(name, centered, make, dense):
    """Mode, inverse Hessian and Gaussian integral, at several variance parameters and priors of β."""
    spec = make.spec(make.formulas[name], weights="w", offset="o")
    models = [RowModel(spec, make.priors[prior](spec), centered=centered) for prior in ("default", "mixed")]
    n = spec.n_fixed + sum(g.n_levels * len(g.columns) for g in spec.groupings)
    with jax.enable_x64(True):
        joint = jax.jit(models[0].log_joint)
        slope_and_hessian = jax.jit(lambda *at: (jax.grad(joint)(*at), jax.jacfwd(jax.grad(joint))(*at)))
        for rows in models:
            constants = []
            for seed in (1, 2):
                hyper = rows.hyper_values(seed)
                theta, sigma = rows.theta_sigma(hyper)
                at = (rows.data, hyper, theta, sigma)
                zero, other = np.zeros(n), np.random.default_rng(seed).normal(size=n)
                slope, hessian = map(np.asarray, slope_and_hessian(zero, *at))
                predicted = joint(zero, *at) + slope @ other + 0.5 * other @ hessian @ other
                np.testing.assert_allclose(joint(other, *at), predicted, rtol=1e-9)
                mode, cov = -np.linalg.solve(hessian, slope), -np.linalg.inv(hessian)
                expected = dense.conditional(spec, rows.priors, theta, sigma)
                np.testing.assert_allclose(mode, expected[0], rtol=1e-7, atol=1e-7)
                np.testing.assert_allclose(cov, expected[1], rtol=1e-6, atol=1e-9)
                integral = joint(mode, *at) + 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
                constants.append(float(integral - rows.collapsed(hyper)))
            assert constants[1] == pytest.approx(constants[0], abs=1e-7)


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
    rows = RowModel(spec, priors, centered=True)
    hyper = rows.hyper_values(4)
    theta, sigma = rows.theta_sigma(hyper)
    by_hand = log_density(spec, rows.products, priors)(theta, sigma)
    for sd, prior in zip(hyper["sd"], priors.sd.values(), strict=True):
        by_hand += np.log(2.0) + stats.t.logpdf(sd, prior.df, scale=prior.scale)
    by_hand += np.log(2.0) + stats.t.logpdf(sigma, priors.sigma.df, scale=priors.sigma.scale)
    by_hand += np.log(0.5)  # LKJ(1) of two columns is uniform on (-1, 1)
    with jax.enable_x64(True):
        assert float(rows.collapsed(hyper)) == pytest.approx(by_hand, rel=1e-10)
