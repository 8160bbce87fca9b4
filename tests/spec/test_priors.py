from __future__ import annotations

import numpy as np
import pytest

import ranef
from ranef import priors

MODEL = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))


def test_defaults_follow_their_documentation():
    data = ranef.datasets.load("sleepstudy")
    s = data["Reaction"].std(ddof=0)
    p = MODEL.priors()
    assert p.fixef["Intercept"].loc == pytest.approx(data["Reaction"].mean())
    assert p.fixef["Intercept"].scale == pytest.approx(2.5 * s)
    assert p.fixef["Days"].scale == pytest.approx(2.5 * s / data["Days"].std(ddof=0))
    assert p.sd["Subject", "Intercept"].scale == pytest.approx(s)
    assert p.sd["Subject", "Days"].scale == pytest.approx(s / np.sqrt((data["Days"] ** 2).mean()))
    assert p.sigma.scale == pytest.approx(s)
    assert list(p.corr.values()) == [priors.LKJ(1.0)]


def test_defaults_scale_with_the_data():
    data = ranef.datasets.load("sleepstudy")
    scaled = ranef.Model(
        "Reaction ~ Days + (Days | Subject)", data.assign(Reaction=10 * data["Reaction"], Days=data["Days"] / 4)
    ).priors()
    before = MODEL.priors()
    assert scaled.fixef["Days"].scale == pytest.approx(40 * before.fixef["Days"].scale)
    assert scaled.sd["Subject", "Days"].scale == pytest.approx(40 * before.sd["Subject", "Days"].scale)


def test_replacements():
    p = MODEL.priors({"sd(Days | Subject)": priors.HalfNormal(3.0), "sigma": priors.HalfNormal(10.0)})
    assert p.sd["Subject", "Days"] == priors.HalfNormal(3.0)
    assert p.sd["Subject", "Intercept"] == MODEL.priors().sd["Subject", "Intercept"]
    assert "sigma ~ HalfNormal(10)" in p.lines()
    assert MODEL.priors({"fixef": priors.Flat()}).fixef["Days"] == priors.Flat()
    assert MODEL.priors({"corr": priors.LKJ(4)}).lines()[-2].endswith("LKJ(4)")
    assert MODEL.priors("flat").flat


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Dyas": priors.Normal(0, 1)}, "no parameter 'Dyas'.*Did you mean 'Days'"),
        ({"sigma": priors.Normal(0, 1)}, "must be HalfStudentT or HalfNormal"),
        ({"sd": 3.0}, "The prior of 'sd' is 3.0"),
        ("flt", "must be 'flat'"),
    ],
)
def test_impossible_priors(change, message):
    with pytest.raises(ranef.DesignError, match=message):
        MODEL.priors(change)


@pytest.mark.parametrize(
    "make", [lambda: priors.Normal(0, 0), lambda: priors.LKJ(-1), lambda: priors.HalfNormal(np.inf)]
)
def test_families_check_their_numbers(make):
    with pytest.raises(ranef.DesignError, match="must be a positive finite number"):
        make()
