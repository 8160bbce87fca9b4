"""What was compiled, kept in a folder for later processes.

What is kept is code that will run, and it is read by pickle. So a file is used only if it and its folder belong to this
user and nobody else can write them, and if it is whole: it begins with digests of its key, which names everything that
the code depends on, and of all its content. Anything else is as if it were not there. Files are written under a name
that nobody can foresee and moved into place when they are complete, so that a process that is stopped, a full disk or a
second process at the same time leave no half files. Nothing that goes wrong here is an error: the next run is slower,
and one line in the log (``logging.getLogger("ranef")``, which prints it) says why.

``RANEF_CACHE_DIR`` names the folder; set to ``off`` nothing is written or read.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from pathlib import Path

import platformdirs

__all__ = ["folder", "read", "write"]

#: how a file begins, with the version of its layout
MAGIC = b"ranef kept 1\n"

#: files kept of each kind, the latest used
MOST_FILES = 100

#: permissions that others must not have
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

#: how old, in seconds, a half file of a process that was killed is when it is taken away
STALE = 86400.0

_OWN_NAME = re.compile(r"[0-9a-f]{40}\.[a-z]+")
_HALF = (".ranef-", ".partial")

_log = logging.getLogger("ranef")
_told: set[str] = set()


class _NotUsed(Exception):
    """Why a folder or a file is not used."""


def folder() -> Path | None:
    """The folder, made where it is missing; None where nothing is to be kept, or nothing can be.

    A folder that others can write to, or that is somebody else's, is not used itself: one of our own within it is.
    """
    try:
        return _folder()
    except (_NotUsed, OSError, RuntimeError) as error:
        _tell("written", f"What is compiled cannot be kept, so that later runs start slower: {error}.")
        return None


def _folder() -> Path | None:
    chosen = os.environ.get("RANEF_CACHE_DIR", "").strip()
    if chosen.lower() == "off":
        return None
    base = Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ranef", appauthor=False))
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _ours(base.stat()):
        base = base / f"ranef-{os.geteuid()}"
        with contextlib.suppress(FileExistsError):
            base.mkdir(mode=0o700)
        if not _ours(base.lstat()):
            raise _NotUsed(f"{str(base)!r} is not this user's own, or others may write to it")
    elif base.is_symlink() and not _ours_whatever_mode(base.lstat()):
        raise _NotUsed(f"{str(base)!r} is another user's link")
    return base


def _ours(found: os.stat_result) -> bool:
    """Whether it is this user's, and only this user can write it."""
    return _ours_whatever_mode(found) and not (hasattr(os, "geteuid") and found.st_mode & OTHERS_MAY_WRITE)


def _ours_whatever_mode(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def read(kind: str, key: str) -> bytes | None:
    """What was kept under a key, or None."""
    where = folder()
    if where is None:
        return None
    path = where / _name(kind, key)
    try:
        content = _checked(path, key)
    except FileNotFoundError:
        return None
    except (_NotUsed, OSError) as error:
        _tell("read", f"Compiled code that was kept is not used, and compiled anew: {path}: {error}.")
        return None
    with contextlib.suppress(OSError):  # a folder that is only read
        os.utime(path)
    return content


def _checked(path: Path, key: str) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _NotUsed("it is no regular file")
        if not _ours(found):
            raise _NotUsed("it is not this user's own, or others may write to it")
        whole = file.read()
    begin = MAGIC + _sha256(key.encode())
    start = len(begin) + hashlib.sha256().digest_size
    if not whole.startswith(begin) or whole[len(begin) : start] != _sha256(begin + whole[start:]):
        raise _NotUsed("it is not whole, or something else")
    return whole[start:]


def write(kind: str, key: str, content: bytes) -> None:
    """Keep something under a key, if that can be done."""
    where = folder()
    if where is None:
        _tell("written", "What is compiled is not kept, so that later runs start slower: RANEF_CACHE_DIR is 'off'.")
        return
    try:
        begin = MAGIC + _sha256(key.encode())
        _write_whole(where / _name(kind, key), begin + _sha256(begin + content) + content)
        _tidy(where, kind)
    except OSError as error:
        _tell(
            "written", f"What is compiled cannot be kept in {str(where)!r}, so that later runs start slower: {error}."
        )


def _write_whole(path: Path, content: bytes) -> None:
    handle, half = tempfile.mkstemp(dir=path.parent, prefix=_HALF[0], suffix=_HALF[1])
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(half).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(half).unlink()
        raise


def _tidy(where: Path, kind: str) -> None:
    """Take away what was not used for longest, and halves of processes that were killed; only files of our making."""
    mine, now = [], time.time()
    for path in where.iterdir():
        with contextlib.suppress(OSError):  # another process may take it away first
            age = now - path.lstat().st_mtime
            if _OWN_NAME.fullmatch(path.name) and path.suffix == f".{kind}":
                mine.append((age, path))
            elif path.name.startswith(_HALF[0]) and path.name.endswith(_HALF[1]) and age > STALE:
                path.unlink()
    for _, path in sorted(mine)[MOST_FILES:]:
        with contextlib.suppress(OSError):
            path.unlink()


def _name(kind: str, key: str) -> str:
    return f"{_sha256(key.encode()).hex()[:40]}.{kind}"


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _tell(what: str, sentence: str) -> None:
    """Once in a process for each thing."""
    if what not in _told:
        _told.add(what)
        _log.warning(sentence)
