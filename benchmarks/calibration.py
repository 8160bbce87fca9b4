"""Simulation-based calibration of the posterior, and coverage of intervals for random effects by both engines.

    python benchmarks/calibration.py [--sims 200] [--only sbc|linked|coverage] [--sampler direct|nutpie|marginal]
        [--jobs 2] [--frames FOLDER [--redraw]] [--backend loky|dask|ray]

Calibration (Cook, Gelman & Rubin 2006; Talts et al. 2018): parameters are drawn from their priors, data from the model,
and the posterior is sampled under the same priors. The rank of every true value among thinned draws is uniform if and
only if density, sampler and the exact draws of β and b are right together. Saves ``sbc.png``, and ``sbc-linked.png`` of
generalised responses.

Coverage: true β, σ and Σ are fixed, random effects and responses drawn anew in every simulation, and 95% intervals of
all random effects counted by number of groups. Saves ``coverage.png``.

Every shape is compiled once; simulations of one design share it.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import parallel_config
from scipy import stats

import ranef
from _ranef.spec import mean_log_sds, rho_prior_draws
from _ranef.support.parallel import finished
from ranef import priors as pr

HERE = Path(__file__).parent

#: ranks are counted among this many draws, of which one in ten is taken so that they are nearly independent
RANKED, THIN, CHAINS = 99, 10, 4
SAMPLING = {"chains": CHAINS, "progress": False}

#: trials of a row of a binomial study
TRIALS = 5

#: true values of the coverage study: residual sd 1, sds of the random effects, correlation, observations a group
SD_INTERCEPT, SD_SLOPE, CORRELATION, ROWS = 0.5, 0.7, 0.3, 8
GROUPS = (4, 6, 10, 20, 50)
Z95 = float(stats.norm.ppf(0.975))


# -- simulation-based calibration --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """One model to calibrate: its formula, columns besides the response, and proper priors of every parameter.

    Parameters of its residual variance or correlation have their default priors, which are proper.
    """

    formula: str
    columns: Callable[[], pd.DataFrame]
    priors: dict[str, object]
    residuals: dict[str, object] = field(default_factory=dict)
    family: str = "gaussian"

    @property
    def linked(self) -> bool:
        """Whether the response is generalised."""
        return self.family != "gaussian"

    def model(self, frame: pd.DataFrame, y: np.ndarray) -> ranef.Model:
        """The model of a response."""
        own = {"y": y, "no": TRIALS - y} if self.family == "binomial" else {"y": y}
        return ranef.Model(self.formula, frame.assign(**own), family=self.family, **self.residuals)

    def anything(self, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """A response that it can have."""
        return rng.integers(0, TRIALS, len(frame)) if self.linked else rng.normal(size=len(frame))


def uneven_groups() -> pd.DataFrame:
    """Eight groups of 2 to 9 rows; x is not centred, for the prior of the intercept is at the mean of x."""
    g = np.repeat(np.arange(8), np.arange(2, 10))
    x = np.random.default_rng(11).normal(1.5, 1.0, g.size)
    return pd.DataFrame({"x": x, "g": [f"g{j}" for j in g]})


def slope_groups() -> pd.DataFrame:
    """Ten groups of six rows."""
    g = np.repeat(np.arange(10), 6)
    x = np.random.default_rng(12).normal(1.0, 1.0, g.size)
    return pd.DataFrame({"x": x, "g": [f"g{j}" for j in g]})


def crossed_groups() -> pd.DataFrame:
    """Eight groups crossed with five, one row a cell and a fifth of them missing."""
    g, h = (v.ravel() for v in np.meshgrid(np.arange(8), np.arange(5), indexing="ij"))
    kept = np.random.default_rng(13).permutation(40)[:32]
    return pd.DataFrame({"g": [f"g{j}" for j in g], "h": [f"h{j}" for j in h]}).iloc[np.sort(kept)]


def strata_and_times() -> pd.DataFrame:
    """Ten groups of two to seven rows at whole times, some left out, in three strata of unequal sizes."""
    rng, g = np.random.default_rng(14), np.repeat(np.arange(10), np.tile(np.arange(2, 8), 2)[:10])
    t = np.concatenate([np.sort(rng.permutation(9)[:n]) for n in np.bincount(g)])
    s = np.array(list("aabbbc"))[np.arange(g.size) % 6]
    return pd.DataFrame({"x": rng.normal(1.0, 1.0, g.size), "g": [f"g{j}" for j in g], "t": t, "s": s})


STUDIES = {
    "random intercept": Study(
        "y ~ x + (1 | g)",
        uneven_groups,
        {"Intercept": pr.Normal(3.0, 2.0), "x": pr.Normal(-1.0, 1.0)}
        | {"sd": pr.HalfStudentT(4.0, 0.7), "sigma": pr.HalfNormal(1.0)},
    ),
    "correlated slope": Study(
        "y ~ x + (x | g)",
        slope_groups,
        {"Intercept": pr.Normal(0.0, 2.0), "x": pr.Normal(0.5, 1.0), "sigma": pr.HalfStudentT(6.0, 1.0)}
        | {"sd(Intercept | g)": pr.HalfNormal(1.0), "sd(x | g)": pr.HalfNormal(0.5), "corr": pr.LKJ(2.0)},
    ),
    "crossed": Study(
        "y ~ 1 + (1 | g) + (1 | h)",
        crossed_groups,
        {"Intercept": pr.Normal(-2.0, 3.0), "sigma": pr.HalfNormal(1.0)}
        | {"sd(Intercept | g)": pr.HalfNormal(1.0), "sd(Intercept | h)": pr.HalfStudentT(4.0, 0.7)},
    ),
    "strata": Study(
        "y ~ x + (1 | g)",
        strata_and_times,
        {"Intercept": pr.Normal(1.0, 2.0), "x": pr.Normal(-1.0, 1.0)}
        | {"sd": pr.HalfStudentT(4.0, 0.7), "sigma": pr.HalfNormal(1.0)},
        {"variance": ranef.VarIdent("s")},
    ),
    "autoregression": Study(
        "y ~ x + (1 | g)",
        strata_and_times,
        {"Intercept": pr.Normal(1.0, 2.0), "x": pr.Normal(-1.0, 1.0)}
        | {"sd": pr.HalfStudentT(4.0, 0.7), "sigma": pr.HalfNormal(1.0)},
        {"correlation": ranef.AR1("t", group="g")},
    ),
}

#: arguments of `sample` for generalised responses. Draws without a chain are independent where they are accepted, and
#: where they are not (Pareto k̂ above 0.7) nutpie goes on: both are of the posterior, and so is their mixture
LINKED_SAMPLERS: dict[str, dict[str, object]] = {
    "direct": {"sampler": "direct"},
    "nutpie": {"sampler": "nutpie", "chains": 2, "draws": 5 * RANKED // 2 + 1},
    "marginal": {"sampler": "nutpie", "parameterization": "marginal", "chains": 2, "draws": RANKED},
}

#: the same of generalised responses
LINKED = {
    "binomial": Study(
        "cbind(y, no) ~ x + (1 | g)",
        uneven_groups,
        {"Intercept": pr.Normal(-0.5, 1.0), "x": pr.Normal(0.3, 0.5), "sd": pr.HalfNormal(1.0)},
        family="binomial",
    ),
    "poisson": Study(
        "y ~ x + (1 | g)",
        uneven_groups,
        {"Intercept": pr.Normal(0.7, 0.7), "x": pr.Normal(-0.2, 0.3), "sd": pr.HalfNormal(0.7)},
        family="poisson",
    ),
}


def draw_scale(prior: object, rng: np.random.Generator) -> float:
    """A draw from a prior of a standard deviation."""
    if isinstance(prior, pr.HalfNormal):
        return abs(float(rng.normal(0.0, prior.scale)))
    if isinstance(prior, pr.HalfStudentT):
        return abs(float(prior.scale * rng.standard_t(prior.df)))
    raise TypeError(f"no draws from {prior!r}")


def draw_root(priors: pr.Priors, term: object, rng: np.random.Generator) -> tuple[dict[str, float], np.ndarray]:
    """Standard deviations and the correlation of a term of one or two columns, and a root of their covariance."""
    sds = np.array([draw_scale(priors.sd[term.group, column], rng) for column in term.columns])
    values = {f"sd({c} | {term.group})": s for c, s in zip(term.columns, sds, strict=True)}
    if len(sds) == 1:
        return values, np.diag(sds)
    (prior,) = priors.corr.values()
    rho = 2.0 * rng.beta(prior.eta, prior.eta) - 1.0  # LKJ of two columns
    return values | {f"cor({term.group})": rho}, sds[:, None] * np.array([[1.0, 0.0], [rho, np.sqrt(1.0 - rho**2)]])


def draw_truth(model: ranef.Model, priors: pr.Priors, rng: np.random.Generator) -> tuple[dict[str, float], np.ndarray]:
    """All parameters by name and a response, from the priors; the intercept's is at the means of the columns."""
    spec, X = model.spec, model.spec.design.X
    linked = spec.family.word != "gaussian"
    at_means = {name: rng.normal(p.loc, p.scale) for name, p in priors.fixef.items()}
    beta = np.array(list(at_means.values()))
    beta[0] -= X[:, 1:].mean(axis=0) @ beta[1:]
    sigma, noise = 1.0 if linked else draw_scale(priors.sigma, rng), rng.normal(size=spec.n_obs)
    truth = dict(zip(at_means, beta, strict=True))
    if spec.rho_names:  # the prior of σ is that of the geometric mean of the rows
        rho = rho_prior_draws(spec, rng, ())
        spec, sigma = spec.with_rho(rho), sigma / float(np.exp(mean_log_sds(spec, rho)))
        truth |= dict(zip(spec.rho_names, rho, strict=True))
    if not linked:
        truth["sigma"] = sigma
    y = X @ beta + (0.0 if linked else spec.residual.noise(sigma, noise))
    for term in spec.terms:
        values, root = draw_root(priors, term, rng)
        grouping = spec.groupings[term.grouping]
        b = rng.normal(size=(grouping.n_levels, len(root))) @ root.T
        y = y + (grouping.Z * b[grouping.codes]).sum(axis=1)
        truth |= values | effect_names(term, b)
    if linked:
        y = rng.binomial(TRIALS, 1 / (1 + np.exp(-y))) if spec.family.word == "binomial" else rng.poisson(np.exp(y))
    return truth, y


def effect_names(term: object, b: np.ndarray) -> dict[str, np.ndarray]:
    """The effects of the first level, and those of the last where there is but one column; levels second to last."""
    names = {f"b({c} | {term.group} first)": b[..., 0, i] for i, c in enumerate(term.columns)}
    return names if b.shape[-1] > 1 else names | {f"b({term.columns[0]} | {term.group} last)": b[..., -1, 0]}


def named_draws(fit: ranef.PosteriorFit) -> dict[str, np.ndarray]:
    """Draws (chains · draws,) under the names of :func:`draw_truth`."""
    spec, d = fit.spec, fit.draws
    out = {name: d.beta[..., i] for i, name in enumerate(spec.design.fixed_names)} | {"sigma": d.sigma}
    for term in spec.terms:
        theta = d.theta[..., term.theta]
        out[f"sd({term.columns[0]} | {term.group})"] = np.abs(theta[..., 0]) * d.sigma
        if len(term.columns) == 2:
            length = np.hypot(theta[..., 1], theta[..., 2])
            out[f"sd({term.columns[1]} | {term.group})"] = length * d.sigma
            out[f"cor({term.group})"] = theta[..., 1] / length
        out |= effect_names(term, d.b[term.grouping])
    out |= {name: d.extras["rho"][..., k] for k, name in enumerate(spec.rho_names)}
    return {name: v.ravel() for name, v in out.items()}


def rank_once(study: Study, frame: pd.DataFrame, seed: int, sampler: dict[str, object]) -> dict[str, int]:
    """Draw a truth, sample the posterior, and rank the one among the other."""
    rng = np.random.default_rng(seed)
    model = study.model(frame, study.anything(frame, rng))
    truth, y = draw_truth(model, model.priors(study.priors), rng)
    model = study.model(frame, y)
    asked = SAMPLING | {"draws": -(-RANKED * THIN // CHAINS)} | ({} if study.linked else {"warmup": 400}) | sampler
    try:
        fit = model.sample(seed=seed, priors=study.priors, **asked)
    except ranef.FitError:
        if sampler.get("sampler") != "direct":
            raise
        fit = model.sample(seed=seed, priors=study.priors, **asked | LINKED_SAMPLERS["nutpie"])
    named = named_draws(fit)
    thin = fit.draws.sigma.size // RANKED
    return {name: int((named[name][: RANKED * thin : thin] < value).sum()) for name, value in truth.items()}


def calibrate(name: str, sims: int, sampler: dict[str, object] | None = None, first: int = 0) -> pd.DataFrame:
    """Ranks 0 … 99 of every parameter of one study, a row for each simulation from one on."""
    study = {**STUDIES, **LINKED}[name]
    frame = study.columns()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pd.DataFrame([rank_once(study, frame, 1000 + s, sampler or {}) for s in range(first, first + sims)])


def uniformity(ranks: pd.DataFrame) -> pd.DataFrame:
    """P values by parameter: χ² of ten bins, and Kolmogorov-Smirnov, for which ties are broken at random."""
    rng = np.random.default_rng(0)
    rows = {}
    for name, r in ranks.items():
        counts = np.bincount(r // 10, minlength=(RANKED + 1) // 10)
        u = (r + rng.uniform(size=r.size)) / (RANKED + 1)
        rows[name] = {"chi2": stats.chisquare(counts).pvalue, "ks": stats.kstest(u, "uniform").pvalue}
    return pd.DataFrame(rows).T


def draw_ranks(all_ranks: dict[str, pd.DataFrame], path: Path, across: int = 4) -> None:
    """Rank histograms of twenty bins with the band that holds 99% of the bars; two rows for each study."""
    heights = [-(-len(r.columns) // across) for r in all_ranks.values()]
    fig, axes = plt.subplots(sum(heights), across, figsize=(7.2, 1.42 * sum(heights)), sharex=True, sharey=True)
    for ax in axes.ravel():
        ax.set_axis_off()
    starts = np.cumsum([0, *heights[:-1]])
    for (study, ranks), start, height in zip(all_ranks.items(), starts, heights, strict=True):
        own = axes[start : start + height]
        for ax, name in zip(own.ravel(), ranks.columns, strict=False):
            rank_panel(ax, ranks[name], name)
        own[0, 0].set_ylabel(f"{study}\n({len(ranks)} simulations)", fontsize=8)
    fig.supxlabel(
        "rank of the true value among 99 posterior draws; grey: 99% of bars if ranks are uniform", fontsize=8.5
    )
    save(fig, path)


def rank_panel(ax: plt.Axes, ranks: pd.Series, name: str, bins: int = 20) -> None:
    low, high = stats.binom.ppf([0.005, 0.995], ranks.size, 1.0 / bins)
    ax.set_axis_on()
    ax.axhspan(low, high, color="0.88", lw=0)
    ax.axhline(ranks.size / bins, color="0.35", lw=0.8)
    ax.hist(ranks, bins=bins, range=(0, RANKED + 1), color="#3b6ea5", rwidth=0.82)
    ax.set_title(name, fontsize=8, pad=3)
    ax.set_xlim(0, RANKED + 1)
    ax.set_xticks([0, 50, 100])
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)


# -- coverage ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """A balanced design of the coverage study; the last random column is the one whose effects are counted."""

    formula: str
    root: tuple[tuple[float, ...], ...]
    label: str


DESIGNS = {
    "intercepts": Design("y ~ 1 + (1 | g)", ((SD_INTERCEPT,),), f"intercepts, y ~ 1 + (1 | g), sd {SD_INTERCEPT}"),
    "slopes": Design(
        "y ~ x + (x | g)",
        ((SD_INTERCEPT, 0.0), (SD_SLOPE * CORRELATION, SD_SLOPE * float(np.sqrt(1.0 - CORRELATION**2)))),
        f"slopes, y ~ x + (x | g), sds {SD_INTERCEPT} and {SD_SLOPE}",
    ),
}

METHODS = {
    "posterior": "posterior, default priors",
    "corrected": "EB, corrected for β̂ and θ̂",
    "henderson": "EB, corrected for β̂",
    "conditional": "EB, given θ̂ (ranef)",
}


def simulate(design: Design, groups: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Data and the random effects (groups, columns) behind them; β = 0 and σ = 1."""
    root = np.array(design.root)
    b = rng.normal(size=(groups, len(root))) @ root.T
    g, x = np.repeat(np.arange(groups), ROWS), np.tile(np.linspace(-1.0, 1.0, ROWS), groups)
    Z = np.column_stack([np.ones(g.size), x])[:, : len(root)]
    y = (Z * b[g]).sum(axis=1) + rng.normal(size=g.size)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{j:02d}" for j in g]}), b


def modes_at(model: ranef.Model, theta: np.ndarray) -> np.ndarray:
    """b̂(θ) = D Zᵀ V⁻¹ (y − X β̂(θ)), by dense algebra."""
    spec, m = model.spec, model.matrices
    Z, X, y = m.Z.toarray(), np.asarray(m.X), np.asarray(m.y)
    lam = spec.lambdas(theta)[0]
    DZ = np.kron(np.eye(spec.groupings[0].n_levels), lam @ lam.T) @ Z.T
    solved = np.linalg.solve(np.eye(len(y)) + Z @ DZ, np.column_stack([X, y]))
    beta = np.linalg.solve(X.T @ solved[:, :-1], X.T @ solved[:, -1])
    return DZ @ (solved[:, -1] - solved[:, :-1] @ beta)


def theta_variance(model: ranef.Model, eb: ranef.EmpiricalBayesFit) -> np.ndarray:
    """First-order share of θ̂ in the variance of b (Kass & Steffey 1989, JASA 84, 717-726, their first-order formula).

    Σ_jk cov(θ̂)_jk ∂b̂/∂θ_j ∂b̂/∂θ_k, derivatives by central differences, cov(θ̂) from the observed information.
    Parameters on the boundary have no such covariance; their share is counted as zero.
    """
    theta, step = eb.estimates.theta, 1e-5
    cov = np.nan_to_num(eb.vcov_theta().to_numpy()[: theta.size, : theta.size])
    slopes = [(modes_at(model, theta + h) - modes_at(model, theta - h)) / (2 * step) for h in step * np.eye(theta.size)]
    return np.einsum("ji,jk,ki->i", np.array(slopes), cov, np.array(slopes))


def eb_intervals(model: ranef.Model, eb: ranef.EmpiricalBayesFit) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bounds (groups · columns,) by method."""
    table, p = eb.ranef(), model.spec.n_fixed
    b = table["estimate"].to_numpy()
    henderson = np.maximum(np.diag(eb.vcov_joint().to_numpy())[p:], 0.0)
    variances = {
        "conditional": table["sd"].to_numpy() ** 2,
        "henderson": henderson,
        "corrected": henderson + np.maximum(theta_variance(model, eb), 0.0),
    }
    return {name: (b - Z95 * np.sqrt(v), b + Z95 * np.sqrt(v)) for name, v in variances.items()}


def cover_once(design: Design, groups: int, seed: int) -> dict[str, float]:
    """Shares of the random effects of one simulation that their intervals cover, and mean widths."""
    data, b = simulate(design, groups, np.random.default_rng(seed))
    model = ranef.Model(design.formula, data)
    eb = model.fit()
    fb = model.sample(draws=250, warmup=300, seed=seed, init=eb, **SAMPLING)
    bounds = eb_intervals(model, eb)
    bounds["posterior"] = tuple(v.ravel() for v in np.quantile(fb.draws.b[0], [0.025, 0.975], axis=(0, 1)))
    out = {"singular": float(eb.is_singular)}
    columns = b.shape[1]
    for name, (low, high) in bounds.items():
        low, high = (v.reshape(groups, columns)[:, -1] for v in (low, high))
        out[name] = float(((low <= b[:, -1]) & (b[:, -1] <= high)).mean())
        out[f"{name} width"] = float((high - low).mean())
    return out


def cover(case: tuple[str, int], sims: int) -> pd.DataFrame:
    """Every simulation of one design and number of groups; many groups take fewer of them for the same precision."""
    name, groups = case
    seeds = 10_000 * groups + np.arange(max(sims // 4, min(sims, 8 * sims // groups)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [cover_once(DESIGNS[name], groups, int(s)) for s in seeds]
    return pd.DataFrame(rows).assign(design=name, groups=groups)


def coverage_table(simulations: pd.DataFrame) -> pd.DataFrame:
    """Coverage and its Monte-Carlo error by design and number of groups; effects of one simulation go together."""
    by = simulations.groupby(["design", "groups"])
    out = {name: by[name].mean() for name in METHODS}
    out |= {f"{name} se": by[name].std() / np.sqrt(by.size()) for name in METHODS}
    widths = {f"{name} width": by[f"{name} width"].mean() for name in METHODS}
    return pd.DataFrame(out | widths | {"singular": by["singular"].mean(), "sims": by.size()}).reset_index()


STYLES = {
    "posterior": {"color": "#1f4e79", "marker": "o", "linestyle": "-"},
    "corrected": {"color": "#2a8f6d", "marker": "s", "linestyle": "--"},
    "henderson": {"color": "#b8860b", "marker": "^", "linestyle": "-."},
    "conditional": {"color": "#b03a2e", "marker": "D", "linestyle": ":"},
}


def draw_coverage(table: pd.DataFrame, path: Path) -> None:
    """Coverage against the number of groups, a panel for each design."""
    fig, axes = plt.subplots(1, len(DESIGNS), figsize=(8.0, 3.6), sharey=True)
    for ax, (name, design) in zip(axes, DESIGNS.items(), strict=True):
        rows = table[table["design"] == name]
        ax.axhline(0.95, color="0.35", lw=0.9)
        for i, (method, label) in enumerate(METHODS.items()):
            at = rows["groups"] * 1.045 ** (i - 1.5)  # apart, so that error bars do not hide each other
            ax.errorbar(
                at, rows[method], yerr=2 * rows[f"{method} se"], label=label, lw=1.4, ms=4.5, elinewidth=0.9,
                **STYLES[method],
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks(GROUPS, [str(g) for g in GROUPS])
        ax.minorticks_off()
        ax.set_xlabel("number of groups")
        ax.set_title(design.label, fontsize=9.5)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("coverage of 95% intervals of b\n(bars: 2 Monte-Carlo errors)")
    axes[-1].legend(fontsize=8, loc="lower right", frameon=False)
    save(fig, path)


def save(fig: plt.Figure, path: Path) -> None:
    fig.tight_layout()
    fig.savefig(path, dpi=180)
    plt.close(fig)


# -- the command -------------------------------------------------------------------------------------------------


def spread(work: Callable[[object], pd.DataFrame], cases: list[object]) -> list[pd.DataFrame]:
    """One case after the other, or wherever joblib's backend is; the seed of a case is its own."""
    found = dict(finished(work, cases))
    return [found[k] for k in range(len(cases))]


@contextmanager
def cluster(backend: str, jobs: int) -> Iterator[None]:
    """Work by one of joblib's backends: processes of this machine, or the cluster of Dask or Ray that is there."""
    if backend == "dask":
        from distributed import Client, LocalCluster

        own = LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        with own, Client(own), parallel_config("dask"):
            yield
        return
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    with parallel_config(backend, n_jobs=jobs):
        yield


def run_sbc(args: argparse.Namespace) -> None:
    names = list(STUDIES)
    files = [args.frames / f"sbc-{n.replace(' ', '-')}.csv" for n in names] if args.frames else []
    if args.redraw:
        ranks = dict(zip(names, map(pd.read_csv, files), strict=True))
    else:
        ranks = dict(zip(names, spread(partial(calibrate, sims=args.sims), names), strict=True))
        for file, frame in zip(files, ranks.values(), strict=False):
            frame.to_csv(file, index=False)
    for name, frame in ranks.items():
        print(f"\n{name}: {len(frame)} simulations, p values of uniform ranks")
        print(uniformity(frame).round(4).to_string())
    draw_ranks(ranks, args.out / "sbc.png")


def run_linked(args: argparse.Namespace) -> None:
    """Generalised responses: simulations are spread over processes by tens, each with its own seed."""
    folder = args.frames or Path()
    files = {name: folder / f"sbc-{name}-{args.sampler}.csv" for name in LINKED}
    if args.redraw:
        ranks = {name: pd.read_csv(file) for name, file in files.items()}
    else:
        pieces = [(name, first) for name in LINKED for first in range(0, args.sims, 10)]
        found = spread(partial(calibrate_ten, sampler=LINKED_SAMPLERS[args.sampler], sims=args.sims), pieces)
        ranks = {n: pd.concat([f for (m, _), f in zip(pieces, found, strict=True) if m == n]) for n in LINKED}
        for name, file in files.items() if args.frames else ():
            ranks[name].to_csv(file, index=False)
    for name, frame in ranks.items():
        print(f"\n{name} by {args.sampler}: {len(frame)} simulations, p values of uniform ranks")
        print(uniformity(frame).round(4).to_string())
    draw_ranks(ranks, args.out / "sbc-linked.png", across=5)


def calibrate_ten(piece: tuple[str, int], sampler: dict[str, object], sims: int) -> pd.DataFrame:
    """Simulations from one on of a study, ten or what is left."""
    name, first = piece
    return calibrate(name, min(10, sims - first), sampler, first)


def run_coverage(args: argparse.Namespace) -> None:
    file = args.frames / "coverage.csv" if args.frames else None
    if args.redraw:
        simulations = pd.read_csv(file)
    else:
        cases = [(name, g) for g in GROUPS for name in DESIGNS]
        simulations = pd.concat(spread(partial(cover, sims=args.sims), cases))
        if file:
            simulations.to_csv(file, index=False)
    table = coverage_table(simulations)
    shown = ["design", "groups", *METHODS, "singular"]
    print(f"\nCoverage of 95% intervals of b, {table['sims'].min()} to {table['sims'].max()} simulations")
    print(table[shown].round(3).to_string(index=False))
    widths = ["design", "groups", *(f"{m} width" for m in METHODS)]
    print(f"\nMean widths\n{table[widths].round(2).to_string(index=False)}")
    print(f"\nMonte-Carlo standard errors are at most {table.filter(like=' se').to_numpy().max():.3f}.")
    draw_coverage(table, args.out / "coverage.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sims", type=int, default=200, help="simulations of every model or design")
    parser.add_argument("--only", choices=["sbc", "linked", "coverage"])
    parser.add_argument("--sampler", choices=list(LINKED_SAMPLERS), default="direct", help="of generalised responses")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=HERE, help="where the figures go")
    parser.add_argument("--frames", type=Path, help="folder that keeps the simulations as CSV")
    parser.add_argument("--redraw", action="store_true", help="read them from there again")
    parser.add_argument(
        "--backend", choices=["loky", "dask", "ray"], default="loky", help="joblib's; numbers are the same"
    )
    args = parser.parse_args()
    with cluster(args.backend, args.jobs):
        if args.only in (None, "sbc"):
            run_sbc(args)
        if args.only in (None, "linked"):
            run_linked(args)
        if args.only in (None, "coverage"):
            run_coverage(args)


if __name__ == "__main__":
    main()
