from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from numpyro import distributions as dist

import ranef
from _ranef.report import fingerprint, model_words, python_calls
from _ranef.report.shrinkage_explorer import explorer, positions
from _ranef.results import sample_arguments
from _ranef.user.page import _explorers
from ranef.priors import LKJ, R2D2, Exponential, Flat, Gamma, HalfNormal, Normal, StudentT


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
        "Intervals and tests",
        "profile: by the likelihood ratio",
        "seed=1",
        "Reproduce",
    ):
        assert words in text


def test_an_explorer_whose_population_line_has_no_limit():
    """The line is left out at the end of the slider that moves one effect alone; the levels have their places."""
    pooled = ranef.pooling(ranef.Model("Reaction ~ 1 + (Days | Subject)", ranef.datasets.load("sleepstudy")))
    whole, alone = pooled.sweep("Subject", n=5), pooled.sweep("Subject", "Intercept", n=5)
    levels = pooled.coef[pooled.coef["term"] == "Intercept"]
    drawn = explorer("e", whole, "Intercept", levels, None, alone)
    together, single = re.search(r'"population":\[\[(.*?)\],\[(.*?)\]\]', drawn.json).groups()
    assert "null" not in together
    assert [p == "null" for p in single.split(",")] == [False] * 4 + [True]
    assert all(None not in path for record in drawn.spec["datasets"]["levels"] for path in record["path"])


@pytest.mark.parametrize(
    ("formula", "name"),
    [("Reaction ~ Days + (Days | Subject)", "sleepstudy"), ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")],
)
def test_the_ends_of_a_slider_are_the_columns_of_pooling(formula, name):
    fit = ranef.Model(formula, ranef.datasets.load(name)).fit()
    coef = ranef.pooling(fit).coef
    for e in _explorers({"eb": fit}, 0.95):
        records = {r["level"]: r["path"][0] for r in e.spec["datasets"]["levels"]}
        rows = coef[(coef["group"] == e.group) & (coef["term"] == e.term)].set_index("level")
        assert (e.scales[0], e.scales[e.start], e.scales[-1]) == (0.0, 1.0, np.inf)
        for place, column in ((0, "complete"), (e.start, "partial"), (-1, "no_pooling")):
            found = [records[level][place] for level in rows.index]
            np.testing.assert_allclose(found, rows[column], rtol=1e-5)


def test_the_slider_of_a_variance_of_zero():
    """The estimate stands at complete pooling, and the path still ends at the levels' own means."""
    fit = ranef.Model("Yield ~ 1 + (1 | Batch)", ranef.datasets.load("Dyestuff2")).fit()
    (e,) = _explorers({"eb": fit}, 0.95)
    assert e.start == 0
    assert e.singular
    assert not e.choice
    own = ranef.pooling(fit).coef.set_index("level")["no_pooling"]
    for record in e.spec["datasets"]["levels"]:
        np.testing.assert_allclose(record["path"][0][-1], own[record["level"]], rtol=1e-5)
    assert np.all(np.diff(e.ratios) > 0)


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

    monkeypatch.setattr("_ranef.user.comparison_base.page_html", fail)
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


QUICK = {"draws": 12, "warmup": 10, "chains": 1, "seed": 3, "sampler": "nutpie", "progress": False}


@pytest.fixture(scope="module")
def awkward():
    data = ranef.datasets.load("sleepstudy").rename(columns={"Reaction": "y", "Days": "x", "Subject": "g"})
    data["o"] = np.sin(np.arange(len(data))) * 30
    data["f"] = np.where(np.arange(len(data)) % 3 == 0, "a", "b")
    return data


@pytest.mark.parametrize(
    ("formula", "model", "sampling"),
    [
        ("y ~ x + (x | g)", {}, {"priors": {"cor": LKJ(2.5), "sigma": HalfNormal(7 / 3)}}),
        ("y ~ x + (1 | g)", {"offset": "o"}, {"target_accept": 0.9}),
        ("y ~ x + offset(o) + (x || g)", {}, {"priors": {"sd[g, x]": Exponential(1 / 3), "x": Normal(10 / 7, 1 / 7)}}),
        ("y ~ x + (1 | g)", {"sigma": np.float64(25.5)}, {"priors": {"fixef[Intercept]": Flat()}}),
        pytest.param(
            "y ~ x + (1 | g)",
            {},
            {"priors": {"x": StudentT(3, 0, 5), "Intercept": dist.Laplace(250.0, 20.0)}, "sampler": "numpyro"},
            marks=pytest.mark.slow,
        ),
        ("y ~ x + ident(0 + f | g)", {}, {"priors": {"sd": HalfNormal(11.123456789)}}),
        ("y ~ x + (1 | g)", {}, {"priors": {"nu": Gamma(3, 0.2)}, "family": "student", "sampler": "numpyro"}),
        pytest.param(
            "y ~ x + (1 | g)",
            {},
            {"priors": {"ranef": Gamma(2, 0.1)}, "sampler": "numpyro"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "y ~ x + (1 | g)", {}, {"priors": {"fixef": R2D2(0.3)}, "sampler": "numpyro"}, marks=pytest.mark.slow
        ),
        pytest.param(
            "y ~ x + (1 | g)",
            {},
            {"priors": {"x": dist.TruncatedNormal(10.0, 2.0, low=1.5)}, "sampler": "numpyro", "device": "cpu"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "y ~ x + (x | g)",
            {},
            {"parameterization": "noncentered", "sampler": "numpyro", "warmup": None},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "y ~ x + (1 | g)",
            {"na_action": "omit"},
            {"chain_method": "sequential", "chains": 2, "sampler": "numpyro"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_calls_of_every_kind_run_and_give_the_same_numbers(awkward, formula, model, sampling):
    own = ranef.Model(formula, awkward, **model)
    fits = {"the REML fit": own.fit(), "for": own.sample(**{**QUICK, **sampling})}
    records = {"the REML fit": fits["the REML fit"].estimates, "for": fits["for"].draws}
    text = python_calls(own.spec, records, "awkward", "page.html", 0.9)
    space: dict[str, object] = {"awkward": awkward}
    exec(text.replace("both.report('page.html')", ""), space)
    again = space["both"]
    assert again.level == 0.9
    assert again.fits["the REML fit"].criterion == fits["the REML fit"].criterion
    np.testing.assert_array_equal(again.fits["for"].draws.sigma, fits["for"].draws.sigma)
    np.testing.assert_array_equal(again.fits["for"].draws.beta, fits["for"].draws.beta)


def test_calls_give_where_fits_began_and_how_chains_ran(awkward):
    own = ranef.Model("y ~ x + (1 | g)", awkward)
    start = own.fit("ML", start=[0.4], control=ranef.Control(em_steps=0, tolerance=0.5))
    fits = {"ml": start, "eb": own.fit(), "fb": own.sample(**QUICK, chain_method="parallel", init=start)}
    records = {"ml": start.estimates, "eb": fits["eb"].estimates, "fb": fits["fb"].draws}
    text = python_calls(own.spec, records, "awkward", "page.html")
    began = "'ML', start=[0.4], control=ranef.Control(tolerance=0.5, em_steps=0)"
    assert f"ml = model.fit({began})" in text
    assert f"chain_method='parallel', init=model.fit({began})" in text
    assert "eb = model.fit()\n" in text
    space: dict[str, object] = {"awkward": awkward}
    exec(text.replace("both.report('page.html')", ""), space)
    again = space["both"].fits
    assert again["ml"].criterion == start.criterion != own.fit("ML").criterion
    np.testing.assert_array_equal(again["fb"].draws.sigma, fits["fb"].draws.sigma)


def test_calls_of_generalised_fits(awkward):
    """Priors of dispersions, the order of classes, quadrature and where draws began."""
    direct = {"draws": 400, "chains": 1, "seed": 3, "sampler": "direct", "progress": False}
    gamma = ranef.Model("y ~ x + (1 | g)", awkward, family="gamma")
    start = gamma.fit(nagq=3, start=[0.3])
    fits = {"eb": start, "fb": gamma.sample(**direct, init=start, priors={"dispersion": Gamma(3, 40)})}
    text = python_calls(gamma.spec, {"eb": start.estimates, "fb": fits["fb"].draws}, "awkward", "page.html")
    began = "model.fit('ML', start=[0.3], nagq=3)"
    assert f"eb = {began}\n" in text
    assert f"init={began}, priors={{'dispersion': Gamma(shape=3, rate=40)}})" in text
    classes = ranef.Model(
        "size ~ x + (1 | g)",
        awkward.assign(size=np.where(awkward["y"] > 300, "slow", np.where(awkward["y"] > 250, "middle", "fast"))),
        family=ranef.families.Ordinal("probit", levels=("slow", "middle", "fast")),
    )
    text = python_calls(classes.spec, {"eb": classes.fit().estimates}, "data", "page.html")
    assert "family=ranef.families.Ordinal(link='probit', levels=('slow', 'middle', 'fast')))" in text


@pytest.mark.slow
def test_draws_differ_with_how_chains_run(awkward):
    """So that the calls must say it, which two of the runs above are called again for."""
    own = ranef.Model("y ~ x + (1 | g)", awkward)
    asked = QUICK | {"sampler": "numpyro", "chains": 2}
    ways = {way: own.sample(**asked, chain_method=way).draws.sigma for way in ("vectorized", "parallel")}
    assert not np.array_equal(*ways.values())


def test_calls_of_an_interrupted_run_and_of_another_model(awkward):
    """The call is that of the whole run, and says that a fit of another model has to be given."""
    own, other = (ranef.Model("y ~ x + (1 | g)", awkward.assign(y=awkward["y"] * k)) for k in (1.0, 1.1))
    cut = own.sample(**QUICK).draws
    asked = sample_arguments(cut, draws=400, chains=3, chain_method="vectorized", device=None, init="init")
    text = python_calls(own.spec, {"fb": replace(cut, asked=asked)}, "awkward", "page.html")
    assert "fb = model.sample(draws=400, warmup=10, chains=3, seed=3, " in text
    assert "init=init)" in text
    assert "\ninit = ...  # the fit of another model" in text
    assert own.sample(**QUICK, init=other.fit()).draws.asked == {"init": "init"}


def test_calls_say_what_only_the_user_has(awkward):
    def square(x):
        return x**2

    own = ranef.Model(
        "y ~ square(x) + (1 | g)",
        awkward,
        weights=1.0 + awkward["x"],
        offset=awkward["o"],
        transforms={"square": square},
    )
    text = python_calls(own.spec, {"eb": own.fit().estimates}, None, "page.html")
    for line in (
        "weights = ...",
        "offset = ...",
        "# define here the transforms square",
        "transforms={'square': square}",
    ):
        assert line in text
    named = ranef.Model("y ~ x + (1 | g)", awkward.assign(w=1.0 + awkward["x"]), weights="w", offset="o")
    text = python_calls(named.spec, {"eb": named.fit().estimates}, None, "page.html")
    assert "weights='w', offset='o'" in text
    assert "..." not in text.replace("data = ...", "")


def test_words(pulp):
    words = " ".join(model_words(pulp.spec))
    assert "is constant in the population (1 coefficient)" in words
    assert "4 levels of operator" in words
    known = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp"), sigma=0.3)
    assert "known standard deviation 0.3" in " ".join(model_words(known.spec))


def test_words_of_structures(awkward):
    words = " ".join(model_words(ranef.Model("y ~ 0 + x + (x || g) + offset(o)", awkward).spec))
    assert "apart from the known offset" in words
    assert "different terms are independent" in words
    words = " ".join(model_words(ranef.Model("y ~ 1 + ident(0 + f | g)", awkward).spec))
    assert "its own value at f[a] and its own value at f[b]" in words
    assert "with one standard deviation" in words
    student = ranef.Model("y ~ 1 + (1 | g)", awkward)
    draws = replace(student.sample(**QUICK).draws, family="student")
    assert "Student t distributions in place of normal ones for the response" in " ".join(
        model_words(student.spec, [draws])
    )


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
