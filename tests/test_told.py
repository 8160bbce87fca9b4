"""What should not be trusted says so where it is used: fits, posteriors, comparisons, pages, figures, command line."""

from __future__ import annotations

import dataclasses
import inspect
import warnings

import matplotlib
import numpy as np
import pytest

import ranef
from _ranef.cli import main
from _ranef.results import Status

matplotlib.use("Agg")

SINGULAR = ("Yield ~ 1 + (1 | Batch)", "dyestuff2")
FLAT = ("score ~ Machine + (Machine || Worker)", "machines")


def model(formula: str, name: str) -> ranef.Model:
    return ranef.Model(formula, ranef.datasets.load(name))


@pytest.fixture(scope="module")
def pulp() -> ranef.Model:
    return model("bright ~ 1 + (1 | operator)", "pulp")


@pytest.fixture(scope="module")
def failed(pulp):
    """Four chains of a hundred draws, of which one was sent elsewhere."""
    fb = pulp.sample(draws=100, seed=1, sampler="nutpie", progress=False)
    sigma, theta = fb.draws.sigma.copy(), fb.draws.theta.copy()
    sigma[0] *= 3.0
    theta[0] /= 10.0
    return dataclasses.replace(fb, draws=dataclasses.replace(fb.draws, sigma=sigma, theta=theta))


@pytest.fixture(scope="module")
def both(pulp, failed):
    return ranef.compare(pulp.fit(), failed)


def line() -> int:
    return inspect.currentframe().f_back.f_lineno


def test_a_singular_fit_is_told_once_at_the_users_line():
    m = model(*SINGULAR)
    with pytest.warns(ranef.SingularFitWarning, match="variance of Intercept by Batch is estimated as zero") as told:
        fit, at = m.fit(), line()
    assert len(told) == 1
    assert (told[0].filename, told[0].lineno) == (__file__, at)
    assert fit.ok  # it is a result
    with pytest.warns(ranef.SingularFitWarning):
        fit.refit(fit.spec.design.y)
    with pytest.warns(ranef.SingularFitWarning) as told:
        ranef.pooling(m)
    assert told[0].filename == __file__


def test_it_can_be_switched_off_and_batches_count():
    fit = model("Yield ~ 1 + (1 | Batch)", "dyestuff").fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ranef.SingularFitWarning)
        assert model(*SINGULAR).fit().is_singular
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refits = fit.refit(fit.simulate(50, seed=1))
        fit.influence("Batch")
    assert 0 < refits.singular.sum() < 50


def test_what_is_not_determined_is_told():
    with pytest.warns(ranef.ConvergenceWarning, match="do not determine every variance parameter") as told:
        fit = model(*FLAT).fit()
    assert len(told) == 1
    assert fit.warnings == [fit.optimizer.message]
    assert not fit.ok


def test_a_posterior_that_failed_is_told(pulp):
    with pytest.warns(ranef.ConvergenceWarning) as told:
        fb, at = pulp.sample(draws=20, chains=2, seed=1, sampler="nutpie", progress=False), line()
    assert len(told) == 1
    assert (told[0].filename, told[0].lineno) == (__file__, at)
    assert str(told[0].message) == "This posterior should not be trusted yet: " + " ".join(fb.warnings)


def test_a_comparison_opens_with_it_and_interprets_nothing(both):
    text = str(both)
    assert text.startswith("Not to be trusted:\n  Posterior: R-hat is above 1.01 for")
    assert "side by side, not to be trusted" in text
    for words in ("How far they agree", "times as wide as", "would be left if all else were known"):
        assert words not in text
    html, latex, markdown = (getattr(both.table(), f"to_{kind}")() for kind in ("html", "latex", "markdown"))
    assert all("side by side, not to be trusted" in source for source in (html, latex, markdown))
    assert all("R-hat is above" in source for source in (html, latex, markdown))
    assert markdown.index("R-hat is above") < markdown.index("What each column estimates")


def test_one_that_is_well_is_interpreted_beside_one_that_is_not(pulp, failed):
    good = pulp.sample(draws=1000, seed=1, sampler="nutpie", progress=False)
    assert good.ok
    text = str(ranef.compare({"good": good, "eb": pulp.fit(), "bad": failed}))
    assert text.startswith("Not to be trusted:\n  bad: ")
    assert "How far they agree" in text
    assert "bad: intervals" not in text
    assert "Not to be trusted" not in str(ranef.compare(pulp.fit(), good))


def test_boundary_words_say_nothing_of_a_failed_posterior():
    m = model(*SINGULAR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eb, fb = m.fit(), m.sample(draws=20, chains=2, seed=1, sampler="nutpie", progress=False)
    text = str(ranef.compare(eb, fb))
    assert "At the boundary" in text
    assert "The posterior averages over" not in text


def test_an_estimate_that_failed_opens_the_text_too(pulp):
    eb = pulp.fit()
    found = dataclasses.replace(eb.estimates.optimizer, status=Status.NOT_CONVERGED, message="It stopped before.")
    bad = dataclasses.replace(eb, estimates=dataclasses.replace(eb.estimates, optimizer=found))
    text = str(ranef.compare({"reml": bad, "ml": pulp.fit("ML")}))
    assert text.startswith("Not to be trusted:\n  reml: It stopped before.")


def test_the_page_opens_with_it(both, tmp_path):
    page = both.report(tmp_path / "page.html").read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    assert 0 < body.index('role="alert"') < body.index("R-hat is above") < body.index("The model in words")
    captions = [part.split("</figcaption>")[0] for part in body.split("<figcaption>")[1:]]
    assert captions
    assert all(c.endswith("should not be trusted: see the top of the page.") for c in captions)


def test_the_figure_is_marked(both, tmp_path):
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        path = both.save_figure(tmp_path / "figure.svg")
    assert "Not to be trusted: fb (warnings say why)" in path.read_text(encoding="utf-8")
    assert both.plot()._supxlabel.get_text() == "Not to be trusted: fb (warnings say why)"


def test_a_ranking_names_them(failed):
    with pytest.warns(ranef.ConvergenceWarning, match="should not be trusted are ranked here: 'a', 'b'") as told:
        ranef.compare({"a": failed, "b": failed}, kind="conditional")
    assert any(w.filename == __file__ for w in told)


def test_the_command_line_says_it_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        assert main(["fit", "dyestuff2", "Yield ~ 1 + (1 | Batch)"]) == 0
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("ranef: note: The optimum lies on the boundary")


def test_numbers_stay(both):
    """Nothing is hidden: frames hold what was computed."""
    assert np.isfinite(both.fixed_effects["fb_estimate"]).all()
    assert len(both.agreement)


PRINTED = {
    "emmeans": lambda fit: ranef.emmeans(fit, "Days"),
    "contrasts": lambda fit: ranef.emmeans(fit, "Days", at={"Days": [0, 1]}).contrasts(),
    "simulated residuals": lambda fit: fit.simulated_residuals(50, seed=1),
    "pooling": ranef.pooling,
}
OF_ESTIMATES = {
    "test": lambda fit: fit.test("Days"),
    "anova": lambda fit: fit.anova(),
    "ranova": ranef.ranova,
    "drop1": lambda fit: fit.drop1(),
    "bootstrap": lambda fit: fit.bootstrap(5, seed=1),
    "profile": lambda fit: fit.profile("sigma"),
    "influence": lambda fit: fit.influence("Subject", refit=False),
    "power": lambda fit: ranef.power(fit, "Days", 5, seed=1),
}
OF_DRAWS = {"derive": lambda fit: fit.derive("icc"), "loo": lambda fit: fit.loo()}
MARK = "Not to be trusted"


def doubtful(kind: str):
    m = model("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    if kind == "estimates":
        return m.fit(control=ranef.Control(max_iterations=1, em_steps=0, tolerance=1e-300))
    return m.sample(draws=20, chains=2, seed=1, sampler="nutpie", progress=False)


@pytest.mark.parametrize("kind", ["estimates", "draws"])
@pytest.mark.filterwarnings("ignore::ranef.RanefWarning")
def test_whatever_leaves_a_session_bears_the_mark(kind, tmp_path):
    """Texts and figures, and each session is told once: when a fit is made, or loaded."""
    fit = doubtful(kind)
    assert not fit.ok
    assert "not to be trusted" in repr(fit)
    assert not fit.glance()["ok"][0]
    of_engine = OF_ESTIMATES if kind == "estimates" else OF_DRAWS
    silent = [name for name, make in (PRINTED | of_engine).items() if not str(make(fit)).startswith(MARK)]
    assert not silent
    for draw in (fit.plot.ranef, fit.plot.residuals, fit.plot.shrinkage, fit.plot.lines):
        drawn = draw()
        assert MARK in (drawn if hasattr(drawn, "get_supxlabel") else drawn.figure).get_supxlabel()
    for held in (fit, ranef.pooling(fit), ranef.compare({"a": fit, "b": fit})):
        path = held.save(tmp_path / f"{type(held).__name__}.ranef")
        with pytest.warns(ranef.ConvergenceWarning) as told:
            ranef.load(path)
        assert {w.filename for w in told} == {__file__}
