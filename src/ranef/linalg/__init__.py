"""Block linear algebra for grouped designs: numpy and scipy only, knows no statistics."""

from ranef.linalg.blocks import BlockMatrix, PairBlocks
from ranef.linalg.factor import BlockedFactor, Whitened, backward, factorize, forward, gram
from ranef.linalg.kernels import add_products, add_squares
from ranef.linalg.plan import Plan, elimination_order, make_plan
from ranef.linalg.selected import paired_blocks, selected_blocks, solve_columns

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
