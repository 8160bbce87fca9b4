"""Try ranef with the lowest versions of its direct dependencies: ``python tests/lowest.py [folder]``.

uv (``pip install uv``) makes an environment with them in a folder, which is left there, and the quick tests run in it.
That takes some minutes and a gigabyte. The latest versions are those that ``.ci/run`` installs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> int:
    """Install, say what was installed, and test; the status is pytest's."""
    uv = shutil.which("uv") or sys.exit("uv is not installed: pip install uv")
    python = folder / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run([uv, "venv", "-q", "--python", version, str(folder)], check=True)
    # of a project itself: of a package to be installed all dependencies would count as indirect
    resolve = [uv, "pip", "compile", "-q", "pyproject.toml", "--extra", "test", "--resolution", "lowest-direct"]
    subprocess.run([*resolve, "--python", str(python), "-o", str(folder / "lowest.txt")], cwd=ROOT, check=True)
    install = [uv, "pip", "install", "-q", "--python", str(python)]
    subprocess.run([*install, "-r", str(folder / "lowest.txt")], check=True)
    subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    subprocess.run([uv, "pip", "list", "--python", str(python)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RANEF_CACHE_DIR": str(folder / "compiled")}
    # old versions beside new ones of what they stand on themselves are told of deprecations
    tests = [str(python), "-m", "pytest", "-q", "-m", "quick", "-W", "ignore::DeprecationWarning"]
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "lowest"))
