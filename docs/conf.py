"""How the site is built: ``python -m sphinx -W --keep-going -b html docs build/site``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "src"))

from docutils import nodes  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import ranef  # noqa: E402

project = "ranef"
author = "The ranef founders"
copyright = "2026, the ranef founders"
version = release = ranef.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}

# Sphinx reads what lies under this folder
shutil.copytree(
    ROOT / "notebooks", HERE / "notebooks", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
)

# notebooks are run by the tests; the site shows what they hold
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "text/latex", 65)]  # before Markdown, in which they would not be mathematics

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_update_mathjax = False
suppress_warnings = ["ref.python"]  # words such as "frame", which are types in docstrings and names of several members
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the numpydoc sections say types in words
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"ranef {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    """Mathematics as MathML, which browsers draw without a script from elsewhere."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


def _inline(writer: nodes.NodeVisitor, node: nodes.math) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer: nodes.NodeVisitor, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _mathml(latex: str, display: str) -> str:
    """What the converter knows as ``split`` is ``aligned`` to LaTeX without a display of its own; ~ is a relation."""
    found: str = convert(latex.replace("{aligned}", "{split}"), display=display)
    return found.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
