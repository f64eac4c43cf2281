"""What code inside a step reaches of its run on a cluster."""

from __future__ import annotations

from perdure.core.execution.spec import Call
from perdure.engines.events import Observer, StepProgress
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.payloads import Progress
from perdure.engines.temporal.signals import send
from perdure.store import signals


class StepSide:
    """What code inside a step reaches of the run: its id, its workflow, and who is notified of how far it has come."""

    def __init__(self, id: str, workflow: str, progress: Progress, observer: Observer | None, cluster: Cluster) -> None:
        self.id = id
        self._cluster = cluster
        self.workflow = workflow
        self._progress = progress
        self._observer = observer

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Notify the observer; it travels with the next heartbeat."""
        self._progress.note = f"{done:g}{f' of {total:g}' if total is not None else ''} {note}".strip()[:200]
        if self._observer is not None:
            self._observer.notify(StepProgress(self.id, self.workflow, call, done, total, note))

    def send_signal(self, run: str, event: str, topic: str, value: bytes, id: str | None) -> signals.Outcome:
        """Send a signal to a run on the same cluster: see `signals.send`."""
        return self._cluster.wait(send(self._cluster, run, event, topic, value, id)).outcome
