"""When a run is over."""

from __future__ import annotations

import msgspec

from perdure.core.durations import show
from perdure.errors import DeadlineExceeded


class Deadline(msgspec.Struct, frozen=True):
    """When a run is over, on the engine's clock; which run's timeout that is, and how long it is, in seconds."""

    at: float
    seconds: float
    run: str
    owner: str

    def exceeded(self) -> DeadlineExceeded:
        """The error for a run that took too long."""
        return DeadlineExceeded(
            f"run {self.run} did not finish within {show(self.seconds)}, the timeout of {self.owner}",
            "find out what it waits for, or give it more time; run it again: it goes on where it stopped",
        )


def earlier(own: Deadline, outer: Deadline | None) -> Deadline:
    """The deadline that holds for a run with one of its own inside of another's."""
    return own if outer is None or own.at < outer.at else outer
