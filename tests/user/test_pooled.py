"""``ranef.pooling`` as users call it."""

import numpy as np
import pandas as pd
import pytest

import oracle
import ranef
from _ranef.user import PosteriorFit
from reference_draws import scattered

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def model():
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def eb(model):
    return model.fit()


@pytest.fixture(scope="module")
def fb(eb):
    return PosteriorFit(eb.spec, scattered(eb))


@pytest.fixture(scope="module")
def both(eb, fb):
    return ranef.pooling(eb, fb)


@pytest.fixture(scope="module")
def crossed():
    return ranef.pooling(ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")))


def test_whatever_it_is_given(model, eb, fb, both):
    alone = both.frame.drop(columns=["posterior", "reliability_mean", "reliability_lower", "reliability_upper"])
    for given in ((model,), (eb,), (fb,), (fb, eb)):
        pooled = ranef.pooling(*given)
        pd.testing.assert_frame_equal(pooled.frame[alone.columns], alone, rtol=1e-6, atol=1e-6)
        assert pooled.frame["posterior"].notna().all() == (fb in given)
    np.testing.assert_allclose(both.frame["posterior"], fb.ranef()["estimate"])


@pytest.mark.parametrize("given", [(), ("eb", "eb"), ("fb", "fb"), ("model", "eb"), ("text",), (3,)])
def test_anything_else_is_refused(given, request):
    values = [request.getfixturevalue(g) if g in ("eb", "fb", "model") else g for g in given]
    with pytest.raises(ranef.DesignError, match=r"pooling\(\) takes a Model"):
        ranef.pooling(*values)


def test_fits_of_other_models_and_data(eb, fb):
    data = ranef.datasets.load("sleepstudy")
    other = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    with pytest.raises(ranef.DesignError, match="different models"):
        ranef.pooling(other, fb)
    other = ranef.Model(SLEEP, data.assign(Reaction=lambda d: d["Reaction"] ** 2)).fit()
    with pytest.raises(ranef.DesignError, match=r"the responses, .* are other numbers"):
        ranef.pooling(other, fb)
    same = ranef.Model(SLEEP, data).fit()
    assert ranef.pooling(same, fb).eb is same
    with pytest.raises(ranef.DesignError, match="strictly between 0 and 1"):
        ranef.pooling(eb, level=95)


def test_coefficients_are_lines(both, eb, fb):
    """No pooling is each subject's own regression, complete pooling the population's line, partial lme4's coef."""
    wide = both.coef.pivot(index="level", columns="term", values="no_pooling")
    data = ranef.datasets.load("sleepstudy")
    for subject, rows in data.groupby("Subject", observed=True):
        slope, intercept = np.polyfit(rows["Days"], rows["Reaction"], 1)
        np.testing.assert_allclose(wide.loc[str(subject), ["Intercept", "Days"]], [intercept, slope], rtol=1e-9)
    for term in ("Intercept", "Days"):
        own = both.coef[both.coef["term"] == term].set_index("level")
        np.testing.assert_allclose(own["complete"], eb.fixef[term])
        np.testing.assert_allclose(own["partial"], eb.coef("Subject")[term])
        np.testing.assert_allclose(own["posterior"], fb.coef("Subject")[term])


def test_blups_are_the_matrix_times_no_pooling(both, eb):
    lam = eb.spec.lambdas(eb.estimates.theta)[0]
    D = lam @ lam.T
    Z = np.column_stack([np.ones(10), np.arange(10.0)])
    expected = D @ np.linalg.inv(D + np.linalg.inv(Z.T @ Z))
    for level, rows in both.frame.groupby("level"):
        matrix = both.reliability_matrix("Subject", level)
        np.testing.assert_allclose(matrix, expected, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(matrix @ rows["no_pooling"].to_numpy(), rows["partial"], rtol=1e-6, atol=1e-8)
    assert matrix.index.tolist() == matrix.columns.tolist() == ["Intercept", "Days"]


def test_one_row_in_a_level():
    data = ranef.datasets.load("sleepstudy")
    data = data[~((data["Subject"].astype(str) == "309") & (data["Days"] != 3))]
    pooled = ranef.pooling(ranef.Model(SLEEP, data, sigma=25.0))
    rows = pooled.frame[pooled.frame["level"] == "309"]
    assert rows["n"].tolist() == [1, 1]
    assert rows["no_pooling"].isna().all()
    assert rows["reliability"].tolist() == [0.0, 0.0]
    lam = pooled.spec.lambdas(pooled.eb.estimates.theta)[0]
    D, A = lam @ lam.T, np.outer([1.0, 3.0], [1.0, 3.0])
    matrix = pooled.reliability_matrix("Subject", "309")
    np.testing.assert_allclose(matrix, D @ A @ np.linalg.inv(np.eye(2) + D @ A), rtol=1e-7)
    residual = data.loc[data["Subject"].astype(str) == "309", "Reaction"].item() - pooled.eb.fixef @ [1.0, 3.0]
    np.testing.assert_allclose(rows["partial"], matrix @ [residual, 0.0], rtol=1e-6)


def test_at_any_theta(both):
    at = both.at([0.5, -0.2, 0.1])
    beta, b = oracle.effects(both.spec, [0.5, -0.2, 0.1])
    np.testing.assert_allclose(at.fixef, beta, rtol=1e-8)
    np.testing.assert_allclose(at.frame["partial"], b[0].ravel(), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(at.coef["partial"], (b[0] + beta).ravel(), rtol=1e-8)
    assert at.theta.to_dict() == dict(zip(both.spec.theta_names, [0.5, -0.2, 0.1], strict=True))
    A = np.linalg.inv(np.array([[10.0, 45.0], [45.0, 285.0]]))
    tau = np.array([0.25, 0.05])  # 0.2² + 0.1²
    np.testing.assert_allclose(at.frame["reliability"].to_numpy()[:2], tau / (tau + np.diag(A)), rtol=1e-9)


def test_at_the_estimate(both, eb):
    at = both.at()
    assert at.criterion == pytest.approx(eb.criterion, abs=1e-8)
    assert at.sigma == pytest.approx(eb.sigma, rel=1e-9)
    pd.testing.assert_frame_equal(at.frame, both.frame[at.frame.columns])


def test_at_a_ratio(both, eb):
    estimate = both.ratios.set_index("term")["estimate"]
    np.testing.assert_allclose(estimate * eb.sigma, eb.varcorr["sdcor"][:2])
    same = both.at(ratio=estimate["Days"], term="Days")
    np.testing.assert_allclose(same.theta, eb.theta, rtol=1e-12)
    np.testing.assert_allclose(same.frame["partial"], both.frame["partial"], rtol=1e-6, atol=1e-7)
    none = both.at(ratio=np.inf, term="Days")
    assert none.criterion == np.inf
    assert none.theta.tolist() == [eb.theta.iloc[0], np.inf, np.inf]
    assert none.frame.loc[none.frame["term"] == "Days", "reliability"].tolist() == [1.0] * 18
    for wrong in (-1.0, np.nan, "much"):
        with pytest.raises(ranef.DesignError, match="from 0 to infinity"):
            both.at(ratio=wrong, term="Days")
    with pytest.raises(ranef.DesignError, match=r"term= must be one of 'Intercept', 'Days'"):
        both.at(ratio=1.0)
    with pytest.raises(ranef.DesignError, match=r"no random effect 'Dayz'. Did you mean 'Days'"):
        both.at(ratio=1.0, term="Dayz")


def test_path_passes_through_the_estimate(crossed):
    """The columns of the path at REML's ratio are those of the frame; a level's coefficient is β̂ there plus b̂."""
    ratios = crossed.ratios.set_index("group")["estimate"]
    for group in ("plate", "sample"):
        path = crossed.path(group, ratios=[0.0, ratios[group]])
        here = crossed.frame[crossed.frame["group"] == group]
        last = path[path["ratio"] > 0]
        np.testing.assert_allclose(last["estimate"], here["partial"], atol=1e-8)
        np.testing.assert_allclose(last["reliability"], here["reliability"])
        np.testing.assert_array_equal(path.loc[path["ratio"] == 0, "estimate"], 0.0)
        fixef = crossed.path_fixef(group, ratios=[0.0, ratios[group]])
        assert list(fixef.columns) == ["group", "term", "ratio", "position", "coefficient", "estimate"]
        np.testing.assert_allclose(
            path["coef"], path["estimate"] + np.repeat(fixef["estimate"].to_numpy(), len(here)), rtol=1e-12
        )


def test_limits_of_sums_whose_parts_have_none():
    pooled = ranef.pooling(ranef.Model("Reaction ~ 1 + (Days | Subject)", ranef.datasets.load("sleepstudy")))
    none, near = (pooled.at(ratio=r, term="Intercept") for r in (np.inf, 1e4))
    intercepts = none.frame["term"] == "Intercept"
    assert none.fixef.isna().all()
    np.testing.assert_array_equal(none.frame["partial"].isna(), intercepts)
    np.testing.assert_allclose(none.coef["partial"], near.coef["partial"], rtol=1e-4)
    sweep = pooled.sweep(term="Intercept", n=3)
    np.testing.assert_array_equal(sweep.coefficients[-1].ravel(), none.coef["partial"])
    assert np.isfinite(sweep.frame["coef"]).all()


def test_sweep_holds_all_effects_of_the_factor(both):
    found = both.sweep(term="Days", n=5)
    assert found.b.shape == (5, 18, 2)
    assert found is both.sweep("Subject", "Days", n=5)
    for i, ratio in enumerate(found.ratios):
        at = both.at(ratio=ratio, term="Days")
        np.testing.assert_allclose(found.coefficients[i].ravel(), at.coef["partial"], rtol=1e-9)
        np.testing.assert_allclose(found.beta[i], at.fixef, rtol=1e-12)
        assert found.criterion[i] == at.criterion
        assert found.sigma[i] == at.sigma
    path = both.path(term="Days", n=5)
    np.testing.assert_array_equal(path["coef"], found.coefficients[:, :, 1].ravel())
    assert both.path(n=5)["term"].unique().tolist() == ["Intercept", "Days"]


def test_posterior_of_ratios(both, fb):
    lam = np.array([fb.spec.lambdas(t)[0] for t in fb.draws.theta.reshape(-1, 3)])
    ratios = np.sqrt(np.einsum("sab,sab->sa", lam, lam))
    row = both.ratios.set_index("term").loc["Days"]
    drawn = both.ratio_draws(term="Days")
    assert drawn.shape == fb.draws.sigma.shape
    np.testing.assert_allclose(drawn.ravel(), ratios[:, 1])
    np.testing.assert_allclose(row[["mean", "lower", "upper"]].astype(float), [
        ratios[:, 1].mean(), *np.quantile(ratios[:, 1], [0.025, 0.975])
    ])  # fmt: skip


def test_posterior_of_reliabilities(both):
    drawn = both.reliability_draws(levels=["330", "308"])
    assert drawn.shape == (2, 200, 2, 2)
    everything = both.reliability_draws()
    np.testing.assert_array_equal(drawn, everything[:, :, [3, 0]])
    np.testing.assert_allclose(everything.mean(axis=(0, 1)).ravel(), both.frame["reliability_mean"], rtol=1e-12)
    ends = np.quantile(everything.reshape(400, -1), [0.025, 0.975], axis=0)
    np.testing.assert_allclose(both.frame[["reliability_lower", "reliability_upper"]], ends.T, rtol=1e-9)
    with pytest.raises(ranef.DesignError, match="no level '3080'"):
        both.reliability_draws(levels=["3080"])


def test_without_a_posterior(eb):
    pooled = ranef.pooling(eb)
    for call in (lambda: pooled.ratio_draws(term="Days"), pooled.reliability_draws):
        with pytest.raises(ranef.DesignError, match="needs a posterior"):
            call()
    assert pooled.ratios[["mean", "lower", "upper"]].isna().all(axis=None)


def test_a_posterior_that_is_not_normal(eb):
    pooled = ranef.pooling(eb, PosteriorFit(eb.spec, scattered(eb, family="student")))
    assert pooled.frame["reliability_mean"].isna().all()
    assert pooled.frame["posterior"].notna().all()
    with pytest.raises(ranef.FitError, match="Student t"):
        pooled.reliability_draws()
    assert "have no closed form" in repr(pooled)


def test_one_group_of_several(crossed):
    one = ranef.pooling(crossed.eb, group="sample")
    pd.testing.assert_frame_equal(one.frame, crossed.frame[24:].reset_index(drop=True))
    assert one.at(ratio=1.0).frame["group"].unique().tolist() == ["sample"]
    assert one.path(n=2)["group"].unique().tolist() == ["sample"]
    with pytest.raises(ranef.DesignError, match="no grouping factor 'samples'"):
        ranef.pooling(crossed.eb, group="samples")
    with pytest.raises(ranef.DesignError, match=r"group= must be one of 'plate', 'sample'"):
        crossed.at(ratio=1.0)


def test_from_chunks():
    data = ranef.datasets.load("sleepstudy")
    streamed = ranef.pooling(ranef.Model(SLEEP, [data[:70], data[70:]]))
    whole = ranef.pooling(ranef.Model(SLEEP, data))
    pd.testing.assert_frame_equal(streamed.frame, whole.frame, rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(streamed.path(n=3), whole.path(n=3), rtol=1e-5, atol=1e-6)


def test_table(both, crossed):
    text = repr(both)
    for words in ("No pooling", "BLUP", "Complete", "Posterior", "Reliability", "251.4", "16 more rows"):
        assert words in text
    assert text.count("Subject Days") == 10
    assert "other grouping factors" not in text
    assert "other grouping factors" in repr(crossed)
    assert "<table>" in both._repr_html_()
    shorter = str(crossed.table(max_levels=2))
    assert "Posterior" not in shorter
    assert "26 more rows" in shorter
    assert [line.split()[:3] for line in shorter.splitlines() if "Intercept" in line] == [
        [group, "Intercept", level] for group, levels in (("plate", "ab"), ("sample", "AB")) for level in levels
    ]


def test_effects_beyond_what_rounding_leaves_are_refused():
    """At their infinity they are a limit, which is exact."""
    data = ranef.datasets.load("sleepstudy")
    pooled = ranef.pooling(ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit())
    with pytest.raises(ranef.DesignError, match=r"At this ratio effects are .*e\+.. times the noise.*float\('inf'\)"):
        pooled.at(ratio=1e7, term="Days")
    with pytest.raises(ranef.DesignError, match="At this theta"):
        pooled.at(theta=[1e8, 0.0, 1e8])
    near, far = (pooled.at(ratio=r, term="Days").frame["partial"] for r in (1e4, np.inf))
    np.testing.assert_allclose(near, far, rtol=1e-3, atol=1e-3)
