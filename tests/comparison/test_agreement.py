from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _ranef.comparison import agreement_frame, interval_overlap

ENDS = st.floats(-100.0, 100.0)


def long(**fits):
    """Fits of parameters given as rows of estimate, sd, lower, upper."""
    parts = []
    for name, rows in fits.items():
        frame = pd.DataFrame(rows, columns=["estimate", "sd", "lower", "upper"], dtype=float)
        terms = [f"t{i}" for i in range(len(rows))]
        parts.append(frame.assign(fit=name, effect="random", group="g", level="", term=terms))
    return pd.concat(parts, ignore_index=True)


@given(st.lists(ENDS, min_size=4, max_size=4))
def test_overlap_is_the_share_of_a_grid_that_both_cover(ends):
    (a, b), (c, d) = sorted(ends[:2]), sorted(ends[2:])
    found = float(interval_overlap(*(np.array([v]) for v in (a, b, c, d)))[0])
    x = np.linspace(-100.0, 100.0, 200_001)
    first, second = (x >= a) & (x <= b), (x >= c) & (x <= d)
    if (first | second).sum() > 10_000:
        assert found == pytest.approx((first & second).sum() / (first | second).sum(), abs=1e-3)
    assert np.isnan(found) or 0 <= found <= 1
    back = float(interval_overlap(*(np.array([v]) for v in (c, d, a, b)))[0])
    assert back == found or (np.isnan(back) and np.isnan(found))


def test_columns_and_reference():
    frame = agreement_frame(long(a=[(1, 1, 0, 2), (0, 1, -1, 1)], b=[(2, 4, -2, 6), (0, 2, 5, 9)]), "b")
    assert frame["fit"].tolist() == ["a", "a"]
    assert frame["reference"].tolist() == ["b", "b"]
    assert frame["difference"].tolist() == [-1, 0]
    assert frame["difference_in_sd"].tolist() == [-0.25, 0]
    assert frame["overlap"].tolist() == [0.25, 0.0]
    assert frame["width_ratio"].tolist() == [0.25, 0.5]


def test_a_fit_agrees_with_itself_whatever_the_units():
    rows = [(1.0, 0.5, 0.2, 1.9), (-3.0, 1.0, -5.0, -1.5)]
    for unit in (1.0, 1e-3, 1e6):
        scaled = unit * np.array(rows)
        frame = agreement_frame(long(a=scaled, b=scaled), "a")
        assert (frame["difference_in_sd"] == 0).all()
        np.testing.assert_allclose(frame[["overlap", "width_ratio"]], 1.0)


def test_no_sd_or_interval_is_nan():
    nan = np.nan
    frame = agreement_frame(long(a=[(1, nan, nan, nan), (0, 0, 0, 0)], b=[(2, 1, 0, 4), (0, 0, 0, 0)]), "b")
    assert frame["difference_in_sd"].tolist()[0] == -1
    assert frame[["overlap", "width_ratio"]].isna().all(axis=None)
    assert np.isnan(frame["difference_in_sd"][1])
