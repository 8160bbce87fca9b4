"""Pages of the site: their code runs, and prints what they show."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ranef

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|pycon|text)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
WITH_CODE = [page for page in sorted(DOCS.glob("*.md")) if "\n```py" in page.read_text(encoding="utf-8")]
#: a row of the formula reference: an example, its data set, and how many parameters it has
ROW = re.compile(r"^\|.*\| `([^`]+)` \| (\w+) \| (\d+) \| (\d+) \|$", flags=re.MULTILINE)

#: numbers that come of draws: they depend in their last digits on the versions of jax and numpyro
DRAWS = doctest.register_optionflag("DRAWS")
NUMBER = re.compile(r"-?\d+\.?\d*")


class Checker(doctest.OutputChecker):
    """Numbers of draws may differ by a tenth, or by two in their last digit."""

    def check_output(self, want: str, got: str, flags: int) -> bool:
        if flags & DRAWS:
            shown, drawn = NUMBER.findall(want), NUMBER.findall(got)
            if len(shown) != len(drawn) or any(not _near(*pair) for pair in zip(shown, drawn, strict=True)):
                return False
            want, got = NUMBER.sub("#", want), NUMBER.sub("#", got)
        return super().check_output(want, got, flags | doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)


def _near(shown: str, drawn: str) -> bool:
    digits = len(shown.partition(".")[2])
    return bool(abs(float(shown) - float(drawn)) <= max(0.1 * abs(float(shown)), 2 * 10.0**-digits))


@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # of Ibis' own
@pytest.mark.filterwarnings("ignore:Dask support is moving:FutureWarning")  # of narwhals
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_page(page, tmp_path, monkeypatch):
    """One session a page: ``pycon`` blocks print what stands in them, ``python`` blocks what a ``text`` block shows."""
    monkeypatch.chdir(tmp_path)
    text, session, printed = page.read_text(encoding="utf-8"), {"__name__": "__main__"}, ""
    runner = doctest.DocTestRunner(Checker(), verbose=False)
    try:
        for kind, source, line in ((m[1], m[2], text.count("\n", 0, m.start(2))) for m in BLOCK.finditer(text)):
            if kind == "text":
                assert Checker().check_output(source, printed, 0), f"{page.name}:{line}\n{printed}"
            elif kind == "python":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile("\n" * line + source, str(page), "exec"), session)
                printed = out.getvalue()
            else:
                examples = doctest.DocTestParser().get_examples(source, page.name)
                assert examples, f"{page.name}:{line}"
                test = doctest.DocTest(examples, session, page.name, str(page), line, None)
                runner.run(test, clear_globs=False)
                session = test.globs
        assert runner.summarize(verbose=False).failed == 0
    finally:
        plt.close("all")


def test_rows_of_the_formula_reference():
    rows = ROW.findall((DOCS / "formula.md").read_text(encoding="utf-8"))
    assert len(rows) > 35
    for formula, name, coefficients, parameters in rows:
        spec = ranef.Model(formula.replace(r"\|", "|"), ranef.datasets.load(name)).spec
        assert (spec.n_fixed, spec.n_theta) == (int(coefficients), int(parameters)), formula


def test_numbers_of_draws_are_checked():
    """The checker itself: Monte-Carlo error passes, another number or another word does not."""
    check = Checker().check_output
    assert check("sd 29.3 -0.0\n", "sd 28.9 -0.1\n", DRAWS)
    assert not check("sd 29.3\n", "sd 29.2\n", 0)
    assert not check("sd 29.3\n", "sd 12.0\n", DRAWS)
    assert not check("sd 29.3\n", "cor 29.3\n", DRAWS)
    assert np.all([not check("1.0\n", wrong, DRAWS) for wrong in ("1.3\n", "nan\n", "1.0 1.0\n")])
