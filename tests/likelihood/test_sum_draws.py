"""Sums of responses that are drawn without rows: their law is that of responses drawn row by row."""

import numpy as np
import pytest
import scipy

import ranef
from _ranef.likelihood import drawn_sums, read_responses
from likelihood.designs import SHAPES, make_data

CASES = {
    "pulp": ("bright ~ 1 + (1 | operator)", None),
    "slopes": ("Reaction ~ Days + (Days | Subject)", None),
    "nested": ("strength ~ 1 + (1 | batch/cask)", None),
    "crossed": ("y ~ x + (x | a) + (1 | b)", "w"),
}
SETS = {"pulp": "pulp", "slopes": "sleepstudy", "nested": "Pastes"}


def case(name):
    formula, weights = CASES[name]
    data = ranef.datasets.load(SETS[name]) if name in SETS else make_data(11, n=90)
    whole = ranef.Model(formula, data, weights=weights)
    return whole, ranef.Model.from_sums(ranef.sums(formula, data, weights=weights))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "rank-deficient"])
def test_degrees_of_freedom_and_what_x_adds_to_z(name):
    fit = ranef.Model(f"y ~ {SHAPES[name]}", make_data(11), weights="w").fit()
    found, m = drawn_sums(fit.products), fit.matrices
    w = np.sqrt(fit.spec.design.weights)[:, None]
    Z, X = w * m.Z.toarray(), w * m.X.to_numpy() @ fit.products.scaling.X
    assert found.freedom == len(Z) - np.linalg.matrix_rank(np.hstack([Z, X]))
    left = X - Z @ np.linalg.lstsq(Z, X, rcond=None)[0]
    np.testing.assert_allclose(found.root @ found.root.T, left.T @ left, atol=1e-5 * (X**2).sum(axis=0).max(initial=0))


@pytest.mark.parametrize("name", CASES)
def test_without_noise_they_are_the_sums_of_the_response(name):
    fit = case(name)[0].fit()
    rng = np.random.default_rng(1)
    effects = [rng.normal(size=(g.n_levels, len(g.columns), 3)) for g in fit.spec.groupings]
    rngs = [np.random.default_rng(k) for k in range(3)]
    found = drawn_sums(fit.products).draw(fit.fixef.to_numpy(), effects, 0.0, rngs)
    Y = np.repeat(fit.fitted("none").to_numpy()[:, None], 3, axis=1)
    for g, b in zip(fit.spec.groupings, effects, strict=True):
        Y += np.einsum("np,npk->nk", g.Z, b[g.codes])
    read = read_responses(fit.spec, fit.products, Y)
    for ours, theirs in zip(found.Zy, read.Zy, strict=True):
        np.testing.assert_allclose(ours * found.unit, theirs * read.unit, atol=1e-9)
    np.testing.assert_allclose(found.yy * found.unit**2, read.yy * read.unit**2, rtol=1e-9)
    np.testing.assert_allclose(found.unit, read.unit, rtol=1e-9)
    own = fit.products.scaling
    for k in range(3):
        np.testing.assert_allclose(found.scaling(own, k).pilot, read.scaling(own, k).pilot, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("re", ["new", "fitted"])
@pytest.mark.parametrize("name", CASES)
def test_replicates_have_the_law_of_those_with_rows(name, re):
    """Two samples of each estimate, by Kolmogorov and Smirnov; both are of fixed seeds."""
    whole, model = case(name)
    ours, theirs = model.fit().bootstrap(500, seed=1, re=re), whole.fit().bootstrap(500, seed=2, re=re)
    assert ours.failed <= theirs.failed + 5
    for which in ours.replicates:
        found = scipy.stats.ks_2samp(ours.replicates[which].dropna(), theirs.replicates[which].dropna())
        assert found.pvalue > 1e-4, which


def test_of_any_statistic_and_of_a_loaded_fit(tmp_path):
    fit = case("slopes")[1].fit()
    boot = fit.bootstrap(30, lambda fit: fit.icc()["adjusted"], seed=1)
    assert boot.failed == 0
    assert boot.frame["std_error"].between(0.02, 0.3).all()
    again = ranef.load(fit.save(tmp_path / "fit.ranef")).bootstrap(30, seed=1)
    np.testing.assert_allclose(again.replicates, fit.bootstrap(30, seed=1, n_jobs=2).replicates, rtol=1e-9)
    np.testing.assert_allclose(fit.confint(method="bootstrap", n=30, seed=1), again.confint(), rtol=1e-9)
    with pytest.raises(ranef.DesignError, match="rows"):
        fit.bootstrap(10, kind="residual")
