"""When a run is over."""

from __future__ import annotations

import msgspec

from perdure.core.durations import show
from perdure.core.records import RunRecord
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


def time_left(run: RunRecord, timeout: float, now: float) -> float:
    """Seconds that a run has left; none any more if it is negative. Deaths of its processes do not stop the time.

    Args:
        run: the run, as it was taken.
        timeout: of its workflow, in seconds.
        now: the time of day, in seconds since the epoch. Set back, it gives a run no more than its timeout.
    """
    return timeout if run.timed_from is None else timeout - max(now - run.timed_from, 0.0)


def earlier(own: Deadline, outer: Deadline | None) -> Deadline:
    """The deadline that holds for a run with one of its own inside of another's."""
    return own if outer is None or own.at < outer.at else outer
