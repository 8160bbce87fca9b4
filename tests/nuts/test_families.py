"""Student t responses and effects, global scales and priors that only numpyro knows."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpyro import distributions as dist
from numpyro.infer.util import log_density as joint_density
from scipy import stats

from _ranef.errors import FitError
from _ranef.nuts import sample_prior
from _ranef.nuts.collapsed_model import log_likelihood
from _ranef.nuts.joint_model import joint_data, joint_model, joint_shape
from _ranef.nuts.rows_model import ROUND_ZERO
from _ranef.nuts.sampled_priors import Sampled
from _ranef.posterior.blocks import collapsed_arrays
from _ranef.spec import FAMILIES, default_priors, flat_priors
from ranef.priors import LKJ, R2D2, Exponential, Gamma, HalfNormal, Normal, StudentT

QUICK = {"draws": 60, "warmup": 40, "chains": 2}


@pytest.mark.parametrize("centered", [True, False], ids=["centered", "noncentered"])
def test_student_responses_and_effects_have_their_density(centered, make, dense):
    """Against scipy, row by row and level by level, at a point drawn from the prior."""
    spec = make.spec(make.formulas["slope"], weights="w", offset="o").with_family("student")
    changes = {"ranef[g]": Gamma(2.0, 0.1), "nu": Gamma(3.0, 0.2), "sd": HalfNormal(1.0), "sigma": Exponential(1.0)}
    priors = default_priors(spec, changes)
    problem = make.problem(spec, priors)
    shape = joint_shape(problem, centered=centered)
    data = {"hyper": problem.numbers, "collapsed": joint_data(problem, shape)}
    rng = np.random.default_rng(3)
    sd, rho, sigma, df, nu = np.array([0.9, 0.4]), 0.3, 0.8, 5.0, 7.0
    root = sd[:, None] * np.array([[1.0, 0.0], [rho, np.sqrt(1 - rho**2)]])
    mix, z = rng.gamma(2.0, 0.5, 9), rng.standard_normal((9, 2))
    b_own = z @ root.T / np.sqrt(mix)[:, None]
    b = b_own @ problem.outward[0].T
    beta = np.array([10.0, 0.4, -0.2])
    c = dense.centring(spec, priors) @ beta
    fixed = problem.fixed
    sites = {
        "sd": sd,
        "partial": np.array([rho]),
        "sigma": np.array([sigma]),
        "beta": fixed.root @ (c - fixed.pilot) / fixed.unit,
        "mix0": mix,
        "df0": df,
        "nu": nu,
        ("b0" if centered else "z0"): b_own if centered else z,
    }
    with jax.enable_x64(True):
        value = float(joint_density(joint_model(problem.layout, shape), (data,), {}, sites)[0])
    d = spec.design
    mean = d.X @ beta + d.offset + (spec.groupings[0].Z * b[spec.groupings[0].codes]).sum(axis=1)
    expected = stats.t.logpdf(d.y, nu, mean, sigma / np.sqrt(d.weights)).sum()
    expected += sum(stats.norm.logpdf(x, p.loc, p.scale) for x, p in zip(c, priors.fixef.values(), strict=True))
    expected += stats.halfnorm.logpdf(sd).sum() + stats.expon.logpdf(sigma) + np.log(0.5)
    expected += stats.gamma.logpdf(df, 2.0, scale=10.0) + stats.gamma.logpdf(nu, 3.0, scale=5.0)
    expected += stats.gamma.logpdf(mix, df / 2, scale=2 / df).sum()
    if centered:
        covs = [root @ root.T / m for m in mix]
        expected += sum(stats.multivariate_normal.logpdf(x, cov=cov) for x, cov in zip(b_own, covs, strict=True))
    else:
        expected += stats.norm.logpdf(z).sum()
    # β is sampled on the internal scale
    expected -= np.linalg.slogdet(fixed.root)[1] - len(c) * np.log(fixed.unit)
    assert value == pytest.approx(expected, rel=1e-10)


def test_families_read_by_rows_have_one_density_in_jax_and_numpy():
    assert ROUND_ZERO.keys() == {word for word, family in FAMILIES.items() if family.by_rows}
    r = np.linspace(-5.0, 5.0, 11)
    for word, make_rows in ROUND_ZERO.items():
        own = dict.fromkeys(FAMILIES[word].parameters, 3.5)
        with jax.enable_x64(True):
            theirs = make_rows(jax.numpy.asarray(0.7), **own).log_prob(r)
        np.testing.assert_allclose(theirs, FAMILIES[word].log_density(r, np.log(0.7), 0.0, own), rtol=1e-12)


def test_a_global_scale_is_a_normal_prior_of_its_variances(make, dense):
    spec = make.spec(make.formulas["slope"], weights="w", offset="o")
    problem = make.problem(spec, default_priors(spec, {"fixef": R2D2(0.4, 3.0, 0.7)}))
    assert problem.layout.sites[-2:] == (("r2", 1), ("phi", 1))
    assert problem.shape.n_sampled == 0
    theta, sigma, variances = dense.theta(spec, np.random.default_rng(1)), 0.7, np.array([0.3, 1.7])
    arrays = collapsed_arrays(problem.products, problem.fixed, problem.shape, problem.fill)
    with jax.enable_x64(True):
        at = Sampled(*map(jax.numpy.asarray, (theta, sigma, np.zeros(0), variances)))
        value = float(log_likelihood(problem.shape, arrays, at))
    same = {name: Normal(0.0, float(np.sqrt(v))) for name, v in zip(("x", "z"), variances, strict=True)}
    expected = dense.log_density(spec, default_priors(spec, same), theta, sigma)
    assert value == pytest.approx(expected, rel=1e-9)


def test_shares_of_a_global_scale(make):
    """With R² and φ known the coefficients have the variances of the documentation."""
    spec = make.spec(make.formulas["slope"])
    priors = default_priors(spec, {"fixef": R2D2(0.5, 4.0, 1.0)})
    prior = sample_prior(spec, priors, draws=20_000, seed=1)
    tau2 = prior.extras["R2"] / (1.0 - prior.extras["R2"])
    scaled = prior.beta[..., 1:] * spec.design.X[:, 1:].std(axis=0)
    scaled /= prior.sigma[..., None] * np.sqrt(tau2[..., None] * prior.extras["phi"])
    assert stats.kstest(scaled.ravel(), "norm").pvalue > 1e-4
    np.testing.assert_allclose(prior.extras["phi"].sum(axis=-1), 1.0)


@pytest.mark.slow
def test_numpyro_priors_are_those_of_this_package(make):
    """A mixture that numpyro alone knows, of two equal normals, is that normal."""
    spec = make.spec("y ~ x + (1 | g)")
    same = dist.MixtureSameFamily(dist.Categorical(np.array([0.5, 0.5])), dist.Normal(np.zeros(2), 0.05))
    own = make.sample(spec, default_priors(spec, {"x": Normal(0.0, 0.05)}), seed=1)
    theirs = make.sample(spec, default_priors(spec, {"x": same, "sd": dist.Weibull(1.0, 1.0)}), seed=2)
    again = make.sample(spec, default_priors(spec, {"x": same, "sd": Exponential(1.0)}), seed=3)
    assert theirs.beta[..., 1].mean() == pytest.approx(own.beta[..., 1].mean(), abs=0.01)
    assert theirs.sigma.mean() == pytest.approx(again.sigma.mean(), abs=0.02)
    sds = [(d.theta[..., 0] * d.sigma) for d in (theirs, again)]
    assert sds[0].mean() == pytest.approx(sds[1].mean(), abs=0.05)


@pytest.mark.slow
def test_outliers_count_less_with_a_student_response(make):
    data = make.data()
    data.loc[[3, 30], "y"] += 40.0
    spec = make.spec("y ~ x + (1 | g)", data)
    clean = make.sample(make.spec("y ~ x + (1 | g)"), default_priors(spec), seed=1)
    student = make.sample(spec, default_priors(spec), seed=1, family="student")
    assert student.parameterization == "noncentered"
    assert student.extras["nu"].mean() < 5
    assert student.beta[..., 1].mean() == pytest.approx(clean.beta[..., 1].mean(), abs=clean.beta[..., 1].std())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameterization": "marginal", "family": "student"}, "the response is Student t. Use 'noncentered'"),
        ({"sampler": "nutpie", "family": "student"}, "samples the marginal model only"),
        ({"sampler": "nutpie", "priors": {"fixef": R2D2()}}, "does not know R2D2"),
        ({"sampler": "nutpie", "priors": {"x": dist.Laplace(0, 1)}}, "does not know a distribution of numpyro"),
        ({"sampler": "nutpie", "warmup": 0}, "needs one warm-up step or more"),
        ({"sampler": "nutpie", "device": "gpu"}, "nutpie computes on the processor"),
        ({"device": "tpu"}, "device='tpu' is not there: JAX finds"),
        ({"family": "poisson"}, "family='poisson' must be 'gaussian' or 'student'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message, make):
    spec = make.spec("y ~ x + (1 | g)")
    priors = default_priors(spec, settings.pop("priors", None))
    with pytest.raises(FitError, match=message):
        make.sample(spec, priors, **(QUICK | settings))


def test_flat_priors_have_nothing_to_draw(make):
    spec = make.spec("y ~ x + (1 | g)")
    with pytest.raises(FitError, match="The prior of Intercept, x, theta, sigma is flat"):
        sample_prior(spec, flat_priors(spec), draws=10)


def test_draws_from_the_prior_follow_it(make):
    spec = make.spec(make.formulas["three"]).with_family("student")
    changes = {"sd": HalfNormal(2.0), "sigma": Exponential(0.5), "ranef": StudentT(6.0), "cor": LKJ(2.0)}
    prior = sample_prior(spec, default_priors(spec, changes), draws=4000, seed=5)
    lam = spec.terms[0].structure.root(prior.theta[0])
    cov = prior.sigma[0][:, None, None] ** 2 * lam @ np.swapaxes(lam, 1, 2)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    corr = cov / (sd[:, :, None] * sd[:, None, :])
    tests = {
        "sd": stats.kstest(sd[:, 2], stats.halfnorm(scale=2.0).cdf),
        "sigma": stats.kstest(prior.sigma[0], stats.expon(scale=2.0).cdf),
        # each correlation of an LKJ(η) matrix of p columns has (ρ + 1)/2 ~ Beta(a, a), a = η − 1 + p/2
        "cor": stats.kstest((corr[:, 2, 1] + 1) / 2, stats.beta(2.5, 2.5).cdf),
        "b": stats.kstest(prior.b[0][0, :, 0, 1] / sd[:, 1], stats.t(6.0).cdf),
        "nu": stats.kstest(prior.extras["nu"][0], stats.gamma(2.0, scale=10.0).cdf),
        "intercept": stats.kstest(
            (prior.beta[0] @ spec.design.X.mean(axis=0)),
            stats.norm(spec.design.y.mean(), 2.5 * spec.design.y.std()).cdf,
        ),
    }
    for name, test in tests.items():
        assert test.pvalue > 1e-4, name
