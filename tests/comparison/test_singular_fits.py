"""What is on the boundary, and what posteriors say of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison.singular_fits import boundary, edge_parameters
from _ranef.results import PosteriorDraws


def model(formula, seed=0, n=120):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"y": rng.normal(size=n), "x": rng.normal(5.0, 2.0, n), "z": rng.normal(size=n)})
    return ranef.Model(formula, data.assign(g=np.arange(n) % 8))


def draws_of(own, theta, sigma):
    """Posterior draws (1, S) of hyperparameters alone."""
    S = len(sigma)
    b = tuple(np.zeros((1, S, g.n_levels, len(g.columns))) for g in own.spec.groupings)
    beta = np.zeros((1, S, own.spec.n_fixed))
    return PosteriorDraws(theta[None], sigma[None], beta, b, {}, "marginal", own.priors(), 0, 0, 0.0, complete=True)


def edges(formula, theta):
    own = model(formula)
    return [(e.term, e.value) for e in edge_parameters(own.likelihood(), np.array(theta, dtype=float))]


@pytest.mark.parametrize(
    ("formula", "theta", "found"),
    [
        ("y ~ x + (1 | g)", [0.5], []),
        ("y ~ x + (1 | g)", [0.0], [("sd(Intercept)", 0.0)]),
        ("y ~ x + (x | g)", [1.0, 0.5, 0.0], [("cor(Intercept, x)", 1.0)]),
        ("y ~ x + (x | g)", [1.0, -0.5, 0.0], [("cor(Intercept, x)", -1.0)]),
        ("y ~ x + (x | g)", [1.0, 0.0, 0.0], [("sd(x)", 0.0)]),
        ("y ~ x + (x | g)", [0.0, 0.0, 0.4], [("sd(Intercept)", 0.0)]),
        ("y ~ x + (x | g)", [0.0, 0.0, 0.0], [("sd(Intercept)", 0.0), ("sd(x)", 0.0)]),
        ("y ~ x + (x || g)", [1.0, 0.0], [("sd(x)", 0.0)]),
        ("y ~ x + (x + z | g)", [1.0, 0.3, 0.2, 1.0, 0.5, 0.0], [("least eigenvalue of cor", 0.0)]),
        ("y ~ x + (x + z | g)", [1.0, 0.3, 2.0, 1.0, 0.0, 0.0], [("cor(Intercept, z)", 1.0)]),
        ("y ~ x + (x + z | g)", [1.0, 0.3, 0.0, 1.0, 0.0, 0.0], [("sd(z)", 0.0)]),
    ],
)
def test_edges_by_theta(formula, theta, found):
    assert edges(formula, theta) == found


def test_interior_fits_have_nothing_to_say():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    nothing = boundary(fit.spec, {"eb": (fit.likelihood, fit.estimates)}, {})
    assert not nothing
    assert nothing.frame.empty
    assert repr(nothing) == "No fit is on the boundary."


@pytest.fixture(scope="module")
def zero():
    """Dyestuff2 by REML and ML, and a posterior of known draws."""
    own = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2"))
    rng = np.random.default_rng(1)
    sigma = rng.uniform(3.0, 4.5, 2000)
    sd = np.abs(rng.normal(0.0, 1.0, 2000))
    fits = {name: (f.likelihood, f.estimates) for name, f in (("REML", own.fit()), ("ML", own.fit("ML")))}
    return own.spec, fits, draws_of(own, (sd / sigma)[:, None], sigma), sd, sigma


def test_numbers_are_those_of_the_draws(zero):
    spec, fits, draws, sd, sigma = zero
    frame = boundary(spec, fits, {"NUTS": draws}, 0.8).frame
    assert frame["fit"].tolist() == ["REML", "ML"]
    assert frame["posterior"].tolist() == ["NUTS", "NUTS"]
    assert (frame["estimate"] == 0).all()
    row = frame.iloc[0]
    np.testing.assert_allclose(
        row[["mean", "median", "lower", "upper"]].astype(float), [sd.mean(), *np.quantile(sd, [0.5, 0.1, 0.9])]
    )
    assert row["p_near"] == pytest.approx((sd < 0.1 * sigma).mean())


def test_words(zero):
    spec, fits, draws, sd, _ = zero
    found = boundary(spec, fits, {"NUTS": draws})
    (words,) = found.words
    assert words.startswith("REML and ML put sd(Intercept) of Batch at 0")
    for part in ("is no finding", "restricted likelihood and the likelihood", f"median {np.median(sd):.3g}", "prior"):
        assert part in words
    assert len(found) == 1
    assert "Batch" in found._repr_html_()
    alone = boundary(spec, fits, {})
    assert "Model.sample() shows" in alone.words[0]
    assert alone.frame["posterior"].isna().all()
    two = boundary(spec, fits, {"narrow": draws, "wide": draws})
    assert "narrow averages" in two.words[0]
    assert "wide averages" in two.words[0]
    assert len(two.frame) == 4


def test_a_slope_is_small_where_it_adds_little_to_a_row():
    """sd · rms(x) below a tenth of σ, the columns of an uncorrelated slope being as they are."""
    own = model("y ~ x + (0 + x | g)")
    sigma, rng = np.ones(1000), np.random.default_rng(2)
    sd = rng.uniform(0.0, 0.1, 1000)
    estimates = own.fit().estimates
    assert estimates.singular
    frame = boundary(own.spec, {"eb": (own.likelihood(), estimates)}, {"fb": draws_of(own, sd[:, None], sigma)}).frame
    rms = np.sqrt((own.spec.groupings[0].Z ** 2).mean())
    assert frame["p_near"][0] == pytest.approx((sd * rms < 0.1).mean())


def test_a_shared_sd_is_told_once():
    """It adds to a row what all its columns do together."""
    own = model("y ~ x + ident(0 + x + z | g)", seed=3)
    sd, sigma = np.random.default_rng(2).uniform(0.0, 0.1, 1000), np.ones(1000)
    estimates = replace(own.fit().estimates, theta=np.zeros(1), singular=True)
    found = boundary(own.spec, {"eb": (own.likelihood(), estimates)}, {"fb": draws_of(own, sd[:, None], sigma)})
    assert len(found) == len(found.frame) == 1
    assert "sd(x, z) of g" in found.words[0]
    rms = np.sqrt((own.spec.groupings[0].Z ** 2).sum(axis=1).mean())
    assert found.frame["p_near"][0] == pytest.approx((sd * rms < 0.1).mean())


def test_with_weights_a_little_is_beside_the_noise_of_a_row():
    """Which is σ/√w: sd · √mean(w z²) is below a tenth of σ."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"y": rng.normal(size=80), "w": rng.uniform(1.0, 30.0, 80), "g": np.arange(80) % 8})
    own = ranef.Model("y ~ 1 + (1 | g)", data, weights="w")
    sd, sigma = rng.uniform(0.0, 0.1, 1000), np.ones(1000)
    estimates = replace(own.fit().estimates, theta=np.zeros(1), singular=True)
    found = boundary(own.spec, {"eb": (own.likelihood(), estimates)}, {"fb": draws_of(own, sd[:, None], sigma)})
    assert "it adds less than a tenth of the noise of a typical row" in found.words[0]
    assert found.frame["p_near"][0] == pytest.approx((sd * np.sqrt(data["w"].mean()) < 0.1).mean())


def test_correlations_and_ranks():
    rng = np.random.default_rng(3)
    for formula, theta in (
        ("y ~ x + (x | g)", [1.0, -0.5, 0.0]),
        ("y ~ x + (x + z | g)", [1.0, 0.3, 0.2, 1.0, 0.5, 0.0]),
    ):
        own = model(formula)
        estimates = replace(own.fit().estimates, theta=np.array(theta), singular=True)
        draws = draws_of(own, rng.normal(size=(500, own.spec.n_theta)), np.ones(500))
        frame = boundary(own.spec, {"eb": (own.likelihood(), estimates)}, {"fb": draws}).frame
        L = [own.spec.lambdas(t)[0] for t in draws.theta[0]]
        cors = np.array([(m @ m.T) / np.sqrt(np.outer((m**2).sum(1), (m**2).sum(1))) for m in L])
        if len(theta) == 3:
            values, near = cors[:, 0, 1], cors[:, 0, 1] < -0.95
        else:
            values = np.array([np.linalg.eigvalsh(c)[0] for c in cors])
            near = values < 0.05
        assert frame["median"][0] == pytest.approx(np.median(values))
        assert frame["p_near"][0] == pytest.approx(near.mean())
