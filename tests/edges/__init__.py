"""Edge cases, each with an oracle, a known answer or an invariance.

Every row of the table in ``shared/numerics.md`` §6 with the tests that hold it; ``test_index.py`` looks for them:

singular fit (variance 0, correlation ±1): a result, in words, certificate checked
    edges/test_boundary.py::test_perfect_correlation_is_the_lowest_point_that_random_starts_find
    edges/test_boundary.py::test_a_rank_below_the_number_of_columns_is_a_result_in_words
    edges/test_record.py::test_boundary_names_the_variance
    edges/test_record.py::test_boundary_names_the_term_of_several
    reml/test_fit.py::test_gradient_vanishes_or_the_boundary_is_certified
    reml/test_fit.py::test_zero_slope_variance_in_words
    user/test_fits.py::test_units_do_not_make_a_fit_singular
variance near 0: β̂ equals least squares
    edges/test_boundary.py::test_at_zero_variance_beta_is_least_squares
    edges/test_boundary.py::test_at_a_tiny_variance_beta_is_near_least_squares
    edges/test_boundary.py::test_at_a_small_variance_beta_moves_as_the_oracle_does
rank-deficient X: the later column dropped and named, NaN in tidy(), predictions unaffected
    edges/test_exact.py::test_the_later_column_goes_and_nothing_else_changes
    edges/test_exact.py::test_empty_cells_of_an_interaction
    design/test_rank.py::test_later_columns_go
    design/test_newdata.py::test_dropped_columns_stay_dropped
as many random effects as observations, or one level: DesignError, unless sigma is given
    edges/test_groups.py::test_one_level_and_one_row_a_level_need_a_known_sigma
    edges/test_groups.py::test_one_level_beside_an_intercept_with_a_known_sigma
    edges/test_groups.py::test_meta_analysis_is_the_dense_reml
    design/test_build.py::test_as_many_random_effects_as_rows
constant or perfectly fitted response: FitError
    edges/test_exact.py::test_a_perfectly_fitted_response
    edges/test_exact.py::test_a_small_residual_is_no_zero
    edges/test_exact.py::test_a_perfectly_fitted_response_where_sigma_is_known
missing values: dropped and counted, or refused
    edges/test_rows.py::test_incomplete_rows_are_dropped_and_counted
    edges/test_columns.py::test_missing_entries_of_nullable_columns
infinite values, wrong types, unknown column, empty data, unused levels
    edges/test_rows.py::test_infinite_values_name_column_and_row
    edges/test_rows.py::test_wrong_types_name_column_and_first_row
    edges/test_rows.py::test_unknown_columns_are_named_where_they_stand
    edges/test_rows.py::test_empty_data
    edges/test_rows.py::test_unused_levels_change_nothing
unseen level in predict: population value, error, or a draw
    edges/test_rows.py::test_unseen_levels_get_the_population_value
    edges/test_rows.py::test_unseen_levels_can_be_refused
    edges/test_rows.py::test_unseen_levels_can_be_drawn
    user/test_fits.py::test_intervals_of_unseen_levels
weights ≤ 0 or spanning more than 1e6: error, warning
    edges/test_scales.py::test_weights_must_be_positive_and_finite
    edges/test_scales.py::test_weights_spanning_more_than_a_million_warn
a million levels: memory proportional to levels
    edges/test_sizes.py::test_memory_is_proportional_to_levels
    edges/test_sizes.py::test_a_million_levels
same data, relabelled levels, permuted rows or terms: the same criterion to rounding
    edges/test_invariance.py::test_order_of_rows
    edges/test_invariance.py::test_labels_of_levels
    edges/test_invariance.py::test_order_of_terms
"""
