"""The phrase book's rows that can be run here give the numbers of ranef's row."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ranef

TEXT = (Path(__file__).parents[1] / "docs" / "phrasebook.md").read_text(encoding="utf-8")
LANGUAGES = (
    *("ranef", "lme4", "nlme", "glmmTMB", "GLMMadaptive", "MixedModels.jl", "statsmodels", "pymer4", "brms", "bambi"),
)
#: rows are compared up to where their optimisers stop
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def _tables() -> dict[str, dict[str, list[str]]]:
    """Of each section the cells of every language, the code that stands in each."""
    tables = {}
    for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("|")]
        tables[title] = {cells[0].strip(): [_code(cell) for cell in cells[1:]] for cells in rows[2:]}
    return tables


def _code(cell: str) -> str:
    found = re.search(r"`(.*?)`", cell)
    return found[1].replace(r"\|", "|") if found else ""


TABLES = _tables()


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    """Where ranef's row of the first table has run."""
    names: dict[str, Any] = {"ranef": ranef}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    for title in ("Fit by REML", "Fit a generalised model"):
        exec(TABLES[title]["ranef"][0], names)
    return names


@pytest.fixture(scope="module")
def expected(session) -> dict[str, np.ndarray]:
    """Numbers of ranef's rows."""

    def of(title: str, column: int = 0) -> Any:
        return eval(TABLES[title]["ranef"][column], session)

    effects, herds = of("Random effects"), of("Random effects, generalised")
    tests = of("Tests, generalised", 1)
    return {
        "Coefficients": of("Coefficients").to_numpy(),
        "Variances": of("Variances")["sdcor"].to_numpy(),
        "Test a coefficient": session["fit"].test("Days = 0").rows["statistic"].to_numpy(),
        "Compare two models": of("Compare two models")[["statistic", "p"]].iloc[-1].to_numpy(dtype=float),
        "Intervals": of("Intervals").loc["Days"].to_numpy(),
        "Predict": np.array([of("Predict").iloc[0], of("Predict", 1).iloc[0]]),
        "Random effects": effects["estimate"].to_numpy()[:2],
        "Coefficients and variances, generalised": np.append(
            of("Coefficients and variances, generalised"), of("Coefficients and variances, generalised", 1)["sdcor"]
        ),
        "Tests, generalised": np.append(
            session["glmm"].tidy()["statistic"].iloc[1], tests.iloc[1][["statistic", "p"]].to_numpy(dtype=float)
        ),
        "Intervals, generalised": of("Intervals, generalised").loc["period[T.2]"].to_numpy(),
        "Predict means": np.array([of("Predict means").iloc[0], of("Predict means", 1).iloc[0]]),
        "Random effects, generalised": herds[["estimate", "sd"]].iloc[0].to_numpy(dtype=float),
        "Marginal means": of("Marginal means").frame.iloc[1, 1:3].to_numpy(dtype=float),
    }


def test_tables_name_every_language_and_rows_have_code():
    assert len(TABLES) == 19
    named = {language for table in TABLES.values() for language in table}
    assert named >= set(LANGUAGES)
    tasks = [table for title, table in TABLES.items() if title != "Words that differ"]
    assert all(any(cells) for table in tasks for cells in table.values())


def test_rows_of_ranef_run(session, expected):
    assert all(np.isfinite(numbers).all() for numbers in expected.values())
    for title in ("Sample a posterior", "Plots", "Plots, generalised"):
        for code in TABLES[title]["ranef"]:
            exec(code.replace("seed=1", "seed=1, draws=50, sampler='nutpie'"), session)
    tried = ("Intervals", "Test a coefficient", "Intervals, generalised", "Tests, generalised")
    for code in (cell for title in tried for cell in TABLES[title]["ranef"]):
        eval(code, session)


#: in lme4 and glmmTMB of a generalised model
GENERALISED = {
    "Tests, generalised": "c({0}$coefficients%s['period2', 'z value'], unlist({1}['period', c('LRT', %s)]))",
    "Intervals, generalised": "{0}['period2', 1:2]",
    "Predict means": "c({0}, {1})",
    "Marginal means": "unlist(as.data.frame({0})[2, c('prob', 'SE')])",
}
#: numbers of a row in R, {} being its first cell and {1} its second
IN_R = {
    "lme4": {
        "Coefficients": "{0}",
        "Variances": "as.data.frame({0})$sdcor",
        "Test a coefficient": "{0}$coefficients['Days', 't value']",
        "Compare two models": "unlist({0}[2, c('Chisq', 'Pr(>Chisq)')])",
        "Intervals": "{0}['Days', ]",
        "Predict": "c({0}, {1})",
        "Random effects": "unlist({0}['308', ])",
        **GENERALISED,
        "Coefficients and variances, generalised": "c({0}, as.data.frame({1})$sdcor)",
        "Tests, generalised": GENERALISED["Tests, generalised"] % ("", "'Pr(Chi)'"),
        "Random effects, generalised": "c({0}['1', ], {1}[1])",
    },
    "nlme": {
        "Coefficients": "{0}",
        "Variances": "as.numeric(c({0}[c(1, 2), 'StdDev'], {0}[2, 'Corr'], {0}[3, 'StdDev']))",
        "Test a coefficient": "{0}$tTable['Days', 't-value']",
        "Compare two models": "c({0}[['L.Ratio']][2], {0}[['p-value']][2])",
        "Predict": "c({0}, {1})",
        "Random effects": "unlist({0}['308', ])",
    },
    "glmmTMB": {
        "Coefficients": "{0}",
        "Variances": "with(list(v = {0}$cond$Subject), c(attr(v, 'stddev'), attr(v, 'correlation')[1, 2], sigma(fit)))",
        "Test a coefficient": "{0}$coefficients$cond['Days', 'z value']",
        "Compare two models": "unlist({0}[2, c('Chisq', 'Pr(>Chisq)')])",
        "Intervals": "{0}['Days', 1:2]",
        "Predict": "c({0}, {1})",
        "Random effects": "unlist({0}['308', ])",
        **GENERALISED,
        "Coefficients and variances, generalised": "c({0}, attr({1}$cond$herd, 'stddev'))",
        "Tests, generalised": GENERALISED["Tests, generalised"] % ("$cond", "'Pr(>Chi)'"),
        "Random effects, generalised": "c({0}['1', ], {1}[1])",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("language", sorted(IN_R))
def test_rows_in_r(language, session, expected, tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("there is no R")
    ranef.datasets.load("sleepstudy").to_csv(tmp_path / "sleep.csv", index=False)
    ranef.datasets.load("cbpp").to_csv(tmp_path / "herds.csv", index=False)
    lines = [
        f"if (!requireNamespace('{language}', quietly = TRUE)) quit()",
        f"suppressMessages(library({language}))",
        f"sleep <- read.csv('{tmp_path}/sleep.csv', colClasses = c(Subject = 'factor'))",
        "new <- data.frame(Days = 10, Subject = factor('308', levels = levels(sleep$Subject)))",
        TABLES["Fit by REML"][language][0],
        f"herds <- read.csv('{tmp_path}/herds.csv', colClasses = c(herd = 'factor', period = 'factor'))",
        "seen <- data.frame(period = '2', herd = '1')",
        TABLES["Fit a generalised model"].get(language, [""])[0],
    ]
    for title, numbers in IN_R[language].items():
        value = numbers.format(*TABLES[title][language])
        lines.append(f"cat('{title}:', sprintf('%.12g', as.numeric(suppressMessages({value}))), '\\n')")
    done = subprocess.run(["Rscript", "-e", "\n".join(lines)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if not done.stdout.strip():
        pytest.skip(f"R has no {language}")
    printed = dict(line.split(":") for line in done.stdout.strip().splitlines())
    assert set(printed) == set(IN_R[language])
    if language == "glmmTMB":  # its standard deviations of effects are of another kind
        effects = session["glmm"].ranef(interval="corrected")
        expected = expected | {
            "Random effects, generalised": effects[["estimate", "sd_corrected"]].iloc[0].to_numpy(dtype=float)
        }
    for title, numbers in printed.items():
        np.testing.assert_allclose(np.array(numbers.split(), float), expected[title], **CLOSE, err_msg=title)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_rows_in_statsmodels(session, expected):
    smf = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is not installed")
    names: dict[str, Any] = {"smf": smf, "sleep": session["sleep"], "new": session["new"]}
    exec(TABLES["Fit by REML"]["statsmodels"][0], names)

    def of(title: str, column: int = 0) -> Any:
        return eval(TABLES[title]["statsmodels"][column], names)

    covariance, scale = of("Variances")
    sds = np.sqrt(np.diag(covariance))
    found = {
        "Coefficients": of("Coefficients").to_numpy(),
        "Variances": np.array([*sds, covariance.iloc[0, 1] / sds.prod(), np.sqrt(scale)]),
        "Test a coefficient": np.array([names["fit"].tvalues["Days"]]),
        "Intervals": of("Intervals").loc["Days"].to_numpy(),
        "Random effects": of("Random effects")["308"].to_numpy(),
    }
    for title, numbers in found.items():  # its optimiser stops early
        np.testing.assert_allclose(numbers, expected[title], rtol=2e-2, atol=2e-2, err_msg=title)
    population = float(pd.Series(of("Predict", 1)).iloc[0])
    np.testing.assert_allclose(population, expected["Predict"][1], rtol=1e-4)
