import numpy as np
import pandas as pd
import pytest

from _ranef.design import registered
from _ranef.errors import DataWarning, DesignError, FitError, FormulaError, RanefWarning
from _ranef.formula import parse_formula
from ranef import datasets


def test_weights_and_offsets_on_the_rows_used(frame, build):
    frame["w"] = np.arange(1.0, 13.0)
    frame.loc[4, "x"] = np.nan
    design = build("y ~ x + offset(x) + offset(2 * w) + (1 | g)", frame, weights="w", offset=np.full(12, 100.0))
    kept = np.delete(np.arange(12), 4)
    np.testing.assert_array_equal(design.rows, kept)
    np.testing.assert_array_equal(design.weights, kept + 1.0)
    np.testing.assert_array_equal(design.offset, kept + 2 * (kept + 1.0) + 100)
    assert (design.n_dropped, len(design.y), len(design.index)) == (1, 11, 11)


def test_without_weights_and_offset(frame, build):
    design = build("y ~ x + (1 | g)", frame)
    assert design.weights is None
    assert design.offset is None


def test_a_missing_weight_or_offset_drops_the_row(frame, build):
    weights = np.ones(12)
    weights[2] = np.nan
    offset = [None, *range(11)]
    assert build("y ~ x + (1 | g)", frame, weights=weights, offset=offset).rows.tolist() == [1, *range(3, 12)]


def test_a_column_with_the_name_of_an_argument(frame, build):
    frame["weights"] = [np.nan, *range(11)]
    assert build("y ~ weights + (1 | g)", frame, weights=np.ones(12)).n_dropped == 1


def test_unused_levels_are_dropped_after_the_rows(frame, build):
    frame.loc[frame["f"] == "mid", "y"] = np.nan
    frame.loc[frame["g"] == "q", "y"] = np.nan
    design = build("y ~ f + (1 | g)", frame)
    assert design.fixed_names == ("Intercept", "f[T.hi]")
    assert design.random[0].levels.tolist() == ["p", "r", "s"]


def test_dropped_columns_keep_their_names(frame, build):
    frame["twice"] = 2 * frame["x"] + 1
    design = build("y ~ x + twice + f + (1 | g)", frame)
    assert design.dropped == ("twice",)
    assert design.fixed_names == ("Intercept", "x", "f[T.mid]", "f[T.hi]")
    assert design.assign.tolist() == [0, 1, 3, 3]
    assert design.fixed_terms == ("x", "twice", "f")


def test_a_column_that_varies_little_beside_its_size_stays(frame, build):
    frame["big"] = 1e8 + frame["x"] % 3
    assert build("y ~ big + (1 | g)", frame).dropped == ()


def test_no_fixed_effects(frame, build):
    design = build("y ~ 0 + (1 | g)", frame)
    assert design.X.shape == (12, 0)
    assert design.fixed_names == ()


def test_no_random_effects(frame, build):
    assert build("y ~ x", frame).random == ()


def test_structures_and_names_are_passed_on(frame, build):
    design = build("y ~ 1 + diag(x | g) + ident(0 + flag | text)", frame)
    assert [(term.group, term.structure, term.columns) for term in design.random] == [
        ("g", "diag", ("Intercept", "x")),
        ("text", "ident", ("flag[False]", "flag[True]")),
    ]
    assert design.random[0].text == "diag(x | g)"
    assert (design.response, design.formula) == ("y", "y ~ 1 + diag(x | g) + ident(0 + flag | text)")


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("cs(1 | g)", r"cs\(\) is about 2 effects of a level or more, and this term has 1: .*\(1 \| g\) for one"),
        ("homcs(0 + x | g)", r"homcs\(\) is about 2 effects .* \(0 \+ x \| g\) for one effect"),
        ("ar1(x | g)", r"ar1\(\) goes by the order .* hold an intercept, which a leading 0 \+ takes away"),
        ("ar1(1 | g)", r"hold an intercept"),
        ("hetar1(0 + x | g)", r"x is numeric, of which factor\(x\) makes one level for each value"),
        ("toep(0 + x + flag | g)", r"\(0 \+ x \+ flag \| g\) has the effects x, flag"),
        ("ar1(0 + flag:text | g)", r"has the effects flag:text"),
    ],
)
def test_structures_on_effects_that_cannot_have_them(term, words, frame, build):
    with pytest.raises(FormulaError, match=rf"(?s){words}.*\^\^\^"):
        build(f"y ~ x + {term}", frame)


@pytest.mark.parametrize(
    ("levels", "words"),
    [(["t1", "t10", "t2"], "not in the order of their numbers"), (["t1", "t2", "t4"], "count as equally far apart")],
)
def test_levels_in_a_doubtful_order_are_told(levels, words, build):
    frame = {"y": [1.0, 2.0, 4.0] * 4, "t": levels * 4, "g": [f"s{i // 3}" for i in range(12)]}
    with pytest.warns(DataWarning, match=rf"ar1\(0 \+ t \| g\) goes by the order .* which is .*{words}"):
        build("y ~ 1 + ar1(0 + t | g)", frame)


def test_double_bar_with_a_factor_gives_a_note(frame, build):
    (note,) = build("y ~ x + (flag || g)", frame).notes
    assert "(flag || g)" in note
    assert "diag(... | g)" in note
    assert build("y ~ x + (x || g)", frame).notes == ()


def test_the_formulas_notes_are_kept(frame, build):
    parsed = parse_formula("y ~ x - flag + (1 | g)", functions=registered())
    assert parsed.notes
    assert build("y ~ x - flag + (1 | g)", frame).notes == parsed.notes


@pytest.mark.parametrize(
    ("bars", "words"),
    [
        ("(1 | g) + (1 | g)", r"\(1 \| g\) and \(1 \| g\) both hold the effect Intercept of g"),
        ("(1 | g) + (x | g)", r"\(1 \| g\) and \(x \| g\) both hold the effect Intercept of g.*leading 0 \+"),
        ("(1 | g:text) + (1 | text:g)", r"both hold the effect Intercept"),
        ("(x | g) + (0 + x | g)", r"both hold the effect x of g"),
    ],
)
def test_repeated_effects(bars, words, frame, build):
    with pytest.raises(DesignError, match=words):
        build(f"y ~ x + {bars}", pd.concat([frame] * 4), sigma=1)


def test_one_level(frame, build):
    frame["one"] = "a"
    with pytest.raises(DesignError, match=r"grouping factor one of \(1 \| one\) has one level, 'a'.*Leave"):
        build("y ~ x + (1 | one)", frame)
    assert len(build("y ~ x + (1 | one)", frame, sigma=1.0).random[0].levels) == 1


def test_as_many_levels_as_rows(frame, build):
    frame["row"] = range(12)
    words = r"^number of levels of each grouping factor must be < number of observations \(problems: row, text:f:row\)"
    with pytest.raises(DesignError, match=words):
        build("y ~ x + (1 | row) + (1 | text:f:row) + (1 | g)", frame)
    assert len(build("y ~ x + (1 | row)", frame, sigma=1).random[0].levels) == 12


def test_as_many_random_effects_as_rows(frame, build):
    words = r"number of observations \(=12\) <= number of random effects \(=12\) for term \(x \+ flag \| g\)"
    with pytest.raises(DesignError, match=words):
        build("y ~ x + (x + flag | g)", frame)
    build("y ~ x + (x + flag | g)", frame, sigma=1)
    build("y ~ x + (x + flag || g)", frame)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("flag ~ x + (1 | g)", "The response flag holds true and false.*Gaussian.*as.numeric"),
        ("text ~ x + (1 | g)", "The response text holds categories"),
        ("poly(x, 2) ~ 1 + (1 | g)", "has 2 columns"),
        ("y ~ x + offset(text) + (1 | g)", r"offset\(text\) must be one column of numbers"),
        ("y ~ x + (1 | poly(x, 2))", r"poly\(x, 2\) has 2 columns and cannot group"),
        ("y ~ x + (log(x) | g)", r"log\(x\) is -inf in row 0, where x = 0"),
    ],
)
def test_what_does_not_fit(formula, words, frame, build):
    with pytest.raises(DesignError, match=words):
        build(formula, frame)


def test_a_logical_response_can_be_made_numeric(frame, build):
    assert build("as.numeric(flag) ~ x + (1 | g)", frame).y.sum() == frame["flag"].sum()


def test_constant_response(frame, build):
    frame["y"] = 3.0
    with pytest.raises(FitError, match="residual variance is zero: the response y is 3 in all 12 rows"):
        build("y ~ x + (1 | g)", frame)


def test_unknown_columns(frame, build):
    with pytest.raises(FormulaError, match=r"(?s)'Flag' is not a column.*Did you mean 'flag'.*\^\^\^\^"):
        build("y ~ Flag + (1 | g)", frame)
    with pytest.raises(DesignError, match=r"weights='X' names no column of the data. Did you mean 'x'\?"):
        build("y ~ x + (1 | g)", frame, weights="X")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"weights": np.ones(5)}, "weights has 5 entries, and the data have 12 rows"),
        ({"offset": [1.0] * 13}, "offset has 13 entries, and the data have 12 rows"),
        ({"weights": 2.0}, "weights is 2.0, and the data have 12 rows"),
        ({"weights": "text"}, "weights must be numbers; a factor column was given"),
        ({"weights": np.r_[0.0, np.ones(11)]}, "The weight is 0 in row 0; weights must be positive"),
        ({"weights": np.r_[np.ones(11), -1.0]}, "The weight is -1 in row 11"),
        ({"offset": np.r_[np.ones(11), np.inf]}, "Column 'offset' is inf in row 11"),
        ({"weights": pd.Series(np.ones(12), index=range(1, 13))}, "index of weights is not that of the data"),
        ({"na_action": "fill"}, "na_action='fill' must be 'omit' or 'error'"),
    ],
)
def test_wrong_arguments(option, words, frame, build):
    with pytest.raises(DesignError, match=words):
        build("y ~ x + (1 | g)", frame, **option)


def test_widely_spread_weights_warn(frame, build):
    with pytest.warns(RanefWarning, match="largest weight is 1e\\+07 times"):
        build("y ~ x + (1 | g)", frame, weights=np.r_[1e7, np.ones(11)])


def test_missing_values_can_be_refused(frame, build):
    frame.loc[[3, 7], "x"] = np.nan
    frame.loc[5, "text"] = None
    with pytest.raises(DesignError, match=r"missing in 3 of 12 rows, first x in row 3.*drop those rows"):
        build("y ~ x + text + (1 | g)", frame, na_action="error")
    build("y ~ flag + (1 | g)", frame, na_action="error")


def test_no_complete_rows(frame, build):
    frame["a"] = np.where(np.arange(12) % 3, np.nan, 1.0)
    frame["b"] = np.where(np.arange(12) % 3, 1.0, np.nan)
    with pytest.raises(DesignError, match=r"No row is complete: each of the 12 rows.*most often a \(8 rows\)"):
        build("y ~ a + b + (1 | g)", frame)


def test_permuted_rows_give_a_permuted_design(build):
    data = datasets.load("sleepstudy_aug")
    order = np.random.default_rng(0).permutation(len(data))
    formula = "Reaction ~ poly(Days, 2) * Phase + (Days | Subject)"
    design, permuted = build(formula, data), build(formula, data.iloc[order])
    np.testing.assert_allclose(permuted.X, design.X[order], atol=1e-14)
    np.testing.assert_array_equal(permuted.random[0].codes, design.random[0].codes[order])
    assert permuted.fixed_names == design.fixed_names


def test_nothing_is_counted_twice_with_a_shared_call(build):
    data = datasets.load("sleepstudy")
    design = build("Reaction ~ poly(Days, 2) + (poly(Days, 2) | Subject)", data)
    assert len(design.encoding.states) == 1
    np.testing.assert_array_equal(design.X, design.random[0].values)


def test_numbers_with_a_stray_word_are_told(build):
    data = {"y": [1.0, 2, 4, 3, 5, 1], "x": ["1.5", "2.5", ".", "3", "4", "4.5"], "g": list("aabbcc")}
    with pytest.warns(RanefWarning, match=r"x is a factor of 6 levels, for it is text, though.*numbers: '\.' is not"):
        build("y ~ x + (1 | g)", data)
    swapped = data | {"y": data["x"], "x": data["y"]}
    with pytest.raises(DesignError, match=r"response y is text, though most of its values are numbers: '\.'"):
        build("y ~ x + (1 | g)", swapped)


def test_a_stray_word_among_few_numbers_on_many_rows_is_told(build):
    doses = [*(["0", "5", "10", "20"] * 15), "x"]
    data = {"y": np.arange(61.0) ** 2, "dose": doses, "g": [*(["a", "b", "c"] * 20), "a"]}
    with pytest.warns(RanefWarning, match=r"dose is a factor of 5 levels.*most of its values are numbers: 'x' is not"):
        build("y ~ dose + (1 | g)", data)
    with pytest.raises(DesignError, match=r"response dose is text, though most of its values are numbers: 'x'"):
        build("dose ~ y + (1 | g)", data)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([f"{k} ms" for k in range(300, 360)], r"looks like numbers with a unit, such as '300 ms'.*str\.extract"),
        ([f"\u2212{k}.5" for k in range(60)], "looks like numbers with a minus sign that is no hyphen"),
        ([f"w{k}q{k * 7 % 91}" for k in range(60)], r"text with 60 different entries in 60 rows.*as in \(1 \| `a b`\)"),
        ([f"{k}%" for k in range(60)], r"percentages.*factor\(`a b`\) in the formula"),
        (["k.A.", "-", *(f"{k},5" for k in range(58))], r"'-', 'k\.A\.' are not.*na_values=\['-', 'k\.A\.'\]"),
    ],
)
def test_text_of_many_entries_is_told(entries, words, build):
    data = {"y": np.arange(60.0) ** 2, "a b": entries, "g": list("abc") * 20}
    with pytest.warns(RanefWarning, match=words):
        build("y ~ `a b` + (1 | g)", data)


def test_codes_of_houses_have_no_unit(build):
    codes = [f"{k // 3}{'abc'[k % 3]}" for k in range(18)]
    build("y ~ x + (1 | g)", {"y": np.arange(54.0) ** 2, "x": codes * 3, "g": np.repeat(list("abc"), 18)})


def test_levels_that_may_be_one_are_told(build):
    data = {"y": np.arange(12.0) ** 2, "g": ["a", "b", "A", "b ", "c", "d"] * 2}
    for formula in ("y ~ 1 + (1 | g)", "y ~ g"):
        with pytest.warns(
            RanefWarning, match="differ in case, blanks or zeros only: 'A' and 'a', 'b' and 'b '"
        ) as told:
            build(formula, data)
        assert len(told) == 1


def test_accents_that_are_characters_of_their_own_are_told(build):
    """Names and levels that look alike on every screen, as files from a Mac have them beside those from elsewhere."""
    dose, north = "dose\u0301", ["no\u0301rd", "n\u00f3rd"]
    data = {"y": np.arange(12.0) ** 2, dose: np.arange(12.0), "g": [*north, "süd"] * 4}
    with pytest.raises(FormulaError, match=r"'dose\\u0301' looks the same.*normalize\('NFC'"):
        build("y ~ dos\u00e9", data)
    with pytest.warns(RanefWarning, match=r"how accents are coded: 'no\\u0301rd' and 'n\\xf3rd'"):
        build("y ~ 1 + (1 | g)", data)


def test_groups_by_numbers_that_lost_digits_are_refused(build):
    data = {"y": np.arange(12.0) ** 2, "g": 1e17 + np.arange(12.0) % 4}
    with pytest.raises(DesignError, match=r"g groups rows by numbers beyond 2\^53.*as text"):
        build("y ~ 1 + (1 | g)", data)


def test_too_many_levels_after_rows_were_left_out_says_so(build):
    data = {"y": np.arange(12.0) ** 2, "x": [1.0, *[np.nan] * 5] * 2, "g": list("aaaaaabbbbbb")}
    with pytest.raises(DesignError, match=r"10 rows were left out, for something is missing in them"):
        build("y ~ x + (1 | g)", data)


def test_a_group_of_the_name_of_the_residuals_is_refused(build):
    with pytest.raises(DesignError, match="cannot be called 'Residual'"):
        build("y ~ 1 + (1 | Residual)", {"y": np.arange(12.0) ** 2, "Residual": list("aabbcc") * 2})


def test_grades_are_a_factor_like_any_other(build):
    build("y ~ x + (1 | g)", {"y": [1.0, 2, 4, 3, 5, 1], "x": list("K123K1"), "g": list("aabbcc")})


def test_group_names_that_look_like_numbers_are_no_matter(build):
    build("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3, 5, 1, 2, 3], "g": ["1", "1", "2", "2", "3", "3", "x", "x"]})
