"""Rewrite ``data/checksums.json`` and ``data/PROVENANCE.md``: ``python -m _ranef.datasets.rebuild``.

For maintainers, after a data set has been added to or corrected in the folder ``data``.
"""

from __future__ import annotations

import json
from pathlib import Path

from _ranef.datasets.files import BUNDLE, CHECKSUMS, META, digest

__all__ = ["checksums", "provenance", "rebuild"]

HEADING = """\
# Where the bundled data come from

The licence of ranef, in the file LICENSE, covers its code. It does not cover the data in this folder: each set carries
the licence of the source that it was taken from, as its maintainers state it.
"own" marks data simulated for ranef, which are under the licence of ranef.

The csv files are text exports of the sources named here. `checksums.json` holds the SHA-256 of every csv and meta file;
`ranef.datasets.load` verifies it. This page is written by `python -m _ranef.datasets.rebuild` from the meta files.

| name | about | source | reference | licence |
| --- | --- | --- | --- | --- |
"""


def checksums(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of every csv and meta file of `folder`, by file name."""
    files = sorted(p for p in folder.iterdir() if p.name.endswith((".csv", ".csv.gz", META)))
    return {path.name: digest(path.read_bytes()) for path in files}


def provenance(folder: Path) -> str:
    """Write the page that tells the source and the licence of each data set of `folder`."""
    metas = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*" + META)]
    rows = [
        [str(meta.get(key, "")).replace("|", "\\|") for key in ("name", "about", "source", "reference", "licence")]
        for meta in sorted(metas, key=lambda meta: str(meta["name"]).casefold())
    ]
    return HEADING + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def rebuild(folder: Path) -> None:
    """Write both files into `folder`."""
    (folder / CHECKSUMS).write_text(json.dumps(checksums(folder), indent=2) + "\n", encoding="utf-8", newline="\n")
    (folder / "PROVENANCE.md").write_text(provenance(folder), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    rebuild(BUNDLE)
