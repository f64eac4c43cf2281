"""What a run on a cluster publishes, and how far it is: in the memo of the run that people know, which all can read.

A memo is read without the history, by one request, also when the run has ended. Each value has a field of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from temporalio import workflow

from perdure.core.exceptions import capture
from perdure.core.records import NOTED, PROGRESS, RESERVED, AttemptRecord
from perdure.core.redaction.printable import one_line
from perdure.core.run_notes import Remark
from perdure.core.values import codec
from perdure.engines.temporal.awaited_runs import tell
from perdure.engines.temporal.lockstep_thread import LockstepThread
from perdure.engines.temporal.messages import PUBLISH
from perdure.engines.temporal.payloads import Published, decode, encode

FIELD = f"{RESERVED}published:"
"""Of a memo; the name follows."""
MOST = 1_500_000
"""Bytes of all that a run publishes. Temporal refuses memos of 2 MB."""
APART = 1.0
"""Seconds between two notes of how far a run is: each is an event of its record."""


class PublishedValues:
    """The values of one run; all methods but `progress` are called on Temporal's loop.

    Args:
        root: what Temporal knows the run by that people know; None: it is this one.
    """

    def __init__(self, root: str | None) -> None:
        self._root = root
        self._sizes: dict[str, int] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._pending: Published | None = None
        self._last = 0.0

    def put(self, what: Published) -> None:
        """Publish a value, in the place of the one of that name."""
        if self._root is not None:
            task = asyncio.create_task(tell(self._root, PUBLISH, encode(what)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            return
        if self._sizes is None:
            self._sizes = {name: len(data) for name, data in workflow.memo().items() if name.startswith(FIELD)}
        field, data = FIELD + what.name, encode(what)
        if sum(self._sizes.values()) - self._sizes.get(field, 0) + len(data) > MOST:
            line = f"{what.name!r} is not published: all values of a run on a cluster may take {MOST:,} bytes"
            if not workflow.unsafe.is_replaying():
                logging.getLogger("perdure").warning("%s", one_line(line))
            return
        self._sizes[field] = len(data)
        workflow.upsert_memo({field: data})

    def remark(self, run: str, text: str) -> None:
        """Say, and keep, what a person is to know of a run that has ended."""
        fault = capture.encode(capture.to_fault(Remark(text)))
        self.put(Published(f"{NOTED}:{run}", fault, workflow.time()))
        if not workflow.unsafe.is_replaying():
            logging.getLogger("perdure").warning("%s", one_line(text))

    def progress(self, packed: bytes, now: float) -> None:
        """How far the run is; shown a second after the last one at the earliest, and when the run waits or ends."""
        self._pending = Published(PROGRESS, packed, now)

    async def watch(self, thread: LockstepThread) -> None:
        """Show how far the run is, for as long as its function executes."""
        while True:
            await workflow.wait_condition(
                lambda: self._pending is not None and (thread.rests or workflow.time() >= self._last + APART)
            )
            self.show()

    def show(self) -> None:
        """Show how far it is now."""
        if self._pending is not None:
            self._last = workflow.time()
            self.put(self._pending)
            self._pending = None

    async def leave(self) -> None:
        """The run ends."""
        while self._sending:
            await asyncio.gather(*self._sending)


def published_in(memo: Mapping[str, Any]) -> dict[str, Published]:
    """What a run has published, by the fields of its memo."""
    fields = {name: data for name, data in memo.items() if name.startswith(FIELD) and type(data) is bytes}
    return {name.removeprefix(FIELD): decode(data, Published) for name, data in fields.items()}


def remarks_in(published: Mapping[str, Published]) -> tuple[list[AttemptRecord], list[Published]]:
    """The remarks among what was published, as a state file has notes; and the other values."""
    remarks, others = list[AttemptRecord](), list[Published]()
    for one in published.values():
        if one.name.partition(":")[0] != NOTED:
            others.append(one)
            continue
        about = codec.digest(one.name.encode())
        remarks.append(AttemptRecord(0, NOTED, about, 0, 1, False, b"", one.value, one.stamp, 0, 0))
    return remarks, others


def fields_of(published: Mapping[str, Published]) -> dict[str, bytes]:
    """The fields of a memo for these."""
    return {FIELD + name: encode(what) for name, what in published.items()}
