"""Fits in the regression tables of maketables."""

from __future__ import annotations

import numpy as np
import pytest

import ranef
from small_fits import fit_of, scattered_posterior

etable = pytest.importorskip("maketables", reason="maketables is not installed").ETable

SLEEP = "Reaction ~ Days + (Days | Subject)"


def cells(*fits, **options):
    """The table as text, by block and row, a column for each fit."""
    frame = etable(list(fits), **options).df
    return {key: [str(cell) for cell in row] for key, row in zip(frame.index, frame.to_numpy(), strict=True)}


def test_both_engines_stand_in_one_table():
    eb, fb = fit_of("bright ~ 1 + (1 | operator)", "pulp"), scattered_posterior()
    found = cells(eb, fb)
    both = ranef.compare(eb, fb)
    fixed, sds = both.fixed_effects.iloc[0], both.variance_components
    assert found["coef", "Intercept"] == [
        f"{fixed['eb_estimate']:.3f}*** \n ({fixed['eb_sd']:.3f})",
        f"{fixed['fb_estimate']:.3f} \n ({fixed['fb_sd']:.3f})",  # a posterior has no stars
    ]
    for name, row in (("sd(Intercept | operator)", sds.iloc[0]), ("sigma", sds.iloc[1])):
        assert found["stats", name] == [f"{row[f'{f}_estimate']:.3f} ({row[f'{f}_sd']:.3f})" for f in ("eb", "fb")]
    assert found["stats", "Engine"] == ["REML", "NUTS"]
    assert found["stats", "Observations"] == ["20", "20"]
    assert found["stats", "Levels of operator"] == ["4", "4"]
    assert found["stats", "AIC"] == [f"{eb.aic:.3f}", "-"]


def test_tests_are_those_of_satterthwaite():
    eb = fit_of(SLEEP, "sleepstudy")
    found = cells(eb, coef_fmt="t:.5f p:.3e [ci95l:.4f ci95u:.4f]", model_stats=["se_type", "ll", "bic"])
    row = eb.tidy(ddf="satterthwaite").set_index("term").loc["Days"]
    assert found["coef", "Days"] == [
        f"{row['statistic']:.5f} {row['p_value']:.3e} [{row['lower']:.4f} {row['upper']:.4f}]"
    ]
    assert found["stats", "S.E. type"] == ["Satterthwaite"]
    assert found["stats", "Log-likelihood"] == [f"{eb.loglik:.3f}"]
    assert found["stats", "BIC"] == [f"{eb.bic:,.2f}"]


def test_models_of_every_residual_and_of_none():
    data = ranef.datasets.load("sleepstudy")
    singular = fit_of("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    known = ranef.Model("Reaction ~ Days + I(2 * Days) + (1 | Subject)", data, sigma=30).fit()
    growing = ranef.Model("Reaction ~ Days + (1 | Subject)", data, variance=ranef.VarExp("Days")).fit("ML")
    plain = ranef.Model("Reaction ~ Days", data).fit()
    found = cells(singular, known, growing, plain)
    assert found["stats", "sd(Intercept | Batch)"] == ["0.000", "-", "-", "-"]  # on the boundary no standard error
    assert found["coef", "I(2 * Days)"] == ["", "- \n (-)", "", ""]
    assert found["stats", "sigma"][1] == "30.000"
    expon = growing.residual_parameters.iloc[0]
    assert found["stats", "expon"][2] == f"{expon['estimate']:.3f} ({expon['std_error']:.3f})"
    assert found["stats", "Levels of Subject"] == ["-", "18", "18", "-"]


def test_dependent_variables_stand_above():
    eb = fit_of(SLEEP, "sleepstudy")
    table = etable([eb, fit_of("bright ~ 1 + (1 | operator)", "pulp")])
    assert np.asarray(table.df.columns.get_level_values(0)).tolist() == ["Reaction", "bright"]
    assert "sd(Days | Subject)" in table.make("tex")


def test_generalised_fits_of_both_engines():
    herds, ticks = ranef.datasets.load("cbpp"), ranef.datasets.load("grouseticks")
    model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", herds, family="binomial")
    glmm, posterior = model.fit(), model.sample(draws=100, seed=1, sampler="direct", progress=False)
    counts = ranef.Model("TICKS ~ YEAR + (1 | BROOD)", ticks, family="negative binomial").fit()
    shares = ranef.Model(model.spec.design.formula, herds, family=ranef.families.Binomial("cauchit")).fit()
    fits = (glmm, posterior, counts, shares)
    found = cells(*fits)
    assert found["stats", "Family"] == [
        *["binomial (logit)"] * 2,
        "negative binomial (log)",
        "binomial (cauchit)",
    ]
    assert found["stats", "Engine"] == ["Laplace", posterior.engine, "Laplace", "Laplace"]
    row, drawn = glmm.tidy().iloc[3], posterior.tidy().iloc[3]
    assert row["p_value"] < 0.001
    assert found["coef", "period=4"][:2] == [
        f"{row['estimate']:.3f}*** \n ({row['std_error']:.3f})",
        f"{drawn['estimate']:.3f} \n ({drawn['std_error']:.3f})",
    ]
    sd = glmm.tidy().iloc[4]
    assert found["stats", "sd(Intercept | herd)"][0] == f"{sd['estimate']:.3f} ({sd['std_error']:.3f})"
    assert found["stats", "size"][2].startswith(f"{counts.dispersion['size']:.3f} (")
    # rows have no variance behind a cauchit link
    assert found["stats", "R² (marginal)"][::3] == [f"{glmm.r2()['marginal']:.3f}", "-"]
    assert cells(*fits, model_stats=["se_type"])["stats", "S.E. type"] == ["Hessian", "posterior", "Hessian", "Hessian"]
