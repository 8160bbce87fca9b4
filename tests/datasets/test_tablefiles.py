"""Files as R, pandas, spreadsheets and databases write them are read as they were meant; broken ones are refused."""

import bz2
import csv
import gzip
import io
import lzma
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import ranef
from _ranef.cli import main
from _ranef.datasets.csv_dialect import find_dialect
from _ranef.datasets.tablefiles import Reading, read_table_file, reading_call

FRAME = pd.DataFrame(
    {
        "y": [1.5, 2.25, 1234.5, -4.0, 0.001, 6.0],
        "x": [1, 2, 3, 4, 5, 6],
        "g": ["a, b", 'say "hi"', "c;d", "a, b", "line\nbreak", "µ"],
        "t": [True, False, True, True, False, False],
    }
)
HEADER = ["y", "x", "g", "t"]


def as_r_writes(frame: pd.DataFrame, sep: str, dec: str, *, names: bool) -> str:
    """Text of R's write.csv, write.csv2 and write.table: text is quoted, logicals are capitals."""

    def field(value: object) -> str:
        if isinstance(value, str):
            return '"' + value.replace('"', '""') + '"'
        if isinstance(value, bool | np.bool_):
            return "TRUE" if value else "FALSE"
        return f"{value:.15g}".replace(".", dec)

    corner = ['""'] if names else []
    lines = [sep.join(corner + [f'"{name}"' for name in frame.columns])]
    for number, row in enumerate(frame.itertuples(index=False), start=1):
        lines.append(sep.join([f'"{number}"'] * names + [field(value) for value in row]))
    return "\n".join(lines) + "\n"


WRITTEN = {
    "pandas": FRAME.to_csv(index=False).encode(),
    "pandas with its index": FRAME.to_csv().encode(),
    "pandas quoting all": FRAME.to_csv(index=False, quoting=csv.QUOTE_ALL).encode(),
    "pandas quoting text": FRAME.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode(),
    "pandas tabs": FRAME.to_csv(index=False, sep="\t").encode(),
    "pandas bars": FRAME.to_csv(index=False, sep="|").encode(),
    "pandas semicolons, decimal commas": FRAME.to_csv(index=False, sep=";", decimal=",").encode(),
    "pandas commas, quoted decimal commas": FRAME.to_csv(index=False, decimal=",", quoting=csv.QUOTE_ALL).encode(),
    "R write.csv": as_r_writes(FRAME, ",", ".", names=True).encode(),
    "R write.csv without row names": as_r_writes(FRAME, ",", ".", names=False).encode(),
    "R write.csv2": as_r_writes(FRAME, ";", ",", names=True).encode(),
    "R write.csv2 without row names": as_r_writes(FRAME, ";", ",", names=False).encode(),
    "R write.table": as_r_writes(FRAME, " ", ".", names=True).replace('"" ', "", 1).encode(),
    "Excel sep=": ("sep=;\r\n" + FRAME.to_csv(index=False, sep=";", lineterminator="\r\n")).encode(),
    "Excel UTF-8": FRAME.to_csv(index=False, sep=";", decimal=",").encode("utf-8-sig"),
    "Excel UTF-8 quoted": FRAME.to_csv(index=False, quoting=csv.QUOTE_ALL).encode("utf-8-sig"),
    "Excel Unicode text": FRAME.to_csv(index=False, sep="\t").encode("utf-16"),
    "thousands and decimal commas": FRAME.to_csv(index=False, sep=";", decimal=",")
    .replace("1234,5", "1.234,5")
    .encode(),
    "thousands, quoted": FRAME.to_csv(index=False, quoting=csv.QUOTE_ALL).replace("1234.5", "1,234.5").encode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_read_as_it_was_meant(how, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(WRITTEN[how])
    frame = read_table_file(path)
    assert list(frame.columns) == HEADER
    np.testing.assert_allclose(frame["y"].to_numpy(dtype=float), FRAME["y"])
    assert frame["x"].tolist() == FRAME["x"].tolist()
    assert frame["g"].tolist() == FRAME["g"].tolist()
    assert frame["t"].tolist() == FRAME["t"].tolist()
    again = eval(reading_call(path), {"pd": pd})  # what the page says reads the same
    pd.testing.assert_frame_equal(again, frame)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a,b\n1,2\n", {}),
        ("a\n1\n2\n", {}),
        ("y\n1,5\n2,5\n", {"sep": ";", "decimal": ","}),
        ("a;b\n1;2,5\n3;4,5\n", {"sep": ";", "decimal": ","}),
        ("a;b;c\n1,5;2;3,5\n2,5;3;4,5\n", {"sep": ";", "decimal": ","}),
        ("a;b\n1;2\n3;4\n", {"sep": ";"}),
        ("a;b\n1.5;x,y\n2.5;z\n", {"sep": ";"}),
        ("a\tb\n1,5\t2\n2,5\t2\n", {"sep": "\t", "decimal": ","}),
        ("when,y\n31.12.2020,1.5\n01.01.2021,2.5\n", {}),
        ("g,note\na,b;c;d\nb,e;f;g\n", {}),
        ('"a b","c d"\n1,2\n3,4\n', {}),
        ("a b\n1 2\n3 4\n", {"sep": r"\s+"}),
        (" a   b\n1   2.5\n10  3.5\n", {"sep": r"\s+"}),
        ("id;n\n1;1,234\n2;5,678\n", {"sep": ";", "decimal": ","}),
        ("id;n;p\n1;1,234;0.5\n2;5,678;0.25\n", {"sep": ";"}),
        ('id,n\n1,"1,234,567"\n2,"5,678"\n', {"thousands": ","}),
        ("\n\na;b\n\n1;2\n", {"sep": ";"}),
        (",x\na,1\nb,2\n", {"index_col": 0}),
        ("x,y\n1,2,\n3,4,\n", {"index_col": False}),
        ("x,y,\n1,2,\n3,4,\n", {}),
    ],
)
def test_dialects(text, options):
    assert find_dialect(text.encode(), whole=True).options() == options


SEMICOLONS = {"sep": ";", "decimal": ","}


def test_a_cut_last_line_says_nothing():
    text = "a;b;c\n" + "1,5;2;3\n" * 4000
    for end in range(20_000, 20_009):
        assert find_dialect(text[:end].encode(), whole=False).options() == {**SEMICOLONS, "low_memory": False}
    cut = "g;y\n" + "µ;1\n" * 100
    assert find_dialect(cut.encode()[:-4], whole=False).separator == ";"


@pytest.mark.parametrize(
    ("ending", "packed"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zip", None)]
)
def test_compressed_files(ending, packed, tmp_path):
    path = tmp_path / f"mine.csv{ending}"
    if packed is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mine.csv", WRITTEN["R write.csv2"])
    else:
        path.write_bytes(packed(WRITTEN["R write.csv2"]))
    assert read_table_file(path)["y"].tolist() == FRAME["y"].tolist()


TEXT = WRITTEN["pandas"]
NOISE = np.random.default_rng(0).bytes(5000)
BROKEN = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n \n\n", "is empty"),
    "cut.csv.gz": (gzip.compress(NOISE.hex().encode())[:-900], "cut.csv.gz' cannot be read as csv.gz"),
    "not.csv.gz": (TEXT, "cannot be read as csv.gz"),
    "cut.csv.bz2": (bz2.compress(TEXT)[:-9], "cannot be read as csv.bz2"),
    "cut.csv.xz": (lzma.compress(TEXT)[:-9], "cannot be read as csv.xz"),
    "not.zip": (TEXT, "cannot be read as zip"),
    "commas.csv": (b"g,y,x\n0,35,9,7\n0,31,2,6\n1,30,2,5\n", "Decimal commas between commas cannot be told apart"),
    "japanese.csv": ("g,y\n大阪,1\n東京,2\n".encode("shift-jis"), "is text neither in UTF-8 nor in Windows-1252"),
    "noise.csv": (NOISE, "is not text"),
    "image.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text"),
    "ragged.csv": (b"a,b\n1,2\n" * 3 + b"1,2,3,4\n1,2\n", "cannot be read as csv: Error tokenizing data"),
    "not.parquet": (TEXT, "cannot be read as parquet"),
    "empty.parquet": (b"", "cannot be read as parquet"),
    "book.xlsx": (b"PK\x03\x04", "is a .xlsx file"),
    "data.rds": (b"\x1f\x8b", "is a .rds file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line_and_status_2(name, tmp_path, monkeypatch, capsys):
    content, words = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", name, "y ~ 1 + (1 | g)"]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.startswith("ranef: ")
    assert told.count("\n") == 1


def test_a_cut_parquet_file(tmp_path, capsys):
    path = tmp_path / "cut.parquet"
    FRAME.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert main(["fit", str(path), "y ~ 1 + (1 | g)"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_archives_of_several_files(tmp_path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    with pytest.raises(ranef.DesignError, match=r"two.zip' holds 2 files; expected is one"):
        read_table_file(path)


@pytest.mark.parametrize("rows", [1, 30_000])
def test_windows_text_is_read_and_told(rows, tmp_path):
    """Also where the first letter beyond ASCII stands far from the beginning."""
    path = tmp_path / "excel.csv"
    path.write_bytes(b"g;y\n" + b"a;1,5\n" * rows + "Köln €;2,5\n".encode("cp1252"))
    with pytest.warns(ranef.DataWarning, match=r"excel.csv' is not in UTF-8 and was read as Windows-1252"):
        frame = read_table_file(path)
    assert frame.iloc[-1].tolist() == ["Köln €", 2.5]
    assert "sep=';', decimal=',', encoding='cp1252'" in reading_call(path)


def test_repeated_names_are_told(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("x,y,x\n1,2,3\n")
    with pytest.warns(ranef.DataWarning, match=r"more than one column named 'x'.*'x.1'"):
        assert list(read_table_file(path).columns) == ["x", "y", "x.1"]


def test_the_command_line_reads_what_r_writes(tmp_path, capsys):
    data = ranef.datasets.load("pulp")
    text = as_r_writes(data.astype({"operator": str}), ",", ".", names=True)
    assert text.startswith('"","bright","operator"\n"1",59.8,"a"\n')
    for name, written in (("a.csv", text), ("b.csv", text.replace(",", ";").replace(".", ","))):
        (tmp_path / name).write_text(written)
        assert main(["fit", str(tmp_path / name), "bright ~ 1 + (1 | operator)"]) == 0
        assert "REML criterion at convergence: 18.6" in capsys.readouterr().out


def test_files_of_the_folder_are_read_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("RANEF_DATA", str(tmp_path))
    (tmp_path / "mine.csv").write_bytes(WRITTEN["R write.csv2"])
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(WRITTEN["Excel Unicode text"]))
    for name in ("mine", "packed"):
        assert ranef.datasets.load(name)["y"].tolist() == FRAME["y"].tolist()


def test_codes_for_missing_values(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("id;y;x\n0001;1,5;-\n0002;9999;3\n0003;2,5;4\n")
    frame = read_table_file(path, Reading(("-", "9999")))
    assert frame["y"].tolist()[::2] == [1.5, 2.5]
    assert frame[["y", "x"]].isna().to_numpy().tolist() == [[False, True], [True, False], [False, False]]
    pd.testing.assert_frame_equal(eval(reading_call(path, Reading(("-", "9999"))), {"pd": pd}), frame)


def reproduced(path, known):
    """The frame, if the call that the page gives reads the same."""
    frame = read_table_file(path, known)
    pd.testing.assert_frame_equal(eval(reading_call(path, known), {"pd": pd}), frame)
    return frame


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        (["0001", "0002", "0010"], True),
        (["1e5", "10e4", "100000"], True),
        (["1.1", "1.10", "1.2"], True),
        (["12345678901234567890", "12345678901234567891", "12345678901234567892"], True),
        (["-01", "01", "1"], True),
        (["1", "2", "10"], False),
        (["1.5", "2.5", "0.25"], False),
        (["0", "-1", "1"], False),
    ],
)
def test_labels_that_numbers_would_change_stay_text(labels, kept, tmp_path):
    """Where a column only tells rows apart; one that is a covariate too is of numbers."""
    path = tmp_path / "labels.csv"
    path.write_text("y,g,x\n" + "".join(f"{i},{one},{one}\n" for i, one in enumerate(labels)))
    frame = reproduced(path, Reading(labels=frozenset({"g"})))
    assert frame["g"].tolist() == (labels if kept else [float(one) for one in labels])
    assert pd.api.types.is_numeric_dtype(frame["x"])


def test_labels_far_down_are_as_they_are_written(tmp_path):
    """pandas takes the type of each part of a long column by itself: numbers first, then text."""
    path = tmp_path / "long.csv"
    path.write_text("y,g\n" + "1,0007\n" * 200_000 + "2,A1\n")
    assert set(reproduced(path, Reading(labels=frozenset({"g"})))["g"]) == {"0007", "A1"}


def test_the_command_line_keeps_leading_zeros(tmp_path, capsys):
    path = tmp_path / "ids.csv"
    path.write_text("y,g\n1.5,01\n2.5,01\n4.0,1\n3.0,1\n7.0,2\n6.0,2\n")
    assert main(["fit", str(path), "y ~ 1 + (1 | g)"]) == 0
    told = capsys.readouterr()
    assert "groups:  g, 3" in told.out
    assert "'01' and '1'" in told.err


def test_blanks_round_names_and_after_separators(tmp_path):
    path = tmp_path / "blanks.csv"
    path.write_text('y , x,"g"\n1.5, 1,"a"\n2.5, 2,"b"\n')
    assert reproduced(path, Reading()).to_dict("list") == {"y": [1.5, 2.5], "x": [1, 2], "g": ["a", "b"]}
    path.write_text('y, x, "g, h"\n1.5, 1, "a, b"\n2.5, 2, c\n')
    assert reproduced(path, Reading()).to_dict("list") == {"y": [1.5, 2.5], "x": [1, 2], "g, h": ["a, b", "c"]}


def test_marks_beside_words_for_missing_values(tmp_path, capsys):
    """Words among the numbers, and a line of units: once they are known, the look tells the marks, or one mark both."""
    path = tmp_path / "kosten.csv"
    path.write_text("Kosten;g;Fall\n(EUR);;\n" + "4.159,04;a;ja\n3.905,5;b;nein\nk.A.;a;ja\n5.001;b;Nein\n" * 5)
    codes = ("k.A.", "(EUR)")
    for known in (Reading(missing=codes), Reading(missing=codes, thousands="."), Reading(missing=codes, decimal=",")):
        assert reproduced(path, known)["Kosten"].dropna().tolist()[:3] == [4159.04, 3905.5, 5001.0]
    assert main(["fit", str(path), "Fall ~ 1 + (1 | g)", "--family", "binomial"]) == 2
    assert "Some differ in case or blanks only." in capsys.readouterr().err


def test_marks_that_a_look_cannot_tell(tmp_path, capsys):
    """Numbers of three digits after each comma: thousands, or decimals."""
    path = tmp_path / "thousands.csv"
    path.write_text('y,g\n"1,204",a\n"1,195",a\n"1,391",b\n"1,402",b\n"1,300",c\n"1,312",c\n')
    assert reproduced(path, Reading(thousands=","))["y"].tolist()[:2] == [1204, 1195]
    assert reproduced(path, Reading(decimal=","))["y"].tolist()[:2] == [1.204, 1.195]
    assert main(["fit", str(path), "y ~ 1 + (1 | g)"]) == 2
    assert "On the command line: --thousands MARK." in capsys.readouterr().err
    assert main(["fit", str(path), "y ~ 1 + (1 | g)", "--thousands", ","]) == 0


@pytest.mark.parametrize("name", ["mine.feather", "mine.arrow", "stream", "mine"])
def test_arrow_files(name, tmp_path):
    path, table = tmp_path / name, pa.Table.from_pandas(FRAME)
    with (pa.ipc.new_stream if name == "stream" else pa.ipc.new_file)(path, table.schema) as file:
        file.write_table(table)
    pd.testing.assert_frame_equal(read_table_file(path), FRAME, check_dtype=False)


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_comes_through_a_pipe(packed, tmp_path, monkeypatch, capsys):
    """By its beginning alone, for it has no name; `anova` reads it once for every formula."""
    text = packed(ranef.datasets.load("pulp").to_csv(index=False).encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["anova", "-", "bright ~ 1", "bright ~ 1 + (1 | operator)"]) == 0
    assert "bright ~ 1 + (1 | operator)" in capsys.readouterr().out
    named = tmp_path / "named pipe"
    os.mkfifo(named)
    with ThreadPoolExecutor(1) as other:
        written = other.submit(named.write_bytes, text)
        assert main(["fit", str(named), "bright ~ 1 + (1 | operator)"]) == 0
        written.result()
    assert "REML criterion at convergence: 18.6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "count"),
    [("Experiment 12\nOperator: Ann\n\n", 3), ("# m, s, day\n", 1), ("Report,,\n,,\n", 2), ('"A title: of two"\n', 1)],
)
def test_titles_before_the_header_are_left_out_and_told(before, count, tmp_path):
    path, table = tmp_path / "titled.csv", "y,x,g\n" + "".join(f"{i}.5,{i},a{i % 5}\n" for i in range(60))
    path.write_text(before + table)
    with pytest.warns(ranef.DataWarning, match=f"The first {'line is' if count == 1 else count}"):
        frame = read_table_file(path)
    assert frame.shape == (60, 3)
    assert find_dialect(path.read_bytes(), whole=True).skipped == count
    with pytest.warns(ranef.DataWarning, match="no part"):
        reproduced(path, Reading())


def test_a_header_that_begins_like_a_comment(tmp_path):
    path = tmp_path / "header.csv"
    path.write_text("#id,y\n" + "1,2.5\n" * 40)
    assert list(read_table_file(path).columns) == ["#id", "y"]


def test_parquet_with_an_index_and_long_identifiers(tmp_path):
    path, ids = tmp_path / "ids.parquet", [2**60 + i // 2 for i in range(6)]
    pd.DataFrame({"y": range(6), "id": ids, "g": list("aabbcc")}).set_index("g").to_parquet(path)
    frame = reproduced(path, Reading(labels=frozenset({"id"})))
    assert frame["id"].tolist() == [str(one) for one in ids]
    assert frame["g"].tolist() == list("aabbcc")
    assert pd.api.types.is_integer_dtype(read_table_file(path)["id"])
