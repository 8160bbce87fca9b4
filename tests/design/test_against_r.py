"""X, Z and y against R's model.frame, model.matrix and lme4's lFormula (reference/make_design.R)."""

import json
from pathlib import Path

import numpy as np
import pytest

from ranef import datasets

CASES = json.loads((Path(__file__).parent / "reference" / "design.json").read_text())
LMER = Path(__file__).parents[1] / "reference"
WITH_Z = [
    "dyestuff_reml",
    "ergostool",
    "machines_0factor",
    "machines_factor",
    "machines_factor_dbl",
    "machines_ri",
    "pastes_sample_ml",
    "pastes_slash",
    "pulp_reml",
    "rail",
    "sleep_rs",
]
# columns whose names R and formulaic spell alike but for the brackets, by R's name
NAMES = {
    "cake_main": ["Intercept", "recipe[T.B]", "recipe[T.C]", "temperature.L", "temperature.Q", "temperature.C"],
    "sleep_factor_slope": ["Intercept", "Phase[T.early]", "Phase[T.late]"],
    "crossed_in": ["f[lo]", "f[mid]", "f[hi]", "f[lo]:x", "f[mid]:x", "f[hi]:x"],
    "ergostool_sum": ["Intercept", *(f"C(Type, contr.sum)[S.{level}]" for level in ("T1", "T2", "T3"))],
    "sleep_poly": ["Intercept", "poly(Days, 2)[1]", "poly(Days, 2)[2]"],
}


def data_of(case):
    data = datasets.load(case["dataset"])
    return data.iloc[::20] if case["dataset"] == "Exam" else data


def check(matrix, probe, rows):
    matrix = matrix.reshape(len(matrix), -1)
    if matrix.shape[1] == 0:
        return
    tolerance = 1e-12 * max(1.0, np.abs(matrix).max())
    np.testing.assert_allclose(matrix[rows], np.array(probe["rows"]), rtol=1e-12, atol=tolerance)
    weight = np.arange(1, len(matrix) + 1) / len(matrix)
    total = 1e-12 * max(1.0, np.abs(matrix).sum(axis=0).max())
    np.testing.assert_allclose(matrix.sum(axis=0), probe["sums"], rtol=1e-12, atol=total)
    np.testing.assert_allclose(weight @ matrix, probe["weighted"], rtol=1e-12, atol=total)


def in_lme4_order(random):
    return sorted(random, key=lambda term: -len(term.levels))


@pytest.mark.parametrize("id", CASES)
def test_fixed_part_is_r_model_matrix(id, build):
    case = CASES[id]
    design = build(case["formula"], data_of(case))
    assert len(design.y) == case["n"]
    assert len(design.fixed_names) == len(case["columns"])
    assert len(design.dropped) == len(case["dropped"])
    if not design.dropped:
        assert design.assign.tolist() == case["assign"]
    check(design.y, case["y"], case["rows"])
    check(design.X, case["X"], case["rows"])


@pytest.mark.parametrize("id", CASES)
def test_random_terms_are_lme4s(id, build):
    case = CASES[id]
    design = build(case["formula"], data_of(case))
    assert len(design.random) == len(case["random"])
    for ours, theirs in zip(in_lme4_order(design.random), case["random"], strict=True):
        assert len(ours.levels) == theirs["n_levels"]
        assert ours.levels[:60].tolist() == theirs["levels"]
        assert ours.codes[case["rows"]].tolist() == theirs["codes"]
        assert ours.codes.sum() == theirs["codes_sum"]
        assert len(ours.columns) == len(theirs["columns"])
        check(ours.values, theirs, case["rows"])


@pytest.mark.parametrize("id", NAMES)
def test_names_are_formulaics(id, build):
    case = CASES[id]
    names = build(case["formula"], data_of(case)).fixed_names
    assert list(names[: len(NAMES[id])]) == NAMES[id]


def test_dropped_columns_are_those_r_drops(build):
    case = CASES["sleep_rankdef_factor"]
    design = build(case["formula"], data_of(case))
    assert [name.replace("[T.", "").replace("]", "").upper() for name in design.dropped] == [
        name.upper() for name in case["dropped"]
    ]


@pytest.mark.parametrize("id", WITH_Z)
def test_z_and_x_of_fitted_references(id, build):
    case = json.loads((LMER / f"{id}.json").read_text())
    design = build(case["formula"], datasets.load(case["data"]["name"]))
    theirs = case["design"]
    np.testing.assert_allclose(design.X, np.array(theirs["X"]), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(design.assign, theirs["X_assign"])
    np.testing.assert_allclose(dense_zt(design), triplets(theirs["Zt"]), rtol=1e-12, atol=1e-12)


def dense_zt(design):
    blocks = []
    for term in in_lme4_order(design.random):
        n, p = term.values.shape
        block = np.zeros((len(term.levels), p, n))
        block[term.codes, :, np.arange(n)] = term.values
        blocks.append(block.reshape(-1, n))
    return np.vstack(blocks)


def triplets(sparse):
    matrix = np.zeros((sparse["nrow"], sparse["ncol"]))
    matrix[sparse["row0"], sparse["col0"]] = sparse["x"]
    return matrix
