"""Signals of perdure's to runs on a cluster: the sender's side.

Temporal does not answer a signal, so what comes of it is read beforehand, from the history of the run.
"""

from __future__ import annotations

import asyncio
import time
from shlex import quote
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from temporalio.service import RPCError, RPCStatusCode

from perdure.core.signal_size import refuse_large
from perdure.engines.temporal.connection import Cluster, is_gone
from perdure.engines.temporal.executions import Found, find, root_of
from perdure.engines.temporal.history_reader import read_whole
from perdure.engines.temporal.mailbox import SIGNAL
from perdure.engines.temporal.payloads import Envelope, Letter, encode
from perdure.errors import EngineError, RunHasEnded
from perdure.store.signals import Outcome

FIRST_LOOK = 0.02
LONGEST_LOOK = 60.0
"""Seconds that a sender waits to see its signal in the history of the run."""


class Sent(NamedTuple):
    """What came of sending; `run` is the id of the run that has the mailbox."""

    outcome: Outcome
    run: str


async def send(
    cluster: Cluster, run: str, event: str, topic: str, value: bytes, id: str | None, sender: str = ""
) -> Sent:
    """Send a signal; once this returns, the cluster keeps it.

    Args:
        cluster: which.
        run: the id of the run, or of a child of it.
        event: the name.
        topic: the key.
        value: packed.
        id: unique among the signals of the run; sent again, nothing is stored.
        sender: tells this one from others of the same id.

    Raises:
        TooLarge: the value is.
        NotFound: there is no such run.
        RunHasEnded: it has ended, or it has failed and was not resumed.
        EngineError: the cluster does not take it.
    """
    refuse_large(f"the value of signal {event!r}", value)
    root = await root_of(cluster, run)
    if root.status != "running":
        raise _ended(root)
    client = await cluster.client()
    history = await read_whole(client, root.workflow_id, root.run_id)
    mailbox = history.mailbox
    waits = [one.rows for one in history.waits.values()] + [one.rows for one in history.asks.values()]
    if id is not None and any(one.id == id for one in mailbox.letters):
        return Sent("repeated", root.memo.id)
    stamp = time.time()
    found = [[row for row in rows if (row.event, row.topic) == (event, topic)] for rows in waits]
    awaited = sum(any(row.due is None or row.due >= stamp for row in rows) for rows in found)
    envelope = Envelope(id or uuid4().hex, event, topic, stamp, value, sender)
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


async def send_once(cluster: Cluster, run: str, event: str, topic: str, value: bytes, id: str) -> tuple[Letter, bool]:
    """Send a signal of which only the first one of that id counts: which one that is, and whether this is it.

    Raises:
        TooLarge, NotFound, RunHasEnded, EngineError: as `send`.
    """
    sender = uuid4().hex
    try:
        sent = await send(cluster, run, event, topic, value, id, sender)
    except RunHasEnded:
        if (letter := await _first(cluster, run, id)) is None:
            raise
        return letter, False  # the run has ended with what that one said
    began, pause = monotonic(), FIRST_LOOK
    while monotonic() - began < LONGEST_LOOK:
        letter = await _first(cluster, sent.run, id)
        if letter is not None:
            return letter, letter.sender == sender
        await asyncio.sleep(pause)  # a worker is at the run: what comes meanwhile stands in its history after that
        pause = min(2 * pause, 1.0)
    raise EngineError(
        f"the cluster has {event!r} for run {sent.run}, and does not say yet whether it was the first one",
        f"see what became of it: perdure show {quote(sent.run)}",
    )


async def _first(cluster: Cluster, run: str, id: str) -> Letter | None:
    """The signal of that id that the run has kept."""
    root = await root_of(cluster, run)
    history = await read_whole(await cluster.client(), root.workflow_id, root.run_id)
    return next((one for one in history.mailbox.letters if one.id == id), None)


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
