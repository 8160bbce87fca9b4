"""A generalised response as a Gaussian one near its mode: what samplers take their scale, metric and start from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from _ranef.likelihood.laplace import make_laplace
from _ranef.likelihood.pilot_fit import fit_pilot, working_model
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec

__all__ = ["working_spec"]


def working_spec(spec: ModelSpec, start: RemlEstimates | None) -> ModelSpec:
    """The model of the working response at the conditional mode of `start`, or without random effects; its σ is 1."""
    assert isinstance(spec.family, Generalised)
    pilot = fit_pilot(spec, spec.family)
    if start is None:
        return working_model(spec, pilot)
    model = make_laplace(spec, pilot)
    logs = np.zeros(0) if start.dispersion is None else np.log(start.dispersion)
    mode = model.at(model.gaussian.standard(start.theta), model.inward(start.beta), logs).mode
    return working_model(spec, replace(pilot, eta=mode.eta, curvature=mode.at.curvature, first=mode.at.first))
