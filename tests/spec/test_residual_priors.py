"""Priors of the parameters of residual variances and correlations, given by the names that tables print."""

import numpy as np
import pytest

import nlme_models
import ranef
from _ranef.inference import told_draws
from _ranef.nuts import sample_prior
from _ranef.report.calls import _changed
from _ranef.spec import default_priors, rho_log_prior, rho_log_priors, rho_prior_draws
from ranef.priors import Exponential, Flat, HalfNormal, Normal

SLEEP = "Reaction ~ Days + (1 | Subject)"


def sleep(**structure):
    return ranef.Model(SLEEP, ranef.datasets.load("sleepstudy"), **structure)


def teeth(**structure):
    return ranef.Model("distance ~ age * Sex + (1 | Subject)", ranef.datasets.load("Orthodont"), **structure)


#: a model, and priors of some of its parameters
CASES = {
    "ratio": (lambda: teeth(variance=ranef.VarIdent("Sex")), {"ratio(Female)": HalfNormal(0.2)}),
    "one ratio of many": (lambda: sleep(variance=ranef.VarIdent("Days")), {"ratio(4)": HalfNormal(2.0)}),
    "power": (lambda: teeth(variance=ranef.VarPower("age")), {"power": Normal(2.0, 0.05)}),
    "constant": (lambda: sleep(variance=ranef.VarConstPower("Days")), {"const": Exponential(1.0)}),
    "both": (
        lambda: sleep(variance=ranef.VarConstPower("Days")),
        {"const": Exponential(1.0), "power": Normal(1.0, 0.2)},
    ),
    "AR1": (lambda: sleep(correlation=ranef.AR1("Days", group="Subject")), {"Phi": Normal(-0.5, 0.05)}),
    "ARMA": (
        lambda: sleep(correlation=ranef.ARMA(2, 1, "Days", "Subject")),
        {"Phi1": Normal(0.3, 0.05), "Phi2": Normal(0.2, 0.05), "Theta1": Normal(-0.2, 0.05)},
    ),
    "CompSymm": (
        lambda: ranef.Model(
            "Reaction ~ Days", ranef.datasets.load("sleepstudy"), correlation=ranef.CompSymm("Subject")
        ),
        {"Rho": Normal(0.5, 0.1)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_those_of_the_density(name):
    model, given = CASES[name][0](), CASES[name][1]
    spec, own = model.spec, model.priors(given).rho
    assert set(own) == set(given)
    rho = spec.rho_start + 0.1
    value, slopes = rho_log_prior(spec, rho, own)
    assert value == pytest.approx(float(rho_log_priors(spec, rho, own)), abs=1e-9)
    steps = 1e-4 * np.eye(len(rho))
    around = rho_log_priors(spec, np.concatenate([rho + steps, rho - steps]), own)
    np.testing.assert_allclose(slopes, np.subtract(*np.split(around, 2)) / 2e-4, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_draws_are_of_the_density(name):
    """What the density weighs draws of the default prior to has the moments of the prior that was given."""
    model, given = CASES[name][0](), CASES[name][1]
    spec, own = model.spec, model.priors(given).rho
    drawn = rho_prior_draws(spec, np.random.default_rng(1), (200,), own)
    named = told_draws(spec, drawn[None]).named()
    for key, prior in given.items():
        whole = prior.sample(np.random.default_rng(2), (20_000,))
        assert named[key].mean() == pytest.approx(whole.mean(), abs=4.0 * whole.std() / np.sqrt(200))
        assert named[key].std() == pytest.approx(whole.std(), rel=0.25)


@pytest.mark.parametrize("name", ["ratio", "power", "AR1", "CompSymm"])
def test_a_density_of_one_parameter_has_the_mass_of_the_prior(name):
    """Of how it changes with ρ: the mean of what it stands for under it is that of the prior."""
    model, given = CASES[name][0](), CASES[name][1]
    spec, own = model.spec, model.priors(given).rho
    grid = np.linspace(-8.0, 8.0, 801)
    log_density = rho_log_priors(spec, grid[:, None], own)
    weights = np.exp(log_density - log_density.max())
    value = told_draws(spec, grid[None, :, None]).named()[next(iter(given))][0]
    whole = next(iter(given.values())).sample(np.random.default_rng(2), (200_000,))
    assert np.average(value, weights=weights) == pytest.approx(whole.mean(), abs=0.02 * whole.std() + 1e-3)


@pytest.mark.parametrize("sampler", [pytest.param("numpyro", marks=pytest.mark.slow), "nutpie"])
@pytest.mark.filterwarnings("ignore::ranef.ConvergenceWarning")
def test_posteriors_follow(sampler):
    """A tight prior far from the likelihood holds its parameter, and leaves the others free."""
    model = teeth(variance=ranef.VarIdent("Sex"))
    options = {"draws": 50, "warmup": 50, "chains": 1, "seed": 1, "sampler": sampler, "progress": False}
    held = model.sample(priors={"ratio(Female)": HalfNormal(0.02)}, **options)
    _, upper = held.confint().loc["ratio(Female)"]
    assert upper < 0.25 < nlme_models.reference("orthodont_varIdent")["residual_variance"]["ratio_to_first"][1]
    assert "ratio(Female) ~ HalfNormal(0.02)" in str(held.summary())
    assert "Normal(mean log sd, 1)" not in str(held.summary())


def test_calls_that_make_it_again_have_what_was_given():
    """Defaults are those of the model, whatever has been estimated since."""
    model, given = CASES["ratio"][0](), CASES["ratio"][1]
    spec = model.spec.with_rho(np.array([-0.8]))
    assert default_priors(spec).lines() == model.priors().lines()
    for priors, words in ((model.priors(), ""), (model.priors(given), "{'ratio(Female)': HalfNormal(scale=0.2)}")):
        drawn = sample_prior(spec, priors, draws=2, seed=1)
        assert _changed(spec, drawn) == words


def test_describe_and_names():
    model = sleep(variance=ranef.VarPower("Days + 1"), correlation=ranef.AR1("Days", group="Subject"))
    priors = model.priors({"power": Normal(0.0, 1.0)})
    assert "power ~ Normal(0, 1)" in priors.lines()
    assert model.spec.residual_prior_words(priors.rho)[1:] == ["Phi ~ Uniform(-1, 1)"]
    assert str(model.priors({"Phi": Flat()}).rho["Phi"]) == "Uniform(-1, 1)"


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ratio", {"ratio(female)": HalfNormal(1.0)}, r"Did you mean 'ratio\(Female\)'"),
        ("ratio", {"ratio(Female)": Normal(1.0, 0.1)}, "must be HalfNormal or"),
        ("power", {"power": HalfNormal(1.0)}, "must be Normal or"),
        ("AR1", {"Phi": Normal(5.0, 0.1)}, "no mass to speak of between -1 and 1"),
        ("AR1", {"Phi": 0.5}, "must be Normal or"),
    ],
)
def test_what_does_not_fit_is_refused(name, given, told):
    with pytest.raises(ranef.DesignError, match=told):
        CASES[name][0]().priors(given)


def test_it_is_sampled_marginally():
    model, given = CASES["ratio"][0](), CASES["ratio"][1]
    with pytest.raises(ranef.FitError, match="marginal parameterization only"):
        model.sample(priors=given, parameterization="noncentered", progress=False)
