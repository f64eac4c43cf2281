"""The queues of a state file, as a person sees and changes them: `perdure queue`, and where a queued run stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from shlex import quote
from typing import TypeVar

import msgspec

from perdure.core.durations import show
from perdure.core.execution.queueing import DEFAULT
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.location import Location, opened, opened_for_change
from perdure.store import bell, queue_listing, runs_on_hold
from perdure.store.runs import Store

T = TypeVar("T")


class QueueView(msgspec.Struct, frozen=True):
    """A queue.

    Attributes:
        name: its name.
        waiting: runs that may begin as soon as it is their turn.
        delayed: runs whose time has not come.
        executing: runs that living processes execute.
        concurrency: runs at a time; None: no limit.
        per_key: runs of one key at a time; None: no limit.
        rate: how fast runs begin; None: no limit.
        paused: no run of it begins.
        damaged: its row is not as it was written: limits and pause are not known.
    """

    name: str
    waiting: int
    delayed: int
    executing: int
    concurrency: int | None
    per_key: int | None
    rate: str | None
    paused: bool
    damaged: bool = False


def list_queues(location: Location) -> list[QueueView]:
    """All queues that were declared or paused, or have runs, by name.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no state file.
        StateError: it cannot be read.
    """
    location.require(Feature.QUEUE_LIMITS, asked="perdure queue")
    with opened(location) as store:
        found = queue_listing.all_queues(store)
    views = []
    for name, (row, counts) in found.items():
        limited = row is not None and row.rate is not None and row.seconds is not None
        rate = f"{row.rate} in {show(row.seconds)}" if limited else None  # type: ignore[union-attr, arg-type]
        concurrency, per_key = (None, None) if row is None else (row.concurrency, row.per_key)
        paused = row is not None and bool(row.paused)
        views.append(
            QueueView(
                name,
                counts.waiting,
                counts.delayed,
                counts.executing,
                concurrency,
                per_key,
                rate,
                paused,
                counts.damaged,
            )
        )
    return views


def set_paused(location: Location, name: str, paused: bool) -> bool:
    """Let no run of a queue begin, or let them begin again; returns whether that was otherwise before.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no state file, or no such queue.
        StateError: it cannot be used.
    """
    return _change(location, name, lambda store: queue_listing.set_paused(store, name, paused))


def drain(location: Location, name: str) -> int:
    """Cancel the runs that wait in a queue; returns how many those were.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no state file, or no such queue.
        StateError: it cannot be used.
    """
    return _change(location, name, lambda store: len(queue_listing.drain(store, name, time.time)))


def _change(location: Location, name: str, act: Callable[[Store], T]) -> T:
    """Change a queue, and wake who waits for that."""
    location.require(Feature.QUEUE_LIMITS, asked="perdure queue")
    with opened_for_change(location) as store:
        _check(store, name)
        done = act(store)
    bell.ring(location.path)
    return done


def _check(store: Store, name: str) -> None:
    known = queue_listing.all_queues(store)
    if name not in known and name != DEFAULT:  # which there is before a run stands in it
        hint = f"name one of: {', '.join(known)}" if known else "see `perdure queue ls`: there is none"
        raise NotFound(f"there is no queue {name!r} in {store.path}", hint)


class Standing(msgspec.Struct, frozen=True):
    """Where a queued run stands.

    Attributes:
        queue: the name of its queue.
        before: so many runs come before it; 1,000 stands for as many or more.
        why: what keeps it from beginning, besides those: "slots", "key", "rate", "paused", "time", "after",
            "hold", or "".
        line: all that in a line.
        until: before when it does not begin.
    """

    queue: str
    before: int
    why: str
    line: str
    until: datetime | None = None


def place_in_queue(store: Store, run: RunRecord, now: float) -> Standing:
    """Where a queued run stands.

    Args:
        store: the state file.
        run: with the status "queued".
        now: in seconds since the epoch.

    Raises:
        StateError: the file cannot be read.
    """
    place = queue_listing.place_of(store, run, now)
    until = None if run.wake is None else datetime.fromtimestamp(run.wake).astimezone()
    many = place.before >= queue_listing.MOST_BEFORE
    number = f"behind {place.before:,} others or more" if many else _ordinal(place.before + 1)
    match place.why:
        case "time":
            line = f"queue {place.queue}, not before {'' if until is None else until.strftime('%Y-%m-%d %H:%M:%S %Z')}"
        case "after":
            line = f"queue {place.queue}, when the runs of its schedule before it have ended"
        case "hold":
            line = f"queue {place.queue}, on hold: {runs_on_hold.reason_of(run.hold)}"
        case "slots":
            taken = f"all {place.limit} slots are taken" if place.limit != 1 else "its slot is taken"
            line = f"queue {place.queue}, {number}; {taken}"
        case "key":
            line = f"queue {place.queue}, {number}; key {run.queue_key} is busy"
        case "rate":
            line = f"queue {place.queue}, {number}; its rate lets none begin now"
        case "paused":
            line = f"queue {place.queue}, {number}; paused"
        case _ if not store.counts_queues:
            line = f"queue {place.queue}, no worker has taken it yet"
        case _:
            line = f"queue {place.queue}, {number}"
    return Standing(place.queue, place.before, place.why, line, until)


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def way_on(standing: Standing, option: str) -> tuple[str, str] | None:
    """What a command is for that lets a queued run begin, and the command; None if it begins by itself."""
    if standing.why == "paused":
        return "let the runs of the queue begin", f"perdure queue resume {quote(standing.queue)}{option}"
    return None
