"""Figures of pages, drawn by the code that stands on them: ``python docs/figures.py where-rows-are federated``.

The blocks of a page are run as one session. An image that follows a block is the figure which that block has drawn, and
is written where the page has it. Blocks that CI cannot run, as they need a Java, are run where `pyspark` is installed.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from contextlib import suppress
from doctest import DocTestParser
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
PARTS = re.compile(
    r"^```(?P<kind>pycon|\{code-block\} python)\n(?P<code>.*?)^```$|^!\[[^\]]*\]\((?P<image>_static/[^)]+)\)",
    flags=re.DOTALL | re.MULTILINE,
)


def drawn(page: Path) -> None:
    """Run a page and write its figures."""
    session: dict[str, object] = {}
    for part in PARTS.finditer(page.read_text(encoding="utf-8")):
        if part["image"]:
            if plt.get_fignums():
                plt.gcf().savefig(HERE / part["image"], dpi=110, bbox_inches="tight")
                print(part["image"])
            plt.close("all")
        elif part["kind"] == "pycon":
            for example in DocTestParser().get_examples(part["code"]):
                with suppress(*[Exception] if example.exc_msg else []):  # an error that the page shows
                    exec(compile(example.source, page.name, "single"), session)
        elif importlib.util.find_spec("pyspark") is not None:
            exec(compile(part["code"], page.name, "exec"), session)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        drawn(HERE / f"{name}.md")
