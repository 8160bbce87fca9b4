from __future__ import annotations

import shutil

import pytest

import ranef

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


@pytest.fixture(scope="session")
def sleepstudy():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    return ranef.compare(model.fit(), model.sample(draws=250, seed=1, sampler="nutpie", progress=False))


@pytest.fixture(scope="session")
def page(sleepstudy, tmp_path_factory):
    return sleepstudy.report(tmp_path_factory.mktemp("page") / "page.html")


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


@pytest.fixture
def opened(browser):
    """Open a file from disk, and note what it complains of and asks for."""
    views = []

    def go(path, **options):
        view = browser.new_page(**options)
        views.append(view)
        view.complaints, view.requests = [], []
        view.on("console", lambda m: view.complaints.append(m.text) if m.type in ("error", "warning") else None)
        view.on("pageerror", lambda e: view.complaints.append(str(e)))
        view.on("request", lambda r: view.requests.append(r.url))
        view.goto(path.resolve().as_uri())
        view.wait_for_function("document.querySelectorAll('.explorer svg, .explorer canvas').length > 0")
        return view

    yield go
    for view in views:
        view.close()
