"""What the data do not determine is found by rank: named, told apart from a boundary, and different under ML."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison.singular_fits import boundary
from _ranef.likelihood import undetermined
from oracle import dense


def rows() -> pd.DataFrame:
    """Ten groups of six; b × t splits each; w, u and v are constant within them, u and v of two and three values."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(10), 6)
    y = rng.normal(size=60) + 2 * rng.normal(size=10)[g]
    return pd.DataFrame(
        {
            "y": y,
            "s": [f"s{i}" for i in g],
            "again": [f"q{9 - i}" for i in g],
            "pair": [f"k{i // 2}" for i in g],
            "b": np.array(["p", "q"])[np.tile(np.repeat([0, 1], 3), 10)],
            "t": np.array(["k", "l", "m"])[np.tile([0, 1, 2], 20)],
            "w": rng.normal(size=10)[g],
            "u": (np.arange(10) % 2.0)[g],
            "v": (np.arange(10) % 3.0)[g],
            "x": rng.normal(size=60),
            "year": 2005 + 3 * rng.normal(size=60),
        }
    )


REML, BOTH = ("REML",), ("REML", "ML")

CASES = [
    ("s + (1 | s)", REML, ["s.Intercept"]),
    ("0 + s + (1 | s)", REML, ["s.Intercept"]),
    ("b * t + (1 | b:t)", REML, ["b:t.Intercept"]),
    ("s + (x | s)", REML, ["s.Intercept", "s.x.Intercept"]),
    ("s + (year | s)", REML, ["s.Intercept", "s.year.Intercept"]),
    ("s * year + (year | s)", REML, ["s.Intercept", "s.year.Intercept", "s.year"]),
    ("pair + (1 | s) + (1 | pair)", REML, ["pair.Intercept"]),
    ("w + (1 + u | s)", BOTH, ["s.u.Intercept", "s.u"]),
    ("1 + (1 | s) + (1 | again)", BOTH, ["s.Intercept", "again.Intercept"]),
    ("x + (x | s) + (1 | again)", BOTH, ["s.Intercept", "again.Intercept"]),
    ("1 + (1 | s) + (0 + b | s)", BOTH, ["s.Intercept", "s.b[p]", "s.b[q].b[p]", "s.b[q]"]),
    ("s + (0 + year | s)", (), []),
    ("year + (year | s)", (), []),
    ("year + (year || s)", (), []),
    ("w + (1 + w | s)", (), []),
    ("v + (1 + v | s)", (), []),
    ("u + (1 + u || s)", (), []),
    ("1 + ident(0 + b | s) + (1 | again)", (), []),
    ("x + (1 | pair) + (1 | s)", (), []),
]


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(("formula", "methods", "names"), CASES)
def test_names_by_rank(formula, methods, names, method):
    model = ranef.Model(f"y ~ {formula}", rows())
    found = undetermined(model.spec, model.products, method)
    lost = [name for name, gone in zip(model.spec.theta_names, found.entries, strict=True) if gone]
    assert sorted(lost) == sorted(names if method in methods else [])


@pytest.mark.parametrize(("formula", "methods", "names"), [case for case in CASES if "REML" in case[1]])
def test_the_fit_says_so_and_calls_nothing_a_boundary(formula, methods, names):
    fit = ranef.Model(f"y ~ {formula}", rows()).fit()
    assert fit.status == "not identified"
    assert sorted(fit.optimizer.undetermined) == sorted(names)
    listed = fit.optimizer.message.split("combination: ")[1].rstrip(".").split(", ")
    assert sorted(listed) == sorted(names)
    assert fit.theta.abs().max() < 1e4  # no walk along what is flat
    words = " ".join(boundary(fit.spec, {"eb": (fit.likelihood, fit.estimates)}, {}).words)
    assert f"REML does not determine {names[0]}" in words
    assert "sd(Intercept) of s at 0" not in words


@pytest.mark.parametrize("theta", [0.0, 0.1, 1.0, 100.0])
def test_the_dense_criterion_is_flat_there(theta):
    """The claim behind the first case, from V built whole; and that of ML is not."""
    spec = ranef.Model("y ~ s + (1 | s)", rows()).spec
    at, one = (dense(spec, [value], "REML").criterion for value in (theta, 1.0))
    assert at == pytest.approx(one, abs=1e-6)
    if theta > 0:
        assert dense(spec, [theta], "ML").criterion > dense(spec, [0.0], "ML").criterion


def test_maximum_likelihood_has_its_maximum_at_zero():
    fit = ranef.Model("y ~ s + (1 | s)", rows()).fit("ML")
    assert (fit.status, fit.is_singular) == ("boundary", True)
    assert fit.optimizer.undetermined == ()
    assert fit.theta.tolist() == [0.0]


def test_the_rest_is_as_without_the_term():
    """What stands in X is nowhere else: slopes, σ and BLUPs are those of the model whose bar leaves it out."""
    fit, plain = (ranef.Model(f"y ~ s + {bar}", rows()).fit() for bar in ("(x | s)", "(0 + x | s)"))
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert fit.sigma == pytest.approx(plain.sigma, rel=1e-5)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), atol=1e-4)


def test_large_designs_are_judged_from_sums():
    """More effects than are decomposed: 2 000 groups that stand in X by their pairs only, and one partition twice."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(2000), 2)
    data = pd.DataFrame({"y": rng.normal(size=4000), "g": g, "h": 7 * g, "x": rng.normal(size=4000)})
    twice = ranef.Model("y ~ x + (1 | g) + (1 | h)", data)
    assert undetermined(twice.spec, twice.products, "REML").entries.all()
    once = ranef.Model("y ~ x + (x | g)", data.assign(g=g // 2))
    assert not undetermined(once.spec, once.products, "REML").entries.any()
