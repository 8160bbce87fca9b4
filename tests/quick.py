"""Which tests are ``quick``, by rule: in each file the first cases of the first tests that start nothing dear.

Dear are samplers, compilers, browsers, notebooks and other processes. What a test starts is read in its text, in that
of its fixtures and in that of the helpers in this folder that they name. For daily work: about a minute of CPU time.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

#: tests of each file
MOST = 3

#: what starts something dear
DEAR = re.compile(
    r"\.sample\(|sample_posterior|main\(\[.compare|\bjax\b|nutpie|numpyro|typst|chromium|playwright|subprocess|save_figure"
    r"|\.report\(|\bexec\("
)

#: tests that take over a second though nothing of the kind stands in them
LONG = {
    "test_a_finer_grid_changes_nothing",
    "test_changes_that_must_not_matter_to_a_posterior",
    "test_crossed_factors_of_many_levels_take_few_values",
    "test_gradient_vanishes_or_the_boundary_is_certified",
    "test_intervals_are_lme4s",
    "test_loops_have_the_joint_density_of_numpy",
    "test_simulated_responses_have_the_covariance_of_the_model",
    "test_the_oracle_agrees_and_no_random_start_ends_lower",
    "test_twenty_random_slopes",
    "test_with_flat_priors_the_marginal_mode_of_theta_is_reml",
}

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """One process: each worker would collect all tests again, which takes as long as the quick ones themselves."""
    if config.option.markexpr == "quick" and getattr(config.option, "numprocesses", None) == "auto":
        config.option.numprocesses, config.option.dist = 0, "no"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seen, taken = set(), Counter()
    for item in items:
        name = item.nodeid.split("[")[0]
        if name not in seen and taken[item.path] < MOST and is_quick(item):
            item.add_marker(pytest.mark.quick)
            taken[item.path] += 1
        seen.add(name)


def is_quick(item) -> bool:
    """Whether a case is not marked slow, and starts nothing dear."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("slow") or item.originalname in LONG:
        return False
    return not any(is_dear(part) for part in parts_of(item))


def parts_of(item):
    """The function of a test and those of its fixtures."""
    found = item._fixtureinfo.name2fixturedefs
    return [item.function, *(found[name][-1].func for name in item.fixturenames if name in found)]


@cache
def is_dear(part) -> bool:
    """Whether a function or class, or one of the helpers that it names, says that it starts something dear."""
    return any(DEAR.search(text) for text in texts(part, set()))


def texts(part, seen):
    """The source of a function or class, and of the helpers in this folder that it names."""
    seen.add(part)
    try:
        text = inspect.getsource(part)
    except (OSError, TypeError):
        return []
    known = vars(inspect.getmodule(part))
    named = [known[word] for word in set(re.findall(r"\w+", text)) if word in known]
    found = [text]
    for other in named:
        if (inspect.isfunction(other) or inspect.isclass(other)) and other not in seen and is_ours(other, part):
            found += texts(other, seen)
    return found


def is_ours(other, part) -> bool:
    """Whether something is defined in this folder, or in the module of what names it."""
    file = getattr(inspect.getmodule(other), "__file__", None)
    return other.__module__ == part.__module__ or HERE in Path(file or "/").parents
