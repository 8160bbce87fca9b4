"""The page in headless Chromium: the slider is moved, and what the page says is what `ranef.pooling` says."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import ranef
from nasty import FEW, MANY, rows_of


def told(view, number):
    """Level to (estimate, reliability), as the page tells them to a screen reader."""
    labels = view.locator(f"#explorer-{number} [aria-roledescription='point']").evaluate_all(
        "marks => marks.map(m => m.getAttribute('aria-label'))"
    )
    found = [re.fullmatch(r"([\s\S]*): ([-−\d.e+]+), reliability ([-−\d.]+)", text) for text in labels]
    return {m[1]: (float(m[2].replace("−", "-")), float(m[3])) for m in found}


def slider(view, number):
    return view.locator(f"#explorer-{number}-slider input[type=range]")


def test_nothing_is_asked_for_and_nothing_fails(page, opened):
    view = opened(page)
    assert view.requests == [page.resolve().as_uri()]
    assert view.complaints == []


@pytest.mark.parametrize(("number", "term"), [(0, "Intercept"), (1, "Days")])
def test_starts_at_the_blups(page, opened, sleepstudy, number, term):
    view, pooled = opened(page), ranef.pooling(sleepstudy.eb, sleepstudy.fb)
    expected = pooled.coef[pooled.coef["term"] == term].set_index("level")["partial"]
    shown = told(view, number)
    assert set(shown) == set(expected.index)
    np.testing.assert_allclose([shown[level][0] for level in expected.index], expected, rtol=2e-5)


@pytest.mark.parametrize(("number", "term"), [(0, "Intercept"), (1, "Days")])
def test_the_slider_by_keyboard(page, opened, sleepstudy, number, term):
    """At every place the page shows the BLUPs and reliabilities of `pooling.at` at the scale whose ratio it names."""
    view, pooled = opened(page), ranef.pooling(sleepstudy.eb, sleepstudy.fb)
    control = slider(view, number)
    control.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "PageUp", "End"):
        view.keyboard.press(key)
        view.wait_for_timeout(100)
        headline = view.locator(f"#explorer-{number} [aria-label^='sd/σ = ']").get_attribute("aria-label")
        named = re.match(r"sd/σ = (\S+?)(?= \(|:)", headline)[1]
        ratio = np.inf if named == "∞" else float(named)
        scale, exact = _exact(view, number)
        assert exact == pytest.approx(ratio, rel=6e-3)
        at = pooled.at(scale=scale, group="Subject")
        expected = at.coef[at.coef["term"] == term].set_index("level")["partial"]
        reliability = at.frame[at.frame["term"] == term].set_index("level")["reliability"]
        shown = told(view, number)
        size = expected.abs().max()
        np.testing.assert_allclose([shown[v][0] for v in expected.index], expected, rtol=2e-5, atol=2e-5 * size)
        np.testing.assert_allclose([shown[v][1] for v in reliability.index], reliability, atol=6e-4)
    assert view.complaints == []


def _exact(view, number):
    """Scale and ratio of the slider's place, to full precision: the headline gives three digits."""
    places = view.evaluate("window.places")[f"explorer-{number}"]
    k = int(view.evaluate(f"window.explorers['explorer-{number}'].signal('k')"))
    return (np.inf if places[name][k] is None else places[name][k] for name in ("scales", "ratios"))


@pytest.mark.parametrize(("number", "term"), [(0, "Intercept"), (1, "Days")])
def test_ends_are_complete_pooling_and_none(page, opened, sleepstudy, number, term):
    view, coef = opened(page), ranef.pooling(sleepstudy.eb).coef
    own = coef[coef["term"] == term].set_index("level")
    slider(view, number).focus()
    for key, column, reliability in (("Home", "complete", 0.0), ("End", "no_pooling", 1.0)):
        view.keyboard.press(key)
        view.wait_for_timeout(100)
        shown = told(view, number)
        np.testing.assert_allclose([shown[level][0] for level in own.index], own[column], rtol=1e-5)
        assert {r for _, r in shown.values()} == {reliability}
        headline = view.locator(f"#explorer-{number} [aria-label^='sd/σ = ']").get_attribute("aria-label")
        assert f"({column.replace('_', ' ').replace('complete', 'complete pooling')}): mean reliability" in headline
    assert view.complaints == []


def test_one_standard_deviation_alone(page, opened, sleepstudy):
    """Chosen by keyboard, it shows `pooling.at` at a ratio, and calls neither end complete pooling or none."""
    view, pooled = opened(page), ranef.pooling(sleepstudy.eb)
    choice = view.locator("#explorer-1-slider select")
    assert "in proportion: complete pooling (left) to no pooling (right)" in choice.inner_text()
    choice.focus()
    view.keyboard.press("ArrowDown")
    slider(view, 1).focus()
    for key, ratio in (("Home", 0.0), ("End", np.inf)):
        view.keyboard.press(key)
        view.wait_for_timeout(100)
        marks = view.locator("#explorer-1 [aria-roledescription='point']")
        found = dict(re.fullmatch(r"(.+): ([-−\d.e+]+)", m.get_attribute("aria-label")).groups() for m in marks.all())
        at = pooled.at(ratio=ratio, term="Days").coef
        expected = at[at["term"] == "Days"].set_index("level")["partial"]
        shown = [float(found[level].replace("−", "-")) for level in expected.index]
        np.testing.assert_allclose(shown, expected, rtol=2e-5)
        headline = view.locator("#explorer-1 [aria-label^='sd/σ = ']").get_attribute("aria-label")
        assert headline == f"sd/σ = {'∞' if ratio else '0'}, other variances as estimated"
    assert view.complaints == []


def test_hover_tells_size_and_reliability(page, opened):
    view = opened(page)
    view.locator("#explorer-0 [aria-roledescription='point']").first.hover()
    tip = view.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    text = tip.inner_text()
    assert "rows" in text
    assert "reliability" in text


def test_the_slider_has_a_name_and_pictures_have_words(page, opened):
    view = opened(page)
    for control in view.locator("input[type=range]").all():
        assert control.evaluate("e => e.labels[0].innerText").startswith("sd(")
    for picture in view.locator("img").all():
        assert len(picture.get_attribute("alt")) > 40
        assert picture.evaluate("e => e.naturalWidth") > 400


def test_prints(page, opened, tmp_path):
    view = opened(page)
    view.emulate_media(media="print")
    assert not slider(view, 0).is_visible()
    sheet = view.pdf(path=tmp_path / "page.pdf", format="A4")
    assert sheet[:5] == b"%PDF-"


def test_narrow_screens_do_not_scroll_sideways(page, opened):
    view = opened(page, viewport={"width": 420, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def shows(opened, model, path, levels, number):
    """The page of two fits, whose explorer runs, complains of nothing and knows every level by its name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No installed font")
        page = opened(ranef.compare(model.fit(), model.fit("ML")).report(path))
    assert set(told(page, number)) == set(levels)
    assert page.complaints == []
    return page


def test_levels_with_names_that_are_code(opened, tmp_path):
    page = shows(opened, ranef.Model("y ~ 1 + (1 | g)", rows_of(FEW)), tmp_path / "a.html", FEW, 0)
    assert "$10% to $20%" in page.locator("main").inner_text()


@pytest.mark.slow
def test_every_name_of_a_level(opened, tmp_path):
    shows(opened, ranef.Model("y ~ x + (x | g)", rows_of(MANY)), tmp_path / "a.html", MANY, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MANY if name.strip() and "`" not in name])
def test_columns_and_groups_with_names_that_are_code(opened, tmp_path, name):
    levels = [f"l{k}" for k in range(8)]
    data = rows_of(levels, f"{name}g", name, f"{name}y")
    model = ranef.Model(f"`{name}y` ~ `{name}` + (`{name}` | `{name}g`)", data)
    page = shows(opened, model, tmp_path / "a.html", levels, 1)
    page.locator("#explorer-1 [aria-roledescription='point']").first.hover()
    tip = page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    seen = "".join(c if c.isprintable() else " " for c in name).split()
    assert all(part in tip.inner_text() for part in seen)
