"""A fit of the same model, written otherwise, in the terms of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from _ranef.comparison.same_model import Correspondence
from _ranef.errors import DesignError
from _ranef.results import Modes, PosteriorDraws, RemlEstimates
from _ranef.spec import ModelSpec, Priors, corr_name, default_priors, flat_priors, replacements, shape_name
from _ranef.support.arrays import Floats

__all__ = ["expressed_draws", "expressed_estimates", "expressed_spec"]


def expressed_spec(first: ModelSpec, other: ModelSpec) -> ModelSpec:
    """The columns, levels and terms of the first, with what is known of the residuals of the other."""
    return replace(other, design=first.design, terms=first.terms, groupings=first.groupings)


def expressed_estimates(
    first: ModelSpec, other: ModelSpec, found: Correspondence, estimates: RemlEstimates
) -> RemlEstimates:
    """Estimates of the model as `other` writes it, as the first does.

    With X₂ = X₁M and Z₂ = Z₁T coefficients are Mβ and effects Tb; the REML criterion of X₁ is lower by log|M|².
    """
    M, shift = found.fixed, 0.0
    if estimates.method == "REML":
        shift = 2.0 * float(np.linalg.slogdet(M)[1])
    steps = estimates.optimizer.steps
    path = [replace(s, theta=_theta(first, other, found, s.theta), criterion=s.criterion - shift) for s in steps]
    modes = []
    for f in found.factors:
        own, T = estimates.modes[f.place], f.columns
        covs = (T @ cov[f.levels] @ T.T for cov in (own.cov, own.cov_prediction))
        modes.append(Modes(own.values[f.levels] @ T.T, *covs))
    return replace(
        estimates,
        theta=_theta(first, other, found, estimates.theta),
        beta=M @ estimates.beta,
        vcov=M @ estimates.vcov @ M.T,
        criterion=estimates.criterion - shift,
        modes=tuple(modes),
        optimizer=replace(
            estimates.optimizer, steps=tuple(path), message=f"{estimates.optimizer.message} {_note(other)}"
        ),
        asked={name: text for name, text in estimates.asked.items() if name != "start"},
    )


def expressed_draws(first: ModelSpec, other: ModelSpec, found: Correspondence, draws: PosteriorDraws) -> PosteriorDraws:
    """Draws of the model as `other` writes it, as the first does.

    Raises
    ------
    DesignError
        If priors were given by names that have no counterpart.
    """
    names = _names(first, other, found) if found.reordered else {}
    usual = default_priors(first), default_priors(other)
    if not (found.reordered or draws.priors.flat or _priors_alike(first, other, found, *usual)):
        raise DesignError(
            f"{first.design.formula!r} and {other.design.formula!r} are one model with other default priors, which "
            "depend on how columns are coded (see describe()). Make both fits from the same ranef.Model."
        )
    b = tuple(draws.b[f.place][..., f.levels, :] @ f.columns.T for f in found.factors)
    extras = {names.get(name, name): values for name, values in draws.extras.items()}
    if "phi" in extras:  # shares of the coefficients but the intercept
        kept = [np.array([n != "Intercept" for n in s.design.fixed_names]) for s in (first, other)]
        extras["phi"] = extras["phi"] @ found.fixed[np.ix_(*kept)].T
    return replace(
        draws,
        theta=_theta(first, other, found, draws.theta),
        beta=draws.beta @ found.fixed.T,
        b=b,
        extras=extras,
        priors=_priors(first, other, names, draws.priors),
        notes=(*draws.notes, _note(other)),
    )


def _note(other: ModelSpec) -> str:
    return f"Made as {other.design.formula!r}, the same model in other words, and expressed in those shown."


def _theta(first: ModelSpec, other: ModelSpec, found: Correspondence, theta: Floats) -> Floats:
    return first.theta_of(found.roots(other.lambdas(theta))) if first.n_theta else theta


def _priors(first: ModelSpec, other: ModelSpec, names: Mapping[str, str], priors: Priors) -> Priors:
    """The same priors by the first's names; default ones know no order and no coding."""
    if priors.flat:
        return flat_priors(first)
    own = replacements(priors, default_priors(other))
    anywhere = {"sigma", "nu", *priors.rho}
    lost = [name for name in own if name not in names and name not in anywhere]
    if lost:
        raise DesignError(
            f"The priors given to {', '.join(map(repr, lost))} are of {other.design.formula!r} as it is coded, and "
            f"have no counterpart in {first.design.formula!r}. Make both fits from the same ranef.Model."
        )
    return default_priors(first, {names.get(name, name): prior for name, prior in own.items()})


def _priors_alike(first: ModelSpec, other: ModelSpec, found: Correspondence, own: Priors, theirs: Priors) -> bool:
    """Whether each standard deviation that has a default prior is one of the other model, with the same prior."""
    for k, f in enumerate(found.factors):
        inward, outward = _coordinates(first, k, own), _coordinates(other, f.place, theirs)
        between = np.linalg.solve(inward, f.columns @ outward)  # b* = between × the other's
        size = np.abs(between) / np.linalg.norm(between, axis=0)
        if not np.allclose(np.sort(size, axis=0)[:-1], 0.0, atol=1e-6):
            return False
        scales = _scales(first, k, own)[size.argmax(axis=0)] / np.abs(between).max(axis=0)
        if not np.allclose(scales, _scales(other, f.place, theirs), rtol=1e-6):
            return False
    return True


def _coordinates(spec: ModelSpec, k: int, priors: Priors) -> Floats:
    """Effects (p,) of a grouping are this times the coordinates whose standard deviations have priors."""
    p = len(spec.groupings[k].columns)
    out = np.zeros((p, p))
    for t in (t for t in spec.terms if t.grouping == k):
        out[t.where, t.where] = priors.term(t).outward
    return out


def _scales(spec: ModelSpec, k: int, priors: Priors) -> Floats:
    """Scales (p,) of those priors; one that columns share, again for each."""
    out = np.zeros(len(spec.groupings[k].columns))
    for t in (t for t in spec.terms if t.grouping == k):
        own = [getattr(p, "scale", np.nan) for p in priors.sds(t)]
        out[t.where] = own if len(own) == len(t.columns) else own[0]
    return out


def _names(first: ModelSpec, other: ModelSpec, found: Correspondence) -> dict[str, str]:
    """Of models that differ in the order of columns alone: names of priors and extras, the other's to the first's."""
    out = {"fixef": "fixef"}
    for theirs, ours in zip(other.design.fixed_names, found.fixed.argmax(axis=0).tolist(), strict=True):
        out[f"fixef[{theirs}]"] = f"fixef[{first.design.fixed_names[ours]}]"
    for g, f in zip(first.groupings, found.factors, strict=True):
        h = other.groupings[f.place]
        place = f.columns.argmax(axis=0)  # of each of the other's columns among the first's
        out |= {f"ranef[{h.name}]": f"ranef[{g.name}]", f"nu_{h.name}": f"nu_{g.name}"}
        out |= {f"sd[{h.name}, {c}]": f"sd[{g.name}, {g.columns[i]}]" for c, i in zip(h.columns, place, strict=True)}
        for t in (t for t in other.terms if t.group == h.name):
            own = next(s for s in first.terms if s.group == g.name and s.where.start <= place[t.start] < s.where.stop)
            out[corr_name(t)] = corr_name(own)
            out |= {shape_name(t, s): shape_name(own, s) for s in t.structure.shapes}
    return out
