"""What both engines stand on: cross-products once, then everything at θ in numpy."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.likelihood.at import At, Likelihood
    from _ranef.likelihood.batch import (
        PERFECT_FIT,
        Batch,
        BatchPoint,
        evaluate_together,
        has_blocks,
        have_digits,
        make_batch,
        slopes_together,
    )
    from _ranef.likelihood.by_rho import OverRho, over_rho
    from _ranef.likelihood.coefficients import FixedPart, fixed_part
    from _ranef.likelihood.criterion import LOST, Evaluation, Method, Score, average_information, evaluate, score
    from _ranef.likelihood.crossproducts import CrossProducts, of_sums, other_columns, streamed_products, summed
    from _ranef.likelihood.effects_given_draws import (
        Given,
        Moments,
        conditional_variances,
        drawn_variances,
        effect_moments,
    )
    from _ranef.likelihood.group_densities import group_log_densities, has_shared_effects, left_out_log_densities
    from _ranef.likelihood.group_problem import RowGroups
    from _ranef.likelihood.identify import Undetermined, undetermined
    from _ranef.likelihood.identify_residuals import at_edge, flat_beyond, undetermined_with_rho
    from _ranef.likelihood.kenward_roger import Adjustment, adjustment, coefficient_root, vcov_slopes
    from _ranef.likelihood.laplace import Laplace, LaplaceAt, Mode, make_laplace
    from _ranef.likelihood.laplace_together import LaplaceTogether, ManyDraws, ManyPoints, ManySlopes, rows_together
    from _ranef.likelihood.level_sums import Sums, merged_sums, row_sums
    from _ranef.likelihood.on_boundary import NEAR_ZERO, Degeneracy, degeneracy, determined, rank_of
    from _ranef.likelihood.pilot_fit import Pilot, directions, fit_pilot, outward_direction, response_rows, separating
    from _ranef.likelihood.pointwise import linear_predictor_draws, log_precision_draws, row_log_densities
    from _ranef.likelihood.prediction_covariances import combination_roots, combination_variances, given_variances
    from _ranef.likelihood.quadrature import at_points, check_points
    from _ranef.likelihood.responses import Responses, own_response, products_of, read_responses
    from _ranef.likelihood.row_density import RowDensity
    from _ranef.likelihood.scaling import Scaling, make_scaling
    from _ranef.likelihood.slopes_of_rows import kind_of
    from _ranef.likelihood.spectral import EffectRoots, best_ratios, effect_roots, has_spectrum, make_spectrum
    from _ranef.likelihood.sum_draws import DrawnSums, drawn_sums
    from _ranef.likelihood.sums_by_basis import FixedSums, cross_products, fixed_sums, product_slopes
    from _ranef.likelihood.sums_by_whitening import Leverages, RowSums, row_slopes
    from _ranef.likelihood.under_priors import HostDensity
    from _ranef.likelihood.unpooled_start import LeastSquares, least_squares
    from _ranef.likelihood.working_gaussian import working_spec

__all__ = [
    "LOST",
    "NEAR_ZERO",
    "PERFECT_FIT",
    "Adjustment",
    "At",
    "Batch",
    "BatchPoint",
    "CrossProducts",
    "Degeneracy",
    "DrawnSums",
    "EffectRoots",
    "Evaluation",
    "FixedPart",
    "FixedSums",
    "Given",
    "HostDensity",
    "Laplace",
    "LaplaceAt",
    "LaplaceTogether",
    "LeastSquares",
    "Leverages",
    "Likelihood",
    "ManyDraws",
    "ManyPoints",
    "ManySlopes",
    "Method",
    "Mode",
    "Moments",
    "OverRho",
    "Pilot",
    "Responses",
    "RowDensity",
    "RowGroups",
    "RowSums",
    "Scaling",
    "Score",
    "Sums",
    "Undetermined",
    "adjustment",
    "at_edge",
    "at_points",
    "average_information",
    "best_ratios",
    "check_points",
    "coefficient_root",
    "combination_roots",
    "combination_variances",
    "conditional_variances",
    "cross_products",
    "degeneracy",
    "determined",
    "directions",
    "drawn_sums",
    "drawn_variances",
    "effect_moments",
    "effect_roots",
    "evaluate",
    "evaluate_together",
    "fit_pilot",
    "fixed_part",
    "fixed_sums",
    "flat_beyond",
    "given_variances",
    "group_log_densities",
    "has_blocks",
    "has_shared_effects",
    "has_spectrum",
    "have_digits",
    "kind_of",
    "least_squares",
    "left_out_log_densities",
    "linear_predictor_draws",
    "log_precision_draws",
    "make_batch",
    "make_laplace",
    "make_scaling",
    "make_spectrum",
    "merged_sums",
    "of_sums",
    "other_columns",
    "outward_direction",
    "over_rho",
    "own_response",
    "product_slopes",
    "products_of",
    "rank_of",
    "read_responses",
    "response_rows",
    "row_log_densities",
    "row_slopes",
    "row_sums",
    "rows_together",
    "score",
    "separating",
    "slopes_together",
    "streamed_products",
    "summed",
    "undetermined",
    "undetermined_with_rho",
    "vcov_slopes",
    "working_spec",
]
