"""Runs a workflow on one engine and notes what happened: how each call ended, and what its steps did."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import perdure
from perdure.engines.local import engine as local

ledger: list[tuple[Any, ...]] = []
"""What steps have done, in order. They note it themselves: no engine is asked."""


def note(*what: Any) -> None:
    """A step notes an effect, with the number of its attempt."""
    ledger.append((*what, perdure.attempt()))


class Bench:
    """An engine, and a fresh place on it.

    Args:
        engine: "local", or the address of a cluster.
        folder: for the state file of the local engine.

    `name` is no other bench's.
    """

    def __init__(self, engine: str, folder: Path) -> None:
        self.engine = engine
        self.name = folder.name
        self._folder = folder
        self.outcomes: list[Any] = []

    @contextmanager
    def in_force(self) -> Iterator[Bench]:
        """Workflows that are called in this context run here."""
        wanted = {
            "PERDURE_ENGINE": self.engine,
            "PERDURE_STATE": str(self._folder / "state.db"),
            "PERDURE_SUSPEND_AFTER": "1d",  # on one machine, too, a run that waits stays in this process
        }
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        ledger.clear()
        try:
            yield self
        finally:
            local.close_all()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def run(self, workflow: Any, *args: Any, id: str | None = None) -> Any:
        """Call a workflow as a process of its own would; what it returned, or raised, is kept as well as returned."""
        local.close_all()
        called = workflow if id is None else workflow.with_options(id=f"{id}-{self._folder.name}")
        try:
            result = called(*args)
            if asyncio.iscoroutine(result):
                result = asyncio.run(result)
        except Exception as error:
            self.outcomes.append(("raised", type(error).__name__, _first_line(error)))
            return error
        self.outcomes.append(("returned", result))
        return result

    def trace(self) -> dict[str, Any]:
        """All that happened, for comparison with another engine."""
        return {"outcomes": self.outcomes, "ledger": list(ledger)}


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def steps() -> list[Any]:
    """What the steps noted, without the numbers of the attempts."""
    return [entry[0] if len(entry) == 2 else entry[:-1] for entry in ledger]
