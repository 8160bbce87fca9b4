"""Parameters of every family, found again in responses that numpy draws from them, by both engines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from generalised import INVERSES

GROUPS, ROWS, TRIALS = 60, 12, 5

#: by family: link, dispersions, and how numpy draws a response round its mean
FAMILIES = {
    "binomial": ("logit", {}, lambda rng, m: rng.binomial(TRIALS, m) / TRIALS),
    "poisson": ("log", {}, lambda rng, m: rng.poisson(m)),
    "negative binomial": ("log", {"size": 2.0}, lambda rng, m: rng.negative_binomial(2.0, 2.0 / (2.0 + m))),
    "negative binomial 1": ("log", {"dispersion": 1.5}, lambda rng, m: rng.negative_binomial(m / 1.5, 1.0 / 2.5)),
    "gamma": ("log", {"dispersion": 0.3}, lambda rng, m: rng.gamma(1.0 / 0.3, 0.3 * m)),
    "inverse gaussian": ("log", {"dispersion": 0.2}, lambda rng, m: rng.wald(m, 1.0 / 0.2)),
    "beta": ("logit", {"precision": 8.0}, lambda rng, m: rng.beta(8.0 * m, 8.0 * (1.0 - m))),
    "ordinal": ("logit", {"gap2": 1.0}, lambda rng, m: _classes(rng, m)),
    "gaussian": ("log", {"scale": 0.8}, lambda rng, m: rng.normal(m, 0.8)),
    "t": ("identity", {"scale": 0.8, "nu": 5.0}, lambda rng, m: m + 0.8 * rng.standard_t(5.0, m.shape)),
}
BETA, SD = {"Intercept": 0.5, "x": 0.4}, 0.6


def _classes(rng: np.random.Generator, m: np.ndarray) -> np.ndarray:
    """By thresholds 0 and 1 of a logistic variable round η."""
    return np.digitize(rng.logistic(scipy.special.logit(m)), [0.0, 1.0])


def simulated(word: str, seed: int) -> ranef.Model:
    link, _, draw = FAMILIES[word]
    rng, g = np.random.default_rng(seed), np.repeat(np.arange(GROUPS), ROWS)
    x = rng.standard_normal(g.size)
    eta = BETA["Intercept"] + BETA["x"] * x + SD * rng.standard_normal(GROUPS)[g]
    data = pd.DataFrame({"y": draw(rng, INVERSES[link](eta)), "x": x, "g": g, "n": TRIALS})
    weights = "n" if word == "binomial" else None
    return ranef.Model("y ~ x + (1 | g)", data, family=word, link=link, weights=weights)


def scores(fit: ranef.GeneralisedFit, word: str) -> dict[str, float]:
    """How many standard errors estimates are from the truth; positive parameters on the scale of logarithms."""
    rows = fit.tidy().set_index("term")
    positive = {"sd(Intercept)": SD} | FAMILIES[word][1]
    out = {name: (rows["estimate"][name] - value) / rows["std_error"][name] for name, value in BETA.items()}
    for name, value in positive.items():
        estimate = rows["estimate"][name]
        out[name] = np.log(estimate / value) / (rows["std_error"][name] / estimate)
    return out


def posterior_scores(word: str, seed: int) -> dict[str, float]:
    """The same in posterior standard deviations from posterior means."""
    model = simulated(word, seed)
    try:
        draws = model.sample(250, sampler="direct", seed=seed, progress=False).draws
    except ranef.FitError:
        draws = model.sample(250, chains=2, sampler="nutpie", seed=seed, progress=False).draws
    named = {"sd(Intercept)": np.log(np.abs(draws.theta[..., 0]) / SD)}
    named |= {name: draws.beta[..., i] - value for i, (name, value) in enumerate(BETA.items())}
    named |= {name: np.log(draws.extras[name] / value) for name, value in FAMILIES[word][1].items()}
    return {name: float(x.mean() / x.std()) for name, x in named.items()}


@pytest.mark.parametrize("word", FAMILIES)
def test_a_family_is_recovered(word):
    """One data set, whose seed is fixed."""
    found = scores(simulated(word, 1).fit(), word)
    assert max(map(abs, found.values())) < 3.5, found


def test_a_posterior_recovers_its_family():
    found = posterior_scores("poisson", 1)
    assert max(map(abs, found.values())) < 3.5, found


def calibrated(found: pd.DataFrame, bias: float) -> None:
    """Z scores (simulations, parameters) have mean zero and mean square one, each to a chance of 1e-5 to fail.

    `bias` is what means may be off besides: maxima of a likelihood are by a tenth of their errors here.
    """
    n = len(found)
    assert (found.mean().abs() < bias + scipy.stats.norm.isf(5e-6) / np.sqrt(n)).all(), found.mean()
    square = (found**2).mean()
    low, high = scipy.stats.chi2.ppf([5e-6, 1.0 - 5e-6], n) / n
    assert square.between(low, high + bias).all(), square


@pytest.mark.slow
@pytest.mark.parametrize("word", FAMILIES)
def test_standard_errors_are_those_of_many_data_sets(word):
    calibrated(pd.DataFrame([scores(simulated(word, 100 + k).fit(), word) for k in range(60)]), 0.25)


@pytest.mark.slow
@pytest.mark.parametrize("word", FAMILIES)
def test_posteriors_are_calibrated_over_data_sets(word):
    """At fixed parameters, which the priors hardly move: normal to first order."""
    calibrated(pd.DataFrame([posterior_scores(word, 200 + k) for k in range(12)]), 0.25)
