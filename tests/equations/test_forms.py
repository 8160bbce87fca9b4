"""How equations look, as text: run as a script it writes the pages anew, to be read before they are kept."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from _ranef.equations import STYLES
from equations.models import equation

FOLDER = Path(__file__).parent / "forms"

#: one of each kind; with legends only the first, for these say the same again
NAMES = ("slopes", "crossed", "three levels", "blocks", "VarIdent", "AR1 in order", "related intercepts", "size")


def page(name):
    parts = [f"## {style}\n\n{equation(name, style).text}\n" for style in STYLES]
    if name == NAMES[0]:
        parts += [f"## legend of {style}\n\n{equation(name, style).legend.text}\n" for style in STYLES]
    return "\n".join([f"# {name}\n", *parts])


def file_of(name):
    return FOLDER / f"{name.replace(' ', '_')}.txt"


@pytest.mark.parametrize("name", NAMES)
def test_form(name):
    assert page(name) == file_of(name).read_text(encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in NAMES:
        file_of(one).write_text(page(one), encoding="utf-8")
