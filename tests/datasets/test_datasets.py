import csv
import dataclasses
import doctest
import gzip
import hashlib
import io
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest

import ranef.datasets
from _ranef.datasets import catalogue, files, info, rebuild
from _ranef.errors import DesignError
from ranef import datasets

META_FILES = sorted(files.BUNDLE.glob("*.meta.json"))
META = {path.name.removesuffix(".meta.json"): json.loads(path.read_text(encoding="utf-8")) for path in META_FILES}


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("RANEF_DATA", raising=False)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A small copy of the bundle that a test may spoil."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in ("pulp.csv", "pulp.meta.json", "sleepstudy.csv", "sleepstudy.meta.json"):
        shutil.copy(files.BUNDLE / file, folder / file)
    rebuild.rebuild(folder)
    monkeypatch.setattr(files, "BUNDLE", folder)
    return folder


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A folder for RANEF_DATA, and a function that writes a data set into it."""
    folder = tmp_path / "added"
    folder.mkdir()
    monkeypatch.setenv("RANEF_DATA", str(folder))

    def write(name, text, columns=None, /, **meta):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        if columns is not None:
            content = {"name": name, "n_rows": text.count("\n") - 1, "columns": columns} | meta
            (folder / f"{name}.meta.json").write_text(json.dumps(content), encoding="utf-8")
        return folder

    return write


def raw_columns(name):
    """The csv file as text, read by the standard library instead of pandas."""
    content = (files.BUNDLE / META[name]["file"]).read_bytes()
    text = gzip.decompress(content) if META[name]["file"].endswith(".gz") else content
    header, *rows = csv.reader(io.StringIO(text.decode("utf-8")))
    return dict(zip(header, zip(*rows, strict=True), strict=True))


@pytest.mark.parametrize("name", META)
def test_bundled_set_is_what_its_meta_file_says(name):
    meta, frame, raw = META[name], datasets.load(name), raw_columns(name)
    assert meta["name"] == name
    assert frame.shape == (meta["n_rows"], meta["n_columns"])
    assert list(frame.columns) == [column["name"] for column in meta["columns"]] == list(raw)
    assert frame.index.equals(pd.RangeIndex(len(frame)))
    for column in meta["columns"]:
        values, texts = frame[column["name"]], raw[column["name"]]
        assert values.isna().sum() == column["n_missing"] == texts.count("")
        present = ~values.isna().to_numpy()
        if column["type"] in ("factor", "ordered"):
            assert list(values.cat.categories) == column["levels"]
            assert all(isinstance(level, str) for level in values.cat.categories)
            assert values.cat.ordered == (column["type"] == "ordered")
            assert list(values[present].astype(str)) == [text for text in texts if text]
        else:
            whole = column["type"] == "integer" and not column["n_missing"]
            assert values.dtype == ("int64" if whole else "float64")
            np.testing.assert_array_equal(values[present].to_numpy(), [float(text) for text in texts if text])


@pytest.mark.parametrize("name", META)
def test_description_repeats_the_meta_file(name):
    meta, found = META[name], datasets.describe(name)
    assert (found.name, found.n_rows, found.n_columns) == (name, meta["n_rows"], meta["n_columns"])
    for key in ("source", "reference", "about", "licence"):
        assert getattr(found, key) == meta[key]
    assert found.sha256 == hashlib.sha256((files.BUNDLE / meta["file"]).read_bytes()).hexdigest()
    assert [c.n_missing for c in found.columns] == [c["n_missing"] for c in meta["columns"]]
    assert str(found).startswith(f"{name}: {meta['n_rows']} rows")


def test_checksums_and_provenance_are_those_of_the_files():
    assert json.loads((files.BUNDLE / files.CHECKSUMS).read_text(encoding="utf-8")) == rebuild.checksums(files.BUNDLE)
    page = (files.BUNDLE / "PROVENANCE.md").read_text(encoding="utf-8")
    assert page == rebuild.provenance(files.BUNDLE)
    assert all(f"| {name} |" in page for name in META)


def test_sleepstudy_values():
    frame = datasets.load("sleepstudy")
    assert frame["Reaction"].iloc[0] == 249.56
    # awk -F, 'NR > 1 {s += $1} END {printf "%.4f", s}' sleepstudy.csv; 180 terms of 1e2 lose at most 1e-9
    assert math.isclose(frame["Reaction"].sum(), 53731.4205, abs_tol=1e-8)
    assert list(frame["Subject"].iloc[[0, -1]]) == ["308", "372"]


def test_pulp_mean():
    # Faraway (2016) sec. 8.1: 60.4; the sum of 20 values with one decimal is exact to rounding
    assert math.isclose(datasets.load("pulp")["bright"].mean(), 60.4, rel_tol=1e-14)


def test_names_are_sorted_without_regard_to_case():
    assert datasets.names() == sorted(META, key=str.casefold)


def test_names_reads_no_meta_file(bundle):
    (bundle / "pulp.meta.json").write_text("not JSON", encoding="utf-8")
    assert datasets.names() == ["pulp", "sleepstudy"]


@pytest.mark.parametrize("spelling", ["Dyestuff", "dyestuff", "DYESTUFF"])
def test_case_does_not_matter(spelling):
    assert datasets.describe(spelling).name == "Dyestuff"
    assert datasets.load(spelling).equals(datasets.load("Dyestuff"))


def test_each_load_is_a_fresh_frame():
    first = datasets.load("pulp")
    first.loc[0, "bright"] = 0.0
    assert datasets.load("pulp")["bright"].iloc[0] == 59.8


@pytest.mark.parametrize("file", ["pulp.csv", "pulp.meta.json"])
@pytest.mark.parametrize("ask", [datasets.load, datasets.describe])
def test_tampering_is_detected(bundle, file, ask):
    expected = files.digest((bundle / file).read_bytes())
    changed = (bundle / file).read_bytes().replace(b"60", b"61", 1)
    (bundle / file).write_bytes(changed)
    with pytest.raises(DesignError) as caught:
        ask("pulp")
    for part in (file, expected, files.digest(changed), "Reinstall"):
        assert part in str(caught.value)
    assert datasets.load("sleepstudy").shape == (180, 3)


def test_a_lost_bundled_file_is_reported(bundle):
    (bundle / "pulp.csv").unlink()
    with pytest.raises(DesignError, match=r"pulp\.csv cannot be read .* Reinstall"):
        datasets.load("pulp")


def test_unknown_name_says_what_there_is():
    with pytest.raises(DesignError) as caught:
        datasets.load("sleepstdy")
    message = str(caught.value)
    assert "Did you mean 'sleepstudy'?" in message
    assert all(name in message for name in META)
    assert "RANEF_DATA" in message
    assert "sleepstdy.meta.json" in message


def test_a_path_is_not_a_name(tmp_path, monkeypatch):
    (tmp_path / "secret.csv").write_text("x\n1\n", encoding="utf-8")
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("RANEF_DATA", str(tmp_path / "in"))
    with pytest.raises(DesignError, match="no data set"):
        datasets.load("../secret")


def test_added_set_with_meta_file(added):
    columns = [
        {"name": "y", "type": "numeric", "n_missing": 1},
        {"name": "n", "type": "integer"},
        {"name": "m", "type": "integer"},
        {"name": "g", "type": "factor", "levels": ["02", "01", "NA", "unused"]},
        {"name": "o", "type": "ordered", "levels": ["lo", "hi"]},
        {"name": "s", "type": "character"},
        {"name": "d", "type": "date"},
        {"name": "b", "type": "logical"},
        {"name": "c", "type": "logical"},
    ]
    text = "y,n,m,g,o,s,d,b,c\n0.1,1,,01,lo,a,2026-01-31,TRUE,\n,2,5,NA,hi,,,FALSE,TRUE\n"
    added("Mine", text, columns, about="a test")
    frame = datasets.load("mine")
    assert frame["y"].dtype == "float64"
    assert frame["n"].dtype == "int64"
    assert frame["m"].dtype == "float64"
    assert list(frame["g"]) == ["01", "NA"]
    assert list(frame["g"].cat.categories) == ["02", "01", "NA", "unused"]
    assert frame["o"].cat.ordered
    assert frame["s"].iloc[0] == "a"
    assert frame["s"].isna().tolist() == [False, True]
    assert frame["d"].iloc[0] == pd.Timestamp(2026, 1, 31)
    assert frame["d"].isna().tolist() == [False, True]
    assert frame["b"].dtype == "bool"
    assert frame["b"].tolist() == [True, False]
    assert frame["c"].dtype == "boolean"
    assert frame["c"].isna().tolist() == [True, False]
    assert datasets.names() == sorted([*META, "Mine"], key=str.casefold)
    assert datasets.describe("mine").about == "a test"


def test_added_set_without_meta_file(added):
    folder = added("bare", "x,g,n,b\n1.5,a,1,True\n,b,2,False\n")
    (folder / "packed.csv.gz").write_bytes(gzip.compress(b"x\n1\n2\n"))
    found = datasets.describe("bare")
    assert [column.type for column in found.columns] == ["numeric", "character", "integer", "logical"]
    assert found.columns[0].n_missing == 1
    assert "reference" not in str(found)
    assert datasets.load("bare").shape == (2, 4)
    assert datasets.load("packed")["x"].tolist() == [1, 2]


def test_bundled_name_wins(added):
    added("Pulp", "x\n1\n")
    assert datasets.load("Pulp").shape == (20, 2)
    assert datasets.names() == sorted(META, key=str.casefold)


def test_two_files_of_one_name_are_refused(added):
    folder = added("twice", "x\n1\n")
    (folder / "twice.csv.gz").write_bytes(gzip.compress(b"x\n2\n"))
    with pytest.raises(DesignError, match=r"fits twice\.csv and twice\.csv\.gz"):
        datasets.load("twice")


@pytest.mark.parametrize(("make", "words"), [("file", "is not a folder"), ("nothing", "does not exist")])
def test_folder_must_be_one_only_when_it_is_asked(tmp_path, monkeypatch, make, words):
    place = tmp_path / "place"
    if make == "file":
        place.write_text("", encoding="utf-8")
    monkeypatch.setenv("RANEF_DATA", str(place))
    assert datasets.load("pulp").shape == (20, 2)
    assert datasets.names() == sorted(META, key=str.casefold)
    with pytest.raises(DesignError, match=f"RANEF_DATA points to .*{words}"):
        datasets.load("mine")


NUMBER = {"name": "x", "type": "numeric"}
TEXT = {"name": "y", "type": "character"}


@pytest.mark.parametrize(
    ("text", "columns", "meta", "words"),
    [
        ("x\n1\n", [{"name": "x", "type": "number"}], {}, "'number'; the types are numeric, .*Did you mean 'numeric'"),
        ("x\n1\n", [{"name": "x", "type": "factor"}], {}, "without 'levels'"),
        ("x\n1\n", [{"name": "x"}], {}, "KeyError: 'type'"),
        ("x\n1\n", [NUMBER], {"name": "other"}, "called 'other'"),
        ("x\n1\n", [NUMBER], {"n_rows": 2}, "number of rows: the meta file says 2"),
        ("z\n1\n", [NUMBER], {}, r"columns: the meta file says \['x'\]"),
        ("x\n1\n", [NUMBER | {"n_missing": 1}], {}, "missing values in column 'x'"),
        ("x\n\n1\n", [NUMBER | {"n_missing": 0}], {}, "missing values in column 'x'"),
        ("x\none\n", [NUMBER], {}, "Column 'x' .* of type 'numeric'"),
        ("x\n1.5\n", [{"name": "x", "type": "integer"}], {}, "Column 'x' .* of type 'integer'"),
        ("x,y\n1,a\n2.5,b\n,c\n", [{"name": "x", "type": "integer"}, TEXT], {}, "Column 'x' .* of type 'integer'"),
        ("x\n1\n2,3\n", [NUMBER], {}, r"wrong\.csv cannot be read as a csv file"),
        ("x\na\nb\n", [{"name": "x", "type": "factor", "levels": ["a"]}], {}, "holds 'b'"),
        ("x\nTRUE\nyes\n", [{"name": "x", "type": "logical"}], {}, "holds 'yes'.*'TRUE', 'FALSE'"),
        ("x\n31.1.26\n", [{"name": "x", "type": "date"}], {}, "Column 'x' .* of type 'date'"),
    ],
)
def test_disagreement_with_the_meta_file_is_an_error(added, text, columns, meta, words):
    added("wrong", text, columns, **meta)
    with pytest.raises(DesignError, match=words):
        datasets.load("wrong")


def test_unreadable_files_are_errors_that_name_them(added):
    folder = added("latin", "x\n1\n")
    (folder / "latin.csv").write_bytes(b"x\n\x81\n")  # a byte that Windows-1252 has not either
    (folder / "broken.csv.gz").write_bytes(b"not gzip")
    added("json", "x\n1\n")
    (folder / "json.meta.json").write_text("{", encoding="utf-8")
    for name, words in [("latin", r"latin\.csv"), ("broken", r"broken\.csv\.gz"), ("json", r"json\.meta\.json")]:
        with pytest.raises(DesignError, match=words):
            datasets.load(name)


def test_records_are_frozen():
    found = datasets.describe("pulp")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.columns[0].name = "other"


@pytest.mark.parametrize("module", [ranef.datasets, catalogue, info])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
