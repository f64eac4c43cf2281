"""A plugin of pytest for measured runs: tells coverage.py which test is under way, also in processes that it starts."""

from __future__ import annotations

import os

import pytest

CONTEXT = "COVERAGE_TEST"
"""The variable from which processes that a test starts take the name of their context."""


class Contexts:
    """One context a test function, with all its parameters and their fixtures."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """From its fixtures on."""
        import coverage

        name = nodeid.partition("[")[0]
        os.environ[CONTEXT] = name
        if current := coverage.Coverage.current():
            current.switch_context(name)


def pytest_configure(config: pytest.Config) -> None:
    """Take part."""
    config.pluginmanager.register(Contexts())
