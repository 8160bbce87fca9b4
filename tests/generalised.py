"""Generalised models as tests build them, and the dense truth that they are held against, by numpy and scipy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy

import ranef
from _ranef.likelihood import Laplace, LaplaceAt, fit_pilot, make_laplace
from _ranef.spec import GENERALISED, Generalised, ModelSpec, Rows, response_family
from registry import FOLDER

GLMER = ["cbpp_laplace", "cbpp_olre", "grouseticks", "guimmun", "bin_slope", "verbagg"]
TMB = ["grouseticks_nb2", "grouseticks_pois_tmb"]

#: families with a model of each
MODELS = {
    "logit": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial", None),
    "probit": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial", "probit"),
    "cloglog": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial", "cloglog"),
    "nested": ("grouseticks", "TICKS ~ YEAR + cHEIGHT + (1 | INDEX) + (1 | BROOD) + (1 | LOCATION)", "poisson", None),
    "size": ("grouseticks", "TICKS ~ YEAR + (1 + cHEIGHT | BROOD)", "negative binomial", None),
    "sizes": ("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", "negative binomial", None),
    "times": ("sleepstudy", "Reaction ~ Days + (1 | Subject)", "gamma", None),
    "slope": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", "gamma", None),
    "linear": ("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", "negative binomial 1", None),
    "roots": ("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", "negative binomial 1", "sqrt"),
    "cauchit": ("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial", "cauchit"),
    "shares": ("sleepstudy", "Reaction / 500 ~ Days + (Days | Subject)", "beta", None),
    "inverse": ("sleepstudy", "Reaction / 1000 ~ Days + (1 | Subject)", "inverse gaussian", None),
    "wald": ("sleepstudy", "Reaction / 1000 ~ Days + (1 | Subject)", "inverse gaussian", "log"),
    "rates": ("sleepstudy", "Reaction / 1000 ~ Days + (1 | Subject)", "gamma", "inverse"),
    "growth": ("sleepstudy", "Reaction ~ Days + (1 | Subject)", "gaussian", "log"),
    "tails": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", "t", None),
    "classes": ("sleepstudy", "I(Reaction > 250) + I(Reaction > 300) ~ Days + (1 | Subject)", "ordinal", None),
    "crossed": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "gamma", None),
}


@cache
def reference(case: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{case}.json").read_text())


def data_of(case: str) -> pd.DataFrame:
    data = ranef.datasets.load(reference(case)["dataset"])
    return data.assign(obs=[str(i + 1) for i in range(len(data))]) if "olre" in case else data


@cache
def fitted(case: str) -> ranef.GeneralisedFit:
    ref = reference(case)
    if ref["kind"] == "glmer":
        return ranef.Model(ref["formula"], data_of(case), family=ref["family"]).fit(nagq=ref.get("nAGQ", 1))
    formula = ref["call"].removeprefix("glmmTMB::glmmTMB(").split(", family")[0]
    family = "negative binomial" if "nbinom2" in ref["call"] else "poisson"
    return ranef.Model(formula, data_of(case), family=family).fit()


@cache
def spec_of(name: str) -> ModelSpec:
    return _model_of(name).spec


def _model_of(name: str) -> ranef.Model:
    dataset, formula, family, link = MODELS[name]
    return ranef.Model(formula, ranef.datasets.load(dataset), family=family, link=link)


@cache
def linked_fit(name: str) -> ranef.GeneralisedFit:
    return _model_of(name).fit()


@cache
def laplace_of(name: str) -> Laplace:
    return make_laplace(spec_of(name), fit_pilot(spec_of(name), spec_of(name).family))


def somewhere(model: Laplace, seed: int = 0, size: float = 0.5) -> np.ndarray:
    """Parameters x = (θ | β | log dispersions) near the pilot."""
    spec, rng = model.spec, np.random.default_rng(seed)
    pilot = fit_pilot(spec, model.family)
    theta = size * np.concatenate([t.structure.closest(np.eye(t.structure.size)) for t in spec.terms])
    beta = model.inward(pilot.beta) + 0.05 * rng.normal(size=spec.n_fixed)
    return np.concatenate([theta + 0.1 * rng.normal(size=len(theta)), beta, np.log(np.array(pilot.own))])


def there(model: Laplace, x: np.ndarray) -> LaplaceAt:
    n, p = model.spec.n_theta, model.spec.n_fixed
    return model.at(model.spec.lambdas(x[:n]), x[n : n + p], x[n + p :])


def gradient(model: Laplace, x: np.ndarray) -> np.ndarray:
    at = there(model, x)
    theta = model.spec.pull_back(x[: model.spec.n_theta], at.gradient)
    return np.concatenate([theta, at.first_order.beta, at.first_order.logs])


def dense_rows(spec: ModelSpec, theta: np.ndarray) -> np.ndarray:
    """ZΛ (n, q), whole, of θ for the columns as written."""
    blocks = []
    for g, lam in zip(spec.groupings, spec.lambdas(theta), strict=True):
        wide = np.zeros((spec.n_obs, g.n_levels, len(g.columns)))
        wide[np.arange(spec.n_obs), g.codes] = g.Z @ lam
        wide = wide if g.among is None else np.einsum("njp,jk->nkp", wide, g.among.dense_root)
        blocks.append(wide.reshape(spec.n_obs, -1))
    return np.hstack(blocks)


#: dispersions of families by their names
OWN = {"gap2": 0.7, "gap3": 1.9, "size": 1.7, "dispersion": 0.4, "precision": 6.0, "scale": 1.3, "nu": 4.0}


def responses(word: str, rng: np.random.Generator, n: int) -> Rows:
    """A response that a family may have."""
    if word == "binomial":
        trials = rng.integers(1, 9, n).astype(float)
        return Rows(rng.binomial(trials.astype(int), 0.4) / trials, trials)
    draw = {
        "beta": lambda: rng.beta(2.0, 3.0, n),
        "gamma": lambda: rng.gamma(2.0, 1.0, n),
        "inverse gaussian": lambda: rng.gamma(2.0, 1.0, n),
        "gaussian": lambda: rng.normal(1.0, 2.0, n),
        "t": lambda: rng.normal(1.0, 2.0, n),
        "ordinal": lambda: rng.integers(0, 4, n).astype(float),
    }.get(word, lambda: rng.poisson(3.0, n).astype(float))
    return Rows(draw(), rng.uniform(0.5, 2.0, n))


def predictors(family: Generalised, rng: np.random.Generator, n: int) -> np.ndarray:
    """η at which the family has means."""
    eta = np.clip(rng.standard_normal(n), -1.5, 1.5)
    anywhere = family.linking.endless or (family.link == "identity" and family.lower < 0)
    return (0.4 if family.classes else 1.0) * eta if anywhere else np.abs(eta) + 0.3


INVERSES = {
    "identity": lambda e: e,
    "log": np.exp,
    "sqrt": lambda e: e**2,
    "inverse": lambda e: 1.0 / e,
    "1/mu^2": lambda e: 1.0 / np.sqrt(e),
    "logit": scipy.special.expit,
    "probit": scipy.stats.norm.cdf,
    "cloglog": lambda e: -np.expm1(-np.exp(e)),
    "loglog": lambda e: np.exp(-np.exp(-e)),
    "cauchit": scipy.stats.cauchy.cdf,
}

#: log densities by scipy.stats, of the response, prior weights, means and dispersions
DENSITIES = {
    "binomial": lambda y, w, m, o: scipy.stats.binom.logpmf(np.round(y * w), np.round(w), m),
    "poisson": lambda y, w, m, o: w * scipy.stats.poisson.logpmf(y, m),
    "negative binomial": lambda y, w, m, o: w * scipy.stats.nbinom.logpmf(y, o["size"], o["size"] / (o["size"] + m)),
    "negative binomial 1": lambda y, w, m, o: (
        w * scipy.stats.nbinom.logpmf(y, m / o["dispersion"], 1.0 / (1.0 + o["dispersion"]))
    ),
    "gamma": lambda y, w, m, o: scipy.stats.gamma.logpdf(y, w / o["dispersion"], scale=m * o["dispersion"] / w),
    "inverse gaussian": lambda y, w, m, o: scipy.stats.invgauss.logpdf(
        y, m * o["dispersion"] / w, scale=w / o["dispersion"]
    ),
    "beta": lambda y, w, m, o: w * scipy.stats.beta.logpdf(y, m * o["precision"], (1.0 - m) * o["precision"]),
    "gaussian": lambda y, w, m, o: scipy.stats.norm.logpdf(y, m, o["scale"] / np.sqrt(w)),
    "t": lambda y, w, m, o: scipy.stats.t.logpdf(y, o["nu"], m, o["scale"] / np.sqrt(w)),
}


def log_density(spec: ModelSpec, eta: np.ndarray, own: Mapping[str, float] | None) -> np.ndarray:
    """Of rows, by scipy.stats."""
    y = spec.design.y
    w = np.ones_like(y) if spec.design.weights is None else spec.design.weights
    return density(spec.family.word, spec.family.link, Rows(y, w), eta, own or {})


def density(word: str, link: str, rows: Rows, eta: np.ndarray, own: Mapping[str, float]) -> np.ndarray:
    """Of a family, by scipy.stats; of classes by their definition."""
    inverse = INVERSES[link]
    if word != "ordinal":
        return DENSITIES[word](rows.y, rows.weights, inverse(eta), own)
    alphas = np.concatenate([[-np.inf, 0.0], np.cumsum(list(own.values())), [np.inf]])
    k = rows.y.astype(int)
    return rows.weights * np.log(inverse(alphas[k + 1] - eta) - inverse(alphas[k] - eta))


def family_of(word: str, link: str | None = None) -> Generalised:
    """A family, of four classes where it has such."""
    if word == "ordinal":
        return response_family(word, link or "logit", tuple("abcd"))
    return GENERALISED[word]() if link is None else GENERALISED[word](link)


def dense_laplace(
    spec: ModelSpec, theta: np.ndarray, beta: np.ndarray, own: Mapping[str, float] | None = None
) -> float:
    """−2 log L by Laplace's method on dense matrices: the mode by BFGS and Newton, derivatives by differences."""
    ZL, fixed = dense_rows(spec, theta), spec.design.X @ beta
    h = 1e-4

    def slopes(eta):
        low, mid, high = (log_density(spec, eta + step, own) for step in (-h, 0.0, h))
        return mid.sum(), (high - low) / (2 * h), -(high - 2 * mid + low) / h**2

    u = np.zeros(ZL.shape[1])
    for _ in range(200):
        value, first, curvature = slopes(fixed + ZL @ u)
        H = np.eye(len(u)) + (ZL * curvature[:, None]).T @ ZL
        step, t = np.linalg.solve(H, ZL.T @ first - u), 1.0
        while slopes(fixed + ZL @ (u + t * step))[0] - 0.5 * (u + t * step) @ (u + t * step) < value - 0.5 * u @ u:
            t /= 2
            if t < 1e-10:
                break
        u = u + t * step
        if np.abs(step).max() < 1e-9:
            break
    value, _, curvature = slopes(fixed + ZL @ u)
    H = np.eye(len(u)) + (ZL * curvature[:, None]).T @ ZL
    return -2.0 * (value - 0.5 * u @ u) + np.linalg.slogdet(H)[1]


def integrated(spec: ModelSpec, theta: np.ndarray, beta: np.ndarray, own: Mapping[str, float] | None = None) -> float:
    """−2 log L of a model of one factor with one effect, by numerical integration on a fine grid of every level."""
    (g,) = spec.groupings
    u = np.linspace(-8.0, 8.0, 801)
    fixed, scale = spec.design.X @ beta, spec.lambdas(theta)[0][0, 0]
    rows = np.stack([log_density(spec, fixed + g.Z[:, 0] * scale * x, own) for x in u], axis=1)
    total = np.zeros((g.n_levels, len(u)))
    np.add.at(total, g.codes, rows)
    total += scipy.stats.norm.logpdf(u) + np.log(u[1] - u[0])
    return -2.0 * float(scipy.special.logsumexp(total, axis=1).sum())


def integrated_twice(
    spec: ModelSpec, theta: np.ndarray, beta: np.ndarray, own: Mapping[str, float] | None = None
) -> float:
    """The same of one factor with two effects, on a grid of two dimensions."""
    (g,) = spec.groupings
    axis = np.linspace(-7.0, 7.0, 71)
    u = np.array([[a, b] for a in axis for b in axis])
    rows, fixed = g.Z @ spec.lambdas(theta)[0], spec.design.X @ beta
    out = 0.0
    for j in range(g.n_levels):
        of = np.flatnonzero(g.codes == j)
        part = replace(spec, design=replace(spec.design, y=spec.design.y[of][:, None]))
        total = log_density(part, fixed[of][:, None] + rows[of] @ u.T, own).sum(axis=0)
        total += scipy.stats.norm.logpdf(u).sum(axis=1) + 2 * np.log(axis[1] - axis[0])
        out -= 2.0 * float(scipy.special.logsumexp(total))
    return out
