"""The page on other packages, which has fences of its own: what it shows is run, as far as they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from _ranef.errors import NotAvailableError

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
PARTS = re.split(r"^## .*: (.*)$", PAGE, flags=re.MULTILINE)
START, SECTIONS = PARTS[0], dict(zip(PARTS[1::2], PARTS[2::2], strict=True))

#: marginaleffects calls what polars 1 warns of
pytestmark = pytest.mark.filterwarnings("ignore:`cat.get_categories.*:DeprecationWarning")


def run(text, namespace):
    for block in re.findall(r"^~~~python\n(.*?)^~~~", text, flags=re.DOTALL | re.MULTILINE):
        exec(block, namespace)


@pytest.fixture(scope="module")
def started():
    namespace: dict[str, object] = {}
    run(START, namespace)
    return namespace


@pytest.mark.parametrize("package", SECTIONS)
def test_a_section(package, started):
    needed = {"ArviZ": "arviz_stats"}.get(package, package)
    pytest.importorskip(needed, reason=f"{package} is not installed")
    try:
        run(SECTIONS[package], started)
    except NotAvailableError as error:
        pytest.skip(str(error))
    finally:
        plt.close("all")


def test_the_table_shown_is_printed(started):
    etable = pytest.importorskip("maketables", reason="maketables is not installed").ETable
    shown = re.search(r"^~~~text\n(.*?)^~~~", SECTIONS["maketables"], flags=re.DOTALL | re.MULTILINE)[1]
    printed = etable([started["eb"], started["fb"]]).df.to_string()
    columns = [re.split(r" {2,}", line.strip()) for line in shown.splitlines()]
    ours = [re.split(r" {2,}", line.strip()) for line in printed.splitlines()]
    # the posterior's digits depend on the versions of jax and numpyro
    assert [row[:-1] for row in columns] == [row[:-1] for row in ours]
