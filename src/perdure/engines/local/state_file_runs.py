"""The runs of a state file, for who does not execute them: nothing is written but what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from perdure.core.records import RunRecord, RunStatus
from perdure.engines.interface import Cancellation
from perdure.engines.local.run_ends import ends_at
from perdure.store.runs import Store


class StateFileRuns:
    """The runs of a state file, read from a process that may have nothing to do with their scripts.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self.state_file: Path | None = path
        self._path = path

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
            StateError: the state file cannot be read.
        """
        store = Store(self._path, read_only=True)
        try:
            return store.newest(store.run(id)).status
        finally:
            store.close()

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """The end of a run, whichever process executes it."""
        return ends_at(self._path).ending(id, or_left=or_left)

    def cancel(self, id: str, load: Callable[[RunRecord], str | None]) -> Cancellation:
        """Ask a run to end, or end it here."""
        from perdure.engines.local.engine import engine_at

        return engine_at(self._path).cancel(id, load)
