"""Numbers of every size, alone and beside others."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.tables.numbers import aligned, decimals_for, with_decimals

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "decimals", "error", "expected"),
    [
        (9.7e-10, 8, 3.6e-11, "9.700e-10"),
        (9.7e-10, 2, 0.5, "0.00"),  # zero, as far as its error goes
        (-3e-9, 2, 0.5, "0.00"),
        (251.4, 2, 6.8, "251.40"),
        (251.4051, 0, 0.04, "251.4051"),
        (0.00052, 2, NAN, "0.000520"),
        (0.0000123, 2, 0.0, "1.230e-05"),
        (1e12, 2, 3.0, "1000000000000.00"),
        (1.2345e12, 2, 3e9, "1.23450e+12"),
        (1.2345e12, 0, NAN, "1.234e+12"),
        (-0.0, 3, 1.0, "0.000"),
        (0.0, 3, NAN, "0.000"),
        (INF, 3, 1.0, "inf"),
        (-INF, 3, NAN, "-inf"),
        (NAN, 3, 1.0, ""),
        (2.0, 3, INF, "2.000"),
    ],
)
def test_one_number(value, decimals, error, expected):
    assert with_decimals([value], decimals, [error]) == [expected]


def test_sizes_far_apart_in_one_column():
    assert aligned([251.4051, 9.7e-10], [6.8, 3.6e-11]) == ["251.4", "9.700e-10"]
    assert aligned([1e5, 3e-12, 0.0, NAN, -0.0]) == ["100000", "3.000e-12", "0", "", "0"]
    assert decimals_for([9.7e-10], [3.6e-11]) == 8


@pytest.mark.parametrize("power", range(-12, 13))
def test_two_digits_of_every_standard_error_are_seen(power):
    """An estimate and its error at any size, beside a number of any other in one group of rows."""
    error = 1.234 * 10.0**power
    for ratio in (0.01, 1.0, 27.0, 1e4):
        value = ratio * error
        for other in (1e-9, 1.0, 1e9):
            decimals = decimals_for([value, other], [error, 0.1 * other])
            shown = [float(text) for text in with_decimals([value, error], decimals, [error, error])]
            np.testing.assert_allclose(shown, [value, error], atol=0.05 * error, rtol=1e-14)


UNITS = [1e-6, 1.0, 1e6]


def design(unit: float) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(12), 8), rng.normal(size=96)
    y = 5 + 0.4 * x + rng.normal(size=12)[g] + 0.3 * rng.normal(size=96)
    return pd.DataFrame({"y": unit * y, "x": 1e3 * x, "g": [f"g{i:02d}" for i in g]})


def cells(text: str) -> list[str]:
    return [c for row in text.splitlines() for c in row.split() if re.fullmatch(r"-?\d+(\.\d*)?(e[-+]\d+)?", c)]


@pytest.mark.parametrize("unit", UNITS)
def test_tables_of_small_and_large_responses(unit):
    """The slope is 4e-10 with t = 13 where y is in units of 1e-6: no table may show it as zero."""
    model = ranef.Model("y ~ x + (1 | g)", design(unit))
    eb, fb = model.fit(), model.sample(draws=500, seed=1, sampler="direct", progress=False)
    assert abs(eb.fixef["x"]) > 10 * np.sqrt(eb.vcov.loc["x", "x"])
    both = ranef.compare(eb, fb)
    for document in (eb.summary(), fb.summary(), both.table(), ranef.pooling(eb, fb).table()):
        text = str(document)
        slopes = [row for row in text.splitlines() if re.search(r"(^| )x ", row) and cells(row)]
        for row in slopes:
            for cell in cells(row)[:4]:
                assert float(cell) != 0.0, row
        assert not re.search(r"(?<![\d.])-0\.0+(?!\d)", text)
    shown = next(row for row in str(both).splitlines() if re.search(r"fixed\s+x ", row))
    np.testing.assert_allclose(float(cells(shown)[0]), eb.fixef["x"], rtol=2e-3)
    for export in (both.table().to_latex(), both.table().to_html(), both.table().to_markdown()):
        assert not re.search(r"\b0\.0{8}\D+0\.0{8}", export)  # one end of an interval may be that near to zero


@pytest.mark.parametrize("unit", UNITS)
def test_sds_and_levels_have_their_digits(unit):
    eb = ranef.Model("y ~ x + (1 | g)", design(unit)).fit()
    text = str(eb.summary())
    row = next(line for line in text.splitlines() if line.strip().startswith("Residual"))
    np.testing.assert_allclose([float(c) for c in cells(row)], [eb.sigma, eb.sigma**2], rtol=1e-3)
