"""What both engines stand on: cross-products once, then everything at θ in numpy."""

from ranef.likelihood.crossproducts import CrossProducts, cross_products, streamed_products
from ranef.likelihood.evaluate import LOST, Evaluation, Method, Score, average_information, evaluate, score
from ranef.likelihood.groups import RowGroups, group_log_densities, has_shared_effects, left_out_log_densities
from ranef.likelihood.pointwise import linear_predictor_draws, row_log_densities
from ranef.likelihood.responses import Responses, own_response, products_of, read_responses
from ranef.likelihood.scaling import Scaling, make_scaling
from ranef.likelihood.sums import Sums, row_sums

__all__ = [
    "LOST",
    "CrossProducts",
    "Evaluation",
    "Method",
    "Responses",
    "RowGroups",
    "Scaling",
    "Score",
    "Sums",
    "average_information",
    "cross_products",
    "evaluate",
    "group_log_densities",
    "has_shared_effects",
    "left_out_log_densities",
    "linear_predictor_draws",
    "make_scaling",
    "own_response",
    "products_of",
    "read_responses",
    "row_log_densities",
    "row_sums",
    "score",
    "streamed_products",
]
