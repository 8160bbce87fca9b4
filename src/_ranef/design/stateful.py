"""What the stateful functions of a formula learn from rows that come in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from _ranef.design.expression_values import Array
from _ranef.errors import DesignError
from _ranef.formula import Call, Name, Node, Number, label, walk

__all__ = ["LEVEL_LEARNERS", "Moments", "check_learners", "learning_argument", "learnt", "neutral_state"]

LEVEL_LEARNERS = ("factor", "as.factor", "ordered")
MOMENT_LEARNERS = ("scale", "center", "mean", "sd", "min", "max")


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, sum of squares about it, minimum and maximum of the columns seen; arrays of shape () or (k,)."""

    n: int
    mean: Array
    squares: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, values: Array) -> Moments:
        """The moments of the rows of `values`, (n,) or (n, k)."""
        mean = values.mean(axis=0)
        return cls(len(values), mean, np.sum((values - mean) ** 2, axis=0), values.min(axis=0), values.max(axis=0))

    def merge(self, other: Moments) -> Moments:
        """The moments of both (Chan, Golub and LeVeque, 1983)."""
        n = self.n + other.n
        apart = other.mean - self.mean
        return Moments(
            n,
            self.mean + apart * (other.n / n),
            self.squares + other.squares + apart**2 * (self.n * other.n / n),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )


def check_learners(node: Node, stateful: set[str]) -> list[Call]:
    """The calls in an expression that learn from the rows.

    Raises
    ------
    DesignError
        For one that cannot learn from chunks: its function needs all rows at once, or reads another such call.
    """
    calls = [part for part in walk(node) if isinstance(part, Call) and part.function in stateful]
    for call in calls:
        inner = [part for argument in call.args for part in walk(argument)]
        nested = any(isinstance(part, Call) and part.function in stateful for part in inner)
        if call.function not in (*LEVEL_LEARNERS, *MOMENT_LEARNERS) or nested:
            why = "of what another such call gives" if nested else "at once"
            raise DesignError(
                f"{label(call)} learns from all rows {why}, and the data come in chunks. Add its columns to the data "
                "before, or build the model from one frame."
            )
    return calls


def learnt(call: Call, moments: Moments) -> dict[str, Any]:
    """The state that a call would have learnt from all rows, given their moments."""
    if call.function in ("mean", "sd", "min", "max"):
        sd = np.sqrt(moments.squares / (moments.n - 1))
        return {
            "value": float({"mean": moments.mean, "sd": sd, "min": moments.low, "max": moments.high}[call.function])
        }
    names = ("x", "center", "scale") if call.function == "scale" else ("x",)
    given = {**dict(zip(names, call.args, strict=False)), **dict(call.kwargs)}
    center = _constant(given["center"]) if "center" in given else True
    scale = _constant(given["scale"]) if "scale" in given else call.function == "scale"
    middle = moments.mean if center is True else None if center is False else np.array(center)
    about = moments.squares + moments.n * (moments.mean - (0.0 if middle is None else middle)) ** 2
    spread = np.sqrt(about / (moments.n - 1)) if scale is True else None if scale is False else np.array(scale)
    return {"ddof": 1, "center": middle, "scale": spread}


def neutral_state(call: Call) -> dict[str, Any]:
    """A state with which a call can be evaluated before it has learnt anything; levels it learns by itself."""
    if call.function in LEVEL_LEARNERS:
        return {}
    return {"value": 1.0, "ddof": 1, "center": None, "scale": None}


def _constant(node: Node) -> bool | float:
    if isinstance(node, Name) and node.name in ("TRUE", "True", "FALSE", "False"):
        return node.name in ("TRUE", "True")
    if isinstance(node, Number):
        return float(node.value)
    raise DesignError(f"{label(node)} must be TRUE, FALSE or a number where the data come in chunks.")


def learning_argument(call: Call) -> Node:
    """The expression whose rows a call learns from."""
    return call.args[0] if call.args else dict(call.kwargs)["x"]
