"""Residual standard deviations by stratum, and autocorrelations, as their figures show them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

import ranef
from _ranef.inference import autocorrelations, lag_bounds, stratum_sds

#: nlme 3.1-162, ``ACF(lme(follicles ~ sin(2*pi*Time) + cos(2*pi*Time), Ovary, ~1 | Mare, corAR1()))``
OVARY = [
    *(0.5295514947258, 0.3646952179105, 0.2314487977234, 0.2107691367697, 0.1344471372227, 0.1366285404857),
    *(0.0826559771355, 0.0129197851750, -0.0587683658326, -0.1474561064963, -0.2115717073015, -0.2906069620430),
    *(-0.3086766296291, -0.3726237509719),
]


@pytest.fixture(scope="module")
def ovary():
    data = ranef.datasets.load("Ovary")
    angle = 2.0 * np.pi * data["Time"]
    data = data.assign(s=np.sin(angle), c=np.cos(angle))
    return ranef.Model("follicles ~ s + c + (1 | Mare)", data, correlation=ranef.AR1(group="Mare")).fit()


@pytest.fixture(scope="module")
def orthodont():
    data = ranef.datasets.load("Orthodont")
    return ranef.Model("distance ~ age * Sex + (1 | Subject)", data, variance=ranef.VarIdent("Sex"))


def test_autocorrelations_are_those_of_nlme(ovary):
    found = autocorrelations(ovary)
    np.testing.assert_allclose(found.pearson, OVARY, atol=2e-4)  # θ̂ of both agree to 1e-4
    assert found.pairs.tolist() == [297 - 11 * k for k in range(14)]
    phi = ovary.residual_parameters["estimate"].item()
    np.testing.assert_allclose(found.fitted, phi**found.lags, rtol=1e-10)
    np.testing.assert_allclose(lag_bounds(found.pairs, 0.95), 1.959964 / np.sqrt(found.pairs), rtol=1e-6)
    assert np.abs(found.normalized[1:8] * np.sqrt(found.pairs[1:8])).max() < 2.0 < found.pearson[0] * np.sqrt(297)


def test_autocorrelations_of_independent_rows_are_by_the_innermost_factor():
    fit = ranef.Model("height ~ age + (age | Subject)", ranef.datasets.load("Oxboys")).fit()
    found = autocorrelations(fit)
    wanted = [0.2317320925501, -0.2041756808914, -0.3536135673413, -0.4887793302164, -0.5720556425369]
    np.testing.assert_allclose(found.pearson[:5], wanted, atol=1e-5)
    np.testing.assert_array_equal(found.pearson, found.normalized)
    assert np.isnan(found.fitted).all()
    assert autocorrelations(fit, most=3).lags.tolist() == [1, 2, 3]
    with pytest.raises(ranef.DesignError, match="lags of 1 and more"):
        autocorrelations(fit, most=0)


def test_fitted_correlations_are_means_over_pairs_of_rows_however_far_apart():
    data = ranef.datasets.load("BodyWeight").iloc[::-1]
    fit = ranef.Model("weight ~ Time * Diet + (1 | Rat)", data, correlation=ranef.CAR1("Time", group="Rat")).fit()
    phi = fit.residual_parameters["estimate"].item()
    times = np.sort(data["Time"].unique())
    found = autocorrelations(fit)
    np.testing.assert_allclose(found.fitted, [np.mean(phi ** (times[k:] - times[:-k])) for k in found.lags], rtol=1e-9)
    ordered = fit.residuals("pearson").to_numpy()[np.lexsort((data["Time"], data["Rat"].astype(str)))].reshape(16, -1)
    wanted = np.mean(ordered[:, 2:] * ordered[:, :-2]) / np.mean(ordered**2)
    assert found.pearson[1] == pytest.approx(wanted, rel=1e-10)


def test_standard_deviations_have_wald_intervals_on_the_logarithm(orthodont):
    fit = orthodont.fit()
    found = stratum_sds(fit)
    assert found["stratum"].tolist() == ["Male", "Female"]
    np.testing.assert_allclose(found["estimate"], fit.residual_sd)
    # nlme's intervals() of σ, that of the first stratum, from a curvature by differences
    np.testing.assert_allclose(found.loc[0, ["lower", "upper"]].astype(float), [1.367, 2.039], rtol=2e-3)
    middle = np.sqrt(found["lower"] * found["upper"])
    np.testing.assert_allclose(middle, found["estimate"], rtol=1e-12)
    half = np.log(stratum_sds(fit, 0.5)["upper"] / found["estimate"]) / np.log(found["upper"] / found["estimate"])
    np.testing.assert_allclose(half, scipy.special.ndtri(0.75) / scipy.special.ndtri(0.975), rtol=1e-9)


def test_figures_show_what_was_computed(orthodont, ovary):
    fits = ranef.compare(orthodont.fit(), orthodont.fit("ML"))
    ax = fits.plot.residual_sd()
    drawn = [line.get_xdata() for line in ax.lines]
    for own, fit in zip(drawn, fits.fits.values(), strict=True):
        np.testing.assert_array_equal(own, fit.residual_sd)
    assert [t.get_text() for t in ax.get_yticklabels()][:2] == ["Male", "Female"]
    ax = ovary.plot.acf(lags=5)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], OVARY[:5], atol=2e-4)
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert set(labels) == {"Pearson residuals", "fitted correlation", "normalised residuals", "95 % if independent"}


def test_a_model_without_strata_has_no_figure_of_them(ovary):
    with pytest.raises(ranef.DesignError, match="the model has no strata"):
        ovary.plot.residual_sd()
