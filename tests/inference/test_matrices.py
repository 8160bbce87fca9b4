"""Patterns of Z, ZᵀZ and L against the matrices themselves; these against each other, up to the criterion."""

import numpy as np
import pandas as pd
import pytest

import generalised
import ranef
from _ranef.inference import matrix_pattern

CASES = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    ("strength ~ 1 + (1 | batch/cask)", "pastes"),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
]


def dense(pattern):
    out = np.zeros(pattern.shape, dtype=int)
    np.add.at(out, (pattern.rows, pattern.cols), 1)
    assert out.max() == 1  # no place twice
    return out.astype(bool)


def crossed_slopes():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": rng.integers(0, 7, 60), "b": rng.integers(0, 5, 60), "c": rng.integers(0, 4, 60)})
    data["x"], data["y"] = rng.standard_normal((2, 60))
    return ranef.Model("y ~ x + (x | a) + (1 | b) + (x | c)", data).fit()


@pytest.mark.parametrize("case", CASES)
def test_products_are_not_zero_where_the_pattern_says(fit, case):
    f = fit(*case)
    Z = f.matrices.Z
    pattern = matrix_pattern(f, "Z")
    assert (dense(pattern) >= (Z.toarray() != 0)).all()  # a covariate may be zero in a row of its level
    ones = dense(pattern).astype(int)
    np.testing.assert_array_equal(dense(matrix_pattern(f, "ZtZ")), ones.T @ ones > 0)
    assert pattern.col_blocks[-1][2] == Z.shape[1]


@pytest.mark.parametrize("case", [*CASES, None], ids=str)
def test_factor_is_not_zero_where_the_pattern_says(fit, case):
    f = crossed_slopes() if case is None else fit(*case)
    pattern, spec = matrix_pattern(f, "L"), f.spec
    # columns of Z by factor in the order of elimination, those of all terms of one level together
    ends = np.cumsum([0, *(spec.groupings[t.grouping].n_levels * len(t.columns) for t in spec.terms)])
    order = []
    for k in f.products.order:
        at = [
            start + np.arange(spec.groupings[k].n_levels * len(t.columns)).reshape(-1, len(t.columns))
            for t, start in zip(spec.terms, ends, strict=False)
            if t.grouping == k
        ]
        order += np.hstack(at).ravel().tolist()
    # at a θ whose λ are full; the plan does not know that some are diagonal
    Z = f.matrices.Z.toarray()[:, order]
    A = Z.T @ Z + np.diag(1.0 + np.arange(len(order)) / 50)
    L = np.abs(np.linalg.cholesky(A)) > 1e-10
    assert (dense(pattern) >= L).all()
    assert pattern.filled <= 1.25 * L.sum() / (len(order) * (len(order) + 1) / 2)  # crossed tails are stored full


MODELS = {
    "slopes": lambda: ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy")),
    "nested": lambda: ranef.Model("strength ~ 1 + (1 | batch/cask)", ranef.datasets.load("Pastes")),
    "crossed": lambda: ranef.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", ranef.datasets.load("Penicillin")),
    "weights and offset": lambda: ranef.Model(
        "Reaction ~ Days + (1 | Subject)",
        ranef.datasets.load("sleepstudy").assign(w=np.arange(180) % 3 + 1.0, o=np.arange(180) / 9.0),
        weights="w",
        offset="o",
    ),
    "strata": lambda: ranef.Model(
        "score ~ Machine + (1 | Worker)", ranef.datasets.load("Machines"), variance=ranef.VarIdent("Machine")
    ),
    "autoregressive": lambda: ranef.Model(
        "Reaction ~ Days + (1 | Subject)",
        ranef.datasets.load("sleepstudy"),
        correlation=ranef.AR1("Days", group="Subject"),
    ),
}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", MODELS)
def test_from_the_penalised_problem_to_the_criterion(name, method):
    """Bates et al. (2015), §3: pseudo-data, normal equations, Cholesky factor, profiled deviance, REML criterion."""
    f = MODELS[name]().fit(method)
    m, problem = f.matrices, f.matrices.penalized
    n, p, q = f.spec.n_obs, f.spec.n_fixed, m.Z.shape[1]
    by_rows = np.linalg.lstsq(problem.columns, problem.response, rcond=None)[0]
    np.testing.assert_allclose(by_rows, problem.solution, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(problem.solution.iloc[q:], f.fixef, rtol=1e-7)
    b = np.concatenate([f._modes[t.grouping][:, t.where].ravel() for t in f.spec.terms])
    np.testing.assert_allclose(m.Lambda @ by_rows[:q], b, rtol=1e-6, atol=1e-6 * np.abs(b).max())
    factor = np.block([[m.L, np.zeros((q, p))], [m.R_ZX.T, m.R_X.T]])
    np.testing.assert_allclose(factor @ factor.T, problem.left, rtol=1e-8, atol=1e-8 * np.abs(problem.left).max())
    np.testing.assert_allclose(f.sigma**2 * np.linalg.inv(m.R_X.T @ m.R_X), f.vcov, rtol=1e-7)
    freedom = n - p if method == "REML" else n
    log_det = 2 * np.log(np.diag(m.L)).sum() - f.spec.residual.log_det
    log_det += 2 * np.log(np.diag(m.R_X)).sum() if method == "REML" else 0.0
    criterion = log_det + freedom * (1 + np.log(2 * np.pi * problem.rss / freedom))
    assert criterion == pytest.approx(f.criterion, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_matrices_of_one_level_are_blocks(name):
    f = MODELS[name]().fit()
    m = f.matrices
    for g in f.spec.groupings:
        own = m.cluster(str(g.levels[1]), g.name)
        block = np.ix_(own.rows, own.rows)
        np.testing.assert_allclose(own.V, m.V.toarray()[block], rtol=1e-12)
        np.testing.assert_allclose(own.R, m.R.toarray()[block], rtol=1e-12)
        assert own.D.columns.tolist() == own.Z.columns.tolist()
        if len(f.spec.groupings) == 1:
            np.testing.assert_allclose(
                own.V, own.Z.to_numpy() @ own.D.to_numpy() @ own.Z.to_numpy().T + own.R, rtol=1e-10
            )


@pytest.mark.parametrize("name", ["probit", "size", "crossed"])
def test_from_the_working_response_to_the_criterion(name):
    """Least squares of z give the mode back; with its factor the criterion is that of Laplace's approximation."""
    f = generalised.linked_fit(name)
    m, problem = f.matrices, f.matrices.penalized
    u = problem.solution.to_numpy()
    b = np.concatenate([f._modes[t.grouping][:, t.where].ravel() for t in f.spec.terms])
    np.testing.assert_allclose(m.Lambda @ u, b, atol=1e-7)
    np.testing.assert_allclose(m.L @ m.L.T, problem.left, rtol=1e-8, atol=1e-8)
    eta = f.predict(type="link").to_numpy()
    log_density = generalised.log_density(f.spec, eta, f.dispersion.to_dict()).sum()
    criterion = -2 * log_density + u @ u + 2 * np.log(np.diag(m.L)).sum()
    assert criterion == pytest.approx(f.criterion, rel=1e-10)
    given = f._at.information  # of internal β
    assert np.linalg.slogdet(m.R_X.T @ m.R_X)[1] == pytest.approx(
        np.linalg.slogdet(given)[1] - 2 * np.linalg.slogdet(f._at.laplace.products.scaling.X)[1], rel=1e-8
    )


@pytest.mark.parametrize("name", ["size", "crossed"])
def test_working_matrices_of_one_level_are_blocks(name):
    m = generalised.linked_fit(name).matrices
    for g in m.spec.groupings:
        own = m.cluster(str(g.levels[1]), g.name)
        block = np.ix_(own.rows, own.rows)
        np.testing.assert_allclose(own.V_working, m.V_working.toarray()[block], rtol=1e-12)
        np.testing.assert_allclose(own.W, m.W.toarray()[block])
        np.testing.assert_allclose(own.z, m.z.iloc[own.rows])
    with pytest.raises(ranef.NotAvailableError, match="V_working"):
        _ = m.V


@pytest.mark.parametrize("name", MODELS)
def test_every_matrix_has_names(name):
    f = MODELS[name]().fit()
    for which in f.matrices.names:
        found = f.matrices.named(which)
        assert found.frame.shape == (len(found.rows), len(found.columns)) == found.values.shape
    for t in f.spec.terms:
        product = f.matrices.khatri_rao(t.text)
        J, X, Z = (part.frame.to_numpy() for part in (product.J, product.X, product.Z))
        np.testing.assert_array_equal([np.kron(a, b) for a, b in zip(J, X, strict=True)], Z)


def test_a_large_frame_is_sparse():
    f = ranef.Model("mAch ~ cses + (cses | school)", ranef.datasets.load("Hsb82")).fit()
    frame = f.matrices.named("Z").frame
    assert frame.shape == (7185, 320)
    assert frame.sparse.density < 0.01
    np.testing.assert_array_equal(frame.iloc[:50].to_numpy(), f.matrices.Z[:50].toarray())


def test_other_names_are_refused(fit):
    m = fit("Reaction ~ Days + (Days | Subject)", "sleepstudy").matrices
    with pytest.raises(ranef.DesignError, match=r"no matrix 'lambda'.*Did you mean 'Lambda'"):
        m.named("lambda")
    with pytest.raises(ranef.DesignError, match=r"no term on 'subject'.*'Subject'"):
        m.khatri_rao("subject")
