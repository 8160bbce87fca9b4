"""Nested models: order and nestedness, likelihood ratios, mixtures, bootstrap and F tests."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy

import oracle
import ranef
import registry
from _ranef.inference import Fitted
from _ranef.inference.mixtures import _by_lengths, _lengths, _orthant, _quadrant, _spread, _two_by_two, _weights, mixed
from _ranef.inference.model_tests import restriction
from _ranef.inference.nested_models import n_at_zero, why_not_nested

PAIRS = [(case, t["small"], t["large"]) for case in registry.COMPARISONS for t in registry.reference(case)["tests"]]


def expected(case, small, large):
    return next(t for t in registry.reference(case)["tests"] if (t["small"], t["large"]) == (small, large))


@pytest.mark.parametrize("case", registry.COMPARISONS)
def test_models_as_r_has_them(case):
    ref = registry.reference(case)
    for method, key in (("ML", "ml"), ("REML", "reml")):
        fits = registry.compared(case, method)
        for name, own in ref[key].items():
            assert fits[name].loglik == pytest.approx(own["logLik"], abs=1e-6)
            assert fits[name].aic == pytest.approx(own["AIC"], abs=1e-5)
            assert fits[name].df == own["df"]


@pytest.mark.parametrize(("case", "small", "large"), PAIRS)
def test_likelihood_ratios_as_r_has_them(case, small, large):
    ref = expected(case, small, large)
    for method, key in (("ML", "lrt_ml"), ("REML", "lrt_reml")):
        if key not in ref:
            continue
        fits = registry.compared(case, method)
        row = ranef.anova(fits[large], fits[small]).iloc[1]
        assert row["statistic"] == pytest.approx(ref[key]["chisq"], abs=1e-6)
        assert row["df"] == ref[key]["df"]
        assert row["p"] == pytest.approx(ref[key]["p"], rel=1e-5)
        half = ref[key].get("p_halfhalf_if_one_variance")
        # R's file halves p wherever there is one parameter: a covariance is none, and a ratio of zero has p = 1
        if half is not None and (case, small) != ("cmp_sleep", "un") and row["statistic"] > 1e-6:
            assert row["p_mixture"] == pytest.approx(half, rel=1e-5)


@pytest.mark.parametrize(("case", "small", "large"), [p for p in PAIRS if "KRmodcomp" in expected(*p)])
def test_f_tests_as_pbkrtest_has_them(case, small, large):
    ref, fits = expected(case, small, large), registry.compared(case, "REML")
    row = ranef.anova(fits[small], fits[large], test="KR").iloc[1]
    theirs = ref["KRmodcomp"]
    found = row[["statistic", "ndf", "ddf", "scale"]].astype(float)
    np.testing.assert_allclose(found, [theirs[n] for n in ("F", "ndf", "ddf", "F_scaling")], rtol=1e-8)
    assert row["p"] == pytest.approx(theirs["p"], rel=1e-6)
    row = ranef.anova(fits[small], fits[large], test="Satterthwaite").iloc[1]
    theirs = ref["SATmodcomp"]
    np.testing.assert_allclose(
        row[["statistic", "ndf", "ddf"]].astype(float), [theirs[n] for n in ("F", "ndf", "ddf")], rtol=1e-7
    )
    assert row["p"] == pytest.approx(theirs["p"], rel=1e-5)


def test_pulp_as_the_notes_have_it():
    fits = registry.compared("cmp_pulp", "ML")
    frame = ranef.anova(fits["null"], fits["alt"])
    assert frame["statistic"][1] == pytest.approx(2.568371, abs=5e-7)
    assert frame["p"][1] == pytest.approx(0.1090199, abs=5e-8)
    assert frame["p_mixture"][1] == pytest.approx(0.1090199 / 2, abs=5e-8)


def test_any_order_and_names():
    fits = registry.compared("cmp_sleep", "ML")
    frame = ranef.anova({"slopes": fits["rs"], "none": fits["lm"], "means": fits["ri"]})
    assert frame["model"].tolist() == ["none", "means", "slopes"]
    assert frame["npar"].is_monotonic_increasing
    n, k = 180, frame["npar"]
    np.testing.assert_allclose(frame["aicc"], frame["aic"] + 2 * k * (k + 1) / (n - k - 1))
    np.testing.assert_allclose(frame["bic"], frame["deviance"] + np.log(n) * k)
    assert frame["aic"][2] == fits["rs"].aic


def test_printed_as_r_does():
    fits = registry.compared("cmp_sleep", "ML")
    lines = str(ranef.anova(fits["lm"], fits["rs"])).splitlines()
    assert lines[3] == " M1: Reaction ~ Days"
    columns = ["npar", "AIC", "BIC", "logLik", "-2*log(L)", "Chisq", "Df", "Pr(>Chisq)", "Pr(>mix)"]
    assert lines[6].split() == columns
    assert type(ranef.anova(fits["lm"], fits["rs"])[["p"]]) is pd.DataFrame


def test_reml_is_fitted_again_where_fixed_effects_differ():
    reml, ml = (registry.compared("cmp_sleep_fixed", method) for method in ("REML", "ML"))
    again = ranef.anova(reml["null"], reml["lin"])
    np.testing.assert_allclose(again["loglik"], ranef.anova(ml["null"], ml["lin"])["loglik"], rtol=1e-9)
    assert "fitted again by ML, for their fixed effects differ" in str(again)
    assert "again" not in str(ranef.anova(ml["null"], ml["lin"]))
    mixed = ranef.anova(reml["lin"], ml["null"])
    np.testing.assert_allclose(again["loglik"], mixed["loglik"], rtol=1e-9)
    with pytest.raises(ranef.DesignError, match=r"fixed effects differ\. Fit all by ML"):
        ranef.anova(reml["null"], reml["lin"], refit=False)
    f = ranef.anova(ml["null"], ml["lin"], test="KR")
    assert f["statistic"][1] == pytest.approx(ranef.anova(reml["null"], reml["lin"], test="KR")["statistic"][1])
    assert "again by REML" in str(f)


# -- nested or not -----------------------------------------------------------------------------------------------------

NESTED = [
    ("x", "(1 | a)", "x", "(x | a)", 1),
    ("x", "", "x", "(1 | a)", 1),
    ("x", "", "x", "(x | a)", 2),
    ("x", "(x || a)", "x", "(x | a)", 0),
    ("1", "(1 | a)", "x + f", "(1 | a)", 0),
    ("f", "(1 | a)", "0 + f", "(1 | a)", 0),
    ("x", "(1 | a)", "x", "(1 | a) + (1 | b)", 1),
    ("x", "(1 | a) + (1 | a:f)", "x", "(f | a)", 0),
    ("x", "(1 | a:f)", "x", "(f | a)", 0),
    ("x", "(1 | a)", "x", "(f | a)", 2),
    ("x", "ident(0 + f | a)", "x", "diag(0 + f | a)", 0),
    ("x", "diag(0 + f | a)", "x", "(0 + f | a)", 0),
    ("x", "homcs(0 + f | a)", "x", "(f | a)", 0),
    ("x", "homcs(0 + f | a)", "x", "cs(0 + f | a)", 0),
    ("x", "", "x", "ident(0 + f | a)", 1),
    ("x", "(0 + x | a)", "x", "(x | a)", 1),
    ("x", "(1 | a) + (0 + x | a)", "x + z", "(x + z | a)", 1),
]
APART = [
    ("x", "(1 | a)", "z", "(1 | a)", "fixed effects x"),
    ("x", "(1 | a)", "x + z", "(1 | b)", "no effects by a"),
    ("x", "(z | a)", "x", "(x | a) + (1 | b)", "effects of a"),
    ("x", "(x | a)", "x + z", "(x || a)", "covariance of the effects by a"),
    ("x", "diag(0 + f | a)", "x + z", "cs(0 + f | b)", "no effects by a"),
    ("x", "diag(0 + f | a)", "x", "homcs(0 + f | a) + (1 | b)", "covariance of the effects by a"),
    ("x", "(1 | a:f)", "x", "(x | a)", "covariance of the effects by a"),
]


def spec_of(fixed, random):
    from likelihood.designs import make_data  # noqa: PLC0415 - a folder of tests

    return ranef.Model(f"y ~ {fixed}" + (f" + {random}" if random else ""), make_data(3, n=200)).spec


@pytest.mark.parametrize(("fixed", "random", "more", "larger", "zeros"), NESTED)
def test_nested(fixed, random, more, larger, zeros):
    small, large = spec_of(fixed, random), spec_of(more, larger)
    assert why_not_nested(small, large) is None
    assert n_at_zero(small, large) == zeros
    if small.n_fixed < large.n_fixed or random != larger:
        assert why_not_nested(large, small) is not None or (fixed, more) == ("f", "0 + f")


@pytest.mark.parametrize(("fixed", "random", "more", "larger", "words"), APART)
def test_not_nested(fixed, random, more, larger, words):
    assert words in why_not_nested(spec_of(fixed, random), spec_of(more, larger))


def test_nested_residuals():
    data = ranef.datasets.load("Orthodont")
    kinds = {
        "none": {},
        "sex": {"variance": ranef.VarIdent("Sex")},
        "both": {"variance": ranef.VarIdent("Sex") * ranef.VarExp("age")},
        "age": {"variance": ranef.VarExp("age")},
        "power": {"variance": ranef.VarPower("age")},
        "ar1": {"correlation": ranef.AR1("age", group="Subject")},
    }
    spec = {k: ranef.Model("distance ~ age + (1 | Subject)", data, **options).spec for k, options in kinds.items()}
    for small, large in (("none", "sex"), ("sex", "both"), ("age", "both"), ("none", "ar1")):
        assert why_not_nested(spec[small], spec[large]) is None
        assert "residual" in why_not_nested(spec[large], spec[small])
    for small, large in (("power", "both"), ("sex", "age"), ("ar1", "sex"), ("age", "power")):
        assert "residual" in why_not_nested(spec[small], spec[large])


def test_residual_structures_are_tested():
    data = ranef.datasets.load("Orthodont")
    small = ranef.Model("distance ~ age + (1 | Subject)", data).fit()
    large = ranef.Model("distance ~ age + (1 | Subject)", data, variance=ranef.VarIdent("Sex")).fit()
    frame = ranef.anova(small, large)
    assert frame["statistic"][1] == pytest.approx(small.criterion - large.criterion)
    assert frame["df"][1] == 1
    assert np.isnan(frame["p_mixture"][1])
    boot = ranef.anova(small, large, test="bootstrap", nsim=20, seed=1)
    assert boot["failed"][1] == 0
    assert boot["p"][1] <= 0.1


def test_rows_in_chunks():
    """Whose columns and levels are known by name."""
    data = ranef.datasets.load("sleepstudy")
    formulas = ["Reaction ~ 1 + (1 | Subject)", "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)"]
    whole, parts = ([ranef.Model(f, d).fit("ML") for f in formulas] for d in (data, [data[:70], data[70:]]))
    first, second = (ranef.anova(*fits).iloc[:, 1:].to_numpy(float) for fits in (whole, parts))
    np.testing.assert_allclose(first, second, rtol=1e-7)
    mixed = ranef.anova(parts[0], whole[2])
    assert mixed["statistic"][1] == pytest.approx(parts[0].deviance - whole[2].deviance)
    other = ranef.Model("Reaction ~ I(Days^2) + (Days | Subject)", [data[:70], data[70:]]).fit("ML")
    with pytest.raises(ranef.DesignError, match="fixed effects Days"):
        ranef.anova(parts[1], other)


def test_refusals():
    data = ranef.datasets.load("sleepstudy")
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit()
    other = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    with pytest.raises(ranef.DesignError, match=r"one fit.*fit\.anova\(\)"):
        ranef.anova(fit)
    with pytest.raises(ranef.DesignError, match="test='F' must be"):
        ranef.anova(fit, other, test="F")
    with pytest.raises(ranef.DesignError, match="takes fits"):
        ranef.anova(fit, 3)
    with pytest.raises(ranef.DesignError, match="179 and 180 rows"):
        ranef.anova(ranef.Model("Reaction ~ Days + (1 | Subject)", data[1:]).fit(), fit)
    with pytest.raises(ranef.DesignError, match="other numbers"):
        ranef.anova(ranef.Model("log(Reaction) ~ Days + (1 | Subject)", data).fit(), fit)
    with pytest.raises(ranef.DesignError, match="weights differ"):
        ranef.anova(ranef.Model("Reaction ~ Days + (1 | Subject)", data.assign(w=2.0), weights="w").fit(), fit)
    with pytest.raises(ranef.DesignError, match="random effects or residuals of the models differ"):
        ranef.anova(other, fit, test="KR")
    with pytest.raises(ranef.DesignError, match=r"not nested in.*fit\.aic"):
        ranef.anova(ranef.Model("Reaction ~ I(Days^2) + (1 | Subject)", data).fit(), fit)


def test_a_posterior_has_other_answers():
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    fb = model.sample(draws=50, seed=1, progress=False)
    with pytest.raises(ranef.DesignError, match=r"ranef\.compare\(fb1, fb2\).*fb\.test"):
        ranef.anova(model.fit(), fb)


# -- mixtures ----------------------------------------------------------------------------------------------------------


def test_weights_of_known_cones():
    """A quadrant at right angles, and 2 × 2 matrices in Frobenius' metric: the chance that one of GOE is positive."""
    np.testing.assert_allclose(_quadrant(np.diag([2.0, 3.0])), [0.25, 0.5, 0.25])
    np.testing.assert_allclose(_quadrant(np.array([[1, 0.5], [0.5, 1]])), [1 / 6, 0.5, 1 / 3])
    inside, half = (2 - np.sqrt(2)) / 4, np.sqrt(2) / 4
    weights = _two_by_two(np.diag([1.0, 0.5, 1.0]))
    np.testing.assert_allclose(weights, [inside, half, half, inside], atol=3e-3)  # four Monte Carlo standard errors
    weights = _two_by_two(np.array([[1.0, 0.2, 0.3], [0.2, 0.4, 0.1], [0.3, 0.1, 2.0]]))
    assert sum(weights) == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("larger", ["(x | g)", "(1 | g) + (0 + x | h)"])
def test_the_spread_of_what_is_at_zero(larger, method):
    """From the expected information with V built whole; weights do not depend on coordinates of the cone."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "h": rng.integers(0, 7, 72), "x": rng.normal(size=72) + 1})
    data["y"] = rng.normal(size=72)
    small, large = (ranef.Model(f"y ~ x{bar}", data).fit(method) for bar in ("", f" + {larger}"))
    spread, blocks = _spread(*(Fitted(f.spec, f.estimates, f.products) for f in (small, large)))
    X = small.spec.design.X
    P = np.eye(72) - (X @ np.linalg.solve(X.T @ X, X.T) if method == "REML" else 0)
    Z = [oracle.indicator(g).reshape(72, g.n_levels, -1) for g in large.spec.groupings]
    pairs = [(0, 0), (0, 1), (1, 1)] if len(Z) == 1 else [(0, 0), (1, 1)]
    columns = np.concatenate(Z, axis=2) if len(Z) == 1 else None
    G = []
    for a, b in pairs:
        one, other = (columns[:, :, a], columns[:, :, b]) if len(Z) == 1 else (Z[a][:, :, 0], Z[b][:, :, 0])
        G.append(one @ one.T if a == b else one @ other.T + other @ one.T)
    G.append(np.eye(72))
    information = np.array([[np.trace(P @ A @ P @ B) for B in G] for A in G])
    expected = np.linalg.inv(information)[:-1, :-1]
    assert blocks == ([2] if len(pairs) == 3 else [1, 1])
    np.testing.assert_allclose(_weights(spread, blocks), _weights(expected, blocks), atol=4e-3)


def test_weights_of_orthants_and_of_products():
    """Of four at right angles binomial; else by least squares that may not be negative, draw by draw."""
    np.testing.assert_allclose(_orthant(np.eye(4)), np.array([1, 4, 6, 4, 1]) / 16, atol=7e-3)  # four standard errors
    A = np.random.default_rng(3).normal(size=(3, 3))
    spread = A @ A.T + 0.3 * np.eye(3)
    root = np.linalg.cholesky(np.linalg.inv(spread)).T
    z = np.random.default_rng(1).normal(size=(2000, 3)) @ np.linalg.cholesky(spread).T
    rise = [(scipy.optimize.nnls(root, root @ one)[0] > 0).sum() for one in z]
    expected = np.bincount(rise, minlength=4) / 2000
    np.testing.assert_allclose(_orthant(spread), expected, atol=0.045)
    lengths, left = _lengths(spread, [1, 1, 1])
    np.testing.assert_allclose(_by_lengths(lengths, left, 3), _orthant(spread), atol=0.03)
    spread = np.array([[1.0, 0.2, 0.3], [0.2, 0.4, 0.1], [0.3, 0.1, 2.0]])
    np.testing.assert_allclose(_by_lengths(*_lengths(spread, [2]), 3), _two_by_two(spread), atol=0.03)
    inside = 0.25 - np.sqrt(2) / (2 * np.pi)  # a matrix of GOE, 3 × 3, is positive
    weights = _by_lengths(*_lengths(np.diag([1, 0.5, 1, 0.5, 0.5, 1]), [3]), 6)
    assert sum(weights) == pytest.approx(1.0)
    np.testing.assert_allclose([weights[0], weights[-1]], inside, atol=9e-3)


def test_a_projection_is_the_nearest_point():
    """On the product of 2 × 2 covariances and a half-line, against a descent over roots."""
    A = np.random.default_rng(5).normal(size=(4, 4))
    spread = A @ A.T + 0.5 * np.eye(4)
    z = np.random.default_rng(0).normal(size=(5000, 4)) @ np.linalg.cholesky(spread).T
    P = np.linalg.inv(spread)
    _, left = _lengths(spread, [2, 1])

    def away(v, one):
        L = np.array([[v[0], 0], [v[1], v[2]]])
        D = L @ L.T
        x = np.array([D[0, 0], D[1, 0], D[1, 1], v[3] ** 2]) - one
        return x @ P @ x

    for k in range(8):
        starts = np.random.default_rng(k).normal(size=(6, 4))
        best = min(scipy.optimize.minimize(away, v, args=(z[k],)).fun for v in starts)
        assert left[k] == pytest.approx(best, abs=2e-3 * (1 + best))


@pytest.mark.parametrize(
    "bars",
    [
        pytest.param("(1 | a) + (1 | b) + (1 | c)", marks=pytest.mark.slow),
        "(x + w | a)",
        pytest.param("(x | a) + (1 | b)", marks=pytest.mark.slow),
    ],
)
def test_mixtures_of_more_are_what_ratios_follow(bars):
    """Ratios simulated where all are zero, in a design with enough levels for the limit."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({name: rng.integers(0, 30, 400) for name in "abc"} | {k: rng.normal(size=400) for k in "xw"})
    data["y"] = rng.normal(size=400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        small, large = (ranef.Model(f"y ~ x + w{part}", data).fit() for part in ("", f" + {bars}"))
        row = ranef.anova(small, large).iloc[1]
        ratios = ranef.anova(small, large, test="bootstrap", nsim=600, seed=1).rows.to_numpy().ravel()
    assert row["p_mixture"] < row["p"]
    weights = _weights(*_spread(*(Fitted(f.spec, f.estimates, f.products) for f in (small, large))))
    p = np.array([mixed(ratio, 0, weights) for ratio in ratios])
    for level in (0.05, 0.2):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 600))


def test_a_mixture_is_no_larger_than_chi_squared():
    fits = registry.compared("cmp_sleep", "ML")
    for small, large in (("lm", "ri"), ("lm", "un"), ("lm", "rs"), ("ri", "rs")):
        row = ranef.anova(fits[small], fits[large]).iloc[1]
        assert 0 < row["p_mixture"] < row["p"]
    assert np.isnan(ranef.anova(fits["un"], fits["rs"])["p_mixture"][1])


def test_a_smaller_model_that_is_singular_itself():
    """What it has estimated at zero is not what is tested."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.arange(60) % 6, "x": rng.normal(size=60)})
    fits = ([ranef.Model(f"y ~ x + {bar}", d).fit() for bar in ("(1 | g)", "(x | g)")] for d in _noise(data, rng))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.SingularFitWarning)
        small, large = next(
            pair for pair in fits if pair[0].is_singular and pair[1].criterion < pair[0].criterion - 0.1
        )
    row = ranef.anova(small, large).iloc[1]
    expected = (scipy.stats.chi2.sf(row["statistic"], 1) + scipy.stats.chi2.sf(row["statistic"], 2)) / 2
    assert row["p_mixture"] == pytest.approx(expected, rel=1e-9)


def _noise(data, rng):
    return (data.assign(y=rng.normal(size=len(data))) for _ in range(99))


# -- bootstrap ---------------------------------------------------------------------------------------------------------


def share_of_zeros(J, n, method):
    """P(the ratio of a balanced one-way layout is zero): mean squares are as J/(J − 1) to one, or less."""
    return scipy.stats.f.cdf(J / (J - 1) if method == "ML" else 1.0, J - 1, J * (n - 1))


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_bootstrap_of_pulp(method):
    """p has a closed form: the ratio grows with F. Bounds of four Monte Carlo standard errors."""
    fits = registry.compared("cmp_pulp", method)
    n = 4000
    frame = ranef.anova(fits["null"], fits["alt"], test="bootstrap", nsim=n, seed=1)
    F = 0.4466667 / 0.10625
    exact, zeros = scipy.stats.f.sf(F, 3, 16), share_of_zeros(4, 5, method)
    assert frame["p"][1] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / n))
    assert frame["zeros"][1] == pytest.approx(zeros, abs=4 * np.sqrt(zeros * (1 - zeros) / n))
    assert frame["p_se"][1] == pytest.approx(np.sqrt(frame["p"][1] * (1 - frame["p"][1]) / n))
    ratios = frame.rows.iloc[:, 0]
    assert len(ratios) == n
    assert (ratios > -1e-8).all()
    assert "share of ratios at zero" in str(frame)


def test_a_seed_gives_the_same():
    fits = registry.compared("cmp_pulp", "ML")
    one, two, other = (ranef.anova(fits["null"], fits["alt"], test="bootstrap", nsim=50, seed=s) for s in (3, 3, 4))
    assert one.rows.equals(two.rows)
    assert not one.rows.equals(other.rows)


def test_a_thousand_of_pulp_in_half_a_second():
    fits = registry.compared("cmp_pulp", "ML")
    start = time.process_time()
    ranef.anova(fits["null"], fits["alt"], test="bootstrap", nsim=1000, seed=1)
    assert time.process_time() - start < 0.5


def test_a_ratio_of_zero_has_p_one():
    fits = registry.compared("cmp_dyestuff2", "ML")
    frame = ranef.anova(fits["lm"], fits["ri"], test="bootstrap", nsim=100, seed=1)
    assert frame["p"][1] == 1.0
    assert ranef.anova(fits["lm"], fits["ri"])["p_mixture"][1] == 1.0


def test_what_no_simulation_reaches():
    fits = registry.compared("cmp_sleep", "ML")
    frame = ranef.anova(fits["lm"], fits["ri"], test="bootstrap", nsim=200, seed=1)
    assert frame["p"][1] == 0.0
    assert "<0.005" in str(frame)


def test_bootstrap_of_fixed_effects_is_near_chi_squared():
    """With 18 groups the ratio of one slope is nearly χ²(1), a little longer in the tail."""
    fits = registry.compared("cmp_sleep_fixed", "ML")
    frame = ranef.anova(fits["null"], fits["lin"], test="bootstrap", nsim=1000, seed=2)
    share = (frame.rows.iloc[:, 0] > scipy.stats.chi2.isf(0.05, 1)).mean()
    assert 0.04 < share < 0.11


def test_restriction():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 5)) * [1, 1e3, 1e-3, 1, 1]
    B = rng.normal(size=(5, 2)) / np.array([1, 1e3, 1e-3, 1, 1])[:, None]
    L = restriction(X @ B, X)
    assert L.shape == (3, 5)
    np.testing.assert_allclose(L @ B, 0, atol=1e-9 * np.abs(B).max())
    np.testing.assert_allclose(L @ L.T, np.eye(3), atol=1e-12)


def test_models_of_one_formula_are_told_apart_by_their_residuals():
    data = ranef.datasets.load("sleepstudy").assign(late=lambda d: d["Days"] > 4)
    plain, strata = (
        ranef.Model("Reaction ~ Days + (1 | Subject)", data, variance=v).fit() for v in (None, ranef.VarIdent("late"))
    )
    shown = str(ranef.anova(strata, plain))
    assert " M1: Reaction ~ Days + (1 | Subject)\n" in shown
    assert " M2: Reaction ~ Days + (1 | Subject), variance=ranef.VarIdent('late')\n" in shown
