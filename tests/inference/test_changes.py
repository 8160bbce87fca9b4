"""What no origin, unit, order or coding changes, function by function of inference."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

import ranef

FORMULA = "y ~ f + x + (x | g)"
ROWS = 72


@cache
def made():
    """Twelve groups of six rows, with weights; the group and the factor by name."""
    rng = np.random.default_rng(5)
    g = rng.permutation(np.repeat(np.arange(12), 6))
    out = pd.DataFrame({"g": [f"g{i:02d}" for i in g], "f": rng.choice(list("abc"), ROWS)})
    out["x"], out["w"] = 3.0 + 2.0 * rng.standard_normal(ROWS), rng.uniform(0.5, 2.0, ROWS)
    effects = rng.standard_normal((12, 2)) * [1.0, 0.4]
    out["y"] = 10.0 + 0.5 * out["x"] + effects[g, 0] + effects[g, 1] * (out["x"] - 3.0)
    out["y"] += out["f"].map({"a": 0.0, "b": 1.0, "c": -1.0}) + rng.standard_normal(ROWS) / np.sqrt(out["w"])
    return out


def relabelled(data):
    return data.assign(g=data["g"].map(lambda name: f"z{99 - int(name[1:])}"))


def with_levels(data, levels, groups=()):
    return data.assign(
        f=pd.Categorical(data["f"], categories=list(levels)),
        g=pd.Categorical(data["g"], categories=[*sorted(set(data["g"])), *groups]),
    )


#: name: the data changed, the formula, the unit and the shift of y, and the unit of x
CHANGES = {
    "order of rows": lambda d: (d.sample(frac=1, random_state=3), FORMULA, 1.0, 0.0, 1.0),
    "y x 1e-6": lambda d: (d.assign(y=1e-6 * d["y"]), FORMULA, 1e-6, 0.0, 1.0),
    "y x 1e6": lambda d: (d.assign(y=1e6 * d["y"]), FORMULA, 1e6, 0.0, 1.0),
    "y + 1e5": lambda d: (d.assign(y=d["y"] + 1e5), FORMULA, 1.0, 1e5, 1.0),
    "-y": lambda d: (d.assign(y=-d["y"]), FORMULA, -1.0, 0.0, 1.0),
    "x x 1e4": lambda d: (d.assign(x=1e4 * d["x"]), FORMULA, 1.0, 0.0, 1e4),
    "x + 2005": lambda d: (d.assign(x=d["x"] + 2005.0), FORMULA, 1.0, 0.0, 1.0),
    "weights x 1e4": lambda d: (d.assign(w=1e4 * d["w"]), FORMULA, 1.0, 0.0, 1.0),
    "labels of groups": lambda d: (relabelled(d), FORMULA, 1.0, 0.0, 1.0),
    "levels in another order": lambda d: (with_levels(d, "cba"), FORMULA, 1.0, 0.0, 1.0),
    "levels without rows": lambda d: (with_levels(d, "abcz", ["none"]), FORMULA, 1.0, 0.0, 1.0),
    "sum contrasts": lambda d: (d, FORMULA.replace("f +", "C(f, contr.sum) +"), 1.0, 0.0, 1.0),
    "order of terms": lambda d: (d, "y ~ (x | g) + x + f", 1.0, 0.0, 1.0),
}


def by_name(frame, first, columns):
    """Numbers by the names of terms or levels, whatever their order and coding."""
    keys = frame[first].astype(str).str.replace("C(f, contr.sum)", "f", regex=False)
    return frame.assign(**{first: keys}).sort_values(first)[columns].to_numpy(dtype=float)


def answers(data, formula, unit, shift, of_x):
    """What each function says, with the unit and the shift of y taken away."""
    model = ranef.Model(formula, data, weights="w")
    eb, ml, size = model.fit(), model.fit("ML"), abs(unit)
    without = ranef.Model(
        formula.replace("C(f, contr.sum) + ", "").replace(" + f", "").replace("f + ", ""), data, weights="w"
    )
    means = ranef.emmeans(eb, "f", ddf="kenward-roger")
    slope = ranef.emmeans(eb, "f", trend="x").frame.assign(estimate=lambda t: of_x * t["estimate"] / unit)
    found = {
        # F alone of several columns: Satterthwaite's degrees of freedom go by the basis, as lmerTest's do
        "anova": by_name(eb.anova(3), "term", ["statistic"]),
        "anova, Kenward-Roger": by_name(eb.anova(2, ddf="KR"), "term", ["statistic", "ddf", "p"]),
        "anova, robust": by_name(eb.anova(3, vcov="CR2"), "term", ["statistic"]),
        "drop1": by_name(ml.drop1(), "term", ["statistic", "p"]),
        "ranova": by_name(ranef.ranova(eb), "term", ["statistic", "df", "p", "p_mixture"]),
        "anova of fits": ranef.anova(without.fit("ML"), ml)[["statistic", "p"]].to_numpy(dtype=float),
        "emmeans": (by_name(means.frame, "f", ["estimate"]) - shift) / unit,
        "their errors": by_name(means.frame, "f", ["std_error"]) / size,
        "their degrees": by_name(means.frame, "f", ["df"]),
        "trend": by_name(slope, "f", ["estimate"]),
        "r2": eb.r2().to_numpy(),
        "cAIC": float(eb.caic()) - 2.0 * ROWS * np.log(size),
        "leverages": np.sort(eb.hatvalues()),
        "Cook's distances": np.sort(eb.influence("g", refit=False).deleted["cooks_distance"]),
        "test": eb.test("x = 0", ddf="satterthwaite")[["statistic", "ddf", "p"]].to_numpy(dtype=float),
        "predictions": np.sort(np.ptp(eb.predict(interval="prediction")[["lower", "upper"]], axis=1)) / size,
        "fitted": np.sort((eb.fitted() - shift) / unit),
        "residuals": np.sort(eb.residuals("pearson") * np.sign(unit)),
        "profile": eb.profile("x").confint().to_numpy() * of_x / unit,
        "profile of an sd": eb.confint(method="profile", parameters="sd(x | g)").to_numpy() * of_x / size,
    }
    for interval in ("conditional", "henderson", "corrected"):
        found[interval] = np.sort(eb.coef("g")["x"] * of_x / unit)
        rows = eb.ranef("g", interval=interval).query("term == 'x'")
        found[f"{interval} sds"] = np.sort(rows.filter(regex="^sd").to_numpy().ravel()) * of_x / size
    found["profile"].sort()
    return {name: np.asarray(value, dtype=float) for name, value in found.items()}


@cache
def usual():
    return answers(made(), FORMULA, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("change", CHANGES)
def test_the_answers_are_the_same(change):
    found = answers(*CHANGES[change](made()))
    for name, value in usual().items():
        accuracy = 1e-6 if name.startswith("profile") else 1e-4
        tolerance = accuracy * np.nanmax(np.abs(value), initial=1e-3)
        np.testing.assert_allclose(found[name], value, rtol=accuracy, atol=tolerance, err_msg=name)
