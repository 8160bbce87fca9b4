"""Generalised fits against lme4, glmmTMB, ordinal, and a grid in R, on data sets that other references leave."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

import ranef
from registry import FOLDER

FILE = json.loads((FOLDER / "generalised_more.json").read_text())
CASES = FILE["cases"]

#: on the boundary, where coefficients of R's optimiser are those of a flat direction: the deviance alone
FLAT = ("ticks_exposure",)


def data_of(name: str) -> pd.DataFrame:
    """As the script has them."""
    data = ranef.datasets.load(name)
    if name == "cbpp":
        return data.assign(second=(data["period"].astype(str) == "2").astype(float))
    if name == "grouseticks":
        return data.assign(h=data["cHEIGHT"] / 100)
    if name == "MathAchieve":
        return data.assign(minority=(data["Minority"] == "Yes").astype(float))
    return data[data["lea"].astype(int) <= 6] if name == "Chem97" else data


def fit_of(case: dict) -> ranef.GeneralisedFit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        model = ranef.Model(case["formula"], data_of(case["dataset"]), family=case["family"], link=case["link"])
        return model.fit(nagq=case["points"])


@pytest.mark.parametrize("name", CASES)
def test_references(name):
    """No deviance is above R's; clmm stops 1.2e-4 short on the scores of six authorities, as tight as it goes."""
    case = CASES[name]
    fit = fit_of(case)
    assert fit.deviance + 2.0 * case["loglik"] < 1e-9 * abs(fit.deviance)
    assert fit.deviance == pytest.approx(-2.0 * case["loglik"], rel=2e-7)
    if name in FLAT:
        return
    own, parts = fit.fixef.dropna().to_numpy(), case["components"]
    if "thresholds" in case:
        own = own[1:]
        assert np.allclose(fit.thresholds, case["thresholds"], rtol=1e-4, atol=1e-4)
    assert np.allclose(own, case["beta"], rtol=1e-4, atol=1e-4)
    sds = fit.varcorr.loc[fit.varcorr["term2"].isna(), "sdcor"]
    theirs = [v for part in (parts.values() if isinstance(parts, dict) else parts) for v in np.ravel(part["sd"])]
    assert np.allclose(np.sort(sds), np.sort(theirs), rtol=1e-4)
    if "se" in case:
        assert np.allclose(np.sqrt(np.diag(fit.vcov)), case["se"], rtol=3e-3)  # lme4's Hessian is by differences
    if "dispersion" in case:
        assert fit.dispersion.iloc[0] == pytest.approx(case["dispersion"], rel=1e-4)


def test_modes_are_lme4s():
    case = CASES["cloglog_25"]
    assert np.allclose(fit_of(case).ranef()["estimate"].head(3), case["modes"], rtol=1e-4, atol=1e-5)


def test_glmer_takes_inverse_gaussian_responses_otherwise():
    """Its dispersion is of sums of squares, and it divides the effects by it: coefficients alone are near."""
    theirs, fit = FILE["glmer_inverse_gaussian"], fit_of(CASES["inverse_gaussian"])
    assert np.allclose(fit.fixef, theirs["beta"], rtol=0.01)
    assert theirs["sd"] == pytest.approx(theirs["theta"] * np.sqrt(theirs["sigma2"]))
    assert abs(theirs["sd"] / fit.varcorr["sdcor"][0] - 1.0) > 0.3
