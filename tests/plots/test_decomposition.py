from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ranef


@pytest.fixture(scope="module")
def both():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    return ranef.compare(model.fit(), model.sample(draws=100, seed=1, sampler="nutpie", progress=False))


def test_bars_are_the_frame(both):
    figure = both.plot.decomposition(draws=50)
    frame = both.decompose(draws=50)
    for ax, (title, part) in zip(figure.axes, frame.groupby(["group", "term"], sort=False), strict=True):
        assert ax.get_title() == ": ".join(title)
        bars = np.array([[bar.get_width() for bar in bars] for bars in ax.containers])
        ordered = part.sort_values("total")
        np.testing.assert_allclose(bars, ordered[["given_theta_beta", "beta", "theta"]].to_numpy().T)
        np.testing.assert_allclose(bars.sum(axis=0), ordered["total"])
        np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], ordered["plug_in"])
        assert [t.get_text() for t in ax.get_yticklabels()] == ordered["level"].tolist()
    plt.close(figure)


def test_some_of_many_levels(both):
    figure, axes = plt.subplots(1, 2)
    both.plot.decomposition(max_levels=5, ax=axes, draws=20)
    assert axes[0].get_title().endswith("5 of 18 levels")
    assert len(axes[0].containers[0]) == 5
    plt.close(figure)


def test_refusals(both):
    with pytest.raises(ranef.DesignError, match="must be at least 2"):
        both.plot.decomposition(max_levels=1)
    model = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))
    with pytest.raises(ranef.DesignError, match="None of the fits is a posterior"):
        ranef.compare(model.fit(), model.fit("ML")).plot.decomposition()
