from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ranef.nuts import to_datatree
from ranef.results import PosteriorDraws
from ranef.spec import default_priors


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
    monkeypatch.setattr("ranef.nuts.datatree.MAX_LOG_LIKELIHOOD", 10)
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
