"""Reads the history of an execution from the cluster."""

from __future__ import annotations

from typing import Any

from perdure.engines.temporal.encryption import key_ring
from perdure.engines.temporal.event_history import EventHistory
from perdure.engines.temporal.payloads import Carry
from perdure.errors import RunError


async def read_whole(client: Any, id: str, run: str | None, carry: Carry | None = None) -> EventHistory:
    """The same, also of an execution that has just begun, and has not taken over yet what earlier ones have done."""
    history = await read_history(client, id, run, carry)
    if not history.recalled and history.command is not None and (before := history.command.carry) is not None:
        earlier = await read_whole(client, id, before.run, before)
        history.mailbox.take_over(earlier.mailbox.letters)
        history.waits = {**earlier.waits, **history.waits}
        history.records = [*earlier.records, *history.records]
    return history


async def read_history(client: Any, id: str, run: str | None, carry: Carry | None = None) -> EventHistory:
    """What an execution has done.

    Raises:
        RunError: the cluster does not keep it any more.
        DecryptionError: it is encrypted with a key that this process does not have.
    """
    from temporalio.service import RPCError, RPCStatusCode

    try:
        handle = client.get_workflow_handle(id, run_id=run)
        return EventHistory([event async for event in handle.fetch_history_events()], carry, key_ring(client))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise RunError(
            f"the cluster no longer has the history of run {id} (the retention period of its namespace is over)",
            "start a new run, under another id or with other inputs",
        ) from None
