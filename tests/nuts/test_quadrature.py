"""Draws against the tabulated posterior: means, sds and quantiles to Monte-Carlo error."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

import ranef
from _ranef.spec import inward_theta
from nuts import quadrature
from ranef.priors import LKJ, Flat, HalfCauchy, HalfNormal, HalfStudentT, Normal, StudentT

#: some 400 comparisons are made: the largest of so many standard normals exceeds this once in 300 runs
LIMIT = 4.5


@dataclass(frozen=True)
class Case:
    """A model, its columns in dense form, and coordinates (log sd, atanh ρ, log σ) near the mode."""

    formula: str
    data: str
    start: list[float]
    terms: tuple[tuple[str, tuple[str | None, ...]], ...]  #: grouping column, and random columns (None: intercept)
    fixed: tuple[str, ...] = ()
    priors: dict[str, object] = field(default_factory=dict)
    weights: str | None = None
    sigma: float | None = None


CASES = {
    "dyestuff": Case("Yield ~ 1 + (1 | Batch)", "Dyestuff", [3.7, 3.9], (("Batch", (None,)),)),
    "boundary": Case("Yield ~ 1 + (1 | Batch)", "Dyestuff2", [0.0, 1.3], (("Batch", (None,)),)),
    "other priors": Case(
        "bright ~ 1 + (1 | operator)",
        "pulp",
        [-1.3, -1.1],
        (("operator", (None,)),),
        priors={"Intercept": Flat(), "sd": HalfNormal(0.3), "sigma": HalfStudentT(2.0, 0.1)},
    ),
    "known sigma": Case(
        "effect ~ 1 + (1 | school)",
        "schools",
        [1.5],
        (("school", (None,)),),
        priors={"Intercept": Normal(0.0, 5.0), "sd": HalfStudentT(1.0, 5.0)},
        weights="w",
        sigma=1.0,
    ),
    "weights": Case(
        "Reaction ~ Days + (1 | Subject)",
        "sleepstudy",
        [3.6, 3.6],
        (("Subject", (None,)),),
        fixed=("Days",),
        weights="w",
    ),
    "two sds": Case(
        "Reaction ~ Days + (Days || Subject)",
        "sleepstudy",
        [3.2, 1.8, 3.2],
        (("Subject", (None,)), ("Subject", ("Days",))),
        fixed=("Days",),
    ),
    "correlation": Case(
        "Reaction ~ Days + (Days | Subject)",
        "sleepstudy",
        [3.2, 1.8, 0.1],
        (("Subject", (None, "Days")),),
        fixed=("Days",),
        priors={"corr": LKJ(2.0), "Days": Flat()},
        sigma=25.0,
    ),
    "crossed": Case(
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        "Penicillin",
        [-0.2, 0.7, -0.6],
        (("plate", (None,)), ("sample", (None,))),
    ),
}


def eight_schools():
    """Rubin (1981): effects of coaching and their standard errors."""
    effects, se = [28, 8, -3, 7, -1, 1, 18, 12], np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    return pd.DataFrame({"effect": np.array(effects, dtype=float), "w": 1 / se**2, "school": list("ABCDEFGH")})


def frame_of(case):
    if case.data == "schools":
        return eight_schools()
    frame = ranef.datasets.load(case.data)
    return frame.assign(w=0.5 + np.arange(len(frame)) % 3)


def model_of(case):
    return ranef.Model(case.formula, frame_of(case), weights=case.weights, sigma=case.sigma)


def scale_of(prior):
    return ("normal", 0.0, prior.scale) if isinstance(prior, HalfNormal) else ("t", prior.df, prior.scale)


def indicators(frame, group, columns):
    """Row i's random columns in the place of its level, levels sorted (n, J, p)."""
    levels = sorted(frame[group].astype(str).unique())
    at = (frame[group].astype(str).to_numpy()[:, None] == np.array(levels)).astype(float)
    Z = np.column_stack([np.ones(len(frame)) if c is None else frame[c].to_numpy(dtype=float) for c in columns])
    return at[:, :, None] * Z[:, None, :]


def oracle_of(case, model):
    """Numbers of priors, and the coordinates in which they stand, are read from the model; the rest from the frame."""
    frame, priors = frame_of(case), model.priors(case.priors)
    X = np.column_stack([np.ones(len(frame)), *(frame[c] for c in case.fixed)])
    at_means = np.eye(X.shape[1])
    at_means[0, 1:] = X[:, 1:].mean(axis=0)
    fixef = [priors.fixef[name] for name in ("Intercept", *case.fixed)]
    return quadrature.Oracle(
        y=frame[case.formula.split(" ~ ")[0]].to_numpy(dtype=float),
        X=X,
        weights=np.ones(len(frame)) if case.weights is None else frame[case.weights].to_numpy(dtype=float),
        blocks=tuple(
            indicators(frame, group, columns) @ priors.term(t).outward
            for (group, columns), t in zip(case.terms, model.spec.terms, strict=True)
        ),
        at_means=at_means,
        loc=np.array([getattr(p, "loc", 0.0) for p in fixef]),
        scale=np.array([getattr(p, "scale", np.inf) for p in fixef]),
        sd_priors=tuple(scale_of(priors.sd[g, c or "Intercept"]) for g, columns in case.terms for c in columns),
        sigma_prior=scale_of(priors.sigma) if case.sigma is None else case.sigma,
        eta=next((p.eta for p in priors.corr.values()), 1.0),
    )


def sampled(case, model, fit):
    """Draws by name of the grid's coordinates, those of the priors, and of (β, b) in the oracle's order."""
    d, out, effects = fit.draws, {"sigma": np.log(fit.draws.sigma)}, [fit.draws.beta]
    for t, (term, (group, columns)) in enumerate(zip(model.spec.terms, case.terms, strict=True)):
        assert (term.group, len(term.columns)) == (group, len(columns))
        theta = inward_theta(model.spec, d.priors.columns, d.theta)[..., term.theta]
        lengths = (
            [np.abs(theta[..., 0])] if len(columns) == 1 else [theta[..., 0], np.hypot(theta[..., 1], theta[..., 2])]
        )
        out |= {f"sd{t}{i}": np.log(v * d.sigma) for i, v in enumerate(lengths)}
        if len(columns) == 2:
            out[f"cor{t}"] = np.arctanh(theta[..., 1] / lengths[1])
        b = d.b[term.grouping][..., term.where] @ np.linalg.inv(d.priors.term(term).outward).T
        effects.append(b.reshape(*b.shape[:2], -1))
    return out, np.concatenate(effects, axis=-1)


def z_score(values, expected):
    """Distance of the mean of (chains, draws) from its expectation in Monte-Carlo standard errors."""
    ess = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
    return abs(values.mean() - expected) / (values.std() / np.sqrt(ess))


def check(draws, exact, what):
    """Mean, sd and three quantiles; a quantile by the share of draws below it."""
    scores = {"mean": z_score(draws, exact.mean), "sd": z_score((draws - exact.mean) ** 2, exact.sd**2)}
    for p in (0.025, 0.5, 0.975):
        scores[f"{p:.1%}"] = z_score((draws <= exact.quantile(p)).astype(float), p)
    assert max(scores.values()) < LIMIT, (what, scores)


@cache
def tabulated(name):
    """The posterior of a case, for all samplers."""
    return quadrature.tabulate(oracle_of(CASES[name], model_of(CASES[name])), CASES[name].start)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        pytest.param(c, s, marks=pytest.mark.slow if s == "numpyro" else [])
        for c in CASES
        for s in ("numpyro", "nutpie", "direct")
    ],
)
def test_draws_have_the_moments_and_quantiles_of_the_tabulated_posterior(name, sampler):
    """Of log σ, log sds, atanh ρ, all coefficients, and effects of the first and last level of each term."""
    case = CASES[name]
    model = model_of(case)
    exact = tabulated(name)
    fit = model.sample(draws=1500, seed=21, priors=case.priors, progress=False, sampler=sampler)
    hyper, effects = sampled(case, model, fit)
    for coordinate in exact.oracle.names:
        check(hyper[coordinate], exact.coordinate(coordinate), coordinate)
    p, sizes = exact.oracle.X.shape[1], [Z[0].size for Z in exact.oracle.blocks]
    ends = p + np.cumsum([0, *sizes])
    for i in {*range(p), *ends[:-1], *(ends[1:] - 1)}:
        check(effects[..., i], exact.effect(i), f"entry {i} of β and b")


@pytest.mark.parametrize(("name", "finer"), [("boundary", 61), ("known sigma", 81)])
def test_a_finer_grid_changes_nothing(name, finer):
    """To a hundredth of the Monte-Carlo error of the comparisons above."""
    case = CASES[name]
    oracle = oracle_of(case, model_of(case))
    coarse, fine = (quadrature.tabulate(oracle, case.start, points) for points in (31, finer))
    for one, other in zip(*([g.coordinate("sd00"), g.effect(0), g.effect(1)] for g in (coarse, fine)), strict=True):
        assert abs(one.mean - other.mean) < 1e-4 * one.sd
        assert one.sd == pytest.approx(other.sd, rel=1e-4)
        for p in (0.025, 0.5, 0.975):
            assert abs(one.quantile(p) - other.quantile(p)) < 1e-3 * one.sd


@pytest.mark.parametrize(
    "parameterization", ["marginal", *(pytest.param(p, marks=pytest.mark.slow) for p in ("noncentered", "centered"))]
)
def test_eight_schools_with_a_half_cauchy_prior(parameterization):
    """E τ = 3.60 and E μ = 4.40 under μ ~ N(0, 5) and τ ~ half-Cauchy(5); the grid has 3.598 and 4.397."""
    case = CASES["known sigma"]
    # the funnel at τ = 0, through which the centred model gets by small steps alone
    options = {"centered": {"target_accept": 0.99}, "noncentered": {"target_accept": 0.95}}
    options = {"draws": 4000} | options.get(parameterization, {})
    fit = model_of(case).sample(
        seed=31,
        priors={"Intercept": Normal(0.0, 5.0), "sd": HalfCauchy(5.0)},
        parameterization=parameterization,
        progress=False,
        **options,
    )
    tau, mu = fit.draws.theta[..., 0], fit.draws.beta[..., 0]  # σ is one
    assert (fit.draws.sigma == 1.0).all()
    for draws, expected in ((tau, 3.60), (mu, 4.40)):
        ess = array_stats.ess(draws, chain_axis=0, draw_axis=1, method="mean")
        rounding = 0.005
        assert abs(draws.mean() - expected) < LIMIT * draws.std() / np.sqrt(ess) + rounding


def test_the_tabulated_eight_schools_are_those_of_the_literature():
    case = CASES["known sigma"]
    exact = quadrature.tabulate(oracle_of(case, model_of(case)), case.start)
    assert exact.effect(0).mean == pytest.approx(4.40, abs=0.005)  # two digits are known
    assert exact.expectation(lambda at: at["sd00"]) == pytest.approx(3.60, abs=0.005)


@pytest.mark.slow
def test_sleepstudy_is_as_brms_has_it_under_its_default_priors():
    """student_t(3, 288.7, 59.3) of the centred intercept, student_t(3, 0, 59.3) of sds and σ, lkj(1), flat slope.

    brms prints two digits of 4000 draws: Monte-Carlo error and rounding of both stand behind the tolerances, some three
    standard errors of each.
    """
    model = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))
    half = HalfStudentT(3.0, 59.3)
    priors = {"Intercept": StudentT(3.0, 288.7, 59.3), "Days": Flat(), "sd": half, "sigma": half, "corr": LKJ(1.0)}
    fit = model.sample(draws=2000, seed=41, priors=priors, progress=False)
    estimates = fit.varcorr["sdcor"].to_numpy()
    sd_intercept, sd_days, sigma = (estimates[i] for i in (0, 1, -1))
    correlation = fit.varcorr.set_index("term2").loc["Days", "sdcor"]
    assert fit.fixef["Intercept"] == pytest.approx(251.3, abs=0.5)
    assert fit.fixef["Days"] == pytest.approx(10.4, abs=0.15)
    assert sd_intercept == pytest.approx(26.6, abs=0.6)
    assert sd_days == pytest.approx(6.6, abs=0.15)
    assert correlation == pytest.approx(0.09, abs=0.025)
    assert sigma == pytest.approx(25.9, abs=0.15)
