"""Leave-one-out against its definition: the posterior without a row or a group, tabulated or sampled anew."""

from __future__ import annotations

import warnings
from dataclasses import replace

import arviz_stats
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import ranef
from _ranef.comparison import stacking_weights
from _ranef.inference import loo_groups, row_groups
from _ranef.inference.loo import gaussian_prior
from _ranef.results import PosteriorDraws
from _ranef.spec import with_response
from _ranef.user import PosteriorFit
from ranef.priors import StudentT

#: subject 332 has one wild row
OUTLIER = "332"

SLEEP = "Reaction ~ Days + (Days | Subject)"


def group_loo(fit, group=None):
    """Without the warning of a large Pareto k."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return fit.loo("group", group)


@pytest.fixture(scope="module")
def pulp():
    return ranef.datasets.load("pulp")


@pytest.fixture(scope="module")
def fb(pulp):
    return ranef.Model("bright ~ 1 + (1 | operator)", pulp).sample(seed=3, sampler="nutpie", progress=False)


def evidence_of_pulp(fit, keep):
    """log ∫ p(y_keep, θ, σ), on a grid over (log sd, log σ), from one dense normal at each point."""
    priors, spec = fit.draws.priors, fit.spec
    mu = priors.fixef["Intercept"]
    log_sd, log_sigma = (v.ravel() for v in np.meshgrid(np.linspace(-8, 4, 100), np.linspace(-2.2, 1, 60)))
    sd, sigma = np.exp(log_sd), np.exp(log_sigma)
    y, codes = spec.design.y[keep], spec.groupings[0].codes[keep]
    same = (codes[:, None] == codes).astype(float)
    V = sd[:, None, None] ** 2 * same + sigma[:, None, None] ** 2 * np.eye(len(y)) + mu.scale**2
    r = y - mu.loc
    logs = -0.5 * (np.linalg.slogdet(2 * np.pi * V)[1] + np.einsum("i,gij,j->g", r, np.linalg.inv(V), r))
    for value, prior in ((sd, priors.sd["operator", "Intercept"]), (sigma, priors.sigma)):
        logs += stats.t.logpdf(value, prior.df, scale=prior.scale) + np.log(value)
    return np.logaddexp.reduce(logs)


def test_groups_of_pulp_by_quadrature(fb):
    """Four levels: the posterior without one is far from the whole; draws of (θ, σ) reach beyond both."""
    found = group_loo(fb)
    codes = fb.spec.groupings[0].codes
    whole = evidence_of_pulp(fb, np.full(20, True))
    exact = np.array([whole - evidence_of_pulp(fb, codes != j) for j in range(4)])
    assert (found.pareto_k < 0.7).all()
    # five times the standard error of 20 000 weighted draws
    np.testing.assert_allclose(found.elpd_i, exact, atol=0.07)
    assert found.elpd == pytest.approx(found.elpd_i.sum())
    assert found.elpd_i.index.tolist() == ["a", "b", "c", "d"]
    assert found.se == pytest.approx(np.sqrt(4 * found.elpd_i.var(ddof=0)))
    assert "coefficients integrated exactly" in repr(found)


def test_rows_of_pulp_by_quadrature(fb):
    found = fb.loo()
    whole = evidence_of_pulp(fb, np.full(20, True))
    exact = np.array([whole - evidence_of_pulp(fb, np.arange(20) != i) for i in range(20)])
    np.testing.assert_allclose(found.elpd_i, exact, atol=0.06)
    assert found.elpd == pytest.approx(exact.sum(), abs=0.15)


def test_rows_are_those_of_arviz(fb, monkeypatch):
    theirs = arviz_stats.loo(fb.datatree, var_name="bright", reff=fb.loo().r_eff, pointwise=True)
    monkeypatch.setattr("_ranef.inference.loo.BLOCK_ENTRIES", 5 * 4000)  # five rows at a time
    ours = fb.loo()
    assert (ours.elpd, ours.se, ours.p) == pytest.approx((theirs.elpd, theirs.se, theirs.p), rel=1e-10)
    np.testing.assert_allclose(ours.pareto_k, theirs.pareto_k.values, rtol=1e-8)
    assert ours.good_k == theirs.good_k
    assert ours.to_arviz().elpd == ours.elpd


@pytest.fixture(scope="module")
def sleep():
    data = ranef.datasets.load("sleepstudy")
    return data, ranef.Model(SLEEP, data).sample(seed=4, sampler="nutpie", progress=False)


def sampled_without(data, fit, subject, seed):
    """log p(y_j | the others): the mean, over a posterior sampled without subject j, of its dense normal density."""
    priors = fit.draws.priors  # every subject has the same days, so the centre of the intercept's prior stays
    draws = (
        ranef.Model(SLEEP, data[data["Subject"].astype(str) != subject])
        .sample(seed=seed, sampler="nutpie", progress=False, priors=priors)
        .draws
    )
    own = data[data["Subject"].astype(str) == subject]
    X = np.column_stack([np.ones(len(own)), own["Days"]])
    logs = []
    for theta, sigma, beta in zip(
        draws.theta.reshape(-1, 3), draws.sigma.ravel(), draws.beta.reshape(-1, 2), strict=True
    ):
        lam = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
        V = sigma**2 * (X @ lam @ lam.T @ X.T + np.eye(len(own)))
        logs.append(stats.multivariate_normal.logpdf(own["Reaction"], X @ beta, V))
    return np.logaddexp.reduce(logs) - np.log(len(logs))


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["308", "309", OUTLIER, "335", "352", "372"])
def test_groups_of_sleepstudy_by_fitting_again(sleep, subject):
    data, fit = sleep
    found = group_loo(fit)
    assert (found.pareto_k <= found.good_k).all()  # also of the outlier, by draws from a wide normal
    within = 0.6 if subject == OUTLIER else 0.08  # of the refit: its mean of densities has an sd of 0.25 there
    assert found.elpd_i[subject] == pytest.approx(sampled_without(data, fit, subject, 7), abs=within)


def test_integrating_the_coefficients_agrees_with_drawing_them(sleep):
    """Both are exact in the limit; with (θ, σ) alone the weights have lighter tails."""
    _, fit = sleep
    exact = group_loo(fit)
    with pytest.warns(UserWarning, match="Pareto"):
        drawn = arviz_stats.loo(fit.datatree, var_name="group_Subject", pointwise=True)
    assert exact.elpd == pytest.approx(float(drawn.elpd), abs=1.0)
    assert exact.pareto_k.mean() < float(drawn.pareto_k.mean())


def test_residual_parameters_are_integrated_too(sleep, monkeypatch):
    """By wide draws of θ, σ and ρ, and by the posterior's."""
    data, _ = sleep
    fit = ranef.Model(SLEEP, data, correlation=ranef.AR1("Days", group="Subject")).sample(
        seed=1, sampler="nutpie", progress=False
    )
    wide = group_loo(fit)
    monkeypatch.setattr("_ranef.inference.loo.wide_draws", lambda *_: None)
    drawn = group_loo(fit)
    assert (wide.pareto_k <= wide.good_k).all()
    trusted = drawn.pareto_k <= 0.5  # from there on a few draws may carry the sum
    assert trusted.sum() > 10
    np.testing.assert_allclose(wide.elpd_i[trusted], drawn.elpd_i[trusted], atol=0.25)


def test_relatives_keep_their_draws():
    """Groups with independent levels are those with a known covariance of one."""
    data = ranef.datasets.load("sleepstudy")
    levels = sorted(data["Subject"].astype(str).unique())
    related = ranef.Model(SLEEP, data, cov={"Subject": (np.eye(len(levels)), levels)})
    fit = related.sample(seed=1, sampler="nutpie", progress=False)
    plain = ranef.Model(SLEEP, data).sample(seed=1, sampler="nutpie", progress=False)
    found, other = group_loo(fit), group_loo(plain)
    trusted = found.pareto_k <= found.good_k
    np.testing.assert_allclose(found.elpd_i[trusted], other.elpd_i[trusted], atol=0.25)


@pytest.mark.slow
def test_shared_effects_keep_their_draws():
    """Crossed factors: rows of a plate given the samples; scored against fits without the plate."""
    data = ranef.datasets.load("penicillin")
    fit = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", data).sample(
        seed=1, sampler="nutpie", progress=False
    )
    with pytest.raises(ranef.DesignError, match=r"group= must be one of 'plate', 'sample'"):
        fit.loo(kind="group")
    found = group_loo(fit, "plate")
    assert found.n_data_points == 24
    assert found.pareto_k.index.name == "plate"
    plate = found.elpd_i.index[0]
    kept = data[data["plate"].astype(str) != plate]
    again = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", kept).sample(
        seed=5, sampler="nutpie", progress=False, priors=fit.draws.priors
    )
    own = data[data["plate"].astype(str) == plate]
    levels = [str(level) for level in again.spec.groupings[1].levels]
    places = [levels.index(s) for s in own["sample"].astype(str)]
    S = again.draws.sigma.size
    sigma, beta = again.draws.sigma.ravel(), again.draws.beta.reshape(S)
    mean = beta[:, None] + again.draws.b[1].reshape(S, -1)[:, places]
    logs = [
        stats.multivariate_normal.logpdf(own["diameter"], m, s**2 * (np.eye(len(own)) + t**2))
        for m, s, t in zip(mean, sigma, again.draws.theta.reshape(S, 2)[:, 0], strict=True)
    ]
    assert found.elpd_i[plate] == pytest.approx(np.logaddexp.reduce(logs) - np.log(S), abs=0.08)


def test_prior_of_the_coefficients(sleep):
    """The intercept's prior is on the mean at the means of the columns."""
    _, fit = sleep
    K, s = gaussian_prior(fit.spec, fit.draws.priors)
    first, second = fit.draws.priors.fixef["Intercept"], fit.draws.priors.fixef["Days"]

    def log_prior(beta):
        centre = beta[0] + fit.spec.design.X[:, 1].mean() * beta[1]
        return stats.norm.logpdf(centre, first.loc, first.scale) + stats.norm.logpdf(beta[1], 0.0, second.scale)

    a, b = np.array([200.0, 5.0]), np.array([310.0, -8.0])
    difference = -0.5 * (a @ K @ a - b @ K @ b) + s @ (a - b)
    assert log_prior(a) - log_prior(b) == pytest.approx(difference)


def test_other_priors_leave_the_coefficients_drawn(sleep):
    _, fit = sleep

    wide = {"Intercept": StudentT(30.0, 300.0, 140.0), "Days": StudentT(30.0, 0.0, 49.0)}
    priors = replace(fit.draws.priors, fixef=wide)
    found = loo_groups(fit.spec, replace(fit.draws, priors=priors), row_groups(fit.spec, 0))
    assert found.integrated == ("the effects of each level of Subject",)
    np.testing.assert_allclose(found.elpd_i, group_loo(fit).elpd_i, atol=0.5)


def test_high_pareto_k_is_told_in_words(fb):
    """The draws of another response stand in for a posterior that one row is far from."""
    y = fb.spec.design.y + 3.0 * (np.arange(20) == 3)
    fit = replace(fb, spec=with_response(fb.spec, y))
    with pytest.warns(ranef.RanefWarning, match=r"Pareto k is above 0\.70 for \d+ of 20 rows: .*kind='group'"):
        loo = fit.loo()
    assert loo.pareto_k.idxmax() == 3
    assert loo.warning
    assert loo.words[0] in repr(loo)


def test_arguments(fb):
    with pytest.raises(ranef.DesignError, match=r"kind='rows' must be 'conditional'"):
        fb.loo("rows")
    with pytest.raises(ranef.DesignError, match="is for kind='group'"):
        fb.loo(group="operator")
    with pytest.raises(ranef.DesignError, match="Did you mean 'operator'"):
        fb.loo(kind="group", group="operater")


# -- several models ------------------------------------------------------------------------------------------------


def exact_line(formula, data, S=1000):
    """A posterior of a straight line that needs no sampler: σ all but known, β normal."""
    model = ranef.Model(formula, data)
    spec, priors, rng = model.spec, model.priors(), np.random.default_rng(6)
    K, s = gaussian_prior(spec, priors)
    X, y = spec.design.X, spec.design.y
    sigma = np.std(y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) * (1 + 1e-4 * rng.normal(size=(2, S)))
    V = np.linalg.inv(K + X.T @ X / sigma.mean() ** 2)
    beta = rng.multivariate_normal(V @ (s + X.T @ y / sigma.mean() ** 2), V, size=(2, S))
    stats = {"diverging": np.zeros((2, S), dtype=bool)}
    return PosteriorFit(
        spec, PosteriorDraws(np.zeros((2, S, 0)), sigma, beta, (), stats, "marginal", priors, 6, 0, 0.0, complete=True)
    )


@pytest.fixture(scope="module")
def line(sleep):
    return exact_line("Reaction ~ Days", sleep[0])


@pytest.mark.filterwarnings("ignore:Pareto")
def test_compare_by_rows_is_arviz(sleep, line):
    _, fit = sleep
    found = ranef.compare({"slopes": fit, "line": line})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, in ArviZ
        theirs = arviz_stats.compare({"slopes": fit.loo().to_arviz(), "line": line.loo().to_arviz()})
    assert list(found.columns) == list(theirs.columns)
    assert found.index.tolist() == theirs.index.tolist() == ["slopes", "line"]
    for column in ("rank", "elpd", "p", "elpd_diff", "se", "dse", "warning"):
        np.testing.assert_allclose(found[column].astype(float), theirs[column].astype(float), rtol=1e-10)
    np.testing.assert_allclose(found["weight"], theirs["weight"], atol=0.01)


def test_compare_by_groups_scores_a_model_without_the_factor(sleep, line):
    _, fit = sleep
    found = ranef.compare(fit, line, kind="group")
    assert found.index.tolist() == [SLEEP, "Reaction ~ Days"]
    assert found["elpd"].iloc[0] == pytest.approx(group_loo(fit).elpd)
    # the evidence of all rows over that of all others, β integrated in a dense normal and σ on a grid
    X, y, priors = line.spec.design.X, line.spec.design.y, line.draws.priors
    K, s = gaussian_prior(line.spec, priors)
    mean, cov = np.linalg.solve(K, s), np.linalg.inv(K)
    sigma = np.exp(np.linspace(np.log(25.0), np.log(90.0), 60))

    def evidence(rows):
        own = X[rows] @ cov @ X[rows].T
        white = [np.linalg.cholesky(v**2 * np.eye(rows.sum()) + own) for v in sigma]
        r = y[rows] - X[rows] @ mean
        normals = [
            -0.5 * ((np.linalg.solve(L, r) ** 2).sum() + len(r) * np.log(2 * np.pi)) - np.log(np.diag(L)).sum()
            for L in white
        ]
        return logsumexp(np.array(normals) + stats.t.logpdf(sigma, 3, scale=priors.sigma.scale) + np.log(sigma))

    codes = fit.spec.groupings[0].codes
    whole = evidence(np.full(180, True))
    exact = sum(whole - evidence(codes != j) for j in range(18))
    assert found["elpd"].iloc[1] == pytest.approx(exact, abs=0.05)


def test_models_of_other_data_are_refused(sleep, fb, line):
    data, fit = sleep
    short = exact_line("Reaction ~ Days", data[:-1])
    with pytest.raises(ranef.DesignError, match=r"different rows \(180 and 179 of them used\)"):
        ranef.compare(fit, short)
    logs = exact_line("log(Reaction) ~ Days", data)
    with pytest.raises(ranef.DesignError, match=r"different responses, 'Reaction' and 'log\(Reaction\)'"):
        ranef.compare(fit, logs)
    with pytest.raises(ranef.DesignError, match="no model has a grouping factor"):
        ranef.compare(line, line, kind="group")
    with pytest.raises(ranef.DesignError, match=r"group='x' is not one of 'Subject'"):
        ranef.compare(line, fit, kind="group", group="x")
    with pytest.raises(ranef.DesignError, match="two or more fits"):
        ranef.compare(fit)


def test_stacking_weights_maximise_the_score():
    """Two models: a scan over the simplex; densities of e^-900 must not vanish."""
    rng = np.random.default_rng(1)
    pointwise = rng.normal(size=(40, 2)) - 900.0
    grid = np.linspace(0.0, 1.0, 2001)
    score = np.logaddexp(pointwise[:, :1] + np.log(grid + 1e-300), pointwise[:, 1:] + np.log(1 - grid + 1e-300)).sum(0)
    weights = stacking_weights(pointwise)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(grid[score.argmax()], abs=1e-3)
    assert stacking_weights(np.column_stack([pointwise[:, 0], pointwise[:, 0] - 50.0])).tolist() == [1.0, 0.0]


def test_frame(fb):
    frame = fb.loo().frame
    assert frame.columns.tolist() == ["elpd", "p", "pareto_k"]
    assert isinstance(frame, pd.DataFrame)
    assert frame["elpd"].sum() == pytest.approx(fb.loo().elpd)


def test_a_student_response_has_rows_but_no_groups(fb):
    """With ν beyond all bounds its rows are those of a normal response."""
    nu = np.full(fb.draws.sigma.shape, 1e9)
    fit = replace(fb, draws=replace(fb.draws, family="student", extras={"nu": nu}))
    np.testing.assert_allclose(fit.loo().elpd_i, fb.loo().elpd_i, atol=1e-4)
    with pytest.raises(ranef.FitError, match=r"Student t in this model: the response.*kind='conditional'"):
        fit.loo(kind="group")
