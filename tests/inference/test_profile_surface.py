"""The profiled criterion against the density of the response and a general minimiser."""

import numpy as np
import pandas as pd
import pytest
import scipy

import ranef
from _ranef.inference import held_sds as held_module
from _ranef.inference import profile_surface as surface_module
from _ranef.inference.held_sds import Profile, make_criterion, minimise, profile_names
from _ranef.inference.profile_surface import chosen_pair, contour_levels, criterion_surface
from oracle import Dense


def fitted(formula, name, method="REML", **options):
    return ranef.Model(formula, ranef.datasets.load(name), **options).fit(method)


def dense_criterion(fit, roots, sigma, method):
    """−2 log (restricted) likelihood at absolute roots of Σ by term, from V itself."""
    m = fit.matrices
    Z, y = tuple(term.Z.toarray() for term in m.terms), m.y.to_numpy()
    return Dense(y, m.X.to_numpy(), Z, tuple(roots), sigma**2 * np.eye(len(y)), method, 1.0).criterion


CASES = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    ("strength ~ 1 + (1 | batch/cask)", "pastes"),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize(("formula", "data"), CASES)
def test_criterion_at_absolute_roots_is_that_of_the_density(formula, data, blocks, method, monkeypatch):
    fit, rng = fitted(formula, data, method), np.random.default_rng(1)
    if not blocks:
        monkeypatch.setattr(held_module, "has_blocks", lambda spec: False)
    criterion = make_criterion(fit.spec, fit.products, method)
    assert (criterion.batch is not None) == blocks
    sizes = [t.structure.size for t in fit.spec.terms]
    kinds = [t.structure.word for t in fit.spec.terms]
    roots = [np.tril(rng.normal(0, fit.sigma, (2, p, p))) for p in sizes]
    roots = [r if k == "us" else r * np.eye(r.shape[-1]) for r, k in zip(roots, kinds, strict=True)]
    sigma = fit.sigma * np.array([0.7, 1.4])
    found = criterion(roots, sigma)
    expected = [dense_criterion(fit, [r[i] for r in roots], sigma[i], method) for i in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("formula", "data"), CASES)
def test_held_sds_are_kept_whatever_the_free_coordinates(formula, data):
    fit = fitted(formula, data)
    names = profile_names(fit.spec)
    places = list(names.values())[:2]
    held = Profile.at(make_criterion(fit.spec, fit.products, "REML"), places, fit.estimates)
    seen = []
    object.__setattr__(held, "criterion", _Recorder(held.criterion, seen))
    values = np.array([[2.0, 3.0], [0.5, 0.0]])
    held(values, np.random.default_rng(2).normal(size=(2, held.start.size)))
    (roots, _), *_ = seen
    for column, (term, row) in enumerate(places):
        np.testing.assert_allclose(np.linalg.norm(roots[term][:, row], axis=1), values[:, column])


class _Recorder:
    """The criterion, which notes what it is asked for."""

    def __init__(self, criterion, seen):
        self.criterion, self.seen, self.spec = criterion, seen, criterion.spec

    def __call__(self, roots, sigma):
        self.seen.append((roots, sigma))
        return self.criterion(roots, sigma)


def test_profile_is_the_least_of_the_density_over_correlation_and_sigma():
    fit = fitted("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=5)
    assert s.minimised == ("cor(Intercept, Days | Subject)", "sigma")
    for i, j in [(0, 0), (1, 3), (2, 2), (4, 1)]:
        sds = np.array([s.x[j], s.y[i]])

        def dense(at, sds=sds):
            r = np.tanh(at[0])
            root = np.diag(sds) @ np.array([[1, 0], [r, np.sqrt(1 - r**2)]])
            return dense_criterion(fit, [root], np.exp(at[1]), "REML")

        least = scipy.optimize.minimize(dense, [0.1, np.log(25)], method="Nelder-Mead", options={"xatol": 1e-5}).fun
        # Newton stops where another step promises less than 1e-3
        assert s.rise[i, j] == pytest.approx(least - fit.criterion, abs=2e-3)


def test_a_shared_sd_is_not_minimised_over_under_its_second_name():
    fit = fitted("Reaction ~ Days + ident(Days | Subject)", "sleepstudy")
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=5)
    assert (s.x_name, s.y_name, s.minimised) == ("sd(Intercept | Subject)", "sigma", ())
    data = ranef.datasets.load("Penicillin")
    fit = ranef.Model("diameter ~ 1 + (1 | plate) + ident(0 + sample | sample)", data).fit()
    s = criterion_surface(fit.spec, fit.products, fit.estimates, "sigma", "sd(Intercept | plate)", points=3)
    assert s.minimised == ("sd(sample[A] | sample)",)


def test_two_parameters_are_evaluated_directly():
    fit = fitted("bright ~ 1 + (1 | operator)", "pulp", "ML")
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=7)
    assert (s.x_name, s.y_name, s.minimised) == ("sd(Intercept | operator)", "sigma", ())
    for i, j in [(0, 0), (3, 5), (6, 2)]:
        expected = dense_criterion(fit, [np.array([[s.x[j]]])], s.y[i], "ML") - fit.criterion
        assert s.rise[i, j] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("formula", "data"), [*CASES, ("Yield ~ 1 + (1 | Batch)", "dyestuff2")])
def test_surface_rises_from_the_optimum_beyond_the_outer_contour(formula, data):
    fit = fitted(formula, data)
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=21)
    assert (s.rise >= -1e-3).all()
    j, i = (np.abs(axis - at).argmin() for axis, at in zip((s.x, s.y), s.optimum, strict=True))
    assert s.rise[i, j] == pytest.approx(s.rise.min(), abs=0.7)  # the grid's nearest point
    # the 99 % region does not touch the edge, but for a boundary at zero
    edges = [s.rise[:, -1], s.rise[-1]]
    edges += [s.rise[:, 0]] if s.x[0] > 0 else []
    edges += [s.rise[0]] if s.y[0] > 0 else []
    assert min(e.min() for e in edges) > contour_levels()[-1]


def test_boundary_optimum_lies_on_the_edge():
    fit = fitted("Yield ~ 1 + (1 | Batch)", "dyestuff2")
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=15)
    assert s.optimum[0] == 0 == s.x[0]
    # the larger the sd the worse, but where σ is held so small that something has to take its place
    assert (np.diff(s.rise[s.y >= fit.sigma], axis=1) > 0).all()


def test_a_coarse_grid_filled_in_by_splines_agrees(monkeypatch):
    fit = fitted("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    fine = criterion_surface(fit.spec, fit.products, fit.estimates, points=17)
    monkeypatch.setattr(surface_module, "BUDGET", 0.0)
    coarse = criterion_surface(fit.spec, fit.products, fit.estimates, points=17)
    assert (fine.computed, coarse.computed) == (17, 7)
    near = fine.rise < 10
    # cubic splines through seven points; contours are 1.8 apart and more
    np.testing.assert_allclose(coarse.rise[near], fine.rise[near], atol=0.05)


def test_crossed_factors_of_many_levels_take_few_values(monkeypatch):
    """Minimised at every point of a coarse grid, and what splines fill in is what a fine one has."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": rng.integers(0, 40, 400), "b": rng.integers(0, 30, 400), "x": rng.normal(size=400)})
    slopes = rng.normal(size=40)[data["a"]] * data["x"]
    data["y"] = rng.normal(size=40)[data["a"]] + slopes + rng.normal(size=30)[data["b"]] + rng.normal(size=400)
    fit = ranef.Model("y ~ x + (x | a) + (1 | b)", data).fit()
    seen = []
    own = held_module.Criterion.__call__
    monkeypatch.setattr(held_module.Criterion, "__call__", lambda *at: seen.append(len(at[-1])) or own(*at))
    coarse = criterion_surface(fit.spec, fit.products, fit.estimates, points=11)
    assert not coarse.expanded
    assert coarse.computed < 11
    assert sum(seen) < 5000  # of 0.3 ms and more
    monkeypatch.setattr(surface_module, "BUDGET", 1e9)
    fine = criterion_surface(fit.spec, fit.products, fit.estimates, points=11)
    np.testing.assert_array_equal(fine.x, coarse.x)
    near = fine.rise < 10
    # splines, and 1e-3 where Newton's method stops
    np.testing.assert_allclose(coarse.rise[near], fine.rise[near], atol=0.05)


def test_axes_of_precise_sds_on_a_boundary():
    """Many levels with a correlation of one: no standard errors, and sds known to five per cent."""
    rng = np.random.default_rng(1)
    b, x = np.repeat(rng.normal(size=200), 4), np.tile([-1.0, 0.0, 1.0, 2.0], 200)
    data = pd.DataFrame({"g": np.repeat(np.arange(200), 4), "x": x})
    data["y"] = 1.37 * b * (1 + 0.5 * x) + 0.05 * rng.normal(size=800)
    fit = ranef.Model("y ~ x + (x | g)", data).fit()
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=5)
    for axis, best in zip((s.x, s.y), s.optimum, strict=True):
        assert 0.6 * best < axis[0] < best < axis[-1] < 1.5 * best


def test_costly_criteria_follow_the_quadratic(monkeypatch):
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"a": rng.integers(0, 60, 2000), "b": rng.integers(0, 50, 2000)})
    data["y"] = rng.normal(size=60)[data["a"]] + rng.normal(size=50)[data["b"]] + rng.normal(size=2000)
    fit = ranef.Model("y ~ 1 + (1 | a) + (1 | b)", data).fit()
    shown = ((0.6, 2.0), (0.5, 1.8))  # beyond the contours
    exact = criterion_surface(fit.spec, fit.products, fit.estimates, points=15, within=shown)
    monkeypatch.setattr(surface_module, "LONGEST", 0.0)
    expanded = criterion_surface(fit.spec, fit.products, fit.estimates, points=15, within=shown)
    assert exact.rise[:, [0, -1]].min() > 10
    assert (exact.expanded, expanded.expanded) == (False, True)
    np.testing.assert_allclose(expanded.x, exact.x)
    near = exact.rise < 10
    np.testing.assert_allclose(expanded.rise[near], exact.rise[near], atol=0.1)


def test_ranges_to_be_shown_are_reached():
    fit = fitted("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=5, within=((1.0, 90.0), (5.0, 6.0)))
    assert s.x[0] <= 1
    assert s.x[-1] >= 90
    assert s.y[-1] == pytest.approx(6.6)  # the contours are wider, but the draws stay readable


def test_units_do_not_matter():
    data = ranef.datasets.load("sleepstudy")
    plain = ranef.Model("Reaction ~ Days + (Days | Subject)", data).fit()
    other = ranef.Model(
        "Reaction ~ Days + (Days | Subject)", data.assign(Reaction=1e-3 * data["Reaction"], Days=60 * data["Days"])
    ).fit()
    first, second = (criterion_surface(f.spec, f.products, f.estimates, points=6) for f in (plain, other))
    np.testing.assert_allclose(second.x, 1e-3 * first.x, rtol=1e-4)
    np.testing.assert_allclose(second.y, 1e-3 / 60 * first.y, rtol=1e-4)
    np.testing.assert_allclose(second.rise, first.rise, atol=5e-3)


def test_a_known_sigma_is_no_axis():
    fit = fitted("Reaction ~ Days + (Days | Subject)", "sleepstudy", sigma=25)
    assert list(profile_names(fit.spec)) == ["sd(Intercept | Subject)", "sd(Days | Subject)"]
    s = criterion_surface(fit.spec, fit.products, fit.estimates, points=5)
    assert s.minimised == ("cor(Intercept, Days | Subject)",)
    assert (s.rise > -1e-3).all()


def test_pairs_and_their_names():
    spec = fitted("Reaction ~ Days + (Days | Subject)", "sleepstudy").spec
    assert chosen_pair(spec) == ("sd(Intercept | Subject)", "sd(Days | Subject)")
    assert chosen_pair(spec, y="sd(Intercept | Subject)")[0] == "sd(Days | Subject)"
    assert chosen_pair(spec, "sigma") == ("sigma", "sd(Intercept | Subject)")
    with pytest.raises(ranef.DesignError, match="Did you mean 'sd\\(Days"):
        chosen_pair(spec, "sd(Day | Subject)")
    with pytest.raises(ranef.DesignError, match="both 'sigma'"):
        chosen_pair(spec, "sigma", "sigma")
    with pytest.raises(ranef.DesignError, match="has 1 unknown"):
        chosen_pair(fitted("Reaction ~ Days", "sleepstudy").spec)


def test_minimise_finds_the_bottom_of_a_bent_valley():
    def rosenbrock(values, u):
        return (values[:, 0] - u[:, 0]) ** 2 + 5.0 * (u[:, 1] - u[:, 0] ** 2) ** 2

    values = np.array([[0.5], [-1.0], [1.5]])
    lowest, u = minimise(rosenbrock, values, np.zeros((3, 2)))
    np.testing.assert_allclose(lowest, 0.0, atol=2e-3)
    np.testing.assert_allclose(u[:, 0], values[:, 0], atol=0.1)
