"""Engine A: maximum likelihood and REML with conditional modes."""

from _ranef.reml.fit import fit_reml
from _ranef.reml.optimize import Control, checked_control
from _ranef.reml.refits import refit_many, refit_structured, slice_size
from _ranef.reml.structured import fit_structured
from _ranef.support.late_names import late

with late(globals()):
    from _ranef.reml.generalised import FARTHEST, GeneralisedProblem, fit_generalised, without_flat
    from _ranef.reml.generalised_refits import LinkedRefits, refit_linked

__all__ = [
    "FARTHEST",
    "Control",
    "GeneralisedProblem",
    "LinkedRefits",
    "checked_control",
    "fit_generalised",
    "fit_reml",
    "fit_structured",
    "refit_linked",
    "refit_many",
    "refit_structured",
    "slice_size",
    "without_flat",
]
