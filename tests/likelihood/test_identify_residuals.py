"""Parameters of residuals that the data leave open, or that end at an edge: beside the dense V and its criterion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import random_structures
import ranef
from _ranef.likelihood import at_edge, undetermined_with_rho
from _ranef.reml import fit_structured
from oracle import dense, jacobian


def rows(groups=12, size=4, seed=1) -> pd.DataFrame:
    """Groups of an autoregression with an intercept of their own, in strata and at two values of a covariate."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(groups, size))
    for i in range(1, size):
        e[:, i] = 0.4 * e[:, i - 1] + np.sqrt(0.84) * e[:, i]
    n = groups * size
    d = pd.DataFrame({"g": np.repeat(np.arange(groups), size), "t": np.tile(np.arange(size), groups)})
    d["x"], d["s"] = rng.normal(size=n), rng.permutation(np.resize(list("abc"), n))
    d["y"] = 1 + 0.5 * d["x"] + rng.normal(size=groups)[d["g"]] + e.ravel()
    d["two"], d["w"] = np.where(d["s"] == "a", "u", "v"), np.where(d["s"] == "a", 1.0, 2.5)
    d["k"], d["q"] = np.where(d.index < 2, d.index.astype(str), "rest"), np.where(d.index < 2, "p", "r")
    return d.astype({"g": str})


AR1, SYMM = ranef.AR1("t", group="g"), ranef.Symm("t", group="g")

#: what stands twice in a model: its rows and arguments, the methods that leave something open, and whether θ has a part
OPEN = {
    "an intercept and all correlations": ((12, 4), "y ~ x + (1 | g)", {"correlation": SYMM}, ("REML", "ML"), True),
    "an intercept and AR1 in pairs": ((30, 2), "y ~ x + (1 | g)", {"correlation": AR1}, ("REML", "ML"), True),
    "slopes and a whole covariance": (
        (20, 3),
        "y ~ x + (t | g)",
        {"correlation": SYMM, "variance": ranef.VarIdent("t")},
        ("REML", "ML"),
        True,
    ),
    "two variances of two strata": (
        (12, 4),
        "y ~ x + (1 | g)",
        {"variance": ranef.VarIdent("two") * ranef.VarPower("w")},
        ("REML", "ML"),
        False,
    ),
    "a stratum that fixed effects fit": ((12, 4), "y ~ x + k", {"variance": ranef.VarIdent("q")}, ("REML",), False),
}

#: siblings of them that are determined
DETERMINED = {
    "an intercept and AR1": ((20, 3), "y ~ x + (1 | g)", {"correlation": AR1}),
    "all correlations": ((12, 4), "y ~ x", {"correlation": SYMM, "variance": ranef.VarIdent("t")}),
    "an intercept and strata": ((12, 4), "y ~ x + (1 | g)", {"variance": ranef.VarIdent("s")}),
    "strata and power": ((12, 4), "y ~ x", {"variance": ranef.VarIdent("s") * ranef.VarPower("t + 1")}),
    "negative or not": ((12, 4), "y ~ x", {"correlation": ranef.CompSymm(group="g")}),
    "two parts of an ARMA": ((6, 12), "y ~ x + (1 | g)", {"correlation": ranef.ARMA(1, 1, "t", group="g")}),
    "range and nugget": ((6, 8), "y ~ x", {"correlation": ranef.Exponential("t", group="g", nugget=True)}),
}


def least_direction(spec, method):
    """Least singular value of the slopes of V, beside V itself, as error contrasts see them: zero if all is open."""
    m = spec.n_theta
    at = np.r_[np.linspace(0.6, 1.3, m), spec.rho_start + np.linspace(0.2, 0.5, len(spec.rho_names))]

    def seen(values):
        own = dense(spec.with_rho(values[m:]), values[:m], method)
        S = np.linalg.svd(own.X)[0][:, own.X.shape[1] :] if method == "REML" else np.eye(len(own.y))
        return (S.T @ own.V @ S).ravel()

    columns = np.column_stack([*jacobian(seen, at).T, seen(at)])
    return np.linalg.svd(columns / np.linalg.norm(columns, axis=0), compute_uv=False)[-1]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", OPEN)
def test_what_stands_twice_is_open(name, method):
    size, formula, structures, methods, with_theta = OPEN[name]
    spec = ranef.Model(formula, rows(*size), **structures).spec
    found = undetermined_with_rho(spec, method)
    if method not in methods:
        assert not found.any()
        assert least_direction(spec, method) > 1e-4
        return
    assert least_direction(spec, method) < 1e-7  # differences of V
    assert found[spec.n_theta :].all()
    assert found[: spec.n_theta].any() == with_theta


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", DETERMINED)
def test_what_stands_once_is_not(name, method):
    size, formula, structures = DETERMINED[name]
    spec = ranef.Model(formula, rows(*size), **structures).spec
    assert not undetermined_with_rho(spec, method).any()
    assert least_direction(spec, method) > 1e-4


def test_of_many_rows_some_groups_say_it():
    spec = ranef.Model("y ~ x + (1 | g)", rows(3000), correlation=AR1).spec
    assert not undetermined_with_rho(spec, "REML").any()
    spec = ranef.Model("y ~ x + (1 | g)", rows(6000, 2), correlation=AR1).spec
    assert undetermined_with_rho(spec, "REML").all()


@pytest.mark.parametrize("name", OPEN)
def test_the_fit_says_so(name):
    size, formula, structures, _, _ = OPEN[name]
    model = ranef.Model(formula, rows(*size), **structures)
    with pytest.warns(ranef.ConvergenceWarning, match="do not determine"):
        fit = model.fit()
    assert fit.status == "not identified"
    assert set(fit.spec.rho_names) <= set(fit.optimizer.undetermined)


#: random designs whose ρ ends at an edge, all of it or the part named
AT_EDGE = {7: None, 8: ["nugget"], 9: None, 10: ["range"], 11: None}


@pytest.mark.parametrize("k", AT_EDGE)
def test_from_an_edge_on_the_criterion_stays(k):
    own = random_structures.design(k)
    fit = fit_structured(own.spec, own.method)
    edge = at_edge(fit.spec)
    assert edge.tolist() == [AT_EDGE[k] is None or name in AT_EDGE[k] for name in fit.spec.rho_names]
    found = fit.estimates.optimizer
    assert found.status.name == "BOUNDARY"
    assert all(name in found.message for name, there in zip(fit.spec.rho_names, edge, strict=True) if there)
    outward = np.where(edge, np.sign(fit.rho - fit.spec.rho_start), 0.0)
    theta = fit.estimates.theta

    def criterion(rho):
        return dense(fit.spec.with_rho(rho), theta, own.method).criterion

    assert criterion(fit.rho + 0.5 * outward) == pytest.approx(fit.criterion, abs=1e-5)


def test_an_edge_may_be_one_of_two_together():
    own = random_structures.design(5)  # φ goes to 1 as θ goes to −1
    fit = fit_structured(own.spec, own.method)
    assert at_edge(fit.spec).all()
    further = fit.rho[0] + 0.5

    def criterion(second):
        return dense(fit.spec.with_rho(np.array([further, second])), [], own.method).criterion

    around = (fit.rho[1] - 2.0, fit.rho[1] + 2.0)
    assert minimize_scalar(criterion, bounds=around, method="bounded").fun == pytest.approx(fit.criterion, abs=1e-3)


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4, 6, 13, 14])
def test_an_interior_optimum_is_at_no_edge(k):
    own = random_structures.design(k)
    fit = fit_structured(own.spec, own.method)
    assert not at_edge(fit.spec).any()
    assert "edge" not in fit.estimates.optimizer.message or fit.estimates.singular


def test_a_fit_at_an_edge_warns():
    rng = np.random.default_rng(5)
    data = rows(8, 6, 5).assign(y=rng.normal(size=48))  # no correlation at all: no nugget is best, or no range
    model = ranef.Model("y ~ x", data, correlation=ranef.Exponential("t", group="g", nugget=True))
    with pytest.warns(ranef.SingularFitWarning, match="has come to an edge|have come to an edge"):
        fit = model.fit()
    assert fit.status == "boundary"
    assert not fit.is_singular  # which is of the random effects
