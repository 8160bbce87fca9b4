"""Every notebook, executed for real from its first cell to the assertions in its last."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert "assert" in cells[-1]
    namespace: dict[str, object] = {}
    try:
        for i, source in enumerate(cells):
            exec(compile(source, f"{path.name}[{i}]", "exec"), namespace)
    finally:
        plt.close("all")
