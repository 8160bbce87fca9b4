"""Engine A: maximum likelihood and REML with conditional modes."""

from ranef.reml.fit import fit_reml
from ranef.reml.optimize import Control, checked_control
from ranef.reml.refits import refit_many
from ranef.reml.row_variance import fit_rows

__all__ = ["Control", "checked_control", "fit_reml", "fit_rows", "refit_many"]
