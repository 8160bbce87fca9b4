"""What the package says of itself, where it says it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import ranef
from ranef import datasets

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: what provenance calls a licence, in SPDX's words
SPDX = {
    "GPL (>= 2)": "GPL-2.0-or-later",
    "GPL-2": "GPL-2.0-only",
    "MIT (package licence)": "MIT",
    "own": "BSD-3-Clause",
}


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == PROJECT["version"] == ranef.__version__
    told = subprocess.run(
        [sys.executable, "-m", "ranef", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == ["ranef", version("ranef")]


def test_metadata_name_the_licences_of_the_bundled_data():
    bundled = {path.name.removesuffix(".meta.json") for path in (ROOT / "src/ranef/datasets/data").glob("*.meta.json")}
    licences = {SPDX[datasets.describe(name).licence] for name in bundled}
    assert set(PROJECT["license"].split(" AND ")) == licences | {"BSD-3-Clause"}
    found = {path.relative_to(ROOT).as_posix() for pattern in PROJECT["license-files"] for path in ROOT.glob(pattern)}
    assert found == {"LICENSE", "LICENSES/GPL-2.0.txt", "src/ranef/datasets/data/PROVENANCE.md"}


def test_every_dependency_has_a_lower_bound():
    optional = [name for names in PROJECT["optional-dependencies"].values() for name in names]
    stubs = {"pandas-stubs", "scipy-stubs"}  # of the versions at hand
    loose = [d for d in (*PROJECT["dependencies"], *optional) if ">=" not in d and not d.startswith("ranef[")]
    assert set(loose) <= stubs


FIT = """
import ranef
assert "site-packages" in ranef.__file__ or "dist-packages" in ranef.__file__, ranef.__file__
print(round(ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit().criterion, 3))
"""


def _said(command, **options):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | options.pop("env", {})
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _tree(folder):
    """What git tracks, so that nothing is built beside the sources."""
    names = _said(["git", "ls-files", "-z", "src", "docs", "tests", "notebooks", "LICENSES", ":(glob)*"], cwd=ROOT)
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
def test_uv_builds_and_installs(tmp_path):
    """The sdist, of it the wheel, and this with all that it depends on in an environment of its own."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv on this machine: pip install uv")
    _said([uv, "build", "-q", "--out-dir", tmp_path / "dist", _tree(tmp_path / "tree")])
    wheel, sdist = (next((tmp_path / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    assert wheel.name.startswith(f"ranef-{ranef.__version__}-py3-none-any")
    assert sdist.name == f"ranef-{ranef.__version__}.tar.gz"
    _said([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    _said([uv, "pip", "install", "-q", "--python", python, wheel])
    assert _said([tmp_path / "venv" / "bin" / "ranef", "--version"]).split() == ["ranef", ranef.__version__]
    assert _said([python, "-c", FIT], cwd=tmp_path).strip() == "18.626"


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pip 23 does not start on Python 3.13")
def test_an_old_pip_builds_and_installs(tmp_path):
    """Pip 23, beside the dependencies that are here."""
    _said([sys.executable, "-m", "venv", tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    _said([python, "-m", "pip", "install", "-q", "pip>=23,<24"])
    assert _said([python, "-m", "pip", "--version"]).startswith("pip 23")
    _said([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", _tree(tmp_path / "tree")])
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    _said([python, "-m", "pip", "install", "-q", "--no-deps", wheel])
    assert f"Version: {ranef.__version__}" in _said([python, "-m", "pip", "show", "ranef"]).splitlines()
    beside = {"PYTHONPATH": sysconfig.get_path("purelib")}
    assert _said([python, "-c", FIT], env=beside, cwd=tmp_path).strip() == "18.626"
