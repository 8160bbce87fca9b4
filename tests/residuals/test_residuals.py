"""Roots of residual covariances against their definitions, differences, and each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef

RNG = np.random.default_rng(3)
N = 40
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=N),
        "g": RNG.permutation(np.repeat(list("abcdefgh"), 5)),
        "x": RNG.uniform(0.5, 4.0, N),
        "z": RNG.normal(size=N),
        "s": RNG.choice(["p", "q", "r"], N),
        "w": RNG.uniform(0.5, 2.0, N),
    }
)
DATA["t"] = DATA.groupby("g").cumcount() + RNG.integers(0, 2, N) * 10
DATA["place"] = DATA.groupby("g").cumcount().map(dict(enumerate("vwxyz")))
SAME = (DATA["g"].to_numpy()[:, None] == DATA["g"].to_numpy()).astype(float)
LAG = np.abs(np.subtract.outer(DATA["t"].to_numpy(), DATA["t"].to_numpy()))
FAR = np.sqrt(
    sum(np.subtract.outer(DATA[c].to_numpy(), DATA[c].to_numpy()) ** 2 for c in ("x", "z")),
)
ORDER = np.abs(np.subtract.outer(*[DATA.groupby("g").cumcount().to_numpy()] * 2))


def arma11(phi, theta):
    """Autocorrelations of ARMA(1, 1) in closed form."""
    first = (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta**2)
    return np.where(ORDER == 0, 1.0, first * phi ** np.maximum(ORDER - 1, 0))


def general(*values):
    whole = np.eye(5)
    i, j = np.array([(i, j) for i in range(5) for j in range(i)]).T
    whole[i, j] = whole[j, i] = values
    codes = DATA["place"].map({p: k for k, p in enumerate("vwxyz")}).to_numpy()
    return whole[codes[:, None], codes]


#: declared structure, and C within groups by the parameters as users read them
CORRELATIONS = {
    "AR1": (ranef.AR1("t", group="g"), lambda phi: phi**LAG),
    "AR1 by order": (ranef.AR1(group="g"), lambda phi: phi**ORDER),
    "CAR1": (ranef.CAR1("x", group="g"), lambda phi: phi ** np.abs(np.subtract.outer(*[DATA["x"].to_numpy()] * 2))),
    "CompSymm": (ranef.CompSymm(group="g"), lambda rho: np.where(np.eye(N) == 1, 1.0, rho)),
    "ARMA(1,1)": (ranef.ARMA(1, 1, group="g"), arma11),
    "MA(1)": (ranef.ARMA(0, 1, group="g"), lambda theta: arma11(0.0, theta)),
    "Symm": (ranef.Symm("place", group="g"), general),
    "Exponential": (ranef.Exponential(["x", "z"], group="g"), lambda r: np.exp(-FAR / r)),
    "Gaussian": (
        ranef.Gaussian(["x", "z"], group="g", nugget=True),
        lambda r, nugget: np.where(np.eye(N) == 1, 1.0, (1 - nugget) * np.exp(-((FAR / r) ** 2))),
    ),
    "Spherical": (
        ranef.Spherical(["x", "z"], group="g"),
        lambda r: np.where(r > FAR, 1 - 1.5 * FAR / r + 0.5 * (FAR / r) ** 3, 0.0),
    ),
}
X, S = DATA["x"].to_numpy(), DATA["s"].to_numpy()
VARIANCES = {
    "VarIdent": (ranef.VarIdent("s"), lambda *ratios: np.array(ratios)[np.unique(S, return_inverse=True)[1]]),
    "VarPower": (ranef.VarPower("x"), lambda power: X**power),
    "VarExp": (ranef.VarExp("x"), lambda expon: np.exp(expon * X)),
    "VarConstPower": (ranef.VarConstPower("x"), lambda const, power: const + X**power),
    "VarFixed": (ranef.VarFixed("x"), lambda: np.sqrt(X)),
    "product": (
        ranef.VarIdent("s") * ranef.VarPower("x"),
        lambda p, q, r, power: np.array([p, q, r])[np.unique(S, return_inverse=True)[1]] * X**power,
    ),
}
BOTH = [
    (v, c)
    for v in (None, *VARIANCES)
    for c in (None, *CORRELATIONS)
    if (v or c) and (v in (None, "product") or c in (None, "AR1", "Symm"))
]


def at(variance, correlation, seed=1):
    given = {
        "variance": variance and VARIANCES[variance][0],
        "correlation": correlation and CORRELATIONS[correlation][0],
    }
    spec = ranef.Model("y ~ x", DATA, weights="w", **given).spec
    rho = spec.rho_start + 0.3 * np.random.default_rng(seed).normal(size=len(spec.rho_names))
    return spec.with_rho(rho)


@pytest.mark.parametrize(("variance", "correlation"), BOTH)
def test_the_root_is_that_of_the_definition(variance, correlation):
    spec = at(variance, correlation)
    values = [part.values for part in spec.residual.told()]
    of_variance = [v for part in values[: len(values) - bool(correlation)] for v in part]
    sds = (VARIANCES[variance][1](*of_variance) if variance else np.ones(N)) / np.sqrt(DATA["w"].to_numpy())
    C = CORRELATIONS[correlation][1](*values[-1]) * SAME if correlation else np.eye(N)
    R = sds[:, None] * C * sds
    root = spec.residual.whitened(np.eye(N)).T
    np.testing.assert_allclose(root @ R @ root.T, np.eye(N), atol=1e-9)
    np.testing.assert_allclose(spec.residual.log_det, -np.linalg.slogdet(R)[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(spec.residual.sds(2.0), 2.0 * sds, rtol=1e-12)
    noise = spec.residual.noise(1.0, np.eye(N)).T
    np.testing.assert_allclose(noise @ noise.T, R, atol=1e-9)


@pytest.mark.parametrize(("variance", "correlation"), BOTH)
def test_changes_are_differences(variance, correlation):
    spec = at(variance, correlation)
    values = np.random.default_rng(2).normal(size=(3, N))
    steps = 1e-5 * np.eye(len(spec.rho))
    ahead, behind = ([spec.with_rho(spec.rho + s * h).residual for h in steps] for s in (1.0, -1.0))
    wanted = [(a.whitened(values) - b.whitened(values)) / 2e-5 for a, b in zip(ahead, behind, strict=True)]
    np.testing.assert_allclose(spec.residual.changes(values), np.array(wanted).reshape(-1, 3, N), atol=1e-7)
    slopes = [(a.log_det - b.log_det) / 2e-5 for a, b in zip(ahead, behind, strict=True)]
    np.testing.assert_allclose(spec.residual.log_det_slopes, slopes, atol=1e-6)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_the_prior_is_a_density_with_its_slopes(correlation):
    law = at(None, correlation).correlation
    rho = np.random.default_rng(4).normal(size=len(law.names))
    steps = 1e-6 * np.eye(len(rho))
    wanted = [(law.log_prior(rho + h)[0] - law.log_prior(rho - h)[0]) / 2e-6 for h in steps]
    np.testing.assert_allclose(law.log_prior(rho)[1], wanted, atol=1e-7)
    if len(rho) == 1:
        grid = np.linspace(-40, 40, 80_001)
        total = np.trapezoid(np.exp([law.log_prior(np.array([r]))[0] for r in grid[::40]]), grid[::40])
        np.testing.assert_allclose(total, 1.0, atol=1e-4)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_draws_from_the_prior_have_its_density(correlation):
    """Over draws of p, p(ρ + h)/p(ρ) has the mean one."""
    law = at(None, correlation).correlation
    draws = law.prior_draws(np.random.default_rng(6), 40_000)
    assert draws.shape == (40_000, len(law.names))
    for k in range(draws.shape[1]):
        moved = draws[:4000] + 0.3 * (np.arange(draws.shape[1]) == k)
        logs = [law.log_prior(m)[0] - law.log_prior(d)[0] for m, d in zip(moved, draws[:4000], strict=True)]
        np.testing.assert_allclose(np.exp(logs).mean(), 1.0, atol=0.05)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_order_of_rows_and_names_of_groups_do_not_matter(correlation):
    if correlation in ("AR1 by order", "ARMA(1,1)", "MA(1)"):
        pytest.skip("the order of the rows is what it reads")
    spec = at(None, correlation)
    order = np.random.default_rng(5).permutation(N)
    other = DATA.iloc[order].assign(g=lambda d: d["g"].map(dict(zip("abcdefgh", "hcbagfed", strict=True))))
    given = CORRELATIONS[correlation][0]
    moved = ranef.Model("y ~ x", other, weights="w", correlation=given).spec.with_rho(spec.rho)
    root, after = (s.residual.whitened(np.eye(N)) for s in (spec, moved))
    np.testing.assert_allclose((root @ root.T)[order][:, order], after @ after.T, atol=1e-9)


ERRORS = [
    ({"correlation": ranef.AR1("t", group="one")}, "rows .* have the same group and t"),
    ({"correlation": ranef.AR1("x", group="g")}, "needs whole numbers for x"),
    ({"correlation": ranef.CAR1("place", group="g")}, "holds categories such as 'v'"),
    ({"correlation": ranef.CompSymm(group="row")}, "has one row"),
    ({"correlation": ranef.Exponential("t", group="one")}, "would be the same. Use nugget=True"),
    ({"variance": ranef.VarIdent("one")}, "the one stratum 'k'"),
    ({"variance": ranef.VarIdent("row")}, "has one row"),
    ({"variance": ranef.VarPower("s")}, "is a factor; expected are numbers"),
    ({"variance": ranef.VarPower("z * (z > 0)")}, "reads 0 in row"),
    ({"variance": ranef.VarFixed("z")}, "variances must be positive"),
    ({"variance": ranef.VarIdent}, "Call it with what it reads"),
    ({"variance": "s"}, "must be one of ranef's"),
    ({"correlation": ranef.VarIdent("s")}, "must be one of ranef's AR1"),
    ({"variance": ranef.VarIdent("q")}, "'q' is not a column"),
]


@pytest.mark.parametrize(("given", "words"), ERRORS, ids=lambda v: str(v)[:40])
def test_what_cannot_be_is_refused_with_the_row(given, words):
    data = DATA.assign(one="k", row=[f"r{k}" for k in range(N)])
    with pytest.raises((ranef.DesignError, ranef.FormulaError), match=words):
        ranef.Model("y ~ x", data, **given)


def test_correlated_rows_must_share_their_levels():
    with pytest.raises(ranef.DesignError, match=r"correlates rows .* Give group='g:s'"):
        ranef.Model("y ~ x + (1 | s)", DATA, correlation=ranef.CompSymm(group="g"))
    ranef.Model("y ~ x + (1 | s)", DATA, correlation=ranef.CompSymm(group="g:s"))


@pytest.mark.parametrize("arguments", [(0, 0), (-1, 1), (1.0, 1)])
def test_orders_of_arma(arguments):
    with pytest.raises(ranef.DesignError, match="whole numbers from 0"):
        ranef.ARMA(*arguments)


def test_rows_with_gaps_in_what_is_read_are_left_out():
    data = DATA.assign(s=DATA["s"].where(DATA.index != 7), t=DATA["t"].where(DATA.index != 9))
    model = ranef.Model("y ~ x", data, variance=ranef.VarIdent("s"), correlation=ranef.CAR1("t", group="g"))
    assert model.spec.n_obs == N - 2


@pytest.mark.parametrize("variance", VARIANCES)
def test_what_was_written_is_known(variance):
    declared = VARIANCES[variance][0]
    assert eval(ranef.Model("y ~ x", DATA, variance=declared).spec.variance.call, {"ranef": ranef}) == declared


def test_words_of_nlme():
    assert repr(ranef.VarIdent("a:b") * ranef.VarPower()) == "VarIdent('a:b') * VarPower()"
    assert repr(ranef.AR1("t", group="g")) == "AR1(time='t', group='g')"
    assert ranef.AR1("t", group="g").form == "~ t | g"
