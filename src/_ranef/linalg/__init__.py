"""Block linear algebra for grouped designs: numpy and scipy only, knows no statistics."""

from _ranef.linalg.blocks import (
    BlockMatrix,
    PairBlocks,
    Whitened,
    back_substitute,
    cholesky_or_nan,
    times_one,
    transpose,
)
from _ranef.linalg.elimination import AnyFactor, AnyPlan, BlockedFactor, backward, factorize, forward, gram
from _ranef.linalg.elimination_plan import Plan, elimination_order, make_plan
from _ranef.linalg.kernels import add_products, add_squares
from _ranef.linalg.known_covariance import AmongLevels, RelatedPlan, make_related_plan
from _ranef.linalg.selected_inverse import all_blocks, paired_blocks, selected_blocks, solve_columns, times_among

__all__ = [
    "AmongLevels",
    "AnyFactor",
    "AnyPlan",
    "BlockMatrix",
    "BlockedFactor",
    "PairBlocks",
    "Plan",
    "RelatedPlan",
    "Whitened",
    "add_products",
    "add_squares",
    "all_blocks",
    "back_substitute",
    "backward",
    "cholesky_or_nan",
    "elimination_order",
    "factorize",
    "forward",
    "gram",
    "make_plan",
    "make_related_plan",
    "paired_blocks",
    "selected_blocks",
    "solve_columns",
    "times_among",
    "times_one",
    "transpose",
]
