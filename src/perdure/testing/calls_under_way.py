"""The calls that a crash of a test cuts: written down as the next process of a killed one finds them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perdure.core.records import KEY, NAME, N
from perdure.engines.events import AttemptStarted
from perdure.store import lives

if TYPE_CHECKING:
    from perdure.store.runs import Store

_CRASHES = itertools.count(1)


class CallsUnderWay:
    """The calls of one life that have begun, and whose records are not saved."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, bytes, int], lives.Cut] = {}

    def began(self, event: AttemptStarted, now: float) -> None:
        """An attempt begins, at a time in seconds since the epoch."""
        call = event.call
        identity = (event.run, call.spec.name, call.key, call.n)
        self._calls[identity] = lives.Cut(call.spec.name, call.key, call.n, event.attempt, now)

    def saved(self, batch: Sequence[Any]) -> None:
        """Entries of the journal were committed."""
        over = {(row[NAME], row[KEY], row[N]) for entry in batch for row in entry.rows}
        self._calls = {call: cut for call, cut in self._calls.items() if call[1:] not in over}

    def write_down(self, store: Store, now: float) -> None:
        """The process has crashed in the middle of them.

        Raises:
            StateError: that could not be written.
        """
        found = [(store.run(run).rid, cut) for (run, *_), cut in self._calls.items()]

        def operation(connection: Any) -> None:
            for rid, cut in found:
                lives.add(connection, rid, f"crash {next(_CRASHES)}", [cut], now, "SIGKILL")

        store.journal.write((), operation)
