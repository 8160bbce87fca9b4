"""Every equation compiles: by KaTeX, by Typst, by TeX where it is there, and in Chromium."""

import json
import shutil
import subprocess
from functools import cache

import pytest

import registry
from _ranef.equations import STYLES, model_equation
from equations.models import LINKED, MADE, model
from equations.models import equation as written
from equations.test_equation import torture_model

#: of R's references, those whose rows are few enough that building their models takes no time
CASES = [case for case in registry.BUNDLED if case in registry.FITTED and registry.rows_of(case) <= 2000]

SCRIPT = r"""
const katex = require("katex");
const found = [];
for (const [name, latex] of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  try { katex.renderToString(latex, {displayMode: true, throwOnError: true, strict: "ignore"}); }
  catch (error) { found.push(name + ": " + error.message); }
}
console.log(JSON.stringify(found));
"""


#: the models of this folder; and R's, which take longer
WHICH = pytest.mark.parametrize("which", ["ours", pytest.param("of R", marks=pytest.mark.slow)])


@cache
def equations(which):
    """Name and equation of every model in every style, and of every legend."""
    own = [*MADE, *LINKED]
    models = {name: model(name) for name in own} if which == "ours" else {case: registry.model(case) for case in CASES}
    if which == "ours":
        models["torture"] = torture_model(weights="w")
    out = []
    for name, made in models.items():
        for style in STYLES:
            equation = written(name, style) if name in own else model_equation(made.spec, style=style)
            out += [(f"{name} {style}", equation), (f"{name} {style} legend", equation.legend)]
    return out


@WHICH
def test_katex_reads_the_latex(which):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine, which runs KaTeX")
    if subprocess.run([node, "-e", "require('katex')"], capture_output=True).returncode:
        pytest.skip("no KaTeX: npm install katex, and NODE_PATH names its node_modules")
    given = json.dumps([(name, equation.latex) for name, equation in equations(which)])
    out = subprocess.run([node, "-e", SCRIPT], input=given, capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


@WHICH
def test_typst_reads_the_typst(which):
    typst = pytest.importorskip("typst", reason="no Typst: pip install typst")
    text = "#set page(width: auto, height: auto)\n" + "\n".join(f"$ {e.typst} $\n" for _, e in equations(which))
    assert typst.compile(text.encode())[:5] == b"%PDF-"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["ours", "of R"])
def test_tex_reads_the_latex(tmp_path, which):
    """A real LaTeX with amsmath, where one is installed."""
    tex = next(filter(None, map(shutil.which, ("pdflatex", "xelatex", "lualatex", "tectonic"))), None)
    if tex is None:
        pytest.skip("no TeX on this machine: apt-get install texlive-latex-base")
    shown = "\n".join(rf"\[ {e.latex} \]" for name, e in equations(which) if "torture" not in name)
    head = r"\documentclass{article}\usepackage{amsmath,amssymb}\setlength{\paperwidth}{3m}\begin{document}"
    (tmp_path / "all.tex").write_text(f"{head.replace('3m', '200cm')}\n{shown}\n\\end{{document}}\n")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "tectonic" not in tex else []
    done = subprocess.run([tex, *options, "all.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]


@WHICH
def test_chromium_typesets_the_mathml(browser, which):
    """Every system has its rows, side by side as wide as something is, and nothing is drawn as an error."""
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    systems = [(name, e) for name, e in equations(which) if "legend" not in name]
    turns = len(STYLES) + 1  # one style of a model and the next of the next: each with a seventh of the models
    chosen = systems[::turns] if which == "ours" else systems
    page.set_content("<!doctype html><body>" + "".join(f"<div>{e.mathml}</div>" for _, e in chosen))
    sizes = page.evaluate(
        """() => [...document.querySelectorAll("div > math")].map(m => {
             const rows = [...m.querySelectorAll(":scope > mtable > mtr")];
             const boxes = rows.map(r => r.getBoundingClientRect());
             const bad = [...m.querySelectorAll("*")].filter(e => e.namespaceURI !== m.namespaceURI).length;
             const scripts = [...m.querySelectorAll("msub, msup, msubsup")].filter(
               e => e.children.length !== (e.localName === "msubsup" ? 3 : 2)).length;
             return {rows: rows.length, least: Math.min(...boxes.map(b => Math.min(b.width, b.height))),
                     below: boxes.every((b, k) => !k || b.top >= boxes[k - 1].bottom - 1), bad, scripts};
           })"""
    )
    page.close()
    assert len(sizes) == len(chosen)
    for (name, equation), size in zip(chosen, sizes, strict=True):
        assert size["rows"] >= len(equation.lines), name
        assert size["least"] > 5, name
        assert size["below"], name
        assert size["bad"] == size["scripts"] == 0, name
