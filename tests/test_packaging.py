"""What the package says of itself, where it says it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

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
        [sys.executable, "-m", "ranef.cli", "--version"], capture_output=True, text=True, check=True
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
