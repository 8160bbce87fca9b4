"""Refits of a generalised model to many responses: together where that goes, else one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from _ranef.errors import RanefError
from _ranef.inference.joint_hessian import JointInformation, joint_information
from _ranef.likelihood import response_rows
from _ranef.reml import LinkedRefits, refit_linked
from _ranef.results import RemlEstimates
from _ranef.spec import Generalised, ModelSpec, sdcor_arrays
from _ranef.support.arrays import Floats

__all__ = ["Together", "by_refits", "make_together", "refitted_values"]


@dataclass(frozen=True, eq=False, repr=False)
class Together:
    """What refits of responses begin from: the estimates, and the Hessian there."""

    joint: JointInformation

    @property
    def size(self) -> int:
        """How many responses are fitted at once."""
        return self.joint.problem.most_together

    def refits(self, Y: Floats) -> LinkedRefits:
        """Of responses (n, B), of which the model's family says what is no response of its: those are not found."""
        problem, fair = self.joint.problem, np.array([_is_fair(self.joint.problem.spec, y) for y in Y.T], dtype=bool)
        held = Y if fair.all() else np.where(fair, Y, response_rows(problem.spec).y[:, None])
        found = refit_linked(problem, self.joint.x, self.joint.hessian, held)
        found.found[~fair] = False
        return found


def make_together(spec: ModelSpec, estimates: RemlEstimates) -> Together | None:
    """None where responses can not be fitted together: by quadrature, of related levels, from a boundary."""
    if not isinstance(spec.family, Generalised) or estimates.nagq > 1 or estimates.singular:
        return None
    joint = joint_information(spec, estimates)
    return Together(joint) if joint.problem.most_together else None


def refitted_values(spec: ModelSpec, found: LinkedRefits) -> Floats:
    """Coefficients, sds, correlations and dispersions (B, k) in the order of ``parameter_values``."""
    others = sdcor_arrays(spec, found.theta, np.ones(len(found.theta)))
    return np.column_stack([found.beta, *others.values(), found.dispersion])


def by_refits(
    together: Together | None, Y: Floats, alone: Callable[[Floats], float], tick: Callable[[int], None]
) -> Floats:
    """Minimised criteria (B,) of responses (n, B); those that are not found together by a fit of their own, `alone`."""
    out = np.full(Y.shape[1], np.nan)
    step = 1 if together is None else together.size
    for first in range(0, len(out), step):
        part = slice(first, min(len(out), first + step))
        if together is not None:
            found = together.refits(Y[:, part])
            out[part] = np.where(found.found, found.criterion, np.nan)
        for b in range(part.start, part.stop):
            if np.isnan(out[b]):
                out[b] = alone(Y[:, b])
        tick(part.stop - part.start)
    return out


def _is_fair(spec: ModelSpec, y: Floats) -> bool:
    family = spec.family
    assert isinstance(family, Generalised)
    try:
        family.check(y, spec.design.weights, "", str)
    except RanefError:
        return False
    return True
