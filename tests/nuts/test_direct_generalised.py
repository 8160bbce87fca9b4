"""Generalised responses without a chain: Laplace at many points together, weights by the exact density, draws."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from itertools import product

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import special, stats

import ranef
from _ranef.likelihood import at_points, fit_pilot, make_laplace
from _ranef.likelihood.slopes_of_rows import FEW
from _ranef.posterior.generalised_together import GeneralisedTogether
from _ranef.posterior.problem import prepare
from nuts.counts import by_quadrature, counts

#: a prior that holds the intercept
B0, HELD = 0.3, 1e-7


def nested_counts():
    rng = np.random.default_rng(7)
    g, h = np.repeat(np.arange(4), 6), np.repeat(np.arange(12), 2)
    eta = B0 + rng.normal(0, 0.6, 4)[g] + rng.normal(0, 0.5, 12)[h]
    return pd.DataFrame({"y": rng.poisson(np.exp(eta)), "g": g.astype(str), "h": [f"{i:02d}" for i in h]})


def crossed_bits():
    rng = np.random.default_rng(8)
    g, h = np.array(list(product(range(9), range(2)))).T
    y = rng.binomial(3, special.expit(B0 + rng.normal(0, 0.9, 9)[g] + rng.normal(0, 0.7, 2)[h]))
    return pd.DataFrame({"y": y, "no": 3 - y, "g": g.astype(str), "h": h.astype(str)})


def slopes():
    rng = np.random.default_rng(9)
    g, x = np.repeat(np.arange(6), 8), np.tile(np.linspace(-1.0, 1.0, 8), 6)
    eta = B0 + rng.normal(0, 0.7, 6)[g] + rng.normal(0, 0.8, 6)[g] * x
    return pd.DataFrame({"y": rng.binomial(1, special.expit(eta)), "x": x, "g": g.astype(str)})


DESIGNS = {
    "one factor": ("y ~ 1 + (1 | g)", counts, "poisson", [0.6]),
    "slopes": ("y ~ 1 + (x | g)", slopes, "binomial", [0.7, 0.2, 0.6]),
    "nested": ("y ~ 1 + (1 | g) + (1 | h)", nested_counts, "poisson", [0.5, 0.6]),
    "crossed": ("cbind(y, no) ~ 1 + (1 | g) + (1 | h)", crossed_bits, "binomial", [0.9, 0.7]),
    "size": ("y ~ 1 + (1 | h)", nested_counts, "negative binomial", [0.6]),
}


def given_theta(name):
    """The density with the intercept held at B0, with its points for θ repeated."""
    formula, data, family, theta = DESIGNS[name]
    model = ranef.Model(formula, data(), family=family)
    priors = {"Intercept": ranef.priors.Normal(B0, HELD)}
    if family == "negative binomial":
        priors["size"] = 2.5
    problem = prepare(model.spec, None, model.priors(priors))
    together = GeneralisedTogether(problem)
    roots = problem.roots.at(np.array([theta]))
    sizes = problem.products.sizes
    ends = np.cumsum([p * p for p in sizes])[:-1]
    lambdas = [x.reshape(-1, p, p) for x, p in zip(np.split(roots, ends, axis=1), sizes, strict=True)]

    def points(n):
        own = {"size": np.full(n, 2.5)} if family == "negative binomial" else {}
        return type(together._points(np.zeros((1, together.n_sampled))))(
            tuple(lam.repeat(n, axis=0) for lam in lambdas), np.zeros((n, 0)), own
        )

    laplace = make_laplace(model.spec, fit_pilot(model.spec, model.spec.family))
    logs = np.log([2.5]) if family == "negative binomial" else np.zeros(0)
    at = laplace.at(laplace.gaussian.standard(np.array(theta)), laplace.inward(np.array([B0])), logs)
    return together, points, at


@pytest.mark.parametrize("name", DESIGNS)
def test_many_points_have_the_approximation_of_each(name):
    """With the coefficient held, that of engine A."""
    together, points, at = given_theta(name)
    found = together.rows.log_density(points(3))
    np.testing.assert_allclose(found, -0.5 * at.criterion, rtol=1e-6)


def exactly(name):
    """Log likelihood at B0 and θ by products of Gauss-Hermite rules."""
    _, data, _, theta = DESIGNS[name]
    data, (x, w) = data(), np.polynomial.hermite_e.hermegauss(24)
    w = w / w.sum()

    def rows(d, eta):
        """Log density of the rows (m,) of a level at η (m,)."""
        y = d["y"].to_numpy()[:, None]
        if "no" in d:
            return stats.binom.logpmf(y, 3, special.expit(eta)).sum(axis=0)
        return stats.poisson.logpmf(y, np.exp(eta)).sum(axis=0)

    if name == "nested":
        total = 0.0
        for _, own in data.groupby("g"):
            inside = sum(
                np.log(np.exp(np.array([rows(d, B0 + theta[1] * u + theta[0] * x) for u in x])) @ w)
                for _, d in own.groupby("h")
            )
            total += np.log(np.exp(inside) @ w)
        return total
    inside = {}
    for u in product(range(24), repeat=2):
        effect = dict(zip("01", theta[1] * x[list(u)], strict=True))
        inside[u] = sum(
            np.log(np.exp(rows(d, B0 + d["h"].map(effect).to_numpy()[:, None] + theta[0] * x)) @ w)
            for _, d in data.groupby("g")
        )
    return special.logsumexp(list(inside.values()), b=[w[i] * w[j] for i, j in inside])


@pytest.mark.parametrize("name", DESIGNS)
def test_mean_weights_make_the_likelihood_exact(name):
    """The mean ratio of many draws at one point is the likelihood over Laplace's approximation."""
    together, points, at = given_theta(name)
    ratios = np.exp(together.rows.draw(points(20_000), np.random.default_rng(1)).log_ratio)
    exact = exactly(name) if name in ("nested", "crossed") else -0.5 * at_points(at, 25).criterion
    error = ratios.std() / np.sqrt(len(ratios)) / ratios.mean()
    assert abs(np.log(ratios.mean()) - (exact + 0.5 * at.criterion)) < 4.0 * error + 1e-6
    assert error < 0.02  # else the bound would say nothing
    assert abs(exact + 0.5 * at.criterion) > 5.0 * error  # nor would it where Laplace is exact


@pytest.fixture(scope="module")
def posterior():
    return ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson").sample(
        sampler="direct", draws=2000, seed=1, progress=False
    )


def test_draws_are_those_of_quadrature(posterior):
    n = posterior.draws.importance.effective
    table = posterior.diagnostics.set_index("name")
    for name, (mean, sd) in by_quadrature(counts(), ranef.Model.of(posterior)).items():
        assert abs(table.loc[name, "estimate"] - mean) < 4.0 * sd / np.sqrt(n), name
        assert abs(table.loc[name, "sd"] / sd - 1.0) < 0.08, name
    assert posterior.engine == "direct"
    assert posterior.draws.importance.pareto_k < 0.7
    assert "Pareto k̂" in str(posterior.summary()) or "Pareto k̂" in " ".join(posterior.draws.notes)


def test_rows_levels_and_origins_do_not_matter():
    data = slopes()
    shuffled = data.sample(frac=1.0, random_state=1).assign(x=lambda d: 10.0 * d["x"] + 1990.0)
    first, second = (
        ranef.Model("y ~ x + (x | g)", d, family="binomial").sample(sampler="direct", draws=300, seed=1, progress=False)
        for d in (data, shuffled)
    )
    np.testing.assert_allclose(first.draws.sample_stats["lp"].mean(), second.draws.sample_stats["lp"].mean(), atol=0.5)
    a, b = (p.predict(type="link", interval="confidence") for p in (first, second))
    b = b.loc[a.index]
    np.testing.assert_allclose(a["estimate"], b["estimate"], atol=0.2)


def test_no_compiler_is_loaded():
    code = """
        import sys
        import ranef
        data = ranef.datasets.load("cbpp")
        model = ranef.Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
        fit = model.sample(sampler="direct", draws=100, seed=1, progress=False)
        print(fit.summary())
        assert not {"jax", "numba", "numpyro"} & set(sys.modules), "a compiler"
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


def test_what_it_is_not_for_is_refused_with_the_reason():
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson")
    with pytest.raises(ranef.FitError, match="a distribution of numpyro"):
        model.sample(sampler="direct", priors={"sd": dist.LogNormal(0.0, 1.0)}, progress=False)
    with pytest.raises(ranef.FitError, match="noncentered"):
        model.sample(sampler="direct", parameterization="noncentered", progress=False)
    with pytest.raises(ranef.FitError, match="would read 40 rows each"):
        model.sample(sampler="direct", draws=10_000_000, progress=False)


@pytest.mark.slow
def test_auto_takes_a_chain_where_it_must():
    model = ranef.Model("y ~ 1 + (1 | g)", counts(), family="poisson")
    with pytest.warns(ranef.ConvergenceWarning):
        fit = model.sample(20, 20, 2, 1, sampler="auto", priors={"sd": dist.LogNormal(0.0, 1.0)}, progress=False)
    assert fit.draws.sampler == "numpyro"
    assert fit.draws.parameterization == "noncentered"
    assert "a distribution of numpyro" in " ".join(fit.draws.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "link", "scale"), [("t", None, "sleepstudy"), ("gaussian", "log", "sleepstudy"), ("t", None, "slopes")]
)
def test_rows_whose_density_bends_upwards_have_the_posterior_of_nuts(family, link, scale):
    """Their modes are no tops of concave functions: Newton's steps need curvatures that are positive."""
    formula = "Reaction ~ Days + (1 | Subject)" if scale == "sleepstudy" else "Reaction ~ Days + (Days | Subject)"
    model = ranef.Model(formula, ranef.datasets.load("sleepstudy"), family=family, link=link)
    direct, nuts = (model.sample(sampler=s, seed=1, progress=False).diagnostics for s in ("direct", "nutpie"))
    both = direct.merge(nuts, on="name")
    error = np.hypot(both["sd_x"] / np.sqrt(both["ess_bulk_x"]), both["sd_y"] / np.sqrt(both["ess_bulk_y"]))
    assert len(both) == len(direct)
    assert (abs(both["estimate_x"] - both["estimate_y"]) < 4.5 * error).all()
    assert (abs(np.log(both["sd_x"] / both["sd_y"])) < 0.25).all()


def test_first_draws_show_where_coefficients_are():
    """Where each row has an effect of its own, the joint mode of all is far from the mode of the coefficients alone."""
    data = ranef.datasets.load("grouseticks").sample(200, random_state=1)
    model = ranef.Model("TICKS ~ cHEIGHT + (1 | INDEX)", data, family="poisson")
    problem = prepare(model.spec, None, model.priors())
    together = GeneralisedTogether(problem)
    points = together._points(np.repeat(together.starts(None)[:1], 2000, axis=0))
    rng, zero = np.random.default_rng(1), np.zeros(2)
    fitted = together.rows._improved(points, rng, None)
    worth = {}
    for name, around in (("fitted", fitted), ("mode", type(fitted)(zero, np.eye(2)))):
        ratios = np.exp(np.concatenate([own.log_ratio for own, _ in together.rows._drawn(points, around, rng)]))
        worth[name] = ratios.mean(), ratios.mean() ** 2 / (ratios**2).mean()
    (mean, good), (other, poor) = worth["fitted"], worth["mode"]
    assert good > 1.2 * poor
    assert abs(np.log(mean / other)) < 5.0 * np.hypot(*(np.sqrt((1.0 / e - 1.0) / 2000) for e in (good, poor)))


@pytest.mark.parametrize("family", ["binomial", "poisson"])
@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (1 | h) + (1 | g)"])
def test_many_rows_are_read_by_loops_as_numpy_reads_them(formula, family):
    """Densities and draws with their weights, of the same random numbers, to what modes are found to."""
    rng, n = np.random.default_rng(2), 2 * FEW
    data = pd.DataFrame({"g": rng.integers(0, 12, n), "h": rng.integers(0, 40, n), "x": rng.normal(size=n)})
    eta = 0.4 * data["x"] + rng.normal(0, 0.5, 12)[data["g"]]
    y = rng.binomial(1, special.expit(eta)) if family == "binomial" else rng.poisson(np.exp(eta))
    data = data.assign(y=y, g=data["g"].astype(str), h=data["h"].astype(str))
    model = ranef.Model(formula, data, family=family)
    together = GeneralisedTogether(prepare(model.spec, None, model.priors()))
    rows = together.rows
    points = together._points(together.starts(None)[0] + 0.3 * rng.normal(size=(5, together.n_sampled)))
    plain = replace(rows, often=False, _near={}, _seen=[])
    assert rows._by_loops
    assert not plain._by_loops
    np.testing.assert_allclose(rows.log_density(points), plain.log_density(points), rtol=1e-10)
    own, other = (way.draw(points, np.random.default_rng(3)) for way in (rows, plain))
    np.testing.assert_allclose(own.log_ratio, other.log_ratio, atol=1e-6)
    for one, two in zip((own.z, *own.b), (other.z, *other.b), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
