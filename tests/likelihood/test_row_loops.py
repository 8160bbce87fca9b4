"""Densities of rows by compiled loops are those of their families, to the last digits and where numbers end."""

import numpy as np
import pytest

from _ranef.likelihood.slopes_of_rows import kind_of, slopes_of
from _ranef.spec import Rows
from ranef.families import Binomial, Poisson

#: η from where exp(η) is lost to where it has no number, and near zero
ETA = np.concatenate([np.linspace(-750.0, 750.0, 1501), np.linspace(-3.0, 3.0, 2000), [0.0, -0.0, np.inf, -np.inf]])


def rows_of(family, n):
    rng = np.random.default_rng(1)
    weights = rng.integers(1, 20, n).astype(float)
    if isinstance(family, Binomial):
        return Rows(rng.binomial(weights.astype(int), 0.3) / weights, weights)
    return Rows(rng.poisson(3.0, n) * 10.0 ** rng.integers(0, 6, n), weights)


@pytest.mark.parametrize("family", [Binomial(), Poisson()], ids=["logit", "log"])
@pytest.mark.parametrize("shape", ["one", "grid", "own"])
def test_loops_and_families_agree(family, shape):
    """Of one η for each row, of many, and of many with responses of their own; derivatives to eight units, and the
    value to those of what it is the difference of."""
    eta = ETA if shape == "one" else np.column_stack([ETA, 0.5 * ETA, ETA[::-1]])
    rows = rows_of(family, len(eta))
    if shape != "one":
        y = rows.y[:, None]
        rows = Rows(np.column_stack([rows.y, rows.y[::-1] * 0, rows.y]) if shape == "own" else y, rows.weights[:, None])
    with np.errstate(all="ignore"):
        expected, found = family.slopes(eta, rows, {}), slopes_of(family, eta, rows, {}, often=True)
        scale = np.abs(rows.weights) * (1.0 + np.abs(eta)) * (1.0 + rows.y) + np.abs(expected.value)
        for name in ("first", "curvature", "third"):
            own, other = getattr(found, name), getattr(expected, name)
            size = np.maximum(np.abs(other), rows.weights * rows.y if name == "first" else expected.curvature)
            same = (own == other) | (np.isnan(own) & np.isnan(other))
            assert (same | (np.abs(own - other) <= 2e-15 * size + 1e-300)).all(), name
        same = (found.value == expected.value) | ~np.isfinite(found.value) & ~np.isfinite(expected.value)
        assert (same | (np.abs(found.value - expected.value) <= 1e-15 * scale)).all()


def test_other_links_are_left_to_their_families():
    assert [kind_of(f) for f in (Binomial(), Poisson(), Binomial("probit"), Poisson("sqrt"))] == [1, 2, 0, 0]
