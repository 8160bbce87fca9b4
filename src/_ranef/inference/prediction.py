"""Fitted values, residuals, predictions and simulations, written once for both engines.

The pieces here work on rows given as arrays; which values of β and b go in is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.design import Encoded, bare_label, encode, encode_others, new_weights
from _ranef.errors import DataWarning, DesignError, suggestion, warn
from _ranef.inference.effect_frames import check_level, grouping_named
from _ranef.inference.variance_shares import mean_inverse_weight, weights_differ
from _ranef.likelihood import response_rows
from _ranef.residuals import RowVariance
from _ranef.spec import Generalised, Grouping, LocationScale, ModelSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = [
    "UNCERTAINTY",
    "PredictOptions",
    "Predicted",
    "Rows",
    "RowsAsked",
    "check_spread",
    "chosen_groupings",
    "draw_effects",
    "effects_for",
    "fitted_rows",
    "fitted_values",
    "linear_predictor",
    "prediction_frame",
    "residual_rows",
    "residual_variance",
    "row_series",
    "rows_for",
    "simulate_new",
    "simulation_part",
    "unseen_variance",
]

#: logarithm of the ratio by which residual standard deviations may leave the range of those of the rows used
FARTHEST = 20.0

#: what intervals count as uncertain, and what the column of their standard deviations is called
UNCERTAINTY = {
    "plugin": "sd_given_theta_fixef",
    "fixef": "sd_given_theta",
    "corrected": "sd_corrected",
    "bootstrap": "sd_bootstrap",
    "posterior": "sd",
}

RandomPart = str | Sequence[str]


@dataclass(frozen=True)
class Rows:
    """Rows to predict for.

    Attributes
    ----------
    X : array (m, p)
    offset : array (m,)
    codes : tuple of array (m,)
        Level of every row by grouping; levels from J_k on are unseen ones, numbered as they appear.
    Z : tuple of array (m, p_k)
    index : pandas.Index
    unseen : tuple of tuple of str
        Labels of the unseen levels by grouping.
    weights : array (m,) or None
        Prior weights of the responses; None where all are one, or nobody asked.
    variance : RowVariance or None
        How their residual variances depend on ρ, if they do and somebody asked.
    """

    X: Floats
    offset: Floats
    codes: tuple[Ints, ...]
    Z: tuple[Floats, ...]
    index: pd.Index[Any]
    unseen: tuple[tuple[str, ...], ...]
    weights: Floats | None = None
    variance: RowVariance | None = None

    def only(self, part: slice) -> Rows:
        """Some of the rows, whose residual variances do not depend on ρ."""
        codes, Z = tuple(code[part] for code in self.codes), tuple(z[part] for z in self.Z)
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.X[part], self.offset[part], codes, Z, self.index[part], self.unseen, weights)


@dataclass(frozen=True)
class PredictOptions:
    """The choices of ``predict``, checked.

    Raises
    ------
    DesignError
        If `new_levels` or `interval` is not one of the words allowed, or `level` no probability.
    """

    re: RandomPart
    new_levels: str
    interval: str | None
    level: float
    offset: Any = None
    weights: Any = None
    uncertainty: str | None = None
    n: int = 400

    def __post_init__(self) -> None:
        one_of("new_levels", self.new_levels, ("population", "error", "sample"))
        if self.interval is not None:
            one_of("interval", self.interval, ("confidence", "prediction"))
        if self.uncertainty is not None:
            one_of("uncertainty", self.uncertainty, tuple(UNCERTAINTY))
            if self.interval is None:
                raise DesignError(
                    f"uncertainty={self.uncertainty!r} is that of an interval: give interval='confidence' or "
                    "'prediction', too."
                )
        check_level(self.level)

    @property
    def new_response(self) -> bool:
        """Whether residuals count."""
        return self.interval == "prediction"

    @property
    def new_effects(self) -> bool:
        """Whether effects of levels that were not in the data count."""
        return self.interval == "prediction" or self.new_levels == "sample"


@dataclass(frozen=True)
class RowsAsked:
    """Rows, the places of the groupings whose effects count, and what is asked of them."""

    rows: Rows
    groupings: Sequence[int]
    options: PredictOptions


@dataclass(frozen=True, eq=False)
class Predicted:
    """Of rows: estimate, standard deviation, and the ends of an interval, each (m,)."""

    estimate: Floats
    sd: Floats
    lower: Floats
    upper: Floats


def chosen_groupings(spec: ModelSpec, re: RandomPart) -> tuple[int, ...]:
    """Places of the groupings that ``re=`` asks for: ``"all"``, ``"none"`` or names.

    Raises
    ------
    DesignError
        If a name is not a grouping factor of the model.
    """
    if isinstance(re, str):
        one_of("re", re, ("all", "none", *(g.name for g in spec.groupings)))
        if re in ("all", "none"):
            return tuple(range(len(spec.groupings))) if re == "all" else ()
        re = [re]
    if not isinstance(re, Sequence) or not all(isinstance(name, str) for name in re):
        raise DesignError(f"re={re!r} must be 'all', 'none' or a list of grouping factors.")
    return tuple(dict.fromkeys(grouping_named(spec, name)[0] for name in re))


def fitted_rows(spec: ModelSpec) -> Rows:
    """The rows that the model was fitted to."""
    d = spec.design
    offset = np.zeros(spec.n_obs) if d.offset is None else d.offset
    none: tuple[tuple[str, ...], ...] = ((),) * len(spec.groupings)
    codes, Z = tuple(g.codes for g in spec.groupings), tuple(g.Z for g in spec.groupings)
    return Rows(d.X, offset, codes, Z, d.index, none, d.weights, spec.variance)


def new_rows(spec: ModelSpec, data: object, groupings: Sequence[int], offset: Any = None) -> Rows:
    """Encode new data as the model's own; groupings not asked for get code −1 and zero columns."""
    wanted = [spec.groupings[k].name for k in groupings]
    encoded = encode(spec.design.encoding, data, groups=wanted, offset=offset)
    m = encoded.X.shape[0]
    if missing := int((~encoded.complete).sum()):
        rows = "row of the new data has" if missing == 1 else "rows of the new data have"
        warn(f"{missing} {rows} missing predictors; the predictions are NaN.")
    X = _estimable(spec, encoded)
    codes, Z, unseen = [], [], []
    for k, g in enumerate(spec.groupings):
        values = np.zeros((m, len(g.columns)))
        code: Ints = np.full(m, -1, dtype=np.intp)
        labels: tuple[str, ...] = ()
        for t in spec.terms:
            part = encoded.random[t.source]
            if t.grouping == k and part is not None:
                values[:, t.where], code, labels = part.values, part.codes, part.unseen
        if k in groupings:
            _warn_of_near_misses(g, labels)
            if gaps := int((code < 0).sum()):  # a missing level is one more unseen one
                warn(
                    f"{gaps} of the {m} new rows have no {g.name} (missing): it counts as an unseen level.", DataWarning
                )
                code = np.where(code < 0, g.n_levels + len(labels), code)
                labels = (*labels, "missing")
        codes.append(code)
        Z.append(values)
        unseen.append(labels)
    return Rows(X, encoded.offset, tuple(codes), tuple(Z), encoded.index, tuple(unseen))


def _warn_of_near_misses(g: Grouping, unseen: Sequence[str]) -> None:
    """Warn of unseen levels that differ from a known one in case, blanks or the way to write a number only."""
    if not unseen:
        return
    known = {bare_label(level): level for level in g.levels}
    near = [(label, known[bare_label(label)]) for label in unseen if bare_label(label) in known]
    if near:
        shown = ", ".join(f"{label!r} beside {level!r}" for label, level in near[:3]) + (", …" if len(near) > 3 else "")
        warn(
            f"{len(near)} of the {len(unseen)} unseen levels of {g.name} in the new data look like levels of the model "
            f"written differently: {shown}. They count as unseen; write them as in the data that were fitted.",
            DataWarning,
        )


def _estimable(spec: ModelSpec, encoded: Encoded) -> Floats:
    """X (m, p) of new rows, NaN where Xβ would be another number had another of the aliased columns been left out."""
    wrong = ~encoded.determined & encoded.complete
    if not wrong.any():
        return encoded.X
    dropped = spec.design.dropped
    shown = ", ".join(dropped[:5]) + (f" and {len(dropped) - 5} more" if len(dropped) > 5 else "")
    rows = ", ".join(repr(label) for label in encoded.index[wrong][:5].tolist())
    warn(
        f"{wrong.sum()} of the {len(wrong)} new rows ({rows}{', …' if wrong.sum() > 5 else ''}) cannot be predicted "
        f"and are NaN: X is rank-deficient, {shown} was left out, and these rows are no combination of rows fitted (an "
        "empty cell of two factors, for example), so that the data say nothing of their mean.",
        DataWarning,
    )
    return np.where(wrong[:, None], np.nan, encoded.X)


def refuse_unseen(spec: ModelSpec, rows: Rows) -> None:
    """Raise for ``new_levels="error"`` if any level was not in the data."""
    for g, labels in zip(spec.groupings, rows.unseen, strict=True):
        if labels:
            shown = ", ".join(repr(s) for s in labels[:5]) + (", …" if len(labels) > 5 else "")
            raise DesignError(
                f"{g.name!r} has levels that the model was not fitted to: {shown}.{suggestion(labels[0], g.levels)} "
                "Use new_levels='population' for the population value, or 'sample' to draw their effects."
            )


def linear_predictor(rows: Rows, beta: Floats, effects: Sequence[Floats], groupings: Sequence[int]) -> Floats:
    """Xβ + offset + Σ_k Z_k b_k for effects (J_k, p_k); levels beyond those of `effects` add nothing."""
    out = rows.X @ beta + rows.offset
    for k in groupings:
        codes, b = rows.codes[k], effects[k]
        known = (codes >= 0) & (codes < b.shape[0])
        out[known] += np.einsum("np,np->n", rows.Z[k][known], b[codes[known]])
    return out


def fitted_values(spec: ModelSpec, beta: Floats, effects: Sequence[Floats], re: RandomPart) -> Floats:
    """Linear predictor (n,) of the rows fitted, with the random effects that ``re=`` asks for."""
    return linear_predictor(fitted_rows(spec), beta, effects, chosen_groupings(spec, re))


def row_series(spec: ModelSpec, values: Callable[[ModelSpec], Floats], name: str) -> pd.Series[float]:
    """One number for each row used, by its label; rows that are not in memory are read again, chunk by chunk."""
    parts = [(part.design.index, values(part)) for part in spec.parts()]
    index = parts[0][0] if len(parts) == 1 else parts[0][0].append([index for index, _ in parts[1:]])
    return pd.Series(np.concatenate([found for _, found in parts]), index=index, name=name)


def unseen_variance(spec: ModelSpec, rows: Rows, covs: Sequence[Floats], groupings: Sequence[int]) -> Floats:
    """zᵀΣz (m,) of the rows whose level was not in the data, summed over groupings; of a known K its mean variance."""
    out = np.zeros(rows.X.shape[0])
    for k in groupings:
        unseen = (rows.codes[k] < 0) | (rows.codes[k] >= spec.groupings[k].n_levels)
        z = rows.Z[k][unseen]
        out[unseen] += spec.groupings[k].unit * np.einsum("na,ab,nb->n", z, covs[k], z)
    return out


def residual_rows(spec: ModelSpec, fitted: Floats, sigma: float, kind: str) -> Floats:
    """Residuals (n,): ``response`` y − fitted; ``pearson`` over their sds; ``normalized`` without correlation, too.

    Raises
    ------
    DesignError
        If `kind` is none of these.
    """
    one_of("kind", kind, ("response", "pearson", "normalized"))
    raw = spec.design.y - fitted
    if kind == "response":
        return raw
    own = spec.residual.scaled(raw) if kind == "pearson" else spec.residual.whitened(raw)
    return own / sigma


def rows_for(spec: ModelSpec, data: object, options: PredictOptions) -> Rows:
    """The rows fitted (``data=None``) or new ones, unseen levels refused if so asked.

    Weights matter to intervals of new responses alone, and are read for them alone.
    """
    if data is None:
        if options.offset is not None:
            raise DesignError("offset= goes with new data; the rows used have the model's own. Leave it out.")
        rows = fitted_rows(spec.held)
        return rows if options.weights is None else replace(rows, weights=_weights_of_rows(spec, options.weights))
    rows = new_rows(spec, data, chosen_groupings(spec, options.re), options.offset)
    if options.new_levels == "error":
        refuse_unseen(spec, rows)
    if options.interval == "prediction":
        rows = replace(rows, weights=_weights_of_new(spec, data, len(rows.index), options.weights))
        if spec.variance is not None:
            rows = replace(rows, variance=_variance_of_new(spec, data))
    return rows


def _variance_of_new(spec: ModelSpec, data: object) -> RowVariance:
    """The residual variance of new rows, by the columns that it reads; of fitted values it is to be updated."""
    assert spec.variance is not None
    values = encode_others(spec.design.encoding, data)
    return spec.variance.on(values[: len(values) - spec.n_correlation_columns])


def _weights_of_rows(spec: ModelSpec, given: Any) -> Floats:
    """Other weights (n,) for the rows fitted."""
    if isinstance(given, str):
        raise DesignError(
            f"weights={given!r} names a column, and no new data are given. Give the data too, or weights as numbers."
        )
    positions = pd.DataFrame(index=spec.held.design.index).assign(row=0)  # data of as many rows, for messages
    values = new_weights(spec.design.encoding, positions, given)
    assert values is not None
    return values


def _weights_of_new(spec: ModelSpec, data: object, m: int, given: Any) -> Floats | None:
    """Weights (m,) of new data; where nothing says what they are, that of a row of the mean residual variance."""
    found = new_weights(spec.design.encoding, data, given)
    if found is not None or not spec.residual.weighted:
        return found
    if spec.family.word == "binomial":
        raise DesignError(
            "Nothing tells how many trials the new rows have, of which a prediction interval is: give weights=, a "
            "number, a column of the new data, or one for each of their rows."
        )
    typical = 1.0 / mean_inverse_weight(spec)
    if weights_differ(spec):
        column = spec.design.encoding.weights_column
        lack = "were given as an array" if column is None else f"are not in the new data (no column {column!r})"
        warn(
            f"The weights of this model {lack}: these prediction intervals are for rows of weight {typical:.4g}, "
            "whose residual variance is the mean of that of the rows used. Give weights=: a number, a column of the "
            "new data, or one for each of their rows."
        )
    return np.full(m, typical)


def effects_for(
    rows: Rows, effects: Sequence[Floats], covs: Sequence[Floats], options: PredictOptions, rng: np.random.Generator
) -> tuple[Floats, ...]:
    """Effects (J_k + unseen, p_k): with ``new_levels="sample"`` those of unseen levels are drawn from N(0, Σ_k)."""
    if options.new_levels != "sample":
        return tuple(effects)
    return tuple(
        np.vstack([b, draw_effects(cov, len(labels), rng)])
        for b, cov, labels in zip(effects, covs, rows.unseen, strict=True)
    )


def draw_effects(cov: Floats, n: int, rng: np.random.Generator, df: float | None = None) -> Floats:
    """Draws (n, p) from N(0, Σ), or Student t with scale matrix Σ, for a matrix (p, p) that may be singular."""
    values, vectors = np.linalg.eigh(cov)
    out = rng.standard_normal((n, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    if df is not None:
        out /= np.sqrt(rng.chisquare(df, (n, 1)) / df)
    return np.asarray(out)


def residual_variance(rows: Rows, sigma: float, rho: Floats | None = None, fitted: Floats | None = None) -> Floats:
    """σ² exp(2η(ρ))/w of every row (m,), η being of the `fitted` values (m,) where it reads them."""
    out = np.full(rows.X.shape[0], sigma**2) / (1.0 if rows.weights is None else rows.weights)
    if rows.variance is None or rho is None:
        return out
    own = rows.variance if fitted is None else rows.variance.updated(fitted)
    return np.asarray(out * np.exp(2.0 * own.log_sds(rho[: len(own.names)])))


def check_spread(spec: ModelSpec, rows: Rows, rho: Floats, fitted: Floats) -> None:
    """Refuse residual standard deviations without measure beside those of the rows used, as |0|^power.

    Raises
    ------
    DesignError
        With the first such row.
    """
    if rows.variance is None or spec.variance is None or not len(spec.variance.names):
        return
    own = rho[: len(spec.variance.names)]
    known = spec.variance.log_sds(own)
    if not known.size:  # rows that are read in chunks have strata, of which each has been met
        return
    with np.errstate(divide="ignore"):
        new = rows.variance.updated(fitted).log_sds(own)
    beyond = np.maximum(new - known.max(), known.min() - new)
    beyond[~np.isfinite(rows.X).all(axis=1)] = 0.0  # missing predictors
    if (beyond > FARTHEST).any():
        row = int((beyond > FARTHEST).argmax())
        raise DesignError(
            f"Row {row} (numbered from 0) has the fitted value {fitted[row]:.4g}, where {spec.variance.call.strip()} "
            f"makes the residual standard deviation {'0' if new[row] < 0 else 'infinite'}, or nearly so: this is far "
            "from the rows used, of which alone the model says anything. Leave the row out, ask for "
            "interval='confidence', or fit VarConstPower, which has no such place."
        )


def prediction_frame(
    rows: Rows, found: Predicted, uncertainty: str | None, classes: Sequence[str] = ()
) -> pd.DataFrame:
    """``estimate, lower, upper`` by row; where `uncertainty` is named its standard deviation stands second.

    Of probabilities of `classes` those of a row stand below each other, with their ``class`` first; places of `classes`
    have their names.
    """
    numbers = {"estimate": found.estimate, "lower": found.lower, "upper": found.upper}
    if classes and found.estimate.ndim == 1:
        return pd.DataFrame({n: np.array(classes)[v.astype(int)] for n, v in numbers.items()}, index=rows.index)
    index = rows.index.repeat(len(classes)) if classes else rows.index
    out = pd.DataFrame({name: own.ravel() for name, own in numbers.items()}, index=index)
    if uncertainty is not None:
        out.insert(1, UNCERTAINTY[uncertainty], found.sd.ravel())
    if classes:
        out.insert(0, "class", list(classes) * len(rows.index))
    return out


def simulation_part(re: str) -> str:
    """Which fitted random effects a simulation keeps: none for ``re="new"``, all for ``"fitted"``."""
    one_of("re", re, ("new", "fitted"))
    return "none" if re == "new" else "all"


def simulate_new(
    spec: ModelSpec,
    mean: Floats,
    covs: Sequence[Floats],
    sigma: float,
    rng: np.random.Generator,
    *,
    new_effects: bool,
    own: Mapping[str, float] | None = None,
    effects_df: Sequence[float | None] | None = None,
) -> NDArray[np.float64]:
    """One simulated response (n,) round `mean`; ``new_effects`` adds freshly drawn random effects.

    Errors are of the family of the response, with its `own` parameters and scale `sigma`; of a generalised one, round
    its link's `mean`. Effects are normal, or Student's t, by grouping.
    """
    out = mean.copy()
    for g, cov, df in zip(spec.groupings, covs, effects_df or [None] * len(spec.groupings), strict=True):
        if new_effects:
            b = draw_effects(cov, g.n_levels, rng, df)
            b = b if g.among is None else g.among.coloured(b)
            out += np.einsum("np,np->n", g.Z, b[g.codes])
    if isinstance(spec.family, Generalised):
        drawn = spec.family.drawn(rng, out, response_rows(spec).weights, own or {})
        return np.asarray(drawn, dtype=np.float64)
    assert isinstance(spec.family, LocationScale)
    return np.asarray(out + spec.residual.noise(sigma, spec.family.noise(rng, len(out), own or {})))
