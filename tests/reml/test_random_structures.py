"""Random small designs with residual structures: general searches on the dense likelihood end no lower."""

from __future__ import annotations

import pytest

import random_structures

#: numbers of designs: every variance and every correlation alone, some pairs, and those that once ended too high
FEW = [*range(6), 7, 8, 9, 10, 11, 13, 27, 68, 80]

#: difference of criteria that counts
MATTERS = 1e-3


def ends(k, starts):
    own = random_structures.design(k)
    fit = random_structures.fitted(own)
    criterion, values = random_structures.lowest(own, k, starts, fit)
    return fit.criterion <= criterion + MATTERS or random_structures.has_no_minimum(own, values)


@pytest.mark.parametrize("k", FEW)
def test_no_search_ends_lower(k):
    assert ends(k, 1)


@pytest.mark.slow
@pytest.mark.parametrize("k", range(2 * len(random_structures.PAIRS)))
def test_no_search_ends_lower_on_many(k):
    assert ends(k, 3)
