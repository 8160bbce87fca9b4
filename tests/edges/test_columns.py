"""Types of columns and kinds of frames: the same values give the same numbers, to the last bit."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ranef

FORMULA = "y ~ k + x + t + (x | g)"


def plain() -> pd.DataFrame:
    """y, k and x are numbers that single precision holds exactly; all columns float64 but t."""
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(8), 6)
    x = rng.normal(size=48).astype(np.float32).astype(float)
    y = (rng.normal(size=48) + rng.normal(size=8)[g] * (1 + x)).astype(np.float32).astype(float)
    k = rng.integers(0, 9, 48).astype(float)
    return pd.DataFrame({"y": y, "k": k, "x": x, "t": rng.integers(0, 2, 48).astype(bool), "g": g.astype(float)})


@pytest.fixture(scope="module")
def expected():
    return ranef.Model(FORMULA, plain()).fit()


def assert_identical(data, expected):
    fit = ranef.Model(FORMULA, data).fit()
    assert fit.criterion == expected.criterion
    pd.testing.assert_series_equal(fit.fixef, expected.fixef, check_exact=True)
    pd.testing.assert_frame_equal(fit.ranef(), expected.ranef(), check_exact=True)
    np.testing.assert_array_equal(fit.predict(data), fit.fitted())


INTEGERS = ("int8", "uint8", "int32", "int64", "uint64", "Int8", "Int64", "UInt16", "int64[pyarrow]", "uint8[pyarrow]")
FLOATS = ("float32", "Float32", "Float64", "float[pyarrow]", "double[pyarrow]", "object")
LOGICALS = ("boolean", "bool[pyarrow]", "object")


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        *(("k", dtype) for dtype in (*INTEGERS, *FLOATS, "float16")),
        *(("x", dtype) for dtype in FLOATS),
        *(("y", dtype) for dtype in FLOATS),
        *(("t", dtype) for dtype in LOGICALS),
        *(("g", dtype) for dtype in (*INTEGERS, *FLOATS)),
    ],
)
def test_types_of_pandas(column, dtype, expected):
    assert_identical(plain().astype({column: dtype}), expected)


@pytest.mark.parametrize("kind", [str, "category", "string", "string[pyarrow]"])
def test_a_grouping_factor_as_text(kind, expected):
    assert_identical(plain().astype({"g": int}).astype({"g": str}).astype({"g": kind}), expected)


def test_decimals(expected):
    assert_identical(plain().assign(k=[Decimal(int(k)) for k in plain()["k"]]), expected)


@pytest.mark.parametrize(
    "frame",
    [
        pl.from_pandas,
        lambda data: pl.from_pandas(data).with_columns(pl.col("x").cast(pl.Float32), pl.col("k").cast(pl.Int16)),
        pa.Table.from_pandas,
        lambda data: pa.Table.from_pandas(data).cast(
            pa.schema(
                [("y", pa.float32()), ("k", pa.int8()), ("x", pa.float32()), ("t", pa.bool_()), ("g", pa.int64())]
            )
        ),
        lambda data: data.convert_dtypes(),
        lambda data: data.convert_dtypes(dtype_backend="pyarrow"),
        lambda data: data.to_dict("list"),
    ],
    ids=["polars", "narrow polars", "pyarrow", "narrow pyarrow", "nullable", "pyarrow-backed", "dict"],
)
def test_kinds_of_frames(frame, expected):
    assert_identical(frame(plain()), expected)


def test_single_precision_is_its_double_precision_cast():
    """Numbers that single precision rounds: computing in it would differ in the seventh digit."""
    rng = np.random.default_rng(5)
    data = plain().assign(x=rng.normal(size=48) / 3).astype({"x": "float32"})
    assert_identical(data, ranef.Model(FORMULA, data.astype({"x": float})).fit())
    rounded = ranef.Model(FORMULA, plain().assign(x=rng.normal(size=48) / 3)).fit()
    assert rounded.criterion != ranef.Model(FORMULA, data).fit().criterion


@pytest.mark.parametrize("frame", [lambda d: d, pl.from_pandas, pa.Table.from_pandas])
def test_missing_entries_of_nullable_columns(frame):
    """pd.NA and null in an integer, a logical, a number and a grouping factor drop four rows of every kind of frame."""
    data = plain().astype({"k": "Int64", "t": "boolean", "x": "Float64", "g": "Int64"})
    for row, column in ((3, "k"), (7, "t"), (20, "x"), (31, "g")):
        data.loc[row, column] = pd.NA
    fit = ranef.Model(FORMULA, frame(data)).fit()
    assert fit.spec.design.n_dropped == 4
    assert fit.criterion == ranef.Model(FORMULA, plain().drop(index=[3, 7, 20, 31])).fit().criterion


def test_weights_and_offset_of_any_type():
    data = plain().assign(w=lambda d: d["k"] + 1)
    options = [
        {"weights": "w", "offset": "k"},
        {"weights": data["w"].astype("Int64"), "offset": data["k"].astype("float32")},
        {"weights": pl.Series(data["w"]), "offset": data["k"].astype(int).tolist()},
        {"weights": pa.array(data["w"]), "offset": data["k"].astype("int64[pyarrow]")},
    ]
    criteria = {ranef.Model("y ~ x + (x | g)", data, **option).fit().criterion for option in options}
    assert len(criteria) == 1
