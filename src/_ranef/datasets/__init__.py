"""Data sets by name, and data files as they seem to be written; what is bundled lies in ``ranef/datasets/data``."""

from _ranef.datasets.catalogue import describe, load, names
from _ranef.datasets.info import Column, DatasetInfo

__all__ = ["Column", "DatasetInfo", "describe", "load", "names"]
