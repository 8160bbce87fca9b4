"""The frames of pooling: columns, what stands in them, and what moving the data must do to them."""

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison import checked_theta, pooling_base, ratio_draws, relative_sds
from _ranef.comparison.pooling import pooling_frame
from _ranef.comparison.shrinkage import shrinkage_frame
from reference_draws import scattered

COLUMNS = [
    *("group", "level", "term", "n", "no_pooling", "partial", "complete", "posterior"),
    *("reliability", "reliability_mean", "reliability_lower", "reliability_upper"),
]


def base_of(fit):
    return pooling_base(fit.likelihood, fit.estimates.theta)


def test_pulp():
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    frame = pooling_frame(base_of(fit), None, 0.95)
    assert list(frame.columns) == COLUMNS
    # 1 + σ²/(5 τ²) with σ = 0.3259601, τ² = 0.06808333 of tests/reference/pulp_reml.json (lme4 1.1.31)
    np.testing.assert_allclose(frame["no_pooling"] / frame["partial"], 1.312117, rtol=1e-6)
    np.testing.assert_allclose(frame["reliability"], 1 / 1.312117, rtol=1e-6)
    np.testing.assert_array_equal(frame["complete"], 0.0)
    assert frame["n"].tolist() == [5] * 4
    assert frame[["posterior", *COLUMNS[-3:]]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
        ("score ~ Machine + (1 | Worker / Machine)", "Machines"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    ],
)
def test_against_both_fits(formula, data):
    """What REML says is the fit's, and what the draws say is computed one draw after the other."""
    fit = ranef.Model(formula, ranef.datasets.load(data)).fit()
    draws = scattered(fit, draws=60)
    frame = pooling_frame(base_of(fit), draws, 0.9)
    np.testing.assert_allclose(frame["partial"], fit.ranef()["estimate"], rtol=1e-6, atol=1e-9)
    pd.testing.assert_frame_equal(frame[["group", "level", "term"]], fit.ranef()[["group", "level", "term"]])
    posterior = np.concatenate([b.mean(axis=(0, 1)).ravel() for b in draws.b])
    np.testing.assert_allclose(frame["posterior"], posterior)
    lams = []
    for theta in draws.theta.reshape(-1, fit.spec.n_theta):
        one = []
        for g, lam in zip(fit.spec.groupings, fit.spec.lambdas(theta), strict=True):
            tau = np.diag(lam @ lam.T)
            for j in range(g.n_levels):
                Z = g.Z[g.codes == j]
                one.append(tau / (tau + np.diag(np.linalg.inv(Z.T @ Z))))
        lams.append(np.concatenate(one))
    np.testing.assert_allclose(frame["reliability_mean"], np.mean(lams, axis=0), rtol=1e-9)
    ends = np.quantile(lams, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(frame[["reliability_lower", "reliability_upper"]], ends.T, rtol=1e-9)


def test_ratios_of_draws():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    draws = scattered(fit, draws=20)
    expected = [np.sqrt(np.diag(fit.spec.lambdas(t)[0] @ fit.spec.lambdas(t)[0].T)) for t in draws.theta.reshape(-1, 3)]
    np.testing.assert_allclose(ratio_draws(fit.spec, draws)[0], expected)
    sds = fit.varcorr.loc[[0, 1], "sdcor"].to_numpy()
    np.testing.assert_allclose(relative_sds(fit.spec, fit.estimates.theta)[0], sds / fit.sigma)


def sleepstudy(order=None):
    data = ranef.datasets.load("sleepstudy")
    return data if order is None else data.iloc[order].reset_index(drop=True)


def long_frames(data, formula="Reaction ~ Days + (Days | Subject)"):
    pooled = ranef.pooling(ranef.Model(formula, data))
    keys = ["group", "level", "term"]
    return pooled.frame.set_index(keys).sort_index(), pooled.path(n=5).set_index([*keys, "position"]).sort_index()


def test_order_of_rows():
    first = long_frames(sleepstudy())
    second = long_frames(sleepstudy(np.random.default_rng(1).permutation(180)))
    for a, b in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(a, b, rtol=1e-6, atol=1e-6)


def test_shift_and_scale_of_the_response():
    """Deviations are in the unit of the response and do not know its origin; ratios and reliabilities know neither."""
    data = sleepstudy()
    (frame, path), (moved, moved_path) = (
        long_frames(data),
        long_frames(data.assign(Reaction=3 * data["Reaction"] - 1e4)),
    )
    for column in ("no_pooling", "partial"):
        np.testing.assert_allclose(moved[column], 3 * frame[column], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(moved["reliability"], frame["reliability"], rtol=1e-6)
    np.testing.assert_allclose(moved_path["estimate"], 3 * path["estimate"], rtol=1e-5, atol=1e-4)
    for column in ("ratio", "reliability"):
        np.testing.assert_allclose(moved_path[column], path[column], rtol=1e-6)


def test_path_of_a_fit():
    fit = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")).fit()
    pooled = ranef.pooling(fit)
    path = pooled.path("sample", ratios=[0.0, 1.0])
    assert list(path.columns) == ["group", "level", "term", "ratio", "estimate", "reliability", "position", "coef"]
    assert path["level"].tolist() == list("ABCDEF") * 2
    assert path["ratio"].tolist() == [0.0] * 6 + [1.0] * 6
    every = pooled.path(n=2)
    assert list(every.columns) == [*path.columns, "scale"]
    assert every.groupby("group", sort=False).size().to_dict() == {"plate": 48, "sample": 12}
    with pytest.raises(ranef.DesignError, match=r"no random effect 'Inetrcept'. Did you mean 'Intercept'"):
        pooled.path(term="Inetrcept")


def test_theta_is_checked():
    spec, estimate = ranef.Model("Reaction ~ Days + (Days | Subject)", sleepstudy()).spec, np.array([1.0, 0.1, 0.2])
    np.testing.assert_array_equal(checked_theta(spec, {"Subject.Days": 3.0}, estimate), [1.0, 0.1, 3.0])
    named = pd.Series([3.0, 2.0, 1.0], index=["Subject.Days", "Subject.Days.Intercept", "Subject.Intercept"])
    np.testing.assert_array_equal(checked_theta(spec, named, estimate), [1.0, 2.0, 3.0])
    with pytest.raises(ranef.DesignError, match=r"no entry 'Subject.Day'. Did you mean 'Subject.Days'"):
        checked_theta(spec, {"Subject.Day": 3.0}, estimate)
    for wrong in ([1.0, 2.0], [1.0, 2.0, np.inf], "theta", [[1.0, 2.0, 3.0]]):
        with pytest.raises(ranef.DesignError, match="must hold 3 finite numbers"):
            checked_theta(spec, wrong, estimate)


def test_nothing_to_pool():
    fit = ranef.Model("Reaction ~ Days", sleepstudy()).fit()
    with pytest.raises(ranef.DesignError, match="no random effects"):
        base_of(fit)


@pytest.mark.parametrize(
    ("formula", "data"),
    [
        ("strength ~ 1 + (1 | batch/cask)", "pastes"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"),
        ("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", "Machines"),
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    ],
)
def test_every_blup_is_its_reliability_times_no_pooling(formula, data):
    """The mixed-model equations of a level, other factors at their BLUPs: b̂ⱼ = Λⱼ b̃ⱼ, at any θ."""
    fit = ranef.Model(formula, ranef.datasets.load(data)).fit()
    pooled = ranef.pooling(fit)
    frame = pooled.frame.set_index(["group", "level"])
    for (group, level), own in frame.groupby(level=[0, 1], sort=False):
        matrix = pooled.reliability_matrix(group, level).to_numpy()
        np.testing.assert_allclose(matrix @ own["no_pooling"], own["partial"], rtol=1e-7, atol=1e-7 * fit.sigma)
    for at in (pooled.at(1.7 * fit.theta), pooled.at(0.2 * fit.theta)):
        if (frame["reliability"] > 0).all() and fit.spec.groupings[0].Z.shape[1] == 1:
            np.testing.assert_allclose(at.frame["reliability"] * at.frame["no_pooling"], at.frame["partial"], atol=1e-8)
    both = shrinkage_frame(fit)
    np.testing.assert_allclose(both["no_pooling"], pooled.frame["no_pooling"], rtol=1e-7, atol=1e-7 * fit.sigma)
