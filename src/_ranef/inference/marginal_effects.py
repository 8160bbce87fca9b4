"""A fit as the package marginaleffects asks for one: coefficients, their covariance, and X of any rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import narwhals as nw
import numpy as np

from _ranef.design.expression_values import Factor
from _ranef.design.table import read_table
from _ranef.errors import NotAvailableError
from _ranef.formula import Name, walk
from _ranef.inference.engines import Maximum, Sampled, dispersions_of
from _ranef.inference.joint_hessian import joint_information
from _ranef.inference.prediction import new_rows
from _ranef.results import Fit
from _ranef.spec import Generalised, ModelSpec
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats
from _ranef.support.interrupts import load

__all__ = ["marginal_effects_model"]

#: versions of marginaleffects that call what polars 2 has no more
FOR_POLARS_1 = ("0.6.0", "0.6.1")


@dataclass(frozen=True, eq=False)
class Parameters:
    """What predictions of a population are made of: β, and with classes the logarithms of steps between thresholds.

    Attributes
    ----------
    names : tuple of str
        Of the values (m,).
    values : array (m,)
    vcov : array (m, m)
    """

    names: tuple[str, ...]
    values: Floats
    vcov: Floats


def marginal_effects_model(fit: Fit, data: Any, scale: str) -> Any:
    """Wrap a fit in a class of marginaleffects, for its population: random effects are zero.

    Parameters
    ----------
    fit : Fit
    data : frame or mapping
        Rows over which is averaged; those that lack something that the model reads are left out.
    scale : "response" or "link"
        Of what is predicted.

    Returns
    -------
    marginaleffects.classes.ModelAbstract

    Raises
    ------
    NotAvailableError
        If the package is not installed, or not with a polars that it works with.
    """
    one_of("type", scale, ("response", "link"))
    classes, pl = _required()
    spec, family, p = fit.spec, fit.spec.family, fit.spec.n_fixed
    parameters = _parameters(fit, with_steps=scale == "response")

    def matrices(rows: Any) -> tuple[None, Floats]:
        """No response, and X with the offset as a last column."""
        found = new_rows(spec, rows, ())
        return None, np.column_stack([found.X, found.offset])

    def get_predict(_: Any, params: Floats, newdata: Floats) -> Any:
        eta = newdata[:, :-1] @ params[:p] + newdata[:, -1]
        if not isinstance(family, Generalised) or scale == "link":
            return _predictions(pl, eta)
        steps = dict(zip(parameters.names[p:], np.exp(params[p:]), strict=True))
        return _predictions(pl, family.predicted(eta, steps), family.classes)

    def get_vcov(_: Any, vcov: bool | str | None = True) -> Floats | None:
        if vcov is None or vcov is False:
            return None
        if vcov is True:
            return parameters.vcov
        if len(parameters.names) > p:
            raise NotAvailableError(
                f"vcov={vcov!r} is of coefficients, and probabilities of classes need thresholds besides: "
                "to_marginaleffects(data, type='link') takes it."
            )
        return np.asarray(cast(Any, fit).vcov_robust(vcov), dtype=float)

    kind = type("RanefModel", (classes.ModelAbstract,), {f.__name__: f for f in (get_predict, get_vcov)})
    vault = classes.ModelVault(
        coef=parameters.values,
        coefnames=np.array(parameters.names, dtype=object),
        formula=matrices,
        modeldata=_rows_used(spec, data, pl),
        package="ranef",
        variable_names=_variables(spec),
    )
    return kind(fit, vault)


def _parameters(fit: Fit, with_steps: bool) -> Parameters:
    """β alone where predictions need no more."""
    names, beta = tuple(map(str, fit.fixef.index)), fit.fixef.to_numpy(dtype=float)
    family = fit.spec.family
    if not (with_steps and isinstance(family, Generalised) and family.classes):
        return Parameters(names, beta, fit.vcov.to_numpy(dtype=float))
    names = (*names, *family.dispersions)
    if isinstance(fit, Sampled):
        steps = (np.log(fit.draws.extras[name])[..., None] for name in family.dispersions)
        draws = np.concatenate([fit.draws.beta, *steps], axis=-1).reshape(-1, len(names))
        return Parameters(names, draws.mean(axis=0), np.cov(draws, rowvar=False))
    assert isinstance(fit, Maximum)
    joint = joint_information(fit.spec, fit.estimates)
    logs = np.log([dispersions_of(fit.estimates)[name] for name in family.dispersions])
    slopes = np.vstack([joint.coefficient_slopes, np.eye(len(joint.x))[len(joint.x) - len(logs) :]])
    return Parameters(names, np.append(beta, logs), slopes @ joint.covariance @ slopes.T)


def _predictions(pl: Any, values: Floats, classes: tuple[str, ...] = ()) -> Any:
    """A row for each row of data, or for each class and row."""
    rowid = np.arange(len(values), dtype=np.int32)
    if not classes:
        return pl.DataFrame({"rowid": rowid, "estimate": values})
    group = np.repeat(np.array(classes, dtype=object), len(values)).tolist()
    return pl.DataFrame({"rowid": np.tile(rowid, len(classes)), "group": group, "estimate": values.T.ravel()})


def _required() -> tuple[Any, Any]:
    try:
        classes, pl = load("marginaleffects.classes"), load("polars")
    except ModuleNotFoundError as error:
        raise NotAvailableError(
            "to_marginaleffects() needs the package marginaleffects, which is not installed: "
            "pip install 'ranef[marginaleffects]'. emmeans() and test() need nothing more."
        ) from error
    if int(pl.__version__.split(".")[0]) > 1 and version("marginaleffects") in FOR_POLARS_1:
        raise NotAvailableError(
            f"marginaleffects {version('marginaleffects')} fails with polars {pl.__version__}: "
            "pip install 'ranef[marginaleffects]' brings one that it works with."
        )
    return classes, pl


def _variables(spec: ModelSpec) -> list[str]:
    """A column of the response, then those that the fixed part reads."""
    encoding = spec.design.encoding
    nodes = (factor for term in encoding.fixed.terms for factor in term.factors)
    read = (part.name for node in nodes for part in walk(node) if isinstance(part, Name))
    return list(dict.fromkeys([next(iter(encoding.kinds)), *(name for name in read if name in encoding.kinds)]))


def _rows_used(spec: ModelSpec, data: Any, pl: Any) -> Any:
    """The data in polars, without rows that lack something, and with an Enum of the model's levels for text."""
    held = read_table(data).source
    frame = pl.DataFrame(dict(held)) if isinstance(held, Mapping) else nw.from_native(held).to_polars()
    kinds = spec.design.encoding.kinds
    frame = frame.fill_nan(None).drop_nulls([name for name in frame.columns if name in kinds])
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    return frame.with_columns(pl.col(name).cast(pl.Enum(_levels(kinds.get(name), frame[name]))) for name in texts)


def _levels(kind: Any, column: Any) -> list[str]:
    """Those that the model knows in their order, then others."""
    known = list(kind.levels) if isinstance(kind, Factor) else []
    return [*known, *sorted(set(column.cast(str).drop_nulls()) - set(known))]
