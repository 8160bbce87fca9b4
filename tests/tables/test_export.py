"""Tables for papers: nothing is lost on the way, and the source is sound by the rules of its language."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ranef
from _ranef.errors import DesignError
from _ranef.tables import Document, Grid, Text
from _ranef.tables.export import markdown_source, panels, paragraphs
from _ranef.tables.latex import from_unicode

NASTY = Document(
    (
        Text(("Title_1 & 50 % #1 {x} $y$ ~ ^ \\ <b>", "Formula: `class id` ~ x_1 + (1 | g)", "drawn: yes")),
        Text(("  D: b̂ = D Zᵀ V⁻¹", "    (y − X β̂), 95 %.", "  E: *none*"), "What:"),
        Grid(
            ("", "β̂", "sd", "REML", "sd"),
            (
                ("[0, 5)", "-1.5", "2", "3.25", "1e-12"),
                ("*star|bar", "", "-10", "-0.5", "2.0"),
                ("µ_é “q” {", "10.25", "3.125", "7", "inf"),
            ),
            "Grid [x]:",
            notes=("12 rows,", "  two of them <odd>"),
            spanners=(("REML", 3, 5),),
        ),
        Grid(("AIC", "-2*log(L)"), (("1.0", "-2.0"),), labels=0),
        Text(("Note: the end",)),
    )
)


@pytest.fixture(scope="module")
def documents():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    eb = model.fit()
    fb = model.sample(seed=1, sampler="nutpie", progress=False)
    side = ranef.compare(eb, fb).table()
    grids = [replace(b, spanners=(("REML", 4, 8), ("Posterior", 8, 12))) for b in side.blocks if isinstance(b, Grid)]
    long = Grid(("", "value"), tuple((f"level_{i}", f"{i / 7:.3f}") for i in range(60)), "Long:")
    return {
        "reml": eb.summary(),
        "ml": model.fit(method="ML").summary(),
        "posterior": fb.summary(),
        "side": Document((side.blocks[0], *grids, *side.blocks[2:])),
        "words": model.describe(),
        "long": Document((long,)),
        "nasty": NASTY,
    }


NAMES = ("reml", "ml", "posterior", "side", "words", "long", "nasty")


# panels


def test_words_become_titles_and_notes():
    first, second = panels(NASTY.blocks)
    assert (first.title, first.subtitle) == (
        "Title_1 & 50 % #1 {x} $y$ ~ ^ \\ <b>: Grid [x]",
        "Formula: `class id` ~ x_1 + (1 | g)",
    )
    assert first.notes == (
        "12 rows, two of them <odd>",
        "What:",
        "D: b̂ = D Zᵀ V⁻¹ (y − X β̂), 95 %.",
        "E: *none*",
        "drawn: yes",
    )
    assert (second.title, second.subtitle, second.notes) == ("", "", ("Note: the end",))


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_lost(documents, name):
    document = documents[name]
    found = panels(document.blocks)
    kept = " ".join(part for p in found for part in (p.title, p.subtitle, *p.notes)).split()
    said = [w for b in document.blocks for w in " ".join([b.title, *_lines(b)]).split()]
    if found:
        assert {w.rstrip(":") for w in said} <= {w.rstrip(":") for w in kept}
        assert [p.grid for p in found] == [b for b in document.blocks if isinstance(b, Grid)]


def _lines(block):
    return block.lines if isinstance(block, Text) else block.notes


def test_continued_lines_are_joined():
    assert paragraphs(Text(("  a", "    b", "      c", "  d"), "T:")) == ["T:", "a b c", "d"]


def test_one_table_by_its_title(documents):
    fixed = documents["reml"]["Fixed effects"]
    assert isinstance(fixed, Document)
    assert [b.title for b in fixed.blocks] == ["Fixed effects:"]
    with pytest.raises(DesignError, match=r"'Fixed'.*'Random effects', 'Fixed effects'"):
        documents["reml"]["Fixed"]


# LaTeX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("β̂ₖ", r"\ensuremath{\hat{\beta}_{k}}"),
        ("σ²", r"\ensuremath{\sigma^{2}}"),
        ("−1.5 × 10⁻³", r"\ensuremath{-}1.5 \ensuremath{\times} 10\ensuremath{^{-3}}"),
        ("ŷᵢ ± 2", r"ŷ\ensuremath{_{i}} \ensuremath{\pm} 2"),
        ("αβ", r"\ensuremath{\alpha \beta}"),
        ("Α ≤ Ω", r"\ensuremath{\mathrm{A}} \ensuremath{\leq} \ensuremath{\Omega}"),
        ("e\u0301 – “x”", "é -- ``x''"),
        ("plain & simple", "plain & simple"),
    ],
)
def test_characters_as_mathematics(text, expected):
    assert from_unicode(text) == expected


def tables(source):
    """Column letters, and cells of every row, of each table of a LaTeX source."""
    out = []
    for body in re.findall(r"\\begin\{(?:tabular\*|longtable)\}(.*?)\\end\{(?:tabular\*|longtable)\}", source, re.S):
        letters = re.search(r"([lcr]+)\}\n", body).group(1)
        rows = [re.sub(r"^(\\[a-z]+(\[[^]]*\]|\(lr\)\{\d+-\d+\})?\s*)+", "", r.strip()) for r in _split_rows(body)]
        out.append((letters, [re.split(r"(?<!\\)&", r) for r in rows]))
    return out


def _split_rows(body):
    inside = body.split(r"\toprule", 1)[1].rsplit(r"\bottomrule", 1)[0]
    return [r for r in re.split(r"\\\\ ?\n", inside) if r.strip()]


def width(cells):
    spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", c) for c in cells]
    return sum(int(s.group(1)) if s else 1 for s in spans)


def assert_sound(source):
    """Braces and environments close in order; every row has as many columns as its table; nothing is unescaped."""
    bare = re.sub(r"\\[\\{}%$#&_]", "", source.replace("% needs ", "", 1))
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    assert not set(bare) & set('$%#_|~"') - set("_")
    assert not re.search(r"(?<!\{)(?<!\})(?<![A-Za-z])_(?!\{)", bare)
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", source):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    for letters, rows in tables(source):
        assert {width(cells) for cells in rows} == {len(letters)}


@pytest.mark.parametrize("name", NAMES)
def test_latex_is_sound(documents, name):
    source = documents[name].to_latex()
    assert_sound(source)
    grids = [b for b in documents[name].blocks if isinstance(b, Grid)]
    found = tables(source)
    assert len(found) == len(grids)
    for grid, (letters, rows) in zip(grids, found, strict=True):
        assert letters == "l" * grid.labels + "r" * (len(grid.header) - grid.labels)
        assert len(rows) == len(grid.rows) + 1 + bool(grid.spanners)
    if name != "nasty":
        assert source.isascii()


def test_latex_escapes_names():
    source = NASTY.to_latex()
    assert r"Title\_1 \& 50 \% \#1 \{x\} \$y\$ \ensuremath{\sim} \textasciicircum{} \textbackslash{}" in source
    assert r"(1 \textbar{} g)" in source
    assert r"\ensuremath{\hat{b}} = D Z\ensuremath{^{\top}} V\ensuremath{^{-1}} (y \ensuremath{-} X" in source
    assert "{}[0, 5)" in source  # a bracket after the end of a line would be its option
    assert "{}*star" in source
    assert r"\multicolumn{2}{c}{REML}" in source
    assert r"\ensuremath{-}10\hphantom{.}\hphantom{0}\hphantom{0}\hphantom{0}" in source


def test_long_tables_break_across_pages(documents):
    assert r"\begin{longtable}" in documents["long"].to_latex()
    assert r"\begin{longtable}" not in documents["side"].to_latex()


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), min_size=4, max_size=4))
def test_any_names_make_sound_latex(words):
    title, label, other, note = words
    grid = Grid((title, "sd"), ((label, "1.5"), (other, "-2")), title, notes=(note,))
    assert_sound(Document((grid,)).to_latex())


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no TeX here")
@pytest.mark.parametrize("name", NAMES)
def test_latex_compiles(documents, name, tmp_path):
    packages = ("booktabs", "caption", "longtable")
    if subprocess.run(["kpsewhich", *(f"{p}.sty" for p in packages)], capture_output=True, check=False).returncode:
        pytest.skip("TeX is here, and its packages for tables are not")
    page = r"\documentclass{article}\usepackage{booktabs,caption,longtable}\usepackage[margin=2.5cm]{geometry}"
    (tmp_path / "t.tex").write_text(f"{page}\n\\begin{{document}}\n{documents[name].to_latex()}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "t.tex"]
    log = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=True).stdout
    assert "Overfull \\hbox" not in log


# HTML


class Page(HTMLParser):
    """Ids, addresses and cells of a page whose tags close in order."""

    def __init__(self, source):
        super().__init__()
        self.ids, self.addresses, self.rows, self.stack, self.spans = [], [], [], [], []
        self.feed(source)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found[k] for k in ("id",) if k in found]
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.spans += [int(found["colspan"])] if "spanner" in found.get("class", "") else []
        if tag not in ("br", "meta"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.stack):
            self.rows[-1][-1] += data.strip("\n ")


@pytest.mark.parametrize("name", NAMES)
def test_html_is_sound_and_whole(documents, name):
    source = documents[name].to_html()
    page = Page(source)
    assert source.isascii()  # right in a file of any encoding
    assert len(set(page.ids)) == len(page.ids)
    assert page.addresses == []
    assert "http" not in source
    assert "@import" not in source
    shown = [[_plain(c) for c in row] for row in page.rows]
    for grid in (b for b in documents[name].blocks if isinstance(b, Grid)):
        for row in grid.rows:
            assert [_plain(c) for c in row] in shown


def _plain(cell):
    return " ".join(cell.replace("−", "-").replace("\u2007", "").replace("\u2008", "").split())


def test_html_columns_stand_under_their_engine(documents):
    page = Page(documents["side"].to_html())
    assert page.spans == [4, 4]
    header = next(row for row in page.rows if "estimate" in row)
    assert header == ["estimate", "sd", "lower", "upper"] * 2


def test_points_stand_below_each_other(documents):
    page = Page(documents["side"].to_html())
    rows = [row for row in page.rows if len(row) == 12]
    for j in range(3, 12):
        behind = {len(cell) - cell.index(".") for cell in (row[j] for row in rows) if "." in cell}
        assert len(behind) == 1
        assert not any("-" in row[j] for row in rows)


def test_tables_to_style_further(documents):
    tables_ = documents["reml"].to_great_tables()
    assert len(tables_) == sum(isinstance(b, Grid) for b in documents["reml"].blocks)
    assert "AB-CD" in tables_[0].tab_source_note("AB-CD").as_raw_html()


# Markdown


def cells_of(line):
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [c.strip() for c in re.split(r"(?<!\\)(?:\\\\)*\|", line[1:-1])]


def unescaped(text):
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


@pytest.mark.parametrize("name", NAMES)
def test_markdown_has_every_cell(documents, name):
    lines = documents[name].to_markdown().splitlines()
    rows = [cells_of(line) for line in lines if line.startswith("| ")]
    for grid in (b for b in documents[name].blocks if isinstance(b, Grid)):
        shown = [[_plain(unescaped(c)) for c in row] for row in rows]
        for row in grid.rows:
            assert [_plain(c) for c in row] in shown
        left = [j < grid.labels for j in range(len(grid.header))]
        rules = [row for row in rows if re.fullmatch("[-: ]+", "".join(row))]
        assert left in [[r.startswith(":") for r in row] for row in rules]
        assert all(r.startswith(":") != r.endswith(":") for row in rules for r in row)


def test_markdown_names_the_engine_of_a_column():
    header = next(line for line in NASTY.to_markdown().splitlines() if line.startswith("|"))
    assert cells_of(header) == ["", "β̂", "sd", "REML", "REML sd"]


def test_markdown_escapes():
    source = NASTY.to_markdown()
    assert r"\`class id\` \~ x\_1 + (1 \| g)" in source
    assert r"| \*star\|bar " in source
    assert r"\<odd\>" in source
    assert markdown_source([Text(("- a", "2. b", "c"))]) == "\\- a\n\n2\\. b\n\nc\n"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])))
def test_markdown_cell_comes_back(word):
    table = Document((Grid(("a", "b"), ((word, "1"),)),)).to_markdown().splitlines()
    assert unescaped(cells_of(table[2])[0]) == word
