"""What code inside a step reaches of its run on a cluster."""

from __future__ import annotations

from time import time

from temporalio.service import RPCError, RPCStatusCode

from perdure.config.steady_clock import steady
from perdure.core.execution.spec import Call
from perdure.core.records import PROGRESS
from perdure.core.signal_size import refuse_large
from perdure.core.tick_verdicts import RunTick
from perdure.engines.events import Observer, StepProgress
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.messages import PUBLISH
from perdure.engines.temporal.payloads import Progress, Published, encode
from perdure.engines.temporal.published_values import APART
from perdure.engines.temporal.signals import send
from perdure.store import signals


class StepSide:
    """What code inside a step reaches of the run: its id, its workflow, and who is notified of how far it has come."""

    def __init__(
        self,
        id: str,
        workflow: str,
        progress: Progress,
        observer: Observer | None,
        cluster: Cluster,
        root_workflow_id: str,
        tick: RunTick | None = None,
    ) -> None:
        self._tick = tick
        self.id = id
        self._root = root_workflow_id
        self._shown = float("-inf")
        self._pending: bytes | None = None
        self._cluster = cluster
        self.workflow = workflow
        self._progress = progress
        self._observer = observer

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Notify the observer; it travels with the next heartbeat."""
        self._progress.note = f"{done:g}{f' of {total:g}' if total is not None else ''} {note}".strip()[:200]
        self._progress.moved = time()
        if self._observer is not None:
            self._observer.notify(StepProgress(self.id, self.workflow, call, done, total, note))

    def tick(self) -> RunTick | None:
        """The tick that the run was made for; None: none."""
        return self._tick

    def publish(self, name: str, value: bytes, *, soon: bool = False) -> None:
        """Show a value of the run that people know; `soon`: once a second at most, and when the attempt ends.

        Raises:
            TooLarge: the value is.
            EngineError: the cluster does not take it.
        """
        refuse_large(f"the value published as {name!r}", value)
        if soon:
            self._pending = value
            if steady() - self._shown < APART:
                return
            self._shown, self._pending = steady(), None
        self._cluster.wait(self._publish(name, value))

    async def _publish(self, name: str, value: bytes) -> None:
        client = await self._cluster.client()
        try:
            await client.get_workflow_handle(self._root).signal(PUBLISH, encode(Published(name, value, time())))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # else it has ended: nobody waits for this step
                raise

    async def aend(self) -> None:
        """The attempt has ended: show how far it was, if that is not shown yet."""
        packed, self._pending = self._pending, None
        if packed is not None:
            await self._publish(PROGRESS, packed)

    def send_signal(self, run: str, event: str, topic: str, value: bytes, id: str | None) -> signals.Outcome:
        """Send a signal to a run on the same cluster: see `signals.send`."""
        return self._cluster.wait(send(self._cluster, run, event, topic, value, id)).outcome
