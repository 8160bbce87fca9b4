from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import integrate, optimize, stats

from _ranef.errors import RanefWarning
from _ranef.likelihood import cross_products
from _ranef.nuts import Settings, log_density, sample_posterior
from _ranef.nuts.sampler import ChainBars
from _ranef.reml import fit_reml
from _ranef.spec import default_priors, flat_priors
from ranef import datasets


def z_scores(draws, mean):
    """(posterior mean − exact) in Monte-Carlo standard errors; `draws` is (chains, draws)."""
    ess = array_stats.ess(draws, chain_axis=0, draw_axis=1, method="mean")
    return abs(draws.mean() - mean) / (draws.std() / np.sqrt(ess))


@pytest.fixture(scope="module")
def pulp(make):
    return make.spec("bright ~ 1 + (1 | operator)", datasets.load("pulp"))


@pytest.fixture(scope="module")
def sleepstudy(make):
    return make.spec("Reaction ~ Days + (Days | Subject)", datasets.load("sleepstudy"))


def pulp_by_quadrature(spec):
    """Exact posterior means on a grid over (log sd, log σ).

    The design is balanced: the four means of five are N(μ, sd² + σ²/5), independent of the sum of squares within.
    """
    priors = default_priors(spec)
    values = np.stack([spec.design.y[spec.groupings[0].codes == j] for j in range(4)])
    means, within = values.mean(axis=1), ((values - values.mean(axis=1, keepdims=True)) ** 2).sum()
    mu = priors.fixef["Intercept"]
    log_sd, log_sigma = np.meshgrid(np.linspace(-9.0, 4.0, 521), np.linspace(-2.2, 1.2, 241), indexing="ij")
    sd, sigma = np.exp(log_sd), np.exp(log_sigma)
    S = sd**2 + sigma**2 / 5
    around = S / 4 + mu.scale**2
    logs = 16 * 2 * log_sigma + within / sigma**2 + 3 * np.log(S) + np.log(around)
    logs = -0.5 * (logs + ((means - means.mean()) ** 2).sum() / S + (means.mean() - mu.loc) ** 2 / around)
    for value, prior in ((sd, priors.sd["operator", "Intercept"]), (sigma, priors.sigma)):
        logs += stats.t.logpdf(value, prior.df, scale=prior.scale) + np.log(value)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    functions = {"sd": sd, "sigma": sigma, "log_sd": log_sd, "log_sigma": log_sigma}
    return {name: float((weights * v).sum()) for name, v in functions.items()}


@pytest.mark.parametrize("parameterization", ["marginal", pytest.param("noncentered", marks=pytest.mark.slow)])
def test_pulp_agrees_with_quadrature(parameterization, pulp, make):
    draws = make.sample(
        pulp,
        priors=default_priors(pulp),
        seed=11,
        parameterization=parameterization,
        target_accept=0.8 if parameterization == "marginal" else 0.95,
    )
    sd = draws.theta[..., 0] * draws.sigma
    sampled = {"sd": sd, "sigma": draws.sigma, "log_sd": np.log(sd), "log_sigma": np.log(draws.sigma)}
    for name, exact in pulp_by_quadrature(pulp).items():
        assert z_scores(sampled[name], exact) < 4.5, name
    assert draws.parameterization == parameterization
    assert draws.complete


def sleepstudy_moments(spec):
    """Exact posterior means by importance sampling of a closed form.

    All subjects have the same ten days, so the least-squares lines of the subjects are N(β, Σ + σ²(XᵀX)⁻¹),
    independent of the residual sum of squares, which is σ²χ².
    """
    priors = default_priors(spec)
    d, codes = spec.design, spec.groupings[0].codes
    X = d.X[codes == 0]
    inverse = np.linalg.inv(X.T @ X)
    y = np.stack([d.y[codes == j] for j in range(18)])
    lines = y @ X @ inverse
    rss = ((y - lines @ X.T) ** 2).sum()
    mean = lines.mean(axis=0)
    scatter = (lines - mean).T @ (lines - mean)
    C = np.array([[1.0, d.X[:, 1].mean()], [0.0, 1.0]])
    fixed = list(priors.fixef.values())
    m0 = np.linalg.solve(C, [p.loc for p in fixed])
    V0 = np.linalg.inv(C) @ np.diag([p.scale**2 for p in fixed]) @ np.linalg.inv(C).T
    scales = [*priors.sd.values(), priors.sigma]

    def log_posterior(q):
        """At rows (log sd₁, log sd₂, log σ, atanh ρ)."""
        sd, rho = np.exp(q[:, :3]), np.tanh(q[:, 3])
        cross = rho * sd[:, 0] * sd[:, 1]
        cov = np.stack([sd[:, 0] ** 2, cross, cross, sd[:, 1] ** 2], axis=-1).reshape(-1, 2, 2)
        cov = np.linalg.inv(C) @ cov @ np.linalg.inv(C).T  # sds and correlation are those at the mean of Days
        S = cov + sd[:, 2, None, None] ** 2 * inverse
        around = S / 18.0 + V0
        off = np.broadcast_to((mean - m0)[:, None], (len(q), 2, 1))
        out = 144 * 2 * q[:, 2] + rss / sd[:, 2] ** 2 + 17 * np.linalg.slogdet(S)[1] + np.linalg.slogdet(around)[1]
        out = out + np.einsum("nij,ji->n", np.linalg.inv(S), scatter)
        out = -0.5 * (out + (off * np.linalg.solve(around, off)).sum(axis=(1, 2)))
        for i, prior in enumerate(scales):
            out = out + stats.t.logpdf(sd[:, i], prior.df, scale=prior.scale) + q[:, i]
        return out + np.log1p(-(rho**2))

    start = np.array([np.log(25.0), np.log(6.0), np.log(25.0), 0.1])
    mode = optimize.minimize(lambda q: -log_posterior(q[None])[0], start, method="BFGS")
    proposal = stats.multivariate_t(mode.x, 1.3 * mode.hess_inv, df=5, seed=1)
    q = proposal.rvs(200_000)
    logs = log_posterior(q) - proposal.logpdf(q)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    assert 1.0 / (weights**2).sum() > 50_000  # effective size of the reference
    sd0, sd1, rho = np.exp(q[:, 0]), np.exp(q[:, 1]), np.tanh(q[:, 3])
    at_zero = np.sqrt(sd0**2 - 9.0 * rho * sd0 * sd1 + 20.25 * sd1**2)  # 4.5 days before the mean
    values = {"sd0": at_zero, "sd1": sd1, "sigma": np.exp(q[:, 2]), "rho": (rho * sd0 - 4.5 * sd1) / at_zero}
    return {name: weights @ v for name, v in values.items()}


def test_sleepstudy_agrees_with_the_closed_form(sleepstudy, make):
    start = fit_reml(sleepstudy)
    draws = make.sample(sleepstudy, priors=default_priors(sleepstudy), seed=12, start=start)
    sd0 = draws.theta[..., 0] * draws.sigma
    length = np.hypot(draws.theta[..., 1], draws.theta[..., 2])
    sampled = {"sd0": sd0, "sd1": length * draws.sigma, "sigma": draws.sigma, "rho": draws.theta[..., 1] / length}
    for name, exact in sleepstudy_moments(sleepstudy).items():
        assert z_scores(sampled[name], exact) < 4.5, name
    assert not draws.sample_stats["diverging"].any()
    assert array_stats.ess(draws.beta[..., 1], chain_axis=0, draw_axis=1) > 2000


@pytest.mark.parametrize("name", ["pulp", pytest.param("sleepstudy", marks=pytest.mark.slow)])
def test_with_flat_priors_the_marginal_mode_of_theta_is_reml(name, request):
    spec = request.getfixturevalue(name)
    density = log_density(spec, cross_products(spec), flat_priors(spec))
    reml = fit_reml(spec)
    log_sigma = np.log(reml.sigma) + np.linspace(-1.5, 2.5, 161)

    def negative_log_marginal(theta):
        """log ∫ p(y | θ, σ) d log σ."""
        logs = np.array([density(theta, s) for s in np.exp(log_sigma)])
        return -np.log(integrate.simpson(np.exp(logs - logs.max()), x=log_sigma)) - logs.max()

    mode = optimize.minimize(negative_log_marginal, reml.theta * 1.2 + 0.01, method="Nelder-Mead", tol=1e-9)
    np.testing.assert_allclose(mode.x, reml.theta, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_flat_priors_can_be_sampled(sleepstudy, make):
    draws = make.sample(
        sleepstudy,
        priors=flat_priors(sleepstudy),
        seed=1,
        draws=200,
        warmup=300,
        start=fit_reml(sleepstudy),
    )
    assert (draws.theta[..., [0, 2]] > 0).all()
    assert np.median(draws.sigma) == pytest.approx(25.6, rel=0.05)


QUICK = {"draws": 60, "warmup": 40, "chains": 2}


def test_the_same_seed_gives_the_same_draws(pulp, make):
    one, two, other = (make.sample(pulp, priors=default_priors(pulp), seed=seed, **QUICK) for seed in (5, 5, 6))
    assert np.array_equal(one.theta, two.theta)
    assert np.array_equal(one.b[0], two.b[0])
    assert not np.array_equal(one.theta, other.theta)
    assert not np.array_equal(one.theta[0], one.theta[1])


def test_without_a_seed_one_is_drawn_and_recorded(pulp, make):
    one = make.sample(pulp, priors=default_priors(pulp), **QUICK)
    again = make.sample(pulp, priors=default_priors(pulp), seed=one.seed, **QUICK)
    assert np.array_equal(one.beta, again.beta)


def test_shapes_and_statistics(pulp, make):
    draws = make.sample(pulp, priors=default_priors(pulp), seed=5, **QUICK)
    assert draws.theta.shape == (2, 60, 1)
    assert draws.sigma.shape == (2, 60)
    assert draws.b[0].shape == (2, 60, 4, 1)
    names = {"diverging", "tree_depth", "n_steps", "energy", "acceptance_rate", "lp", "step_size"}
    assert set(draws.sample_stats) == names
    assert all(v.shape == (2, 60) for v in draws.sample_stats.values())
    assert (draws.sample_stats["step_size"][0] == draws.sample_stats["step_size"][0, 0]).all()
    assert (2 ** draws.sample_stats["tree_depth"] > draws.sample_stats["n_steps"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("parameterization", ["marginal", "noncentered", "centered"])
def test_a_known_sigma_is_not_sampled(parameterization, make):
    spec = make.spec("y ~ x + (1 | g)", sigma=0.8)
    draws = make.sample(spec, priors=default_priors(spec), seed=1, parameterization=parameterization, **QUICK)
    assert (draws.sigma == 0.8).all()
    assert np.ptp(draws.theta) > 0


def test_without_unknown_variances_draws_are_exact(make, dense):
    spec = make.spec("y ~ x", sigma=0.8)
    draws = make.sample(spec, priors=default_priors(spec), seed=1, draws=2000, warmup=10)
    mean, cov = dense.conditional(spec, default_priors(spec), draws.theta[0, 0], 0.8)
    dense.check_moments(draws.beta.reshape(-1, 2), mean, cov)


def test_an_interrupt_while_sampling_keeps_what_was_drawn(pulp, monkeypatch, make):
    def interrupt(self, n, divergences, *, sampling):
        self.seen = getattr(self, "seen", 0) + sampling
        if self.seen == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ChainBars, "update", interrupt)
    with pytest.warns(RanefWarning, match="100 of 1000 draws"):
        draws = make.sample(pulp, priors=default_priors(pulp), seed=5, warmup=40, chains=2)
    assert not draws.complete
    assert draws.theta.shape == (2, 100, 1)
    assert draws.beta.shape == (2, 100, 1)


def test_an_interrupt_during_warmup_passes_through(pulp, monkeypatch, make):
    def interrupt(self, n, divergences, *, sampling):
        raise KeyboardInterrupt

    monkeypatch.setattr(ChainBars, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make.sample(pulp, priors=default_priors(pulp), seed=5, warmup=40, chains=2)


@pytest.mark.parametrize("progress", [True, False])
def test_a_line_at_most_is_written_where_there_is_no_terminal(pulp, capsys, progress):
    sample_posterior(pulp, priors=default_priors(pulp), settings=Settings(seed=5, progress=progress, **QUICK))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err in ("", "ranef: Compiling and sampling by numpyro …\n"[: 100 * progress])
