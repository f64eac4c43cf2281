"""Signals of perdure's to runs on a cluster: the sender's side.

Temporal does not answer a signal, so what comes of it is read beforehand, from the history of the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from shlex import quote
from typing import NamedTuple
from uuid import uuid4

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from perdure.engines.temporal.connection import Cluster, is_gone
from perdure.engines.temporal.event_history import read_history
from perdure.engines.temporal.executions import Found, find
from perdure.engines.temporal.mailbox import SIGNAL, Mailbox
from perdure.engines.temporal.payloads import Carry, Envelope, OpenWaitNote, encode
from perdure.errors import EngineError, RunHasEnded, TooLarge
from perdure.store.signals import LARGEST, Outcome


class Sent(NamedTuple):
    """What came of sending; `run` is the id of the run that has the mailbox."""

    outcome: Outcome
    run: str


async def send(cluster: Cluster, run: str, event: str, topic: str, value: bytes, id: str | None) -> Sent:
    """Send a signal; once this returns, the cluster keeps it.

    Args:
        cluster: which.
        run: the id of the run, or of a child of it.
        event: the name.
        topic: the key.
        value: packed.
        id: unique among the signals of the run; sent again, nothing is stored.

    Raises:
        TooLarge: the value is.
        NotFound: there is no such run.
        RunHasEnded: it has ended, or it has failed and was not resumed.
        EngineError: the cluster does not take it.
    """
    if len(value) > LARGEST:
        raise TooLarge(
            f"the value of signal {event!r} takes {len(value):,} bytes, more than {LARGEST:,}",
            "keep large data in a file or an object store, and send where it is",
        )
    root = await find(cluster, run)
    while root.memo.parent is not None:
        root = await find(cluster, root.memo.parent)
    if root.status != "running":
        raise _ended(root)
    client = await cluster.client()
    mailbox, waits = await _standing(client, root.workflow_id, root.run_id, None)
    if id is not None and any(one.id == id for one in mailbox.letters):
        return Sent("repeated", root.memo.id)
    stamp = time.time()
    found = [[row for row in one.rows if (row.event, row.topic) == (event, topic)] for one in waits]
    awaited = sum(any(row.due is None or row.due >= stamp for row in rows) for rows in found)
    envelope = Envelope(id or uuid4().hex, event, topic, stamp, value)
    try:
        await client.get_workflow_handle(root.workflow_id).signal(SIGNAL, encode(envelope))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise _ended(await find(cluster, root.memo.id)) from None
        if is_gone(error):
            raise
        raise EngineError(
            f"the cluster does not take the signal {event!r}: {error}", "see the limits of its namespace, or try again"
        ) from None
    return Sent("taken" if awaited > mailbox.stored(event, topic) else "stored", root.memo.id)


async def _standing(
    client: Client, id: str, run: str | None, carry: Carry | None
) -> tuple[Mailbox, Sequence[OpenWaitNote]]:
    """What was sent to a run, and what it waits for; an execution that has just begun has not taken that over yet."""
    history = await read_history(client, id, run, carry)
    waits = list(history.waits.values())
    if not history.recalled and history.command is not None and (before := history.command.carry) is not None:
        earlier, still = await _standing(client, id, before.run, before)
        history.mailbox.take_over(earlier.letters)
        waits += still
    return history.mailbox, waits


def _ended(run: Found) -> RunHasEnded:
    id = run.memo.id
    if run.status == "failed":
        return RunHasEnded(
            f"run {id} has failed: a cluster keeps no signal for it until it is resumed",
            f"send it again when the run is resumed: perdure resume {quote(id)}",
        )
    return RunHasEnded(
        f"run {id} is {run.status}: no wait of it takes a signal any more",
        "start a new run, and send the signal to that",
    )
