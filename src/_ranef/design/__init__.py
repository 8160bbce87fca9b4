"""Formula and data to arrays: response, fixed-effects matrix, random terms; and the same for new data."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.design.all_levels import EveryLevel, every_level, levels_of
    from _ranef.design.build import build_design
    from _ranef.design.cells import Cells, margins_of, term_cells
    from _ranef.design.checks import check_sigma, constant_response, told_text, warn_of_dropped
    from _ranef.design.chunks import Chunks, as_chunks
    from _ranef.design.coding import fully_coded, n_columns
    from _ranef.design.expression_values import Factor, Numeric, Value, as_factor, with_levels
    from _ranef.design.joined_designs import united
    from _ranef.design.newdata import encode, encode_others
    from _ranef.design.newweights import new_weights
    from _ranef.design.parts_of_rows import (
        gathered,
        reduced_parts,
        row_parts,
        rows_elsewhere,
        sample_rows,
        take_rows,
        without_rows,
    )
    from _ranef.design.rank import aliasing, independent_columns, independent_in_gram
    from _ranef.design.records import (
        Design,
        Encoded,
        EncodedRandom,
        Encoding,
        RandomDesign,
        RandomEncoding,
        Stream,
        Summed,
    )
    from _ranef.design.rows_of_sums import Condensed, condensed
    from _ranef.design.streamed import check_whole, scan_chunks
    from _ranef.design.text_like_numbers import bare_label
    from _ranef.design.transforms import registered

__all__ = [
    "Cells",
    "Chunks",
    "Condensed",
    "Design",
    "Encoded",
    "EncodedRandom",
    "Encoding",
    "EveryLevel",
    "Factor",
    "Numeric",
    "RandomDesign",
    "RandomEncoding",
    "Stream",
    "Summed",
    "Value",
    "aliasing",
    "as_chunks",
    "as_factor",
    "bare_label",
    "build_design",
    "check_sigma",
    "check_whole",
    "condensed",
    "constant_response",
    "encode",
    "encode_others",
    "every_level",
    "fully_coded",
    "gathered",
    "independent_columns",
    "independent_in_gram",
    "levels_of",
    "margins_of",
    "n_columns",
    "new_weights",
    "reduced_parts",
    "registered",
    "row_parts",
    "rows_elsewhere",
    "sample_rows",
    "scan_chunks",
    "take_rows",
    "term_cells",
    "told_text",
    "united",
    "warn_of_dropped",
    "with_levels",
    "without_rows",
]
