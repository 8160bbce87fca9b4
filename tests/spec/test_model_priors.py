from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpyro import distributions as dist
from scipy import stats

import ranef
from _ranef.spec import replacements
from ranef import priors

MODEL = ranef.Model("Reaction ~ Days + (Days | Subject)", ranef.datasets.load("sleepstudy"))


def test_defaults_follow_their_documentation():
    data = ranef.datasets.load("sleepstudy")
    s = data["Reaction"].std(ddof=0)
    p = MODEL.priors()
    assert p.fixef["Intercept"].loc == pytest.approx(data["Reaction"].mean())
    assert p.fixef["Intercept"].scale == pytest.approx(2.5 * s)
    assert p.fixef["Days"].scale == pytest.approx(2.5 * s / data["Days"].std(ddof=0))
    assert p.sd["Subject", "Intercept"].scale == pytest.approx(s)
    assert p.sd["Subject", "Days"].scale == pytest.approx(s / data["Days"].std(ddof=0))
    assert p.sigma.scale == pytest.approx(s)
    assert list(p.corr.values()) == [priors.LKJ(1.0)]


def test_defaults_scale_with_the_data():
    data = ranef.datasets.load("sleepstudy")
    scaled = ranef.Model(
        "Reaction ~ Days + (Days | Subject)", data.assign(Reaction=10 * data["Reaction"], Days=data["Days"] / 4)
    ).priors()
    before = MODEL.priors()
    assert scaled.fixef["Days"].scale == pytest.approx(40 * before.fixef["Days"].scale)
    assert scaled.sd["Subject", "Days"].scale == pytest.approx(40 * before.sd["Subject", "Days"].scale)


def test_replacements():
    p = MODEL.priors({"sd(Days | Subject)": priors.HalfNormal(3.0), "sigma": priors.HalfNormal(10.0)})
    assert p.sd["Subject", "Days"] == priors.HalfNormal(3.0)
    assert p.sd["Subject", "Intercept"] == MODEL.priors().sd["Subject", "Intercept"]
    assert "sigma ~ HalfNormal(10)" in p.lines()
    assert MODEL.priors({"fixef": priors.Flat()}).fixef["Days"] == priors.Flat()
    assert MODEL.priors({"corr": priors.LKJ(4)}).lines()[-2].endswith("LKJ(4)")
    assert MODEL.priors("flat").flat


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("negative binomial", ["size"]),
        ("negative binomial 1", ["dispersion"]),
        ("gamma", ["dispersion"]),
        ("inverse gaussian", ["dispersion"]),
        ("t", ["scale", "nu"]),
        ("ordinal", ["gap2"]),
        ("poisson", []),
    ],
)
def test_what_a_response_has_of_its_own_is_never_flat(word, names):
    y = np.tile([1.0, 2.0, 3.0, 2.0, 1.0], 12)
    model = ranef.Model("y ~ 1 + (1 | g)", {"y": y, "g": np.repeat(list("abcdef"), 10)}, family=word)
    flat, usual = model.priors("flat"), model.priors()
    assert list(flat.dispersions) == names
    assert flat.dispersions == usual.dispersions
    lines = flat.lines(model.spec.family)
    assert lines[2:] == usual.lines(model.spec.family)[2:]
    if word in ("negative binomial", "gamma", "ordinal"):
        draws = model.sample(5, chains=1, seed=1, sampler="direct", priors="flat", progress=False).draws
        assert draws.extras.keys() == {*names}


def test_the_more_specific_name_wins_whatever_the_order():
    for order in (1, -1):
        changes = {
            "sd[Subject, Days]": priors.Exponential(1.0),
            "sd[Subject]": priors.HalfCauchy(2.0),
            "sd": priors.HalfNormal(3.0),
            "fixef": priors.Flat(),
            "fixef[Days]": priors.Cauchy(0.0, 1.0),
        }
        p = MODEL.priors(dict(list(changes.items())[::order]))
        assert p.sd["Subject", "Days"] == priors.Exponential(1.0)
        assert p.sd["Subject", "Intercept"] == priors.HalfCauchy(2.0)
        assert p.fixef["Days"] == priors.Cauchy(0.0, 1.0)
    assert MODEL.priors({"cor[Subject]": priors.LKJ(3)}).corr == {"cor(Intercept, Days | Subject)": priors.LKJ(3)}


def test_symmetric_families_stand_for_their_positive_half():
    assert MODEL.priors({"sigma": priors.Normal(0, 4)}).sigma == priors.HalfNormal(4)
    assert MODEL.priors({"sigma": priors.StudentT(3, 0, 4)}).sigma == priors.HalfStudentT(3, 4)
    assert MODEL.priors({"sd": priors.Cauchy(0, 4)}).sd["Subject", "Days"] == priors.HalfCauchy(4)


def test_distributions_of_numpyro_are_taken():
    changes = {
        "sigma": dist.Exponential(0.5),
        "sd": dist.HalfCauchy(3.0),
        "Days": dist.Laplace(0.0, 2.0),
        "cor": dist.LKJ(2, 1.5),
        "Intercept": dist.Normal(250.0, 20.0),
    }
    p = MODEL.priors(changes)
    assert p.sigma == priors.Exponential(0.5)
    assert p.sd["Subject", "Days"] == priors.HalfCauchy(3.0)
    assert p.fixef["Intercept"] == priors.Normal(250.0, 20.0)
    assert list(p.corr.values()) == [priors.LKJ(1.5)]
    assert "Days ~ numpyro Laplace(loc=0.0, scale=2.0)" in p.lines()
    with pytest.raises(ranef.DesignError, match="batch shape \\(3,\\)"):
        MODEL.priors({"Days": dist.Normal(np.zeros(3), 1.0)})


@pytest.mark.parametrize(
    "family",
    [
        priors.Normal(1, 2),
        priors.StudentT(5, 1, 2),
        priors.HalfNormal(2),
        priors.HalfStudentT(5, 2),
        priors.Exponential(0.5),
        priors.Gamma(3, 0.5),
        priors.Cauchy(1, 2),
        priors.HalfCauchy(2),
    ],
    ids=str,
)
def test_families_are_sampled(family):
    """Quartiles against scipy."""
    draws = family.sample(np.random.default_rng(1), (40_000,))
    scipy_names = {
        "Normal": stats.norm(1, 2),
        "StudentT": stats.t(5, 1, 2),
        "HalfNormal": stats.halfnorm(scale=2),
        "Exponential": stats.expon(scale=2),
        "Gamma": stats.gamma(3, scale=2),
        "Cauchy": stats.cauchy(1, 2),
        "HalfCauchy": stats.halfcauchy(scale=2),
    }
    name = type(family).__name__
    reference = scipy_names.get(name)
    cdf = reference.cdf if reference else lambda x: 2 * stats.t(5, scale=2).cdf(x) - 1
    assert stats.kstest(draws, cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Dyas": priors.Normal(0, 1)}, "no parameter 'Dyas'.*Did you mean 'Days'"),
        ({"sigma": priors.Normal(1, 1)}, "must be HalfNormal or HalfStudentT"),
        ({"Days": priors.HalfNormal(1)}, "The prior of 'Days' is HalfNormal\\(1\\); it must be Normal or StudentT"),
        ({"cor": priors.Gamma(1, 1)}, "must be LKJ"),
        (
            {"sd[Subjct]": priors.HalfNormal(1)},
            "Did you mean 'sd\\[Subject\\]'.*Known names: fixef, Intercept, Days, sd",
        ),
        ({"ranef": priors.StudentT(4, 0, 2)}, "must be StudentT\\(df\\)"),
        ({"nu": priors.Normal(4, 1)}, "must be Gamma"),
        ({"fixef": priors.R2D2(), "Days": priors.Normal(0, 1)}, "'Days' cannot have its own"),
        ({"sd": 3.0}, "The prior of 'sd' is 3.0"),
        ("flt", "must be 'flat'"),
    ],
)
def test_impossible_priors(change, message):
    with pytest.raises(ranef.DesignError, match=message):
        MODEL.priors(change)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (priors.HalfNormal, "is the class HalfNormal; call it"),
        (dist.HalfNormal, "is the class HalfNormal; call it"),
        (dist.Delta(2.0), "Delta, which has no density"),
    ],
)
def test_what_is_no_distribution_with_a_density_is_refused(prior, message):
    with pytest.raises(ranef.DesignError, match=message):
        MODEL.priors({"sigma": prior})


def test_a_known_sigma_has_no_prior():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": list("abcd"), "w": [1.0, 0.5, 0.2, 1.0]})
    model = ranef.Model("y ~ 1 + (1 | g)", data, weights="w", sigma=1)
    assert "sigma = 1, known" in repr(model.priors())
    with pytest.raises(ranef.DesignError, match="sigma is known to be 1"):
        model.priors({"sigma": priors.HalfNormal(1.0)})


def test_spaces_do_not_matter_and_b_stands_for_the_coefficients():
    assert MODEL.priors({"sd[Subject,Days]": priors.HalfNormal(1)}).sd["Subject", "Days"] == priors.HalfNormal(1)
    assert MODEL.priors({"b": priors.Flat()}).fixef["Days"] == priors.Flat()


@pytest.mark.parametrize(
    "make", [lambda: priors.Normal(0, 0), lambda: priors.LKJ(-1), lambda: priors.HalfNormal(np.inf)]
)
def test_families_check_their_numbers(make):
    with pytest.raises(ranef.DesignError, match="must be a positive finite number"):
        make()


MACHINES = ranef.Model("score ~ Machine + (Machine | Worker)", ranef.datasets.load("machines"))


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MODEL, {}),
        (MODEL, {"sd": priors.Exponential(0.1)}),
        (MODEL, {"sd": priors.Exponential(0.1), "sd[Subject, Days]": priors.HalfNormal(3)}),
        (MODEL, {"sd[Subject, Intercept]": priors.HalfNormal(30)}),
        (MODEL, {"sd[Subject, Days]": priors.HalfNormal(3)}),
        (MODEL, {"sd[Subject, Intercept]": MODEL.priors().sd["Subject", "Intercept"]}),
        (MACHINES, {"sd": priors.HalfNormal(3)}),
        (MACHINES, {"sd[Worker, Machine[T.B]]": priors.HalfNormal(3)}),
        (MACHINES, {"sd[Worker, Machine[B]]": priors.HalfNormal(3)}),
    ],
)
def test_replacements_make_the_priors_again(model, changes):
    p = model.priors(changes)
    names = replacements(p, model.priors())
    assert bool(names) == bool(changes)
    again = model.priors(names)
    assert again.lines() == p.lines()
    for key, own in p.columns.items():
        np.testing.assert_array_equal(again.columns[key].outward, own.outward)


def test_a_prior_by_the_name_of_a_column_is_of_the_column_as_written():
    assert not any(MODEL.priors({"sd": priors.HalfNormal(30)}).columns["Subject", 0].where)
    assert MODEL.priors({"cor": priors.LKJ(2.0)}).columns["Subject", 0].where[0]
    assert not any(MODEL.priors({"sd[Subject, Intercept]": priors.HalfNormal(30)}).columns["Subject", 0].where)
    assert MODEL.priors({"sd[Subject, Days]": priors.HalfNormal(3)}).columns["Subject", 0].where[0]
    assert "sd(Machine[A] | Worker)" in str(MACHINES.priors())
    assert "sd(Machine[T.B] | Worker)" in str(MACHINES.priors({"sd[Worker, Machine[T.C]]": priors.HalfNormal(3)}))


def test_a_replaced_coefficient_takes_its_block_along():
    """The others of a factor keep the marginals that are printed; without a replacement they are joint."""
    names = MACHINES.spec.design.fixed_names
    C, _ = MACHINES.priors({"Machine[T.B]": priors.StudentT(3, 0, 5)}).coordinates(names)
    np.testing.assert_array_equal(C[1:], np.eye(3)[1:])
    np.testing.assert_allclose(C[0], [1, 1 / 3, 1 / 3])  # the mean response, whatever the others have
    joint, _ = MACHINES.priors().coordinates(names)
    assert joint[1, 2] != 0


def test_where_the_model_itself_depends_on_an_origin_it_is_said():
    data = ranef.datasets.load("sleepstudy")
    late = data.assign(Days=data["Days"] + 2000)
    for bar in ("(Days || Subject)", "(0 + Days | Subject)"):
        assert not ranef.Model(f"Reaction ~ Days + {bar}", data).spec.design.notes
        with pytest.warns(ranef.DataWarning, match="depends on the origin of Days"):
            model = ranef.Model(f"Reaction ~ Days + {bar}", late)
        assert "depends on the origin of Days" in str(model.describe())
        assert "depends on the origin of Days" in str(model.fit().summary())
    with pytest.warns(ranef.DataWarning, match="depends on the origin of Days"):
        ranef.Model("Reaction ~ Days + (Days || Subject)", [late.iloc[:90], late.iloc[90:]])
    free = ranef.Model("Reaction ~ Days + (Days | Subject)", late).fit()
    assert "standard deviations from its mean. Predictions do not depend on it" in str(free.summary())


def test_a_column_of_ones_is_an_intercept():
    """By whatever name the intercept goes, priors know no origin of the covariate."""
    data = ranef.datasets.load("sleepstudy").assign(one=1.0)
    plain = ranef.Model("Reaction ~ Days + (Days | Subject)", data)
    shifted = ranef.Model("Reaction ~ Days + (0 + Days + one | Subject)", data.assign(Days=data["Days"] + 2000))
    wanted, found = (m.priors().term(m.spec.terms[0]) for m in (plain, shifted))
    np.testing.assert_allclose(found.sizes[::-1], wanted.sizes, rtol=1e-9)
    to_plain = np.array([[2000.0, 1.0], [1.0, 0.0]])  # effects of `plain` by those on the columns of `shifted`
    np.testing.assert_allclose((to_plain @ found.outward)[:, ::-1], wanted.outward, atol=1e-9)


def test_where_priors_depend_on_the_coding_it_is_said():
    """Added factors stand in steps; where a bar has more columns than its factors have effects there are none."""
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=240), "g": np.repeat(np.arange(8), 30)}
    data |= {"f": np.tile(list("abc"), 80), "h": np.repeat(list("pqrpqr"), 40), "k": np.tile(list("uuuvvv"), 40)}
    cases = (("f:h + i", True), ("f:h", False), ("f + h", False), ("f * h", False), ("f + k", False), ("0 + f", False))
    data["i"] = rng.choice(list("lmn"), 240)
    for effects, said in cases:
        notes = ranef.Model(f"y ~ 1 + ({effects} | g)", data).priors().notes
        assert any("depend on the reference level" in note for note in notes) == said, effects
    names = [prior[0] for prior in ranef.Model("y ~ 1 + (f + k | g)", data).priors().sd]
    assert len(names) == 4


def test_steps_of_added_factors_start_from_the_label_that_sorts_first():
    rng = np.random.default_rng(0)
    f, h = np.tile(list("abc"), 80), rng.choice(list("pqr"), 240)
    data = pd.DataFrame({"y": rng.normal(size=240), "g": np.repeat(np.arange(20), 12), "f": f, "h": h})
    data["f"] = pd.Categorical(data["f"], categories=list("bca"))
    model = ranef.Model("y ~ 1 + (f + h | g)", data)
    term = model.priors().term(model.spec.terms[0])
    assert term.names == ("Intercept", "f[b - a]", "f[c - a]", "h[T.q]", "h[T.r]")
    # of columns f[T.c] and f[T.a], the steps from a are minus f[T.a], and f[T.c] minus f[T.a]
    np.testing.assert_allclose(np.linalg.inv(term.outward)[1:3, 1:3], [[0, -1], [1, -1]], atol=1e-12)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_a_constant_response_varies_as_its_known_residuals_do(unit):
    data = {"y": np.full(24, 5.1 * unit), "g": np.repeat(list("abcdef"), 4)}
    p = ranef.Model("y ~ 1 + (1 | g)", data, sigma=2.0 * unit).priors()
    assert p.sd["g", "Intercept"].scale == pytest.approx(2.0 * unit)
    assert p.fixef["Intercept"].scale == pytest.approx(5.0 * unit)


def test_a_slope_in_a_cell_where_the_covariate_is_constant_has_the_scale_of_the_others():
    rng = np.random.default_rng(0)
    g, f, x = np.repeat(np.arange(20), 10), np.tile(list("abcde"), 40), np.tile(np.arange(10) - 3.0, 20) + 0.1
    data = {"y": rng.normal(size=200), "g": g, "f": f, "x": np.where(f == "a", 0.1, x)}
    scales = {c: p.scale for (_, c), p in ranef.Model("y ~ (f*x | g)", data | {"g": g % 4}).priors().sd.items()}
    assert scales["f[a]:x"] == pytest.approx(scales["f[b]:x"], rel=0.5)


def test_powers_of_years_have_priors():
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=120), "year": np.tile(np.arange(2000.0, 2006.0), 20), "g": np.repeat(np.arange(20), 6)}
    p = ranef.Model("y ~ year + I(year^2) + I(year^3) + (1 | g)", data).priors()
    assert np.isfinite([p.fixef[name].scale for name in p.fixef]).all()


def test_naming_one_column_leaves_the_scales_of_the_others():
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=240), "g": np.repeat(np.arange(20), 12), "x": rng.normal(3, 1, 240)}
    model = ranef.Model("y ~ x * year + (x * year | g)", data | {"year": rng.integers(2000, 2006, 240).astype(float)})
    plain, named = model.priors(), model.priors({"sd[g, x]": priors.HalfNormal(5)})
    assert named.sd["g", "x:year"] == plain.sd["g", "x:year"]
    assert named.sd["g", "x"] == priors.HalfNormal(5)
    assert not named.columns["g", 0].where[1]
    assert named.columns["g", 0].where[0]


def test_commas_within_names_of_levels():
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=60), "g": np.repeat(np.arange(10), 6), "f": np.tile(["0", "a,b"], 30)}
    model = ranef.Model("y ~ f + (f | g)", data)
    p = model.priors({"f[T.a,b]": priors.Normal(0, 1), "sd[g,f[T.a,b]]": priors.HalfNormal(2)})
    assert p.fixef["f[T.a,b]"] == priors.Normal(0, 1)
    assert p.sd["g", "f[T.a,b]"] == priors.HalfNormal(2)


@pytest.mark.parametrize("given", [[priors.HalfNormal(1)], 5, {1: priors.HalfNormal(1)}, "flt"])
def test_priors_are_flat_or_a_mapping_of_names(given):
    with pytest.raises(ranef.DesignError, match="mapping from names"):
        MODEL.priors(given)


@pytest.mark.parametrize("bars", ["(f | g) + diag(0 + f | g)", "diag(0 + f | g) + (f | g)"])
def test_cells_do_not_take_the_names_of_another_term(bars):
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=120), "g": np.repeat(np.arange(10), 12), "f": np.tile(list("abc"), 40)}
    assert len(ranef.Model(f"y ~ f + {bars}", data, sigma=1.0).priors().sd) == 6
