"""The worker's side of a step that only the process of the workflow can make: all its attempts, and what it reaches."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Awaitable, Callable
from random import random
from time import time
from typing import Any

from perdure.core.exceptions import attempt_notes, capture
from perdure.core.execution.attempts import Judged, Series
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.core.policies.retry import Again
from perdure.core.policies.verdicts import pack_verdict
from perdure.core.signal_links import Link, sign
from perdure.core.signal_size import refuse_large
from perdure.engines.events import Observer, RetryScheduled
from perdure.engines.interface import Enqueued
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.temporal.connection import Cluster, engine_option
from perdure.engines.temporal.in_place import PlacedCall, calls, noted_as
from perdure.engines.temporal.payloads import Progress, Published, Ran, encode
from perdure.engines.temporal.run_start import RunStarter
from perdure.engines.temporal.step_side import StepSide
from perdure.store.link_keys import common_keys

LONGEST_NOTE = 2_000
"""Characters of what an attempt said."""

Attempt = Callable[[Any, int, Any, float | None, contextvars.Context], Awaitable[tuple[Outcome, bytes | None]]]


class RunSide(StepSide):
    """What such a call reaches of its run: also the run that people know, and what links are made with.

    `root` is the id of that run.
    """

    def __init__(self, placed: PlacedCall, observer: Observer | None, cluster: Cluster) -> None:
        super().__init__(placed.run, placed.root.workflow, Progress(), observer, cluster, placed.root.workflow_id)
        self.root = placed.root.id
        self.published: Published | None = None

    def now(self) -> float:
        """The time of day, in seconds since the epoch."""
        return time()

    def publish(self, name: str, value: bytes, *, soon: bool = False) -> None:
        """Show a value of the run; the workflow does it when the call has ended."""
        refuse_large(f"the value published as {name!r}", value)
        self.published = Published(name, value, time())

    def enqueue(self, call: Call, how: Enqueued) -> str:
        """Start a run that stands by itself; its id."""
        return self._cluster.wait(RunStarter(self._cluster, RealWorld(), set()).enqueue(call, how))

    def option(self, script: str) -> str:
        """What is to be added to a command so that it finds the run."""
        return engine_option(self._cluster.url, script)

    def sign(self, link: Link) -> str:
        """The token of a link.

        Raises:
            OptionError: there is no key that all machines know.
        """
        (key, *_) = common_keys(make=True)
        return sign(link, key)


async def make(number: int, attempt: Attempt, observer: Observer | None, cluster: Cluster) -> bytes:
    """Make the call of that number: the note about how it ended.

    Args:
        number: of the call, in this process.
        attempt: makes one attempt of it.
        observer: is notified of what happens, if there is one.
        cluster: where its run is.
    """
    placed = calls[number]
    call = placed.call
    side = RunSide(placed, observer, cluster)
    series = Series(0, 0, None, [])
    tried: list[attempt_notes.AttemptNote] = []
    error: Exception | None = None
    for made in itertools.count(1):
        outcome, packed = await attempt(call, made, side, None, placed.context.copy())
        if packed is not None:
            ran = Ran(True, packed, made, outcome.started, outcome.seconds, tried)
            return encode(noted_as(call, ran, side.published))
        error = outcome.error
        assert error is not None
        spec = call.spec
        judged = series.judge(spec.retry, spec.owner, made, error, outcome, random, spec.failures())
        tried.append(note_of(judged, outcome))
        if not isinstance(judged.decision, Again):
            break
        if observer is not None:
            observer.notify(RetryScheduled(side.id, side.workflow, call, made, judged.decision.delay, error))
        await asyncio.sleep(judged.decision.delay)
    assert error is not None
    fault = capture.encode(capture.to_fault(error))
    return encode(noted_as(call, Ran(False, fault, made, outcome.started, outcome.seconds, tried)))


def note_of(judged: Judged, outcome: Outcome) -> attempt_notes.AttemptNote:
    """What is remembered of an attempt that failed."""
    fault, verdict = judged.fault, pack_verdict(judged.assessment)
    times = (outcome.started, outcome.seconds)
    return attempt_notes.AttemptNote(fault.name, fault.message[:LONGEST_NOTE], verdict, *times)
