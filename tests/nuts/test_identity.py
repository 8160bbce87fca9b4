"""One model behind two engines (design §3.1): identities of log densities at given (θ, σ), with no sampling.

log p(y | β, b, σ) + log p(b | θ, σ) + log p(β) is exactly quadratic in (β, b); its mode is GLS/BLUP, its inverse
Hessian the joint conditional covariance, and its integral the collapsed density, under flat β −½ REML criterion.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density as density_of

import oracle
import registry
from _ranef.likelihood import evaluate
from _ranef.nuts import log_density
from _ranef.nuts.collapsed_model import collapsed_model
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.sampled_priors import hyperparameters
from _ranef.posterior.problem import prepare
from _ranef.spec import outward_theta
from ranef.priors import Flat

#: dense algebra takes n³ and q³: larger designs are left to the engines' tests of each other
MOST_ROWS, MOST_EFFECTS = 800, 200

#: one design of each structure, for the joint models of NumPyro, which are compiled for each; the others are slow
REPRESENTATIVE = [
    "crossed_small_slope",  # crossed, slopes in both, one diagonal
    "machines_factor",  # three columns of a factor
    "pastes_slash",  # nested
    "pulp_reml",
    "sleep_noint_fixed",  # no intercept
    "sleep_weights",
    "zj_crosslevel_ml_uncor",  # double bar, interaction of levels
]


def is_small(case):
    dims = registry.reference(case)["dims"]
    return dims["n"] <= MOST_ROWS and dims["q"] <= MOST_EFFECTS


SMALL = [c for c in registry.BUNDLED if c in registry.FITTED and is_small(c)]
FURTHER = [pytest.param(c, marks=pytest.mark.slow) for c in SMALL if c not in REPRESENTATIVE]


def priors_of(model, kind):
    """Default (Normal) priors of β or flat ones; those of the variances are proper in both."""
    if kind == "normal":
        return model.priors()
    return model.priors(dict.fromkeys(model.spec.design.fixed_names, Flat()))


class Compiled:
    """The NumPyro models of one spec in one compiled function. All access to the engine's internals stands here."""

    def __init__(self, model):
        self.model, self.spec, self.products = model, model.spec, model.products
        own = prepare(self.spec, self.products, model.priors())
        self.layout, self.shape, self.outward = own.layout, own.shape, own.outward
        self.shapes = {c: joint_shape(own, centered=c) for c in (True, False)}
        self.joint_models = {c: joint_model(self.layout, shape) for c, shape in self.shapes.items()}
        self.collapsed_model = collapsed_model(self.layout, self.shape)
        self._compiled = jax.jit(self._everything)

    def data(self, priors):
        own = prepare(self.spec, self.products, priors)
        return {
            "hyper": own.numbers,
            "collapsed": joint_data(own, self.shapes[True]),
            "root": own.fixed.root,
            "pilot": own.fixed.pilot,
            "centre": own.fixed.centre,
        }

    def hyper_sites(self, rng):
        """Random values of the variance parameters: sds near those of the response, correlations up to ±0.8."""
        scale, n = self.products.scaling.y, self.layout.n_partial
        rms = np.concatenate([np.sqrt(np.mean(self._columns(t) ** 2, axis=0)) for t in self.spec.terms])
        sites = {"sd": scale * np.exp(rng.normal(-0.7, 0.5, rms.size)) / rms, "sigma": scale * rng.uniform(0.3, 1, 1)}
        return sites | ({"partial": rng.uniform(-0.8, 0.8, n)} if n else {})

    def _columns(self, term):
        Z = self.spec.groupings[term.grouping].Z[:, term.where]
        return Z[:, :1] if term.structure.word == "ident" else Z

    def theta_sigma(self, data, sites):
        """θ and σ of such values."""
        with handlers.block(), handlers.substitute(data=sites), handlers.seed(rng_seed=0):
            at = hyperparameters(self.layout, data["hyper"])
        return at.theta, at.sigma

    def at(self, points, data, sites):
        """Values and gradients of both joint models at `points`; log prior and log density of variances alone."""
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, self._compiled(points, data, sites))

    def _everything(self, points, data, sites):
        alone = (lambda: hyperparameters(self.layout, data["hyper"])), lambda: self.collapsed_model(data)
        joint = [
            jax.vmap(jax.value_and_grad(partial(self._joint, centered)), (0, None, None))(points, data, sites)
            for centered in (True, False)
        ]
        return joint, [density_of(model, (), {}, sites)[0] for model in alone]

    def _joint(self, centered, v, data, sites):
        """Log density of (β, b) in the user's coordinates; the non-centred model's is divided by |∂b/∂z|."""
        arrays, p, unit = data["collapsed"], self.spec.n_fixed, self.products.scaling.y
        theta, sigma = self.theta_sigma(data, sites)
        values = {"beta": data["root"] @ (data["centre"] @ v[:p] - data["pilot"]) / unit} if p else {}
        own = [jnp.linalg.slogdet(data[name])[1] for name in ("root", "centre")] if p else []
        jacobian = p * np.log(unit) - sum(own)
        start = p
        for grouping, g in enumerate(self.spec.groupings):
            k = self.products.order.index(grouping)
            b = v[start : start + g.n_levels * len(g.columns)].reshape(g.n_levels, -1)
            start += b.size
            own = jnp.linalg.solve(self.outward[grouping], b.T).T
            jacobian += g.n_levels * jnp.linalg.slogdet(self.outward[grouping])[1]
            if centered:
                values[f"b{k}"] = own
                continue
            root = sigma * (arrays["outer"][k] @ theta)
            values[f"z{k}"] = jax.scipy.linalg.solve_triangular(root, own.T, lower=True).T
            jacobian += g.n_levels * jnp.sum(jnp.log(jnp.diag(root)))
        return density_of(self.joint_models[centered], (data,), {}, {**sites, **values})[0] - jacobian


@pytest.mark.parametrize("case", [*REPRESENTATIVE, *FURTHER])
def test_the_joint_log_density_is_the_quadratic_of_gls_and_blups_in_every_parameterization(case, dense):
    """Values and gradients at the mode, near it and far off, in coordinates in which the conditional is N(0, I)."""
    model = registry.model(case)
    spec, rng, compiled = model.spec, np.random.default_rng(1), Compiled(model)
    for kind in ("normal", "flat"):
        priors = priors_of(model, kind)
        data = compiled.data(priors)
        for _ in range(2):
            sites = compiled.hyper_sites(rng)
            with jax.enable_x64(True):
                theta, sigma = np.asarray(compiled.theta_sigma(data, sites)[0]), float(sites["sigma"][0])
            theta = outward_theta(spec, priors.columns, theta)
            P, rhs = oracle.henderson(oracle.dense(spec, theta, "ML", sigma), dense.prior(spec, priors))
            mode, C = np.linalg.solve(P, rhs), np.linalg.cholesky(P)
            white = rng.normal(size=(4, len(P))) * [[0.0], [1.0], [1.0], [30.0]]
            joints, (log_prior, log_collapsed) = compiled.at(mode + np.linalg.solve(C.T, white.T).T, data, sites)
            for values, gradients in joints:
                # rounding, in units of log density and of the gradient in these coordinates
                np.testing.assert_allclose(values - values[0], -0.5 * (white**2).sum(axis=1), rtol=1e-7, atol=1e-6)
                np.testing.assert_allclose(np.linalg.solve(C, gradients.T).T, -white, rtol=1e-6, atol=1e-5)
            (centred, _), (noncentred, _) = joints
            np.testing.assert_allclose(noncentred, centred, rtol=1e-10)
            marginal = log_prior + log_density(spec, model.products, priors, "numpy")(theta, sigma)
            assert log_collapsed == pytest.approx(marginal, rel=1e-10)
            integral = centred[0] + 0.5 * len(P) * np.log(2 * np.pi) - np.log(np.diag(C)).sum()
            assert integral == pytest.approx(marginal, rel=1e-9)


@pytest.mark.parametrize("case", SMALL)
def test_at_the_estimates_mode_and_inverse_hessian_are_those_of_empirical_bayes(case):
    """Fixef, ranef and the joint covariance of Henderson's equations."""
    eb = registry.fit(case)
    theta, sigma = eb.estimates.theta, eb.sigma
    mode, cov = oracle.posterior(oracle.dense(eb.spec, theta, "ML", sigma), oracle.flat(eb.spec.n_fixed))
    effects = eb.ranef()["estimate"].to_numpy()
    sd = np.sqrt(np.diag(cov))
    # against the posterior sd of each, and at a boundary, where that is zero, against rounding
    tiny = 1e-9 * np.abs(effects).max()
    assert (np.abs(np.concatenate([eb.fixef.dropna(), effects]) - mode) <= 1e-6 * sd + tiny).all()
    names = [f"{g}[{level}].{term}" for g, level, term in eb.ranef()[["group", "level", "term"]].to_numpy()]
    joint = eb.vcov_joint().loc[[*eb.vcov.columns, *names], [*eb.vcov.columns, *names]].to_numpy()
    assert (np.abs(joint - cov) <= 1e-6 * np.outer(sd, sd) + 1e-12 * np.abs(cov).max()).all()


@pytest.mark.parametrize("case", SMALL)
def test_integrated_over_b_and_flat_beta_it_is_minus_half_the_reml_criterion(case, dense):
    """σ profiled at the estimates; not profiled at random θ; and by one dense normal under either prior."""
    eb = registry.fit(case)
    theta, sigma = eb.estimates.theta, eb.sigma
    model, rng = registry.model(case), np.random.default_rng(3)
    spec, products = model.spec, model.products
    flat = log_density(spec, products, model.priors("flat"), "numpy")
    if eb.engine == "REML":
        assert flat(theta, sigma) == pytest.approx(-0.5 * eb.criterion, rel=1e-8)
    random = dense.theta(spec, rng)
    lambdas = products.scaling.inward(spec.lambdas(random))
    other = 1.3 * sigma
    at = evaluate(products, [lambdas[k] for k in products.order], "REML", other)
    assert flat(random, other) == pytest.approx(-0.5 * at.criterion, rel=1e-10)
    for kind in ("normal", "flat"):
        priors = priors_of(model, kind)
        value = log_density(spec, products, priors, "numpy")(random, other)
        assert value == pytest.approx(dense.log_density(spec, priors, random, other), rel=1e-8)


@pytest.mark.parametrize("case", REPRESENTATIVE)
def test_the_compiled_path_gives_the_same_density(case, dense):
    """JAX and the loops against numpy kernels."""
    model = registry.model(case)
    paths = [log_density(model.spec, model.products, model.priors(), path) for path in ("numpy", "jax", "loops")]
    theta, sigma = dense.theta(model.spec, np.random.default_rng(4)), model.products.scaling.y
    expected = paths[0](theta, sigma)
    for path in paths[1:]:
        assert path(theta, sigma) == pytest.approx(expected, rel=1e-10)
