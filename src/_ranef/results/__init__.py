"""Frozen records that the engines return, and the protocol that everything after them is written against."""

from _ranef.results.call_arguments import fit_arguments, fit_call, sample_arguments
from _ranef.results.doubts import DOUBT, Doubtable, marked
from _ranef.results.protocol import ESTIMATING, Fit
from _ranef.results.records import (
    Importance,
    Method,
    Modes,
    OptimizerRecord,
    OptimizerStep,
    PosteriorDraws,
    Refits,
    RemlEstimates,
    Status,
    response_fields,
)

__all__ = [
    "DOUBT",
    "ESTIMATING",
    "Doubtable",
    "Fit",
    "Importance",
    "Method",
    "Modes",
    "OptimizerRecord",
    "OptimizerStep",
    "PosteriorDraws",
    "Refits",
    "RemlEstimates",
    "Status",
    "fit_arguments",
    "fit_call",
    "marked",
    "response_fields",
    "sample_arguments",
]
