"""The changes that must not matter, of generalised responses: Laplace's estimates and default priors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

import ranef
import transformations as tr
from transformations import Case

#: how far answers may lie apart, in standard errors or deviations: two descents stop that near one optimum
CLOSE = 2e-4

DESIGNS = {
    "binomial": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", {"family": "binomial"}),
    "probit": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", {"link": "probit"}),
    "poisson": ("grouseticks", "TICKS ~ YEAR * cHEIGHT + (cHEIGHT | BROOD)", {"family": "poisson"}),
    "factor": ("grouseticks", "TICKS ~ YEAR + cHEIGHT + (YEAR | LOCATION)", {"family": "poisson"}),
    "negative binomial": ("grouseticks", "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", {"family": "negative binomial"}),
    "gamma": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {"family": "gamma"}),
}
NAMES = [pytest.param(n, marks=pytest.mark.slow if n in ("probit", "factor") else []) for n in DESIGNS]

#: weights multiply log densities, and counts have no unit: those changes are other models
CHANGES = tuple(c for c in tr.CHANGES if c.unit == c.weight == 1.0 and not c.shift)


@cache
def case_of(name: str) -> Case:
    dataset, formula, arguments = DESIGNS[name]
    return Case(formula, ranef.datasets.load(dataset), {"family": "binomial"} | arguments)


@pytest.mark.parametrize("name", NAMES)
def test_estimates_do_not_change(name):
    case = case_of(name)
    plain = case.model().fit()
    errors, index, tried = np.sqrt(np.diag(plain.vcov)), plain.spec.design.index, 0
    for change, changed, back in tr.pairs(case, CHANGES):
        other = changed.model().fit()
        new = changed.data.loc[index]
        assert other.status == plain.status, change
        assert other.criterion == pytest.approx(plain.criterion, abs=1e-6), change
        np.testing.assert_allclose(
            back.beta(other.fixef) / errors, plain.fixef / errors, atol=CLOSE, err_msg=str(change)
        )
        ours = back.vcov(other.vcov) / np.outer(errors, errors)
        np.testing.assert_allclose(ours, plain.vcov / np.outer(errors, errors), atol=CLOSE, err_msg=str(change))
        before, after = plain.predict(case.data.loc[index]), other.predict(new)
        np.testing.assert_allclose(after, before, rtol=CLOSE, err_msg=str(change))
        np.testing.assert_allclose(back.response(other.fitted()), plain.fitted(), rtol=CLOSE, err_msg=str(change))
        modes = [[m.values for m in f.estimates.modes] for f in (other, plain)]
        for b, own, g in zip(back.effects(modes[0]), modes[1], plain.spec.groupings, strict=True):
            np.testing.assert_allclose(
                b / own.std(axis=0), own / own.std(axis=0), atol=10 * CLOSE, err_msg=f"{change} {g.name}"
            )
        tried += 1
    assert tried >= 4


def log_prior(model: ranef.Model, covs: list[np.ndarray]) -> float:
    """Log density of the default priors of Σ_k, but for a constant."""
    out = 0.0
    for t in model.spec.terms:
        T = np.linalg.inv(model.priors().term(t).outward)
        own = T @ covs[t.grouping][t.where, t.where] @ T.T
        sds = np.sqrt(np.diag(own))
        out += sum(
            stats.t.logpdf(sd, prior.df, scale=prior.scale) - len(sds) * np.log(sd)
            for sd, prior in zip(sds, model.priors().sds(t), strict=True)
        )
        out += (
            sum((prior.eta - 1.0) for prior in model.priors().corr.values())
            * np.linalg.slogdet(own / np.outer(sds, sds))[1]
        )
    return out


@pytest.mark.parametrize("name", DESIGNS)
def test_default_priors_do_not_change(name):
    case = case_of(name)
    plain, rng = case.model(), np.random.default_rng(2)
    (C, kinds) = plain.priors().coordinates(plain.spec.design.fixed_names)
    mean, half = np.linalg.solve(C, [k.loc for k in kinds]), np.linalg.solve(C, np.diag([k.scale for k in kinds]))
    sds = np.sqrt(np.diag(half @ half.T))
    for change, changed, back in tr.pairs(case, CHANGES):
        other = changed.model()
        (D, others) = other.priors().coordinates(other.spec.design.fixed_names)
        again = np.linalg.solve(D, [k.loc for k in others]), np.linalg.solve(D, np.diag([k.scale for k in others]))
        np.testing.assert_allclose(back.beta(again[0]) / sds, mean / sds, atol=1e-6, err_msg=str(change))
        ours = back.vcov(again[1] @ again[1].T) / np.outer(sds, sds)
        np.testing.assert_allclose(ours, half @ half.T / np.outer(sds, sds), atol=1e-6, err_msg=str(change))
        laws = []
        for _ in range(3):
            covs = []
            for t in plain.spec.terms:
                root = plain.priors().term(t).outward @ np.diag(plain.priors().term(t).sizes ** -1.0)
                root = root @ rng.normal(size=(len(root), len(root) + 2))
                covs.append(root @ root.T)
            theirs = [np.zeros((0, 0))] * len(covs)
            for K, cov, place in zip(back.random, covs, back.groupings, strict=True):
                theirs[place] = np.linalg.solve(K, np.linalg.solve(K, cov).T).T
            laws.append((log_prior(plain, covs), log_prior(other, theirs)))
        before, after = np.diff(np.array(laws), axis=0).T
        np.testing.assert_allclose(after, before, atol=1e-5, err_msg=str(change))


def test_rows_as_often_as_their_weights_say():
    """Weights of counts multiply log densities; trials are weights of proportions, or rows of zeros and ones."""
    ticks = ranef.datasets.load("grouseticks").iloc[::3]
    times = np.random.default_rng(1).integers(1, 4, len(ticks))
    weighted = ranef.Model("TICKS ~ cHEIGHT + (1 | BROOD)", ticks.assign(w=times), weights="w", family="poisson").fit()
    repeated = ranef.Model(
        "TICKS ~ cHEIGHT + (1 | BROOD)", ticks.loc[ticks.index.repeat(times)], family="poisson"
    ).fit()
    np.testing.assert_allclose(weighted.fixef, repeated.fixef, rtol=1e-6)
    assert weighted.criterion == pytest.approx(repeated.criterion, rel=1e-9)
    herds = ranef.datasets.load("cbpp")
    cows = herds.loc[herds.index.repeat(herds["size"])].assign(ill=0)
    cows["ill"] = (cows.groupby(level=0).cumcount() < cows["incidence"]).astype(int)
    by_cow = ranef.Model("ill ~ period + (1 | herd)", cows, family="binomial").fit()
    by_herd = ranef.Model("incidence / size ~ period + (1 | herd)", herds, weights="size", family="binomial").fit()
    np.testing.assert_allclose(by_cow.fixef, by_herd.fixef, rtol=1e-6)
    np.testing.assert_allclose(by_cow.varcorr["sdcor"], by_herd.varcorr["sdcor"], rtol=1e-5)


def rows(seed: int = 1) -> dict[str, np.ndarray]:
    """Levels, a covariate, means near 1 and how far rows are from them, all without a unit."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(12), 10), rng.normal(size=120)
    mean = np.exp(0.2 * x + 0.3 * rng.normal(size=12)[g])
    return {"g": g.astype(str), "x": x, "mean": mean, "y": mean * rng.gamma(4.0, 0.25, 120)}


#: of what power of the unit of the response η is
POWERS = {"log": 0, "identity": 1, "inverse": -1, "1/mu^2": -2}

FAMILIES = {
    "gamma": (ranef.families.Gamma("log"), {"dispersion": (0, 1)}),
    "inverse gaussian": (ranef.families.InverseGaussian("1/mu^2"), {"dispersion": (-1, 1)}),
    "gaussian": (ranef.families.Gaussian("log"), {"scale": (1, 0.5)}),
    "inverse": (ranef.families.Gamma("inverse"), {"dispersion": (0, 1)}),
    "t": (ranef.families.Student("identity"), {"scale": (1, 0.5), "nu": (0, 0)}),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("unit", "weight"), [(1e-9, 1.0), (1e12, 1.0), (1.0, 1e-9), (1.0, 1e6)])
def test_units_of_measurements_and_of_their_weights(name, unit, weight):
    """Dispersions move by powers of either, their default priors likewise; θ moves with η, and R² not at all."""
    family, powers = FAMILIES[name]
    w, y = np.random.default_rng(2).uniform(0.5, 2.0, 120), 10.0 + rows()["y"]
    plain = ranef.Model("y ~ x + (1 | g)", rows() | {"y": y}, weights=w, family=family)
    other = ranef.Model("y ~ x + (1 | g)", rows() | {"y": unit * y}, weights=weight * w, family=family)
    fits = plain.fit(), other.fit()
    assert fits[1].status == "converged"
    eta = unit ** POWERS[family.link]
    assert fits[1].theta.iloc[0] == pytest.approx(eta * fits[0].theta.iloc[0], rel=1e-6)
    assert fits[1].fixef["x"] == pytest.approx(eta * fits[0].fixef["x"], rel=1e-6)
    assert fits[1].vcov.loc["x", "x"] == pytest.approx(eta**2 * fits[0].vcov.loc["x", "x"], rel=1e-5)
    np.testing.assert_allclose(fits[1].r2(), fits[0].r2(), rtol=1e-6)
    for dispersion, (of_unit, of_weight) in powers.items():
        moved = unit**of_unit * weight**of_weight
        assert fits[1].dispersion[dispersion] == pytest.approx(moved * fits[0].dispersion[dispersion], rel=1e-5)
        before, after = (m.priors().dispersions[dispersion] for m in (plain, other))
        assert (after.shape, after.rate * moved) == pytest.approx((before.shape, before.rate), rel=1e-9)


@pytest.mark.parametrize("size", [1e6, 1e9])
def test_large_counts_are_like_measurements(size):
    """With means so large, Poisson counts are normal in their logarithm, of variance 1/y, and others as gamma."""
    rng, data = np.random.default_rng(3), rows()
    counts = data | {"y": rng.poisson(size * data["mean"]).astype(float)}
    fit = ranef.Model("y ~ x + (1 | g)", counts, family="poisson").fit()
    normal = ranef.Model("log(y) ~ x + (1 | g)", counts, weights=counts["y"], sigma=1.0).fit("ML")
    assert fit.status == "converged"
    assert fit.theta.iloc[0] == pytest.approx(normal.varcorr["sdcor"].iloc[0], rel=1e-4)
    assert fit.fixef["x"] == pytest.approx(normal.fixef["x"], rel=10.0 / size)
    many = data | {"y": np.round(size * data["y"])}
    negative, gamma = (ranef.Model("y ~ x + (1 | g)", many, family=f).fit() for f in ("negative binomial", "gamma"))
    assert negative.status == gamma.status == "converged"
    assert negative.theta.iloc[0] == pytest.approx(gamma.theta.iloc[0], rel=100.0 / size + 1e-7)
    assert negative.dispersion["size"] * gamma.dispersion["dispersion"] == pytest.approx(1.0, rel=100.0 / size + 1e-7)
    assert negative.criterion == pytest.approx(gamma.criterion, abs=1e3 / size + 1e-5)
    linear, tenfold = (
        ranef.Model("y ~ x + (1 | g)", many | {"y": k * many["y"]}, family="negative binomial 1").fit() for k in (1, 10)
    )
    assert linear.status == tenfold.status == "converged"
    assert tenfold.theta.iloc[0] == pytest.approx(linear.theta.iloc[0], rel=100.0 / size + 1e-6)
    assert tenfold.dispersion["dispersion"] == pytest.approx(10.0 * linear.dispersion["dispersion"], rel=1e-4)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_zeros_and_ones_do_not_tell_an_effect_of_every_row(link):
    data = rows() | {"row": np.arange(120), "hit": (rows()["y"] > 1.0).astype(int), "n": np.full(120, 4)}
    fit = ranef.Model("hit ~ x + (1 | g) + (1 | row)", data, family="binomial", link=link).fit()
    assert fit.status == "not identified"
    assert fit.optimizer.undetermined == ("row.Intercept",)
    assert "effect of its own" in fit.optimizer.message
    data["hit"] = np.clip(np.round(2.0 * data["y"]), 0, 4) / 4
    trials = ranef.Model("hit ~ x + (1 | g) + (1 | row)", data, weights="n", family="binomial", link=link).fit()
    assert trials.status != "not identified"
    pairs = data | {"hit": (rows()["y"] > 1.0).astype(int), "row": np.arange(120) // 2}
    assert ranef.Model("hit ~ x + (1 | row)", pairs, family="binomial", link=link).fit().status != "not identified"


def test_levels_that_separate_rows_are_told():
    """A standard deviation of sixty logits and more was a result like any other."""
    rng = np.random.default_rng(3)
    g, h, x = np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6), rng.normal(size=24)
    d = {"g": g.astype(str), "h": h.astype(str)}
    d["y"] = (2 * rng.normal(size=6)[g] + 2 * rng.normal(size=4)[h] + 0.2 * x > 0).astype(int)
    with pytest.warns(ranef.ConvergenceWarning, match="rows are separated by levels"):
        fit = ranef.Model("y ~ 1 + (1 | g) + (1 | h)", d, family="binomial").fit()
    assert fit.status == "not identified"
    assert np.isfinite(fit.residuals("pearson")).all()


@pytest.mark.parametrize("family", [ranef.families.Binomial("probit"), ranef.families.Ordinal()], ids=repr)
def test_which_end_of_symmetric_classes_is_called_high(family):
    """Coefficients change their sign and nothing else does; there are two classes, or four in order."""
    cuts = [1.0] if isinstance(family, ranef.families.Binomial) else [0.6, 1.0, 1.5]
    classes = np.digitize(rows()["y"], cuts)
    plain, other = (
        ranef.Model("y ~ x + (1 | g)", rows() | {"y": y}, family=family).fit() for y in (classes, len(cuts) - classes)
    )
    assert other.status == plain.status
    assert other.criterion == pytest.approx(plain.criterion, abs=1e-6)
    assert abs(other.fixef["x"] + plain.fixef["x"]) < CLOSE * np.sqrt(plain.vcov.loc["x", "x"])
    np.testing.assert_allclose(other.theta, plain.theta, rtol=CLOSE)
    np.testing.assert_allclose(other.r2(), plain.r2(), rtol=CLOSE)
