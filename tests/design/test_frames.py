"""One design from every kind of data frame."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

FORMULA = "log(y) ~ poly(x, 2) + flag + f * text + offset(x / 10) + (x + flag | g) + (1 | text:f)"
KINDS = {
    "polars": lambda frame: pl.from_pandas(frame).with_columns(
        pl.col("f").cast(pl.String).cast(pl.Enum(["lo", "mid", "hi", "never"]))
    ),
    "pyarrow": lambda frame: pa.Table.from_pandas(frame),
    "dict of series": lambda frame: {name: frame[name] for name in frame},
    "dict of mixed": lambda frame: {
        name: frame[name].tolist()
        if name in ("text", "g")
        else frame[name].array
        if name in "fo"
        else frame[name].to_numpy()
        for name in frame
    },
    "nullable": lambda frame: frame.convert_dtypes(),
    "object text": lambda frame: frame.astype({"text": object, "g": object}),
}


@pytest.fixture
def with_gaps(frame):
    frame = pd.concat([frame] * 4, ignore_index=True)
    frame.loc[3, "y"] = np.nan
    frame.loc[5, "f"] = None
    frame.loc[7, "g"] = None
    return frame


@pytest.mark.parametrize("convert", KINDS.values(), ids=KINDS)
def test_the_same_design(convert, with_gaps, build):
    expected = build(FORMULA, with_gaps)
    design = build(FORMULA, convert(with_gaps))
    np.testing.assert_array_equal(design.X, expected.X)
    np.testing.assert_array_equal(design.y, expected.y)
    np.testing.assert_array_equal(design.offset, expected.offset)
    np.testing.assert_array_equal(design.rows, expected.rows)
    assert design.fixed_names == expected.fixed_names
    assert design.n_dropped == expected.n_dropped == 3
    for ours, theirs in zip(design.random, expected.random, strict=True):
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert ours.levels.tolist() == theirs.levels.tolist()


def test_the_data_are_not_changed(with_gaps, build):
    before = with_gaps.copy(deep=True)
    build(FORMULA, with_gaps, weights="y")
    pd.testing.assert_frame_equal(with_gaps, before)


def test_the_design_does_not_change_with_the_data(build):
    data = {"y": np.array([1.0, 2, 4, 3]), "x": np.array([1.0, 0, 1, 0]), "g": list("aabb"), "w": np.ones(4)}
    design = build("y ~ 0 + x + (0 + x | g)", data, weights=data["w"])
    for name in ("y", "x", "w"):
        data[name][:] = -9
    assert min(design.y.min(), design.X.min(), design.random[0].values.min(), design.weights.min()) >= 0


def test_arrays_are_read_only(with_gaps, build):
    design = build(FORMULA, with_gaps, weights=np.ones(len(with_gaps)))
    arrays = [design.y, design.X, design.assign, design.rows, design.weights, design.offset]
    arrays += [array for term in design.random for array in (term.levels, term.codes, term.values)]
    assert not any(array.flags.writeable for array in arrays)
    assert design.X.flags.c_contiguous
    assert all(term.values.flags.c_contiguous for term in design.random)


def test_index(with_gaps, build):
    named = with_gaps.set_index(pd.Index([f"r{k}" for k in range(len(with_gaps))]))
    assert build(FORMULA, named).index[:5].tolist() == ["r0", "r1", "r2", "r4", "r6"]
    assert build(FORMULA, pl.from_pandas(with_gaps)).index[:5].tolist() == [0, 1, 2, 4, 6]


def test_a_design_can_be_copied_and_pickled(with_gaps, build):
    design = build(FORMULA, with_gaps)
    again = pickle.loads(pickle.dumps(design))
    np.testing.assert_array_equal(again.X, design.X)
    assert again.encoding.templates.keys() == design.encoding.templates.keys()
    assert copy.deepcopy(design).fixed_names == design.fixed_names
