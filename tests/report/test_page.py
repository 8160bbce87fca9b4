from __future__ import annotations

import html
import re

import numpy as np
import pytest

import ranef
from ranef.priors import Exponential, Normal, StudentT
from ranef.report import fingerprint, model_words, python_calls
from ranef.report.explorer import explorer, positions
from ranef.reported import _explorers


@pytest.fixture(scope="module")
def pulp():
    return ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"))


def calls_of(page):
    return html.unescape(re.search(r"<p>In Python:</p>\s*<pre>(.*?)</pre>", page.read_text(), re.S)[1])


def test_one_file_that_asks_for_nothing(page):
    text = page.read_text()
    marked = re.sub(r"(<script[^>]*>).*?</script>", r"\1", text, flags=re.S)
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["'](?!data:)""", marked)
    assert not re.findall(r"@import|url\((?!data:)", marked)
    for words in (
        "The model in words",
        "Each of the 18 levels of Subject",
        "Shrinkage explorer",
        "seed=1",
        "Reproduce",
    ):
        assert words in text


def test_an_explorer_whose_population_line_has_no_limit():
    """The line is left out at the end of the slider; the levels have their places."""
    pooled = ranef.pooling(ranef.Model("Reaction ~ 1 + (Days | Subject)", ranef.datasets.load("sleepstudy")))
    path = pooled.sweep("Subject", "Intercept", n=5)
    levels = pooled.coef[pooled.coef["term"] == "Intercept"]
    drawn = explorer("e", path, levels, 1.0, None)
    population = re.search(r'"population":\[(.*?)\]', drawn.json)[1].split(",")
    assert [p == "null" for p in population] == [False] * 4 + [True]
    assert all(None not in record["path"] for record in drawn.spec["datasets"]["levels"])


def test_a_slider_of_a_shared_variance_names_all_that_move():
    fit = ranef.Model("Reaction ~ Days + ident(Days | Subject)", ranef.datasets.load("sleepstudy")).fit()
    first, second = _explorers({"eb": fit}, 0.95)
    label = "sd(Intercept, Days | Subject) / σ (one variance)"
    assert (first.term, second.term) == ("Intercept", "Days")
    for e in (first, second):
        assert next(p["bind"]["name"] for p in e.spec["params"] if p["name"] == "k").startswith(label)


def test_an_existing_file_is_replaced_only_when_asked(sleepstudy, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(ranef.DesignError, match=r"exists .* overwrite=True"):
        sleepstudy.report(path)
    assert path.read_text() == "mine"
    sleepstudy.report(path, overwrite=True, title="A & B <title>")
    assert "<title>A &amp; B &lt;title&gt;</title>" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["page.txt", "none/page.html", "."])
def test_impossible_paths(sleepstudy, tmp_path, name):
    with pytest.raises(ranef.DesignError):
        sleepstudy.report(tmp_path / name)


def test_nothing_is_left_of_a_page_that_fails(sleepstudy, tmp_path, monkeypatch):
    """A figure that cannot be drawn, say: the folder is as before."""
    kept = tmp_path / "page.html"
    kept.write_text("mine")

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ranef.compared.page_html", fail)
    with pytest.raises(KeyboardInterrupt):
        sleepstudy.report(kept, overwrite=True)
    assert kept.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_the_calls_make_the_same_fits_again(pulp, tmp_path, monkeypatch):
    priors = {"sd[operator]": Exponential(2.0), "sigma": Exponential(1.0)}
    fits = {
        "reml": pulp.fit(),
        "ml": pulp.fit("ML"),
        "narrow": pulp.sample(50, 40, 2, 7, sampler="nutpie", priors=priors, progress=False),
        "flat": pulp.sample(50, 40, 2, 8, sampler="nutpie", priors="flat", progress=False),
    }
    page = ranef.compare(fits).report(tmp_path / "page.html", data='ranef.datasets.load("pulp")')
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    text = calls_of(page).replace("both.report('page.html')", "both.report('again.html')")
    exec(text, space)
    again = space["both"].fits
    assert list(again) == list(fits)
    for name in ("reml", "ml"):
        assert again[name].criterion == fits[name].criterion
    for name in ("narrow", "flat"):
        np.testing.assert_array_equal(again[name].draws.sigma, fits[name].draws.sigma)
    assert (tmp_path / "again.html").exists()


def test_calls_of_a_sampled_coefficient(pulp):
    model = ranef.Model("Reaction ~ Days + (Days || Subject)", ranef.datasets.load("sleepstudy"))
    fit = model.sample(20, 20, 1, 3, sampler="nutpie", priors={"Days": StudentT(3, 0, 5)}, progress=False)
    text = python_calls(model.spec, {"fb": fit.draws}, None, "page.html")
    assert "'Days': StudentT(3, 0, 5)" in text
    assert "data = ..." in text


def test_words(pulp):
    words = " ".join(model_words(pulp.spec))
    assert "is constant in the population (1 coefficient)" in words
    assert "4 levels of operator" in words
    known = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"), sigma=0.3)
    assert "known standard deviation 0.3" in " ".join(model_words(known.spec))


def test_fingerprint(pulp):
    data = ranef.datasets.load("pulp")
    same = ranef.Model("bright ~ 1 + (1 | operator)", data.copy())
    assert fingerprint(same.spec) == fingerprint(pulp.spec)
    data.loc[3, "bright"] += 1e-9
    assert fingerprint(ranef.Model("bright ~ 1 + (1 | operator)", data).spec) != fingerprint(pulp.spec)


def test_positions_of_ratios():
    ratios = np.array([0.0, 1.0, 2.0, 4.0, np.inf])
    values = np.array([0.0, 0.5, 1.0, 3.0, 4.0, 8.0, np.inf])
    np.testing.assert_allclose(positions(values, ratios), [0, 0.5, 1, 2.5, 3, 3.5, 4])


def test_one_engine_alone_has_a_page(pulp, tmp_path):
    both = ranef.compare(pulp.fit(), pulp.fit("ML"))
    assert "Shrinkage explorer" in both.report(tmp_path / "a.html").read_text()
    draws = [pulp.sample(30, 30, 1, s, sampler="nutpie", progress=False) for s in (1, 2)]
    text = ranef.compare(*draws).report(tmp_path / "b.html").read_text()
    assert "Shrinkage explorer" not in text


def test_names_that_mean_something_in_html_or_javascript(tmp_path):
    data = ranef.datasets.load("pulp").rename(columns={"operator": "</script><b>"})
    data["</script><b>"] = data["</script><b>"].astype(str) + '"`$&<'
    model = ranef.Model("bright ~ 1 + (1 | `</script><b>`)", data)
    text = ranef.compare(model.fit(), model.fit("ML")).report(tmp_path / "a.html").read_text()
    assert "</script><b>" not in text


def test_priors_of_every_kind_are_written(pulp):
    priors = {"Intercept": Normal(60, 1), "sd": Exponential(1.0), "ranef[operator]": StudentT(4)}
    fit = pulp.sample(20, 20, 1, 3, priors=priors, progress=False)
    text = python_calls(pulp.spec, {"fb": fit.draws}, None, "page.html")
    for part in ("'Intercept': Normal(60, 1)", "'sd[operator, Intercept]': Exponential(1)", "StudentT(4"):
        assert part in text
    assert "parameterization='noncentered'" in text
