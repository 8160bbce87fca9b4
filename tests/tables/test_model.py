"""Layouts at fixed numbers, never at an optimum."""

from __future__ import annotations

import pytest

from _ranef.tables import Document, Grid, Text
from _ranef.tables.numbers import aligned, decimals_for, with_decimals

DOCUMENT = Document(
    (
        Text(("Formula: y ~ x",)),
        Grid(("", "Estimate"), (("Intercept", "1.25"), ("a<b", "-0.50")), "Fixed effects:", notes=("3 rows",)),
    )
)


def test_text():
    assert str(DOCUMENT) == (
        "Formula: y ~ x\n\nFixed effects:\n           Estimate\n Intercept     1.25\n a<b          -0.50\n3 rows"
    )


def test_html_is_escaped():
    html = DOCUMENT._repr_html_()
    assert "a&lt;b" in html
    assert html.count("<tr>") == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Rscript -e 'format(c(612.0899, 35.07166, 654.9410), digits = 4)' and so on, trimmed
        ([612.0899, 35.07166, 654.9410], ["612.09", "35.07", "654.94"]),
        ([24.74045, 5.922133, 25.59182], ["24.740", "5.922", "25.592"]),
        ([0.0, 13.3460], ["0.00", "13.35"]),
        ([8.434, 1.657, 0.678], ["8.434", "1.657", "0.678"]),
        ([float("nan"), 1.5], ["", "1.5"]),
        ([1e-12, 2.0], ["1.000e-12", "2"]),
        ([], []),
    ],
)
def test_aligned_as_r_formats(values, expected):
    assert aligned(values) == expected


def test_decimals():
    assert decimals_for([0.2609], [0.196]) == 4
    assert decimals_for([251.4], [6.82]) == 2
    assert decimals_for([60.4], [0.149]) == 3
    assert decimals_for([float("nan")], [float("nan")]) == 4
    assert with_decimals([1.23456, float("nan")], 2) == ["1.23", ""]
