"""How a fit of residual structures ended: what the data do not determine, and what has come to an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from _ranef.likelihood import Method, at_edge, flat_beyond, undetermined_with_rho
from _ranef.reml.fit import BOUNDARY_ADVICE, flat_words
from _ranef.results import OptimizerRecord, Status
from _ranef.spec import ModelSpec
from _ranef.support.arrays import Floats

__all__ = ["judged"]

#: what is wrong with a model whose ρ are not determined
TWICE = (
    "what residual structures say, random effects, fixed effects or other structures say already, and one of them "
    "should go."
)


def judged(found: OptimizerRecord, spec: ModelSpec, method: Method, theta: Floats) -> OptimizerRecord:
    """The record of a descent in θ, which ended at `theta`, at the estimated ρ of `spec`; its status counts ρ too."""
    if not spec.rho_names or found.status is Status.NOT_CONVERGED:
        return found
    every = (*spec.theta_names, *spec.rho_names)
    lost = [name for name, out in zip(every, undetermined_with_rho(spec, method), strict=True) if out]
    if lost:
        names = tuple(name for name in every if name in lost or name in found.undetermined)
        words = f"{Status.NOT_IDENTIFIED.value} {flat_words(names, method, TWICE)}"
        return replace(found, status=Status.NOT_IDENTIFIED, message=words, undetermined=names)
    ends = at_edge(spec) | flat_beyond(spec, theta, method)
    edges = [name for name, there in zip(spec.rho_names, ends, strict=True) if there]
    if not edges:
        return found
    if found.status is Status.CONVERGED:
        words = f"{Status.BOUNDARY.value} {_edge_words(spec, edges)} {BOUNDARY_ADVICE}"
        return replace(found, status=Status.BOUNDARY, message=words)
    return replace(found, message=f"{found.message} {_edge_words(spec, edges)}")


def _edge_words(spec: ModelSpec, names: Sequence[str]) -> str:
    """Which parameters are at an edge, and what that is."""
    parts = [] if spec.variance is None else [(spec.variance.call, spec.variance.names)]
    parts += [] if spec.correlation is None else [(repr(spec.correlation.function), spec.correlation.names)]
    structures = " and ".join(call for call, own in parts if set(own) & set(names))
    return (
        f"{', '.join(names)} of {structures} {'has' if len(names) == 1 else 'have'} come to an edge: to go on "
        "changes next to nothing, so that the numbers shown stand for all beyond."
    )
