"""Levels with a known covariance: the likelihood and what is read of it, against V as a whole and against lme4."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from oracle import jacobian
from registry import FOLDER

FORMULAS = (
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + cs(0 + f | g)",
    "y ~ x + (1 | h) + (x | g) + (1 | g:f)",
)

CASES = sorted(p.stem for p in FOLDER.glob("related_*.json"))


def made(levels=10, more=3, rows=6, seed=0):
    """Rows of some of the levels of a covariance, twice another factor's, and the covariance in another order."""
    rng = np.random.default_rng(seed)
    J = levels + more
    G = rng.normal(size=(J, 2 * J))
    K, names = G @ G.T / (2 * J), np.array([f"a{i:02d}" for i in range(J)])
    b = np.linalg.cholesky(K) @ rng.normal(size=(J, 2)) @ np.array([[1.2, 0.3], [0.0, 0.7]])
    g = np.repeat(np.arange(levels), rows)
    h, f = rng.integers(5, size=len(g)), np.arange(len(g)) % 3
    x = rng.normal(size=len(g))
    y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + 0.5 * rng.normal(size=5)[h] + 0.7 * rng.normal(size=len(g))
    frame = {"y": y, "x": x, "g": names[g], "h": np.array(list("pqrst"))[h], "f": np.array(list("uvw"))[f]}
    order = rng.permutation(J)
    return pd.DataFrame(frame | {"w": rng.uniform(0.5, 2.0, len(g))}), pd.DataFrame(K, names, names).iloc[order, order]


class Whole:
    """V, and what follows from it, with nothing of the package but its design."""

    def __init__(self, spec, theta, K, method="REML"):
        X, y, w = spec.design.X, spec.design.y, spec.residual.precision
        V, self.D, self.Z = np.diag(1 / w), [], []
        for g, lam in zip(spec.groupings, spec.lambdas(theta), strict=True):
            Z = np.zeros((len(y), g.n_levels, len(g.columns)))
            Z[np.arange(len(y)), g.codes] = g.Z
            Z = Z.reshape(len(y), -1)
            among = K.loc[list(g.levels), list(g.levels)].to_numpy() if g.name == "g" else np.eye(g.n_levels)
            D = np.kron(among, lam @ lam.T)
            V += Z @ D @ Z.T
            self.D.append(D)
            self.Z.append(Z)
        inverse = np.linalg.inv(V)
        information = X.T @ inverse @ X
        self.beta = np.linalg.solve(information, X.T @ inverse @ y)
        self.left = inverse @ (y - X @ self.beta)
        nu = len(y) - (X.shape[1] if method == "REML" else 0)
        rss = (y - X @ self.beta) @ self.left
        self.sigma = np.sqrt(rss / nu)
        self.P = inverse - inverse @ X @ np.linalg.solve(information, X.T @ inverse)
        self.inverse, self.V, self.w = inverse, V, w
        self.criterion = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * rss / nu))
        self.criterion += np.linalg.slogdet(information)[1] if method == "REML" else 0.0

    def effects(self, k):
        return self.D[k] @ self.Z[k].T @ self.left

    def covariance(self, k, middle):
        D, Z = self.D[k], self.Z[k]
        return self.sigma**2 * (D - D @ Z.T @ middle @ Z @ D)


def of_g(spec):
    return [g.name for g in spec.groupings].index("g")


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_fits_are_those_of_dense_algebra(formula, method):
    data, K = made()
    model = ranef.Model(formula, data, cov={"g": K}, weights="w")
    fit, spec = model.fit(method), model.spec
    exact = Whole(spec, fit.theta.to_numpy(), K, method)
    assert fit.criterion == pytest.approx(exact.criterion, rel=1e-11)
    assert fit.sigma == pytest.approx(exact.sigma, rel=1e-9)
    np.testing.assert_allclose(fit.fixef, exact.beta, rtol=1e-8)
    for k, modes in enumerate(fit.estimates.modes):
        np.testing.assert_allclose(modes.values.ravel(), exact.effects(k), atol=1e-9)
        p = modes.values.shape[1]
        for cov, middle in ((modes.cov, exact.inverse), (modes.cov_prediction, exact.P)):
            blocks = exact.covariance(k, middle).reshape(len(cov), p, len(cov), p)
            np.testing.assert_allclose(cov, [blocks[j, :, j] for j in range(len(cov))], atol=1e-9)
    np.testing.assert_allclose(fit.hatvalues(), 1 - np.diag(exact.P) / exact.w, atol=1e-9)
    assert fit.status in ("converged", "boundary")


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_gradients_are_those_of_differences_and_nothing_is_lower(formula, method):
    data, K = made(seed=3)
    model = ranef.Model(formula, data, cov={"g": K})
    spec, fit = model.spec, model.fit(method)
    rng = np.random.default_rng(1)
    theta = np.where(spec.on_diagonal, 0.4 + rng.uniform(size=spec.n_theta), 0.3 * rng.normal(size=spec.n_theta))
    at = model.likelihood(method).at(theta)
    by_lambda = [np.linalg.solve(T.T, G) for T, G in zip(at.likelihood.maps, at.gradient, strict=True)]
    slope = jacobian(lambda t: Whole(spec, t, K, method).criterion, theta)
    np.testing.assert_allclose(spec.pull_back(theta, by_lambda), slope, atol=1e-6 * (1 + np.abs(slope).max()))
    around = (fit.theta.to_numpy() + 0.1 * rng.normal(size=spec.n_theta) for _ in range(50))
    lowest = min(Whole(spec, spec.allowed(t), K, method).criterion for t in around)
    assert fit.criterion <= lowest + 1e-8


@pytest.mark.parametrize("case", CASES)
def test_lme4_with_its_z_multiplied_ends_there(case):
    ref = json.loads((FOLDER / f"{case}.json").read_text())
    data = ranef.datasets.load("sleepstudy" if "sleep" in case else "Penicillin")
    i = np.arange(len(ref["levels"]))
    K = ref["rho"] ** np.abs(i[:, None] - i)
    model = ranef.Model(ref["formula"], data, cov={ref["group"]: (K, ref["levels"])})
    fit = model.fit("REML" if ref["REML"] else "ML")
    assert fit.criterion == pytest.approx(ref["criterion"], rel=1e-9)
    assert fit.sigma == pytest.approx(ref["sigma"], rel=1e-5)
    np.testing.assert_allclose(fit.theta, ref["theta"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fit.fixef, ref["fixef"], rtol=1e-6)
    effects = fit.ranef(ref["group"])
    wide = effects.pivot(index="level", columns="term", values="estimate")[list(dict.fromkeys(effects["term"]))]
    theirs = np.array(ref["b"])
    np.testing.assert_allclose(wide.loc[ref["levels"]], theirs, atol=1e-4 * np.abs(theirs).max())


def test_the_identity_is_no_relation():
    data, _ = made()
    names = sorted(set(data["g"]))
    own = ranef.Model("y ~ x + (x | g) + (1 | h)", data, cov={"g": (np.eye(len(names)), names)}).fit()
    plain = ranef.Model("y ~ x + (x | g) + (1 | h)", data).fit()
    assert own.criterion == pytest.approx(plain.criterion, rel=1e-12)
    np.testing.assert_allclose(own.theta, plain.theta, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(own.vcov_theta(), plain.vcov_theta(), rtol=1e-4, atol=1e-8)
    mine, theirs = own.ranef(), plain.ranef()
    np.testing.assert_allclose(mine["sd"], theirs["sd"], rtol=1e-6)


def test_order_of_rows_and_of_the_covariance_do_not_matter():
    data, K = made()
    first = ranef.Model("y ~ x + (x | g)", data, cov={"g": K}).fit()
    other = data.sample(frac=1.0, random_state=1)
    again = ranef.Model("y ~ x + (x | g)", other, cov={"g": K.iloc[::-1, ::-1]}).fit()
    assert again.criterion == pytest.approx(first.criterion, rel=1e-12)
    by = [fit.ranef().set_index(["level", "term"])["estimate"].sort_index() for fit in (first, again)]
    np.testing.assert_allclose(*by, rtol=1e-5, atol=1e-7)


def test_levels_without_rows_are_predicted_from_their_relatives():
    data, K = made()
    model = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K})
    fit = model.fit()
    b = fit.ranef().set_index("level")["estimate"]
    seen, unseen = sorted(set(data["g"])), sorted(set(K.index) - set(data["g"]))
    assert len(unseen) == 3
    expected = K.loc[unseen, seen].to_numpy() @ np.linalg.solve(K.loc[seen, seen].to_numpy(), b[seen].to_numpy())
    np.testing.assert_allclose(b[unseen], expected, rtol=1e-8)
    new = pd.DataFrame({"x": 0.0, "g": [*unseen, "nobody"]})
    found = fit.predict(new)
    np.testing.assert_allclose(found[:3], fit.fixef["Intercept"] + expected, rtol=1e-8)
    assert found[3] == pytest.approx(fit.fixef["Intercept"])
    wide = fit.predict(new.iloc[:3], interval="confidence")
    exact = Whole(model.spec, fit.theta.to_numpy(), K)
    k = of_g(model.spec)
    x = np.array([1.0, 0.0])
    X, V = model.spec.design.X, exact.inverse
    A = np.linalg.inv(X.T @ V @ X)
    z = np.zeros(13)
    z[list(model.spec.groupings[k].levels).index(unseen[0])] = 1.0
    D, Z = exact.D[k], exact.Z[k]
    gap = x - X.T @ V @ Z @ D @ z
    variance = exact.sigma**2 * (z @ (D - D @ Z.T @ V @ Z @ D) @ z + gap @ A @ gap)
    half = (wide["upper"] - wide["lower"]).iloc[0] / 2
    assert half == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-6)


def test_joint_covariance_is_hendersons():
    data, K = made()
    model = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K})
    fit = model.fit()
    X, Z = model.spec.design.X, Whole(model.spec, fit.theta.to_numpy(), K).Z[0]
    levels = list(model.spec.groupings[0].levels)
    tau = fit.theta.to_numpy()[0] ** 2
    both = np.hstack([X, Z])
    C = both.T @ both
    C[2:, 2:] += np.linalg.inv(K.loc[levels, levels].to_numpy()) / tau
    np.testing.assert_allclose(fit.vcov_joint("g"), fit.sigma**2 * np.linalg.inv(C), rtol=1e-7, atol=1e-10)


def test_simulated_effects_have_the_covariance():
    data, K = made(rows=2)
    fit = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K}).fit()
    y = fit.simulate(4000, seed=5)
    y = y if isinstance(y, np.ndarray) else y.to_numpy()
    observed = np.cov(y - fit.fitted(re="none").to_numpy()[:, None])
    V = fit.sigma**2 * Whole(fit.spec, fit.theta.to_numpy(), K).V
    # of a covariance of normals the standard error is below √2 σ²/√4000
    np.testing.assert_allclose(observed, V, atol=6 * np.sqrt(2 / 4000) * np.diag(V).max())
    np.testing.assert_allclose(fit.matrices.V.toarray(), V, rtol=1e-8, atol=1e-10)


def test_refits_are_fits():
    data, K = made()
    model = ranef.Model("y ~ x + (x | g) + (1 | h)", data, cov={"g": K})
    fit = model.fit()
    y = fit.simulate(3, seed=8)
    many = fit.refit(y)
    for i in range(3):
        alone = ranef.Model("y ~ x + (x | g) + (1 | h)", data.assign(y=np.asarray(y)[:, i]), cov={"g": K}).fit()
        assert many.criterion[i] == pytest.approx(alone.criterion, abs=1e-6)


def test_deleted_levels_are_predicted_by_the_others():
    data, K = made()
    fit = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K}).fit()
    found = fit.influence("g").deleted.set_index("deleted")
    rest = ranef.Model("y ~ x + (1 | g)", data[data["g"] != "a03"], cov={"g": K}).fit()
    assert found.loc["a03", "sigma"] == pytest.approx(rest.sigma, rel=1e-5)
    assert (found["note"] == "").all()


def test_fits_are_kept_with_it(tmp_path):
    data, K = made()
    fit = ranef.Model("y ~ x + (x | g)", data, cov={"g": K}).fit()
    again = ranef.load(fit.save(tmp_path / "fit.ranef"))
    assert again.likelihood.at(again.theta).criterion == pytest.approx(fit.criterion, rel=1e-13)
    assert ranef.Model.of(again).fit("ML").status == "converged"
    np.testing.assert_allclose(again.predict(), fit.predict())


def test_what_it_is_called_and_drawn():
    data, K = made()
    model = ranef.Model("y ~ x + (x | g)", data, cov={"g": K})
    fit = model.fit()
    assert "g: known covariance among levels" in str(fit.summary())
    assert "[us], known covariance among levels" in str(model.describe())
    assert "b ~ N(0, K[g] ⊗ " in fit.equation().text
    assert r"K_{\mathrm{g}} \otimes" in fit.equation().latex
    for name in ("ranef", "lines", "diagnostics", "residuals_by_group", "qq_ranef", "pattern"):
        getattr(fit.plot, name)()
    plt.close("all")
    assert len(ranef.compare(fit, model.fit("ML")).random_effects) == 26


def test_what_is_of_independent_levels_is_refused():
    data, K = made()
    model = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K})
    with pytest.raises(ranef.NotAvailableError, match="known covariance among"):
        ranef.pooling(model.fit())
    for arguments in ({"family": "student"}, {"parameterization": "noncentered"}):
        with pytest.raises(ranef.NotAvailableError, match="parameterization='marginal'"):
            model.sample(10, **arguments)


def test_shares_of_variance_count_the_variances_of_levels():
    data, K = made()
    fit = ranef.Model("y ~ x + (1 | g)", data, cov={"g": K}).fit()
    mean = np.mean([K.loc[name, name] for name in data["g"]])
    between = mean * fit.varcorr["vcov"][0]
    assert fit.icc().iloc[0]["adjusted"] == pytest.approx(between / (between + fit.sigma**2), rel=1e-9)


def pedigree(size, sires, dams, generations, seed=0):
    """Inverse relationships of animals whose parents are of the generation before, sparse (Henderson 1976)."""
    rng = np.random.default_rng(seed)
    n, rows, cols = size * generations, [], []
    for child in range(size, n):
        first = (child // size - 1) * size
        rows += [child, child]
        cols += [first + rng.integers(sires), first + sires + rng.integers(dams)]
    T = scipy.sparse.eye_array(n) - scipy.sparse.coo_array((np.full(len(rows), 0.5), (rows, cols)), shape=(n, n))
    weights = np.where(np.arange(n) < size, 1.0, 2.0)
    return scipy.sparse.csr_array(T.T @ scipy.sparse.diags_array(weights) @ T), [f"a{k}" for k in range(n)]


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)"])
@pytest.mark.parametrize("method", ["REML", pytest.param("ML", marks=pytest.mark.slow)])
def test_a_sparse_inverse_is_the_dense_covariance(formula, method):
    P, names = pedigree(120, 10, 40, 5)
    rng = np.random.default_rng(2)
    K = np.linalg.inv(P.toarray())
    b = np.linalg.cholesky(K) @ rng.normal(size=(600, 2)) * [0.8, 0.5]
    g, h = rng.permutation(np.repeat(np.arange(600), 2))[:1000], rng.integers(0, 9, 1000)
    x = rng.normal(size=1000)
    y = 1.0 + 0.4 * x + b[g, 0] + b[g, 1] * x + 0.5 * rng.normal(size=9)[h] + rng.normal(size=1000)
    data = pd.DataFrame({"y": y, "x": x, "g": np.array(names)[g], "h": h.astype(str)})
    order = rng.permutation(600)
    K, shuffled = K[np.ix_(order, order)], [names[i] for i in order]
    sparse = ranef.Model(formula, data, cov={"g": ranef.Precision(P[order][:, order], shuffled)})
    dense = ranef.Model(formula, data, cov={"g": pd.DataFrame(K, shuffled, shuffled)})
    assert sparse.products.plan.pattern.sparse is not None
    assert dense.products.plan.pattern.sparse is None
    theta = np.where(sparse.spec.on_diagonal, 0.6, 0.2)
    one, other = (model.likelihood(method).at(theta) for model in (sparse, dense))
    assert one.criterion == pytest.approx(other.criterion, rel=1e-12)
    for part in ("W", "conditional", "left"):
        for own, wanted in zip(getattr(one, part), getattr(other, part), strict=True):
            np.testing.assert_allclose(own, wanted, atol=1e-9 * (1.0 + np.abs(wanted).max()))
    ours, theirs = sparse.fit(method), dense.fit(method)
    assert ours.criterion == pytest.approx(theirs.criterion, rel=1e-11)
    np.testing.assert_allclose(ours.theta, theirs.theta, atol=1e-5)
    np.testing.assert_allclose(ours.hatvalues(), theirs.hatvalues(), atol=1e-5)
    for a, b in zip(ours.estimates.modes, theirs.estimates.modes, strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-4)
        np.testing.assert_allclose(a.cov_prediction, b.cov_prediction, atol=1e-4)
    places = [shuffled.index(level) for level in sparse.spec.groupings[0].levels]
    np.testing.assert_allclose(sparse.spec.groupings[0].among.variances, np.diag(K)[places])


@pytest.mark.parametrize("theta", [(0.0,) * 3, (0.7, 0.3, 0.0), (0.0, 0.0, 0.6), (1e-7, 0.0, 2.0), (300.0, 50.0, 0.0)])
def test_slopes_on_the_boundary_are_those_of_independent_levels(theta):
    """In a direction without variance they are not divided by it."""
    data, _ = made()
    names = sorted(data["g"].unique())
    alone = ranef.Model("y ~ x + (x | g) + (1 | h)", data)
    identity = pd.DataFrame(np.eye(len(names)), names, names)
    related = ranef.Model("y ~ x + (x | g) + (1 | h)", data, cov={"g": identity})
    at = [model.likelihood("REML").at(np.array([*theta, 0.4])) for model in (alone, related)]
    assert at[1].criterion == pytest.approx(at[0].criterion, rel=1e-12)
    for own, wanted in zip(at[1].W, at[0].W, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


RESIDUALS = {
    "strata": {"variance": ranef.VarIdent("f")},
    "autoregression in strata": {"variance": ranef.VarIdent("f"), "correlation": ranef.AR1("t", group="g")},
    "power": {"variance": ranef.VarPower("w")},
}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", RESIDUALS)
def test_residual_structures_beside_related_levels(name, method):
    data, K = made(seed=5)
    data["t"] = data.groupby("g").cumcount()
    model = ranef.Model("y ~ x + (x | g)", data, cov={"g": K}, **RESIDUALS[name])
    fit, n = model.fit(method), len(data)

    def criterion(rho):
        spec = model.spec.with_rho(rho)
        Z = np.zeros((n, *fit.estimates.modes[0].values.shape))
        Z[np.arange(n), spec.groupings[0].codes] = spec.groupings[0].Z
        lam, levels = spec.lambdas(fit.theta.to_numpy())[0], list(spec.groupings[0].levels)
        D = np.kron(K.loc[levels, levels], lam @ lam.T)
        V = Z.reshape(n, -1) @ D @ Z.reshape(n, -1).T + spec.residual.covariance().toarray()
        X, y, inverse = spec.design.X, spec.design.y, np.linalg.inv(V)
        information = X.T @ inverse @ X
        left = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
        nu = n - (X.shape[1] if method == "REML" else 0)
        out = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * (left @ inverse @ left) / nu))
        return out + (np.linalg.slogdet(information)[1] if method == "REML" else 0.0)

    assert fit.status == "converged"
    assert fit.criterion == pytest.approx(criterion(fit.spec.rho), rel=1e-11)
    np.testing.assert_allclose(jacobian(criterion, fit.spec.rho), 0.0, atol=2e-5)
