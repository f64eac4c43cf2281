"""What runs tell each other, by Temporal's signals under names of perdure's own; none of it is a letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from temporalio.api.common.v1 import Payload

from perdure.engines.temporal.payloads import Awaiting, ChildAnswer, ChildAsk, Published, RunEnded, decode

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
