"""The state file of a supervisor: no error of it ends the worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from perdure.config.steady_clock import steady
from perdure.engines.local.worker.back_off import back_off
from perdure.errors import PerdureError, StateBusy, StateError
from perdure.store.runs import Store

T = TypeVar("T")


class StateAccess:
    """A state file that may not be usable for a while, which is said once.

    Args:
        path: the file.
        say: called with a line for people.

    Raises:
        StateError: it cannot be used now.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._store: Store | None = Store(path)
        self._at = 0.0  # when it may be opened
        self._failed = 0
        self.lasts = False  # it could not be used the last time, and another process is not what kept it from that

    @property
    def usable(self) -> bool:
        """Could it be used the last time?"""
        return self._store is not None

    def use(self, act: Callable[[Store], T]) -> T | None:
        """What `act` gives; None if the state file cannot be used at this moment, which is said once."""
        if self._store is None and steady() < self._at:
            return None
        try:
            if self._store is None:
                self._store = Store(self._path)
            found = act(self._store)
        except (PerdureError, OSError) as error:
            if not self._failed:
                self._say(f"the state file cannot be used, it is tried again: {error}")
            self._failed += 1
            self.lasts = not isinstance(error, StateBusy)
            self._at = steady() + back_off(self._failed)
            self.close()
            return None
        if self._failed:
            self._say("the state file can be used again")
        self._failed, self.lasts = 0, False
        return found

    def close(self) -> None:
        """Close it; it is opened again by the next use."""
        store, self._store = self._store, None
        if store is not None:
            with suppress(StateError, OSError):
                store.close()
