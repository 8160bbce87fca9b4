"""The packed model and the loops that read it agree on what stands where."""

from __future__ import annotations

import numpy as np

import ranef
from _ranef.posterior.loops import packed_places
from _ranef.posterior.packing import PARTS
from _ranef.posterior.problem import prepare


def test_the_loops_know_the_order_of_the_parts():
    places = {name[3:].lower(): value for name, value in vars(packed_places).items() if name.startswith("AT_")}
    assert places == {name.lower(): 2 * i for i, name in enumerate(PARTS)}


def test_arrays_are_found_where_the_header_says():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    problem = prepare(model.spec, model.products, model.priors())
    u = problem.packed
    found = {name: u[int(u[2 * i]) :][: int(u[2 * i + 1])] for i, name in enumerate(PARTS)}
    assert found["sizes"].tolist() == [2.0]
    assert found["levels"].tolist() == [18.0]
    np.testing.assert_array_equal(found["fill"].reshape(problem.sampled_fill.shape), problem.sampled_fill)
    numbers = found["numbers"]
    assert numbers[packed_places.UNIT] == problem.fixed.unit
    assert (numbers[packed_places.N_SD], numbers[packed_places.N_PARTIAL], numbers[packed_places.N_THETA]) == (2, 1, 3)
