"""Power by simulation beside closed forms of balanced designs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import ranef
from _ranef.spec import with_units

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fit():
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")).fit()


def exact(fit, effect, levels=18):
    """Of a balanced design: F is exact, and its noncentrality that of the mean of the levels' slopes."""
    if not effect:
        return 0.05
    se = np.sqrt(fit.vcov.loc["Days", "Days"] * 18 / levels)
    return stats.ncf.sf(stats.f.isf(0.05, 1, levels - 1), 1, levels - 1, (effect / se) ** 2)


@pytest.mark.parametrize("effect", [0.0, 3.0, 5.0])
def test_power_is_that_of_noncentral_f(fit, effect):
    found = ranef.power(fit, "Days", 2000, effect={"Days": effect}, seed=1).frame.iloc[0]
    assert found["ddf"] == pytest.approx(17.0, abs=1e-4)
    assert abs(found["power"] - exact(fit, effect)) < 4 * np.sqrt(0.25 / 2000)
    assert found["lower"] < found["power"] < found["upper"]


def test_levels_are_copied_and_left_out(fit):
    found = ranef.power(fit, "Days", 1000, extend={"Subject": [6, 40]}, effect={"Days": 4}, seed=2).frame
    assert found["n_obs"].tolist() == [60, 400]
    for row in found.itertuples():
        assert row.ddf == pytest.approx(row.levels - 1, abs=1e-3)
        assert abs(row.power - exact(fit, 4.0, row.levels)) < 4 * np.sqrt(0.25 / 1000)


def test_levels_of_crossed_factors_stay():
    spec = ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")).spec
    sample = next(g for g in spec.groupings if g.name == "sample")
    more = with_units(spec, sample.codes, np.arange(12) % 6)
    assert {g.name: g.n_levels for g in more.groupings} == {"plate": 24, "sample": 12}
    nested = ranef.Model("strength ~ 1 + (1 | batch / cask)", ranef.datasets.load("Pastes")).spec
    batch = next(g for g in nested.groupings if g.name == "batch")
    more = with_units(nested, batch.codes, np.arange(15) % 10)
    assert sorted(g.n_levels for g in more.groupings) == [15, 45]


def test_several_coefficients_and_structured_residuals():
    data = ranef.datasets.load("Machines")
    fit = ranef.Model("score ~ Machine + (1 | Worker)", data, variance=ranef.VarIdent("Machine")).fit()
    names = ["Machine[T.B]", "Machine[T.C]"]
    none = ranef.power(fit, names, 60, effect=dict.fromkeys(names, 0.0), ddf=None, seed=3).frame.iloc[0]
    large = ranef.power(fit, names, 60, ddf=None, seed=3).frame.iloc[0]
    assert none["power"] < 0.2
    assert large["power"] > 0.95


def test_the_same_for_a_seed_and_shown(fit):
    first = ranef.power(fit, "Days", 300, effect={"Days": 5}, seed=4)
    with pytest.importorskip("joblib").parallel_config("threading", n_jobs=2):
        assert first.frame.equals(ranef.power(fit, "Days", 300, effect={"Days": 5}, seed=4).frame)
    assert "Power at α = 0.05, Days = 5; rejected is Days = 0, by F (satterthwaite)" in repr(first)
    assert first.plot().get_ylabel() == "power"


def test_refusals(fit):
    with pytest.raises(ranef.DesignError, match="no coefficient"):
        ranef.power(fit, "Days", effect={"Day": 1})
    with pytest.raises(ranef.DesignError, match="no grouping factor 'subject'"):
        ranef.power(fit, "Days", extend={"subject": 3})
    with pytest.raises(ranef.DesignError, match="between 0 and 1"):
        ranef.power(fit, "Days", alpha=5)
    with pytest.raises(ranef.DesignError, match="one factor at a time"):
        ranef.power(fit, "Days", extend={"Subject": 3, "Days": 2})
    with pytest.raises(ranef.RanefError, match="extend"):
        ranef.power(fit, "Days", extend={"Subject": 1})
