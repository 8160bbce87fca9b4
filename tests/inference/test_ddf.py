"""Degrees of freedom of coefficients, against R's and against definitions with V built whole."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import scipy

import oracle
import ranef
import registry
from _ranef.inference import coefficient_law, vcov_derivatives
from _ranef.likelihood import Likelihood, cross_products
from likelihood.designs import SHAPES, make_data

#: pbkrtest takes the residuals of a weighted fit for independent with one variance, and ours does not
WEIGHTED = {"sleep_weights"}


def cases(method):
    tests = ((c, registry.reference(c).get("tests", {}).get(method)) for c in registry.FITTED)
    return [c for c, own in tests if own and "df" in own]


def numbers(record, name):
    return np.array(record[name], dtype=float)


@pytest.mark.parametrize("case", cases("satterthwaite"))
def test_satterthwaite_as_lmertest(case):
    """To what is left of its numerical derivatives."""
    ref, fit = registry.reference(case)["tests"]["satterthwaite"], registry.fit(case)
    frame = fit.tidy(ddf="satterthwaite").query("effect == 'fixed'").dropna(subset="estimate")
    np.testing.assert_allclose(frame["df"], numbers(ref, "df"), rtol=1e-6)
    np.testing.assert_allclose(frame["p_value"], numbers(ref, "p"), rtol=5e-5, atol=1e-300)


@pytest.mark.parametrize("case", sorted(set(cases("kenward_roger")) - WEIGHTED))
def test_kenward_roger_as_pbkrtest(case):
    """Both have closed forms, so that what differs is where the optimiser stopped."""
    ref, fit = registry.reference(case)["tests"]["kenward_roger"], registry.fit(case)
    frame = fit.tidy(ddf="kenward-roger").query("effect == 'fixed'").dropna(subset="estimate")
    np.testing.assert_allclose(frame["df"], numbers(ref, "df"), rtol=1e-8)
    np.testing.assert_allclose(frame["std_error"], numbers(ref, "se"), rtol=1e-8)
    np.testing.assert_allclose(frame["p_value"], numbers(ref, "p"), rtol=1e-6, atol=1e-300)
    adjusted = np.atleast_2d(numbers(ref, "vcov_adjusted"))
    np.testing.assert_allclose(fit.vcov_adjusted(), adjusted, atol=1e-8 * np.abs(adjusted).max())


@pytest.mark.parametrize("case", sorted(WEIGHTED))
def test_weights_as_they_are(case):
    """Ours is the definition's; R's numbers come out if the weights count in σ²(XᵀV⁻¹X)⁻¹ and nowhere else."""
    ref, fit = registry.reference(case)["tests"]["kenward_roger"], registry.fit(case)
    at = oracle.dense(fit.spec, fit.estimates.theta, "REML")
    Z = at.Z[0].reshape(fit.spec.n_obs, -1, 2)
    pairs = [(0, 0), (1, 0), (1, 1)]
    G = [Z[:, :, a] @ Z[:, :, b].T + Z[:, :, b] @ Z[:, :, a].T for a, b in pairs]
    ours, phi, P, W = oracle.kenward_roger(at.X, at.V, fit.sigma, [*G, at.R])
    law = coefficient_law(fit, "kenward-roger")
    np.testing.assert_allclose(law.vcov, ours, rtol=1e-8)
    single = [phi[i] @ np.array(P) @ phi[:, i] / phi[i, i] for i in range(2)]
    np.testing.assert_allclose(law.ddf(np.eye(2)), [2 / (s @ W @ s) for s in single], rtol=1e-7)
    one = np.eye(fit.spec.n_obs)
    theirs, *_ = oracle.kenward_roger(at.X, at.V - at.R + one, fit.sigma, [*G, one], fit.vcov.to_numpy())
    np.testing.assert_allclose(theirs, np.array(ref["vcov_adjusted"]), rtol=1e-6)


SETTINGS = [(None, None), ("w", None), ("w", 0.9)]


def directions(spec, Z):
    """What the covariance of rows is a combination of besides R: for each entry of D_k that its structure has."""
    out = []
    for t in spec.terms:
        own = Z[t.grouping].reshape(spec.n_obs, -1, len(spec.groupings[t.grouping].columns))[:, :, t.where]
        p = t.structure.size
        pairs = [(a, b) for a in range(p) for b in range(a + 1)]
        if not t.structure.free:
            pairs = [(a, a) for a in range(p)]
        whole = [own[:, :, a] @ own[:, :, b].T + own[:, :, b] @ own[:, :, a].T for a, b in pairs]
        out += [sum(whole)] if t.structure.shared else whole
    return out


@pytest.mark.parametrize(("shape", "settings"), [(s, SETTINGS[i % 3]) for i, s in enumerate(SHAPES)])
def test_kenward_roger_from_the_definition(shape, settings):
    weights, sigma = settings
    model = ranef.Model(f"y ~ {SHAPES[shape]}", make_data(1, n=100), weights=weights, sigma=sigma)
    fit = model.fit()
    if not fit.spec.n_fixed:
        assert coefficient_law(fit, "kenward-roger").vcov.shape == (0, 0)
        assert "Fixed effects:" not in str(fit.summary(ddf="kenward-roger"))
        return
    at = oracle.dense(fit.spec, fit.estimates.theta, "REML")
    moving = directions(fit.spec, at.Z) + ([] if sigma else [at.R])
    adjusted, phi, P, W = oracle.kenward_roger(at.X, at.V, fit.sigma, moving)
    law = coefficient_law(fit, "kenward-roger")
    np.testing.assert_allclose(law.vcov, adjusted, atol=1e-8 * np.abs(adjusted).max())
    theta = np.linalg.inv(phi)
    shares = [theta @ phi @ p @ phi for p in P]
    A1 = sum(W[i, j] * np.trace(a) * np.trace(b) for i, a in enumerate(shares) for j, b in enumerate(shares))
    A2 = sum(W[i, j] * np.trace(a @ b) for i, a in enumerate(shares) for j, b in enumerate(shares))
    q = fit.spec.n_fixed
    B, g = (A1 + 6 * A2) / (2 * q), ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    c1, c2, c3 = (c / (3 * q + 2 * (1 - g)) for c in (g, q - g, q + 2 - g))
    mean = 1 / (1 - A2 / q)
    variance = 2 / q * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    ratio = variance / (2 * mean**2)
    m = 4 + (q + 2) / (q * ratio - 1)
    np.testing.assert_allclose(law.joint(np.eye(q)), [m / (mean * (m - 2)), m], rtol=1e-6)


@pytest.mark.parametrize(("shape", "settings"), [(s, SETTINGS[(i + 1) % 3]) for i, s in enumerate(SHAPES)])
def test_slopes_of_the_covariance_of_coefficients(shape, settings):
    """Along the chart, against differences of σ²(XᵀV⁻¹X)⁻¹ with V built whole."""
    weights, sigma = settings
    fit = ranef.Model(f"y ~ {SHAPES[shape]}", make_data(2, n=100), weights=weights, sigma=sigma).fit()
    at, theta = fit._at, fit.estimates.theta
    slopes = vcov_derivatives(at, theta)
    dD = fit._information.dcov
    spec, Z = fit.spec, oracle.dense(fit.spec, theta).Z
    R = oracle.dense(fit.spec, theta).R
    for i, slope in enumerate(slopes):

        def covariance(step, i=i):
            scale = np.exp(2 * step) if i == len(slopes) - 1 and sigma is None else 1.0
            V = fit.sigma**2 * scale * R
            for k, own in enumerate(Z):
                D = fit._information.covs[k] + step * dD[k][:, :, i]
                if scale != 1.0:
                    D = fit._information.covs[k] * scale
                V = V + own @ np.kron(np.eye(spec.groupings[k].n_levels), D) @ own.T
            X = fit.spec.design.X
            return np.linalg.inv(X.T @ np.linalg.solve(V, X))

        h = 1e-4
        expected = (covariance(h) - covariance(-h)) / (2 * h)
        np.testing.assert_allclose(slope, expected, atol=1e-6 * max(np.abs(expected).max(initial=0), 1e-8))


STRUCTURED = {
    "strata": ("distance ~ age * Sex + (1 | Subject)", "Orthodont", {"variance": ranef.VarIdent("Sex")}),
    "ar1": ("distance ~ age * Sex", "Orthodont", {"correlation": ranef.AR1("age", group="Subject")}),
    "both": ("distance ~ age + (1 | Subject)", "Orthodont", {"variance": ranef.VarExp("age")}),
    "homcs": ("score ~ Machine + homcs(0 + Machine | Worker)", "Machines", {}),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_satterthwaite_with_structures(name):
    """2V²/Var V with derivatives and information by differences of the criterion in (θ, ρ, log σ)."""
    formula, data, options = STRUCTURED[name]
    fit = ranef.Model(formula, ranef.datasets.load(data), **options).fit()
    spec, n = fit.spec, fit.spec.n_theta
    rho = np.zeros(0) if fit.estimates.rho is None else fit.estimates.rho
    x = np.concatenate([fit.estimates.theta, rho, [np.log(fit.sigma)]])

    def at(x):
        moved = spec.with_rho(x[n:-1]) if spec.structured else spec
        return Likelihood(moved, cross_products(moved), "REML").at(x[:n], float(np.exp(x[-1])))

    H = oracle.hessian(lambda v: at(v).criterion, x, h=1e-3)
    J = oracle.jacobian(lambda v: np.diag(at(v).vcov), x)
    expected = 2 * np.diag(fit.vcov) ** 2 / np.einsum("im,mn,in->i", J, 2 * np.linalg.inv(H), J)
    # second differences of a criterion of 400 with steps of 1e-3 keep five digits
    np.testing.assert_allclose(fit.tidy(ddf="satterthwaite")["df"][: spec.n_fixed], expected, rtol=1e-4)


def test_a_known_variance_of_rows_is_a_weight():
    data = ranef.datasets.load("Orthodont")
    formula = "distance ~ age * Sex + (1 | Subject)"
    fixed = ranef.Model(formula, data, variance=ranef.VarFixed("age")).fit()
    weighted = ranef.Model(formula, data, weights=1 / data["age"]).fit()
    for ddf in ("satterthwaite", "kenward-roger"):
        first, second = (fit.tidy(ddf=ddf)[["std_error", "df"]][:4] for fit in (fixed, weighted))
        np.testing.assert_allclose(first, second, rtol=1e-6)


def test_boundary():
    """A variance of zero is known to Satterthwaite, and was estimated to Kenward and Roger."""
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("dyestuff2")).fit()
    assert fit.tidy(ddf="satterthwaite")["df"][0] == pytest.approx(29, rel=1e-9)
    assert fit.tidy(ddf="kenward-roger")["df"][0] == pytest.approx(5, rel=1e-9)
    assert fit.tidy(ddf="residual")["df"][0] == 29


def test_without_random_effects_all_are_those_of_least_squares():
    data = ranef.datasets.load("sleepstudy")
    fit = ranef.Model("Reaction ~ Days", data).fit()
    expected = scipy.stats.linregress(data["Days"], data["Reaction"])
    for ddf in ("satterthwaite", "kenward-roger", "residual"):
        row = fit.tidy(ddf=ddf).iloc[1]
        assert row["df"] == pytest.approx(178, rel=1e-9)
        assert row["std_error"] == pytest.approx(expected.stderr, rel=1e-9)
        assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-7)


def test_known_variances_are_normal():
    """With σ known and no other variance nothing is estimated."""
    data = ranef.datasets.load("sleepstudy")
    fit = ranef.Model("Reaction ~ Days", data, sigma=30.0).fit()
    for ddf in ("satterthwaite", "kenward-roger"):
        frame = fit.tidy(ddf=ddf)
        assert np.isinf(frame["df"][:2]).all()
        np.testing.assert_allclose(frame[["lower", "upper"]][:2], fit.confint())


def test_relabelled_and_permuted_rows_and_shifted_covariates():
    data = ranef.datasets.load("sleepstudy")
    moved = data.sample(frac=1, random_state=1).assign(
        Days=lambda d: 3.0 * d["Days"] + 1e4, Subject=lambda d: "s" + d["Subject"].astype(str)
    )
    fits = [ranef.Model("Reaction ~ Days + (Days | Subject)", d).fit() for d in (data, moved)]
    for ddf in ("satterthwaite", "kenward-roger"):
        first, second = (fit.tidy(ddf=ddf).iloc[1][["df", "p_value"]].to_numpy(dtype=float) for fit in fits)
        np.testing.assert_allclose(first, second, rtol=1e-5)


@pytest.mark.parametrize("crossed", ["", " + (1 | Days)"])
def test_levels_with_a_known_covariance(crossed):
    """Kenward and Roger from the definition with Z(L ⊗ I) in the place of Z, and slopes by differences of V."""
    data = ranef.datasets.load("sleepstudy")
    levels = sorted(data["Subject"].astype(str).unique())
    K = pd.DataFrame(0.6 ** np.abs(np.subtract.outer(range(18), range(18))), levels, levels)
    fit = ranef.Model(f"Reaction ~ Days + (Days | Subject){crossed}", data, cov={"Subject": K}).fit()
    spec, X = fit.spec, fit.spec.design.X
    G, V, D = [], np.eye(spec.n_obs), []
    for g, lam in zip(spec.groupings, spec.lambdas(fit.estimates.theta), strict=True):
        p = len(g.columns)
        root = np.eye(g.n_levels) if g.root is None else g.root
        Z = (oracle.indicator(g) @ np.kron(root, np.eye(p))).reshape(spec.n_obs, -1, p)
        pairs = [(a, b) for a in range(p) for b in range(a + 1)]
        G += [Z[:, :, a] @ Z[:, :, b].T + Z[:, :, b] @ Z[:, :, a].T for a, b in pairs]
        D += [(Z, lam @ lam.T)]
        V = V + sum(Z[:, :, a] @ Z[:, :, b].T * (lam @ lam.T)[a, b] for a in range(p) for b in range(p))
    adjusted, phi, P, W = oracle.kenward_roger(X, V, fit.sigma, [*G, np.eye(spec.n_obs)])
    np.testing.assert_allclose(fit.vcov_adjusted(), adjusted, rtol=1e-7)
    single = [phi[i] @ np.array(P) @ phi[:, i] / phi[i, i] for i in range(2)]
    law = coefficient_law(fit, "kenward-roger")
    np.testing.assert_allclose(law.ddf(np.eye(2)), [2 / (s @ W @ s) for s in single], rtol=1e-6)
    for i, slope in enumerate(vcov_derivatives(fit._at, fit.estimates.theta)[:-1]):
        moves = [dcov[:, :, i] / fit.sigma**2 for dcov in fit._information.dcov]
        dV = sum(np.einsum("nja,ab,mjb->nm", Z, dD, Z) for (Z, _), dD in zip(D, moves, strict=True))
        inner = np.linalg.solve(V, X)
        expected = phi @ inner.T @ dV @ inner @ phi / fit.sigma**2
        np.testing.assert_allclose(slope, expected, atol=1e-7 * np.abs(expected).max())


def test_five_thousand_rows_in_five_hundred_groups_take_less_than_a_second():
    rng = np.random.default_rng(1)
    g = rng.integers(0, 500, 5000)
    data = pd.DataFrame({"g": g, "h": rng.integers(0, 3, 5000), "x": rng.normal(size=5000)})
    data["y"] = (
        data["x"] + rng.normal(size=(500, 2))[g, 0] + rng.normal(size=500)[g] * data["x"] + rng.normal(size=5000)
    )
    for formula in ("y ~ x + (x | g)", "y ~ x + (x | g) + (1 | g:h)"):
        fit = ranef.Model(formula, data).fit()
        start = time.process_time()
        fit.tidy(ddf="kenward-roger")
        assert time.process_time() - start < 1.0


def test_rows_in_chunks():
    data = ranef.datasets.load("Oats")
    formula = "yield ~ nitro * Variety + (1 | Block)"
    whole, parts = ranef.Model(formula, data).fit(), ranef.Model(formula, [data[:30], data[30:]]).fit()
    for ddf in ("satterthwaite", "kenward-roger"):
        np.testing.assert_allclose(parts.tidy(ddf=ddf)["df"], whole.tidy(ddf=ddf)["df"], rtol=1e-6)
        for kind in (1, 2, 3):
            first, second = (fit.anova(kind, ddf=ddf).iloc[:, 1:].to_numpy(float) for fit in (parts, whole))
            np.testing.assert_allclose(first, second, rtol=1e-6)


def test_the_printed_table():
    fit = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    text = str(fit.summary(ddf="kenward-roger"))
    assert text.splitlines()[0] == "Linear mixed model fit by REML. t-tests use Kenward-Roger's method"
    assert "Estimate Std. Error    df t value Pr(>|t|)" in text
    assert "Days        10.467      1.546 17.00   6.771 3.26e-06" in text
    assert "Pr(>|t|)" not in str(fit.summary())


def test_refusals():
    data = ranef.datasets.load("Orthodont")
    machines = ranef.datasets.load("Machines")
    formula = "distance ~ age + (1 | Subject)"
    with pytest.raises(ranef.DesignError, match="by ML"):
        ranef.Model(formula, data).fit("ML").tidy(ddf="kenward-roger")
    with pytest.raises(ranef.DesignError, match=r"'satterthwait' must be .*Did you mean 'satterthwaite'"):
        ranef.Model(formula, data).fit().summary(ddf="satterthwait")
    with pytest.raises(ranef.DesignError, match=r"ddf=\[3\] must be"):
        ranef.Model(formula, data).fit().summary(ddf=[3])
    with pytest.raises(ranef.NotAvailableError, match=r"residual variances .*satterthwaite"):
        ranef.Model(formula, data, variance=ranef.VarIdent("Sex")).fit().tidy(ddf="kenward-roger")
    with pytest.raises(ranef.NotAvailableError, match=r"homcs.*satterthwaite"):
        ranef.Model("score ~ Machine + homcs(0 + Machine | Worker)", machines).fit().tidy(ddf="kenward-roger")
