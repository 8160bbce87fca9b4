"""What is too large is refused by counting, before any of it is built; what is only rank-deficient is built."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import ranef
from _ranef.design.coding import code_terms
from _ranef.design.expression_values import Factor, Logical, Numeric
from _ranef.design.size import count_columns
from _ranef.formula import parse_formula

N = 200
LETTERS = [f"v{i}" for i in range(30)]


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({name: rng.normal(size=N) for name in LETTERS} | {"y": rng.normal(size=N)})
    return data.assign(a=rng.permutation(N), b=rng.permutation(N), g=np.resize(list("abcdefghij"), N))


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("*".join(LETTERS[:16]), "fixed part has at least 65535 columns, one for each of its terms, for 200 rows"),
        (f"({'+'.join(LETTERS[:20])})^5", "fixed part has at least 21699 columns, .*for 200 rows"),
        (f"({'+'.join(LETTERS)})^4", "fixed part has at least 31930 columns"),
        ("factor(a)*factor(b)", "40000 columns, 39601 of them of factor.a.:factor.b., for 200 rows"),
        ("factor(a):factor(b):v1", "40001 columns, 40000 of them of"),
        (f"(({'+'.join(LETTERS[:20])})^5 | g)", r"\(\(v0.* has at least 21699 columns"),
        ("(factor(a):factor(b) | g)", "40001 columns"),
        ("poly(v0, 1e9)", "degree 1000000000 needs at least 1000000001 distinct values, and its 200 rows have 200"),
        ("poly(v0, 1e9, raw=TRUE)", "1000000001 distinct values"),
        ("bs(v0, df=1e6)", r"bs\(v0, df = 1e\+06\) .*1000000 columns are asked for, and its 200 rows have 200"),
        ("bs(v0, degree=1e6)", "1000000 columns are asked for"),
        ("cr(v0, df=1e6)", "1000000 columns are asked for"),
        ("poly(v0, 200)", "degree 200 needs at least 201 distinct values, and its 200 rows have 200"),
        ("bs(v0, df=201)", "201 columns are asked for, and its 200 rows have 200"),
    ],
)
def test_too_many_columns(formula, words, wide):
    random = "" if "|" in formula else " + (1 | g)"
    with pytest.raises(ranef.DesignError, match=words):
        ranef.Model(f"y ~ {formula}{random}", wide)


def test_counting_takes_no_memory(wide):
    """The 40 000 columns would take 64 MB."""
    tracemalloc.start()
    with pytest.raises(ranef.DesignError, match="40000 columns"):
        ranef.Model("y ~ factor(a)*factor(b) + (1 | g)", wide)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e6


def test_too_many_terms_to_count():
    with pytest.raises(ranef.FormulaError, match="too many terms"):
        parse_formula(f"y ~ {'*'.join(LETTERS)}", functions=())


def test_more_covariances_than_rows():
    """lme4's own check lets these 10 000 effects pass, and their 12 502 500 covariances with them."""
    n = 12_000
    data = pd.DataFrame({"y": np.arange(n) % 7.0, "g": np.resize(["a", "b"], n)})
    data["f"] = [f"level {k % 5000}" for k in range(n)]
    words = r"5000 effects for each level of g, and so 12502500 variances and covariances, for 12000 rows"
    for options in ({}, {"sigma": 1.0}):
        with pytest.raises(ranef.DesignError, match=words):
            ranef.Model("y ~ 1 + (0 + f | g)", data, **options)


def test_what_is_only_rank_deficient_is_built(wide):
    data = wide.assign(p=wide.a % 25, q=wide.b % 20)
    model = ranef.Model("y ~ factor(p) * factor(q) + (1 | g)", data)
    assert len(model.spec.design.fixed_names) + len(model.spec.design.dropped) == 500
    assert len(model.spec.design.fixed_names) < N


def test_chunks_are_counted_too(wide):
    chunks = [wide[:90], wide[90:]]
    with pytest.raises(ranef.DesignError, match="40000 columns, 39601 of them"):
        ranef.Model("y ~ factor(a)*factor(b) + (1 | g)", chunks)
    with pytest.raises(ranef.DesignError, match="65535 columns"):
        ranef.Model(f"y ~ {'*'.join(LETTERS[:16])} + (1 | g)", chunks)


@pytest.mark.parametrize(
    "formula", ["a * b * x", "0 + a:b", "a:m + l*x", "0 + o + a:b:m", "0 + x + l", "a:b + b:x + a:l:b", "1", "0"]
)
def test_counts_are_those_of_what_is_built(formula):
    values = {
        "a": Factor(np.arange(6) % 3, ("p", "q", "r")),
        "b": Factor(np.arange(6) % 2, ("u", "v")),
        "o": Factor(np.arange(6) % 4, ("1", "2", "3", "4"), ordered=True),
        "l": Logical(np.arange(6) % 2.0),
        "x": Numeric(np.arange(6.0)),
        "m": Numeric(np.ones((6, 2)), ("[1]", "[2]")),
    }
    terms = parse_formula(f"y ~ {formula}", functions=()).fixed
    known = {factor: values[factor.name] for term in terms.terms for factor in term.factors}
    built = code_terms(terms, known, 6)
    counts = count_columns(terms, known)
    assert counts == [int((built.assign == k).sum()) for k in range(1, len(terms.terms) + 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits and sizes of processes are those of Linux")
def test_too_little_memory():
    """A process that may have 400 MB more than it holds is asked for a matrix of 800 MB."""
    code = """
import resource, numpy as np, pandas as pd, ranef
n = 200_000
data = {f"x{k}": np.random.default_rng(k).normal(size=n) for k in range(3)} | {"y": np.arange(n) % 7.0}
data["f"], data["g"] = np.resize([f"f{k}" for k in range(500)], n), np.resize(list("abcdefg"), n)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 400_000_000, -1))
try:
    ranef.Model("y ~ f + (1 | g)", pd.DataFrame(data))
except ranef.DesignError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.startswith("The memory is not enough for the design of 'y ~ f + (1 | g)' with 200000 rows."), run
