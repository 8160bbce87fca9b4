"""Data sets of the mixed-model literature, bundled with their provenance and checksums.

Examples
--------
>>> from ranef import datasets
>>> datasets.load("sleepstudy").head(2)
   Reaction  Days Subject
0  249.5600   0.0     308
1  258.7047   1.0     308
"""

from _ranef.datasets import Column, DatasetInfo, describe, load, names

__all__ = ["Column", "DatasetInfo", "describe", "load", "names"]


def __dir__() -> list[str]:
    return __all__
