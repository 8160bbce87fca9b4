"""Fits side by side: aligned frames and measures of shrinkage."""

from ranef.comparison.align import Aligned, align
from ranef.comparison.shrinkage import shrinkage_frame

__all__ = ["Aligned", "align", "shrinkage_frame"]
