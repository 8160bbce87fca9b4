"""Structures with few correlations: against glmmTMB and nlme, at their boundaries, and where one reads of them."""

from __future__ import annotations

import json
import warnings
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from _ranef.structures import STRUCTURES
from nuts import quadrature
from nuts.test_quadrature import check
from oracle import dense
from registry import FOLDER

WORDS = ("cs", "homcs", "ar1", "hetar1", "toep")

#: what a case calls the factor, and how a formula of ours does
FACTORS = {"Machine": "Machine", "age_f": "factor(age)", "Days_f": "factor(Days)"}

CASES = sorted(p.stem for p in FOLDER.glob("structure_*.json"))


@cache
def reference(case):
    return json.loads((FOLDER / f"{case}.json").read_text())


@cache
def fitted(case):
    ref = reference(case)
    term = f"{ref['structure']}(0 + {FACTORS[ref['factor']]} | {ref['group']})"
    model = ranef.Model(f"{ref['fixed']} + {term}", ranef.datasets.load(ref["dataset"]))
    return model.fit("REML" if ref["REML"] else "ML")


def made(word, levels=40, seed=1, *, rho=0.6, p=4, rows=2, noise=1.0):
    """Effects of the levels of a factor with correlation ρ, by distance or of every two; the first sd is half."""
    rng, i = np.random.default_rng(seed), np.arange(p)
    lag = np.abs(i[:, None] - i)
    R = (1 - rho) * np.eye(p) + rho if "cs" in word else np.sign(rho) ** lag * np.abs(rho) ** lag
    sd = np.where(i == 0, 0.5 if STRUCTURES[word].own else 1.0, 1.0) * 2.0
    b = rng.multivariate_normal(np.zeros(p), R * np.outer(sd, sd), levels)
    group, f = np.repeat(np.arange(levels), p * rows), np.tile(np.repeat(i, rows), levels)
    x = rng.normal(size=len(f))
    y = 1.0 + 0.5 * x + b[group, f] + noise * rng.normal(size=len(f))
    time = pd.Categorical([f"t{k + 1}" for k in f])
    return pd.DataFrame({"y": y, "x": x, "time": time, "g": [f"s{k:02d}" for k in group]})


def fit_of(word, data, method="REML"):
    return ranef.Model(f"y ~ x + {word}(0 + time | g)", data).fit(method)


# -- outside references ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_that_of_the_dense_likelihood_in_r(case):
    ref, fit = reference(case), fitted(case)
    assert fit.criterion == pytest.approx(ref["criterion"], rel=1e-8)
    assert fit.df == ref["dims"]["n_cov_parameters"] + ref["dims"]["p"]
    np.testing.assert_allclose(fit.fixef, ref["fixef"]["estimate"], rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)), ref["fixef"]["se"], rtol=1e-4)
    # R's gradient there is a numerical one
    flat = ref["max_abs_gradient"] > 1e-6
    sds = fit.varcorr["sdcor"].to_numpy()[: len(ref["sd"])]
    np.testing.assert_allclose(sds, ref["sd"], rtol=1e-3 if flat else 1e-5)
    pairs = STRUCTURES[ref["structure"]](len(sds)).pairs
    corr = np.array(ref["corr"])[tuple(np.transpose(pairs))]
    np.testing.assert_allclose(fit.varcorr["sdcor"].to_numpy()[len(sds) : -1], corr, atol=1e-3 if flat else 1e-5)
    assert fit.sigma == pytest.approx(ref["sigma"], rel=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if "glmmTMB" in reference(c)])
def test_glmmtmb_finds_the_same_or_stops_above(case):
    ref, fit = reference(case)["glmmTMB"], fitted(case)
    if ref["criterion"] is None or ref["criterion"] > fit.criterion + 1e-3:
        assert case.startswith("structure_sleep_ar1")  # where glmmTMB stops 5 above, or finds no Hessian
        return
    assert fit.criterion == pytest.approx(ref["criterion"], rel=1e-7)
    assert fit.df == ref["df"]
    np.testing.assert_allclose(fit.fixef, ref["fixef"], rtol=1e-4)
    np.testing.assert_allclose(fit.varcorr["sdcor"].to_numpy()[: len(ref["sd"])], ref["sd"], rtol=2e-3)
    wide = fit.ranef().pivot(index="level", columns="term", values="estimate")[list(fit.spec.terms[0].columns)]
    theirs = np.array(ref["ranef"])
    np.testing.assert_allclose(wide.loc[ref["ranef_levels"]], theirs, atol=2e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("end", ["reml", "ml"])
def test_homcs_is_nlmes_compound_symmetry(end):
    case = f"structure_machines_homcs_{end}"
    assert fitted(case).criterion == pytest.approx(reference(case)["nlme"]["criterion"], rel=1e-10)
    assert fitted(case).sigma == pytest.approx(reference(case)["nlme"]["sigma"], rel=1e-6)


def test_pdcompsymm_of_the_shared_reference():
    ref, fit = json.loads((FOLDER / "machines_pdCompSymm.json").read_text()), fitted("structure_machines_homcs_reml")
    assert fit.criterion == pytest.approx(ref["criterion"], rel=1e-10)
    own = ref["varcorr"][0]
    np.testing.assert_allclose(fit.varcorr["sdcor"][:3], own["sd"], rtol=1e-6)
    np.testing.assert_allclose(fit.varcorr["sdcor"][3:6], np.array(own["corr"])[np.tril_indices(3, -1)], rtol=1e-6)
    wide = fit.ranef().pivot(index="level", columns="term", values="estimate")
    np.testing.assert_allclose(wide.loc[ref["ranef"][0]["levels"]], ref["ranef"][0]["values"], rtol=1e-5, atol=1e-5)


# -- known relations ----------------------------------------------------------------------------------------------


def test_homcs_is_an_intercept_and_an_interaction():
    """σ²((1 − ρ)I + ρJ) is (1 | g) + (1 | g:f) where ρ is not negative."""
    data = made("homcs", rho=0.5)
    both = ranef.Model("y ~ x + (1 | g) + (1 | g:time)", data).fit()
    own = fit_of("homcs", data)
    assert own.criterion == pytest.approx(both.criterion, rel=1e-10)
    between, within = both.varcorr.set_index("group")["vcov"][["g", "g:time"]]
    assert own.varcorr["vcov"][0] == pytest.approx(between + within, rel=1e-5)
    assert own.varcorr["sdcor"][4] == pytest.approx(between / (between + within), rel=1e-5)


@pytest.mark.parametrize("word", ["cs", "hetar1", "toep"])
def test_two_columns_with_own_sds_are_unstructured(word):
    data = made("cs", p=2, rho=-0.4)
    assert fit_of(word, data).criterion == pytest.approx(fit_of("us", data).criterion, rel=1e-10)


def test_criteria_fall_as_structures_widen():
    data = made("ar1", rho=0.7)
    at = {word: fit_of(word, data).criterion for word in (*WORDS, "us", "ident", "diag")}
    assert at["ident"] >= at["homcs"] >= at["cs"] >= at["us"] - 1e-8
    assert at["ar1"] >= at["hetar1"] >= at["toep"] >= at["us"] - 1e-8
    assert at["diag"] >= at["cs"] - 1e-8


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("rho", [-0.25, 0.6])
def test_simulated_parameters_are_recovered(word, rho):
    fit = fit_of(word, made(word, 400, rho=rho))
    cov, p = fit.varcorr, 4
    sds = cov["sdcor"].to_numpy()
    np.testing.assert_allclose(sds[:p], np.where((np.arange(p) == 0) & STRUCTURES[word].own, 1.0, 2.0), rtol=0.1)
    assert sds[p] == pytest.approx(rho, abs=0.1)  # the first two columns are neighbours
    assert fit.status == "converged"


# -- what must not matter ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
def test_order_of_rows_and_labels_of_groups_do_not_matter(word):
    data = made(word, 15)
    fit = fit_of(word, data)
    other = data.sample(frac=1.0, random_state=3)
    other["g"] = other["g"].map({name: f"z{i * 7 % 15}" for i, name in enumerate(sorted(set(data["g"])))})
    again = fit_of(word, other)
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-11)
    np.testing.assert_allclose(again.theta, fit.theta, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("word", WORDS)
def test_levels_by_their_order_and_not_by_their_names(word):
    data = made(word, 15)
    names = {"t1": "late", "t2": "early", "t3": "again", "t4": "now"}
    other = data.assign(time=pd.Categorical(data["time"].map(names), categories=list(names.values())))
    assert fit_of(word, other).criterion == pytest.approx(fit_of(word, data).criterion, rel=1e-12)
    turned = data.assign(time=pd.Categorical(data["time"], categories=["t4", "t3", "t2", "t1"]))
    assert fit_of(word, turned).criterion == pytest.approx(fit_of(word, data).criterion, rel=1e-9)
    mixed = data.assign(time=pd.Categorical(data["time"], categories=["t3", "t1", "t4", "t2"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.DataWarning)
        apart = fit_of(word, mixed).criterion - fit_of(word, data).criterion
    assert (abs(apart) < 1e-8) == ("cs" in word)


# -- boundaries -------------------------------------------------------------------------------------------------------

AT_THE_EDGE = [("cs", -0.32), ("homcs", -0.32), ("cs", 0.9995), ("toep", 0.9995), ("ar1", 1.0), ("hetar1", 1.0)]


@pytest.mark.parametrize(("word", "rho"), AT_THE_EDGE)
def test_no_point_around_a_fit_at_the_edge_is_lower(word, rho):
    data = made("cs" if abs(rho) < 1 else "ar1", 12, rho=rho, seed=5, noise=2.0)
    fit = fit_of(word, data)
    spec, theta = fit.spec, fit.theta.to_numpy()
    rng = np.random.default_rng(0)
    lowest = min(
        dense(spec, np.where(spec.on_diagonal, np.abs(theta + h), theta + 3 * h), "REML", None).criterion
        for h in 0.3 * rng.normal(size=(200, len(theta)))
    )
    assert fit.criterion <= lowest + 1e-7
    assert fit.status in ("converged", "boundary")
    if fit.status == "boundary":
        assert "the end of what is possible" in fit.optimizer.message


@pytest.mark.parametrize("word", WORDS)
def test_no_variance_at_all(word):
    rng = np.random.default_rng(3)
    data = made(word, 12)
    data["y"] = rng.normal(size=len(data))
    fit = fit_of(word, data)
    assert fit.status in ("converged", "boundary")
    assert fit.criterion <= ranef.Model("y ~ x", data).fit().criterion + 1e-8


def test_one_row_for_each_effect():
    data = made("ar1", 60, rows=1, p=6)
    fit = fit_of("ar1", data)
    assert fit.status == "converged"
    assert fit.varcorr["sdcor"].iloc[6] == pytest.approx(0.6, abs=0.2)
    with pytest.raises(ranef.DesignError, match="number of random effects"):
        fit_of("homcs", data)


def test_what_one_row_for_each_effect_leaves_open_is_told():
    fit = fit_of("ar1", made("ar1", 60, rows=1, p=2))
    assert fit.status == "not identified"


# -- what one reads of them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
def test_tables_name_every_column_and_pair_once(word):
    fit = fit_of(word, made(word, 20))
    cov = fit.varcorr.iloc[:-1]
    t = [f"time[t{k}]" for k in range(1, 5)]
    assert list(cov["term1"]) == t + [t[0]] * 3 + [t[1]] * 2 + [t[2]]
    assert list(cov["term2"].iloc[4:]) == [*t[1:], *t[2:], t[3]]
    D = np.diag(cov["vcov"].to_numpy()[:4])
    D[tuple(np.transpose(fit.spec.terms[0].structure.pairs))] = cov["vcov"].to_numpy()[4:]
    root = fit.sigma * fit.spec.terms[0].structure.root(fit.theta.to_numpy())
    np.testing.assert_allclose(np.tril(root @ root.T), D, rtol=1e-10)
    lines = str(fit.summary()).splitlines()
    assert f"{word}(0 + time | g): {STRUCTURES[word].meaning}" in lines
    (row,) = (line for line in lines if line.strip().startswith("time[t4]"))
    assert len(row.split()) == 4  # name, sd, the correlation with the first, variance
    assert list(fit.theta.index)[-1].startswith("g.logit(")
    assert len(fit.theta) == STRUCTURES[word](4).n_theta
    told = str(ranef.Model(fit.spec.design.formula, made(word, 20)).describe())
    assert f"time[t4] [{word}]" in told


@pytest.mark.parametrize(
    ("word", "entry"),
    [
        ("cs", "ρ[g]·σ₁·σ₂"),
        ("homcs", "σ²[g] ρ[g]·σ²[g] ρ[g]·σ²[g]"),
        ("ar1", "σ²[g] ρ[g]·σ²[g] ρ²[g]·σ²[g] ρ³[g]·σ²[g]"),
        ("hetar1", "ρ²[g]·σ₀·σ₂"),
        ("toep", "σ₀² ρ₁[g]·σ₀·σ₁ ρ₂[g]·σ₀·σ₂ ρ₃[g]·σ₀·σ₃"),
    ],
)
def test_equations_have_few_correlations(word, entry):
    fit = fit_of(word, made(word, 20))
    assert entry in " ".join(fit.equation().text.split())
    latex = fit.equation().latex
    assert (r"\rho_{\mathrm{g}}^{3}" in latex) == ("ar1" in word)
    assert r"\rho_{01}" not in latex


@pytest.mark.parametrize("word", WORDS)
def test_standard_errors_are_those_of_second_differences(word):
    """Of θ and σ, from the deviance that is not profiled over σ, by differences of dense algebra."""
    fit = fit_of(word, made(word, 25))
    theta, m = fit.theta.to_numpy(), len(fit.theta)

    def deviance(at):
        own = dense(fit.spec, at[:m], "REML", None)
        s, nu = at[m], own.freedom
        return (
            own.criterion - nu * np.log(2 * np.pi * own.sigma**2) - nu + nu * np.log(2 * np.pi * s**2) + own.rss / s**2
        )

    x, h = np.append(theta, fit.sigma), 1e-3
    unit = h * np.eye(m + 1)
    H = np.array(
        [
            [
                (deviance(x + a + b) - deviance(x + a - b) - deviance(x - a + b) + deviance(x - a - b)) / (4 * h * h)
                for a in unit
            ]
            for b in unit
        ]
    )
    # differences of fourth order in one, of second in the other
    np.testing.assert_allclose(fit.vcov_theta(), 2.0 * np.linalg.inv(H), rtol=2e-3, atol=1e-4)


def test_a_correlation_has_a_standard_error_where_it_is_zero():
    data = made("homcs", 30, rho=0.0)
    fit = fit_of("homcs", data)
    at = fit.theta.to_numpy()
    assert np.isfinite(fit.vcov_theta()).to_numpy().all()
    assert abs(at[1]) < 3.0


@pytest.mark.parametrize("word", WORDS)
def test_fits_are_kept_compared_pooled_and_predicted(word, tmp_path):
    data = made(word, 20)
    fit = fit_of(word, data)
    again = ranef.load(fit.save(tmp_path / "fit.ranef"))
    assert again.criterion == fit.criterion
    pd.testing.assert_frame_equal(again.varcorr, fit.varcorr)
    new = pd.DataFrame({"x": [0.0, 0.0], "time": ["t2", "t2"], "g": ["s03", "new"]})
    known, unknown = fit.predict(new)
    assert unknown == pytest.approx(fit.fixef["Intercept"])
    assert known == pytest.approx(fit.coef("g").loc["s03", "time[t2]"] + fit.fixef["Intercept"])
    wide = fit.predict(new, interval="prediction", new_levels="sample", seed=1)
    assert wide["upper"][1] - wide["lower"][1] > wide["upper"][0] - wide["lower"][0]
    both = ranef.compare(fit, fit_of(word, data, "ML"))
    assert len(both.random_effects) == 80
    pooled = ranef.pooling(fit)
    assert np.isfinite(pooled.path().to_numpy()[:, -1].astype(float)).any()
    refits = fit.refit(fit.simulate(5, seed=11))
    np.testing.assert_allclose(refits.theta.shape, (5, len(fit.theta)))
    assert np.isfinite(refits.criterion).all()


@pytest.mark.parametrize("word", ["cs", "toep"])
def test_refits_together_are_fits_alone(word):
    data = made(word, 12)
    fit = fit_of(word, data)
    y = fit.simulate(4, seed=12)
    together = fit.refit(y)
    for k in range(4):
        alone = fit_of(word, data.assign(y=y[:, k]))
        assert together.criterion[k] == pytest.approx(alone.criterion, abs=1e-6)


def test_figures_are_drawn():
    fit = fit_of("ar1", made("ar1", 12))
    for name in ("ranef", "shrinkage", "diagnostics", "qq_ranef", "pattern"):
        getattr(fit.plot, name)()
    plt.close("all")


# -- posterior -------------------------------------------------------------------------------------------------------


def test_default_priors_are_of_the_structure():
    model = ranef.Model("y ~ x + toep(0 + time | g)", made("toep", 20))
    priors = model.priors()
    s = float(model.spec.design.y.std())
    assert [p.scale for p in priors.sd.values()] == pytest.approx([s] * 4, rel=1e-9)
    t = "time[t1], time[t2], time[t3], time[t4]"
    assert {name: str(p) for name, p in priors.shape.items()} == {
        f"pacf{k}({t} | g)": "Uniform(-1, 1)" for k in (1, 2, 3)
    }


class First(quadrature.Oracle):
    """One term of a first-order autoregression of three levels: coordinates log sd, u of ρ = tanh(u/2), log σ."""

    names = ("sd00", "u", "sigma")

    def natural(self, points):
        sd, u, sigma = points.T
        return {"sd00": np.exp(sd), "u": np.tanh(u / 2), "sigma": np.exp(sigma)}

    def log_prior(self, points):
        at = self.natural(points)
        out = np.log1p(-(at["u"] ** 2))
        for name, (_, df, scale) in {"sd00": self.sd_priors[0], "sigma": self.sigma_prior}.items():
            out = out + stats.t(df, scale=scale).logpdf(at[name]) + np.log(at[name])
        return out

    def roots(self, points):
        at, lag = self.natural(points), np.abs(np.arange(3)[:, None] - np.arange(3))
        return [at["sd00"][:, None, None] * np.linalg.cholesky(at["u"][:, None, None] ** lag)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "numpyro"])
def test_autoregression_is_sampled_as_quadrature_has_it(sampler):
    data = made("ar1", 8, p=3, rows=2, noise=0.5)
    own = ranef.Model("y ~ 1 + ar1(0 + time | g)", data)
    priors = own.priors()
    codes, time = own.spec.groupings[0].codes, data["time"].cat.codes.to_numpy()
    oracle = First(
        y=data["y"].to_numpy(),
        X=np.ones((len(data), 1)),
        weights=np.ones(len(data)),
        blocks=(np.eye(8)[codes][:, :, None] * np.eye(3)[time][:, None, :],),
        at_means=np.eye(1),
        loc=np.array([priors.fixef["Intercept"].loc]),
        scale=np.array([priors.fixef["Intercept"].scale]),
        sd_priors=(("t", 3.0, priors.sd["g", "time[t1]"].scale),),
        sigma_prior=("t", 3.0, priors.sigma.scale),
    )
    exact = quadrature.tabulate(oracle, [0.7, 1.0, -0.7], points=21)
    fit = own.sample(500, chains=2, seed=3, progress=False, sampler=sampler)
    d = fit.draws
    check(np.log(d.theta[..., 0] * d.sigma), exact.coordinate("sd00"), "sd")
    check(d.theta[..., 1], exact.coordinate("u"), "u")
    check(np.log(d.sigma), exact.coordinate("sigma"), "σ")
    check(d.beta[..., 0], exact.effect(0), "β")
    check(d.b[0][..., 2, 1], exact.effect(1 + 7), "b")


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_posteriors_are_read(word):
    data = made(word, 20)
    fb = ranef.Model(f"y ~ x + {word}(0 + time | g)", data).sample(100, chains=2, warmup=100, seed=1, progress=False)
    text = str(fb.summary())
    own = STRUCTURES[word](4)
    assert text.count(" sd(time[") + text.count("  cor(time[") >= len(own.own_sds)
    assert text.count("cor(time[t1], time[t3]) ") == (word == "toep")
    assert fb.datatree["posterior"]["corr_g"].shape[-2:] == (4, 4)
    both = ranef.compare(fit_of(word, data), fb)
    assert len(both.random_effects) == 80
    fb.plot.varcorr()
