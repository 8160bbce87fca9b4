"""A model of a frame that an engine computes is the model of the same rows in memory."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

import ranef
from test_chunks import assert_same_fit

#: of the engines' own makers
pytestmark = [
    pytest.mark.filterwarnings("ignore:Dask support is moving:FutureWarning"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option"),
]


#: up to version 1.3 relations do not keep theirs open
CONNECTIONS = []


def duckdb(data: pd.DataFrame):
    module = pytest.importorskip("duckdb")
    connection = module.connect()
    CONNECTIONS.append(connection)
    connection.register("people", data)
    return connection.sql("SELECT * FROM people")


def ibis(data: pd.DataFrame):
    return pytest.importorskip("ibis").memtable(data)


def dask(data: pd.DataFrame):
    return pytest.importorskip("dask.dataframe").from_pandas(data, npartitions=3)


@functools.cache
def session():
    """Spark on this machine, where it and a Java are installed."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs a Java")
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3"}
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def spark(data: pd.DataFrame):
    made = session().createDataFrame(data if len(data) else people(9))  # which has columns
    return made.cache() if len(data) else made.limit(0)


def polars(data: pd.DataFrame):
    return pl.from_pandas(data).lazy()


ENGINES = {"duckdb": duckdb, "ibis": ibis, "dask": dask, "polars": polars, "spark": spark}


def people(n: int = 3000) -> pd.DataFrame:
    """Rows in years far from zero, with gaps, a level that only an incomplete row has, and numbers as groups."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "g": rng.integers(0, 40, n).astype(str),
            "h": rng.integers(1, 13, n),
            "x": rng.normal(2000.0, 10.0, n),
            "z": rng.integers(0, 100, n),
            "f": rng.choice(["low", "mid", "high"], n),
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
            "two words": rng.normal(size=n),
        }
    )
    effects = rng.normal(size=(40, 2)) @ [[1.0, 0.3], [0.0, 0.1]]
    line = effects[data["g"].astype(int), 0] + effects[data["g"].astype(int), 1] * (data["x"] - 2000)
    data["y"] = 1e3 + 0.1 * data["x"] + line + 0.02 * data["z"] + rng.normal(size=n)
    data.loc[5, ["x", "g"]] = [np.nan, "only here"]
    data.loc[9, "y"] = np.nan
    data.loc[11, "f"] = None
    return data


GROUPED = {
    "slopes, factors": ("y ~ x * f + (x | g)", {}),
    "crossed, weighted": ("y ~ z + f + (1 | f:g) + (1 | h)", {"weights": "w"}),
    "numbers as levels, offset": ("y ~ x + factor(h) + (z || g)", {"offset": "o"}),
    "quoted, aliased": ("y ~ `two words` + f + I(h * 2) + h + (0 + x | g)", {}),
    "no fixed effects": ("o ~ 0 + (z || g)", {}),
}
READ = ["y ~ log(x) + (1 | g)", "y ~ x * o + (1 | g)", "y ~ scale(x) + (1 | g)"]


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *(("duckdb", name) for name in GROUPED),
        *((engine, "crossed, weighted") for engine in ("ibis", "dask", "polars", "spark")),
    ],
)
def test_sums_by_groups(engine, name):
    formula, given = GROUPED[name]
    data = people()
    whole, model = ranef.Model(formula, data, **given), ranef.Model(formula, ENGINES[engine](data), **given)
    stream = model.spec.design.stream
    assert stream.cells is not None
    assert stream.cells.n < len(data)
    assert model.spec.design.n_dropped == whole.spec.design.n_dropped
    assert model.spec.design.dropped == whole.spec.design.dropped
    assert_same_fit(model, whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_read_where_sums_would_not_do(engine):
    data = people(2000)
    for formula in READ:
        model = ranef.Model(formula, ENGINES[engine](data))
        assert model.spec.design.stream.cells is None or model.spec.design.stream.cells.n > 0.9 * len(data)
        assert_same_fit(model, ranef.Model(formula, data))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_reads_rows_again(engine):
    data, formula = people(1500), "y ~ x + f + (x | g)"
    whole, fit = ranef.Model(formula, data).fit(), ranef.Model(formula, ENGINES[engine](data)).fit()
    np.testing.assert_allclose(fit.fitted(), whole.fitted(), rtol=1e-9)
    np.testing.assert_allclose(fit.residuals("pearson"), whole.residuals("pearson"), atol=1e-6)
    np.testing.assert_allclose(fit.hatvalues(), whole.hatvalues(), atol=1e-7)
    new = data.head(3)
    np.testing.assert_allclose(fit.predict(new), whole.predict(new), rtol=1e-9)


@pytest.mark.parametrize("given", [{}, {"weights": "w"}], ids=["plain", "weighted"])
def test_priors_know_all_rows(given):
    data, formula = people(), "y ~ x + f + (x | g)"
    whole, model = ranef.Model(formula, data, **given), ranef.Model(formula, duckdb(data), **given)
    assert model.priors().lines() == whole.priors().lines()


def test_a_large_model_has_a_sample_of_rows():
    data = pd.concat([people().assign(h=k) for k in range(20)])  # 60 000 rows
    whole, model = ranef.Model("y ~ x + (x | g)", data), ranef.Model("y ~ x + (x | g)", duckdb(data))
    assert 15_000 < sum(piece.n for _, piece in model.spec.design.stream.sample) < 25_000
    assert_same_fit(model, whole)


def test_rows_that_are_not_held_need_no_memory(monkeypatch):
    """A billion rows were once refused for the columns that they would fill, of which none is made."""
    data = pd.concat([people()] * 14, ignore_index=True)  # 42 000 rows, of which 20 000 are sampled
    monkeypatch.setattr("_ranef.design.size._memory", lambda: 1.5e6)
    with pytest.raises(ranef.DesignError, match="columns"):
        ranef.Model("y ~ x + (1 | g)", data)
    in_chunks = [data.head(21_000), data.tail(21_000)]
    for rows in (duckdb(data), in_chunks):
        assert ranef.Model("y ~ x + (1 | g)", rows).spec.n_obs == len(data.dropna(subset=["y", "x", "g"]))


def test_columns_may_have_any_names():
    """Those by which an engine is asked are no one's."""
    names = {"g": "n", "h": "w", "x": "a1", "z": "p1_1", "w": "low"}
    data = people(1000).rename(columns=names)
    formula, given = "y ~ p1_1 + a1 + (a1 | n) + (1 | w)", {"weights": "low"}
    model = ranef.Model(formula, duckdb(data), **given)
    assert model.spec.design.stream.cells is not None
    assert_same_fit(model, ranef.Model(formula, data, **given))


def test_as_many_cells_as_rows_are_read():
    data = people(40_000)
    data["id"] = np.arange(len(data)) // 2
    model = ranef.Model("y ~ x + (1 | id)", duckdb(data))
    assert model.spec.design.stream.cells is None
    assert_same_fit(model, ranef.Model("y ~ x + (1 | id)", data))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be(engine):
    data, frame = people(300), ENGINES[engine]
    with pytest.raises(ranef.FormulaError, match="'years' is not a column"):
        ranef.Model("y ~ years + (1 | g)", frame(data))
    with pytest.raises(ranef.DesignError, match="positive"):
        ranef.Model("y ~ x + (1 | g)", frame(data.assign(w=0.0)), weights="w")
    with pytest.raises(ranef.DesignError, match="inf"):
        ranef.Model("y ~ x + (1 | g)", frame(data.assign(x=np.inf)))
    with pytest.raises(ranef.FitError, match="is 1 in all 299 rows"):
        ranef.Model("y ~ x + (1 | g)", frame(data.assign(y=1.0)))
    with pytest.raises(ranef.DesignError, match="empty"):
        ranef.Model("y ~ x + (1 | g)", frame(data.head(0)))


WORKERS = """
import os, sys, pathlib
import dask.dataframe, distributed, numpy, pandas, ranef

def rows(k):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()  # who has read them
    rng = numpy.random.default_rng(k)
    data = pandas.DataFrame({"g": rng.integers(0, 40, 10_000), "x": rng.uniform(1.0, 9.0, 10_000)})
    return data.assign(y=numpy.log(data["x"]) + data["g"] % 7 + rng.normal(size=10_000))

if __name__ == "__main__":
    given = dask.dataframe.from_map(rows, range(3), meta=rows(0).head(0))
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).unlink()
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        model = ranef.Model("y ~ scale(log(x)) + (log(x) | g)", given)
        fit = model.fit()
    assert model.spec.design.stream.cells is None
    readers = [mark.name for mark in pathlib.Path(sys.argv[1]).iterdir()]
    assert readers and str(os.getpid()) not in readers
    whole = ranef.Model("y ~ scale(log(x)) + (log(x) | g)", pandas.concat(map(rows, range(3)))).fit()
    numpy.testing.assert_allclose(fit.criterion, whole.criterion, rtol=1e-10)
    numpy.testing.assert_allclose(fit.fixef, whole.fixef, rtol=1e-9)
    print("alike")
"""


@pytest.mark.slow
def test_workers_make_the_sums(tmp_path):
    """Where groups do not serve: no partition is read in the process that fits."""
    pytest.importorskip("dask.dataframe")
    pytest.importorskip("distributed")
    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "work.py").write_text(WORKERS)
    command = [sys.executable, str(tmp_path / "work.py"), str(marks)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert out.stdout == "alike\n", out.stderr


DYING = """
import os, pathlib, signal, sys
import dask.dataframe, distributed, numpy, pandas, ranef

def rows(k, deadly=False):
    "The third time that the second partition is read, which is for its sums, takes its worker along."
    if deadly and k == 1:
        with open(sys.argv[1], "a") as file:
            file.write("x")
        if os.path.getsize(sys.argv[1]) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    rng = numpy.random.default_rng(k)
    data = pandas.DataFrame({"g": rng.integers(0, 40, 10_000), "x": rng.uniform(1.0, 9.0, 10_000)})
    return data.assign(y=numpy.log(data["x"]) + data["g"] % 7 + rng.normal(size=10_000))

if __name__ == "__main__":
    formula = "y ~ scale(log(x)) + (log(x) | g)"
    given = dask.dataframe.from_map(rows, range(3), deadly=True, meta=rows(0).head(0))
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        before = {one["pid"] for one in client.run(lambda: {"pid": os.getpid()}).values()}
        fit = ranef.Model(formula, given).fit()
        after = {one["pid"] for one in client.run(lambda: {"pid": os.getpid()}).values()}
    assert before != after
    whole = ranef.Model(formula, pandas.concat(map(rows, range(3)))).fit()
    numpy.testing.assert_allclose(fit.criterion, whole.criterion, rtol=1e-10)
    print("alike")
"""


@pytest.mark.slow
@pytest.mark.parametrize("reading", [2, 3], ids=["levels", "sums"])
def test_a_worker_that_dies(tmp_path, reading):
    """Killed while it reads levels or sums: Dask gives its work to another, and the numbers are the same."""
    pytest.importorskip("dask.dataframe")
    pytest.importorskip("distributed")
    (tmp_path / "work.py").write_text(DYING)
    command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path / "count"), str(reading)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert out.stdout == "alike\n", out.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_generalised_responses_are_refused(engine):
    data = people(60).assign(y=lambda d: d["z"] % 2)
    with pytest.raises(ranef.NotAvailableError, match="binomial response in chunks or an engine is not available"):
        ranef.Model("y ~ x + (1 | g)", ENGINES[engine](data), family="binomial")
    with pytest.raises(ranef.ArgumentError, match="no argument family="):
        ranef.sums("y ~ x + (1 | g)", ENGINES[engine](data), family="binomial")


@pytest.mark.slow
def test_the_page_of_crossed_factors(tmp_path):
    """With sums of cells at hand, rows are asked for where they are needed."""
    data = people(1500).dropna()
    formula = "y ~ z + f + (1 | g) + (1 | h)"
    model = ranef.Model(formula, duckdb(data))
    both = ranef.compare(model.fit(), model.fit("ML"))
    assert both.report(tmp_path / "page.html").stat().st_size > 100_000
    assert model.equation("cluster").text == ranef.Model(formula, data).equation("cluster").text


def test_a_stream_of_arrow():
    pa = pytest.importorskip("pyarrow")

    class Stream:
        def __init__(self, table):
            self.table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    data = people(500)
    model = ranef.Model("y ~ x + (1 | g)", Stream(pa.Table.from_pandas(data)))
    assert_same_fit(model, ranef.Model("y ~ x + (1 | g)", data))
