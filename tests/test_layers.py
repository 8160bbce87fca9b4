"""Imports run one way, and `import ranef` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import _ranef
import ranef

ROOT = Path(_ranef.__file__).parent
FACE = Path(ranef.__file__).parent

#: later layers may import earlier ones; equal ranks may not import each other
RANK = {
    "errors": 0,
    "support": 1,
    "linalg": 2,
    "structures": 2,
    "formula": 2,
    "datasets": 3,
    "design": 3,
    "residuals": 4,
    "spec": 5,
    "results": 6,
    "likelihood": 7,
    "reml": 8,
    "posterior": 8,
    "nuts": 9,
    "inference": 10,
    "comparison": 11,
    "tables": 12,
    "plots": 12,
    "equations": 12,
    "saved": 12,
    "report": 13,
    "user": 14,
    "cli": 15,
    "__init__": 16,
}

HEAVY = (
    "jax",
    "numpyro",
    "arviz_base",
    "arviz_stats",
    "arviz_plots",
    "matplotlib",
    "xarray",
    "formulaic",
    "numba",
    "nutpie",
    "great_tables",
    "narwhals",
    "jinja2",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.special",
    "scipy.stats",
)

#: layers of which no module is loaded before it is needed
LATE = ("posterior", "nuts", "comparison", "tables", "plots", "equations", "saved", "report", "cli")


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def own_imports(tree: ast.AST, root: str = "_ranef") -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == root:
            names = [f"{root}.{a.name}" for a in node.names] if node.module == root else [node.module]
            found += [(node.lineno, name) for name in names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] == root]
    return found


FILES = sorted(ROOT.rglob("*.py"))


def test_every_part_has_a_rank():
    parts = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in FILES}
    assert parts - {"__pycache__"} == set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for line, module in own_imports(ast.parse(path.read_text())):
        other = layer_of(module)
        if other != own:
            assert RANK[other] < RANK[own], f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_function_local_imports_of_our_own(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert own_imports(node) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_layer_imports_the_public_package(path):
    assert own_imports(ast.parse(path.read_text()), "ranef") == []


def test_the_public_package_computes_nothing():
    for path in FACE.rglob("*.py"):
        parts = ast.walk(ast.parse(path.read_text()))
        defined = [part.name for part in parts if isinstance(part, ast.FunctionDef | ast.ClassDef)]
        assert set(defined) <= {"__dir__"}, path


def test_only_nuts_imports_jax():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(n.split(".")[0] in ("jax", "numpyro", "nutpie") for n in names):
                assert path.relative_to(ROOT).parts[0] == "nuts", path


def test_import_loads_nothing_heavy():
    """Of our own what builds a model and fits it: half of the modules, and of no late layer one."""
    code = "import sys, ranef; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & set(HEAVY)
    assert not [
        name for name in loaded if name.startswith("_ranef.") and name.count(".") > 1 and layer_of(name) in LATE
    ]
    assert len([name for name in loaded if name.startswith("_ranef.")]) < len(FILES) / 2


def test_a_fit_of_few_effects_loads_nothing_heavy():
    code = """if True:
        import sys, ranef
        data = ranef.datasets.load("sleepstudy")
        ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit()
        print(*sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & set(HEAVY)


def test_public_face():
    assert set(ranef.__all__) <= set(dir(ranef))
    assert all(getattr(ranef, name).__doc__ for name in ranef.__all__)


@pytest.mark.parametrize("folder", sorted({p.parent for p in FILES}), ids=lambda p: p.name)
def test_no_module_hides_behind_what_its_package_exports(folder):
    """``from _ranef.spec import model`` would be one or the other, by what was imported before."""
    tree = ast.parse((folder / "__init__.py").read_text())
    exported = {a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    modules = {p.stem for p in folder.glob("*.py")} | {
        p.name for p in folder.iterdir() if (p / "__init__.py").is_file()
    }
    assert folder == ROOT or not exported & modules
