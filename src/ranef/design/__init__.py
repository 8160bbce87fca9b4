"""Formula and data to arrays: response, fixed-effects matrix, random terms; and the same for new data."""

from ranef.design.build import build_design
from ranef.design.newdata import encode
from ranef.design.records import Design, Encoded, EncodedRandom, Encoding, RandomDesign, RandomEncoding
from ranef.design.transforms import registered

__all__ = [
    "Design",
    "Encoded",
    "EncodedRandom",
    "Encoding",
    "RandomDesign",
    "RandomEncoding",
    "build_design",
    "encode",
    "registered",
]
