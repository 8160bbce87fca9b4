"""What every family of the response keeps, against scipy and by integration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import ranef
from _ranef.errors import FitError
from _ranef.spec import FAMILIES, family_of

#: the distribution of scipy with numbers for the parameters, by word
SCIPY = {"gaussian": (stats.norm(), {}), "student": (stats.t(5.5), {"nu": 5.5})}

every = pytest.mark.parametrize("word", FAMILIES)


@every
def test_its_word_is_its_name(word):
    family = FAMILIES[word]
    assert family_of(word) is family is family_of(family)
    assert family.word == word
    assert family == type(family)()


def test_classes_of_text_stand_as_they_are_asked_to_or_are_told():
    rng = np.random.default_rng(1)
    size, g = rng.permutation(np.tile(["small", "middle", "large"], 20)), np.tile(list("abcdef"), 10)
    levels = ("small", "middle", "large")

    def fit(size, **family):
        own = ranef.families.Ordinal(**family)
        return ranef.Model("size ~ 1 + (1 | g)", {"size": size, "g": g}, family=own).fit().thresholds

    ordered = fit(pd.Categorical(size, levels, ordered=True))
    assert ordered.index.tolist() == ["small|middle", "middle|large"]
    pd.testing.assert_series_equal(fit(size, levels=levels), ordered)
    with pytest.warns(ranef.DataWarning, match="letters: large < middle < small. If they have another, give family="):
        assert fit(size).index.tolist() == ["large|middle", "middle|small"]
    for wrong in (levels[:2], ("small", "medium", "large"), (*levels, "small")):
        with pytest.raises(ranef.DesignError, match="has the classes large, middle, small, and levels= gives small"):
            fit(size, levels=wrong)


@every
def test_its_density_is_one_and_that_of_scipy(word):
    (known, own), sigma, w = SCIPY[word], 1.7, 0.6
    assert own.keys() == FAMILIES[word].parameters.keys()

    def density(r):
        return np.exp(FAMILIES[word].log_density(r, np.log(sigma), np.log(w), own))

    assert integrate.quad(density, -np.inf, np.inf)[0] == pytest.approx(1.0, abs=1e-8)
    r, scale = np.linspace(-9.0, 9.0, 31), sigma / np.sqrt(w)
    np.testing.assert_allclose(density(r), known.pdf(r / scale) / scale, rtol=1e-12)


@every
def test_its_draws_have_its_distribution_and_variance(word):
    (known, own), family = SCIPY[word], FAMILIES[word]
    noise = family.noise(np.random.default_rng(1), (200, 1000), own)
    assert noise.shape == (200, 1000)
    assert stats.kstest(noise.ravel(), known.cdf).pvalue > 1e-3
    assert family.variance(4.0, own) == pytest.approx(4.0 * known.var(), rel=1e-12)
    assert noise.var() == pytest.approx(family.variance(1.0, own), rel=0.02)


def test_two_degrees_of_freedom_have_no_variance():
    variance = FAMILIES["student"].variance(np.full(3, 2.0), {"nu": np.array([1.0, 2.0, 4.0])})
    np.testing.assert_array_equal(variance, [np.inf, np.inf, 4.0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("poisson", "family='poisson' must be 'gaussian' or 'student'.$"),
        ("studnt", "Did you mean 'student'"),
        (None, "family=None must be"),
        (["student"], "must be 'gaussian'"),
    ],
)
def test_what_is_no_family_is_refused(given, words):
    with pytest.raises(FitError, match=words):
        family_of(given)


@every
def test_a_spec_carries_it_to_fits_and_through_files(word, tmp_path):
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    spec = model.spec.with_family(word)
    assert spec.family == FAMILIES[word]
    assert spec.with_family(word) is spec
    assert spec.thinned(10).family == spec.family
    assert spec.with_family("gaussian").family == model.spec.family
    fb = model.sample(draws=4, warmup=1, chains=1, seed=1, progress=False, sampler="nutpie")
    extras = dict.fromkeys(spec.family.parameters, np.full((1, 4), 5.0))
    fit = replace(fb, draws=replace(fb.draws, family=word, extras=extras))
    loaded = ranef.load(fit.save(tmp_path / "fit"))
    assert fit.spec.family == loaded.spec.family == spec.family
    np.testing.assert_array_equal(loaded.simulate(2, seed=1), fit.simulate(2, seed=1))
    assert ranef.Model.of(loaded).spec.family == ranef.Model.of(loaded).fit().spec.family == model.spec.family
