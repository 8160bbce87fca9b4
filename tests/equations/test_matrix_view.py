"""Views of matrices: names, dots, and the numbers themselves."""

import re

import numpy as np

import ranef
from equations.models import model


def test_dots_stand_for_what_is_between():
    view = model("slopes").matrices.show("Z", most=5)
    lines = view.text.splitlines()
    assert lines[0] == "Z: 180 × 36"
    names = ["Subject[308].Intercept", "Subject[308].Days", "Subject[309].Intercept", "…", "Subject[372].Days"]
    assert lines[1].split() == names
    assert lines[3].split() == ["1", "1", "1", ".", "…", "."]
    assert lines[-1].split() == ["179", ".", ".", ".", "…", "9"]
    assert view.latex.count(r"\\") == 4
    assert r"\ddots" in view.latex


def test_a_small_matrix_is_shown_whole():
    fit = model("crossed").fit()
    view = fit.matrices.show("template", group="sample")
    assert view.text.splitlines()[0] == "λ: 1 × 1"
    X = model("cross-level").matrices.show("X", most=400)
    cells = [line.split()[1:] for line in X.text.splitlines()[2:]]
    np.testing.assert_allclose(
        np.where(np.array(cells) == ".", "0", cells).astype(float), X.frame, rtol=1e-3, atol=1e-4
    )


def test_the_khatri_rao_product_is_shown_part_by_part():
    made = model("slopes").matrices
    parts = [made.show(name, "Subject").text.splitlines()[0] for name in ("J", "X_i", "Z_i")]
    assert parts == ["J: 180 × 18", "X[r]: 180 × 2", "Z[r]: 180 × 36"]


def test_html_is_a_table_with_escaped_names():
    data = ranef.datasets.load("sleepstudy").rename(columns={"Days": "a<b"})
    html = ranef.Model("Reaction ~ `a<b` + (`a<b` | Subject)", data).matrices.show("X")._repr_html_()
    assert "a&lt;b" in html
    assert html.count("<tr>") == 1 + 5
    assert not re.search("a<b", html)
