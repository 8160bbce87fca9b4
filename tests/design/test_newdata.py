import numpy as np
import pandas as pd
import polars as pl
import pytest

from _ranef.design import encode
from _ranef.errors import DesignError, FormulaError, RanefWarning
from ranef import datasets

FORMULA = "y ~ x * text + o + flag + offset(x / 2) + (x + f | g) + (1 | text:f)"


@pytest.fixture
def design(frame, build):
    return build(FORMULA, frame, sigma=1)


def test_the_data_themselves(design, frame):
    encoded = encode(design.encoding, frame)
    np.testing.assert_array_equal(encoded.X, design.X)
    np.testing.assert_array_equal(encoded.offset, design.offset)
    assert encoded.complete.all()
    for ours, theirs in zip(encoded.random, design.random, strict=True):
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.parametrize("convert", [lambda frame: pl.from_pandas(frame), lambda frame: frame.to_dict("list")])
def test_rows_of_another_frame(convert, design, frame):
    some = frame.iloc[[4, 7]].drop(columns="y")
    encoded = encode(design.encoding, convert(some))
    np.testing.assert_array_equal(encoded.X, design.X[[4, 7]])
    assert encoded.random[0].codes.tolist() == design.random[0].codes[[4, 7]].tolist()
    assert encoded.random[1].codes.tolist() == design.random[1].codes[[4, 7]].tolist()


def test_the_index_of_the_data(design, frame):
    assert encode(design.encoding, frame.iloc[[5, 2]]).index.tolist() == [5, 2]


def test_only_the_fixed_part(design, frame):
    encoded = encode(design.encoding, frame[["x", "text", "o", "flag"]], groups=())
    np.testing.assert_array_equal(encoded.X, design.X)
    assert encoded.random == (None, None)


def test_some_groups(design, frame):
    encoded = encode(design.encoding, frame.drop(columns=["y", "g"]), groups=["text:f"])
    assert encoded.random[0] is None
    np.testing.assert_array_equal(encoded.random[1].codes, design.random[1].codes)


def test_unknown_group(design, frame):
    with pytest.raises(DesignError, match=r"no grouping factor 'G'. Did you mean 'g'\?"):
        encode(design.encoding, frame, groups=["G"])


def test_unseen_and_missing_levels_of_groups(design, frame):
    new = frame.head(3).assign(g=["r", "unseen", None])
    encoded = encode(design.encoding, new)
    assert encoded.random[0].codes.tolist() == [2, len(design.random[0].levels), -1]
    assert encoded.random[0].unseen == ("unseen",)
    assert encoded.complete.all()


def test_groups_that_are_numbers(build):
    data = {"y": [1.0, 2, 4, 3, 5, 1], "g": [308, 308, 309, 309, 310, 310]}
    design = build("y ~ 1 + (1 | g)", data)
    for g in ([309, 1], [309.0, 1.5], ["309", "1"], pd.Categorical(["309", "1"])):
        assert encode(design.encoding, {"g": g}).random[0].codes.tolist() == [1, 3]


def test_groups_that_were_text(build):
    data = {"y": [1.0, 2, 4, 3], "g": ["308", "308", "309", "309"]}
    assert encode(build("y ~ 1 + (1 | g)", data).encoding, {"g": [309, 7]}).random[0].codes.tolist() == [1, 2]


def test_unseen_level_of_a_fixed_factor(design, frame):
    with pytest.raises(DesignError, match=r"text is 'd' in row 1 .*not fitted with.*Known levels: a, b, c"):
        encode(design.encoding, frame.head(2).assign(text=["a", "d"]), groups=())


def test_unseen_level_left_of_a_bar(design, frame):
    with pytest.raises(DesignError, match=r"f is 'never' in row 0 .*Known levels: lo, mid, hi"):
        encode(design.encoding, frame.head(2).assign(f=["never", "lo"]))


def test_unseen_levels_in_calls(frame, build):
    design = build("y ~ dummy(text, 'b') + relevel(f, 'mid') + factor(x %% 3) + (1 | g)", frame)
    np.testing.assert_array_equal(encode(design.encoding, frame.iloc[[1]]).X, design.X[[1]])
    with pytest.raises(DesignError, match=r"dummy\(text, \"b\"\) cannot be evaluated: the level 'd'"):
        encode(design.encoding, frame.head(2).assign(text=["a", "d"]))
    with pytest.raises(DesignError, match=r"factor\(x ?%% ?3\) is '0.5' in row 0"):
        encode(design.encoding, frame.head(2).assign(x=[0.5, 1.0]))


def test_missing_predictors(design, frame):
    new = frame.head(4).assign(x=[0.0, np.nan, 2.0, 3.0], f=["lo", "hi", None, "lo"])
    encoded = encode(design.encoding, new)
    assert encoded.complete.tolist() == [True, False, False, True]
    assert np.isnan(encoded.X[1]).all()
    assert np.isfinite(encoded.X[[0, 2, 3]]).all()
    assert np.isnan(encoded.random[0].values[1:3]).all()
    assert np.isnan(encoded.offset[1])
    assert encode(design.encoding, new, groups=()).complete.tolist() == [True, False, True, True]


@pytest.mark.parametrize("gone", ["x", "text", "o", "flag"])
def test_a_predictor_missing_in_every_row(gone, design, frame):
    encoded = encode(design.encoding, frame.head(3).assign(**{gone: [None, None, None]}), groups=())
    assert encoded.X.shape == (3, design.X.shape[1])
    assert not encoded.complete.any()
    assert np.isnan(encoded.X).all()


def test_a_transformed_predictor_missing_in_every_row(frame, build):
    design = build("y ~ poly(x, 2) + factor(text) + scale(x):flag + (bs(x, df = 4) | g)", frame, sigma=1)
    encoded = encode(design.encoding, frame.head(2).assign(x=[None, None], text=[None, None]))
    assert encoded.X.shape == (2, design.X.shape[1])
    assert np.isnan(encoded.random[0].values).all()


def test_column_that_is_not_there(design, frame):
    with pytest.raises(FormulaError, match=r"(?s)'x' is not a column of the new data.*\^"):
        encode(design.encoding, frame.drop(columns="x"))


def test_column_of_another_kind(design, frame):
    with pytest.raises(DesignError, match=r"Column 'x' was numeric when the model was built, and is 'a' in row 0"):
        encode(design.encoding, frame.assign(x="a"))
    with pytest.raises(DesignError, match=r"Column 'flag' was logical .* is 3.0 in row 0"):
        encode(design.encoding, frame.assign(flag=3))
    np.testing.assert_array_equal(encode(design.encoding, frame.assign(flag=frame["flag"].astype(int))).X, design.X)


def test_offset_named_as_a_column_is_remembered(frame, build):
    by_name = build("y ~ x + offset(x) + (1 | g)", frame, offset="x")
    assert encode(by_name.encoding, frame).offset.tolist() == (2 * frame["x"]).tolist()
    alone = build("y ~ 1 + (1 | g)", frame, offset="x")
    with pytest.raises(DesignError, match="offset='x' names no column"):
        encode(alone.encoding, frame.drop(columns="x"))


def test_an_offset_given_as_an_array_is_demanded(frame, build):
    encoding = build("y ~ x + offset(x) + (1 | g)", frame, offset=frame["x"].to_numpy()).encoding
    with pytest.raises(DesignError, match=r"offset= as an array, and the new data hold nothing of it.*or 0"):
        encode(encoding, frame)
    x, new = frame["x"].to_numpy()[:3], frame.iloc[:3]
    assert encode(encoding, new, offset=[5.0, 6.0, 7.0]).offset.tolist() == (x + np.array([5.0, 6.0, 7.0])).tolist()
    assert encode(encoding, new, offset="x").offset.tolist() == (2 * x).tolist()
    assert encode(encoding, new, offset=0).offset.tolist() == x.tolist()
    assert encode(encoding, new, offset=np.array([1.0, np.nan, 1.0])).complete.tolist() == [True, False, True]
    wrongs = (([1.0], "offset has 1 entries, and the data have 3"), ("z", "no column"), (["a"] * 3, "must be numbers"))
    for wrong, words in wrongs:
        with pytest.raises(DesignError, match=words):
            encode(encoding, new, offset=wrong)


def test_an_offset_stands_for_the_column_that_was_named(frame, build):
    encoding = build("y ~ 1 + (1 | g)", frame, offset="x").encoding
    assert encode(encoding, frame.drop(columns="x"), offset=1).offset.tolist() == [1.0] * 12
    with pytest.raises(DesignError, match="built without the argument offset="):
        encode(build("y ~ offset(x) + (1 | g)", frame).encoding, frame, offset=0)


def test_a_function_that_reads_other_rows_is_told(frame, build):
    """Its values in new data are not those that the model was fitted to."""
    functions = {"away": lambda x: x - x.mean(), "cube": lambda x: x**3}
    rowwise = build("away(y) ~ cube(x) + (1 | g)", frame, transforms=functions)
    encode(rowwise.encoding, frame.iloc[:3])
    bound = build("y ~ away(x) + (1 | g)", frame, transforms=functions)
    with pytest.warns(RanefWarning, match=r"^away\(x\) gives a row another value when it sees other rows"):
        encode(bound.encoding, frame.iloc[:3])


def test_dropped_columns_stay_dropped(frame, build):
    frame["twice"] = 2 * frame["x"]
    design = build("y ~ x + twice + flag + (1 | g)", frame)
    encoded = encode(design.encoding, frame.assign(twice=0))
    np.testing.assert_array_equal(encoded.X, design.X)
    assert encoded.determined.tolist() == [x == 0 for x in frame["x"]]
    assert encode(design.encoding, frame).determined.all()


def test_a_column_named_like_a_constant_in_new_data_only(frame, build):
    design = build("y ~ I(pi * x) + (1 | g)", frame)
    np.testing.assert_array_equal(encode(design.encoding, frame.assign(pi=0)).X, design.X)


def test_encoding_changes_nothing_remembered(build):
    data = datasets.load("sleepstudy")
    design = build("Reaction ~ poly(Days, 2) + scale(Days):bs(Days, df = 4) + (Days | Subject)", data)
    before = repr(design.encoding.states)
    encode(design.encoding, data.head(3))
    assert repr(design.encoding.states) == before
