"""The courier of a workflow: carries its alerts to their targets, from whichever worker, until they are there.

It is a workflow of Temporal's, so an alert outlives the run, the worker and the machine. The same failure is sent once
in 15 minutes, then counted; the count is sent when they are over. That is why a courier stays for so long.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from perdure.alerts.alert import RECOVERED, Alert
from perdure.alerts.dedup import MOST, WINDOW
from perdure.alerts.retry_queue import FIRST_PAUSE, LONGEST_PAUSE
from perdure.alerts.spool import KEPT

COURIER = "perdure.courier"
"""What Temporal calls the workflow."""
DELIVER = "perdure.deliver"
"""What Temporal calls the activity that sends."""
ALERT = "perdure.alert"
"""The signal that hands over an alert."""
UNDELIVERED = "perdure.undelivered"
"""The query of how many alerts wait."""
SENDING = timedelta(minutes=5)
"""What one try may take: 5 s a target, and a moment more."""
BEATING = timedelta(minutes=1)
"""What one target may take."""
MOST_IDS = 1_000
"""Alerts of one window that are known by their ids."""
MOST_EVENTS = 2_000
"""Of Temporal's record of a courier."""


class Sender(msgspec.Struct, frozen=True, array_like=True):
    """Whose alerts a courier carries: of the workflow of that name and place, whose script was at that path."""

    workflow: str
    place: tuple[str, str]
    script: str


class Window(msgspec.Struct, array_like=True):
    """A failure that was sent at `began` (epoch seconds), and happened `count` times since; the latest of them.

    `ids` are those of the alerts that were handed over: each is counted once, whoever hands it over again.
    """

    alert: bytes
    began: float
    count: int = 0
    ids: list[str] = []


def id_of(sender: Sender) -> str:
    """What Temporal knows the courier of a workflow by."""
    return f"perdure-alerts:{sender.place[0]}:{sender.workflow}"


@workflow.defn(name=COURIER, sandboxed=False)
class Courier:
    """Carries the alerts of one workflow."""

    def __init__(self) -> None:
        self._come: list[bytes] = []
        self._windows: dict[str, Window] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._sender = b""

    @workflow.signal(name=ALERT)
    def alert(self, data: bytes) -> None:
        """An alert is to be sent."""
        self._come.append(data)

    @workflow.query(name=UNDELIVERED)
    def undelivered(self) -> int:
        """How many alerts have not come to all their targets."""
        return len(self._come) + len(self._sending)

    @workflow.run
    async def run(self, sender: bytes, windows: bytes) -> None:
        """Until nothing waits, and nothing is counted."""
        self._sender = sender
        self._windows = msgspec.msgpack.decode(windows, type=dict[str, Window])
        while True:
            while self._come:
                self._take(self._come.pop(0))
            self._close_windows()
            if not self._windows and not self._sending:
                return
            if workflow.info().get_current_history_length() > MOST_EVENTS and not self._sending:
                workflow.continue_as_new(args=[sender, msgspec.msgpack.encode(self._windows)])
            ends = min((one.began for one in self._windows.values()), default=workflow.time()) + WINDOW
            under_way = len(self._sending)
            try:
                await workflow.wait_condition(
                    lambda before=under_way: bool(self._come) or len(self._sending) < before,  # type: ignore[misc]
                    timeout=max(ends - workflow.time(), 0.001),
                )
            except TimeoutError:
                continue

    def _take(self, data: bytes) -> None:
        alert = msgspec.msgpack.decode(data, type=Alert)
        if alert.what == RECOVERED:
            self._send(self._closing(alert))
            return
        window = self._windows.get(alert.key)
        if window is None:
            if len(self._windows) < MOST:
                self._windows[alert.key] = Window(data, workflow.time(), ids=[alert.id])
            self._send(alert)
        elif alert.id not in window.ids:
            window.alert, window.count = data, window.count + 1
            window.ids = [*window.ids[-MOST_IDS:], alert.id]

    def _closing(self, alert: Alert) -> Alert:
        """Close the windows of the failures that an alert reports the recovery from; it gets their counts."""
        count, since = 0, workflow.time()
        for key, window in list(self._windows.items()):
            if alert.closes(msgspec.msgpack.decode(window.alert, type=Alert)):
                count, since = count + window.count, min(since, window.began)
                del self._windows[key]
        return msgspec.structs.replace(alert, repeated=count, since=since) if count else alert

    def _close_windows(self) -> None:
        """Send the counts of the windows that have ended; one in which something was counted begins again."""
        now = workflow.time()
        for key, window in list(self._windows.items()):
            if now - window.began < WINDOW:
                continue
            if not window.count:
                del self._windows[key]
                continue
            alert = msgspec.msgpack.decode(window.alert, type=Alert)
            self._send(msgspec.structs.replace(alert, repeated=window.count, since=window.began))
            window.began, window.count = now, 0

    def _send(self, alert: Alert) -> None:
        task = asyncio.create_task(self._deliver(msgspec.msgpack.encode(alert)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, alert: bytes) -> None:
        try:
            await workflow.execute_activity(
                DELIVER,
                args=[self._sender, alert],
                schedule_to_close_timeout=timedelta(seconds=KEPT),
                start_to_close_timeout=SENDING,
                heartbeat_timeout=BEATING,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=FIRST_PAUSE), maximum_interval=timedelta(seconds=LONGEST_PAUSE)
                ),
            )
        except ActivityError as failed:
            workflow.logger.warning("an alert is not delivered any more: %s", failed.cause or failed)
