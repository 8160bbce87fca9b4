"""Intervals of random effects of generalised responses, from what is taken as known most to least."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from _ranef.errors import NotAvailableError, RanefError
from _ranef.inference.effect_frames import check_level, ranef_frame
from _ranef.inference.engines import laplace_at
from _ranef.inference.estimate_draws import FEWEST
from _ranef.inference.joint_hessian import joint_information
from _ranef.inference.other_fits import fitted
from _ranef.inference.ranef_intervals import EFFECT_INTERVALS, mixed_intervals, normal_intervals
from _ranef.inference.resampling import make_resampling
from _ranef.results import Modes, RemlEstimates
from _ranef.spec import ModelSpec, with_response
from _ranef.support.argument_remedies import one_of, whole_number
from _ranef.support.progress import LateBar

__all__ = ["generalised_effect_intervals"]


def generalised_effect_intervals(
    spec: ModelSpec,
    estimates: RemlEstimates,
    kind: str = "conditional",
    level: float = 0.95,
    group: str | None = None,
    n: int = 400,
    seed: int | None = None,
) -> pd.DataFrame:
    """Conditional modes with intervals.

    ``"conditional"`` takes all parameters as known, ``"henderson"`` all but β. ``"corrected"`` adds to the first
    (∂b̂/∂ψ) Var(ψ̂) (∂b̂/∂ψ)ᵀ of all parameters ψ (Kass & Steffey 1989, J. Am. Stat. Assoc. 84, 717-726), as TMB's
    ``sdreport`` does. ``"bootstrap"``: quantiles of the mixture of conditional normal distributions at parameters
    refitted to simulated responses (Laird & Louis 1987, J. Am. Stat. Assoc. 82, 739-750); a variance refitted as zero
    has effects of zero.

    Raises
    ------
    DesignError
        For another kind.
    NotAvailableError
        For ``"robust"``.
    """
    check_level(level)
    one_of("interval", kind, list(EFFECT_INTERVALS))
    if kind == "robust":
        raise NotAvailableError(
            "interval='robust' is not available for generalised responses: it stands on effects that are linear in "
            "the response. 'corrected' and 'bootstrap' count that parameters are estimated."
        )
    if kind == "bootstrap":
        ends = list(_refitted(spec, estimates, whole_number("n", n, FEWEST), seed))
        places = range(len(spec.groupings))
        means, covs = [[m[k].values for m in ends] for k in places], [[m[k].cov for m in ends] for k in places]
        found = mixed_intervals(means, covs, level)
    else:
        which = [m.cov_prediction if kind == "henderson" else m.cov for m in estimates.modes]
        own = [np.diagonal(cov, axis1=1, axis2=2) for cov in which]
        if kind == "corrected":
            joint = joint_information(spec, estimates)
            own = [v + joint.variances(slopes) for v, slopes in zip(own, joint.effect_slopes, strict=True)]
        found = normal_intervals(estimates, level, own)
    values = [m.values for m in estimates.modes]
    return ranef_frame(spec, values, found.sds, found.bounds, group).rename(columns={"sd": EFFECT_INTERVALS[kind]})


def _refitted(spec: ModelSpec, estimates: RemlEstimates, n: int, seed: int | None) -> Iterator[tuple[Modes, ...]]:
    """Conditional modes of the response of the data at parameters of simulated ones."""
    drawn = make_resampling(spec, estimates, "parametric", "new")
    laplace = laplace_at(spec, estimates).laplace
    with LateBar("Refitting", "response", n) as bar:
        for one in np.random.SeedSequence(seed).spawn(n):
            y = drawn.response(np.random.default_rng(one))
            try:
                own = fitted(with_response(spec, y), "ML", start=estimates.theta, points=estimates.nagq).estimates
            except RanefError:  # of separated rows
                continue
            logs = np.log(np.zeros(0) if own.dispersion is None else own.dispersion)
            yield laplace.at(laplace.gaussian.standard(own.theta), laplace.inward(own.beta), logs).modes()
            bar.update()
