from __future__ import annotations

import os
import shutil
import signal
import sys

#: whether numpy can still be told how many threads it may use, or was already
IN_TIME = "OPENBLAS_NUM_THREADS" in os.environ or "numpy" not in sys.modules

# for this process and those that pytest-xdist starts, one for each core
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib
import pytest
from hypothesis import HealthCheck, settings

import budget
import quick
import small_fits
from _ranef.support import compiled_store

matplotlib.use("Agg")  # no screen

settings.register_profile("default", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), derandomize=False, max_examples=1000)
settings.load_profile("default")

#: Debian's name first; --no-sandbox because tests may run as root
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(pluginmanager):
    """As early as options are read, for doctests in src as well."""
    pluginmanager.register(budget, "budget")
    pluginmanager.register(quick, "quick")


@pytest.fixture
def threads_in_time():
    """Whether the number of threads was said before numpy was loaded."""
    return IN_TIME


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    """As on a terminal, for this process and those it starts, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder_with_loops(tmp_path):
    """A folder for compiled code where the loops that numba compiles are already, for that takes half a minute."""
    folder = tmp_path / "compiled"
    folder.mkdir(mode=0o700)
    known = compiled_store.folder()
    for file in known.glob("*.numba") if known else ():
        shutil.copy2(file, folder)
    return folder


@pytest.fixture
def fit():
    """Fit a formula to a bundled data set, once in a session."""
    return small_fits.fit_of


@pytest.fixture
def posterior():
    """A posterior without a sampler: draws scattered round the REML estimates of the pulp data."""
    return small_fits.scattered_posterior()


@pytest.fixture(scope="session")
def chromium():
    """The command that starts Chromium."""
    binary = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if binary is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return [binary, *OPTIONS]


@pytest.fixture(scope="session")
def browser(chromium):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        started = p.chromium.launch(executable_path=chromium[0], args=chromium[1:])
        yield started
        started.close()
