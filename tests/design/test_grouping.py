import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _ranef.design.expression_values import Factor, Logical, Numeric, factor_of
from _ranef.design.grouping import group_codes, make_grouping
from _ranef.errors import DesignError
from _ranef.formula import parse_formula


def nodes(names):
    return parse_formula(f"y ~ (1 | {':'.join(names)})", functions=()).random[0].group


def test_numbers_and_logicals_become_factors():
    grouping, codes = make_grouping(nodes("a"), [Numeric(np.array([308.0, 2.5, 10.0, 308.0]))])
    assert grouping.levels.tolist() == ["2.5", "10", "308"]
    assert codes.tolist() == [2, 0, 1, 2]
    assert codes.dtype == np.intp
    grouping, codes = make_grouping(nodes("a"), [Logical(np.array([1.0, 0.0]))])
    assert grouping.levels.tolist() == ["False", "True"]


def test_interaction_keeps_what_is_present_with_the_last_factor_fastest():
    a = Factor(np.array([0, 1, 1, 0]), ("z", "a", "unused"))
    b = Factor(np.array([1, 1, 0, 1]), ("B", "A"))
    grouping, codes = make_grouping(nodes("ab"), [a, b])
    assert grouping.levels.tolist() == ["z:A", "a:B", "a:A"]
    assert codes.tolist() == [0, 2, 1, 0]


def test_new_data_find_their_levels():
    a, b = factor_of(np.array(["p", "q", "p"], dtype=object)), Numeric(np.array([1.0, 2.0, 2.0]))
    grouping, _ = make_grouping(nodes("ab"), [a, b])
    new_a = factor_of(np.array(["p", "q", "q", "new", None, "p"], dtype=object))
    new_b = Numeric(np.array([2.0, 2.0, 1.0, 2.0, 1.0, np.nan]))
    codes, unseen = group_codes(grouping, nodes("ab"), [new_a, new_b])
    J = len(grouping.levels)
    assert codes.tolist() == [1, 2, J, J + 1, -1, -1]
    assert unseen == ("q:1", "new:2")


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("1234"), st.booleans()), min_size=1, max_size=40))
def test_codes_and_labels_agree(rows):
    values = [
        factor_of(np.array([row[0] for row in rows], dtype=object)),
        factor_of(np.array([row[1] for row in rows], dtype=object)),
        Logical(np.array([row[2] for row in rows], dtype=float)),
    ]
    grouping, codes = make_grouping(nodes("abc"), values)
    assert grouping.levels[codes].tolist() == [f"{a}:{b}:{c}" for a, b, c in rows]
    assert sorted(set(codes.tolist())) == list(range(len(grouping.levels)))
    assert group_codes(grouping, nodes("abc"), values)[0].tolist() == codes.tolist()


def test_labels_that_collide_are_refused():
    a = factor_of(np.array(["p:q", "p"], dtype=object))
    b = factor_of(np.array(["r", "q:r"], dtype=object))
    with pytest.raises(DesignError, match="Different levels of a:b have the same label"):
        make_grouping(nodes("ab"), [a, b])


def test_several_columns_cannot_group():
    with pytest.raises(DesignError, match="a has 2 columns and cannot group"):
        make_grouping(nodes("a"), [Numeric(np.zeros((3, 2)))])


def test_too_many_combinations():
    big = Factor(np.zeros(1, dtype=np.intp), tuple(map(str, range(2000))))
    grouping, _ = make_grouping(nodes("ab"), [big, big])
    assert grouping.levels.tolist() == ["0:0"]
