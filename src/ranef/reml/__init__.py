"""Engine A: maximum likelihood and REML with conditional modes."""

from ranef.reml.fit import fit_reml
from ranef.reml.optimize import Control

__all__ = ["Control", "fit_reml"]
