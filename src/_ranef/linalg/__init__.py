"""Block linear algebra for grouped designs: numpy and scipy only, knows no statistics."""

from _ranef.linalg.blocks import BlockMatrix, PairBlocks
from _ranef.linalg.factor import BlockedFactor, Whitened, backward, factorize, forward, gram
from _ranef.linalg.kernels import add_products, add_squares
from _ranef.linalg.plan import Plan, elimination_order, make_plan
from _ranef.linalg.selected import paired_blocks, selected_blocks, solve_columns

__all__ = [
    "BlockMatrix",
    "BlockedFactor",
    "PairBlocks",
    "Plan",
    "Whitened",
    "add_products",
    "add_squares",
    "backward",
    "elimination_order",
    "factorize",
    "forward",
    "gram",
    "make_plan",
    "paired_blocks",
    "selected_blocks",
    "solve_columns",
]
