"""Wait until another run has ended, in a workflow: a durable wait whose value does not matter."""

from __future__ import annotations

from perdure.core.execution.waiting import NOTHING, spec_of_wait
from perdure.core.values import codec
from perdure.core.waits import Lapsed, Letter, RunEnd, Wanted, Won

NAME = "perdure.result"
"""The name of the wait, which `Handle.result` in a workflow shares."""


class EndOfRun:
    """See `waiting.Wait`.

    Args:
        id: of the run.
    """

    def __init__(self, id: str) -> None:
        self.wanted: tuple[Wanted, ...] = (Wanted(run=id),)
        self.since: tuple[float, float] | None = None
        self.spec = spec_of_wait(NAME)
        self.given = codec.pack_inputs([id, None], {}, owner=NAME)
        self.key = codec.digest(id.encode())

    def result(self, won: Won, found: Letter | RunEnd | None) -> bytes | Exception:
        """The record says only that it is over: who waits looks at the run then."""
        return NOTHING

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        """It has no limit."""
        raise AssertionError("a wait without a limit is not late")
