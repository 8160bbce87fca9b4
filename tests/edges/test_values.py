"""Values that are not what they seem: nearly whole, too large or near, half a letter, a mark, a limit."""

import warnings

import numpy as np
import pandas as pd
import pytest

import ranef


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(7)
    g, t = np.repeat(np.arange(9), 8), np.tile(np.arange(8.0), 9)
    x = rng.integers(0, 10, 72).astype(float)
    level = 0.3 * x + rng.normal(size=9)[g]
    counts = rng.poisson(np.exp(0.1 * x + 0.7))
    hits = rng.binomial(6, 1 / (1 + np.exp(1.5 - level)))
    classes = np.digitize(level + rng.logistic(size=72), [0.5, 2.0]) + 1
    y = 10 + 3 * level + 2 * rng.normal(size=72)
    return pd.DataFrame({"g": g, "t": t, "x": x, "y": y, "c": counts, "p": hits / 6, "n": 6, "o": classes})


@pytest.mark.parametrize("family", ["poisson", "negative binomial", "negative binomial 1"])
def test_counts_that_were_computed_are_whole(rows, family):
    """The density of a negative binomial law beside a whole number is another one: the deviance was lower by 36."""

    def criterion(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ranef.SingularFitWarning)
            return ranef.Model("c ~ x + (1 | g)", data, family=family).fit().criterion

    assert criterion(rows.assign(c=rows["c"] + 1e-9)) == criterion(rows)
    assert criterion(rows.assign(c=rows["c"] - 1e-9)) == criterion(rows)


def test_trials_that_were_computed_are_whole(rows):
    fits = [
        ranef.Model("p ~ x + (1 | g)", data, family="binomial", weights="n").fit()
        for data in (rows, rows.assign(n=rows["n"] + 1e-9))
    ]
    assert fits[0].criterion == fits[1].criterion


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (lambda t: t * 1e300, "beyond what can be squared"),
        (lambda t: t * 5e-324, "beyond what can be squared"),
        (lambda t: np.where(t == 3, 1e-30, t), "so near one another"),
    ],
)
@pytest.mark.parametrize("kind", [ranef.CAR1, ranef.Exponential, ranef.Gaussian, ranef.Spherical])
def test_times_that_no_distance_has(rows, kind, times, told):
    with pytest.raises(ranef.DesignError, match=told):
        ranef.Model("y ~ x", rows.assign(t=times(rows["t"])), correlation=kind("t", group="g"))


def test_integers_beyond_doubles_in_objects(rows):
    whole = pd.Series([10**30 + int(x) for x in rows["x"]], dtype=object)
    with pytest.raises(ranef.DesignError, match="beyond 2\\^53"):
        ranef.Model("y ~ x + (1 | g)", rows.assign(x=whole))


def test_half_a_letter(rows):
    halves = pd.Series([f"\udce9{x}" for x in rows["g"]], dtype=object)
    with pytest.raises(ranef.DesignError, match="no valid Unicode"):
        ranef.Model("y ~ x + (1 | g)", dict(rows) | {"g": halves.to_numpy()})


def test_numbers_that_are_none_end_in_words(rows):
    data = rows.assign(p=np.where(np.arange(72) == 3, 1e-300, rows["y"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(ranef.FitError, match="is no number"):
            ranef.Model("p ~ x + (1 | g)", data, family="gamma").fit()


@pytest.mark.parametrize("mark", ["", "NA", "#DIV/0!", "n/a", "?"])
@pytest.mark.parametrize("formula", ["y ~ x + (1 | k)", "y ~ k + (1 | g)", "y ~ factor(k) + (1 | g)"])
def test_marks_of_missing_values_among_levels_are_told(rows, mark, formula):
    data = rows.assign(k=np.where(np.arange(72) % 9 == 0, mark, np.array(["low", "mid", "high"])[rows["g"] % 3]))
    with pytest.warns(ranef.DataWarning, match="stands for a missing value"):
        ranef.Model(formula, data)


def test_categories_that_are_not_said_to_be_ordered(rows):
    """A dictionary of Arrow has them as the rows have met them."""
    as_met = pd.Categorical(rows["o"].astype(str), categories=["2", "3", "1"])
    with pytest.warns(ranef.DataWarning, match="2 < 3 < 1"):
        ranef.Model("o ~ x + (1 | g)", rows.assign(o=as_met), family="ordinal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranef.Model("o ~ x + (1 | g)", rows.assign(o=rows["o"].astype(str).astype("category")), family="ordinal")


@pytest.mark.parametrize("share", [3, 18])
@pytest.mark.parametrize(("name", "family"), [("y", "gaussian"), ("c", "poisson")])
def test_limits_are_not_missing_values(rows, share, name, family):
    written = rows[name].round(1).astype(str).mask(np.arange(72) % share == 0, "<1")
    with pytest.raises(ranef.DesignError, match="it is censored") as error:
        ranef.Model(f"{name} ~ x + (1 | g)", rows.assign(**{name: written}), family=family)
    remedy = str(error.value).split("Either ")[1].split(", which takes")[0]
    assert "na_values" not in str(error.value)
    read = eval(remedy, {"pd": pd, "data": {name: written}})
    assert read.isna().sum() == 0
    assert (read[np.arange(72) % share == 0] == 1).all()
