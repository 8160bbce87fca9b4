"""Columns that others determine, and responses that leave no residual."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef

METHODS = ("REML", "ML")


def data() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    g, x, z = np.repeat(np.arange(10), 6), rng.normal(size=60), rng.normal(size=60)
    y = 1 + x - z + rng.normal(size=10)[g] + rng.normal(size=10)[g] * x + 0.5 * rng.normal(size=60)
    frame = pd.DataFrame({"y": y, "x": x, "z": z, "g": g, "u": (np.arange(60) % 2).astype(float)})
    return frame.assign(v=1 - frame["u"], h=[f"h{k}" for k in g])


# -- fixed effects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("aliased", "dropped"),
    [
        ("x + I(2 * x) + z", ["I(2 * x)"]),
        ("x + z + I(x - 3 * z)", ["I(x - 3 * z)"]),
        ("I(x - 3 * z) + x + z", ["z"]),
        ("x + z + I(0 * x + 5)", ["I(0 * x + 5)"]),
        ("x + u + v + z", ["v"]),
        ("x + I(x * 1e6) + z + I(z / 1e6)", ["I(x * 1e+06)", "I(z/1e+06)"]),
    ],
)
def test_the_later_column_goes_and_nothing_else_changes(aliased, dropped, method):
    plain = ranef.Model(f"y ~ x + z{' + u' if 'u' in aliased else ''} + (x | g)", data()).fit(method)
    fit = ranef.Model(f"y ~ {aliased} + (x | g)", data()).fit(method)
    tidy = fit.tidy().query("effect == 'fixed'").set_index("term")
    assert tidy.index[tidy["estimate"].isna()].tolist() == dropped
    assert tidy.loc[dropped, ["std_error", "statistic", "lower", "upper"]].isna().all(axis=None)
    assert f"dropped: {', '.join(dropped)}" in str(fit.summary())
    assert not set(dropped) & set(fit.fixef.index)
    new = data().assign(g="new").head(5)
    np.testing.assert_allclose(fit.predict(new), plain.predict(new), atol=1e-6)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), atol=1e-6)
    if method == "ML":  # REML's |XᵀV⁻¹X| depends on which of the columns stay
        assert fit.criterion == pytest.approx(plain.criterion, abs=1e-9)


def test_empty_cells_of_an_interaction():
    frame = data().assign(f=lambda d: np.where(d["u"] == 1, "p", "q"), k=lambda d: np.where(d["x"] < 0, "a", "b"))
    frame = frame[(frame["f"] == "p") | (frame["k"] == "a")]
    fit = ranef.Model("y ~ f * k + (1 | g)", frame).fit()
    assert fit.spec.design.dropped == ("f[T.q]:k[T.b]",)
    cells = ranef.Model("y ~ 0 + fk + (1 | g)", frame.assign(fk=frame["f"] + frame["k"])).fit()
    np.testing.assert_allclose(fit.fitted(), cells.fitted(), atol=1e-6)


# -- random effects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bars", "same", "words"),
    [
        ("(1 | g) + (1 | h)", "(1 | g)", ("g.Intercept", "h.Intercept")),
        ("(x | g) + (x | h)", "(x | g)", ("g.Intercept", "h.Intercept", "g.x", "h.x")),
        ("(x || g) + (x || h)", "(x || g)", ("g.Intercept", "h.Intercept", "g.x", "h.x")),
        ("(x | g) + (1 | h)", "(x | g)", ("g.Intercept", "h.Intercept")),
        ("(x + I(2 * x) | g)", "(x | g)", ("g.x", "g.I(2 * x)")),
        ("(x + I(2 * x) || g)", "(x || g)", ("g.x", "g.I(2 * x)")),
        ("(1 | g) + (0 + I(0.1 + 0 * x) | g)", "(1 | g)", ("g.Intercept", "g.I(0.1 + 0 * x)")),
    ],
)
def test_random_terms_of_one_column_space_are_called_not_identified(bars, same, words, method):
    """What the data determine is as in the model without the second term, and what they do not is named."""
    fit, plain = (ranef.Model(f"y ~ x + z + {part}", data()).fit(method) for part in (bars, same))
    assert plain.status == "converged"
    assert fit.status == "not identified"
    named = fit.optimizer.message.split("combination: ")[1].rstrip(".").split(", ")
    assert set(words) <= set(named)
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), atol=1e-4)
    assert fit.theta.abs().max() < 10
    assert fit.optimizer.message in str(fit.summary())


def test_all_dummies_beside_a_random_intercept():
    """u + v = 1: three columns of rank two, where the fit is that of two of them."""
    fit, plain = (ranef.Model(f"y ~ x + z + {bar}", data()).fit() for bar in ("(u + v | g)", "(u | g)"))
    assert fit.status in ("not identified", "boundary")
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert fit.theta.abs().max() < 10
    assert fit.optimizer.n_evaluations < 300  # of some thirty starts


def test_a_slope_that_is_zero_everywhere_is_named():
    fit = ranef.Model("y ~ x + z + (0 + x | g) + (0 + I(0 * x) | g)", data()).fit()
    assert fit.status == "not identified"
    assert fit.optimizer.message.endswith("in combination: g.I(0 * x).")


# -- no residual ---------------------------------------------------------------------------------------------------


EXACT = {
    "constant": lambda d: 3.0 + 0 * d["x"],
    "linear": lambda d: 3 * d["x"] - 0.1 * d["z"] + 1,
    "linear, far from zero": lambda d: 3 * d["x"] - 0.1 * d["z"] + 1e8,
    "linear, tiny": lambda d: 1e-12 * (3 * d["x"] - 0.1 * d["z"] + 1),
    "constant within groups": lambda d: np.sqrt(d["g"]),
    "constant within groups, far from zero": lambda d: d["g"] + 1e8,
    "linear within groups": lambda d: np.sqrt(d["g"]) + 0.1 * d["x"] * np.cos(d["g"]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", EXACT)
def test_a_perfectly_fitted_response(name, weighted, method):
    frame = data().assign(y=EXACT[name], w=lambda d: 10 ** d["x"])
    with pytest.raises(ranef.FitError, match=r"residual variance.* is zero"):
        ranef.Model("y ~ x + z + (x | g)", frame, weights="w" if weighted else None).fit(method)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_residual_is_no_zero(method):
    """A residual of 1e-6 of the response is fitted like any other."""
    small = data().assign(y=lambda d: 3 * d["x"] + 1 + 1e-6 * d["y"])
    fit, plain = (ranef.Model("y ~ x + z + (x | g)", frame).fit(method) for frame in (small, data()))
    assert fit.sigma == pytest.approx(1e-6 * plain.sigma, rel=1e-7)
    np.testing.assert_allclose(fit.theta, plain.theta, rtol=1e-6)


@pytest.mark.parametrize("name", ["constant", "linear"])
def test_a_perfectly_fitted_response_where_sigma_is_known(name):
    """Nothing is infinite then: the fixed effects explain all, and the random effects are zero."""
    fit = ranef.Model("y ~ x + z + (x | g)", data().assign(y=EXACT[name]), sigma=0.5).fit()
    assert fit.status == "boundary"
    assert "All variances of g are estimated as zero" in fit.optimizer.message
    np.testing.assert_allclose(fit.ranef()["estimate"], 0, atol=1e-12)
    np.testing.assert_allclose(fit.fitted(), data().assign(y=EXACT[name])["y"], rtol=1e-12)
