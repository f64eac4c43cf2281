"""A run goes on in a new execution: what that takes over from an earlier one, and what one leaves to the next."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.history import History
from perdure.core.records import Place
from perdure.engines.runtime.deadline import Deadline
from perdure.engines.temporal.child_waits import ChildWaits
from perdure.engines.temporal.commands import recall
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.open_waits import OpenWaits
from perdure.engines.temporal.payloads import MOST, Carry, RunCommand, encode
from perdure.engines.temporal.run_records import RunRecords
from perdure.errors import NotStorable, StopRun

LARGEST_FAULT = 1_000_000
"""Bytes. One that is larger is shortened."""


async def take_over(
    command: RunCommand,
    carry: Carry,
    records: RunRecords,
    mailbox: Mailbox,
    waits: OpenWaits | ChildWaits,
    children: dict[str, str],
) -> tuple[int, int]:
    """Fill in what an earlier execution of the run has left.

    Returns:
        How often the run has been cleaned up, and how many records were there when it was resumed.
    """
    epoch = 0
    first: int | None = 0
    while first is not None:
        portion = await recall(command, carry, first)
        records.take_over(portion.records, portion.exempt)
        mailbox.take_over(portion.letters, portion.handed, portion.awaiting)
        waits.take_over(portion.waits)
        children.update(portion.children)
        epoch = portion.epoch
        first = portion.more
    count = len(records.records)
    if carry.accepted:
        records.drop((), (1, count))
    return epoch, count if carry.before is None else carry.before


def next_command(
    command: RunCommand,
    execution: str,
    history: History,
    records: RunRecords,
    before: int,
    places: Mapping[str, Place],
    deadline: Deadline | None,
    ending: bytes,
) -> bytes:
    """What the next execution begins with, packed.

    Args:
        command: what this one began with.
        execution: this one, as Temporal knows it.
        history: what the workflow's function has seen, so far as it is no record yet.
        records: what the run has done.
        before: how many records were there when it was resumed.
        places: whose functions the steps are, by their names.
        deadline: when the run is over.
        ending: what it has failed with, packed, if only clean-ups are left to be made; else empty.

    Raises:
        StopRun: it is too large for the cluster.
    """
    records.add(history.with_notes(()))
    carry = Carry(
        execution,
        kept=records.failures(),
        exempt=records.spared(),
        before=before,
        races=records.races(),
    )
    named = {name: (place.module, place.qualname) for name, place in places.items()} if ending else {}
    data = encode(
        msgspec.structs.replace(
            command, carry=carry, timeout=None, deadline=deadline, ending=ending, places=named, not_before=None
        )
    )
    if len(data) > MOST:
        raise StopRun(
            NotStorable(
                f"run {command.id} cannot go on in a new record of the cluster: its inputs, and what it has to know"
                f" of its failures and races, take {len(data):,} bytes; a Temporal cluster stores at most 2 MB at"
                " a time",
                "pass large inputs as where they are, or split the run into child workflows",
            )
        )
    return data


def shortened(packed: bytes, beside: int = 0) -> bytes:
    """A packed error; its class and its message alone, if it is large together with so many bytes beside it."""
    if len(packed) + beside <= LARGEST_FAULT:
        return packed
    fault = capture.decode(packed)
    short = capture.Fault(
        module=fault.module, qualname=fault.qualname, bases=fault.bases, message=fault.message[:100_000]
    )
    return capture.encode(short)
