"""Levels of generalised responses alone, pooled and on the way, against maximisers that know one level at a time."""

from functools import cache

import numpy as np
import pytest
from scipy.optimize import minimize

import ranef
from _ranef.comparison import linked_base, linked_sweep
from _ranef.inference import dispersions_of, laplace_at
from generalised import MODELS, log_density

CASES = ["logit", "cloglog", "size", "nested", "crossed"]


@cache
def fit_of(name):
    dataset, formula, family, link = MODELS[name]
    return ranef.Model(formula, ranef.datasets.load(dataset), family=family, link=link).fit()


@cache
def pooled_of(name):
    return ranef.pooling(fit_of(name))


def penalised(fit, k, j, scale):
    """Effects of one level that maximise its rows' density less a penalty, by BFGS on scipy's densities."""
    spec, g = fit.spec, fit.spec.groupings[k]
    offset = 0.0 if spec.design.offset is None else spec.design.offset
    rest = spec.design.X @ fit.estimates.beta + offset
    for i, other in enumerate(spec.groupings):
        if i != k:
            rest = rest + np.einsum("na,na->n", other.Z, fit.estimates.modes[i].values[other.codes])
    own = g.codes == j
    lam = spec.lambdas(fit.estimates.theta)[k]
    precision = np.linalg.inv(lam @ lam.T) / scale**2
    values = dispersions_of(fit.estimates)

    def height(b):
        eta = rest.copy()
        eta[own] += g.Z[own] @ b
        return -log_density(spec, eta, values)[own].sum() + 0.5 * b @ precision @ b

    found = minimize(height, np.zeros(g.Z.shape[1]), method="BFGS", options={"gtol": 1e-7})
    return found.x


@pytest.mark.parametrize("name", CASES)
def test_every_scale_maximises_each_levels_own_penalised_density(name):
    fit = fit_of(name)
    base = linked_base(laplace_at(fit.spec, fit.estimates), fit.estimates.theta)
    k = len(fit.spec.groupings) - 1
    sweep = linked_sweep(base, k, np.array([0.4, 3.0]))
    for s, scale in enumerate(sweep.scales):
        # 1e-4: where descents by differences end
        np.testing.assert_allclose(sweep.b[s, 3], penalised(fit, k, 3, scale), atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_ends_and_middle_of_the_path(name):
    """Zero, the conditional modes of all factors together, and what a level's rows say alone."""
    pooled = pooled_of(name)
    frame, path = pooled.frame, pooled.path(scales=[0.0, 1.0, np.inf])
    for scale, column in ((0.0, "complete"), (1.0, "partial"), (np.inf, "no_pooling")):
        at = path[path["scale"] == scale].sort_values(["group", "level", "term"])
        # 1e-7: the modes of all factors were found together, to a decrement of 1e-10
        expected = frame.sort_values(["group", "level", "term"])[column]
        np.testing.assert_allclose(at["estimate"], expected, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(frame["partial"], fit_of(name).ranef()["estimate"])
    nearly = pooled.path(scales=[300.0])
    known = np.isfinite(frame["no_pooling"].to_numpy())
    if known.any():  # broods are of one height, so that none determines two effects
        apart = (nearly["estimate"] - frame["no_pooling"])[known]
        assert np.median(np.abs(apart)) < 1e-3 * np.median(np.abs(frame["no_pooling"][known]))


def test_reliability_is_laplaces():
    """1 − conditional over prior variance, where a level has one effect of the only factor."""
    fit = fit_of("logit")
    shares = 1.0 - fit.ranef()["sd"] ** 2 / fit.varcorr["vcov"].iloc[0]
    np.testing.assert_allclose(pooled_of("logit").frame["reliability"], shares, rtol=1e-10)
    matrix = pooled_of("logit").reliability_matrix("herd", "3")
    np.testing.assert_allclose(matrix.to_numpy().ravel(), shares.iloc[2])


def test_levels_at_one_end_have_no_finite_estimate_alone():
    data = {"y": [0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 1], "g": list("aaabbbcccdd")}
    fit = ranef.Model("y ~ 1 + (1 | g)", data, family="binomial").fit()
    alone = ranef.pooling(fit).coef.set_index("level")["no_pooling"]
    assert alone["a"] == -np.inf
    assert alone["c"] == np.inf
    np.testing.assert_allclose(alone[["b", "d"]], [np.log(2.0), 0.0], atol=1e-8)
    shown = ranef.compare({"one": fit, "two": fit})
    assert "inf" in str(shown).replace("∞", "inf")
    assert shown.to_dict()["random_effects"][0]["no_pooling"] is None
    ax = fit.plot.shrinkage()
    arrows = {line.get_marker() for line in ax.lines} & {"<", ">"}
    assert arrows == {"<", ">"}


def test_slopes_along_which_a_level_is_separated():
    """Of two effects those are infinite that have to move; a level of one row determines none."""
    rng = np.random.default_rng(1)
    x, g = np.tile(np.linspace(-1, 1, 8), 12), np.repeat([f"g{j:02d}" for j in range(12)], 8)
    y = rng.random(96) < 1 / (1 + np.exp(-x - np.repeat(rng.normal(size=12), 8)))
    y[:8] = x[:8] > 0.2  # separated by x
    data = {"y": [*y.astype(int), 1], "x": [*x, 0.3], "g": [*g, "single"]}
    frame = ranef.pooling(ranef.Model("y ~ x + (1 + x | g)", data, family="binomial").fit()).frame
    own = frame.set_index(["level", "term"])["no_pooling"]
    assert own["g00", "x"] == np.inf
    assert own[["single"]].isna().all()
    assert (frame.loc[frame["level"] == "single", "reliability"] == 0).all()


def test_other_order_of_rows_and_names():
    data = ranef.datasets.load("cbpp")
    other = data.sample(frac=1.0, random_state=1)
    other["herd"] = "h" + other["herd"].astype(str)
    formula = MODELS["logit"][1]
    again = ranef.pooling(ranef.Model(formula, other, family="binomial").fit()).frame.set_index("level")
    frame = pooled_of("logit").frame
    again = again.loc["h" + frame["level"].astype(str)]
    for column in ("no_pooling", "partial", "reliability"):
        np.testing.assert_allclose(again[column], frame[column], rtol=1e-6)


def test_what_pooling_is_not_of():
    fit = fit_of("logit")
    with pytest.raises(ranef.DesignError, match="no random effects"):
        ranef.pooling(ranef.Model("TICKS ~ YEAR", ranef.datasets.load("grouseticks"), family="poisson"))
    with pytest.raises(ranef.DesignError, match="one of each kind"):
        ranef.pooling(fit, fit)
    with pytest.raises(AttributeError, match="Gaussian responses"):
        pooled_of("logit").at(scale=1.0)
    for what in ("lines", "joint", "acf", "residual_sd"):
        with pytest.raises(ranef.NotAvailableError, match="is for Gaussian responses"):
            getattr(fit.plot, what)()


def test_saved_and_loaded(tmp_path):
    pooled = pooled_of("logit")
    again = ranef.load(pooled.save(tmp_path / "p.ranef"))
    np.testing.assert_array_equal(again.frame["no_pooling"], pooled.frame["no_pooling"])
