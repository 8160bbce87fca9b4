"""Densities of rows and groups of rows against dense multivariate normals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ranef
from _ranef.errors import FitError
from _ranef.likelihood import (
    RowGroups,
    group_log_densities,
    has_shared_effects,
    left_out_log_densities,
    row_log_densities,
)
from _ranef.results import PosteriorDraws
from _ranef.spec import flat_priors
from oracle import indicator

#: formula, and the factor whose rows make the groups
CASES = {
    "intercept": ("y ~ x + (1 | a)", "a"),
    "slopes": ("y ~ x + (x + z | a)", "a"),
    "two terms": ("y ~ x + (1 | a) + (0 + x | a)", "a"),
    "identical": ("y ~ x + ident(0 + x + z | a)", "a"),
    "outer of nested": ("y ~ x + (x | a / c)", "a"),
    "inner of nested": ("y ~ x + (x | a / c)", "c:a"),
    "top of three": ("y ~ x + (x | a) + (z | a:c) + (1 | a:c:d)", "a"),
    "middle of three": ("y ~ x + (x | a) + (z | a:c) + (1 | a:c:d)", "a:c"),
    "crossed": ("y ~ x + (x | a) + (1 | b)", "a"),
    "crossed, the other": ("y ~ x + (x | a) + (1 | b)", "b"),
    "nested and crossed": ("y ~ x + (1 | a / c) + (z | b)", "a"),
    "crossed within": ("y ~ (1 | a) + (z | a:c) + (1 | a:e)", "a"),
    "no fixed effects": ("y ~ 0 + (x | a)", "a"),
    "partly within": ("y ~ x + (1 | a) + (1 | rare)", "a"),
}


#: the same with structures of residuals, or of a factor whose levels are related
STRUCTURED = {
    "strata": ("y ~ x + (x | a) + (1 | b)", "a", {"variance": ranef.VarIdent("e")}),
    "a power": ("y ~ x + (x | a / c)", "a", {"variance": ranef.VarPower("w")}),
    "compound symmetry": ("y ~ x + (z | a)", "a", {"correlation": ranef.CompSymm(group="a:c")}),
    "autoregression in strata": (
        "y ~ x + (1 | a)",
        "a",
        {"correlation": ranef.AR1(group="a:c"), "variance": ranef.VarIdent("e")},
    ),
    "by distance": ("y ~ x + (1 | a)", "a", {"correlation": ranef.Exponential(["x", "z"], group="a")}),
    "related": ("y ~ x + (x | a)", "a", {"cov": "a"}),
    "shared relatives": ("y ~ x + (1 | a) + (1 | b)", "a", {"cov": "b"}),
    "several relatives each": ("y ~ x + (x | c:a) + (1 | a)", "a", {"cov": "c:a", "variance": ranef.VarIdent("e")}),
}


def make_data(n=90, seed=5):
    rng = np.random.default_rng(seed)
    levels = {"a": 6, "b": 5, "e": 3}
    data = {name: np.concatenate([np.arange(J), rng.integers(0, J, n - J)]) for name, J in levels.items()}
    data |= {"c": rng.integers(0, 3, n), "d": rng.integers(0, 2, n), "x": rng.normal(2.0, 1.0, n)}
    # levels 0 and 1 of `rare` occur in one level of a each, level 2 everywhere
    data["rare"] = np.where(data["a"] == 0, 0, np.where((data["a"] == 1) & (data["b"] < 3), 1, 2))
    data |= {"z": rng.normal(size=n), "w": rng.uniform(0.5, 2.0, n), "o": rng.normal(size=n)}
    return pd.DataFrame(data | {"y": 3.0 + rng.normal(size=n) + rng.normal(size=6)[data["a"]]})


def made_up(spec, priors, chains=2, draws=4, **changes):
    """Draws without a sampler: scattered values, which any formula must hold for."""
    rng = np.random.default_rng(3)
    least_squares = np.linalg.lstsq(spec.design.X, spec.design.y, rcond=None)[0]
    return PosteriorDraws(
        theta=rng.normal(0.0, 0.7, (chains, draws, spec.n_theta)),
        sigma=rng.uniform(0.5, 1.5, (chains, draws)),
        beta=least_squares + 0.3 * rng.normal(size=(chains, draws, spec.n_fixed)),
        b=tuple(0.5 * rng.normal(size=(chains, draws, g.n_levels, len(g.columns))) for g in spec.groupings),
        sample_stats={},
        parameterization="marginal",
        priors=flat_priors(spec) if priors is None else priors,
        seed=3,
        warmup=0,
        seconds=0.0,
        complete=True,
        **changes,
    )


def groups_of(spec, name):
    (g,) = (g for g in spec.groupings if g.name == name)
    return RowGroups(g.name, g.codes, list(g.levels))


def related(formula, name):
    """A covariance of no special kind among the levels of a factor."""
    (g,) = (g for g in ranef.Model(formula, make_data()).spec.groupings if g.name == name)
    root = np.random.default_rng(4).normal(size=(g.n_levels, g.n_levels)) / 2.0
    return {name: pd.DataFrame(root @ root.T + np.eye(g.n_levels), g.levels, g.levels)}


@pytest.fixture(params=[*CASES, *STRUCTURED])
def case(request):
    formula, name, *given = (CASES | STRUCTURED)[request.param]
    given = dict(*given)
    if "cov" in given:
        given["cov"] = related(formula, given["cov"])
    model = ranef.Model(formula, make_data(), weights="w", offset="o", **given)
    spec = model.spec
    rho = 0.5 * np.random.default_rng(2).normal(size=(2, 4, len(spec.rho_names)))
    return spec, made_up(spec, model.priors(), extras={"rho": rho} if spec.rho_names else {}), groups_of(spec, name)


def conditional_on_shared(spec, draws, groups, c, d):
    """What is left of y beside the effects that reach over several groups, and the covariance of the others."""
    known = spec.with_rho(draws.extras["rho"][c, d]) if "rho" in draws.extras else spec
    r = spec.design.y - (0.0 if spec.design.offset is None else spec.design.offset)
    V = known.residual.covariance().toarray()
    for g, lam, b in zip(spec.groupings, spec.lambdas(draws.theta[c, d]), draws.b, strict=True):
        p, drawn = len(g.columns), b[c, d].ravel()
        K = np.eye(g.n_levels) if g.root is None else g.root @ g.root.T
        D, Z = np.kron(K, lam @ lam.T), indicator(g)
        homes = [set(groups.codes[g.codes == level]) for level in range(g.n_levels)]
        shared = np.repeat([len(home) != 1 for home in homes], p)
        r = r - Z[:, shared] @ drawn[shared]
        for j in range(groups.size):
            own = np.repeat([home == {j} for home in homes], p)
            across = D[np.ix_(own, ~own)] @ np.linalg.pinv(D[np.ix_(~own, ~own)], rcond=1e-12)
            r = r - Z[:, own] @ across @ drawn[~own]
            V = V + Z[:, own] @ (D[np.ix_(own, own)] - across @ D[np.ix_(~own, own)]) @ Z[:, own].T
    return r, draws.sigma[c, d] ** 2 * V


def test_groups_given_beta(case):
    spec, draws, groups = case
    found = group_log_densities(spec, draws, groups)
    assert found.shape == (2, 4, groups.size)
    for c, d in ((0, 0), (1, 2)):
        r, V = conditional_on_shared(spec, draws, groups, c, d)
        r = r - spec.design.X @ draws.beta[c, d]
        for j in range(groups.size):
            own = groups.codes == j
            expected = stats.multivariate_normal.logpdf(r[own], cov=V[np.ix_(own, own)])
            assert found[c, d, j] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_groups_given_the_other_rows(case):
    """log p(y) − log p(y without group), each one multivariate normal with β integrated."""
    spec, draws, groups = case
    if spec.related:
        return  # then β is not integrated
    rng = np.random.default_rng(1)
    p = spec.n_fixed
    root = rng.normal(size=(p, p)) / 3.0
    V0, m0 = root @ root.T + np.eye(p), rng.normal(size=p)
    K = np.linalg.inv(V0)
    found = left_out_log_densities(spec, draws, groups, K, K @ m0)
    for c, d in ((0, 1), (1, 3)):
        r, V = conditional_on_shared(spec, draws, groups, c, d)
        r, V = r - spec.design.X @ m0, V + spec.design.X @ V0 @ spec.design.X.T
        whole = stats.multivariate_normal.logpdf(r, cov=V)
        for j in range(groups.size):
            other = groups.codes != j
            expected = whole - stats.multivariate_normal.logpdf(r[other], cov=V[np.ix_(other, other)])
            assert found[c, d, j] == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_flat_priors_are_the_limit_of_wide_ones():
    spec = ranef.Model("y ~ x + (x | a)", make_data()).spec
    draws = made_up(spec, None)
    groups = groups_of(spec, "a")
    flat = left_out_log_densities(spec, draws, groups, np.zeros((2, 2)), np.zeros(2))
    wide = left_out_log_densities(spec, draws, groups, 1e-10 * np.eye(2), np.zeros(2))
    np.testing.assert_allclose(flat, wide, atol=1e-6)


def test_a_coefficient_that_one_group_alone_determines():
    data = make_data()
    spec = ranef.Model("y ~ x + only + (1 | a)", data.assign(only=(data["a"] == 4).astype(float))).spec
    draws, groups = made_up(spec, None), groups_of(spec, "a")
    with pytest.raises(FitError, match=r"Without the rows of a='4' a coefficient is not determined"):
        left_out_log_densities(spec, draws, groups, np.zeros((3, 3)), np.zeros(3))
    proper = left_out_log_densities(spec, draws, groups, np.diag([0.0, 0.0, 1.0]), np.zeros(3))
    assert np.isfinite(proper).all()


def test_a_large_offset_of_the_response_costs_no_digits():
    data = make_data()
    spec, moved = (ranef.Model("y ~ x + (x | a / c)", data.assign(y=data["y"] + s)).spec for s in (0, 1e6))
    draws = made_up(spec, None)
    shifted = made_up(moved, None)
    groups = groups_of(spec, "a")
    np.testing.assert_allclose(
        group_log_densities(spec, draws, groups), group_log_densities(moved, shifted, groups), rtol=1e-7
    )


def test_blocks_of_draws_change_nothing(monkeypatch):
    spec = ranef.Model("y ~ x + (x | a) + (1 | b)", make_data()).spec
    draws, groups = made_up(spec, None), groups_of(spec, "a")
    whole = group_log_densities(spec, draws, groups)
    monkeypatch.setattr("_ranef.likelihood.group_problem.BLOCK_ENTRIES", 1)
    np.testing.assert_allclose(group_log_densities(spec, draws, groups), whole, rtol=1e-12)
    assert has_shared_effects(spec, groups)
    assert not has_shared_effects(ranef.Model("y ~ x + (x | a)", make_data()).spec, groups)


def test_a_partition_that_the_model_does_not_know():
    """Without random effects a group is its rows, one by one."""
    spec = ranef.Model("y ~ x", make_data()).spec
    draws = made_up(spec, None)
    groups = RowGroups("a", make_data()["a"].to_numpy(), [str(j) for j in range(6)])
    rows = row_log_densities(spec, draws)
    expected = np.stack([rows[:, :, groups.codes == j].sum(axis=2) for j in range(6)], axis=2)
    np.testing.assert_allclose(group_log_densities(spec, draws, groups), expected, rtol=1e-10)


def test_rows_of_a_student_response():
    spec = ranef.Model("y ~ x + (x | a)", make_data(), weights="w", offset="o").spec
    draws = made_up(spec, None, family="student", extras={"nu": np.full((2, 4), 4.5)})
    c, d = 1, 2
    mean = spec.design.X @ draws.beta[c, d] + spec.design.offset
    mean = mean + (spec.groupings[0].Z * draws.b[0][c, d][spec.groupings[0].codes]).sum(axis=1)
    scale = draws.sigma[c, d] / np.sqrt(spec.design.weights)
    expected = stats.t.logpdf(spec.design.y, 4.5, mean, scale)
    np.testing.assert_allclose(row_log_densities(spec, draws)[c, d], expected)
    np.testing.assert_allclose(row_log_densities(spec, draws, slice(5, 9))[c, d], expected[5:9])
    with pytest.raises(FitError, match=r"Student t in this model: the response.*kind='conditional'"):
        group_log_densities(spec, draws, groups_of(spec, "a"))
