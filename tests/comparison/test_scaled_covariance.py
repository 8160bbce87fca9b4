"""The path of the whole covariance: its ends and its middle are the columns of `pooling`, whatever the design."""

import numpy as np
import pandas as pd
import pytest

import oracle
import ranef
import registry
from _ranef.comparison.reliability import own_data
from _ranef.comparison.scaled_covariance import scaled_covariance
from _ranef.structures import lower_root
from likelihood.designs import SHAPES, make_data

SLEEP = "Reaction ~ Days + (Days | Subject)"

#: of every kind: correlated and independent slopes, crossed, nested, weights, singular, levels that lack a column
QUICK = (
    *("sleep_rs", "sleep_uncor", "sleep_weights_ml_offset", "penicillin", "pastes_slash", "cake_slope", "btheb"),
    *("dyestuff2_reml", "crossed_small_slope", "machines_factor_dbl", "sleep_factor_slope", "orthodont_sexslope"),
)

#: rows up to which a reference is fitted here
ROWS = 20_000


def ends_are_those_of_pooling(pooled):
    """Along `path` and `at`: complete, partial and no pooling, as deviations and with the fixed effects."""
    frame, coef = pooled.frame, pooled.coef
    path = pooled.path(scales=[0.0, 1.0, np.inf]).set_index(["scale", "group", "level", "term"])
    keys = pd.MultiIndex.from_frame(frame[["group", "level", "term"]])
    for scale, column in ((0.0, "complete"), (1.0, "partial"), (np.inf, "no_pooling")):
        at, along = pooled.at(scale=scale), path.loc[scale].loc[keys]
        size = frame[column].abs().groupby([frame["group"], frame["term"]]).transform("max").fillna(1.0) + 1e-9
        for found in (at.frame["partial"], along["estimate"]):
            error = (found.to_numpy() - frame[column].to_numpy()) / size
            np.testing.assert_allclose(error[frame[column].notna()], 0.0, atol=1e-10)
            np.testing.assert_array_equal(np.isnan(found), frame[column].isna())
        if column != "no_pooling" or frame[column].notna().all():
            np.testing.assert_allclose(along["coef"], coef[column], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(at.coef["partial"], along["coef"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(at.coef["complete"], coef["complete"])
        np.testing.assert_allclose(at.frame["reliability"], along["reliability"], rtol=1e-12)
        # what its rows do not determine is never left to a level, the rest is all its own at the end
        if column != "partial":
            known = frame["no_pooling"].notna() & (scale > 0)
            np.testing.assert_array_equal(at.frame["reliability"], known.astype(float))


@pytest.mark.parametrize("case", QUICK)
def test_ends(case):
    ends_are_those_of_pooling(ranef.pooling(registry.fit(case)))


@pytest.mark.slow
@pytest.mark.parametrize("case", registry.FITTED)
def test_ends_of_every_reference(case):
    fit = registry.fit(case)
    if fit.spec.terms and fit.spec.n_obs <= ROWS:
        ends_are_those_of_pooling(ranef.pooling(fit))


def test_sleepstudy_309():
    """Its own line has a slope of 2.26, 8.21 below the population's; one sd alone, infinite, left it at −10.19."""
    pooled = ranef.pooling(ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")))
    path = pooled.path(n=3).query("level == '309' and term == 'Days'")
    assert path["estimate"].round(2).tolist()[::2] == [0.0, -8.21]
    assert path["coef"].round(2).tolist()[::2] == [10.47, 2.26]
    alone = pooled.path(term="Days", n=3).query("level == '309'")
    assert alone["estimate"].round(2).tolist()[-1] == -10.19
    assert "scale" not in alone


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_between_the_ends(name, scale):
    """b̂ = D ZᵀV⁻¹r with V of one factor and the residuals, r freed of β̂ and other factors, by dense algebra."""
    model = ranef.Model(f"y ~ {SHAPES[name]}", make_data(5), weights="w")
    spec, theta = model.spec, oracle.interior(model.spec, 4)
    pooled = ranef.pooling(model)
    at, beta = pooled.at(theta, scale=scale), np.asarray(pooled.at(theta).fixef)
    design, w, effects = spec.design, spec.design.weights, oracle.effects(spec, theta)[1]
    blocks = [oracle.indicator(g) for g in spec.groupings]
    for k, g in enumerate(spec.groupings):
        others = sum(
            (Z @ b.ravel() for l, (Z, b) in enumerate(zip(blocks, effects, strict=True)) if l != k), np.zeros(1)
        )
        left = design.y - design.X @ beta - others
        lam = spec.lambdas(theta)[k]
        D = scale**2 * np.kron(np.eye(g.n_levels), lam @ lam.T)
        expected = D @ blocks[k].T @ np.linalg.solve(np.diag(1 / w) + blocks[k] @ D @ blocks[k].T, left)
        found = at.frame.loc[at.frame["group"] == g.name, "partial"]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(at.theta, scale * theta * np.sign(at.theta * theta), rtol=1e-9, atol=1e-12)
    assert at.criterion == pytest.approx(pooled.at(scale * theta).criterion, rel=1e-10)
    np.testing.assert_array_equal(at.fixef, beta)


@pytest.mark.parametrize(
    ("formula", "theta"),
    [
        ("y ~ x + (x | a)", [0.8, 0.4, 0.0]),
        ("y ~ x + (x | a)", [0.0, 0.0, 0.5]),
        ("y ~ x + (x | a)", [0.0, 0.0, 0.0]),
        ("y ~ x + (x || a)", [0.7, 0.0]),
        ("y ~ x + ident(x | a)", [0.0]),
        ("y ~ x + (1 | a) + (0 + x + z | a)", [0.0, 0.3, 0.1, 0.0]),
    ],
)
def test_a_singular_covariance(formula, theta):
    """It is passed at s = 1, has its structure beyond, moves without a jump, and ends at no pooling all the same."""
    model = ranef.Model(formula, make_data(5))
    pooled, theta = ranef.pooling(model), np.array(theta)
    here, none = pooled.at(theta), pooled.at(theta, scale=np.inf)
    np.testing.assert_allclose(pooled.at(theta, scale=1.0).frame["partial"], here.frame["partial"], atol=1e-9)
    np.testing.assert_allclose(none.frame["partial"], here.frame["no_pooling"], rtol=1e-9)
    assert np.isinf(none.theta).any()
    near = pooled.at(theta, scale=1 + 1e-9).frame["partial"] - here.frame["partial"]
    far = pooled.at(theta, scale=1e6).frame["partial"] - none.frame["partial"]
    assert max(near.abs().max(), far.abs().max()) < 1e-6
    beyond = pooled.at(theta, scale=2.0)
    scaled = scaled_covariance(model.spec, 0, model.spec.lambdas(theta)[0], own_data(model.likelihood())[0])
    assert scaled.singular
    lam = model.spec.lambdas(np.asarray(beyond.theta))[0]
    estimate, lacking = (root @ root.T for root in (scaled.root, scaled.missing))
    np.testing.assert_allclose(lam @ lam.T, 4 * estimate + 3 * lacking, atol=1e-9)
    assert np.linalg.matrix_rank(estimate + lacking) == len(lam)


def test_what_a_singular_covariance_lacks_does_not_know_the_origin_or_unit_of_a_covariate():
    """With x moved and scaled, and D̂ with it, the path is the same curve in the same lines."""
    data = make_data(5)
    lam, slope = np.array([[0.8, 0.0], [0.4, 0.0]]), 0.01
    moved = data.assign(x=(data["x"] - 2000.0) / slope)
    change = np.array([[1.0, 2000.0], [0.0, slope]])  # of intercepts and slopes: b_new = change b
    one, other = (ranef.pooling(ranef.Model("y ~ x + (x | a)", d)) for d in (data, moved))
    theta = other.spec.theta_of([lower_root(change @ lam)])
    for scale in (0.5, 1.5, 8.0):
        first, second = one.at([0.8, 0.4, 0.0], scale=scale), other.at(theta, scale=scale)
        b = first.frame["partial"].to_numpy().reshape(-1, 2)
        np.testing.assert_allclose(
            second.frame["partial"].to_numpy().reshape(-1, 2), b @ change.T, rtol=1e-4, atol=1e-3
        )


def test_every_place_moves_towards_the_ends():
    """With one random intercept all levels go straight from the population to their own means."""
    pooled = ranef.pooling(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")))
    found = pooled.sweep(n=11)
    np.testing.assert_allclose(found.position(found.scales), np.linspace(0, 1, 11), atol=1e-12)
    np.testing.assert_allclose(np.diff(found.b[:, :, 0], 2, axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(found.ratios[:, 0], found.scales * pooled.ratios["estimate"].item())
    np.testing.assert_allclose(
        found.reliability[:, :, 0], found.position(found.scales)[:, None] * np.ones(4), atol=1e-12
    )
    half = pooled.at(scale=found.half)
    np.testing.assert_allclose(half.frame["reliability"], 0.5)


def test_factors_move_alone_or_together():
    pooled = ranef.pooling(ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")))
    one, both = pooled.at(scale=3.0, group="sample"), pooled.at(scale=3.0)
    plate = pooled.frame["group"] == "plate"
    np.testing.assert_array_equal(one.frame.loc[plate, "partial"], pooled.frame.loc[plate, "partial"])
    np.testing.assert_array_equal(one.frame.loc[~plate, "partial"], both.frame.loc[~plate, "partial"])
    np.testing.assert_allclose(one.theta / pooled.eb.theta, [1.0, 3.0])
    np.testing.assert_allclose(both.theta / pooled.eb.theta, [3.0, 3.0])
    assert pooled.path("sample", n=4)["group"].unique().tolist() == ["sample"]
    assert ranef.pooling(pooled.eb, group="sample").path(n=2)["group"].unique().tolist() == ["sample"]


def test_wrong_questions():
    pooled = ranef.pooling(ranef.Model(SLEEP, ranef.datasets.load("sleepstudy")))
    for wrong in (-1.0, np.nan, "much", None):
        with pytest.raises(ranef.DesignError, match="from 0 to infinity"):
            pooled.path(scales=[wrong])
    with pytest.raises(ranef.DesignError, match=r"scale=-1.0 must be a number from 0 to infinity"):
        pooled.at(scale=-1.0)
    with pytest.raises(ranef.DesignError, match=r"n=1 must be a whole number"):
        pooled.path(n=1)
    for call in (
        lambda: pooled.at(scale=1.0, ratio=1.0),
        lambda: pooled.at(scale=1.0, term="Days"),
        lambda: pooled.path(scales=[1.0], term="Days"),
        lambda: pooled.sweep(scales=[1.0], ratios=[1.0]),
    ):
        with pytest.raises(ranef.DesignError, match="does not go with"):
            call()
