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
        draws=100, seed=1, sampler="direct", progress=False
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


HERDS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def delta(fit, x, mean, slope):
    """Mean over rows of X, and its standard error from vcov through a link."""
    eta = x @ fit.fixef.to_numpy()
    gradient = (slope(eta)[:, None] * x).mean(axis=0)
    return [mean(eta).mean(), np.sqrt(gradient @ fit.vcov.to_numpy() @ gradient)]


def share(eta):
    return 1.0 / (1.0 + np.exp(-eta))


def share_slope(eta):
    return share(eta) * share(-eta)


@pytest.mark.parametrize("engine", ["Laplace", "draws"])
def test_means_behind_a_link_by_the_delta_method(me, engine):
    data = ranef.datasets.load("cbpp")
    model = ranef.Model(HERDS, data, family="binomial")
    fit = model.fit() if engine == "Laplace" else model.sample(draws=100, seed=1, sampler="direct", progress=False)
    theirs = fit.to_marginaleffects(data)
    found = me.avg_predictions(theirs)
    own = delta(fit, fit.spec.design.X, share, share_slope)
    np.testing.assert_allclose([found["estimate"][0], found["std_error"][0]], own, rtol=1e-5)
    link = me.predictions(fit.to_marginaleffects(data, type="link"), newdata=me.datagrid(period=["4"]))
    x = np.array([1.0, 0.0, 0.0, 1.0])
    assert link["estimate"][0] == pytest.approx(x @ fit.fixef, rel=1e-9)
    assert link["std_error"][0] == pytest.approx(np.sqrt(x @ fit.vcov.to_numpy() @ x), rel=1e-6)


def test_means_and_ratios_are_those_of_emmeans(me):
    data = ranef.datasets.load("cbpp")
    fit = ranef.Model(HERDS, data, family="binomial").fit()
    grid = me.predictions(fit.to_marginaleffects(data), newdata=me.datagrid(period=["1", "2", "3", "4"]))
    ours = ranef.emmeans(fit, "period", type="response").frame
    for name, own in (("estimate", "estimate"), ("std_error", "std_error")):
        np.testing.assert_allclose(grid[name], ours[own], rtol=1e-6)


def test_comparisons_and_offsets_of_counts(me):
    data = ranef.datasets.load("grouseticks").assign(area=lambda d: np.log(1.0 + d["INDEX"].astype(int) % 3))
    fit = ranef.Model("TICKS ~ cHEIGHT + offset(area) + (1 | BROOD)", data, family="poisson").fit()
    at = {height: np.mean(np.exp(fit.fixef @ [1.0, height] + data["area"])) for height in (0.0, 50.0)}
    gradient = np.array([at[50.0] - at[0.0], 50.0 * at[50.0]])
    for asked, vcov in ((True, fit.vcov), ("CR1", fit.vcov_robust("CR1"))):
        found = me.avg_comparisons(fit.to_marginaleffects(data), variables={"cHEIGHT": [0.0, 50.0]}, vcov=asked)
        own = [at[50.0] - at[0.0], np.sqrt(gradient @ vcov.to_numpy() @ gradient)]
        np.testing.assert_allclose([found["estimate"][0], found["std_error"][0]], own, rtol=1e-5)


def test_probabilities_of_classes_count_their_thresholds(me):
    data = ranef.datasets.load("sleepstudy").assign(slow=lambda d: (d["Reaction"] // 60).astype(int).clip(3, 6))
    fit = ranef.Model("slow ~ Days + (1 | Subject)", data, family="ordinal").fit()
    model = fit.to_marginaleffects(data)
    found = me.predictions(model, newdata=me.datagrid(Days=[0]))
    probabilities = fit.predict(pd.DataFrame({"Days": [0]}), re="none").iloc[0]
    by_class = dict(zip(found["group"], found["estimate"], strict=True))
    assert by_class == pytest.approx(probabilities.to_dict(), rel=1e-9)
    # on day 0 the first class has F(α₁) and the last 1 − F(α₃), whose standard errors tidy() has
    errors = fit.tidy().set_index("term").loc[fit.thresholds.index, "std_error"].to_numpy()
    ends = share_slope(fit.thresholds.to_numpy()) * errors
    std_error = dict(zip(found["group"], found["std_error"], strict=True))
    assert [std_error["3"], std_error["6"]] == pytest.approx([ends[0], ends[-1]], rel=1e-5)
    with pytest.raises(NotAvailableError, match="probabilities of classes need thresholds"):
        me.avg_predictions(model, vcov="CR1")


def test_a_posterior_of_classes(me):
    data = ranef.datasets.load("sleepstudy").assign(slow=lambda d: (d["Reaction"] // 60).astype(int).clip(3, 6))
    made = ranef.Model("slow ~ Days + (1 | Subject)", data, family="ordinal")
    posterior = made.sample(draws=200, seed=1, sampler="direct", progress=False)
    found = me.predictions(posterior.to_marginaleffects(data), newdata=me.datagrid(Days=[0]))
    drawn = share(-posterior.draws.beta[..., 0])  # of the first class
    first = found.filter(polars.col("group") == "3")
    # at the mean of logits, by the delta method: of a spread of 0.7 it is a tenth more than that of the probabilities
    assert first["estimate"][0] == pytest.approx(share(-posterior.fixef.iloc[0]), rel=1e-9)
    assert first["std_error"][0] == pytest.approx(drawn.std(), rel=0.15)


def test_a_scale_that_is_none(me):
    with pytest.raises(ranef.RanefError, match="'response'"):
        fit_of("bright ~ 1 + (1 | operator)", "pulp").to_marginaleffects(ranef.datasets.load("pulp"), type="mean")
