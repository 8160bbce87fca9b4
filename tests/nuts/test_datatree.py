from __future__ import annotations

import sys
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path

import arviz_plots
import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from scipy import special, stats

import ranef
from _ranef.errors import FitError
from _ranef.nuts import to_datatree, to_inference_data
from _ranef.results import PosteriorDraws
from _ranef.spec import default_priors


def made_up_draws(spec, chains=2, draws=30):
    rng = np.random.default_rng(3)
    names = ("diverging", "tree_depth", "n_steps", "energy", "acceptance_rate", "lp", "step_size")
    return PosteriorDraws(
        theta=rng.uniform(0.1, 1.0, (chains, draws, spec.n_theta)),
        sigma=rng.uniform(0.5, 1.0, (chains, draws)),
        beta=rng.normal(size=(chains, draws, spec.n_fixed)),
        b=tuple(rng.normal(size=(chains, draws, g.n_levels, len(g.columns))) for g in spec.groupings),
        sample_stats={name: np.zeros((chains, draws)) for name in names},
        parameterization="marginal",
        priors=default_priors(spec),
        seed=3,
        warmup=100,
        seconds=1.0,
        complete=True,
    )


@pytest.fixture(scope="module")
def sampled(make):
    spec = make.spec("y ~ x + (x | g) + (1 | h:k)", weights="w", offset="o")
    draws = made_up_draws(spec)
    return spec, draws, to_datatree(spec, draws)


def test_groups_dims_and_coords(sampled):
    spec, _, tree = sampled
    assert set(tree.children) == {"posterior", "sample_stats", "observed_data", "constant_data", "log_likelihood"}
    posterior = tree["posterior"].dataset
    levels = spec.groupings[[g.name for g in spec.groupings].index("g")].n_levels
    assert dict(posterior["beta"].sizes) == {"chain": 2, "draw": 30, "coefficient": 2}
    assert dict(posterior["ranef_g"].sizes) == {"chain": 2, "draw": 30, "g": levels, "g_term": 2}
    assert posterior["corr_g"].dims == ("chain", "draw", "g_term", "g_term2")
    assert posterior["sd_h:k"].dims == ("chain", "draw", "h:k_term")
    assert "corr_h:k" not in posterior
    assert list(posterior["coefficient"].values) == ["Intercept", "x"]
    assert list(posterior["g_term"].values) == ["Intercept", "x"]
    assert list(posterior["g"].values) == [str(i) for i in range(levels)]
    assert tuple(posterior["theta_name"].values) == spec.theta_names


def test_values_agree_with_theta_and_sigma(sampled):
    spec, draws, tree = sampled
    posterior = tree["posterior"].dataset
    c, d = 1, 7
    for g, lam in zip(spec.groupings, spec.lambdas(draws.theta[c, d]), strict=True):
        cov = draws.sigma[c, d] ** 2 * lam @ lam.T
        np.testing.assert_allclose(posterior[f"sd_{g.name}"].values[c, d], np.sqrt(np.diag(cov)))
        if len(g.columns) == 2:
            expected = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
            np.testing.assert_allclose(posterior[f"corr_{g.name}"].values[c, d, 1, 0], expected)


def test_log_likelihood_is_that_of_the_rows(sampled):
    spec, draws, tree = sampled
    c, d = 0, 11
    mean = spec.design.X @ draws.beta[c, d] + spec.design.offset
    for g, b in zip(spec.groupings, draws.b, strict=True):
        mean = mean + (g.Z * b[c, d][g.codes]).sum(axis=1)
    expected = stats.norm.logpdf(spec.design.y, mean, draws.sigma[c, d] / np.sqrt(spec.design.weights))
    np.testing.assert_allclose(tree["log_likelihood"]["y"].values[c, d], expected)


def test_data_and_attributes(sampled):
    spec, draws, tree = sampled
    np.testing.assert_array_equal(tree["observed_data"]["y"].values, spec.design.y)
    constant = tree["constant_data"].dataset
    assert constant["X"].dims == ("obs", "coefficient")
    assert {"weights", "offset", "codes_g", "Z_g", "codes_h:k"} <= set(constant)
    assert tree.attrs["complete"] == 1
    assert tree.attrs["seed"] == 3
    assert "sigma ~ HalfStudentT" in tree.attrs["priors"]
    assert set(tree["sample_stats"].dataset) == set(draws.sample_stats)


def test_log_likelihood_is_left_out_where_it_is_too_large(sampled, monkeypatch):
    spec, draws, _ = sampled
    monkeypatch.setattr("_ranef.nuts.datatree.MAX_LOG_LIKELIHOOD", 10)
    assert "log_likelihood" not in to_datatree(spec, draws).children


def test_a_group_may_have_the_name_of_a_dimension(make):
    data = make.data().rename(columns={"g": "draw"})
    spec = make.spec("y ~ 1 + (1 | draw)", data)
    assert to_datatree(spec, made_up_draws(spec))["posterior"]["ranef_draw"].dims == (
        "chain",
        "draw",
        "draw_level",
        "draw_term",
    )


def test_groups_are_those_of_the_likelihood(sampled):
    """Dense normals hold the formula itself, in tests/likelihood/test_group_densities.py."""
    spec, draws, tree = sampled
    assert set(tree["log_likelihood"].dataset) == {"y", "group_g", "group_h:k"}
    found = tree["log_likelihood"]["group_g"]
    assert found.dims == ("chain", "draw", "g")
    (g,) = (g for g in spec.groupings if g.name == "g")
    c, d, level = 1, 4, 2
    rows = g.codes == level
    (other,) = (k for k in spec.groupings if k.name == "h:k")
    k, o = spec.groupings.index(g), spec.groupings.index(other)
    r = spec.design.y - spec.design.offset - spec.design.X @ draws.beta[c, d]
    V = np.diag(1.0 / spec.design.weights)
    shared = [bool((other.codes == j)[~rows].any()) for j in range(other.n_levels)]
    lams = spec.lambdas(draws.theta[c, d])
    for j in range(other.n_levels):
        z = other.Z[:, 0] * (other.codes == j)
        if shared[j]:
            r = r - z * draws.b[o][c, d, j, 0]
        else:
            V = V + lams[o][0, 0] ** 2 * np.outer(z, z)
    V = (V + g.Z @ lams[k] @ lams[k].T @ g.Z.T)[np.ix_(rows, rows)]
    expected = stats.multivariate_normal.logpdf(r[rows], cov=draws.sigma[c, d] ** 2 * V)
    assert float(found[c, d, level]) == pytest.approx(expected, rel=1e-9)


def test_prior_and_predictions_when_asked(sampled):
    spec, draws, _ = sampled
    replicated = np.zeros((2, 5, spec.n_obs))
    tree = to_datatree(spec, draws, prior=made_up_draws(spec, 1, 12), posterior_predictive=replicated)
    assert dict(tree["prior"]["beta"].sizes) == {"chain": 1, "draw": 12, "coefficient": 2}
    assert set(tree["prior"].dataset) == set(tree["posterior"].dataset)
    assert tree["posterior_predictive"]["y"].dims == ("chain", "draw", "obs")
    assert tree["posterior_predictive"].sizes["draw"] == 5


def test_a_student_response(sampled):
    spec, draws, _ = sampled
    nu = np.full((2, 30), 5.0)
    tree = to_datatree(spec, replace(draws, family="student", extras={"nu": nu}))
    assert list(tree["log_likelihood"].dataset) == ["y"]
    np.testing.assert_array_equal(tree["posterior"]["nu"].values, nu)
    assert tree.attrs["family"] == "student"


@pytest.mark.parametrize("formula", ["y ~ x + (x | g) + (1 | h:k)", "I(y / 2) ~ 1 + (1 | g)"])
def test_netcdf_keeps_everything(make, tmp_path, formula):
    spec = make.spec(formula, weights="w", offset="o")
    draws = made_up_draws(spec)
    diverging = np.zeros((2, 30), dtype=bool)
    tree = to_datatree(
        spec,
        replace(draws, sample_stats=dict(draws.sample_stats) | {"diverging": diverging}, extras={"nu": draws.sigma}),
        prior=draws,
        posterior_predictive=np.zeros((2, 30, spec.n_obs)),
    )
    tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as back:
        assert set(back.children) == set(tree.children)
        for group in tree.children:
            xr.testing.assert_identical(back[group].dataset.load(), tree[group].dataset)
        assert back.attrs["priors"] == tree.attrs["priors"]


def test_the_line_of_the_readme_works_after_a_plain_install(make, tmp_path):
    """``to_netcdf(path)`` as it stands; what writes it is a dependency of the core."""
    spec = make.spec("y ~ x + (x | g)")
    to_datatree(spec, made_up_draws(spec)).to_netcdf(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc") as back:
        assert back["posterior"]["beta"].shape == (2, 30, 2)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert any(line.startswith("h5netcdf[h5py]") for line in project["dependencies"])


@pytest.fixture(scope="module")
def tree(make):
    spec = make.spec("y ~ x + (x | g)")
    return to_datatree(spec, made_up_draws(spec, 4, 100))


@pytest.mark.filterwarnings("ignore")  # of an ArviZ of before
def test_arviz_before_1_takes_inference_data(tree):
    arviz = pytest.importorskip("arviz", exc_type=ImportError)
    if not hasattr(arviz, "InferenceData"):
        pytest.skip("ArviZ 1.0 has none")
    held = to_inference_data(tree)
    assert set(held.groups()) == set(tree.children)
    old = arviz.summary(held, var_names=["beta", "sd_g"], round_to=8)
    new = arviz_stats.summary(tree, var_names=["beta", "sd_g"], round_to="none")
    np.testing.assert_allclose(old["mean"], new["mean"].astype(float), atol=1e-6)
    assert np.isfinite(arviz.loo(held, var_name="y").elpd_loo)


def test_without_it_the_way_is_told(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(FitError, match=r"arviz_stats\.summary\(fit\.datatree\)"):
        to_inference_data(tree)


def test_arviz_reads_it_unchanged(tree):
    table = arviz_stats.summary(tree, var_names=["beta", "sigma", "sd_g"])
    assert table.index.tolist() == ["beta[Intercept]", "beta[x]", "sigma", "sd_g[Intercept]", "sd_g[x]"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # draws that are made up are no posterior: Pareto k is large
        for name, dim in (("y", "obs"), ("group_g", "g")):
            size = tree["log_likelihood"].sizes[dim]
            assert arviz_stats.loo(tree, var_name=name).n_data_points == size


@pytest.mark.parametrize("name", ["plot_trace", "plot_forest", "plot_rank", "plot_pair", "plot_dist"])
def test_arviz_draws_it_unchanged(tree, name):
    drawn = getattr(arviz_plots, name)(tree, var_names=["beta"], backend="matplotlib")
    assert drawn.viz.children or drawn.viz.data_vars
    plt.close("all")


@pytest.mark.parametrize("name", ["beta", "sigma", "lp", "sd_g", "ranef_g"])
def test_a_response_with_the_name_of_a_parameter(name):
    rng = np.random.default_rng(0)
    data = {name: rng.normal(size=24), "x": rng.normal(size=24), "g": np.repeat(list("abcdef"), 4)}
    model = ranef.Model(f"{name} ~ x + (x | g)", data)
    fit = model.sample(20, 20, 2, seed=1, sampler="nutpie", progress=False)
    tree = fit.to_datatree(prior=True, posterior_predictive=True)
    assert tree["observed_data"][name].dims == ("obs",)
    assert tree["posterior_predictive"][name].dims == ("chain", "draw", "obs")
    assert tree["posterior"]["beta"].dims == ("chain", "draw", "coefficient")
    assert model.prior_predictive(10, seed=1)["prior_predictive"][name].shape == (1, 10, 24)


def zero_by_size(tree, eta):
    size = tree["prior"]["size"].to_numpy()[0, :, None]
    return stats.nbinom(size, size / (size + np.exp(eta))).pmf(0)


#: the probability of a zero, or of the first class, by the linear predictor
ZEROS = {
    "binomial": lambda tree, eta: special.expit(-eta),
    "negative binomial": zero_by_size,
    "ordinal": lambda tree, eta: special.expit(-eta),
}


@pytest.mark.parametrize("family", ZEROS)
def test_responses_drawn_before_the_data_are_of_the_family(family):
    """Zeros are as many as parameters drawn with them say, by rows."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"y": rng.integers(0, 2 if family == "binomial" else 3, 30), "x": rng.normal(size=30)})
    data["g"] = np.repeat(list("abcdef"), 5)
    data["y"] = pd.Categorical(data["y"], ordered=True) if family == "ordinal" else data["y"]
    tree = ranef.Model("y ~ x + (1 | g)", data, family=family).prior_predictive(4000, seed=1)
    beta, b = tree["prior"]["beta"].to_numpy()[0], tree["prior"]["ranef_g"].to_numpy()[0, :, :, 0]
    eta = beta @ np.stack([np.ones(30), data["x"]]) + np.repeat(b, 5, axis=1)
    share = ZEROS[family](tree, eta)
    excess = (tree["prior_predictive"]["y"].to_numpy()[0] == 0) - share
    assert abs(excess.mean(axis=0) / np.sqrt((share * (1 - share)).mean(axis=0) / 4000)).max() < 4.5


def test_priors_where_a_link_has_no_mean():
    data = {"y": np.linspace(1.0, 3.0, 20), "g": np.repeat(list("abcde"), 4)}
    model = ranef.Model("y ~ 1 + (1 | g)", data, family="gamma", link="inverse")
    with pytest.raises(ranef.FitError, match=r"'inverse' a linear predictor of -.* has no mean"):
        model.prior_predictive(200, seed=1)
