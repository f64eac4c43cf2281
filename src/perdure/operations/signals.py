"""`perdure signal`: what is sent to a run from the command line, and who goes on with it then."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from perdure.api.options import checked_event, checked_signal_id, checked_topic
from perdure.core.values import codec, plain_json
from perdure.engines.features import Feature
from perdure.engines.selection import cluster_at
from perdure.errors import UsageError
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened, opened_for_change
from perdure.store import bell, signals, workers
from perdure.store.signals import Outcome


class SignalView(msgspec.Struct, frozen=True):
    """What came of a signal.

    `status` is how the run stands, `pid` the process that executes it at this moment, `worker` one that does so next;
    `cluster`: the workers of a cluster do.
    """

    run: str
    event: str
    outcome: Outcome
    status: str
    pid: int | None
    worker: int | None = None
    cluster: bool = False

    def text(self) -> str:
        """The same in a sentence, and who goes on with the run."""
        if self.outcome == "repeated":
            return f"{self.event} was sent to {self.run} before, under this id; nothing was stored"
        waits = "which waits for it" if self.outcome == "taken" else "which does not wait for it yet"
        return f"{self.event} was stored for {self.run}, {waits}{self.next if self.outcome == 'taken' else ''}"

    @property
    def next(self) -> str:
        """Who goes on with the run."""
        who = "a worker of the cluster" if self.cluster else ""
        if self.pid is not None or self.worker is not None:
            who = f"pid {self.pid}" if self.pid is not None else f"worker pid {self.worker}"
        return f"; {who} goes on with it" if who else ""

    @property
    def advice(self) -> str:
        """What makes the run go on, if nothing does."""
        if (
            self.cluster
            or self.pid is not None
            or self.worker is not None
            or self.outcome == "repeated"
            or self.status == "queued"
        ):
            return ""
        if self.status == "suspended":
            if self.outcome != "taken":
                return ""
            return f"nobody wakes it by itself; go on with it: perdure resume {quote(self.run)}"
        how = {"failed": "has failed", "parked": "is parked"}.get(self.status, "was interrupted")
        return f"the run {how}, and takes it when it is gone on with: perdure resume {quote(self.run)}"


def send(
    location: Location, reference: str, event: str, value: str | None, key: str = "", id: str | None = None
) -> SignalView:
    """Send a signal to a run.

    Args:
        location: the state file.
        reference: the run.
        event: the name of the signal.
        value: what is sent, as JSON; None for none.
        key: tells signals of one name apart.
        id: sent again with the same one, nothing is stored.

    Raises:
        UsageError: the value is not JSON.
        OptionError: the name, key or id is not a printable text.
        NotFound: there is no such run.
        RunHasEnded: it has ended.
        NotStorable: the value is too large.
        StateError: the state file cannot be written.
        EngineError: the cluster cannot be reached.
    """
    checked_event(event)
    checked_topic(key)
    checked_signal_id(id, "--id")
    packed = codec.pack_value(parsed(value), owner=f"signal {event!r}")
    if not location.supports(Feature.STATE_FILE):
        with opened(location, reference) as store:
            found = find_run(store, reference)
        outcome = cluster_at(location.engine).send_signal(found.id, event, key, packed, id)
        return SignalView(found.id, event, outcome, found.status, None, cluster=True)
    with opened_for_change(location) as store:
        run = find_run(store, reference)
        sent: signals.Sent = store.journal.write((), signals.send(store, run.id, event, key, packed, id))
    bell.ring(location.path)
    return view_of(location.path, event, sent)


def view_of(state: Path, event: str, sent: signals.Sent) -> SignalView:
    """What came of a signal, and who goes on with the run.

    Args:
        state: the state file.
        event: the name of the signal.
        sent: what came of it.
    """
    run, worker = sent.run, None
    if sent.by is None and run.status == "suspended":
        worker = workers.server_of(state, run)
    return SignalView(run.id, event, sent.outcome, run.status, sent.by.pid if sent.by else None, worker)


def parsed(text: str | None) -> Any:
    """What a JSON text says; None for none.

    Raises:
        UsageError: it is not JSON.
    """
    if text is None:
        return None
    try:
        return plain_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the value is not JSON: {error}",
            """write it in quotes for the shell: '{"amount": 5}', '"a text"', 5, true""",
        ) from None
