"""The heartbeats of one run, sent from a thread of their own so that no step waits for them."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Literal

from perdure.alerts.channels.send_timeout import SECONDS
from perdure.alerts.heartbeat import Signal, ping

LAST = ("success", "fail", "")
"""Signals after which there are no more; the empty one is not sent."""


class HeartbeatThread:
    """Reports a run's start and its end to a check, in this order.

    Args:
        url: the address of the check.
        run: the id of the run.
    """

    def __init__(self, url: str, run: str) -> None:
        self._queue: SimpleQueue[tuple[Signal | Literal[""], str]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(url, run), name="perdure-heartbeat", daemon=True)
        self._thread.start()

    def send(self, signal: Signal | Literal[""], log: str = "") -> None:
        """Send a signal; the last one is waited for, for 5 s at most.

        Args:
            signal: "start", "success" or "fail"; empty: the run was interrupted, and nothing is sent.
            log: a text to send with it.
        """
        self._queue.put((signal, log))
        if signal in LAST:
            self._thread.join(SECONDS)

    def _work(self, url: str, run: str) -> None:
        signal: Signal | Literal[""] = "start"
        while signal not in LAST:
            signal, log = self._queue.get()
            if signal:
                ping(url, signal, run, log)
