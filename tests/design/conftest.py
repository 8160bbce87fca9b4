"""What the tests of the design layer share."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from _ranef.design import Design, build_design, registered
from _ranef.formula import parse_formula


def design_of(formula: str, data: object, **options: object) -> Design:
    parsed = parse_formula(formula, functions=registered(options.get("transforms")))
    return build_design(parsed, data, **options)


@pytest.fixture
def build() -> Callable[..., Design]:
    """A formula and data to a design."""
    return design_of


@pytest.fixture
def frame() -> pd.DataFrame:
    """Twelve rows with every kind of column."""
    return pd.DataFrame(
        {
            "y": [3.0, 5.0, 4.0, 6.5, 7.0, 5.5, 8.0, 2.0, 1.0, 4.5, 6.0, 9.0],
            "x": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            "flag": [True, False, True, True, False, False, True, False, True, False, True, False],
            "text": ["b", "a", "c"] * 4,
            "f": pd.Categorical(["lo", "hi", "mid", "lo"] * 3, categories=["lo", "mid", "hi", "never"]),
            "o": pd.Categorical(["s", "m", "l"] * 4, categories=["s", "m", "l"], ordered=True),
            "g": ["p", "p", "p", "q", "q", "q", "r", "r", "r", "s", "s", "s"],
        }
    )
