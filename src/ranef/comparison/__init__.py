"""Fits side by side: aligned frames and measures of shrinkage."""

from ranef.comparison.align import Aligned, align
from ranef.comparison.elpd import elpd_frame, require_same_rows, stacking_weights
from ranef.comparison.shrinkage import shrinkage_frame

__all__ = ["Aligned", "align", "elpd_frame", "require_same_rows", "shrinkage_frame", "stacking_weights"]
