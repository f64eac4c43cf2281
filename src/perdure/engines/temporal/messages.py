"""What runs tell each other, by Temporal's signals under names of perdure's own; none of it is a letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from temporalio.api.common.v1 import Payload

from perdure.engines.temporal.payloads import OpenRow, Owner, Published, decode

ASK: Final = "perdure.ask"
"""A child run tells its root about one of its waits."""
ANSWER: Final = "perdure.answer"
"""A root answers."""
AWAIT: Final = "perdure.await"
"""A run asks another one to tell of its end."""
ENDED: Final = "perdure.ended"
"""That one tells."""

PUBLISH: Final = "perdure.publish"
"""A step, or a child run, publishes a value for the root."""


class ChildAsk(msgspec.Struct, frozen=True, array_like=True):
    """A child run, by its id, says of one of its waits what it is for; without `rows`, that it is over.

    What the root has handed over for it has been `taken`, or does not fit (`aside`, for the `reason`), by its number;
    or it goes back.
    """

    run: str
    name: str
    key: bytes
    n: int
    rows: list[OpenRow]
    taken: int | None = None
    aside: int | None = None
    reason: str = ""

    @property
    def owner(self) -> Owner:
        """Which wait it is about."""
        return (self.run, self.name, self.key, self.n)


class ChildAnswer(msgspec.Struct, frozen=True, array_like=True):
    """How the wait of a child run has ended, judged at the moment `now`.

    Either the alternative of that `position` has a signal (its number, its stamp, its value), or the end of a run (its
    status, when, and with what), or a time is over.
    """

    run: str
    name: str
    key: bytes
    n: int
    now: float
    position: int = 0
    letter: tuple[int, float, bytes] | None = None
    end: tuple[str, float, bytes | None] | None = None

    @property
    def owner(self) -> Owner:
        """Which wait it is about."""
        return (self.run, self.name, self.key, self.n)


class Awaiting(msgspec.Struct, frozen=True, array_like=True):
    """An execution, as Temporal knows it, waits for the end of that run."""

    workflow_id: str
    run: str


class RunEnded(msgspec.Struct, frozen=True, array_like=True):
    """That run has ended, at that moment, with that result or failure."""

    run: str
    status: str
    stamp: float
    output: bytes | None


Message = ChildAsk | ChildAnswer | Awaiting | RunEnded | Published
_KINDS: Final[dict[str, type[Message]]] = {
    ASK: ChildAsk,
    ANSWER: ChildAnswer,
    AWAIT: Awaiting,
    ENDED: RunEnded,
    PUBLISH: Published,
}


def message_of(name: str, payloads: Sequence[Payload]) -> Message | None:
    """What a signal of that name says; None if it is none of these, or another program has made it up."""
    kind = _KINDS.get(name)
    if kind is None or not payloads:
        return None
    try:
        return decode(payloads[0].data, kind)
    except (msgspec.MsgspecError, ValueError):
        return None
