"""Tests of terms: the hypotheses of types I, II and III, as lmerTest and SAS have them, whatever the coding of factors.

Type I takes terms one after the other; II each after all that do not contain it; III are the hypotheses on an
overparameterised model whose rows are orthogonal to those of the terms that contain the term (Goodnight 1978, SAS
Technical Report R-101). A term is contained in those with the same numeric predictors and more factors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from _ranef.design import every_level, independent_columns
from _ranef.errors import DesignError
from _ranef.inference.ddf import CoefficientLaw, joint_test
from _ranef.spec import ModelSpec, moments
from _ranef.support.argument_remedies import one_of
from _ranef.support.arrays import Floats, Ints

__all__ = ["term_hypotheses", "term_tests"]

#: share of a row, or of a column, below which what is left of it is rounding
ROUNDING = 1e-8


def term_hypotheses(spec: ModelSpec, kind: int | str) -> dict[str, Floats]:
    """L (q, p) of every term by name; without rows where nothing of it is estimated.

    As in lmerTest the types are one where there is one term: rows of type I span the same hypothesis as the others, but
    not with the same principal combinations, of which Satterthwaite's degrees of freedom are.

    Parameters
    ----------
    spec : ModelSpec
    kind : 1, 2, 3, or "I", "II", "III"

    Raises
    ------
    DesignError
        If there is no such type, or nothing to test.
    """
    types = {1: _type_1, 2: _type_2, 3: _type_3, "1": _type_1, "2": _type_2, "3": _type_3}
    types |= {"I": _type_1, "II": _type_2, "III": _type_3}
    one_of("type", kind, list(types))
    if not (spec.design.assign > 0).any():
        raise DesignError("The model has no fixed effects besides the intercept: there is no term to test.")
    found = types[kind](spec) if len(spec.design.fixed_terms) > 1 else _type_1(spec)
    return dict(zip(spec.design.fixed_terms, found, strict=True))


def _type_1(spec: ModelSpec) -> list[Floats]:
    assign = np.asarray(spec.design.assign)
    rows = _sequential(spec, np.arange(len(assign)))
    return [rows[assign == k + 1] for k in range(len(spec.design.fixed_terms))]


def _type_2(spec: ModelSpec) -> list[Floats]:
    """Of a term that no other contains, its coefficients."""
    assign, out = np.asarray(spec.design.assign), []
    for k, inside in enumerate(every_level(spec.design.encoding).inside):
        after = np.where(assign == k + 1, 1, np.where(np.isin(assign, [j + 1 for j in inside]), 2, 0))
        rows = _sequential(spec, np.argsort(after, kind="stable")) if inside else np.eye(len(assign))
        out.append(rows[assign == k + 1])
    return out


def _sequential(spec: ModelSpec, order: Ints) -> Floats:
    """Rows (p, p): the hypothesis that a column adds nothing to the earlier ones, in least squares without weights."""
    size, R = _triangle(spec)
    own = np.asarray(np.linalg.qr(R[:, order], mode="r"))
    rows = np.empty_like(own)
    rows[np.ix_(order, order)] = own / np.diag(own)[:, None]
    return np.asarray(rows * size[None, :] / size[:, None])


def _triangle(spec: ModelSpec) -> tuple[Floats, Floats]:
    """Lengths (p,) of the columns of X, and R (p, p) of the QR of X with columns of unit length."""
    R = np.sqrt(spec.n_obs) * moments(spec).X[:, 1:]
    size = np.linalg.norm(R, axis=0)
    return size, R / size


def _type_3(spec: ModelSpec) -> list[Floats]:
    """Estimable functions of the parameters of all levels, made orthogonal there, and in coordinates of β again."""
    every = every_level(spec.design.encoding)
    columns = np.flatnonzero(every.treatment)
    columns = columns[independent_columns(every.K[:, columns], intercept=False)]
    inverse = np.linalg.inv(every.K[:, columns])
    rows, assign = inverse @ every.K, every.assign[columns]
    degree = [len(t.factors) for t in spec.design.encoding.fixed.terms]
    for k in sorted(range(len(degree)), key=lambda k: -degree[k]):
        own, over = assign == k + 1, np.isin(assign, [j + 1 for j in every.inside[k]])
        if over.any():
            rows[own] -= rows[own] @ np.linalg.pinv(rows[over], ROUNDING) @ rows[over]
    found = [rows[assign == k + 1][:, columns] for k in range(len(degree))]
    return [L[np.abs(L).max(axis=1, initial=0.0) > ROUNDING] @ inverse for L in found]


def term_tests(spec: ModelSpec, law: CoefficientLaw, beta: Floats, sigma: float, kind: int | str) -> pd.DataFrame:
    """``term, sum_sq, mean_sq, ndf, ddf, statistic, p`` of every term; χ² with `ddf` infinite.

    The mean square is F σ̂², as lmerTest's: it is one of rows in balanced designs alone. Terms of which nothing is
    estimated have NaN.
    """
    rows: list[list[object]] = []
    for term, L in term_hypotheses(spec, kind).items():
        if not len(L):
            rows.append([term, *[np.nan] * 6])
            continue
        found = joint_test(law, L, L @ beta)
        F = found.statistic / (found.ndf if np.isinf(found.ddf) else found.scale)
        numbers = [F * found.ndf * sigma**2, F * sigma**2, found.ndf, found.ddf, found.statistic, found.p]
        rows.append([term, *numbers])
    return pd.DataFrame(rows, columns=["term", "sum_sq", "mean_sq", "ndf", "ddf", "statistic", "p"])
