"""Arguments of a call that its record does not hold otherwise, as Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from _ranef.results.records import PosteriorDraws, RemlEstimates

__all__ = ["fit_arguments", "fit_call", "sample_arguments"]


def fit_arguments(start: Any, control: Any) -> dict[str, str]:
    """``start`` and ``control`` of ``Model.fit``, as far as they were given."""
    out = {} if start is None else {"start": repr(np.asarray(start, dtype=float).tolist())}
    return out if control is None else out | {"control": _settings(control)}


def fit_call(estimates: RemlEstimates) -> str:
    """The call of ``Model.fit`` that made a record."""
    method = [] if estimates.method == "REML" else [repr(estimates.method)]
    return f"fit({', '.join([*method, *_named(estimates.asked)])})"


def sample_arguments(
    record: PosteriorDraws, *, draws: int, chains: int, chain_method: str, device: Any, init: str
) -> dict[str, str]:
    """Arguments of ``Model.sample`` that are not the usual ones and that the record does not hold.

    `init` is the call of a fit that was given, empty without one.
    """
    out = {} if chain_method == "vectorized" else {"chain_method": repr(chain_method)}
    if device is not None:
        known = isinstance(device, str)
        out["device"] = repr(device) if known else f"jax.devices({device.platform!r})[{device.id}]"
    if init:
        out["init"] = init
    if record.sigma.shape != (chains, draws):
        out |= {"draws": repr(draws), "chains": repr(chains)}
    return out


def _named(asked: Mapping[str, str]) -> list[str]:
    return [f"{name}={text}" for name, text in asked.items()]


def _settings(control: Any) -> str:
    """A settings object with what differs from its defaults."""
    if not is_dataclass(control):
        return repr(control)
    changed = {f.name: getattr(control, f.name) for f in fields(control) if getattr(control, f.name) != f.default}
    return f"ranef.{type(control).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"
