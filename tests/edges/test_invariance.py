"""What must not matter: the order of rows and terms, labels, and the origins and units of y and x.

The internal scale is the same whatever these are, so the optimiser takes the same path up to rounding; that is why
tolerances can be tighter than the 3e-6 of a standard error within which it stops.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ranef
from edges.made import FORMULAS, made
from oracle import dense

designs = st.tuples(
    st.integers(0, 10**6), st.integers(40, 120), st.sampled_from(sorted(FORMULAS)), st.sampled_from(["REML", "ML"])
)
few = settings(max_examples=15)
moderate = st.floats(-1e4, 1e4)
units = st.floats(1e-6, 1e6)

# rounding of the data grows with the origin; amplified by the curvature it is below a millionth of a standard error
CLOSE = 1e-6


def fit(formula: str, data: pd.DataFrame, method: str) -> ranef.EmpiricalBayesFit:
    return ranef.Model(f"y ~ {FORMULAS.get(formula, formula)}", data).fit(method)


def blups(fit: ranef.EmpiricalBayesFit) -> pd.Series:
    return fit.ranef().set_index(["group", "level", "term"])["estimate"].sort_index()


def assert_same(ours, theirs, *, y_unit=1.0, shift=0.0, x_unit=1.0, effects=True):
    """Compare a fit to changed data with one to plain data, in plain units; y' = y_unit y + …, x' = x_unit x + …."""
    sd = theirs.sigma
    assert ours.criterion - shift == pytest.approx(theirs.criterion, rel=1e-8, abs=1e-8)
    assert ours.sigma / y_unit == pytest.approx(theirs.sigma, rel=CLOSE)
    assert ours.status == theirs.status
    np.testing.assert_allclose(ours.fixef["x"] * x_unit / y_unit, theirs.fixef["x"], atol=CLOSE * sd)
    if effects:
        size = np.where(blups(theirs).index.get_level_values("term") == "x", x_unit, 1.0)
        np.testing.assert_allclose(blups(ours) * size / y_unit, blups(theirs), atol=CLOSE * sd)


@given(designs, st.randoms(use_true_random=False))
@few
def test_order_of_rows(design, random):
    seed, n, name, method = design
    data = made(seed, n)
    order = random.sample(range(n), n)
    plain, permuted = fit(name, data, method), fit(name, data.iloc[order], method)
    assert_same(permuted, plain)
    np.testing.assert_allclose(permuted.fitted().loc[data.index], plain.fitted(), atol=CLOSE * plain.sigma)


@given(designs, st.permutations(range(8)))
@few
def test_labels_of_levels(design, order):
    seed, n, name, method = design
    data = made(seed, n)
    renamed = {f"{group}{code}": f"{group}-{order[code]}" for group in "abce" for code in range(8)}
    plain = fit(name, data, method)
    other = fit(name, data.assign(**{group: data[group].map(renamed) for group in "abce"}), method)
    assert_same(other, plain, effects=False)
    ours, theirs = blups(other), blups(plain)
    back = [(group, ":".join(renamed[part] for part in level.split(":")), term) for group, level, term in theirs.index]
    np.testing.assert_allclose(ours.loc[back], theirs, atol=CLOSE * plain.sigma)


@given(designs, st.randoms(use_true_random=False))
@few
def test_order_of_terms(design, random):
    seed, n, name, method = design
    data = made(seed, n)
    terms = re.split(r" \+ (?![^(]*\))", FORMULAS[name])
    plain, other = fit(name, data, method), fit(" + ".join(random.sample(terms, len(terms))), data, method)
    assert_same(other, plain)
    np.testing.assert_allclose(other.theta[plain.theta.index], plain.theta, atol=1e-6)
    np.testing.assert_allclose(other.fixef[plain.fixef.index], plain.fixef, atol=CLOSE * plain.sigma)


@given(designs, moderate, units, st.sampled_from([1, -1]))
@few
def test_origin_and_unit_of_y(design, origin, unit, sign):
    seed, n, name, method = design
    data = made(seed, n)
    plain = fit(name, data, method)
    other = fit(name, data.assign(y=sign * unit * (data["y"] + origin)), method)
    nu = n - (plain.spec.n_fixed if method == "REML" else 0)
    assert other.criterion - 2 * nu * np.log(unit) == pytest.approx(plain.criterion, rel=1e-8, abs=1e-8)
    assert other.sigma / unit == pytest.approx(plain.sigma, rel=CLOSE)
    np.testing.assert_allclose(blups(other) / (sign * unit), blups(plain), atol=CLOSE * plain.sigma)
    assert other.fixef["Intercept"] / (sign * unit) - origin == pytest.approx(plain.fixef["Intercept"], abs=1e-6)


@given(designs, units)
@few
def test_unit_of_x(design, unit):
    seed, n, name, method = design
    data = made(seed, n)
    plain, other = fit(name, data, method), fit(name, data.assign(x=unit * data["x"]), method)
    assert_same(other, plain, shift=2 * np.log(unit) if method == "REML" else 0.0, x_unit=unit)


@given(designs.filter(lambda design: design[2] not in ("diagonal slope", "two terms")), moderate)
@few
def test_origin_of_x(design, origin):
    """Only where every random slope has its intercept beside it: the intercept's effect takes up b₁ times the shift."""
    seed, n, name, method = design
    data = made(seed, n)
    plain, other = fit(name, data, method), fit(name, data.assign(x=data["x"] + origin), method)
    assert_same(other, plain, effects=False)
    np.testing.assert_allclose(other.fitted(), plain.fitted(), atol=CLOSE * plain.sigma)
    np.testing.assert_allclose(other.fitted("none"), plain.fitted("none"), atol=CLOSE * plain.sigma)


def test_origin_of_x_matters_to_independent_slopes():
    """The other side of the last test: (x || a) with x shifted is another model, so these tests can fail."""
    plain, other = (fit("diagonal slope", made(1).eval(f"x = x + {origin}"), "ML") for origin in (0, 3))
    assert abs(plain.criterion - other.criterion) > 0.01


@given(designs)
@few
def test_the_oracle_agrees_and_no_random_start_ends_lower(design):
    seed, n, name, method = design
    model = ranef.Model(f"y ~ {FORMULAS[name]}", made(seed, n))
    best, rng = model.fit(method), np.random.default_rng(seed)
    assert best.criterion == pytest.approx(dense(best.spec, best.estimates.theta, method).criterion, rel=1e-10)
    for size in (0.1, 1.0, 5.0):
        other = model.fit(method, start=size * rng.normal(size=model.spec.n_theta))
        assert best.criterion < other.criterion + 1e-7
