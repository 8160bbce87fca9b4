"""Profiles against lme4's, against V itself, and where they meet bounds."""

import re
import time
import warnings

import numpy as np
import pytest
import scipy

import ranef
from _ranef.inference import likelihood_profiles
from _ranef.inference.held_parameter import held_parameters, make_objectives
from _ranef.reml import fit_reml
from registry import CASES, FITTED, model, reference, rows_of

PROFILED = [case for case in CASES if "upper95" in (reference(case).get("profile") or {})]

#: where lme4's spline misses the crossing, which a general minimiser finds (below), or gives none
WRONG_IN_LME4 = {("eggs_nested", "sd_(Intercept)|Lab:Technician"), ("dyestuff2_reml", "sigma")}

SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy")


def fitted(formula, name, method="ML", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        return ranef.Model(formula, ranef.datasets.load(name), **options).fit(method)


def by_lme4(case, fit):
    """lme4's rows by our names, in lme4's order: variances as θ, σ, coefficients."""
    rows = reference(case)["profile"]["rows"]
    fixed = [r for r in rows if not re.match("sd_|cor_|sigma", r)]
    names = dict(zip(fixed, fit.spec.design.fixed_names, strict=True))
    others = [r for r in rows if r not in fixed]
    own = []
    for t in fit.spec.terms:
        for j in range(t.structure.size):
            own.append(f"sd({t.columns[j]} | {t.group})")
            own += [f"cor({t.columns[j]}, {t.columns[i]} | {t.group})" for i, k in t.structure.own_pairs if k == j]
    return names | dict(zip(others, [*own, "sigma"], strict=True))


@pytest.mark.parametrize("case", PROFILED)
def test_intervals_are_lme4s(case):
    """lme4 interpolates by splines through some twenty points, which the bound allows for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = model(case).fit("ML")
    ref, profiles = reference(case)["profile"], fit.profile(level=0.95)
    for level, ends in ((0.95, ("lower95", "upper95")), (0.9, ("lower90", "upper90"))):
        ours = fit.confint(level, "profile")
        both = ours - profiles.confint(level)
        assert np.nanmax(np.abs(both / (ours["upper"] - ours["lower"]).to_numpy()[:, None])) < 1e-3
        names = by_lme4(case, fit)
        for row, *theirs in zip(ref["rows"], *(ref[end] for end in ends), strict=True):
            if (case, row) not in WRONG_IN_LME4:
                np.testing.assert_allclose(ours.loc[names[row]], theirs, rtol=3e-4, atol=1e-3, err_msg=row)


STRUCTURED = [
    (SLEEP, {}),
    (("Reaction ~ Days + (Days || Subject)", "sleepstudy"), {}),
    (("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"), {}),
    (("score ~ Machine + cs(0 + Machine | Worker)", "Machines"), {}),
    (("score ~ Machine + (0 + Machine | Worker)", "Machines"), {}),
    (("bright ~ 1 + (1 | operator)", "pulp"), {"sigma": 0.3}),
    (("score ~ Machine + (1 | Worker)", "Machines"), {"variance": ranef.VarIdent("Machine")}),
    (("Reaction ~ Days + (1 | Subject)", "sleepstudy"), {"correlation": ranef.AR1("Days", group="Subject")}),
]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(("case", "options"), STRUCTURED)
def test_gradients_are_those_of_differences(case, options, method):
    """Off the optimum, in every coordinate and in the coefficient that is held."""
    fit, rng = fitted(*case, method, **options), np.random.default_rng(1)
    known, _ = held_parameters(fit.spec)
    known = [k for k in known if method == "ML" or k.kind != "coefficient"]
    for objective in make_objectives(fit.spec, fit.products, fit.estimates, known):
        x = objective.start + 0.02 * rng.standard_normal(len(objective.start))
        value, h = objective.estimate + 0.1, 1e-5
        found = objective(x, value)
        steps = h * np.eye(len(x))
        numeric = [(objective(x + s, value).criterion - objective(x - s, value).criterion) / (2 * h) for s in steps]
        np.testing.assert_allclose(found.gradient, numeric, rtol=1e-5, atol=2e-5, err_msg=objective.held.name)
        slope = (objective(x, value + h).criterion - objective(x, value - h).criterion) / (2 * h)
        assert found.slope == pytest.approx(slope, rel=1e-5, abs=2e-5)


def test_reml_is_profiled_and_coefficients_by_ml():
    """The rise of the REML criterion at the ends of an interval, by a general minimiser."""
    fit = fitted("bright ~ 1 + (1 | operator)", "pulp", "REML")
    ends = fit.confint(method="profile")
    at = fit.likelihood.at

    def rise(log_sigma, sd):
        return at([sd / np.exp(log_sigma)], float(np.exp(log_sigma))).criterion - fit.criterion

    upper = ends.loc["sd(Intercept | operator)", "upper"]
    least = scipy.optimize.minimize_scalar(rise, bounds=(-3, 1), args=(upper,), method="bounded")
    assert least.fun == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-4)
    ml = fitted("bright ~ 1 + (1 | operator)", "pulp")
    np.testing.assert_allclose(ends.loc["Intercept"], ml.confint(method="profile").loc["Intercept"], rtol=1e-9)
    assert fit.profile("Intercept").frame["criterion"].unique().tolist() == ["ML"]


def test_ends_of_a_correlation_of_a_structure():
    """The criterion at the correlation's ends, least over sd with σ profiled, by a general minimiser."""
    fit = fitted("score ~ Machine + cs(0 + Machine | Worker)", "Machines")
    (name,) = [n for n in fit.profile(level=0.5).curves if n.startswith("cor(")]
    structure = fit.spec.terms[0].structure
    for end in fit.confint(method="profile").loc[name]:
        u = float(structure.shapes[0].coordinate(np.array(end)))

        def criterion(log_sds, u=u):
            return fit.likelihood.at([*np.exp(log_sds), u]).criterion

        start = np.log(fit.theta.to_numpy()[:-1])
        least = scipy.optimize.minimize(criterion, start, method="Nelder-Mead", options={"fatol": 1e-9, "xatol": 1e-6})
        assert least.fun - fit.criterion == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-3)


def test_ends_of_a_parameter_of_residuals():
    """The criterion at ends of ρ, by fits at that ρ."""
    fit = fitted("Reaction ~ Days + (1 | Subject)", "sleepstudy", "REML", variance=ranef.VarExp("Days"))
    for end in fit.confint(method="profile").loc["expon"]:
        there = fit_reml(fit.spec.with_rho(np.array([end])), "REML")
        assert there.criterion - fit.criterion == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-3)


def test_a_crossing_that_lme4_misses():
    fit = fitted("Fat ~ 1 + (1 | Lab) + (1 | Lab:Technician) + (1 | Lab:Technician:Sample)", "eggs")
    lower = fit.confint(0.9, "profile").loc["sd(Intercept | Lab:Technician)", "lower"]

    def criterion(x):
        sample, lab, sigma = np.exp(x)
        return fit.likelihood.at(np.array([sample, lower, lab]) / sigma, float(sigma)).criterion

    least = scipy.optimize.minimize(criterion, np.log([0.05, 0.1, 0.08]), method="Nelder-Mead", options={"fatol": 1e-9})
    assert least.fun - fit.criterion == pytest.approx(scipy.stats.chi2.ppf(0.9, 1), abs=1e-3)


def test_bounds_and_what_is_not_determined():
    fit = fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff2", "REML")
    curve = fit.profile("sd(Intercept | Batch)").curves["sd(Intercept | Batch)"]
    assert curve.values[0] == curve.estimate == 0.0
    assert curve.interval()[0] == 0.0


def test_correlations_reach_their_bounds():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(6), 5)
    x = np.tile(np.arange(5.0), 6)
    y = rng.normal(size=6)[g] * (1 + x) + 0.7 * rng.normal(size=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = ranef.Model("y ~ x + (x | g)", {"y": y, "x": x, "g": g.astype(str)}).fit("ML")
    name = "cor(Intercept, x | g)"
    ends = fit.confint(method="profile").loc[name]
    assert ends["upper"] == 1.0
    assert -1.0 < ends["lower"] < fit.varcorr["sdcor"][2]
    assert fit.profile(name).curves[name].values[-1] == 1.0


def test_a_correlation_costs_no_more_than_a_standard_deviation_of_zero():
    """Beside an sd of zero any correlation will do: ζ is level from there on, as lme4 has it of these data too."""
    rng = np.random.default_rng(18)
    g, x = np.repeat(np.arange(9), 6), np.tile(np.linspace(-1.0, 1.0, 6), 9)
    b = rng.standard_normal((9, 2)) * [0.4, 1.0]
    data = {"y": b[g, 0] + b[g, 1] * x + rng.standard_normal(54), "x": x, "g": [f"g{k}" for k in g]}
    fit, slopes = (ranef.Model(f"y ~ x + {bar}", data).fit("ML") for bar in ("(x | g)", "(0 + x | g)"))
    highest = np.sqrt(slopes.criterion - fit.criterion)
    name = "cor(Intercept, x | g)"
    curve = fit.profile(name).curves[name]
    assert 0 < highest < 1.9
    assert np.abs(curve.zeta).max() == pytest.approx(highest, abs=1e-4)
    assert curve.interval(0.95) == (-1.0, 1.0)
    assert any("level beyond" in note for note in curve.notes)
    within = curve.interval(0.5)
    assert -1 < within[0] < within[1] < 1


def test_residual_parameters_stand_on_the_scale_that_is_read():
    fit = fitted("score ~ Machine + (1 | Worker)", "Machines", variance=ranef.VarIdent("Machine"))
    ends = fit.confint(method="profile")
    ratios = fit.residual_parameters.set_index("parameter")["estimate"]
    for stratum in ("B", "C"):
        lower, upper = ends.loc[f"ratio({stratum})"]
        assert lower < ratios[stratum] < upper
        z = [np.log(upper / ratios[stratum]), np.log(ratios[stratum] / lower)]
        se = fit.residual_parameters.set_index("parameter").loc[stratum, "std_error"] / ratios[stratum]
        np.testing.assert_allclose(z, 1.96 * se, rtol=0.3)  # about normal in log


def test_a_parameter_that_falls_with_its_coordinate():
    fit = fitted("Reaction ~ Days", "sleepstudy", correlation=ranef.ARMA(1, 1, "Days", group="Subject"))
    ends = fit.confint(method="profile", parameters=["Phi1", "Theta1"])
    estimates = fit.residual_parameters.set_index("parameter")["estimate"]
    assert (ends["lower"] < estimates).all()
    assert (estimates < ends["upper"]).all()
    assert (np.diff(fit.profile("Theta1").curves["Theta1"].zeta) > 0).all()


def test_what_has_no_profile_says_so():
    fit = fitted("bright ~ 1 + (1 | operator)", "pulp", sigma=0.3)
    assert "sigma" not in fit.confint(method="profile").index
    with pytest.raises(ranef.DesignError, match=r"sigma is fixed at 0\.3 \(sigma=\)"):
        fit.profile("sigma")
    with pytest.raises(ranef.DesignError, match="There is no parameter 'Day'"):
        fitted(*SLEEP).confint(method="profile", parameters="Day")
    with pytest.raises(ranef.DesignError, match="There is no parameter 'sigma' here"):
        fit.confint(parameters="sigma")
    for method in ("wald", "profile"):
        with pytest.raises(ranef.DesignError, match="There is no parameter 1"):
            fit.confint(method=method, parameters=1)


def test_units_change_nothing():
    """ζ at a value is the same in other units of response and covariate."""
    data = ranef.datasets.load("sleepstudy")
    plain = ranef.Model(SLEEP[0], data).fit("ML").confint(method="profile")
    data = data.assign(Reaction=1e3 * data["Reaction"] + 5e5, Days=data["Days"] / 24)
    other = ranef.Model(SLEEP[0], data).fit("ML").confint(method="profile")
    scales = np.array([1e3, 24e3, 1e3, 24e3, 1.0, 1e3])[:, None]
    expected = plain.to_numpy() * scales + np.array([5e5, 0, 0, 0, 0, 0])[:, None]
    np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-4)


SWEPT = [c for c in FITTED if rows_of(c) <= 1000]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("case", SWEPT)
def test_the_way_to_an_end_does_not_matter(case, method):
    """Straight to the ends, or by points between, of every reference whose parameters are determined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ranef.RanefWarning)
        fit = model(case).fit(method)
    if fit.optimizer.undetermined:
        pytest.skip("some parameters are not determined")
    ways = [likelihood_profiles(fit.spec, fit.products, fit.estimates, level=0.95, steps=k) for k in (1, 3, 6)]
    ends = [way.confint(0.95) for way in ways]
    width = (ends[0]["upper"] - ends[0]["lower"]).to_numpy()[:, None]
    assert not ends[0].isna().any().any()
    for way, other in zip(ways[1:], ends[1:], strict=True):
        apart = np.abs((other - ends[0]) / width) > 5e-3
        for name, side in zip(*(np.array(at) for at in np.nonzero(apart.to_numpy())), strict=True):
            curve = list(way.curves.values())[name]  # where ζ is level, near zero, it is what has to agree
            assert abs(curve.at(ends[0].iloc[name, side])) == pytest.approx(1.96, abs=2e-3)


def test_sleepstudy_takes_a_third_of_a_second():
    fit = fitted(*SLEEP)
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        fit.confint(method="profile")
        best = min(best, time.process_time() - start)
    assert best < 0.3
