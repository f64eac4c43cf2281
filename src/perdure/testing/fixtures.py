"""A plugin of pytest, loaded by itself where perdure is installed: each test has a state file of its own.

Without it, a test whose workflow fails leaves an unfinished run, which the next test would go on with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from perdure.testing.clock import Clock
    from perdure.testing.ledger import Ledger
    from perdure.testing.trial import TestRun

SETTING = "perdure_state"
_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting that turns it off."""
    parser.addini(SETTING, "give each test a state file of its own (perdure)", type="bool", default=True)


@pytest.fixture(scope="session")
def _perdure_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("perdure")


@pytest.fixture(autouse=True)
def perdure_state(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """The state file of this test: PERDURE_STATE names it, also for processes that the test starts.

    It is made when a workflow runs. None if the setting `perdure_state = false` leaves the state to the test suite.
    """
    if not request.config.getini(SETTING):
        yield None
        return
    folder: Path = request.getfixturevalue("_perdure_folder")
    path = folder / str(next(_numbers)) / "state.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_STATE", str(path))
        patch.delenv("WORKFLOW_STATE_PATH", raising=False)
        yield path
    engine = sys.modules.get("perdure.engines.local.engine")
    if engine is not None:
        engine.close_at(path)


@pytest.fixture
def perdure_clock() -> Clock:
    """A clock that jumps; `perdure_run` lets the engine see it."""
    from perdure.testing.clock import Clock

    return Clock()


@pytest.fixture
def perdure_run(perdure_clock: Clock) -> Iterator[TestRun]:
    """A test in a `durable()` block: a state of its own, no waits, crashes where the test says."""
    from perdure.testing.trial import durable

    with durable(clock=perdure_clock) as run:
        yield run


@pytest.fixture
def perdure_ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Counts the calls of functions that are wrapped; that of `perdure_run`, if the test has both."""
    from perdure.testing.ledger import Ledger

    if "perdure_run" in request.fixturenames:
        yield request.getfixturevalue("perdure_run").ledger
        return
    ledger = Ledger()
    yield ledger
    ledger.close()
