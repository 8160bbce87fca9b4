import datetime as dt
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ranef
from _ranef.design.expression_values import Factor, Logical, Numeric
from _ranef.design.table import read_table
from _ranef.errors import DesignError


def column(values):
    return read_table({"v": values}).column("v")


NUMBERS = {
    "list": [1, 2, None],
    "floats": [1.0, 2.0, float("nan")],
    "object": np.array([1, 2.0, None], dtype=object),
    "decimal": np.array([Decimal(1), Decimal(2), None], dtype=object),
    "NaT": np.array([1, 2.0, pd.NaT], dtype=object),
    "Int64": pd.Series([1, 2, None], dtype="Int64"),
    "Float64": pd.Series([1, 2, None], dtype="Float64"),
    "arrow": pd.Series([1, 2, None], dtype="int64[pyarrow]"),
    "sparse": pd.Series(pd.arrays.SparseArray([1.0, 2.0, np.nan])),
    "float16": np.array([1, 2, np.nan], dtype=np.float16),
    "polars": pl.Series([1, 2, None]),
    "polars decimal": pl.Series([Decimal(1), Decimal(2), None]),
    "polars int128": pl.Series([1, 2, None], dtype=pl.Int128),
    "pyarrow": pa.chunked_array([[1, 2], [None]]),
}
LOGICALS = {
    "list": [True, False, None],
    "NaT": np.array([True, False, pd.NaT], dtype=object),
    "object": np.array([True, False, None], dtype=object),
    "boolean": pd.Series([True, False, None], dtype="boolean"),
    "arrow": pd.Series([True, False, None], dtype="bool[pyarrow]"),
    "polars": pl.Series([True, False, None]),
    "pyarrow": pa.chunked_array([[True, False, None]]),
}
TEXTS = {
    "list": ["b", "a", None],
    "object": pd.Series(["b", "a", None], dtype=object),
    "NaT": pd.Series(["b", "a", pd.NaT], dtype=object),
    "str": pd.Series(["b", "a", None]),
    "string": pd.Series(["b", "a", None], dtype="string"),
    "arrow": pd.Series(["b", "a", None], dtype="string[pyarrow]"),
    "polars": pl.Series(["b", "a", None]),
    "pyarrow": pa.chunked_array([["b", "a", None]]),
}
CATEGORIES = {
    "pandas": pd.Series(pd.Categorical(["b", "a", None], categories=["b", "z", "a"])),
    "polars Enum": pl.Series(["b", "a", None], dtype=pl.Enum(["b", "z", "a"])),
    "pyarrow": pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([0, 2, None]), ["b", "z", "a"])]),
    "pandas arrow": pd.Series(["b", "a", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_numbers(values):
    value = column(values)
    assert isinstance(value, Numeric)
    assert value.values.dtype == np.float64
    np.testing.assert_array_equal(value.values, [1.0, 2.0, np.nan])


@pytest.mark.parametrize("values", LOGICALS.values(), ids=LOGICALS)
def test_logicals(values):
    value = column(values)
    assert isinstance(value, Logical)
    np.testing.assert_array_equal(value.values, [1.0, 0.0, np.nan])


@pytest.mark.parametrize("values", TEXTS.values(), ids=TEXTS)
def test_text_is_a_factor_with_sorted_levels(values):
    value = column(values)
    assert isinstance(value, Factor)
    assert value.levels == ("a", "b")
    assert value.codes.dtype == np.intp
    assert value.codes.tolist() == [1, 0, -1]


@pytest.mark.parametrize("values", CATEGORIES.values(), ids=CATEGORIES)
def test_categories_keep_their_order(values):
    value = column(values)
    assert [level for level in value.levels if level != "z"] == ["b", "a"]
    assert [value.levels[code] if code >= 0 else None for code in value.codes] == ["b", "a", None]
    assert not value.ordered


def test_categories_of_polars_without_an_order_are_sorted():
    value = column(pl.Series(["zz-late", "aa-early", None], dtype=pl.Categorical))
    assert value.levels == ("aa-early", "zz-late")
    assert value.codes.tolist() == [1, 0, -1]


def test_ordered_categories():
    assert column(pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True)).ordered
    arrow = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["b", "a"]), ordered=True)
    assert column(pa.chunked_array([arrow])).ordered


def test_category_labels_are_text():
    assert column(pd.Categorical([308.0, 309.5])).levels == ("308", "309.5")
    assert column(pd.Categorical([2, 1], categories=[2, 1])).levels == ("2", "1")
    assert column(pd.Categorical([True, False])).levels == ("False", "True")


def test_chunks_with_different_dictionaries():
    chunks = [pa.array(["a", "b", None]).dictionary_encode(), pa.array(["c", "b", None]).dictionary_encode()]
    value = column(pa.chunked_array(chunks))
    assert [value.levels[code] if code >= 0 else None for code in value.codes] == ["a", "b", None, "c", "b", None]


def test_a_column_is_converted_once():
    table = read_table({"v": [1, 2]})
    assert table.column("v") is table.column("v")


def test_only_what_is_asked_for_is_converted(build):
    data = {"y": [1.0, 2, 4, 3], "g": list("aabb"), "when": [dt.date(2020, 1, 1)] * 4, "bad": [[1], [2], [3], [4]]}
    assert build("y ~ 1 + (1 | g)", pd.DataFrame(data)).fixed_names == ("Intercept",)


def test_fractions_and_decimals_are_numbers():
    assert column([Fraction(1, 2), Fraction(3), 1.25]).values.tolist() == [0.5, 3.0, 1.25]
    assert np.isnan(column(np.array([Decimal("0.5"), None], dtype=object)).values).tolist() == [False, True]


def test_dictionaries_with_unsigned_indices():
    arrow = pl.Series(["b", "a", None]).cast(pl.Categorical).to_arrow()
    value = column(pa.chunked_array([arrow]))
    assert [value.levels[code] if code >= 0 else None for code in value.codes] == ["b", "a", None]


def test_names_that_are_no_text(build):
    data = pd.DataFrame({"y": [1.0, 2, 4, 3], 2020: [1.0, 2, 3, 5], "g": list("aabb")})
    for given in (data, data.to_dict("list")):
        assert build("y ~ `2020` + (1 | g)", given).fixed_names == ("Intercept", "2020")
    assert list(data.columns) == ["y", 2020, "g"]
    with pytest.raises(DesignError, match="more than one column of a name"):
        read_table(data.rename(columns={"y": "2020"}))
    data.columns = pd.MultiIndex.from_product([["a"], ["y", "x", "g"]])
    with pytest.raises(DesignError, match=r"have 2 levels \(a MultiIndex.*data.columns = \['_'.join"):
        read_table(data)


UNREADABLE = {
    "datetime": (pd.Series(pd.to_datetime([None, "2020-01-02"])), "2020-01-02.*row 1.*days since"),
    "date": (pl.Series([dt.date(2020, 1, 1)]), "2020-01-01.*row 0"),
    "duration": (pd.Series(pd.to_timedelta([1, 2], unit="D")), r"row 0.*total_seconds\(\) / 86400"),
    "complex": (np.array([1j, 2]), "complex128.*row 0.*real or imaginary part"),
    "mixture": (np.array([1, 2.5, "a"], dtype=object), "a mixture, int and str.*is a in row 2"),
    "list": (pl.Series([[1], [2]]), "a list in each row.*row 0.*a column of each element"),
    "arrays of polars": (pl.Series([[1.0], [2.0]], dtype=pl.Array(pl.Float64, 1)), "an array in each row.*row 0"),
    "records of polars": (pl.Series([{"a": 1}, {"a": 2}]), "a record in each row.*row 0"),
    "arrays": (pd.Series([np.ones(2), np.ones(2)]), "an array of shape .2,. in each row.*row 0"),
    "dicts": (pd.Series([{"a": 1}, {"b": 2}]), "a dict in each row.*row 0"),
    "bytes": (np.array([b"a", b"b"]), r"row 0.*str.decode"),
    "times": (pd.Series([dt.time(1), dt.time(2)]), "row 0.*t.hour"),
    "intervals": (pd.Series(pd.interval_range(0, 2)), "row 0.*i.mid"),
    "objects": (np.array([None, object], dtype=object), "row 1"),
    "period": (pd.Series(pd.period_range("2020", periods=2)), "row 0.*dt.year"),
}


@pytest.mark.parametrize(("values", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named_with_its_first_row(values, words):
    with pytest.raises(DesignError, match=rf"(?s)Column 'v' holds.*{words}"):
        column(values)


def test_infinite_values_are_refused():
    with pytest.raises(DesignError, match=r"Column 'v' is -inf in row 2"):
        column([1.0, np.nan, -np.inf])


def test_integers_beyond_two_to_53_are_refused():
    assert column([2**53, 1]).values[0] == 2**53
    with pytest.raises(DesignError, match=r"beyond 2\^53.*make it text"):
        column([2**53 + 1, 1])


def test_index_label_is_named_where_it_is_not_the_position():
    table = read_table(pd.DataFrame({"v": [1.0, np.inf]}, index=["one", "two"]))
    with pytest.raises(DesignError, match=r"row 1 \(index 'two'\)"):
        table.column("v")


@pytest.mark.parametrize(
    "data",
    [None, 3, "data.csv", [1, 2], np.zeros((2, 2)), pl.LazyFrame({"a": [1]})],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_data_frame(data):
    with pytest.raises(DesignError, match=r"expected is a data frame of pandas or polars"):
        read_table(data)


@pytest.mark.parametrize(
    "data", [{}, {"a": []}, pd.DataFrame(), pd.DataFrame({"a": []}), pl.DataFrame({"a": []})], ids=repr
)
def test_empty_data(data):
    with pytest.raises(DesignError, match=r"The data are empty"):
        read_table(data)


def test_unequal_lengths():
    with pytest.raises(DesignError, match=r"'a' has 2, 'c' has 3"):
        read_table({"a": [1, 2], "b": [1, 2], "c": [1, 2, 3]})


@pytest.mark.parametrize("value", [3, "text", np.array(2.0), None], ids=repr)
def test_scalar_column(value):
    with pytest.raises(DesignError, match=r"Column 'b'.*one entry for each row"):
        read_table({"a": [1, 2], "b": value})


def test_column_with_two_dimensions():
    with pytest.raises(DesignError, match=r"Column 'v' has shape \(2, 2\)"):
        column(np.zeros((2, 2)))


def test_duplicate_column_names():
    with pytest.raises(DesignError, match=r"more than one column of a name: 'a' 2 times"):
        read_table(pd.DataFrame(np.zeros((2, 3)), columns=["a", "b", "a"]))
    with pytest.raises(DesignError, match=r"more than one column of a name: 'a' 2 times"):
        read_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_two_categories_with_the_same_text():
    with pytest.raises(DesignError, match=r"same text"):
        column(pd.Categorical([1, "1"], categories=[1, "1"]))


def test_rows_as_of_json():
    """A list of rows is one frame, and no chunks; what a row does not name is missing."""
    columns = {"y": [1.0, 2.5, 2.0, 4.0, 3.0, 5.5], "g": list("aabbcc"), "x": [1, 2, 1, 2, 1, None]}
    frame = pd.DataFrame(columns)
    rows = [{name: value for name, value in row.items() if value == value} for row in frame.to_dict("records")]
    model, plain = (ranef.Model("y ~ x + (1 | g)", data) for data in (rows, frame))
    assert model.spec.n_obs == 5
    assert model.fit().criterion == plain.fit().criterion
    new = [{"x": 3.0, "g": "a"}, {"x": 0.0, "g": "b"}]
    pd.testing.assert_series_equal(model.fit().predict(new), plain.fit().predict(pd.DataFrame(new)))
    halves = [{name: values[:3] for name, values in columns.items()}, frame.iloc[3:]]
    assert ranef.Model("y ~ x + (1 | g)", halves).fit().criterion == pytest.approx(plain.fit().criterion, abs=1e-9)
