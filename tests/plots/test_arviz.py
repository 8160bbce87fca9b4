"""What ArviZ draws of a posterior, in the lines that the README gives."""

from importlib import import_module

import pytest

#: variables of the DataTree that one picture takes
LINES = {
    "plot_trace": {"var_names": ["beta", "sd_operator", "sigma"]},
    "plot_rank": {"var_names": ["beta", "sd_operator", "sigma"]},
    "plot_forest": {"var_names": ["ranef_operator"], "combined": True},
    "plot_pair_focus": {"var_names": ["sd_operator"], "focus_var": "sigma"},
}


@pytest.mark.parametrize("name", LINES)
def test_arviz_takes_the_datatree(name, posterior):
    drawn = getattr(import_module("arviz_plots"), name)(posterior.datatree, **LINES[name])
    assert set(drawn.viz.children) >= set(LINES[name]["var_names"]) or drawn.viz.data_vars
