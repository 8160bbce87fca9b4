"""Fits as models of the package marginaleffects."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import polars
import pytest

import ranef
from _ranef.errors import NotAvailableError
from small_fits import fit_of

#: marginaleffects calls what polars 1 warns of
pytestmark = pytest.mark.filterwarnings("ignore:`cat.get_categories.*:DeprecationWarning")

#: relative error of a standard error of slopes: differences of differences there
DIFFERENCES = 1e-4


def test_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "marginaleffects.classes", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'ranef\[marginaleffects\]'"):
        fit_of("bright ~ 1 + (1 | operator)", "pulp").to_marginaleffects(ranef.datasets.load("pulp"))


@pytest.fixture(scope="module")
def me():
    """The package, where it is installed and works."""
    package = pytest.importorskip("marginaleffects", reason="marginaleffects is not installed")
    try:
        fit_of("bright ~ 1 + (1 | operator)", "pulp").to_marginaleffects(ranef.datasets.load("pulp"))
    except NotAvailableError as error:
        assert int(polars.__version__.split(".")[0]) > 1
        pytest.skip(str(error))
    return package


def by_hand(fit, rows):
    """Mean and standard error of the mean of rows of X."""
    x = np.mean(rows, axis=0)
    return x @ fit.fixef.to_numpy(), np.sqrt(x @ fit.vcov.to_numpy() @ x)


def test_contrasts_are_those_of_emmeans(me):
    data, fit = ranef.datasets.load("Machines"), fit_of("score ~ Machine + (1 | Worker)", "Machines")
    found = me.avg_comparisons(fit.to_marginaleffects(data), variables={"Machine": "pairwise"})
    ours = ranef.emmeans(fit, "Machine").contrasts("pairwise", adjust="none")
    np.testing.assert_allclose(found["estimate"], -ours["estimate"], rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], ours["std_error"], rtol=1e-6)  # theirs by differences


def test_slopes_predictions_and_offsets_by_hand(me):
    data = ranef.datasets.load("hetero_sim").assign(known=lambda d: d["Var3"] / 2, txt=lambda d: d["Var8f"].astype(str))
    formula = "log(VarD) ~ Var2 * txt + offset(known) + (1 | Var6)"
    fit = ranef.Model(formula, data).fit()
    one = (data["txt"] == "zero").to_numpy(dtype=float)  # the level that is not first in the alphabet
    slope = np.column_stack([np.zeros_like(one), np.ones_like(one), np.zeros_like(one), one])
    model = fit.to_marginaleffects(data)
    found = me.avg_slopes(model, variables="Var2")
    np.testing.assert_allclose([found["estimate"][0], found["std_error"][0]], by_hand(fit, slope), rtol=DIFFERENCES)
    means = me.avg_predictions(model)
    assert means["estimate"][0] == pytest.approx(fit.predict(re="none").mean(), rel=1e-9)
    assert means["std_error"][0] == pytest.approx(by_hand(fit, fit.spec.design.X)[1], rel=1e-6)
    for other in (polars.from_pandas(data), {name: data[name].to_numpy() for name in data}):
        again = me.avg_predictions(fit.to_marginaleffects(other))
        assert again["estimate"][0] == pytest.approx(means["estimate"][0], rel=1e-9)
    grid = me.predictions(model, newdata=me.datagrid(txt=["one", "zero"], Var2=[1.0]))
    rows = pd.DataFrame({"txt": ["one", "zero"], "Var2": 1.0, "known": data["known"].mean()})
    np.testing.assert_allclose(grid["estimate"], fit.predict(rows, re="none"), rtol=1e-7)


def test_covariances(me):
    data = ranef.datasets.load("sleepstudy")
    fit = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    model = fit.to_marginaleffects(data)
    for asked, own in ((True, fit.vcov), ("CR2", fit.vcov_robust("CR2"))):
        found = me.avg_slopes(model, vcov=asked)["std_error"][0]
        assert found == pytest.approx(np.sqrt(own.loc["Days", "Days"]), rel=DIFFERENCES)
    assert "std_error" not in me.avg_slopes(model, vcov=False).columns
    test, ours = me.hypotheses(model, "b1 = 8"), fit.test("Days = 8")
    assert test["statistic"][0] ** 2 == pytest.approx(ours["statistic"][0], rel=1e-5)
    assert test["p_value"][0] == pytest.approx(ours["p"][0], rel=1e-5)


def test_a_posterior(me):
    data = ranef.datasets.load("sleepstudy")
    fb = ranef.Model("Reaction ~ Days + (1 | Subject)", data).sample(
        draws=100, seed=1, sampler="nutpie", progress=False
    )
    found = me.avg_predictions(fb.to_marginaleffects(data), newdata=me.datagrid(Days=[9.0]))
    at_nine = fb.draws.beta @ [1.0, 9.0]
    assert found["estimate"][0] == pytest.approx(at_nine.mean(), rel=1e-9)
    assert found["std_error"][0] == pytest.approx(at_nine.std(ddof=1), rel=1e-5)


def test_rows_that_lack_something_are_left_out(me):
    data = ranef.datasets.load("sleepstudy").astype({"Days": float})
    data.loc[[0, 20], "Reaction"] = np.nan
    data.loc[50, "Days"] = np.nan
    fit = ranef.Model("Reaction ~ Days + (1 | Subject)", data).fit()
    model = fit.to_marginaleffects(data)
    assert model.get_modeldata().height == fit.spec.n_obs == 177
    assert me.avg_predictions(model)["estimate"][0] == pytest.approx(fit.predict(re="none").mean(), rel=1e-9)
