"""Models of every kind, whose equations are tested: by name a function that makes one."""

from functools import cache

import numpy as np
import pandas as pd

import ranef
from _ranef.equations import model_equation


def _load(name):
    return ranef.datasets.load(name)


def _cake(n=6):
    data = _load("cake")
    return data[data["replicate"].isin(data["replicate"].unique()[:n])].reset_index(drop=True)


def _schools(n=8):
    data = _load("Hsb82")
    return data[data["school"].isin(data["school"].unique()[:n])].reset_index(drop=True)


def _three_levels():
    """Pupils in classes in schools, with a covariate at each level."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"school": np.repeat(list("abcd"), 15), "class": np.tile(np.repeat(list("uvw"), 5), 4)})
    data["x"] = rng.normal(size=60)
    data["size"] = np.repeat(rng.normal(size=12), 5)
    data["rich"] = np.repeat(rng.normal(size=4), 15)
    data["y"] = rng.normal(size=60)
    return data


def _sleep():
    data = _load("sleepstudy")
    return data.assign(w=1.0 + np.arange(180) % 3, known=np.arange(180) % 5 / 2.0, v=1.0 + np.arange(180) % 4)


def _K():
    levels = _sleep()["Subject"].unique()
    A = np.random.default_rng(2).normal(size=(len(levels), 30))
    return pd.DataFrame(A @ A.T / 30, index=levels, columns=levels)


def _made(formula, data, **options):
    return ranef.Model(formula, data, **options), data


SLOPES = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"

FORMULAS = {
    "pulp": ("bright ~ 1 + (1 | operator)", "pulp"),
    "slopes": (SLOPES, "sleepstudy"),
    "zerocorr": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "dummies": ("score ~ Machine + (Machine | Worker)", "Machines"),
    "diag": ("score ~ 0 + Machine + diag(Machine | Worker)", "Machines"),
    "ident": ("score ~ Machine + ident(0 + Machine | Worker)", "Machines"),
    "cs": ("score ~ Machine + cs(0 + Machine | Worker)", "Machines"),
    "homcs": ("score ~ Machine + (1 | Worker) + homcs(0 + Machine | Worker)", "Machines"),
    "ar1": ("score ~ Machine + ar1(0 + Machine | Worker)", "Machines"),
    "hetar1": ("score ~ Machine + hetar1(0 + Machine | Worker)", "Machines"),
    "toep": ("score ~ Machine + toep(0 + Machine | Worker)", "Machines"),
    "blocks": ("score ~ Machine + (Machine || Worker)", "Machines"),
    "several terms": ("score ~ Machine + (1 | Worker) + (0 + Machine | Worker)", "Machines"),
    "interaction of factors": ("score ~ 1 + (1 | Worker) + (1 | Worker:Machine)", "Machines"),
    "contrasts": ("score ~ C(Machine, Sum) + (1 | Worker)", "Machines"),
    "no intercept": ("Reaction ~ 0 + Days + (1 | Subject)", "sleepstudy"),
    "no fixed": ("Reaction ~ 0 + (Days | Subject)", "sleepstudy"),
    "no random": ("Reaction ~ Days", "sleepstudy"),
    "slopes alone": ("Reaction ~ Days + (0 + Days | Subject)", "sleepstudy"),
    "functions": ("log(Reaction) ~ I((Days - 4.5)^2) + sqrt(Days) + bs(Days, df = 4) + (1 | Subject)", "sleepstudy"),
}

MADE = {
    "ordered": lambda: _made("angle ~ recipe * temperature + (1 | recipe:replicate)", _cake()),
    "large": lambda: _made("angle ~ recipe + (0 + temperature | replicate)", _cake()),
    "cross-level": lambda: _made("mAch ~ cses * meanses + cses * sector + (cses | school)", _schools()),
    "three levels": lambda: _made("y ~ x * size + x * rich + size * rich + (x | school/class)", _three_levels()),
    "three levels of some": lambda: _made("y ~ x * rich + (1 | school/class) + (0 + x | school)", _three_levels()),
    "crossed slopes": lambda: _made("y ~ x + (x | school) + (x | class)", _three_levels()),
    "weights": lambda: _made(INTERCEPTS, _sleep(), weights="w", offset="known"),
    "known sigma": lambda: _made(INTERCEPTS, _sleep(), weights="w", sigma=1.5),
    "related": lambda: _made(SLOPES, _sleep(), cov={"Subject": _K()}),
    "related intercepts": lambda: _made(INTERCEPTS, _sleep(), cov={"Subject": _K()}),
    "VarIdent": lambda: _made("score ~ Machine + (1 | Worker)", _load("Machines"), variance=ranef.VarIdent("Machine")),
    "VarIdent of many": lambda: _made("Reaction ~ Days + (1 | Subject)", _sleep(), variance=ranef.VarIdent("Subject")),
    "VarPower": lambda: _made(INTERCEPTS, _sleep(), variance=ranef.VarPower("v")),
    "VarPower of fitted": lambda: _made(INTERCEPTS, _sleep(), variance=ranef.VarPower()),
    "VarExp": lambda: _made(INTERCEPTS, _sleep(), variance=ranef.VarExp("Days"), weights="w"),
    "VarConstPower": lambda: _made(INTERCEPTS, _sleep(), variance=ranef.VarConstPower("Days")),
    "VarFixed": lambda: _made(INTERCEPTS, _sleep(), variance=ranef.VarFixed("v")),
    "product of variances": lambda: _made(
        INTERCEPTS, _sleep(), variance=ranef.VarIdent("known") * ranef.VarPower("v") * ranef.VarExp("Days")
    ),
    "AR1": lambda: _made(INTERCEPTS, _sleep(), correlation=ranef.AR1("Days", group="Subject")),
    "AR1 in order": lambda: _made(
        INTERCEPTS, _sleep(), correlation=ranef.AR1(group="Subject"), variance=ranef.VarExp("Days"), weights="w"
    ),
    "CAR1": lambda: _made("Reaction ~ Days", _sleep(), correlation=ranef.CAR1("Days", group="Subject")),
    "CompSymm": lambda: _made("Reaction ~ Days", _sleep(), correlation=ranef.CompSymm(group="Subject")),
    "ARMA": lambda: _made(INTERCEPTS, _sleep(), correlation=ranef.ARMA(1, 2, "Days", group="Subject")),
    "Symm": lambda: _made("distance ~ age * Sex", _load("Orthodont"), correlation=ranef.Symm("age", group="Subject")),
    "Exponential": lambda: _made(
        INTERCEPTS, _sleep(), correlation=ranef.Exponential("Days", group="Subject", nugget=True)
    ),
    "Gaussian": lambda: _made(INTERCEPTS, _sleep(), correlation=ranef.Gaussian("Days", group="Subject")),
    "Spherical": lambda: _made(
        INTERCEPTS, _sleep(), correlation=ranef.Spherical(["Days", "v"], group="Subject", nugget=True)
    ),
}

COUNTED = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
TICKS = "TICKS ~ YEAR + cHEIGHT + (1 | INDEX) + (1 | BROOD) + (1 | LOCATION)"


def _shares():
    data = _load("cbpp")
    return data.assign(share=data["incidence"] / data["size"], some=1 * (data["incidence"] > 1), z=data["size"] / 10)


def _ticks(n=12):
    data = _load("grouseticks")
    return data[data["LOCATION"].isin(data["LOCATION"].unique()[:n])].reset_index(drop=True)


def _times(least=3):
    data = _sleep()
    slow = (data["Reaction"] // 60).astype(int).clip(least, 6)
    return data.assign(time=data["Reaction"] / 1000, slow=slow)


def _near(data):
    levels = data["LOCATION"].unique()
    apart = np.abs(np.subtract.outer(np.arange(len(levels)), np.arange(len(levels))))
    return pd.DataFrame(0.6**apart, index=levels, columns=levels)


#: generalised responses
LINKED = {
    "logit": lambda: _made(COUNTED, _shares(), family="binomial"),
    "probit": lambda: _made(COUNTED, _shares(), family="binomial", link="probit"),
    "cloglog": lambda: _made(COUNTED, _shares(), family="binomial", link="cloglog"),
    "shares": lambda: _made("share ~ z + (z || herd)", _shares(), family="binomial", weights="size"),
    "zeros and ones": lambda: _made("some ~ period + offset(z) + (1 | herd)", _shares(), family="binomial"),
    "nested counts": lambda: _made(TICKS, _ticks(), family="poisson"),
    "weighted counts": lambda: _made("TICKS ~ YEAR + (1 | BROOD)", _ticks(), family="poisson", weights="HEIGHT"),
    "size": lambda: _made("TICKS ~ cHEIGHT + (cHEIGHT | LOCATION)", _ticks(), family="negative binomial"),
    "times": lambda: _made(SLOPES, _sleep(), family="gamma", offset="known"),
    "weighted times": lambda: _made(INTERCEPTS, _sleep(), family="gamma", link="inverse", weights="w"),
    "passages": lambda: _made("time ~ Days + (1 | Subject)", _times(), family="inverse gaussian"),
    "linear variance": lambda: _made("TICKS ~ YEAR + (1 | BROOD)", _ticks(), family="negative binomial 1"),
    "roots": lambda: _made("TICKS ~ YEAR + (1 | BROOD)", _ticks(), family="poisson", link="sqrt"),
    "fractions": lambda: _made("Reaction / 500 ~ Days + (Days | Subject)", _sleep(), family="beta", link="loglog"),
    "cauchit": lambda: _made(COUNTED, _shares(), family="binomial", link="cauchit"),
    "growth": lambda: _made(INTERCEPTS, _sleep(), family="gaussian", link="log", weights="w"),
    "tails": lambda: _made(SLOPES, _sleep(), family="t"),
    "classes": lambda: _made("slow ~ Days + (Days | Subject)", _times(), family="ordinal"),
    "few classes": lambda: _made("slow ~ Days + (1 | Subject)", _times(4), family="ordinal", link="cloglog"),
    "groups of counts": lambda: _made("TICKS ~ YEAR + cs(0 + YEAR | LOCATION)", _ticks(), family="poisson"),
    "related counts": lambda: _made(
        "TICKS ~ 1 + (1 | LOCATION)", _ticks(), family="poisson", cov={"LOCATION": _near(_ticks())}
    ),
}

MADE |= {name: (lambda f=f, d=d: _made(f, _load(d))) for name, (f, d) in FORMULAS.items()}


@cache
def model(name):
    return (MADE | LINKED)[name]()[0]


@cache
def data(name):
    return (MADE | LINKED)[name]()[1]


@cache
def equation(name, style):
    return model_equation(model(name).spec, style=style)
