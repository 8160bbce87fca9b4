"""Tests reject what is true as often as they say: simulated small designs, as in benchmarks/levels.py."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import ranef

SIMS = 400

#: four Monte Carlo standard errors of a level of 5 per cent
ERROR = 4 * np.sqrt(0.05 * 0.95 / SIMS)


def groups(rng, J):
    g = np.repeat(np.arange(J), rng.integers(2, 9, J))
    return pd.DataFrame({"g": g, "z": (g % 2).astype(float), "x": rng.normal(size=len(g))})


def levels(p_values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        found = pd.DataFrame([p_values(np.random.default_rng([seed, 7])) for seed in range(SIMS)])
    assert not found.isna().any().any()
    return (found <= 0.05).mean()


@pytest.mark.slow
def test_a_treatment_of_eight_groups():
    def p_values(rng):
        data = groups(rng, 8)
        data["y"] = np.sqrt(0.5) * rng.normal(size=8)[data["g"]] + rng.normal(size=len(data))
        small, large = (ranef.Model(f"y ~ {fixed} + (1 | g)", data).fit() for fixed in ("1", "z"))
        laws = {"wald": {}, "satterthwaite": {"ddf": "satterthwaite"}, "kenward-roger": {"ddf": "kenward-roger"}}
        out = {name: large.test("z", **law)["p"][0] for name, law in (laws | {"CR2": {"vcov": "CR2"}}).items()}
        out["LRT"] = ranef.anova(small, large)["p"][1]
        out["bootstrap"] = ranef.anova(small, large, test="bootstrap", nsim=99, seed=int(rng.integers(1 << 30)))["p"][1]
        return out

    found = levels(p_values)
    for name in ("kenward-roger", "CR2", "bootstrap"):
        assert found[name] < 0.05 + ERROR, name
        assert found[name] > 0.015, name
    # normal and χ² reject too often, which is what the others are for; Satterthwaite's takes zero variances for known
    assert found["kenward-roger"] <= found["satterthwaite"] <= found["wald"]
    assert found["kenward-roger"] < found["LRT"]


@pytest.mark.slow
def test_a_variance_of_zero():
    def p_values(rng):
        data = groups(rng, 10)
        data["y"] = rng.normal(size=len(data))
        small, large = (ranef.Model(f"y ~ x{bar}", data).fit() for bar in ("", " + (1 | g)"))
        frame = ranef.anova(small, large)
        boot = ranef.anova(small, large, test="bootstrap", nsim=99, seed=int(rng.integers(1 << 30)))
        return {"LRT": frame["p"][1], "mixture": frame["p_mixture"][1], "bootstrap": boot["p"][1]}

    found = levels(p_values)
    assert found["LRT"] < 0.04
    assert found["LRT"] <= found["mixture"] < 0.05 + ERROR
    assert abs(found["bootstrap"] - 0.05) < ERROR
