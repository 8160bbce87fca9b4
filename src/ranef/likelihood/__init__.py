"""What both engines stand on: cross-products once, then everything at θ in numpy."""

from ranef.likelihood.crossproducts import CrossProducts, cross_products, streamed_products
from ranef.likelihood.evaluate import Evaluation, Method, Score, average_information, evaluate, score
from ranef.likelihood.scaling import Scaling, make_scaling

__all__ = [
    "CrossProducts",
    "Evaluation",
    "Method",
    "Scaling",
    "Score",
    "average_information",
    "cross_products",
    "evaluate",
    "make_scaling",
    "score",
    "streamed_products",
]
