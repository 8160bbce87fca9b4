"""Cluster-robust covariances against clubSandwich, and their definitions (Pustejovsky & Tipton 2018) with all rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import oracle
import ranef
from _ranef.inference import robust_law


def power(B, exponent):
    values, vectors = np.linalg.eigh(B)
    kept = values > 1e-10 * values.max()
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


def definition(fit, codes, kind):
    """V, and for each cluster p_c (p, n), with (lᵀp_c y)² its part of lᵀVl; and Var y by the model."""
    at = oracle.dense(fit.spec, fit.estimates.theta, fit.engine)
    Phi, X, n = fit.sigma**2 * at.V, at.X, len(at.y)
    W = np.linalg.inv(Phi)
    M = np.linalg.inv(X.T @ W @ X)
    rest = np.eye(n) - X @ M @ X.T @ W
    names = np.unique(codes)
    parts = []
    for c in names:
        rows = codes == c
        A = np.eye(rows.sum())
        if kind == "CR1":
            A = A * np.sqrt(len(names) / (len(names) - 1))
        if kind == "CR2":
            D = np.linalg.cholesky(Phi[np.ix_(rows, rows)]).T
            A = D.T @ power(D @ rest[rows] @ Phi @ rest[rows].T @ D.T, -0.5) @ D
        parts.append(M @ X[rows].T @ np.linalg.inv(Phi[np.ix_(rows, rows)]) @ A @ rest[rows])
    V = sum(np.outer(part @ at.y, part @ at.y) for part in parts)
    return V, parts, Phi


def school(seed=1):
    """Classes within schools of unequal size, with a covariate of schools."""
    rng = np.random.default_rng(seed)
    s = np.repeat(np.arange(9), rng.integers(3, 14, 9))
    data = pd.DataFrame(
        {"s": s, "c": rng.integers(0, 3, len(s)), "x": rng.normal(size=len(s)), "w": rng.uniform(0.5, 2, len(s))}
    )
    data["z"] = rng.normal(size=9)[s]
    data["k"] = (s % 2).astype(str)
    data["y"] = data["x"] + rng.normal(size=9)[s] + rng.normal(size=len(s)) * (1 + s / 5)
    return data


MODELS = {
    "intercepts": ("y ~ x + z + (1 | s)", {}),
    "slopes": ("y ~ x * k + (x | s)", {}),
    "nested": ("y ~ x + z + (1 | s/c)", {}),
    "weights": ("y ~ x + z + (1 | s)", {"weights": "w"}),
    "residuals": ("y ~ x + (1 | s)", {"variance": ranef.VarIdent("k")}),
    "ar1": ("y ~ x + z", {"correlation": ranef.AR1(group="s")}),
    "saturated": ("y ~ 0 + C(s) + x + (0 + x | s)", {}),
}


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2"])
@pytest.mark.parametrize("name", MODELS)
def test_definition(name, kind):
    formula, options = MODELS[name]
    data = school()
    fit = ranef.Model(formula, data.assign(s=data["s"].astype(str)), **options).fit()
    V, parts, Phi = definition(fit, data["s"].to_numpy(), kind)
    law = robust_law(fit, kind)
    np.testing.assert_allclose(law.vcov, V, atol=1e-7 * np.abs(V).max())
    expected = sum(part @ Phi @ part.T for part in parts)
    if kind == "CR2" and name != "saturated":
        np.testing.assert_allclose(expected, fit.vcov, rtol=1e-6)
    p = fit.spec.n_fixed
    if name == "saturated":  # residuals say nothing of a coefficient of one cluster but through that of x
        T = np.array([[a[-1] @ Phi @ b[-1] for b in parts] for a in parts])
        assert law.ddf(np.eye(p)[-1:])[0] == pytest.approx(np.trace(T) ** 2 / (T**2).sum(), rel=1e-6)
        return
    df = []
    for i in range(p):
        T = np.array([[a[i] @ Phi @ b[i] for b in parts] for a in parts])
        df.append(np.trace(T) ** 2 / (T**2).sum())
    np.testing.assert_allclose(law.ddf(np.eye(p)), df, rtol=1e-6)
    L = np.eye(p)[-2:]
    Q = np.linalg.inv(np.linalg.cholesky(L @ expected @ L.T)) @ L
    T = np.einsum("axi,ij,byj->abxy", Q @ np.array(parts), Phi, Q @ np.array(parts))
    total = sum(
        (T[:, :, s, s] * T[:, :, t, t]).sum() + (T[:, :, s, t] * T[:, :, t, s]).sum()
        for s in range(2)
        for t in range(2)
    )
    eta = 6 / total
    np.testing.assert_allclose(law.joint(L), [(eta - 1) / eta, eta - 1], rtol=1e-6)


#: by tests/reference/r/80_clubsandwich.R
CLUB_SANDWICH = json.loads((Path(__file__).parents[1] / "reference/clubsandwich.json").read_text())


@pytest.mark.parametrize("case", [k for k in CLUB_SANDWICH if k != "versions"])
def test_club_sandwich(case):
    """Covariances, Satterthwaite's df of every coefficient, and Hotelling's T² of several, at the optima of R."""
    ref = CLUB_SANDWICH[case]
    options = {name: ranef.VarIdent(column) for name, column in dict(ref["options"]).items()}
    fit = ranef.Model(ref["formula"], ranef.datasets.load(ref["data"]), **options).fit()
    for kind in ("CR0", "CR1", "CR2"):
        expected = np.array(ref[kind]["vcov"])
        found = fit.vcov_robust(kind).to_numpy()
        np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())  # where nlme stopped
    tidy = fit.tidy(vcov="CR2").iloc[: fit.spec.n_fixed]
    np.testing.assert_allclose(tidy["df"], ref["CR2"]["df"], rtol=1e-5)
    np.testing.assert_allclose(np.log(tidy["p_value"]), np.log(ref["CR2"]["p"]), rtol=1e-5)
    joint = ref["CR2"]["joint"]
    together = fit.test(np.eye(fit.spec.n_fixed)[np.array(joint["rows"]) - 1], vcov="CR2")
    expected = [joint[name] for name in ("statistic", "ndf", "ddf", "p")]
    np.testing.assert_allclose(together[["statistic", "ndf", "ddf", "p"]].iloc[0].to_numpy(float), expected, rtol=2e-5)


def test_in_a_balanced_design_it_is_the_models():
    """With one level an operator the sandwich of REML's residuals is the covariance, with J − 1 degrees of freedom."""
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    np.testing.assert_allclose(fit.vcov_robust(), fit.vcov, rtol=1e-7)
    assert fit.tidy(vcov="CR2")["df"][0] == pytest.approx(3, rel=1e-9)
    np.testing.assert_allclose(fit.vcov_robust("CR1"), fit.vcov_robust("CR0") * 4 / 3)


def test_it_is_used_by_every_test():
    data = school()
    fit = ranef.Model("y ~ x + z + (1 | s)", data.assign(s=data["s"].astype(str))).fit()
    frame = fit.tidy(vcov="CR2").set_index("term")
    np.testing.assert_allclose(frame["std_error"][:3], np.sqrt(np.diag(fit.vcov_robust())))
    single = fit.test("x", vcov="CR2")
    assert single["p"][0] == pytest.approx(frame.loc["x", "p_value"], rel=1e-9)
    assert fit.anova(vcov="CR2").set_index("term").loc["x", "p"] == pytest.approx(frame.loc["x", "p_value"], rel=1e-9)
    np.testing.assert_allclose(fit.confint(vcov="CR2"), frame[["lower", "upper"]][:3])
    assert "CR2 clustered by s" in str(fit.summary(vcov="CR2"))
    by_label = fit.tidy(vcov="CR2", cluster=data["s"].to_numpy())
    np.testing.assert_allclose(by_label["df"][:3], frame["df"][:3])


def test_coarser_clusters():
    data = school()
    fit = ranef.Model("y ~ x + (1 | c)", data.assign(c=data["s"].astype(str) + "." + data["c"].astype(str))).fit()
    V, *_ = definition(fit, data["s"].to_numpy(), "CR2")
    np.testing.assert_allclose(fit.vcov_robust(cluster=data["s"]), V, rtol=1e-7)


def test_refusals():
    data = school()
    fit = ranef.Model("y ~ x + (1 | s)", data).fit()
    with pytest.raises(ranef.DesignError, match="one cluster"):
        fit.vcov_robust(cluster=np.zeros(len(data)))
    with pytest.raises(ranef.DesignError, match="'CR3'"):
        fit.vcov_robust("CR3")
    with pytest.raises(ranef.DesignError, match="cluster='c' must be"):
        fit.vcov_robust(cluster="c")
    with pytest.raises(ranef.DesignError, match="several clusters"):
        fit.vcov_robust(cluster=data["c"])
    with pytest.raises(ranef.DesignError, match="shape"):
        fit.vcov_robust(cluster=[1, 2])
    with pytest.raises(ranef.DesignError, match="crossed"):
        ranef.Model("y ~ x + (1 | s) + (1 | c)", data).fit().vcov_robust()
    with pytest.raises(ranef.DesignError, match="no grouping factor: give cluster="):
        ranef.Model("y ~ x", data).fit().vcov_robust()
    with pytest.raises(ranef.DesignError, match="model's covariance"):
        fit.tidy(ddf="kenward-roger", vcov="CR2")
    with pytest.raises(ranef.DesignError, match="give vcov='CR2', too"):
        fit.tidy(cluster="s")
    few = data.query("s < 3").reset_index(drop=True)
    fit = ranef.Model("y ~ x + z + w + (1 | s)", few).fit()
    with pytest.raises(ranef.DesignError, match="too few"):
        fit.test("x, w, z", vcov="CR2")
