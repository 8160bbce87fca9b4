"""Text that looks like numbers, dates or times is told once, with what makes numbers of it."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ranef
from _ranef.design.text_like_numbers import look_of

N = 48
ROWS = np.arange(N)
RNG = np.random.default_rng(5)
Y, G = RNG.normal(size=N), np.resize(list("abcdef"), N)
DAYS = pd.date_range("2020-01-01", periods=N)

#: entries of a column, what is said of them, and what must stand in the advice
TEXTS = {
    "plain": ([f"{k + 0.5}" for k in ROWS], "numbers", "pd.to_numeric(data['x'])"),
    "integers": ([str(k) for k in ROWS], "numbers", "pd.to_numeric"),
    "spaces": ([f" {k}.5" for k in ROWS], "numbers", "pd.to_numeric"),
    "exponents": ([f"{k}e-3" for k in ROWS], "numbers", "pd.to_numeric"),
    "decimal commas": ([f"{k},5" for k in ROWS], "numbers with decimal commas", "decimal=','"),
    "commas and integers": ([f"{k},5" if k % 3 else str(k) for k in ROWS], "numbers with decimal comm", "decimal=','"),
    "European thousands": ([f"{k}.234,5" for k in ROWS], "points between thousands", "thousands='.'"),
    "thousands": ([f"{k + 1},234.5" for k in ROWS], "commas between thousands", "thousands=','"),
    "whole thousands": ([f"{k + 1},234" for k in ROWS], "commas between thousands", "thousands=','"),
    "thousandths": ([f"0,{k + 100}" for k in ROWS], "numbers with decimal commas", "decimal=','"),
    "Swiss thousands": ([f"{k + 1}'234" for k in ROWS], "marks between thousands", "pd.to_numeric"),
    "percent": ([f"{k}.5%" for k in ROWS], "percentages", "rstrip('% ')"),
    "percent with commas": ([f"{k},5 %" for k in ROWS], "percentages with decimal commas", "replace(',', '.')"),
    "dollars": ([f"${k}.50" for k in ROWS], "amounts of money", "str.replace"),
    "euros": ([f"{k},50 €" for k in ROWS], "amounts of money with decimal commas", "str.replace"),
    "many dollars": ([f"USD {k + 1},000" for k in ROWS], "amounts of money", "str.replace"),
    "ISO dates": ([f"{day:%Y-%m-%d}" for day in DAYS], "dates", "pd.to_datetime(data['x'])"),
    "ISO times of days": ([f"{day:%Y-%m-%dT12:30:00}" for day in DAYS], "dates", ".dt.days"),
    "German dates": ([f"{day:%d.%m.%Y}" for day in DAYS], "dates", "dayfirst=True"),
    "American dates": ([f"{day:%m/%d/%y}" for day in DAYS], "dates", "dayfirst=False"),
    "months": ([f"{2000 + k // 12}-{k % 12 + 1:02d}" for k in ROWS], "dates", "pd.to_datetime"),
    "times": ([f"{k // 4}:{15 * (k % 4):02d}" for k in ROWS], "times", "pd.to_timedelta"),
}


def said(x, formula="y ~ x + (1 | g)"):
    """The warnings of a model, and the error if there is one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ranef.Model(formula, pd.DataFrame({"y": Y, "g": G}).assign(x=x))
        except ranef.RanefError as error:
            return str(error)
    # dropped columns are not what is asked about here
    told = [str(w.message) for w in caught if "rank deficient" not in str(w.message)]
    assert all(issubclass(w.category, ranef.DataWarning) for w in caught)
    assert len(told) <= 1
    return told[0] if told else ""


@pytest.mark.parametrize("kind", TEXTS)
def test_predictors(kind):
    entries, words, advice = TEXTS[kind]
    told = said(entries)
    assert told.startswith(f"x is a factor of {N} levels, for it is text that looks like ")
    assert words in told
    assert advice in told
    assert said(entries, "y ~ factor(x) + (1 | g)") == ""  # that is how to mean it


@pytest.mark.parametrize("kind", TEXTS)
def test_responses(kind):
    entries, words, advice = TEXTS[kind]
    told = said(entries, "x ~ y + (1 | g)")
    assert told.startswith("The response x is text that looks like ")
    assert words in told
    assert advice in told
    assert "glmer" not in told


@pytest.mark.parametrize("kind", ["plain", "decimal commas", "German dates"])
def test_where_numbers_are_needed(kind):
    entries, words, _ = TEXTS[kind]
    for formula in ("y ~ log(x) + (1 | g)", "y ~ I(x^2) + (1 | g)", "y ~ poly(x, 2) + (1 | g)", "log(x) ~ y + (1 | g)"):
        assert f"numbers are expected, and a factor was given of text that looks like {words}" in said(entries, formula)
    with pytest.raises(ranef.DesignError, match=f"weights must be numbers, and is text that looks like {words}"):
        ranef.Model("y ~ 1 + (1 | g)", {"y": Y, "g": G}, weights=entries)


@pytest.mark.parametrize("mark", [".", "-", "n/a", "", "?", "missing"])
def test_marks_of_missing_values(mark):
    entries = [mark, *TEXTS["plain"][0][1:]]
    told = said(entries)
    assert f"text, though most of its values are numbers: {mark!r} is not" in told
    assert f"na_values=[{mark!r}]" in told
    assert f"response x is text, though most of its values are numbers: {mark!r}" in said(entries, "x ~ y + (1 | g)")
    assert "numbers with decimal commas" in said([mark, *TEXTS["decimal commas"][0][1:]])


@pytest.mark.parametrize(
    "entries",
    [
        np.resize(["1", "2", "3"], N),  # codes
        np.resize(["K", "1", "2", "3"], N),  # grades
        np.resize(["0.5", "1.0", "2.0"], N),  # doses
        np.resize(["TRUE", "FALSE"], N),
        np.resize(["20-29", "30-39", "40+"], N),
        np.resize([f"0{1000 + k}" for k in range(12)], N),  # postcodes
        np.resize([f"S{k}" for k in range(12)], N),
        np.resize([f"{k}RCA" for k in range(12)], N),
        np.resize([f"{k}a" for k in range(12)], N),
        pd.Categorical(np.resize(np.arange(2000, 2011), N)),  # years that are declared to be categories
        np.resize(["2020-01-01", "2021-01-01"], N),
    ],
)
def test_categories_are_left_in_peace(entries):
    assert said(entries) == ""


@pytest.mark.parametrize("code", ["0{}", "S{}", "{}RCA", "{}a"])
def test_codes_of_every_row_are_no_factor(code):
    assert "x is text with 48 different entries in 48 rows" in said([code.format(1000 + k) for k in ROWS])


@pytest.mark.parametrize(
    "convert",
    [
        lambda text: pd.array(text, dtype="string"),
        lambda text: pd.array(text, dtype="string[pyarrow]"),
        lambda text: pd.Series(text, dtype=object),
        pd.Categorical,
        lambda text: pd.Categorical(pd.to_numeric(text)),
    ],
)
def test_whatever_holds_the_text(convert):
    assert "that look" in said(convert(TEXTS["integers"][0]))


def test_frames_of_other_kinds_and_chunks():
    frame = pd.DataFrame({"y": Y, "g": G, "x": TEXTS["decimal commas"][0]})
    for data in (pl.from_pandas(frame), pa.Table.from_pandas(frame), frame.to_dict("list"), [frame[:20], frame[20:]]):
        with pytest.warns(ranef.DataWarning, match="48 levels, for it is text that looks like numbers with decimal c"):
            ranef.Model("y ~ x + (1 | g)", data)
    swapped = frame.rename(columns={"x": "y", "y": "x"})
    with pytest.raises(ranef.DesignError, match="The response y is text that looks like numbers with decimal commas"):
        ranef.Model("y ~ x + (1 | g)", [swapped[:20], swapped[20:]])


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | g)", "y ~ g + (1 | h)", "y ~ 1 + (1 | h/g)"])
@pytest.mark.parametrize("name", ["Total", "Summe:", "average "])
def test_a_line_that_sums_up_others_is_told(formula, name):
    data = pd.DataFrame({"y": Y, "g": G, "h": np.resize(["k", "l", "m", "n"], N)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranef.Model(formula, data)
    total = pd.DataFrame({"y": [data["y"].sum()], "g": [name], "h": ["k"]})
    with pytest.warns(ranef.DataWarning, match=f"{name}.* has a single row and the name of a line that sums"):
        ranef.Model(formula, pd.concat([data, total]))


def test_groups_may_look_like_anything():
    for entries in (np.resize(["1,5", "2,5", "3,5"], N), np.resize(["2020-01-01", "2020-01-02"], N)):
        assert said(entries, "y ~ 1 + (1 | x)") == ""


FIRST_AND_SECOND = {
    "plain": (0.5, 1.5),
    "spaces": (0.5, 1.5),
    "exponents": (0, 1e-3),
    "decimal commas": (0.5, 1.5),
    "whole thousands": (1234, 2234),
    "thousandths": (0.1, 0.101),
    "Swiss thousands": (1234, 2234),
    "percent": (0.005, 0.015),
    "percent with commas": (0.005, 0.015),
    "dollars": (0.5, 1.5),
    "euros": (0.5, 1.5),
    "many dollars": (1000, 2000),
    "times": (0, 0.25),
}


@pytest.mark.parametrize("kind", FIRST_AND_SECOND)
def test_remedies_make_numbers(kind):
    """What is advised runs, and gives the numbers that were meant."""
    data = pd.DataFrame({"x": TEXTS[kind][0]})
    remedy = look_of(TEXTS[kind][0]).remedy.format(x="data['x']")
    code = remedy.split(" or ")[-1].removeprefix("hours: ").split(" (with")[0]
    if kind == "times":
        data["x"] += ":00"
    np.testing.assert_allclose(eval(code, {"pd": pd, "data": data})[:2], FIRST_AND_SECOND[kind])


@pytest.mark.parametrize(
    ("code", "told"), [(9999.0, True), (-99.0, True), (999.0, True), (99.0, False), (998.0, False)]
)
@pytest.mark.parametrize("column", ["y", "x"])
def test_a_code_for_missing_far_from_all_numbers_is_told(code, told, column):
    """It would else be a measurement, and nobody would see it."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.uniform(40, 90, 60), "x": rng.uniform(40, 90, 60), "g": np.repeat(np.arange(12), 5)})
    data.loc[[3, 17], column] = code
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ranef.Model("y ~ x + (1 | g)", data)
    words = f"{column} is {code:g} in 2 rows, and from"
    assert any(words in str(w.message) for w in caught) == told
    ranef.Model("y ~ x + (1 | g)", data.replace(code, np.nan))
