"""What both engines stand on: cross-products once, then everything at θ in numpy."""

from ranef.likelihood.crossproducts import CrossProducts, cross_products, streamed_products
from ranef.likelihood.evaluate import Evaluation, Method, Score, average_information, evaluate, score
from ranef.likelihood.responses import Responses, products_of, read_responses
from ranef.likelihood.scaling import Scaling, make_scaling

__all__ = [
    "CrossProducts",
    "Evaluation",
    "Method",
    "Responses",
    "Scaling",
    "Score",
    "average_information",
    "cross_products",
    "evaluate",
    "make_scaling",
    "products_of",
    "read_responses",
    "score",
    "streamed_products",
]
