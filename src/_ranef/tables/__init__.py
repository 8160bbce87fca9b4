"""Tables: one model, rendered as text and HTML."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.tables.compared import FitColumns, agreement_lines, comparison_table, decomposition_line, doubt_lines
    from _ranef.tables.generalised import generalised_summary, generalised_title
    from _ranef.tables.intervals import exact_test_table, interval_table
    from _ranef.tables.model import Block, Document, Grid, Text
    from _ranef.tables.pooling import pooling_table
    from _ranef.tables.regression import Regression, regression_column
    from _ranef.tables.result import ResultFrame
    from _ranef.tables.summary import model_title, posterior_summary, reml_summary
    from _ranef.tables.tests import (
        contrasts_table,
        drop_table,
        hypothesis_table,
        means_table,
        models_table,
        ranova_table,
        sign_table,
        term_table,
    )

__all__ = [
    "Block",
    "Document",
    "FitColumns",
    "Grid",
    "Regression",
    "ResultFrame",
    "Text",
    "agreement_lines",
    "comparison_table",
    "contrasts_table",
    "decomposition_line",
    "doubt_lines",
    "drop_table",
    "exact_test_table",
    "generalised_summary",
    "generalised_title",
    "hypothesis_table",
    "interval_table",
    "means_table",
    "model_title",
    "models_table",
    "pooling_table",
    "posterior_summary",
    "ranova_table",
    "regression_column",
    "reml_summary",
    "sign_table",
    "term_table",
]
