"""Each package does what it is for: renderings compute nothing of a model, and one package alone samples."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import _ranef

ROOT = Path(_ranef.__file__).parent

#: packages and what they are kept from: renderings read records, they do not fit, factorise or evaluate
#: comparisons ask the likelihood at θ
RENDERINGS = ("plots", "tables", "equations", "report")
ENGINES = ("_ranef.reml", "_ranef.posterior", "_ranef.nuts")
KEPT_FROM = dict.fromkeys(RENDERINGS, ("_ranef.likelihood", "_ranef.linalg", *ENGINES))
KEPT_FROM["comparison"] = ("_ranef.linalg", *ENGINES)

#: of the two engines neither knows the other
KEPT_FROM["posterior"] = KEPT_FROM["nuts"] = ("_ranef.reml",)

#: what samples, and the package that alone may load it
SAMPLERS = ("jax", "jaxlib", "numpyro", "nutpie", "blackjax")
SAMPLING = "nuts"

#: calls that import the module whose name they are given
LOADERS = ("load", "import_module", "__import__", "importorskip")


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and full name of whatever a module imports, by statements and by names of modules in strings."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "_ranef" + f".{node.module}" * bool(node.module) if node.level else node.module or ""
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and called(node.func) in LOADERS:
            names = [*node.args, *(keyword.value for keyword in node.keywords)]
            found += [(node.lineno, n.value) for n in names if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("_ranef."):
            found.append((node.lineno, node.value))
    return found


def called(function: ast.expr) -> str:
    """The last name of what is called."""
    return getattr(function, "attr", getattr(function, "id", ""))


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def misplaced(package: str, source: str) -> list[tuple[int, str]]:
    """Imports of a module's text that its package is kept from."""
    forbidden = KEPT_FROM.get(package, ()) + (() if package == SAMPLING else SAMPLERS)
    return [(line, name) for line, name in imported(ast.parse(source)) if within(name, forbidden)]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_what_its_package_is_for(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert misplaced(package, path.read_text()) == []


def test_the_packages_are_there():
    assert all((ROOT / package / "__init__.py").is_file() for package in (*KEPT_FROM, SAMPLING))


MUTANTS = {
    "from _ranef.likelihood import evaluate": True,
    "from _ranef.reml.fit import fit_reml": True,
    "import _ranef.linalg.elimination as f": True,
    "from _ranef import nuts": True,
    "from ..linalg import factorize": True,
    "def draw():\n    from _ranef.nuts import draw_components": True,
    "engine = import_module('_ranef.nuts.numpyro_engine')": True,
    "load('_ranef.reml').fit_reml(spec)": True,
    "importlib.import_module(name='_ranef.likelihood')": True,
    "name = '_ranef.linalg'\nload(name)": True,
    "if TYPE_CHECKING:\n    from _ranef.likelihood import Method": True,
    "from _ranef.inference import first_fit": False,
    "from _ranef.results import Method": False,
    "load('matplotlib.pyplot')": False,
    "'''Written by :mod:`_ranef.nuts`.'''": False,
}


@pytest.mark.parametrize("package", RENDERINGS)
@pytest.mark.parametrize("source", MUTANTS)
def test_a_rendering_that_computes_is_seen(package, source):
    assert bool(misplaced(package, source)) is MUTANTS[source]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_elsewhere_is_seen(name):
    for source in (f"import {name}.numpy as np", f"from {name} import infer", f"load('{name}')"):
        assert misplaced("inference", source)
        assert misplaced("plots", source)
        assert misplaced(SAMPLING, source) == []
    assert misplaced("inference", f"{name}_like = 'as {name} does'") == []


#: what alone may name the scales of y, X and Z, or the order of elimination, which a figure of L shows
SCALED = ("likelihood", "posterior", "nuts", "inference/matrices.py")


def names_of_scales(source: str) -> list[int]:
    """Lines that name a scaling, or the order of cross-products."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            ordered = node.attr == "order" and called(node.value) == "products"
            found += [node.lineno] if node.attr == "scaling" or ordered else []
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_scales_and_orders_stay_inside(path):
    own = path.relative_to(ROOT).as_posix()
    if not own.startswith(SCALED):
        assert names_of_scales(path.read_text()) == []


def test_names_of_scales_are_found():
    assert names_of_scales("a = fit.products.scaling.y\nb = products.order.index(k)\nc = step.order") == [1, 2]


#: who may change filters of warnings for a while: the main thread of the command line, and who holds a lock
FILTERING = ("cli.py", "nuts/run.py", "design/first_reading_by_engine.py")


def test_filters_of_warnings_are_left_to_users():
    """They are the process's: of two threads, one may leave its own behind."""
    for path in sorted(ROOT.rglob("*.py")):
        called = {getattr(n.func, "attr", getattr(n.func, "id", "")) for n in calls(path)}
        if {"catch_warnings", "filterwarnings", "simplefilter", "resetwarnings"} & called:
            assert path.relative_to(ROOT).as_posix() in FILTERING


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
