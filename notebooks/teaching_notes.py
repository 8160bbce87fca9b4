"""The analyses of a course in mixed models, number by number beside what its notes print.

    python notebooks/teaching_notes.py

Pulp is bundled; eggs, irrigation, psid and soybean are read from the folder that RANEF_DATA names, and left out without
it. Numbers are the notes' to the last digit that they print; where the notes simulate, within the error of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy import stats

import ranef

SEED = 1


@dataclass(frozen=True)
class Line:
    """One line of the notes: what it is, what they print, what ranef says, and how far they may differ."""

    what: str
    notes: tuple[str, ...]
    ours: tuple[float, ...]
    error: float | None = None

    @property
    def agrees(self) -> bool:
        """Within half a unit of the last digit printed, or the error of a simulation."""
        return all(abs(float(n) - o) <= self._allowed(n) for n, o in zip(self.notes, self.ours, strict=True))

    def _allowed(self, printed: str) -> float:
        unit = 10.0 ** float(Decimal(printed).as_tuple().exponent)
        return 0.5001 * unit if self.error is None else self.error


def line(what: str, notes: str, ours: Sequence[float] | float, error: float | None = None) -> Line:
    """The numbers of the notes, as printed, beside ours."""
    return Line(what, tuple(notes.split()), tuple(np.atleast_1d(np.asarray(ours, dtype=float)).tolist()), error)


def pulp() -> Iterator[Line]:
    """Brightness of pulp by four operators."""
    data = ranef.datasets.load("pulp")
    squares = ranef.anova_components("bright ~ 1 + (1 | operator)", data)
    model = ranef.Model("bright ~ 1 + (1 | operator)", data)
    eb, ml, null = model.fit(), model.fit("ML"), ranef.Model("bright ~ 1", data).fit("ML")
    ms = squares.table["mean_sq"].to_numpy()
    yield line("mean squares", "0.4467 0.10625", ms)
    yield line("F of the analysis of variance", "4.204", ms[0] / ms[1])
    yield line("its p", "0.0226", stats.f.sf(ms[0] / ms[1], 3, 16))
    yield line("variance of operators from mean squares", "0.0681", squares.components["anova"][0])
    yield line("REML criterion", "18.6", eb.criterion)
    yield line("variances by REML", "0.06808 0.10625", eb.varcorr["vcov"])
    yield line("sds by REML", "0.2609 0.3260", eb.varcorr["sdcor"])
    yield line("mean, se, t", "60.4000 0.1494 404.2", eb.tidy().loc[0, ["estimate", "std_error", "statistic"]])
    ratio = ranef.anova(null, ml)
    yield line("likelihood ratio of the variance", "2.568371", ratio["statistic"][1])
    yield line("its p by χ²", "0.1090199", ratio["p"][1])
    boot = ranef.anova(null, ml, test="bootstrap", nsim=20_000, seed=SEED)
    yield line("its p by bootstrap", "0.026", boot["p"][1], 0.015)  # three errors of the notes' 1000 simulations
    yield line("share of ratios that are zero", "0.69", boot["zeros"][1], 0.045)
    yield line("p of the exact restricted test", "0.0225", ranef.exact_rlrt(eb, seed=SEED).p_value, 0.0015)
    levels = ranef.pooling(eb).frame
    yield line("effects by the means", "-0.16 -0.34 0.22 0.28", levels["no_pooling"])
    yield line("BLUPs", "-0.1219403 -0.2591231 0.1676679 0.2133955", levels["partial"])
    yield line("their ratio", "1.312117", (levels["no_pooling"] / levels["partial"]).mean(), 6e-7)  # 1.3121175
    yield line("means with BLUPs", "60.27806 60.14088 60.56767 60.61340", eb.coef("operator")["Intercept"])
    new = eb.predict(pd.DataFrame({"operator": ["new", "a"]}), interval="prediction")
    yield line("new operator", "59.62780 61.24264", new.loc[0, ["lower", "upper"]], 0.1)
    yield line("operator a", "59.60897 60.97931", new.loc[1, ["lower", "upper"]], 0.1)


def soybean() -> Iterator[Line]:
    """Photosynthesis of soybean genotypes."""
    data = ranef.datasets.load("soybean")
    base = "mAqE ~ C(ID, contr.sum) + Date_num + I(Date_num^2)"
    weather = " + Precip_cum + Precip_7day + Ta_7day + Fsd_7day"
    plot = " + (1 | plot_number_year)"
    fits = [ranef.Model(f, data).fit("ML") for f in (base, base + plot, base + weather + plot)]
    yield line("AIC of three models", "-190.9327 -239.5221 -415.3697", [fit.aic for fit in fits])
    yield line("BIC", "62.05648 19.21680 -133.63177", [fit.bic for fit in fits])
    names = [name for name in fits[2].fixef.index if name.startswith("C(ID")]
    dropped = fits[2].drop1(names).iloc[1:]
    printed = (
        "-0.32 -0.13 0.87 1.17 1.86 -0.53 0.69 -2.70 -0.70 1.66 1.98 0.99 -9.03 1.73 -1.44 1.21 -12.40 1.80 -0.52 1.90 "
        "-2.86 1.61 1.99 0.86 1.99 -4.28 -3.22 0.93 -1.48 -0.30 0.43 -2.84 1.11 1.85 1.90 1.99 -1.06 0.76 0.67 -5.50"
    )
    yield line("AIC less that without each genotype", printed, -dropped["delta_aic"], 0.0051)
    boot = ranef.anova(fits[0], fits[1], test="bootstrap", nsim=500, seed=SEED)
    yield line("p of the plots' variance by bootstrap", "0", boot["p"][1], 0.0)
    yield line("share of ratios that are zero", "0.9", boot["zeros"][1], 0.05)
    yield line("p of the weather", "0", ranef.anova(fits[1], fits[2])["p"][1], 1e-30)


def irrigation() -> Iterator[Line]:
    """Yield of two varieties in fields that are irrigated in four ways."""
    data = ranef.datasets.load("irrigation")
    i, v, field = "C(irrigation, contr.sum)", "C(variety, contr.sum)", "(1 | field)"
    full, both, only_i, only_v = (
        ranef.Model(f"yield ~ {fixed} + {field}", data).fit() for fixed in (f"{i} * {v}", f"{i} + {v}", i, v)
    )
    yield line("coefficients", "40.23 -1.42 -0.42 -0.83 -0.37 0.08 0.27 0.18", full.fixef, 0.00501)
    yield line("standard errors", "1.47 2.54 2.54 2.54 0.36 0.63 0.63 0.63", full.tidy()["std_error"][:8])
    yield line("sds", "4.02 1.45", full.varcorr["sdcor"])
    yield line("AIC", "76.5", full.aic)
    for what, small, large, printed in (
        ("interaction", both, full, "0.2452 3.0000 4.0000 0.8612"),
        ("variety", only_i, both, "1.5782 1.0000 7.0000 0.2493"),
        ("irrigation", only_v, both, "0.3882 3.0000 4.0000 0.7685"),
    ):
        found = ranef.anova(small, large, test="KR").iloc[1]
        yield line(f"Kenward and Roger's test of {what}", printed, found[["statistic", "ndf", "ddf", "p"]])
    exact = ranef.exact_rlrt(full, seed=SEED)
    yield line("exact restricted test of fields", "6.1118", exact.statistic)
    yield line("its p", "0.0094", exact.p_value, 0.003)


def eggs() -> Iterator[Line]:
    """Fat in eggs, by laboratory, technician and sample."""
    data = ranef.datasets.load("eggs")
    eb = ranef.Model("Fat ~ 1 + (1 | Lab) + (1 | Lab:Technician) + (1 | Lab:Technician:Sample)", data).fit()
    yield line("mean and se", "0.39 0.04", eb.tidy().loc[0, ["estimate", "std_error"]])
    sds = eb.varcorr.set_index("group")["sdcor"]
    order = ["Lab:Technician:Sample", "Lab:Technician", "Lab", "Residual"]
    yield line("sds of samples, technicians, labs, the rest", "0.06 0.08 0.08 0.08", sds[order])
    yield line("AIC", "-54.2", eb.aic)
    ends = eb.confint(method="bootstrap", n=2000, seed=SEED)
    names = [*(f"sd(Intercept | {group})" for group in order[:3]), "sigma", "Intercept"]
    printed = "0 0.09564357 0 0.13957263 0 0.14948989 0.06081876 0.10674937 0.30653979 0.47883284"
    yield line("bootstrap intervals", printed, ends.loc[names].to_numpy().ravel(), 0.02)


def psid() -> Iterator[Line]:
    """Income of men and women over the years: lines by person, and a mixed model."""
    data = ranef.datasets.load("psid")
    lines = ranef.lm_list("log(income) ~ I(year - 78) | person", data).coef
    yield line("person 1", "9.3999568 0.0842667", lines.iloc[0])
    man = (
        data.groupby("person")["sex"]
        .first()
        .astype(str)
        .eq("M")
        .to_numpy()[np.argsort(np.argsort(lines.index.astype(int)))]
    )
    for term, printed in (
        ("I(year - 78)", "-2.3786 56.736 0.02077 -0.05916871 -0.00507729"),
        ("Intercept", "8.2199 79.719 3.065e-12 0.8738792 1.4322218"),
    ):
        test = stats.ttest_ind(lines[term][man], lines[term][~man], equal_var=False)
        interval = test.confidence_interval()
        ours = [test.statistic, test.df, test.pvalue, interval.low, interval.high]
        yield line(f"men against women, {term}", printed, ours)
    eb = ranef.Model("log(income) ~ cyear * C(sex, contr.sum) + age + educ + (cyear | person)", data).fit()
    fixed = eb.tidy().head(6).set_index("term")
    order = ["Intercept", "cyear", "C(sex, contr.sum)[S.F]", "age", "educ", "cyear:C(sex, contr.sum)[S.F]"]
    yield line("coefficients", "7.249 0.072 -0.575 0.011 0.104 0.013", fixed.loc[order, "estimate"])
    yield line("standard errors", "0.540 0.006 0.061 0.014 0.021 0.006", fixed.loc[order, "std_error"])
    yield line("sds, correlation, residual sd", "0.531 0.049 0.187 0.684", eb.varcorr["sdcor"])
    yield line("AIC", "3842.5", eb.aic)


STORIES: dict[str, Callable[[], Iterator[Line]]] = {
    story.__name__: story for story in (pulp, soybean, irrigation, eggs, psid)
}


def main() -> None:
    """Print all of them."""
    for name, story in STORIES.items():
        print(f"\n{name}: {story.__doc__}")
        try:
            lines = list(story())
        except ranef.RanefError as error:
            print(f"  left out: {error}")
            continue
        for one in lines:
            print(f"  {one.what}{'' if one.agrees else '   <-- differs'}")
            print(f"    notes  {' '.join(one.notes)}")
            print(f"    ranef  {' '.join(f'{value:.7g}' for value in one.ours)}")


if __name__ == "__main__":
    main()
