"""Every line of every style holds: evaluated with numbers, it is what dense matrices of the design give."""

import pytest

from _ranef.equations import STYLES, model_equation
from equations.models import MADE, data, model
from equations.truth import Truth


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MADE)
def test_every_line_holds(name, style):
    spec = model(name).spec
    lines = model_equation(spec, style=style).lines
    assert Truth(spec, data=data(name)).check(lines) >= 2
