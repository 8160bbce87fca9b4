"""A terminal of 120 columns for processes that write to one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import termios


def open_terminal() -> tuple[int, int]:
    """Our end and the process's end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    return ours, theirs


def read_until(ours: int, words: bytes | None = None) -> bytes:
    """What is written until `words` appear, or to the end."""
    written = b""
    with contextlib.suppress(OSError):  # the terminal is closed
        while piece := os.read(ours, 65536):
            written += piece
            if words is not None and words in written:
                break
    return written
