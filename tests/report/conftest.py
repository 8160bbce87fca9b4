from __future__ import annotations

import pytest

import ranef


@pytest.fixture(scope="session")
def sleepstudy():
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    return ranef.compare(model.fit(), model.sample(draws=250, seed=1, sampler="nutpie", progress=False))


@pytest.fixture(scope="session")
def page(sleepstudy, tmp_path_factory):
    return sleepstudy.report(tmp_path_factory.mktemp("page") / "page.html")


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
