"""Which fits may stand side by side, and what they are called."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.comparison import check_names, default_names, difference, require_same_model

DATA = pd.DataFrame(
    {
        "y": np.random.default_rng(0).normal(size=24),
        "x": np.linspace(0.0, 1.0, 24),
        "z": np.tile([0.0, 1.0, 2.0], 8),
        "w": np.linspace(1.0, 2.0, 24),
        "g": np.repeat(list("abcdef"), 4),
    }
)

FORMULA = "y ~ x + (x | g)"


def spec(formula=FORMULA, data=DATA, **extras):
    return ranef.Model(formula, data, **extras).spec


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda: spec("y ~ z + (x | g)"), r"the coefficients 'x' is in the first only and 'z' is in the second only"),
        (lambda: spec("y ~ x + z + (x | g)"), r"different models.*'z' is in the second only"),
        (lambda: spec("y ~ x + (1 | g)"), r"the random effects of 'g' on the columns 'x' is in the first only"),
        (
            lambda: spec("y ~ x + (x || g)"),
            r"effects of 'g' have another covariance in '\(x \| g\)' than in '\(x \|\| g",
        ),
        (lambda: spec("y ~ x + (x | g) + (1 | z)"), "random effects of 'z' are in the second only"),
        (lambda: spec(sigma=1.0), "σ is estimated in one and known to be 1 in the other"),
        (lambda: spec(data=DATA[:-1]), r"different data: 24 and 23 rows.*missing values.*same ranef\.Model"),
        (lambda: spec(data=DATA[::-1]), "the same rows in another order"),
        (lambda: spec("log(y + 9) ~ x + (x | g)"), r"the responses, 'y' and 'log\(y \+ 9\)'"),
        (lambda: spec(data=DATA.assign(x=DATA["x"] ** 2)), "the coefficients 'x' are of other columns in one"),
        (lambda: spec(weights="w"), "the weights of one"),
        (lambda: spec(offset="w"), "the offsets of one"),
        (lambda: spec(data=DATA.assign(g=np.tile(list("abcdef"), 4))), "the levels of 'g' of one"),
    ],
)
def test_what_differs_is_said(other, reason):
    second = other()
    with pytest.raises(ranef.DesignError, match=f"(?s)'one' and 'two' cannot stand side by side.*{reason}"):
        require_same_model({"one": spec(), "two": second})


def test_the_same_model_made_twice_is_the_same():
    assert difference(spec(), spec()) is None
    assert difference(spec(weights="w"), spec(weights=DATA["w"].to_numpy())) is None
    assert difference(spec(), spec("y ~ 1 + x + (1 + x | g)")) is None
    assert (
        difference(spec(), spec(data=DATA.assign(g=DATA["g"].str.upper()))) is None
    )  # other labels of the same groups


def test_chunks_are_told_by_names_levels_and_rows():
    chunks = [DATA[:10], DATA[10:]]
    streamed = spec(data=chunks)
    assert difference(streamed, spec()) is None
    assert "24 and 20 rows" in str(difference(streamed, spec(data=DATA[:20])))


@pytest.mark.parametrize(
    ("engines", "names"),
    [
        (["REML", "NUTS"], ("eb", "fb")),
        (["NUTS", "ML"], ("fb", "eb")),
        (["REML", "ML"], ("REML", "ML")),
        (["NUTS", "NUTS"], ("NUTS_1", "NUTS_2")),
        (["REML", "NUTS", "NUTS"], ("REML", "NUTS_1", "NUTS_2")),
        (["NUTS", "REML", "ML", "REML"], ("NUTS", "REML_1", "ML", "REML_2")),
    ],
)
def test_default_names(engines, names):
    assert default_names(engines) == names


@pytest.mark.parametrize("name", ["", "  ", 1, None])
def test_names_must_be_text(name):
    with pytest.raises(ranef.DesignError, match="is not a name: it must be a string"):
        check_names(["good", name])
