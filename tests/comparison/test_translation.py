"""A model written in other words is the same model: its fits are set beside each other in the words of the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import ranef
from ranef.priors import R2D2, HalfNormal, Normal, StudentT

RNG = np.random.default_rng(11)
N = 160
DATA = pd.DataFrame(
    {
        "a": RNG.choice(list("uvw"), N),
        "x": RNG.normal(20.0, 2.0, N),
        "z": RNG.normal(size=N),
        "g": RNG.integers(0, 10, N).astype(str),
        "h": RNG.integers(0, 10, N).astype(str),
        "one": 1.0,
    }
)
DATA["y"] = (
    0.4 * DATA["x"]
    + (DATA["a"] == "v")
    + RNG.normal(size=10)[DATA["g"].astype(int)]
    + RNG.normal(size=10)[DATA["g"].astype(int)] * (DATA["x"] - 20)
    + 0.7 * RNG.normal(size=10)[DATA["h"].astype(int)]
    + RNG.normal(size=N)
)
FIRST = "y ~ a*x + (x | g) + (1 | h)"


def shuffled(data):
    """Levels of g by other names and in another order, those of a in another order."""
    names = {str(i): f"school {(7 * i + 3) % 10}" for i in range(10)}
    return data.assign(g=data["g"].map(names), a=pd.Categorical(data["a"], categories=list("wuv")))


#: other words for the first model; whether columns only stand in another order
SAME = {
    "order of a term": ("y ~ x*a + (x | g) + (1 | h)", DATA, True),
    "order of bars": ("y ~ a*x + (1 | h) + (x | g)", DATA, True),
    "order within a bar": ("y ~ a + x + x:a + (0 + x + one | g) + (1 | h)", DATA, True),
    "levels": ("y ~ a*x + (x | g) + (1 | h)", shuffled(DATA), False),
    "contrasts": ("y ~ C(a, contr.sum)*x + (x | g) + (1 | h)", DATA, False),
    "cells": ("y ~ 0 + a + a:x + (x | g) + (1 | h)", DATA, False),
    "origin": ("y ~ a*center(x) + (I(x - 7) | g) + (1 | h)", DATA, False),
}


@pytest.fixture(scope="module")
def first():
    return ranef.Model(FIRST, DATA)


@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_estimates_are_those_of_the_first(first, way, method):
    """To the precision of the optimum, and all of the other's fitted values to rounding."""
    formula, data, reordered = SAME[way]
    own, other = first.fit(method), ranef.Model(formula, data).fit(method)
    both = ranef.compare({"own": own, "other": other})
    shown = both.fits["other"]
    assert shown.criterion == pytest.approx(own.criterion, abs=1e-8)
    assert (shown.criterion == other.criterion) or not reordered
    for found, wanted in (
        (shown.fixef, own.fixef),
        (shown.vcov, own.vcov),
        (shown.estimates.theta, own.estimates.theta),
        (shown.ranef().drop(columns=["group", "level", "term"]), own.ranef().drop(columns=["group", "level", "term"])),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shown.fitted(), other.fitted(), rtol=1e-10)
    agreement = both.agreement
    assert agreement["difference_in_sd"].abs().max() < 1e-4
    assert agreement["level"].isin(["", *own.ranef()["level"]]).all()
    assert "in other words" in str(shown.summary()) or "in other words" in shown.estimates.optimizer.message


@pytest.mark.parametrize("way", SAME)
def test_posteriors_are_of_one_model_and_prior(first, way):
    """Linear predictors of every draw are kept; posteriors, of independent draws, agree to Monte-Carlo error."""
    formula, data, _ = SAME[way]
    own = first.sample(seed=1, sampler="direct", progress=False)
    other = ranef.Model(formula, data).sample(seed=2, sampler="direct", progress=False)
    both = ranef.compare({"own": own, "other": other})
    shown = both.fits["other"]
    np.testing.assert_allclose(shown.fitted(), other.fitted(), rtol=1e-9)
    np.testing.assert_allclose(shown.draws.sigma, other.draws.sigma)
    assert shown.draws.priors.lines() == own.draws.priors.lines()
    assert both.agreement["difference_in_sd"].abs().max() < 0.12  # 4000 draws: five standard errors of a mean
    assert both.agreement["width_ratio"].between(0.85, 1.18).all()
    assert ranef.compare(own, other).fits.keys() == {"direct_1", "direct_2"}  # one model: not ranked


def test_priors_go_by_the_names_of_the_first(first):
    given = {"x": Normal(0.0, 3.0), "sd[g, x]": HalfNormal(2.0), "sd[h]": HalfNormal(5.0), "sigma": HalfNormal(4.0)}
    short = {"draws": 100, "seed": 1, "sampler": "direct", "progress": False}
    other = ranef.Model("y ~ x*a + (1 | h) + (x | g)", DATA)
    shown = ranef.compare(first.fit(), other.sample(priors=given, **short)).fb
    assert shown.draws.priors.lines() == first.priors(given).lines()
    assert shown.prior_sensitivity().notna().any(axis=None)
    names = {"x:a[T.v]": Normal(1.0, 1.0), "ranef[g]": StudentT(4.0)}
    fb = other.sample(**short)
    student = ranef.PosteriorFit(
        fb.spec, replace(fb.draws, priors=other.priors(names), extras={"nu_g": fb.draws.sigma})
    )
    draws = ranef.compare(first.fit(), student).fb.draws
    assert draws.priors.lines() == first.priors({"a[T.v]:x": Normal(1.0, 1.0), "ranef[g]": StudentT(4.0)}).lines()
    assert list(draws.extras) == ["nu_g"]
    coded = ranef.Model("y ~ C(a, contr.sum)*x + (x | g) + (1 | h)", DATA)
    with pytest.raises(ranef.DesignError, match=r"priors given to 'fixef\[x\]' are of .* have no counterpart"):
        ranef.compare(first.fit(), coded.sample(priors={"x": Normal(0.0, 3.0)}, **short))


def test_shares_of_a_global_scale_move_with_their_coefficients(first):
    other = ranef.Model("y ~ x*a + (1 | h) + (x | g)", DATA)
    fb = other.sample(100, seed=1, sampler="direct", progress=False)
    phi = RNG.dirichlet(np.ones(5), fb.draws.sigma.shape)
    draws = replace(fb.draws, priors=other.priors({"fixef": R2D2(mean=0.3)}), extras={"phi": phi})
    fb = ranef.PosteriorFit(fb.spec, draws)
    shown = ranef.compare(first.fit(), fb).fb
    theirs, ours = (dict(zip(f.spec.design.fixed_names[1:], f.draws.extras["phi"].T, strict=True)) for f in (fb, shown))
    for name, shares in ours.items():
        np.testing.assert_array_equal(shares, theirs[":".join(reversed(name.split(":")))])


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("y ~ a + (a:x || g)", "y ~ a + (x:a || g)"),
        ("y ~ a + diag(x + z | g)", "y ~ a + diag(z + x | g)"),
        ("y ~ a + homcs(0 + a | g)", "y ~ a + homcs(0 + factor(a, levels=w) | g)"),
        ("y ~ a + cs(0 + x + z | g)", "y ~ a + cs(0 + z + x | g)"),
        ("y ~ a + (1 | a:g)", "y ~ a + (1 | g:a)"),
    ],
)
def test_structures_that_know_no_order(own, other):
    data = DATA.assign(x=DATA["x"] - 20)
    if "levels" in other:
        other, data2 = own, data.assign(a=pd.Categorical(data["a"], categories=list("wuv")))
    else:
        data2 = data
    a, b = ranef.Model(own, data).fit(), ranef.Model(other, data2).fit()
    shown = ranef.compare({"a": a, "b": b}).fits["b"]
    np.testing.assert_allclose(shown.estimates.theta, a.estimates.theta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(shown.fitted(), b.fitted(), rtol=1e-9)


def test_the_order_of_a_factor_that_has_one_is_another_model():
    data = DATA.assign(a=pd.Categorical(DATA["a"], categories=list("wuv")))
    fits = [ranef.Model("y ~ a + ar1(0 + a | g)", d).fit() for d in (DATA, data)]
    with pytest.raises(ranef.DesignError, match=r"random effects of 'g' have another covariance in 'ar1"):
        ranef.compare(*fits)


def test_known_covariances_must_be_the_same():
    K = 0.3 + 0.7 * np.eye(10)
    K[0, 1] = K[1, 0] = 0.6
    levels = [str(i) for i in range(10)]
    known = pd.DataFrame(K, levels, levels)
    turned = known.iloc[::-1, ::-1]
    own = ranef.Model("y ~ x + (1 | g)", DATA, cov={"g": known}).fit()
    again = ranef.Model("y ~ x + (1 | g)", DATA, cov={"g": turned}).fit()
    ranef.compare(own, again)
    for other in ({}, {"cov": {"g": known * 1.0 + 0.1 * np.eye(10)}}):
        with pytest.raises(ranef.DesignError, match="cov= gives the levels of 'g' other covariances"):
            ranef.compare(own, ranef.Model("y ~ x + (1 | g)", DATA, **other).fit())


@pytest.mark.parametrize(
    "given",
    [
        {"variance": ranef.VarFixed("w")},
        {"variance": ranef.VarIdent("a")},
        {"correlation": ranef.AR1("t", group="g")},
        {"variance": ranef.VarPower("w"), "correlation": ranef.CompSymm(group="g:a")},
    ],
)
def test_residual_structures_go_by_what_they_read(given):
    rng = np.random.default_rng(0)
    data = DATA.assign(w=rng.uniform(1, 3, N), t=DATA.groupby("g").cumcount())
    fits = [ranef.Model(f"y ~ {f} + (1 | g)", data, **given).fit() for f in ("x + z", "z + x")]
    shown = list(ranef.compare(*fits).fits.values())[1]
    np.testing.assert_allclose(shown.fixef, fits[0].fixef, rtol=1e-6)
    np.testing.assert_allclose(shown.residual_sd, fits[0].residual_sd, rtol=1e-5)
    other = data.assign(
        w=data["w"] ** 2, a=data["a"].map({"u": "v", "v": "u", "w": "w"}), t=-data["t"] - data["t"] ** 2
    )
    with pytest.raises(ranef.DesignError, match="columns that the residuals' structure reads of one"):
        ranef.compare(fits[0], ranef.Model("y ~ x + z + (1 | g)", other, **given).fit())


def test_pooling_and_the_page_take_them_too(first, tmp_path):
    other = ranef.Model("y ~ x*a + (1 | h) + (x | g)", shuffled(DATA)[["y", "x", "g", "h"]].assign(a=DATA["a"]))
    eb, fb = first.fit(), other.sample(200, seed=1, sampler="direct", progress=False)
    pooled = ranef.pooling(eb, fb)
    same = ranef.pooling(eb)
    np.testing.assert_array_equal(pooled.frame["no_pooling"], same.frame["no_pooling"])
    assert (pooled.frame["posterior"] - pooled.frame["partial"]).abs().max() < 1.0
    both = ranef.compare(eb, fb)
    again = ranef.load(both.save(tmp_path / "both.ranef"))
    np.testing.assert_array_equal(again.fb.draws.theta, both.fb.draws.theta)
