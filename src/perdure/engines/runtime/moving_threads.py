"""A thread of a workflow that is on its way, and for how long the others wait for it to come to rest.

One that goes on computing is waited for as long as `MOVING_SECONDS`, one that sleeps again and again as long as
`NAPPING_SECONDS`, and then not again before its next call.
"""

from __future__ import annotations

import time

from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_states import Sleepers, processor_seconds

MOVING_SECONDS = 0.25
"""Of processor time, where the system says how much a thread has got: on a busy machine it may wait for long."""
NAPPING_SECONDS = 0.1
"""On the clock, for a thread that sleeps again and again: it waits for something by looking again."""
NAPS = 5
"""So often, and at one look of ten: on a busy machine it is seen to wait for a processor as well."""
MEASURED_SECONDS = 0.01
"""After so long the system is asked what the thread is at: nearly all have come to rest long before."""
STUCK_SECONDS = 10.0
"""The same whatever it does: another thread keeps the interpreter, or what a call waits for cannot be known."""


class Moving:
    """A thread that is on its way, since it was first seen to be.

    Args:
        native: the number that the system has given it; None before it has one.
        called: how many calls it had made.
    """

    def __init__(self, native: int | None, called: int) -> None:
        self.called = called
        self._native = native
        self._at = time.monotonic()  # threads run in real time, whatever the clock of the runs is
        self._run: float | None = None
        self._all_run = 0.0
        self._measured = False
        self._looks = self._naps = 0

    def for_too_long(self, sleepers: Sleepers, *, in_call: bool, in_loop: bool = False) -> bool:
        """Is it not to be waited for any more? A call that it is in comes to its end by itself.

        A loop that it runs (`in_loop`) sleeps between what it does, and wakes up by itself.
        """
        now = time.monotonic()
        if now - self._at >= STUCK_SECONDS:
            return True
        if in_call or self._native is None or now - self._at < MEASURED_SECONDS:
            return False
        run, all_run = processor_seconds(self._native), time.process_time()
        if not self._measured:
            self._run, self._all_run, self._measured = run, all_run, True
        self._looks += 1
        self._naps += not in_loop and sleepers.naps(self._native)
        if now - self._at >= NAPPING_SECONDS and self._naps >= max(NAPS, self._looks / 10):
            return True
        # Where the system does not say what the thread has had, it is not more than all of them together.
        had = all_run - self._all_run if run is None or self._run is None else run - self._run
        return had >= MOVING_SECONDS


Seen = dict[ThreadTask | int, Moving]
