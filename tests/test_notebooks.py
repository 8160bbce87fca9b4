"""Every notebook, executed for real from its first cell to the assertions in its last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import ranef

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert "assert" in cells[-1]
    skip_without_data(cells)
    namespace: dict[str, object] = {}
    try:
        for i, source in enumerate(cells):
            exec(compile(source, f"{path.name}[{i}]", "exec"), namespace)
    finally:
        plt.close("all")


def skip_without_data(cells):
    for name in re.findall(r'datasets\.load\("(\w+)"\)', "\n".join(cells)):
        try:
            ranef.datasets.load(name)
        except ranef.RanefError:
            pytest.skip(f"{name} is read from RANEF_DATA, which is unset")
