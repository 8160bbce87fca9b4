"""The table of parameters: how many variance components, what they are, and where they stand in D and R."""

import re

import numpy as np
import pytest

import ranef
from equations.models import MADE, model


@pytest.mark.parametrize("name", MADE)
def test_every_parameter_has_a_row_and_a_symbol_of_its_own(name):
    made = model(name)
    table, spec = made.parameters, made.spec
    assert table["symbol"].is_unique
    assert table["parameter"].is_unique
    assert (table["meaning"] != "").all()
    assert len(table) == spec.n_fixed + spec.n_theta + len(spec.rho_names) + 1
    in_prior = (table["prior"] != "") | ((table["parameter"] == "sigma") & (spec.sigma is not None))
    assert in_prior.all()


@pytest.mark.parametrize("name", ["slopes", "crossed", "toep", "ident", "blocks", "VarIdent"])
def test_estimates_are_those_of_the_fit(name):
    fit = model(name).fit()
    table = fit.parameters.set_index("parameter")
    tidy = fit.tidy()
    fixed = tidy[tidy["effect"] == "fixed"].set_index("term")["estimate"]
    np.testing.assert_allclose(table.loc[fixed.index, "estimate"], fixed)
    assert table.loc["sigma", "estimate"] == pytest.approx(fit.sigma)
    sds = fit.varcorr[fit.varcorr["term2"].isna() & (fit.varcorr["group"] != "Residual")]
    for row in sds.itertuples():
        place = f"sd({row.term1} | {row.group})"
        assert place not in table.index or table.loc[place, "estimate"] == pytest.approx(row.sdcor)
    inside = table.dropna(subset=["lower", "upper"])
    assert ((inside["lower"] <= inside["estimate"] + 1e-9) & (inside["estimate"] <= inside["upper"] + 1e-9)).all()


def test_the_place_in_d_is_the_entry():
    """Σ[Subject][2, 1] is where the covariance of the second with the first effect stands."""
    fit = model("slopes").fit()
    table = fit.parameters.set_index("symbol")
    D = fit.matrices.D.toarray()
    sds = [table.loc[s, "estimate"] for s in ("σ₀", "σ₁")]
    covariance = np.prod(sds) * table.loc["ρ₀₁", "estimate"]
    for symbol, expected in (("σ₀", sds[0] ** 2), ("σ₁", sds[1] ** 2), ("ρ₀₁", covariance)):
        row, column = map(int, re.search(r"\[(\d), (\d)\]", table.loc[symbol, "place"]).groups())
        for level in range(18):
            assert D[2 * level + row - 1, 2 * level + column - 1] == pytest.approx(expected)


def test_both_engines_in_one_table():
    made = model("pulp")
    both = ranef.compare(made.fit(), made.sample(draws=100, seed=1, sampler="nutpie", progress=False))
    table = both.parameters
    np.testing.assert_allclose(table["eb_estimate"], both.eb.parameters["estimate"])
    np.testing.assert_allclose(table["fb_estimate"].iloc[0], both.fb.fixef.iloc[0])
    assert table["prior"].tolist() == both.fb.parameters["prior"].tolist()
    assert (table["kind"] != "fixed").sum() == 2
