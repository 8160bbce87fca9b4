"""A test that takes long and is not marked ``slow`` fails.

What counts is CPU time, of this process and of the children that it has waited for, since other programs on the machine
leave that alone. The set-up of the test's own fixtures counts; one that it shares with other tests is held to the limit
by itself, for which of them comes first is chance.
"""

from __future__ import annotations

import os

import pytest

NAME = "slow_cpu_seconds"

#: over ten seconds is slow: this leaves room for noise, and for what is compiled when no cache is there
LIMIT = 120.0


def cpu_seconds() -> float:
    """User and system time of this process and of its children."""
    return sum(os.times()[:4])


class Budget:
    """The clock of one session."""

    def __init__(self, limit: float) -> None:
        self.limit, self.began, self.slow = limit, 0.0, False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.slow = item.get_closest_marker("slow") is not None
        self.began = cpu_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before = cpu_seconds()
        value = yield
        if fixturedef.scope != "function":
            spent = cpu_seconds() - before
            self.began += spent
            self.check(spent, f"the fixture {fixturedef.argname!r}")
        return value

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self):
        value = yield
        self.check(cpu_seconds() - self.began, "the test")
        return value

    def check(self, spent: float, what: str) -> None:
        """Fail where a test that is not marked has spent more than the limit."""
        if spent > self.limit and not self.slow:
            pytest.fail(
                f"{what} took {spent:.1f} s of CPU time, more than {NAME} = {self.limit:g}: make it smaller, "
                "or mark the test slow.",
                pytrace=False,
            )


def pytest_addoption(parser):
    parser.addini(NAME, "CPU seconds after which a test that is not marked slow fails", default=str(LIMIT))


def pytest_configure(config):
    config.pluginmanager.register(Budget(float(config.getini(NAME))), "budget of a test")
