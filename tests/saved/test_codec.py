"""Values of every kind, written and read."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ranef
from _ranef.errors import SavedFileError
from _ranef.saved import Prepared
from _ranef.saved.decode import Decoder, UnknownRecord
from _ranef.saved.encode import Encoder
from _ranef.saved.registry import registry_of


def there_and_back(value, registry=None):
    encoder = Encoder(registry or {})
    plain = json.loads(json.dumps(encoder.value(value), allow_nan=False))
    return Decoder(registry or {}, encoder.arrays, {}).value(plain)


LEAVES = [
    None,
    True,
    -3,
    10**30,
    0.1,
    -0.0,
    float("inf"),
    float("-inf"),
    5e-324,
    "",
    "ünïcödé \u2028 </script> \\",
    "\ud800",
    (),
    (1, "a", (2.5, None)),
    [1, [2]],
    slice(1, 3),
    slice(None),
    b"\x00\xff",
    1 + 2j,
    frozenset({1, 2}),
    {"a": 1, ("b", 2): [3], None: 0.5},
    np.float64(0.1),
    np.float32(0.1),
    np.int8(-3),
    np.bool_(True),
    np.datetime64("2020-01-01T00:00", "m"),
    np.str_("text"),
    Decimal("1.10"),
    UUID(int=5),
    dt.date(2020, 2, 29),
    dt.datetime(2020, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    dt.time(1, 2, 3),
    dt.timedelta(days=-1, microseconds=7),
    pd.Timestamp("2020-01-01 12:00", tz="Europe/Paris"),
    pd.Timestamp("2020-01-01"),
    pd.Timedelta("1 day 3s"),
    pd.Period("2020-02", "M"),
    pd.Interval(0.5, 2.0, closed="left"),
]


@pytest.mark.parametrize("value", LEAVES, ids=repr)
def test_leaves(value):
    again = there_and_back(value)
    assert type(again) is type(value)
    assert again == value
    assert repr(again) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), np.float64("nan"), pd.NaT, pd.NA], ids=repr)
def test_missing_values(value):
    again = there_and_back(value)
    assert type(again) is type(value)
    assert pd.isna(again)


rng = np.random.default_rng(1)
ARRAYS = [
    np.empty((0, 3)),
    np.array(0.1),
    rng.normal(size=(3, 4)),
    rng.normal(size=(30, 40)),
    np.asfortranarray(rng.normal(size=(30, 40))),
    np.moveaxis(rng.normal(size=(5, 20, 30)), 0, 1),
    rng.normal(size=(60, 40))[::2, 1:],
    rng.normal(size=100)[::-1],
    np.array([0, 255], dtype=np.uint8),
    np.array([1.5, np.nan, -np.inf, -0.0]),
    np.array(["a", "bcd"]),
    np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
    np.arange(6, dtype=np.complex64).reshape(2, 3),
    np.arange(200, dtype=">i4"),
    np.array(["a", None, 3, (1, 2)], dtype=object),
    np.array([["a", "b"], ["c", "d"]], dtype=object),
    np.array([], dtype=object),
    np.ones(1000, dtype=bool),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}{a.strides}")
def test_arrays_to_the_bit_and_in_their_order_in_memory(array):
    again = there_and_back(array)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    if array.dtype.hasobject:
        assert again.tolist() == array.tolist()
        return
    assert again.tobytes() == array.tobytes()
    assert np.argsort(np.abs(again.strides)).tolist() == np.argsort(np.abs(array.strides)).tolist()


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_arrays(kind):
    array = sparse.random_array((30, 40), density=0.1, format=kind, rng=np.random.default_rng(1))
    again = there_and_back(array)
    assert (type(again), again.format, again.shape) == (type(array), kind, (30, 40))
    np.testing.assert_array_equal(again.toarray(), array.toarray())


def test_read_only_stays_read_only():
    array = np.arange(3.0)
    array.flags.writeable = False
    assert not there_and_back(array).flags.writeable
    assert there_and_back(np.arange(3.0)).flags.writeable


INDICES = [
    pd.RangeIndex(3, 30, 3, name="n"),
    pd.Index([3, 1, 2]),
    pd.Index([0.1, np.nan]),
    pd.Index(["a", "b"], name="g"),
    pd.Index(["a", None, 1, 2.5, ("x", 1)], dtype=object, name=("a", 1)),
    pd.Index([True, False]),
    pd.date_range("2020-01-01", periods=3, freq="D"),
    pd.date_range("2020-03-28", periods=3, freq="12h", tz="Europe/Paris"),
    pd.DatetimeIndex(["2020-01-01", pd.NaT]),
    pd.date_range("2020-01-01", periods=2, tz="UTC").as_unit("s"),
    pd.date_range("2020-01-01", periods=2, tz=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    pd.timedelta_range("1h", periods=3),
    pd.period_range("2020-01", periods=3, freq="M"),
    pd.interval_range(0, 3),
    pd.CategoricalIndex(["b", "a", None], categories=["b", "a", "c"], ordered=True),
    pd.MultiIndex.from_product([["a", "b"], pd.date_range("2020", periods=2)], names=["g", None]),
    pd.Index([1, None, 3], dtype="Int64"),
    pd.Index(["a", None], dtype="string"),
    pd.Index([dt.date(2020, 1, 1), dt.date(2021, 1, 1)]),
    pd.Index([], dtype=object),
]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: f"{type(i).__name__}-{getattr(i, 'dtype', '')}")
def test_indices(index):
    again = there_and_back(index)
    assert again.dtype == index.dtype
    assert again.names == index.names
    series = pd.Series(np.arange(len(index)), index=index, name="s")
    pd.testing.assert_series_equal(there_and_back(series), series, check_freq=True)


def test_frames():
    frame = pd.DataFrame(
        {
            "x": [0.1, np.nan],
            "n": pd.array([1, None], dtype="Int64"),
            "g": pd.Categorical(["u", "v"], categories=["v", "u"]),
            "t": pd.date_range("2020", periods=2, tz="UTC"),
            "s": ["a", None],
            "o": pd.Series([(1,), "x"], dtype=object),
        },
        index=pd.Index(["r1", "r2"], name="row"),
    )
    frame.insert(0, "again", frame["x"])
    pd.testing.assert_frame_equal(there_and_back(frame), frame)
    double = frame.set_axis(["a"] * 7, axis=1)
    pd.testing.assert_frame_equal(there_and_back(double), double)
    pd.testing.assert_frame_equal(there_and_back(pd.DataFrame(index=[1, 2])), pd.DataFrame(index=[1, 2]))


class Odd:
    def __str__(self):
        return "an odd label"


def test_a_label_of_an_unknown_type_is_kept_as_text():
    assert there_and_back(pd.Index([Odd(), "b"], dtype=object)).tolist() == ["an odd label", "b"]


def test_what_is_no_part_of_a_record_is_refused():
    with pytest.raises(SavedFileError, match=r"test_codec\.Odd cannot be stored"):
        there_and_back({"a": Odd()})


# -- records -------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    values: np.ndarray
    colour: Colour | None = None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    again: Leaf
    by_name: dict[str, Leaf]


REGISTRY = {}
for _cls in (Leaf, Tree, Colour):
    _cls.__module__ = "ranef.made_for_tests"
    REGISTRY[f"made_for_tests.{_cls.__name__}"] = _cls


def test_what_is_shared_stays_shared():
    leaf, values = Leaf(np.arange(3.0), Colour.RED), np.arange(1000.0)
    tree = Tree((leaf, Leaf(values), Leaf(values)), leaf, {"first": leaf})
    again = there_and_back(tree, REGISTRY)
    assert again.leaves[0] is again.again is again.by_name["first"]
    assert again.leaves[1] is not again.leaves[2]
    assert again.leaves[1].values is again.leaves[2].values
    assert again.again.colour is Colour.RED


def test_only_records_of_the_registry_are_made():
    encoder = Encoder(REGISTRY)
    plain = encoder.value(Leaf(np.arange(3.0), Colour.RED))
    with pytest.raises(UnknownRecord, match=r"made_for_tests\.Leaf"):
        Decoder({}, encoder.arrays, {}).value(plain)
    with pytest.raises(SavedFileError, match=r"made_for_tests\.Leaf is not known"):
        Encoder({}).value(Leaf(np.arange(3.0)))
    plain["fields"]["more"] = 1
    with pytest.raises(UnknownRecord, match="more"):
        Decoder(REGISTRY, encoder.arrays, {}).value(plain)


def test_annotations_are_followed():
    names = set(registry_of(ranef.Comparison))
    for name in ("user.Comparison", "user.PosteriorFit", "design.Factor", "formula.Call", "results.Status"):
        assert name in names
    assert {"spec.LKJ", "spec.Gamma", "spec.Custom", "linalg.Plan", "spec.Grouping", "design.Grouping"} <= names


def test_the_registry_does_not_depend_on_what_is_loaded():
    """Residual laws that an abstract class stands for are loaded late."""
    code = "from _ranef.saved import Prepared, registry; print(*registry.registry_of(Prepared))"
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"residuals.Strata", "residuals.Markov"} <= set(alone)
    here = registry_of(Prepared).items()  # other tests have structures of their own
    assert set(alone) == {name for name, kind in here if kind.__module__.startswith("_ranef")}


@pytest.mark.parametrize("variance", [ranef.VarExp("Days"), ranef.VarIdent("Days") * ranef.VarExp("Days")])
def test_every_residual_law_has_a_name_of_its_own(variance, tmp_path):
    """VarExp() and Exponential() were one name, so that no fit with VarExp() could be saved."""
    fit = ranef.Model("Reaction ~ Days", ranef.datasets.load("sleepstudy"), variance=variance).fit()
    assert ranef.load(fit.save(tmp_path / "fit.ranef")).residual_parameters.equals(fit.residual_parameters)
