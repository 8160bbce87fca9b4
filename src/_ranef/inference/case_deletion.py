"""Deletion diagnostics: the model without each level of a factor, or without each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _ranef.errors import NotAvailableError, RanefError
from _ranef.inference.effect_frames import grouping_named, varcorr_frame
from _ranef.inference.other_fits import fitted
from _ranef.likelihood import Likelihood, cross_products
from _ranef.results import Doubtable, RemlEstimates
from _ranef.spec import Generalised, ModelSpec, without_rows
from _ranef.support.arrays import Floats
from _ranef.support.progress import LateBar

__all__ = ["Influence", "influence"]


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Doubtable):
    """What the fit becomes without each level of a factor, or without each row.

    Attributes
    ----------
    group : str or None
        The factor whose levels were deleted one at a time; None for single rows.
    refitted : bool
        Whether θ was estimated anew each time; if not, it stayed at θ̂ of all rows.
    deleted : DataFrame
        One row a deletion: ``deleted, n_rows, cooks_distance, mdffits, covtrace, covratio, sigma, status, note``.
    fixef : DataFrame
        ``deleted, term, estimate, dfbetas``: the coefficient without it, in its units, and (β̂ − β̂₍₋ⱼ₎)/se(β̂₍₋ⱼ₎).
    varcorr : DataFrame
        ``deleted, group, term1, term2, vcov, sdcor``.
    theta : DataFrame
        θ̂ by deletion; columns are named as ``fit.theta``.

    Examples
    --------
    >>> import ranef
    >>> fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    >>> found = fit.influence("operator")
    >>> found.deleted[["deleted", "cooks_distance"]].round(2).to_numpy().tolist()
    [['a', 0.13], ['b', 0.58], ['c', 0.24], ['d', 0.39]]
    >>> found.fixef["estimate"].round(2).tolist()
    [60.45, 60.51, 60.33, 60.31]
    >>> found.theta.shape
    (4, 1)
    """

    group: str | None
    refitted: bool
    deleted: pd.DataFrame
    fixef: pd.DataFrame
    varcorr: pd.DataFrame
    theta: pd.DataFrame

    def _printed(self) -> str:
        what = "rows" if self.group is None else f"levels of {self.group}"
        return f"<Influence of {len(self.deleted)} {what}>\n{self.deleted}"


@dataclass(frozen=True)
class _Deletion:
    """Estimates without some rows; NaN for what cannot be estimated from the rest."""

    beta: Floats
    vcov: Floats
    theta: Floats
    sigma: float
    status: str
    note: str


def influence(spec: ModelSpec, estimates: RemlEstimates, group: str | None = None, *, refit: bool = True) -> Influence:
    """Delete each level of a grouping factor (or each row), and estimate from the rest.

    Cook's distance is (β̂ − β̂₍₋ⱼ₎)ᵀ V̂⁻¹ (β̂ − β̂₍₋ⱼ₎)/p with V̂ the covariance of β̂ from all rows, and dfbetas are
    (β̂ − β̂₍₋ⱼ₎)/se(β̂₍₋ⱼ₎) (Nieuwenhuis, te Grotenhuis & Pelzer 2012, R Journal 4(2), 38-47; Belsley, Kuh & Welsch
    1980). lme4's ``dfbetas(influence(fit))`` has the opposite sign, and its ``cooks.distance`` of it is this one
    times (J − p)/J for J deletions. MDFFITS is as Cook's distance with the covariance V̂₍₋ⱼ₎ without the rows; COVTRACE
    is |tr(V̂⁻¹V̂₍₋ⱼ₎) − p| and COVRATIO |V̂₍₋ⱼ₎|/|V̂| (Loy & Hofmann 2014, J. Stat. Softw. 56(5)).

    Raises
    ------
    DesignError
        If the model has no grouping factor `group`.
    """
    generalised = isinstance(spec.family, Generalised)
    if generalised and not refit:
        raise NotAvailableError(
            "refit=False is not available for generalised responses, whose θ and β are estimated together."
        )
    spec = spec.held
    codes, labels = _deletions(spec, group)
    unit = "row" if group is None else "level"
    found = []
    with LateBar("Refitting without", unit, len(labels)) as bar:
        for j in range(len(labels)):
            found.append(_without(spec, estimates, codes != j, refit=refit))
            bar.update()
    change = estimates.beta - np.array([f.beta for f in found])
    frames = [_varcorr(spec, f, label) for f, label in zip(found, labels, strict=True)]
    names = list(spec.design.fixed_names)
    return Influence(
        group,
        refit,
        pd.DataFrame(
            {
                "deleted": labels,
                "n_rows": np.bincount(codes, minlength=len(labels)),
                "cooks_distance": _cooks_distances(change, estimates.vcov),
                **_covariances(change, estimates.vcov, np.array([f.vcov for f in found])),
                **({} if generalised else {"sigma": [f.sigma for f in found]}),
                "status": [f.status for f in found],
                "note": [f.note for f in found],
            }
        ),
        pd.DataFrame(
            {
                "deleted": np.repeat(labels, len(names)),
                "term": names * len(labels),
                "estimate": np.ravel([f.beta for f in found]),
                "dfbetas": np.ravel(change / np.sqrt([np.diag(f.vcov) for f in found])),
            }
        ),
        pd.concat(frames, ignore_index=True),
        pd.DataFrame([f.theta for f in found], index=pd.Index(labels, name="deleted"), columns=list(spec.theta_names)),
    )


def _deletions(spec: ModelSpec, group: str | None) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Which deletion takes each row away (n,), and what the deletions are called."""
    if group is None:
        return np.arange(spec.n_obs), np.asarray(spec.design.index, dtype=object)
    g = grouping_named(spec, group)[1]
    return g.codes, g.levels


def _cooks_distances(change: Floats, vcov: Floats) -> Floats:
    """Of every row of changes (m, p); NaN where a coefficient is, or there are none."""
    m, p = change.shape
    if p == 0:
        return np.full(m, np.nan)
    return np.asarray((change * np.linalg.solve(vcov, change.T).T).sum(axis=1) / p)


def _covariances(change: Floats, vcov: Floats, without: Floats) -> dict[str, Floats]:
    """MDFFITS, COVTRACE and COVRATIO (m,) of changes (m, p) and covariances (m, p, p) without rows."""
    m, p = change.shape
    known = np.isfinite(without).all(axis=(1, 2)) & (p > 0)
    out = {name: np.full(m, np.nan) for name in ("mdffits", "covtrace", "covratio")}
    if known.any():
        moved = without[known]
        ratio = np.linalg.solve(vcov, moved)
        out["mdffits"][known] = (change[known] * np.linalg.solve(moved, change[known, :, None])[..., 0]).sum(axis=1) / p
        out["covtrace"][known] = np.abs(np.trace(ratio, axis1=1, axis2=2) - p)
        out["covratio"][known] = np.linalg.det(ratio)
    return out


def _without(spec: ModelSpec, full: RemlEstimates, keep: NDArray[np.bool_], *, refit: bool) -> _Deletion:
    nothing = np.full(spec.n_fixed, np.nan)
    unknown = np.full((spec.n_fixed, spec.n_fixed), np.nan)
    try:
        rest = without_rows(spec, keep)
        beta, vcov, theta, sigma, status = (_refitted if refit else _at_theta)(rest, full)
    except RanefError as refusal:
        return _Deletion(nothing, unknown, np.full(spec.n_theta, np.nan), np.nan, "not fitted", str(refusal))
    kept = np.isin(spec.design.fixed_names, rest.design.fixed_names)
    lost = ", ".join(spec.design.fixed_names[i] for i in np.flatnonzero(~kept))
    note = f"The rows left do not determine {lost}." if lost else ""
    nothing[kept], unknown[np.ix_(kept, kept)] = beta, vcov
    return _Deletion(nothing, unknown, theta, sigma, status, note)


def _refitted(rest: ModelSpec, full: RemlEstimates) -> tuple[Floats, Floats, Floats, float, str]:
    new = fitted(rest, full.method, start=full.theta if rest.n_theta else None, at=rest.rho, points=full.nagq).estimates
    status = new.optimizer.status.name.lower().replace("_", " ")
    return new.beta, new.vcov, new.theta, new.sigma, status


def _at_theta(rest: ModelSpec, full: RemlEstimates) -> tuple[Floats, Floats, Floats, float, str]:
    """β̂, its covariance and σ̂ with θ kept."""
    at = Likelihood(rest, cross_products(rest), full.method).at(full.theta)
    return at.beta, at.vcov, full.theta, at.sigma, "theta kept"


def _varcorr(spec: ModelSpec, deletion: _Deletion, label: object) -> pd.DataFrame:
    frame = varcorr_frame(spec, deletion.theta, deletion.sigma)
    return pd.concat([pd.Series([label] * len(frame), name="deleted"), frame], axis=1)
