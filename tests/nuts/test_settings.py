from __future__ import annotations

import subprocess
import sys

import pytest

from _ranef.errors import FitError
from _ranef.posterior.settings import Settings

GOOD = {
    "draws": 100,
    "warmup": 100,
    "chains": 4,
    "seed": None,
    "parameterization": "auto",
    "target_accept": 0.8,
    "progress": True,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("draws", 0),
        ("draws", 10.0),
        ("draws", True),
        ("warmup", -1),
        ("chains", 0),
        ("chains", "4"),
        ("seed", -1),
        ("seed", 2**64),
        ("target_accept", 1.0),
        ("target_accept", 0),
        ("target_accept", "high"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_value(name, value):
    with pytest.raises(FitError, match=f"{name}={value!r}"):
        Settings(**(GOOD | {name: value}))


def test_an_unknown_parameterization_gets_a_suggestion():
    with pytest.raises(FitError, match="Did you mean 'noncentered'"):
        Settings(**(GOOD | {"parameterization": "non-centered"}))


def test_importing_the_layer_loads_no_sampler():
    code = "import _ranef.nuts, sys; print({'jax', 'numpyro', 'arviz_base'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
