"""Predictions for new data: what the model was given beside its data, and what its rows did not determine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.design import encode
from _ranef.spec import without_rows


@pytest.fixture(scope="module")
def exposed():
    """Rows whose mean is known up to an offset that reaches from −30 to 30."""
    rng = np.random.default_rng(7)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.repeat(list("abcdef"), 10)})
    data["o"] = np.linspace(-30, 30, 60)
    data["y"] = data.o + 2 * data.x + np.repeat(rng.normal(size=6), 10) + rng.normal(0, 0.5, 60)
    return data


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
def test_predictions_hold_the_offset_however_it_was_given(exposed, interval):
    array, column = (ranef.Model("y ~ x + (1 | g)", exposed, offset=o).fit() for o in (exposed.o.to_numpy(), "o"))
    told = array.predict(exposed, offset=exposed.o.to_numpy(), interval=interval)
    expected = column.predict(exposed, interval=interval)
    np.testing.assert_allclose(told, expected, rtol=1e-12)
    np.testing.assert_allclose(told if interval is None else told.estimate, array.fitted(), rtol=1e-12)
    with pytest.raises(ranef.DesignError, match="give offset= here too"):
        array.predict(exposed, interval=interval)


def test_an_offset_goes_with_new_data_only(exposed):
    fit = ranef.Model("y ~ x + (1 | g)", exposed, offset="o").fit()
    with pytest.raises(ranef.DesignError, match="offset= goes with new data"):
        fit.predict(offset=0)
    both = ranef.Model("y ~ x + offset(o / 2) + (1 | g)", exposed, offset=exposed.o / 2).fit()
    np.testing.assert_allclose(both.predict(exposed, offset=exposed.o / 2), fit.fitted(), rtol=1e-12)


def cells(x_step: float = 1.0) -> pd.DataFrame:
    """Two crossed factors, one of whose six cells is empty, in eight groups."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"a": rng.choice(list("pq"), 160), "b": rng.choice(list("uvw"), 160)})
    data["g"] = np.resize(list("ABCDEFGH"), 160)
    data["x"] = 2000 + x_step * rng.integers(0, 12, 160)
    data["y"] = rng.normal(size=160)
    return data[(data.a != "q") | (data.b != "w")].reset_index(drop=True)


CELLS = pd.DataFrame({"a": list("pppqqq"), "b": list("uvwuvw"), "x": 2003.0, "g": "A"})


def rank_deficient(formula: str, data: object) -> ranef.Model:
    with pytest.warns(ranef.DataWarning, match="^fixed-effect model matrix is rank deficient so dropping 1 column / "):
        return ranef.Model(formula, data)


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
def test_an_empty_cell_is_not_predicted(interval):
    fit = rank_deficient("y ~ a * b + x + (1 | g)", cells()).fit()
    with pytest.warns(ranef.DataWarning, match=r"1 of the 6 new rows \(5\).*a\[T.q\]:b\[T.w\] was left out"):
        found = fit.predict(CELLS, interval=interval)
    assert np.isnan(np.asarray(found)).reshape(6, -1).all(axis=1).tolist() == [False] * 5 + [True]
    fit.predict(CELLS[:5], interval=interval)  # nothing to tell
    without = ranef.Model("y ~ a + b + x + (1 | g)", cells()).fit()
    assert np.isfinite(without.predict(CELLS)).all()  # additive effects determine the empty cell


def test_an_empty_cell_is_not_predicted_from_chunks():
    data = cells()
    fit = rank_deficient("y ~ a * b + x + (1 | g)", [data[:70], data[70:]]).fit()
    with pytest.warns(ranef.DataWarning, match="1 of the 6 new rows"):
        assert fit.predict(CELLS).isna().tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e150])
def test_copies_of_a_column_are_predicted_where_they_are_still_copies(scale):
    data = cells()
    data["since"] = scale * (data.x - 2000)
    fit = rank_deficient("y ~ x + since + (1 | g)", data).fit()
    new = CELLS.assign(x=[1900.0, 2000, 2004, 2100, 2000, 2004], since=lambda d: scale * (d.x - 2000))
    assert np.isfinite(fit.predict(new)).all()
    new.loc[[1, 4], "since"] = scale
    with pytest.warns(ranef.DataWarning, match=r"2 of the 6 new rows \(1, 4\)"):
        assert np.flatnonzero(fit.predict(new).isna()).tolist() == [1, 4]


def test_deleted_rows_leave_what_they_determined():
    """Influence refits without a cell's rows; what is left does not determine that cell."""
    spec = ranef.Model("y ~ a * b + (1 | g)", cells().pipe(lambda d: d[(d.b != "w")])).spec
    keep = ~((spec.design.X[:, 1] == 1) & (spec.design.X[:, 2] == 1))
    rest = without_rows(spec, keep)
    encoded = encode(rest.design.encoding, CELLS[CELLS.b != "w"])
    assert encoded.determined.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("known", "written", "words"),
    [
        ("S1", "s1 ", "1 of the 1 unseen levels of g .*: 's1 ' beside 'S1'"),
        ("07", "7", "'7' beside '07'"),
        ("7", "7.0", "'7.0' beside '7'"),
    ],
)
def test_levels_written_differently_are_told(exposed, known, written, words):
    data = exposed.assign(g=exposed.g.replace("a", known))
    fit = ranef.Model("y ~ x + (1 | g)", data).fit()
    new = pd.DataFrame({"x": [0.0, 0.0], "g": [written, "b"]})
    with pytest.warns(ranef.DataWarning, match=words):
        told = fit.predict(new)
    assert told[0] == pytest.approx(fit.predict(new, re="none")[0])
    fit.predict(new.assign(g=["elsewhere", "b"]))  # a level that is new is no matter


def test_missing_groups_are_told(exposed):
    fit = ranef.Model("y ~ x + (1 | g)", exposed).fit()
    new = pd.DataFrame({"x": [0.0, 0.0], "g": ["a", None]})
    with pytest.warns(ranef.DataWarning, match=r"1 of the 2 new rows have no g \(missing\)"):
        fit.predict(new)
    fit.predict(new, re="none")  # nobody asks for the group


def test_splines_beyond_their_knots_are_told(exposed):
    fit = ranef.Model("y ~ bs(x, 4) + (1 | g)", exposed).fit()
    new = pd.DataFrame({"x": [0.0, exposed.x.max() + 1], "g": "a"})
    with pytest.warns(ranef.DataWarning, match=r"1 of the 2 values given to bs\(\) lies outside the"):
        fit.predict(new)
    fit.predict(new.iloc[:1])
    fit.predict(exposed)


def test_a_group_named_twice_counts_once(exposed):
    fit = ranef.Model("y ~ x + (x | g)", exposed).fit()
    np.testing.assert_array_equal(fit.fitted(re=["g", "g"]), fit.fitted(re="all"))
    np.testing.assert_array_equal(fit.predict(exposed, re=["g", "g"]), fit.predict(exposed, re="all"))


def test_augment_keeps_columns_whose_names_it_would_give(exposed):
    data = exposed.rename(columns={"y": "fitted", "g": "fixed"})
    frame = ranef.Model("fitted ~ x + (1 | fixed)", data).fit().augment()
    assert list(frame) == ["fitted", "fixed", ".fitted", ".fixed", "residual"]
    np.testing.assert_array_equal(frame["fitted"], data["fitted"])
    np.testing.assert_allclose(frame[".fitted"] + frame["residual"], data["fitted"])
