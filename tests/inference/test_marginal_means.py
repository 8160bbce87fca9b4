"""Marginal means against R's emmeans, against predictions over a grid, and against least squares."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference.estimated_means import _adjusted
from registry import CASES, model, reference
from small_fits import scattered_posterior

MEANS = [(c, k) for c in CASES for k, e in enumerate(reference(c).get("emmeans") or []) if "means" in e]


def fitted(formula, data, method="REML", **options):
    data = ranef.datasets.load(data) if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, data, **options).fit(method)


OATS = "yield ~ nitro * Variety + (1 | Block/Variety)"


@pytest.mark.parametrize(("case", "k"), MEANS)
def test_they_are_those_of_emmeans(case, k):
    """Estimates, errors, intervals and p-values, with Kenward and Roger's covariance and degrees of freedom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = model(case).fit()
    ref = reference(case)["emmeans"][k]
    theirs = pd.DataFrame(ref["means"])
    means = ranef.emmeans(fit, ref["spec"], ddf="kenward-roger")
    frame = means.frame
    for name in means.cells.columns:
        ours = [f"{v:g}" if isinstance(v, float) else str(v) for v in frame[name]]
        assert ours == theirs[name].astype(str).tolist()
    for own, their in (("estimate", "emmean"), ("std_error", "SE"), ("lower", "lower.CL"), ("upper", "upper.CL")):
        np.testing.assert_allclose(frame[own], theirs[their], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(frame["df"], theirs["df"], rtol=1e-4)
    np.testing.assert_allclose(frame["p_value"], theirs["p.value"], rtol=1e-3, atol=1e-12)
    if means.by:
        return  # their pairs are across the levels of by, too
    pairs, contrasts = pd.DataFrame(ref["pairs_tukey"]), means.contrasts()
    assert contrasts["contrast"].str.replace(" ", "").tolist() == pairs["contrast"].str.replace(" ", "").tolist()
    for own, their in (("estimate", "estimate"), ("std_error", "SE"), ("lower", "lower.CL"), ("upper", "upper.CL")):
        np.testing.assert_allclose(contrasts[own], pairs[their], rtol=1e-4, atol=3e-4)
    np.testing.assert_allclose(contrasts["p_value"], pairs["p.value"], rtol=1e-3, atol=1e-6)
    plain = means.contrasts(adjust="none")
    np.testing.assert_allclose(plain["p_value"], ref["pairs_p_unadjusted"], rtol=1e-3, atol=1e-12)


def test_they_are_averages_of_predictions():
    fit = fitted(OATS, "Oats")
    grid = pd.DataFrame({"nitro": 0.3, "Variety": ["Golden Rain", "Marvellous", "Victory"]})
    expected = fit.predict(grid, re="none", interval="confidence")
    found = ranef.emmeans(fit, "Variety").frame
    np.testing.assert_allclose(found[["estimate", "lower", "upper"]], expected)
    overall = ranef.emmeans(fit, "1").frame
    np.testing.assert_allclose(overall["estimate"], expected["estimate"].mean())


def test_factors_made_of_numbers_and_levels_chosen():
    fit = fitted("yield ~ C(nitro) * Variety + (1 | Block/Variety)", "Oats")
    found = ranef.emmeans(fit, "nitro", at={"Variety": "Victory", "nitro": [0.2, 0.6]}).frame
    grid = pd.DataFrame({"nitro": [0.2, 0.6], "Variety": "Victory"})
    np.testing.assert_allclose(found["estimate"], fit.predict(grid, re="none"))
    assert ranef.emmeans(fit, "C(nitro)").frame["nitro"].tolist() == [0.0, 0.2, 0.4, 0.6]


def test_a_covariate_at_several_values_is_a_factor_or_averaged():
    fit = fitted(OATS, "Oats")
    found = ranef.emmeans(fit, "nitro | Variety", at={"nitro": [0, 0.6]})
    assert found.by == ("Variety",)
    differences = found.contrasts()
    assert differences["contrast"].unique().tolist() == ["nitro0 - nitro0.6"]
    slopes = ranef.emmeans(fit, "Variety", trend="nitro").frame
    np.testing.assert_allclose(differences["estimate"], -0.6 * slopes["estimate"], rtol=1e-7)
    np.testing.assert_allclose(differences["std_error"], 0.6 * slopes["std_error"], rtol=1e-7)
    averaged = ranef.emmeans(fit, "Variety", at={"nitro": [0, 0.6]}).frame["estimate"]
    np.testing.assert_allclose(averaged, ranef.emmeans(fit, "Variety").frame["estimate"])


def test_slopes_of_a_curve():
    data = ranef.datasets.load("sleepstudy")
    fit = fitted("Reaction ~ Days + I(Days^2) + (1 | Subject)", data)
    found = ranef.emmeans(fit, "1", trend="Days", at={"Days": 3}).frame["estimate"][0]
    assert found == pytest.approx(fit.fixef["Days"] + 6 * fit.fixef["I(Days^2)"], rel=1e-6)


def test_proportional_weights_are_shares_of_rows():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"f": list("aaabbbbbcc") * 12, "h": rng.choice(["u", "v"], 120, p=[0.8, 0.2])})
    data["g"] = np.repeat(np.arange(12).astype(str), 10)
    data["y"] = rng.normal(size=120) + 2.0 * (data["h"] == "v")
    fit = fitted("y ~ f * h + (1 | g)", data)
    found = ranef.emmeans(fit, "f", weights="proportional").frame["estimate"]
    shares = data["h"].value_counts(normalize=True)
    for f, estimate in zip("abc", found, strict=True):
        grid = pd.DataFrame({"f": f, "h": ["u", "v"]})
        assert estimate == pytest.approx(fit.predict(grid, re="none") @ shares[["u", "v"]].to_numpy())


def test_offsets_count_at_their_mean():
    data = ranef.datasets.load("pulp").assign(o=np.linspace(0, 1, 20))
    fit = fitted("bright ~ 1 + (1 | operator)", data, offset="o")
    assert ranef.emmeans(fit, "1").frame["estimate"][0] == pytest.approx(fit.fixef["Intercept"] + 0.5)


def test_polynomials_are_orthogonal_whole_numbers():
    fit = fitted("yield ~ C(nitro) + (1 | Block/Variety)", "Oats")
    means = ranef.emmeans(fit, "nitro")
    b = means.frame["estimate"].to_numpy()
    found = means.contrasts("poly")
    expected = [[-3, -1, 1, 3], [1, -1, -1, 1], [-1, 3, -3, 1]] @ b
    np.testing.assert_allclose(found["estimate"], expected)
    assert found["contrast"].tolist() == ["linear", "quadratic", "cubic"]


def test_custom_and_treatment_contrasts():
    means = ranef.emmeans(fitted(OATS, "Oats"), "Variety")
    b = means.frame["estimate"].to_numpy()
    custom = means.contrasts({"first against others": [1, -0.5, -0.5]})
    assert custom["estimate"][0] == pytest.approx(b[0] - b[1:].mean())
    assert custom["contrast"][0] == "first against others"
    np.testing.assert_allclose(means.contrasts("treatment")["estimate"], b[1:] - b[0])
    np.testing.assert_allclose(means.contrasts(np.eye(3)[:2])["estimate"], b[:2])


def test_adjustments():
    """Holm's and Bonferroni's by hand; Tukey's with infinite degrees of freedom by scipy's own test of equal groups."""
    t = np.array([3.0, 2.0, 2.5])
    p = 2 * scipy.stats.norm.sf(t)
    df = np.full(3, np.inf)
    np.testing.assert_allclose(_adjusted(t, df, "holm", 3, 0.95)[0], [3 * p[0], max(2 * p[2], p[1]), 2 * p[2]])
    np.testing.assert_allclose(_adjusted(t, df, "bonferroni", 3, 0.95)[0], 3 * p)
    np.testing.assert_allclose(_adjusted(t, df, "fdr", 3, 0.95)[0], [3 * p[0], p[1], 1.5 * p[2]])
    found, critical = _adjusted(t, df, "sidak", 3, 0.95)
    np.testing.assert_allclose(found, 1 - (1 - p) ** 3, rtol=1e-7)
    np.testing.assert_allclose(2 * scipy.stats.norm.sf(critical), 1 - 0.95 ** (1 / 3), rtol=1e-7)
    groups = np.random.default_rng(1).normal(size=(3, 6)) + np.array([[0], [1], [2.0]])
    theirs = scipy.stats.tukey_hsd(*groups)
    s = np.sqrt(groups.var(axis=1, ddof=1).mean())
    size = np.abs([groups[i].mean() - groups[j].mean() for i, j in ((0, 1), (0, 2), (1, 2))]) / (s * np.sqrt(2 / 6))
    found, critical = _adjusted(size, np.full(3, 15.0), "tukey", 3, 0.95)
    np.testing.assert_allclose(found, theirs.pvalue[[0, 0, 1], [1, 2, 2]], rtol=1e-6)
    ci = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(critical[0] * s * np.sqrt(2 / 6), (ci.high - ci.low)[0, 1] / 2, rtol=1e-6)


def test_effects_and_the_names_of_emmeans():
    means = ranef.emmeans(fitted(OATS, "Oats"), "Variety")
    b = means.frame["estimate"].to_numpy()
    np.testing.assert_allclose(means.contrasts("eff")["estimate"], b - b.mean(), atol=1e-9)
    assert str(means.contrasts("eff")).endswith("P-values: Holm's, of 3 tests.")
    pd.testing.assert_frame_equal(means.contrasts("trt.vs.ctrl"), means.contrasts("treatment"))


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_slopes_do_not_depend_on_the_unit(unit):
    data = ranef.datasets.load("sleepstudy")
    data["t"] = unit * (data["Days"] + 1)
    fit = ranef.Model("Reaction ~ t + log(t) + (1 | Subject)", data).fit()
    found = ranef.emmeans(fit, "1", at={"t": 4 * unit}, trend="t").frame["estimate"][0]
    assert found == pytest.approx(fit.fixef["t"] + fit.fixef["log(t)"] / (4 * unit), rel=1e-6)


def test_a_posterior_has_the_same_columns():
    posterior = scattered_posterior()
    found = ranef.emmeans(posterior, "1")
    eb = ranef.emmeans(fitted("bright ~ 1 + (1 | operator)", "pulp"), "1")
    assert found.frame.columns.tolist() == eb.frame.columns.tolist()
    draws = posterior.draws.beta[..., 0].ravel()
    row = found.frame.iloc[0]
    assert row["estimate"] == pytest.approx(draws.mean())
    assert row["std_error"] == pytest.approx(draws.std(ddof=1))
    assert row["lower"] == pytest.approx(np.quantile(draws, 0.025))


def test_what_the_data_do_not_determine_is_nan():
    data = pd.DataFrame({"f": list("aabbcc") * 5, "h": list("uvuvuu") * 5, "g": np.repeat(list("12345"), 6)})
    data["y"] = np.random.default_rng(1).normal(size=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = ranef.Model("y ~ f * h + (1 | g)", data).fit()
    found = ranef.emmeans(fit, "f").frame
    assert found["estimate"].notna().tolist() == [True, True, False]
    assert found["p_value"].notna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: ranef.emmeans(f, "variety"), "'variety' is no predictor of the fixed part. Did you mean 'Variety'"),
        (lambda f: ranef.emmeans(f, "Variety", at={"Variety": "Gold"}), "Variety has no level 'Gold'"),
        (lambda f: ranef.emmeans(f, "Variety", at={"nitro": [0.2, np.nan]}), "must be a finite number, or several"),
        (lambda f: ranef.emmeans(f, "Variety", at={"nitro": []}), "must be a finite number, or several"),
        (lambda f: ranef.emmeans(f, "Variety", at={"nitre": 1}), "'nitre' is no predictor"),
        (lambda f: ranef.emmeans(f, "Variety", weights="cells"), "must be 'equal' or 'proportional'"),
        (lambda f: ranef.emmeans(f, "Variety", trend="Variety"), "slopes are of covariates"),
        (lambda f: ranef.emmeans(f, "pairwise ~ Variety"), r"emmeans\(fit, 'Variety'\)\.contrasts\('pairwise'\)"),
        (lambda f: ranef.emmeans(f, "Variety").contrasts("all"), "'treatment', 'effects', 'poly'"),
        (lambda f: ranef.emmeans(f, "Variety").contrasts("poly", adjust="tukey"), "is for all pairs"),
        (lambda f: ranef.emmeans(f, "Variety").contrasts([[1, -1]]), "have 2 coefficients, and there are 3 means"),
    ],
)
def test_what_cannot_be_asked_says_so(call, words):
    with pytest.raises(ranef.DesignError, match=words):
        call(fitted(OATS, "Oats"))


def test_a_covariate_in_a_function_alone_needs_a_place():
    fit = fitted("Reaction ~ log(Days + 1) + (1 | Subject)", "sleepstudy")
    with pytest.raises(ranef.DesignError, match=r"stands in a function alone.*at=\{'Days'"):
        ranef.emmeans(fit, "1")
    found = ranef.emmeans(fit, "1", at={"Days": 4}).frame["estimate"][0]
    assert found == pytest.approx(fit.predict(pd.DataFrame({"Days": [4]}), re="none")[0])


def test_they_print_as_those_of_emmeans():
    fit = fitted(OATS, "Oats")
    means = ranef.emmeans(fit, "Variety", ddf="kenward-roger")
    lines = str(means).splitlines()
    assert lines[1].split() == ["Variety", "emmean", "SE", "df", "lower.CL", "upper.CL"]
    assert lines[2].split()[:4] == [
        "Golden",
        "Rain",
        f"{means.frame['estimate'][0]:.2f}",
        f"{means.frame['std_error'][0]:.3f}",
    ]
    assert "Kenward-Roger's method; intervals of 95 %" in lines[-1]
    contrasts = means.contrasts()
    assert isinstance(contrasts, pd.DataFrame)
    assert str(contrasts).splitlines()[1].split() == ["estimate", "SE", "df", "t.ratio", "p.value"]
    assert str(contrasts).endswith("P-values: Tukey's, of a family of 3.")
    assert "z.ratio" in str(ranef.emmeans(fit, "Variety").contrasts("treatment"))
    assert "Normal intervals" in str(ranef.emmeans(fit, "Variety"))
    assert "nitro.trend" in str(ranef.emmeans(fit, "Variety", trend="nitro"))
