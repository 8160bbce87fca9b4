"""Numbers of a tree: what an equation says where its symbols have values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import scipy

from _ranef.equations.tree import (
    Absolute,
    Call,
    Diagonal,
    Entries,
    Identity,
    Indicator,
    Inverse,
    Key,
    Kronecker,
    Line,
    Listed,
    Literal,
    Matrix,
    Name,
    Named,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Run,
    Sum,
    Symbol,
    Times,
    Transposed,
    Variable,
)

__all__ = ["evaluated", "with_numbers"]

#: of what a call holds; others are asked of the values
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    name: getattr(np, name) for name in ("log", "log2", "log10", "log1p", "exp", "sqrt", "sin", "cos", "tan")
}

RELATIONS: Mapping[str, Callable[[Any, Any], Any]] = {"=": np.equal, "<": np.less}


def evaluated(node: Node, values: Callable[[Node], Any]) -> Any:
    """The number or matrix of a tree, for `values` of its symbols, variables and runs.

    Numbers are arrays that are broadcast, as (n, 1) for rows i and (1, n) for rows i′; matrices have two dimensions.

    Raises
    ------
    TypeError
        For parts that are no numbers, as words.
    """

    def of(part: Node) -> Any:
        return evaluated(part, values)

    match node:
        case Literal():
            return float(node.text)
        case Number():
            return node.value
        case Name():
            return node.text
        case Symbol() | Variable() | Run():
            return values(node)
        case Named():
            return of(node.inner)
        case Sum():
            return sum(map(of, node.terms))
        case Product():
            return reduce(np.multiply, map(of, node.factors))
        case Times():
            return reduce(np.matmul, map(of, node.factors))
        case Negative():
            return -of(node.inner)
        case Quotient():
            return of(node.above) / of(node.below)
        case Power():
            return of(node.base) ** of(node.exponent)
        case Call():
            known = FUNCTIONS.get(node.function)
            return values(node) if known is None else known(*map(of, node.arguments))
        case Absolute():
            return np.abs(of(node.inner))
        case Indicator():
            left, right = of(node.left), of(node.right)
            if isinstance(right, str) and np.issubdtype(np.asarray(left).dtype, np.number):
                right = float(right)
            return RELATIONS[node.relation](left, right).astype(float)
        case Entries():
            return node.values
        case Matrix():
            return np.block([[np.atleast_2d(of(entry)) for entry in row] for row in node.rows])
        case Listed():
            return np.vstack([np.atleast_2d(of(entry)) for entry in node.entries])
        case Diagonal():
            found = [of(entry) for entry in node.entries]
            return scipy.linalg.block_diag(*(block for f in found for block in (f if isinstance(f, list) else [f])))
        case Identity():
            return np.eye(node.size)
        case Kronecker(left, right, "⊗"):
            return np.kron(of(left), of(right))
        case Kronecker():
            return scipy.linalg.khatri_rao(of(node.left), of(node.right))
        case Transposed():
            return of(node.inner).T
        case Inverse():
            return np.linalg.inv(of(node.inner))
    raise TypeError(f"{type(node).__name__} has no number")


def with_numbers(line: Line, values: Mapping[Key, float], decimals: Mapping[Key, int]) -> Line:
    """The line with numbers in the place of what is known, some of them with more decimals than others."""

    def number(node: Node) -> Node | None:
        if not isinstance(node, Symbol | Named) or node.key not in values:
            return None
        return Number(values[node.key], decimals.get(node.key, 0))

    return line.mapped(number)
