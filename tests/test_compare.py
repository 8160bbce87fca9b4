from __future__ import annotations

import json

import numpy as np
import pytest

import ranef


@pytest.fixture(scope="module")
def both():
    model = ranef.Model("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("pastes"))
    return ranef.compare(model.fit(), model.sample(draws=300, warmup=300, seed=1, progress=False))


def test_frames(both):
    assert both.variance_components["group"].tolist() == ["cask:batch", "batch", "Residual"]
    assert both.fixed_effects["term"].tolist() == ["Intercept"]
    random = both.random_effects
    assert len(random) == 40
    for column in ("no_pooling", "eb_estimate", "eb_lower", "eb_upper", "fb_estimate", "fb_sd", "sd_ratio"):
        assert np.isfinite(random[column]).all()
    np.testing.assert_allclose(random["eb_estimate"], both.eb.ranef()["estimate"])
    np.testing.assert_allclose(random["fb_upper"], both.fb.ranef()["upper"])
    assert both.shrinkage["eb_shrinkage"].between(0, 1).all()


def test_one_factor_shrinkage_is_one_minus_reliability():
    """With one factor, BLUP = (1 − shrinkage) × no pooling, exactly."""
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    both = ranef.compare(model.fit(), model.sample(draws=50, warmup=50, seed=1, progress=False))
    s = both.shrinkage
    np.testing.assert_allclose(s["eb_estimate"], (1 - s["eb_shrinkage"]) * s["no_pooling"])
    np.testing.assert_allclose(s["eb_ratio"], 1.312117, atol=5e-7)


def test_table_says_what_each_column_estimates(both):
    text = repr(both)
    for words in ("BLUP", "No pooling", "Posterior", "restricted likelihood", "cask:batch", "20 more levels"):
        assert words in text
    assert "<table>" in both._repr_html_()


def test_either_order(both):
    again = ranef.compare(both.fb, both.eb)
    assert again.eb is both.eb


def test_figure(both, tmp_path):
    path = both.save_figure(tmp_path / "f.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in tmp_path.iterdir()] == ["f.png"]
    with pytest.raises(ranef.DesignError, match=r"must end in one of .*\.png"):
        both.save_figure(tmp_path / "f.xyz")
    with pytest.raises(ranef.DesignError, match="does not exist"):
        both.save_figure(tmp_path / "none" / "f.png")


def test_plain_data(both):
    text = json.dumps(both.to_dict(), allow_nan=False)
    assert json.loads(text)["variance_components"][0]["group"] == "cask:batch"


def test_fits_of_different_models_are_refused(both):
    other = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    with pytest.raises(ranef.DesignError, match="different models"):
        ranef.compare(other, both.fb)
    with pytest.raises(ranef.DesignError, match=r"one fit from Model.fit\(\) and one from Model.sample\(\)"):
        ranef.compare(both.eb, both.eb)
