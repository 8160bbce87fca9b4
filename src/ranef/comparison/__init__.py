"""Fits side by side: aligned frames, measures of shrinkage, and pooling from complete to none."""

from ranef.comparison.align import Aligned, align
from ranef.comparison.elpd import elpd_frame, require_same_rows, stacking_weights
from ranef.comparison.paths import (
    EffectsAt,
    Moved,
    PoolingSweep,
    effects_at,
    effects_at_ratio,
    moved,
    sweep,
)
from ranef.comparison.pooling import (
    PoolingBase,
    checked_theta,
    chosen_columns,
    coefficient_frame,
    one_column,
    own_frame,
    pooling_base,
    pooling_frame,
    pooling_path,
    pooling_sweep,
    ratio_draws,
    ratio_frame,
    relative_sds,
)
from ranef.comparison.reliability import OwnData, own_data, reliabilities, reliability_matrices
from ranef.comparison.shrinkage import shrinkage_frame

__all__ = [
    "Aligned",
    "EffectsAt",
    "Moved",
    "OwnData",
    "PoolingBase",
    "PoolingSweep",
    "align",
    "checked_theta",
    "chosen_columns",
    "coefficient_frame",
    "effects_at",
    "effects_at_ratio",
    "elpd_frame",
    "moved",
    "one_column",
    "own_data",
    "own_frame",
    "pooling_base",
    "pooling_frame",
    "pooling_path",
    "pooling_sweep",
    "ratio_draws",
    "ratio_frame",
    "relative_sds",
    "reliabilities",
    "reliability_matrices",
    "require_same_rows",
    "shrinkage_frame",
    "stacking_weights",
    "sweep",
]
