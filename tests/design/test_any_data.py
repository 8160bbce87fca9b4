"""Random formulas on frames of mixed columns: a model, or an error of ranef's own, and never anything else."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

import ranef
from _ranef.design import encode

GAPPED = ["y", "x", "k", "f", "h", "o", "text", "comma", "when", "many", "gap", "wild", "my col", "g"]


def frame(rng: np.random.Generator) -> pd.DataFrame:
    """Columns of many types, some of them strange, with gaps here and there."""
    n = int(rng.choice([3, 30, 60, 120, 200]))
    columns = {
        "y": rng.normal(size=n),
        "x": rng.normal(size=n) * 10.0 ** rng.choice([0, 0, 0, 0, 0, 0, 3, -6, 160]),
        "x2": rng.integers(0, 4, n),
        "k": pd.array(rng.integers(0, 9, n), dtype="Int64"),
        "f": rng.choice(list("pqr"), n),
        "h": pd.Categorical(rng.choice(list("uvw"), n), categories=list("uvwz")),
        "flag": rng.choice([True, False], n),
        "o": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), categories=["lo", "mid", "hi"], ordered=True),
        "text": [f"{value:.2f}" for value in rng.normal(size=n)],
        "comma": [f"{k},5" for k in range(n)],
        "when": pd.date_range("2020-01-01", periods=n),
        "many": [f"level {k}" for k in rng.permutation(n)],
        "gap": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
        "one": np.ones(n),
        "wild": [WILD[k] for k in rng.integers(0, len(WILD), n)],
        "my col": rng.normal(size=n),
        "g": rng.choice(list("abcdef"), n),
        "j": rng.integers(0, 3, n),
    }
    made = pd.DataFrame(columns)
    for name in rng.choice(GAPPED, 2):
        if rng.random() < 0.3:
            made.loc[rng.integers(0, n), name] = None
    return made


WILD = [None, 1, 2.5, True, "a", "", [1], Decimal("1.5"), dt.date(2020, 1, 1), np.nan, 1j, b"x"]
ATOMS = ["x", "x2", "k", "f", "h", "flag", "o", "gap", "`my col`", "1", "0", "g"]
ODD_ATOMS = ["text", "comma", "when", "many", "one", "wild", "nothing", "pi", "TRUE", '"text"', "3"]
CALLS = [
    "log({})", "sqrt({})", "I({}^2)", "I({} / x)", "I(1 / {})", "poly({}, 2)", "poly({}, 3, raw=TRUE)",
    "bs({}, df=4)", "cr({}, df=3)", "scale({})", "center({})", "factor({})", "C({}, contr.sum)", "C({}, contr.poly)",
    "relevel({}, 'q')", "dummy({}, 'p')", "dummy({})", "ordered({})", "ifelse({} > 0, 1, 0)", "I({} == 'p')",
    "round({}, 1)", "offset({})", "pmin({}, 1)", "as.numeric({})", "exp({})", "I({} - mean({}))", "I(-{})",
    "I({} %% 2)", "I(!{})",
]  # fmt: skip
GROUPS = [
    "g", "g", "g", "g", "j", "j", "f", "g:j", "g:j", "g/j", "factor(j)", "h", "flag", "many", "when", "x", "comma",
    "j/g", "wild", "g*j",
]  # fmt: skip


def atom(rng: np.random.Generator) -> str:
    name = str(rng.choice(ATOMS if rng.random() < 0.95 else ODD_ATOMS))
    if rng.random() < 0.15:
        call = str(rng.choice(CALLS))
        return call.replace("{}", name)
    return name


def terms(rng: np.random.Generator, most: int) -> str:
    text = atom(rng)
    for _ in range(rng.integers(0, most)):
        operator = str(rng.choice([" + ", " + ", " * ", ":", "/", " - ", " %in% "]))
        text = f"({text}){operator}{atom(rng)}" if rng.random() < 0.3 else f"{text}{operator}{atom(rng)}"
    return f"({text})^2" if rng.random() < 0.05 else text


def formula(rng: np.random.Generator) -> str:
    response = "y" if rng.random() < 0.95 else atom(rng)
    bars = []
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        effects = "1" if rng.random() < 0.4 else terms(rng, 2)
        bars.append(f"({effects} {rng.choice(['|', '||'])} {rng.choice(GROUPS)})")
    return f"{response} ~ {' + '.join([terms(rng, 4), *bars])}"


def try_model(seed: int) -> str:
    """What came of one model: ``built``, or the words of ranef's own error. Others are raised."""
    rng = np.random.default_rng(seed)
    data, text = frame(rng), formula(rng)
    options = {}
    if rng.random() < 0.2:
        options["weights"] = rng.choice(["one", "one", "x2", "text", "gap", "nothing"])
    if rng.random() < 0.2:
        options["offset"] = rng.choice(["x", "comma", "k"])
    if rng.random() < 0.2:
        options["sigma"] = 1.0
    if rng.random() < 0.2:
        options["na_action"] = "error"
    given = data
    if rng.random() < 0.1:
        given = [data.iloc[:2], data.iloc[2:]]
    elif rng.random() < 0.15:
        given = pl.from_pandas(data.drop(columns="wild"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ranef.RanefWarning)
        try:
            model = ranef.Model(text, given, **options)
            encode(model.spec.design.encoding, data.iloc[::-1])
        except ranef.RanefError as error:
            return str(error) or "no words"
        except Exception as error:
            error.add_note(f"seed {seed}: {text!r}, {options}")
            raise
    return "built"


def test_a_few():
    came = [try_model(seed) for seed in range(150)]
    assert came.count("built") > 30
    assert "no words" not in came


@pytest.mark.slow
def test_many():
    for seed in range(1000, 6000):
        try_model(seed)
