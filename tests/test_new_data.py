"""Predictions for new data: what the model was given beside its data, and what its rows did not determine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ranef


@pytest.fixture(scope="module")
def exposed():
    """Rows whose mean is known up to an offset that reaches from −30 to 30."""
    rng = np.random.default_rng(7)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.repeat(list("abcdef"), 10)})
    data["o"] = np.linspace(-30, 30, 60)
    data["y"] = data.o + 2 * data.x + np.repeat(rng.normal(size=6), 10) + rng.normal(0, 0.5, 60)
    return data


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
def test_predictions_hold_the_offset_however_it_was_given(exposed, interval):
    array, column = (ranef.Model("y ~ x + (1 | g)", exposed, offset=o).fit() for o in (exposed.o.to_numpy(), "o"))
    told = array.predict(exposed, offset=exposed.o.to_numpy(), interval=interval)
    expected = column.predict(exposed, interval=interval)
    np.testing.assert_allclose(told, expected, rtol=1e-12)
    np.testing.assert_allclose(told if interval is None else told.estimate, array.fitted(), rtol=1e-12)
    with pytest.raises(ranef.DesignError, match="give offset= here too"):
        array.predict(exposed, interval=interval)


def test_an_offset_goes_with_new_data_only(exposed):
    fit = ranef.Model("y ~ x + (1 | g)", exposed, offset="o").fit()
    with pytest.raises(ranef.DesignError, match="offset= goes with new data"):
        fit.predict(offset=0)
    both = ranef.Model("y ~ x + offset(o / 2) + (1 | g)", exposed, offset=exposed.o / 2).fit()
    np.testing.assert_allclose(both.predict(exposed, offset=exposed.o / 2), fit.fitted(), rtol=1e-12)
