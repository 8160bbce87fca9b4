"""The printed fit, in lme4's order and words; standard deviations and correlations before variances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from _ranef.inference import CoefficientTests, typical_sd
from _ranef.residuals import Told
from _ranef.results import RemlEstimates, Status
from _ranef.spec import Family, Generalised, ModelSpec, Priors, TermSpec
from _ranef.support.arrays import Floats
from _ranef.tables.model import Block, Document, Grid, Text
from _ranef.tables.numbers import aligned, decimals_for, p_values, with_decimals

__all__ = ["model_title", "posterior_summary", "reml_summary"]

SCALED = "Scaled residuals:"

#: above this many coefficients their correlations are left out, as lme4 does
MOST_CORRELATIONS = 20


def reml_summary(
    spec: ModelSpec,
    estimates: RemlEstimates,
    fixef: pd.Series[float],
    varcorr: pd.DataFrame,
    scaled_residuals: Floats | None,
    criteria: Mapping[str, float],
    tests: CoefficientTests,
) -> Document:
    """Lay out a REML or ML fit; `criteria` are printed on one line under ML, no residuals where there are none."""
    name = "REML" if estimates.method == "REML" else "maximum likelihood"
    title = f"{model_title(spec)} fit by {name}"
    if tests.words:
        title += f". t-tests use {tests.words}"
    blocks: list[Block] = [Text((title, *_about(spec)))]
    if estimates.method == "REML":
        blocks.append(Text((f"REML criterion at convergence: {estimates.criterion:.1f}",)))
    else:
        blocks.append(Grid(tuple(criteria), (tuple(f"{v:.1f}" for v in criteria.values()),), labels=0))
    if scaled_residuals is None:
        blocks.append(Text(("  left out: the rows are read in chunks, and residuals('pearson') reads them",), SCALED))
    else:
        quantiles = tuple(f"{q:.4f}" for q in scaled_residuals)
        blocks.append(Grid(("Min", "1Q", "Median", "3Q", "Max"), (quantiles,), SCALED, labels=0))
    blocks.append(_random_effects(spec, varcorr, estimates))
    blocks += residual_blocks(spec, estimates.sigma)
    if len(fixef):
        blocks.append(_fixed_effects(fixef, tests))
        if 1 < len(fixef) <= MOST_CORRELATIONS:
            blocks.append(fixed_correlations(list(fixef.index), tests.vcov, tests.std_error))
    return Document((*blocks, *remarks(spec, estimates)))


def model_title(spec: ModelSpec) -> str:
    """What kind of model it is: without random effects a linear one, or nlme's ``gls``."""
    if isinstance(spec.family, Generalised):
        return "Generalised linear mixed model" if spec.terms else "Generalised linear model"
    if spec.terms:
        return "Linear mixed model"
    return "Generalised least squares" if spec.structured else "Linear model"


def _about(spec: ModelSpec) -> list[str]:
    lines = [f"Formula: {spec.design.formula}"]
    if isinstance(spec.family, Generalised):
        return [f"Family: {spec.family.word} ({spec.family.link})", *lines]
    if spec.residual.weighted:
        lines.append("Weights: yes")
    if spec.sigma is not None:
        lines.append(f"Residual standard deviation known: {spec.sigma:g}")
    return lines


def counts_line(spec: ModelSpec) -> str:
    """lme4's line of counts, with the rows left out."""
    groups = "; ".join(f"{g.name}, {g.n_levels}" for g in spec.groupings)
    line = f"Number of obs: {spec.n_obs}" + (f", groups:  {groups}" if groups else "")
    n = spec.design.n_dropped
    return line + (f" ({n} row{'s' if n > 1 else ''} with missing values left out)" if n else "")


def _random_effects(spec: ModelSpec, varcorr: pd.DataFrame, estimates: RemlEstimates) -> Grid:
    notes = [*_structure_lines(spec), counts_line(spec)]
    if estimates.optimizer.status is not Status.CONVERGED:
        notes.append(estimates.optimizer.message)
    elif estimates.optimizer.doubt:
        notes.append(estimates.optimizer.doubt)
    return random_grid(spec, varcorr, notes, estimates.sigma)


def random_grid(spec: ModelSpec, varcorr: pd.DataFrame, notes: Sequence[str], sigma: float | None = None) -> Grid:
    """Standard deviations, correlations and variances by term, with the residual's where there is a `sigma`."""
    sds = varcorr[varcorr["term2"].isna()]
    afar = [typical_sd(spec, sigma)] if sigma is not None and spec.sigma_afar else []
    sd_text = aligned([*sds["sdcor"].tolist()[: len(sds) - len(afar)], *afar])
    var_text = aligned([*sds["vcov"].tolist()[: len(sds) - len(afar)], *(v**2 for v in afar)])
    pairs = varcorr[varcorr["term2"].notna()]
    lookup = dict(zip(zip(pairs["group"], pairs["term1"], pairs["term2"], strict=True), pairs["sdcor"], strict=True))
    widest = max((_n_correlations(t) for t in spec.terms), default=0)
    rows, i = [], 0
    for t in spec.terms:
        for j, column in enumerate(t.columns):
            told = min(j, _n_correlations(t))
            corr = [_corr(lookup.get((t.group, t.columns[m], column))) if m < told else "" for m in range(widest)]
            rows.append((t.group if j == 0 else "", column, sd_text[i], *corr, var_text[i]))
            i += 1
    if sigma is not None:
        rows.append(("Residual", "", sd_text[i], *([""] * widest), var_text[i]))
    header = ("Groups", "Name", "Std.Dev.", *(("Corr",) + ("",) * (widest - 1) if widest else ()), "Variance")
    if sigma is not None and afar:
        row = ("", "sd(rows)", sd_text[-1], *([""] * widest), "")
        own = aligned([sigma])[0], *([""] * widest), aligned([sigma**2])[0]
        rows[-1:] = [("Residual", "sigma", *own), row]
    return Grid(header, tuple(rows), "Random effects:", labels=2, notes=tuple(notes))


def residual_blocks(spec: ModelSpec, sigma: float) -> list[Block]:
    """Parameters of residual variances and correlations, as nlme prints them."""
    return [_residual_grid(part, sigma) for part in spec.residual.told()]


def _residual_grid(part: Told, sigma: float) -> Grid:
    header: tuple[str, ...] = ("", *part.names)
    values = aligned(part.values) if part.sds else [_short_of_one(value) for value in part.values]
    rows = [("ratio" if part.sds else "estimate", *values)]
    if part.sds:
        rows.append(("Std.Dev.", *aligned([sigma * v for v in part.values])))
    return Grid(header, tuple(rows), f"{part.title}, {part.form}:")


def _short_of_one(value: float) -> str:
    """A number with four digits; next to ±1, where these are nines, with two of how much it lacks."""
    short = 1.0 - abs(value)
    if not 0.0 < short < 1e-3:
        return aligned([value])[0]
    return f"{value:.{1 - math.floor(math.log10(short))}f}"


def _n_correlations(term: TermSpec) -> int:
    """Columns of correlations that a term needs: those with the first column, if they tell the others."""
    own = term.structure
    return min(1, own.size - 1) if own.shapes else own.size - 1 if own.pairs else 0


def _told(spec: ModelSpec, random: pd.DataFrame) -> list[bool]:
    """Which rows of a posterior say something new: repeats of a shared sd and correlations that others tell do not."""
    repeated: set[tuple[str, str]] = set()
    for t in (t for t in spec.terms if t.structure.shapes):
        own = t.structure
        repeated |= {(t.group, f"sd({t.columns[i]})") for i in range(own.size) if i not in own.own_sds}
        pairs = (pair for pair in own.pairs if pair not in own.own_pairs)
        repeated |= {(t.group, f"cor({t.columns[j]}, {t.columns[i]})") for i, j in pairs}
    return [(str(g), str(n)) not in repeated for g, n in zip(random["group"], random["name"], strict=True)]


def _structure_lines(spec: ModelSpec) -> list[str]:
    """What the correlations shown leave to be known: how those of every two columns follow from them."""
    lines = [f"{t.text}: {t.structure.meaning}" for t in spec.terms if t.structure.shapes]
    lines += [f"{g.name}: known covariance among levels" for g in spec.groupings if g.among is not None]
    return lines + ([sigma_line(spec)] if spec.sigma_afar else [])


def sigma_line(spec: ModelSpec) -> str:
    """What σ is of, where residual sds go by a covariate."""
    assert spec.variance is not None
    return (
        f"sigma: residual sd where {spec.variance.sigma_where} (nlme's), perhaps far from all rows; sd(rows): their "
        "geometric mean"
    )


def _corr(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.2f}"


def _fixed_effects(fixef: pd.Series[float], tests: CoefficientTests) -> Grid:
    se = tests.std_error.tolist()
    both = aligned([*fixef.tolist(), *se], [*se, *se])
    columns = {"Estimate": both[: len(se)], "Std. Error": both[len(se) :]}
    if tests.words:
        columns["df"] = with_decimals(tests.df.tolist(), 2)
    columns["t value"] = aligned(tests.statistic.tolist())
    if tests.words:
        columns["Pr(>|t|)"] = p_values(tests.p.tolist())
    return Grid(("", *columns), tuple(zip(map(str, fixef.index), *columns.values(), strict=True)), "Fixed effects:")


def fixed_correlations(names: Sequence[str], vcov: Floats, se: Floats) -> Grid:
    corr = vcov / np.outer(se, se)
    short = [n if len(n) <= 9 else f"{n[:8]}." for n in names]
    rows = tuple(
        (names[i], *(f"{corr[i, j]:.3f}" if j < i else "" for j in range(len(names) - 1))) for i in range(1, len(names))
    )
    return Grid(("", *short[:-1]), rows, "Correlation of Fixed Effects:")


def remarks(spec: ModelSpec, estimates: RemlEstimates | None = None) -> list[Block]:
    lines = list(spec.design.notes)
    if spec.design.dropped:
        lines.insert(0, f"X is rank-deficient; dropped: {', '.join(spec.design.dropped)}.")
    return [Text(tuple(f"Note: {line}" for line in lines))] if lines else []


def posterior_summary(
    spec: ModelSpec,
    priors: Priors,
    settings: Sequence[str],
    family: Family,
    random: pd.DataFrame,
    fixed: pd.DataFrame,
    words: Sequence[str],
    engine: str = "NUTS",
) -> Document:
    """Lay out a posterior: priors first, then the same order as :func:`reml_summary`.

    `random` and `fixed` hold ``group, name, estimate, sd, lower, upper, rhat, ess_bulk, ess_tail``; `words` say what
    is wrong, if anything.
    """
    header = POSTERIOR_HEADER if engine == "NUTS" else POSTERIOR_HEADER[:4]
    blocks: list[Block] = [
        Text(
            (
                f"{model_title(spec)} {'sampled by NUTS' if engine == 'NUTS' else 'drawn directly'}",
                *_about(spec),
                *settings,
            )
        ),
        Text(tuple(f"  {line}" for line in (*priors.lines(family), *spec.residual_prior_words(priors.rho))), "Priors:"),
        Grid(
            ("Groups", "Name", *header),
            _posterior_rows(random[_told(spec, random)], 2, len(header)),
            "Random effects:",
            labels=2,
            notes=(*_structure_lines(spec), counts_line(spec)),
        ),
    ]
    if len(fixed):
        blocks.append(Grid(("", *header), _posterior_rows(fixed, 1, len(header)), "Fixed effects:"))
    if words:
        blocks.append(Text(tuple(words)))
    return Document((*blocks, *remarks(spec)))


POSTERIOR_HEADER = ("Estimate", "Est.Error", "l-95% CI", "u-95% CI", "Rhat", "Bulk_ESS", "Tail_ESS")


def _posterior_rows(frame: pd.DataFrame, labels: int, width: int) -> tuple[tuple[str, ...], ...]:
    """Names and the first `width` numbers."""
    columns = ["estimate", "sd", "lower", "upper"]
    rows, last = [], None
    for r in frame.to_dict("records"):
        decimals = decimals_for([r["estimate"]], [r["sd"]])
        numbers = with_decimals([float(r[c]) for c in columns], decimals, [float(r["sd"])] * len(columns))
        names = [str(r["name"])] if labels == 1 else ["" if r["group"] == last else str(r["group"]), str(r["name"])]
        last = r["group"]
        rhat = f"{r['rhat']:.3f}" if r["rhat"] == r["rhat"] else ""
        ess = [f"{r[c]:.0f}" if r[c] == r[c] else "" for c in ("ess_bulk", "ess_tail")]
        rows.append((*names, *(*numbers, rhat, *ess)[:width]))
    return tuple(rows)
