"""A plugin of pytest for measured runs: tells coverage.py which test is under way, also in processes that it starts."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

CONTEXT = "COVERAGE_TEST"
"""The variable from which processes that a test starts take the name of their context."""


class Contexts:
    """One context a test function, with all its parameters.

    `seconds`: how much of a processor each takes, its fixtures and processes included. How long it takes says more of
    what else the machine has to do, and by that far fewer tests would be chosen on a busy one.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._before = _processor()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """From its fixtures on."""
        import coverage

        name = nodeid.partition("[")[0]
        os.environ[CONTEXT] = name
        if current := coverage.Coverage.current():
            current.switch_context(name)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """To the end of its fixtures."""
        name, before, self._before = nodeid.partition("[")[0], self._before, _processor()
        self.seconds[name] = self.seconds.get(name, 0.0) + self._before - before

    def pytest_sessionfinish(self) -> None:
        """Leave that for who chooses tests."""
        if path := os.environ.get(f"{CONTEXT}_SECONDS"):
            Path(path).write_text(json.dumps(self.seconds), encoding="utf-8")


def _processor() -> float:
    """Seconds that this process has computed so far, and those that it has started and that are over."""
    return time.process_time() + sum(os.times()[2:4])


def pytest_configure(config: pytest.Config) -> None:
    """Take part."""
    config.pluginmanager.register(Contexts())
