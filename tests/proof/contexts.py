"""A plugin of pytest for measured runs: tells coverage.py which test is under way, also in processes that it starts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

CONTEXT = "COVERAGE_TEST"
"""The variable from which processes that a test starts take the name of their context."""


class Contexts:
    """One context a test function, with all its parameters."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """From its fixtures on."""
        import coverage

        name = nodeid.partition("[")[0]
        os.environ[CONTEXT] = name
        if current := coverage.Coverage.current():
            current.switch_context(name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How long it takes, its fixtures included."""
        name = report.nodeid.partition("[")[0]
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Leave that for who chooses tests."""
        if path := os.environ.get(f"{CONTEXT}_SECONDS"):
            Path(path).write_text(json.dumps(self.seconds), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Take part."""
    config.pluginmanager.register(Contexts())
