"""Checksums of columns that are read chunk by chunk: equal for the same entries in the same order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pandas.util import hash_array

from _ranef.design.expression_values import Factor, Value

__all__ = ["added", "fingerprint"]

# the golden ratio's fraction, as in Knuth's multiplicative hashing
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MISSING = np.uint64(0x5BD1E9955BD1E995)
_BITS = 64
_HALF = np.uint64(32)

#: rows at once, which a cache holds
_BLOCK = 16_384


def fingerprint(value: Value, first: int) -> int:
    """The checksum of one column's rows (n,), whose first is at position `first` among all; modulo 2⁶⁴.

    Checksums of chunks add up to that of all rows, wherever the chunks begin.
    """
    bits = _level_bits(value) if isinstance(value, Factor) else _number_bits(value.values)
    total = np.uint64(0)
    with np.errstate(over="ignore"):
        for start in range(0, len(bits), _BLOCK):
            part = bits[start : start + _BLOCK]
            places = np.arange(first + start, first + start + len(part), dtype=np.uint64)
            places *= _MIX
            places ^= places >> _HALF
            mixed = part >> _HALF
            mixed ^= part
            mixed *= places
            total += np.add.reduce(mixed)
    return int(total)


def _number_bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    bits = (values + 0.0).view(np.uint64)  # of zeros one
    missing = np.isnan(values)
    if missing.any():
        bits[missing] = _MISSING
    return bits


def _level_bits(factor: Factor) -> NDArray[np.uint64]:
    levels = hash_array(np.array(factor.levels, dtype=object), categorize=False)
    return np.append(levels.astype(np.uint64), _MISSING)[factor.codes]


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The checksums of the columns of both."""
    return {name: (one.get(name, 0) + mark) % 2**_BITS for name, mark in other.items()}
