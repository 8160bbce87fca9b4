"""Patterns of matrices as they are drawn."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import ranef
from _ranef.inference import Pattern, matrix_pattern
from _ranef.plots.matrix_pattern import shares

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def test_raster_adds_up_to_the_pattern():
    rng = np.random.default_rng(2)
    pattern = Pattern("Z", (1003, 57), rng.integers(0, 1003, 400), np.arange(400) % 57, (), ())
    part = shares(pattern, 40)
    assert part.shape == (40, 40)
    rows = np.bincount(np.arange(1003) * 40 // 1003)
    cols = np.bincount(np.arange(57) * 40 // 57)
    assert (part * np.outer(rows, cols)).sum() == pytest.approx(400)


def test_small_patterns_are_drawn_place_by_place(fit):
    pattern = matrix_pattern(fit(*SLEEP), "Z")
    rows, cols = np.nonzero(shares(pattern))
    assert set(zip(rows, cols, strict=True)) == set(zip(pattern.rows, pattern.cols, strict=True))


def test_figures_name_the_blocks(fit, posterior):
    plots = fit("strength ~ 1 + (1 | batch/cask)", "pastes").plot
    _, ax = plt.subplots()
    assert plots.pattern("ZtZ", ax=ax) is ax
    assert [t.get_text() for t in ax.get_xticklabels()] == ["cask:batch\n30 columns", "batch\n10 columns"]
    ax = fit(*SLEEP).plot.pattern()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Subject: Intercept, Days\n36 columns"]
    assert ax.get_ylabel() == "rows of the data"
    assert "4 × 4, 40 % of its lower triangle not zero" in posterior.plot.pattern("L").get_title()


def test_impossible_requests_say_why(fit):
    with pytest.raises(ranef.DesignError, match="'Z', 'ZtZ' or 'L'"):
        fit(*SLEEP).plot.pattern("V")
    with pytest.raises(ranef.DesignError, match="no Z"):
        fit("Reaction ~ Days", "sleepstudy").plot.pattern()
