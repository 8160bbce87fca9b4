"""Commands for which permissions of files hold, whoever runs the tests."""

from __future__ import annotations

import os
import shutil

import pytest


def without_privileges(*command: str) -> list[str]:
    """The command; as root, without the right to write where permissions forbid it."""
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write everywhere, and setpriv, which takes that right away, is not there")
    rights = "-dac_override,-dac_read_search,-fowner"
    return [setpriv, f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
