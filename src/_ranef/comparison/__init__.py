"""Fits side by side: aligned frames and measures of agreement and shrinkage; where posterior variance comes from."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.comparison.agreement import (
        Aligned,
        agreement_frame,
        align,
        estimand,
        interval_overlap,
        long_frame,
        prediction_frames,
        with_errors,
    )
    from _ranef.comparison.decomposition import (
        VarianceSplit,
        decomposition_frame,
        fits_decomposition,
        split_linked,
        split_variances,
    )
    from _ranef.comparison.effects_at_theta import EffectsAt, effects_at, effects_at_ratio, moved
    from _ranef.comparison.elpd import ranked, require_same_rows, stacking_weights
    from _ranef.comparison.fits_of_one_model import (
        check_names,
        default_names,
        difference,
        formula_names,
        require_same_model,
    )
    from _ranef.comparison.generalised_levels import LinkedBase, levels_frame, linked_base, linked_frame, linked_sweep
    from _ranef.comparison.interval_methods import interval_frame
    from _ranef.comparison.paths_of_fits import fit_paths, paths_base
    from _ranef.comparison.paths_of_one_sd import PoolingSweep, even_ratios, ratios_at, sweep
    from _ranef.comparison.pooling import (
        PoolingBase,
        checked_theta,
        chosen_columns,
        coefficient_frame,
        one_column,
        own_frame,
        own_variance_draws,
        pooling_base,
        pooling_frame,
        pooling_sweep,
        ratio_draws,
        ratio_frame,
        relative_sds,
        scaled_at,
        scales_of,
        whole_sweep,
    )
    from _ranef.comparison.reliability import OwnData, own_data, reliabilities, reliability_matrices
    from _ranef.comparison.same_model import Correspondence
    from _ranef.comparison.scaled_covariance import CovarianceSweep
    from _ranef.comparison.shrinkage import shrinkage_frame
    from _ranef.comparison.singular_fits import Boundary, boundary
    from _ranef.comparison.translation import expressed_draws, expressed_estimates, expressed_spec

__all__ = [
    "Aligned",
    "Boundary",
    "Correspondence",
    "CovarianceSweep",
    "EffectsAt",
    "LinkedBase",
    "OwnData",
    "PoolingBase",
    "PoolingSweep",
    "VarianceSplit",
    "agreement_frame",
    "align",
    "boundary",
    "check_names",
    "checked_theta",
    "chosen_columns",
    "coefficient_frame",
    "decomposition_frame",
    "default_names",
    "difference",
    "effects_at",
    "effects_at_ratio",
    "estimand",
    "even_ratios",
    "expressed_draws",
    "expressed_estimates",
    "expressed_spec",
    "fit_paths",
    "fits_decomposition",
    "formula_names",
    "interval_frame",
    "interval_overlap",
    "levels_frame",
    "linked_base",
    "linked_frame",
    "linked_sweep",
    "long_frame",
    "moved",
    "one_column",
    "own_data",
    "own_frame",
    "own_variance_draws",
    "paths_base",
    "pooling_base",
    "pooling_frame",
    "pooling_sweep",
    "prediction_frames",
    "ranked",
    "ratio_draws",
    "ratio_frame",
    "ratios_at",
    "relative_sds",
    "reliabilities",
    "reliability_matrices",
    "require_same_model",
    "require_same_rows",
    "scaled_at",
    "scales_of",
    "shrinkage_frame",
    "split_linked",
    "split_variances",
    "stacking_weights",
    "sweep",
    "whole_sweep",
    "with_errors",
]
