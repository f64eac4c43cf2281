"""What the process that has a run is doing, or was doing when it died; and which calls crashes speak against."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import TypeVar

import msgspec

from perdure.config import secrets, settings
from perdure.core import exit_causes
from perdure.core.execution.crash_loop import blames, fitted
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.store import crashes, deaths, flight_record, listing
from perdure.store.flight_record import CallWaits, Flight, InFlight
from perdure.store.liveness import seems_alive
from perdure.store.runs import Store

Identity = tuple[str, bytes, int]
C = TypeVar("C", InFlight, CallWaits)

INPUTS = 80
"""Characters."""


class CallInFlight(msgspec.Struct, frozen=True):
    """An attempt that is in flight, or was: of a step of `run` (the run itself, or a child run of it).

    `key` (hexadecimal) and `n`, with the name, identify the call. `inputs` are known of a call only once an attempt of
    it has failed, and empty until then. `seconds` is how long it has been going on; of a dead process, until it died,
    or None if no watchdog saw it. `label` is the map's key of the item; `done`, `total` and `note` what the attempt has
    said of how far it is (`perdure.progress`); `done` is None if it has said nothing.
    """

    run: str
    step: str
    key: str
    n: int
    inputs: str
    attempt: int
    since: datetime | None
    seconds: float | None
    label: str = ""
    done: float | None = None
    total: float | None = None
    note: str = ""


class WaitingCall(msgspec.Struct, frozen=True):
    """A call that waits in its process before attempt `attempt`, which is made at `until` (None: when it is let).

    `reason` says for what: a breaker, its turn, a lock; "its next attempt" between two. `step` is empty if the run
    itself waits. `seconds` are left until then. The other attributes are those of CallInFlight.
    """

    run: str
    step: str
    key: str
    n: int
    inputs: str
    label: str
    attempt: int
    since: datetime | None
    until: datetime | None
    seconds: float | None
    reason: str


NEXT = "its next attempt"


ELSEWHERE = "elsewhere"
"""In the place of a cause of death: the process lives, but not as one that uses this file."""


class ProcessView(msgspec.Struct, frozen=True):
    """The process that has a run.

    `alive` or not, and then `ended` (when it was last heard of), `cause` (a word, such as "SIGKILL") and `how` (the
    same for people); `watched`: a watchdog process watches it, or did. `memory` is the most that it was seen to use,
    in bytes; 0 if that was not measured. `in_flight` are the attempts in flight, oldest first, `more` how many the
    flight record had no place for. `waiting` are the calls that wait, the one that has waited longest first.
    """

    pid: int
    host: str
    alive: bool
    since: datetime | None
    ended: datetime | None
    watched: bool
    cause: str
    how: str
    memory: int
    in_flight: list[CallInFlight]
    more: int
    waiting: list[WaitingCall] = []


class Suspect(msgspec.Struct, frozen=True):
    """A call that was in flight when processes died: at how many `crashes` in a row, the last one `last` by `cause`.

    At `limit` crashes it is not tried again, at more if the process executed other runs too; `given_up` says whether
    that has come.
    """

    step: str
    inputs: str
    attempt: int
    crashes: int
    limit: int
    last: datetime | None
    cause: str
    given_up: bool


def process_of(store: Store, run: RunRecord) -> ProcessView | None:
    """The process that has an unfinished run, or had it when it died; None if no process has it.

    Raises:
        StateError: the file cannot be read.
    """
    holder = _holder(store, run)
    if holder is None:
        return None
    alive = seems_alive(store.path, holder.token)
    record = flight_record.read(flight_record.record_of(store.path, holder.token))
    if record is not None and not alive:
        record = crashes.settled(record)
    return _alive(store, run, holder, record) if alive else _dead(store, run, holder, record)


def suspects_of(store: Store, run: RunRecord) -> list[Suspect]:
    """The calls that crashes speak against, with the crash that is not counted yet.

    Raises:
        StateError: the file cannot be read.
    """
    known = crashes.list_of(store, run.rid)
    holder = _holder(store, run)
    if holder is not None and not seems_alive(store.path, holder.token):
        record = flight_record.read(flight_record.record_of(store.path, holder.token))
        if record is not None and not deaths.is_asked(record.cause):
            counted = {one.died for one in known}
            mine = [call for call in record.calls if call.run == fitted(run.id) and record.seen not in counted]
            others = crashes.others_beside(store, run.rid) if mine else 0
            known += [
                crashes.Crash(one.name, one.key, one.n, one.attempt, one.started, record.seen, record.cause, others)
                for one in mine
            ]
    if not known:
        return []
    found: dict[Identity, list[crashes.Crash]] = {}
    for one in known:
        found.setdefault((one.name, one.key, one.n), []).append(one)
    given, limit = _inputs(store, run, set(found)), settings.crash_limit(run.path)
    return [
        Suspect(
            identity[0],
            given.get(identity, ""),
            died[-1].attempt,
            len(died),
            limit,
            moment(died[-1].died),
            died[-1].cause or "unseen",
            blames([one.line() for one in died], limit),
        )
        for identity, died in found.items()
    ]


def _holder(store: Store, run: RunRecord) -> HolderInfo | None:
    return listing.holder_of(store, run) if run.status == "running" else None


def _alive(store: Store, run: RunRecord, holder: HolderInfo, record: Flight | None) -> ProcessView:
    from perdure.alerts.watchdog.exit_cause import high_water

    here = holder.host == gethostname()
    memory = max(record.memory if record else 0, high_water(holder.pid) if here else 0)
    return ProcessView(
        pid=holder.pid,
        host=holder.host,
        alive=True,
        since=moment(max(run.started, holder.started)),
        ended=None,
        watched=record is not None and flight_record.is_watched(record.path),
        cause="",
        how="",
        memory=memory,
        in_flight=_calls_in_flight(store, run, record.calls if record else (), time.time()),
        more=record.more if record else 0,
        waiting=_waiting_calls(store, run, record.waiting if record else (), time.time()),
    )


def _dead(store: Store, run: RunRecord, holder: HolderInfo, record: Flight | None) -> ProcessView:
    here = flight_record.boot_id()
    watched = record is not None and (record.watched or bool(record.cause))
    cause = "unseen" if record is None else record.cause
    if record is not None and not cause:
        went_down = any(here) and any(record.boot) and record.boot != here
        cause = "restart" if went_down else "unseen"
    how = exit_causes.describe(cause, sure=False)
    if holder.host == gethostname() and (began := _began(holder.pid)) is not None and began < holder.started + 1:
        cause, how = (
            ELSEWHERE,
            "it lives, and has no lock beside this file, which may be a copy of the one that it uses",
        )
    return ProcessView(
        pid=holder.pid,
        host=holder.host,
        alive=False,
        since=moment(max(run.started, holder.started)),
        ended=moment(record.seen) if record else None,
        watched=watched,
        cause=cause,
        how=how,
        memory=record.memory if record else 0,
        in_flight=_calls_in_flight(
            store, run, record.calls if record else (), record.seen if record and watched else None
        ),
        more=record.more if record else 0,
    )


def _began(pid: int) -> float | None:
    """When the process of that number has begun, in seconds since the epoch; None if there is none that lives."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        lines = Path("/proc/stat").read_text().splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        ended = status[0] in "ZX" or pid == os.getpid()
        return None if ended else booted + int(status[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _calls_in_flight(store: Store, run: RunRecord, calls: Sequence[InFlight], now: float | None) -> list[CallInFlight]:
    return [
        CallInFlight(
            run=call.run,
            step=call.name,
            key=call.key.hex(),
            n=call.n,
            inputs=given,
            attempt=call.attempt,
            since=moment(call.started),
            seconds=None if now is None else max(now - call.started, 0.0),
            label=secrets.conceal(call.label) if call.label else "",
            done=call.done if call.done or call.total or call.note else None,
            total=call.total or None,
            note=call.note,
        )
        for call, given in _of_run(store, run, calls)
    ]


def _waiting_calls(store: Store, run: RunRecord, calls: Sequence[CallWaits], now: float) -> list[WaitingCall]:
    return [
        WaitingCall(
            run=call.run,
            step=call.name,
            key=call.key.hex(),
            n=call.n,
            inputs=given,
            label=secrets.conceal(call.label) if call.label else "",
            attempt=call.attempt,
            since=moment(call.since),
            until=moment(call.until) if call.until else None,
            seconds=max(call.until - now, 0.0) if call.until else None,
            reason=call.reason or NEXT,
        )
        for call, given in _of_run(store, run, calls)
    ]


def _of_run(store: Store, run: RunRecord, calls: Sequence[C]) -> list[tuple[C, str]]:
    """Those of the calls that are of the run or of a child run of it, each with its inputs as far as they are known."""
    id = fitted(run.id)
    mine = [call for call in calls if call.run == id or call.run.startswith(f"{run.id}.")]
    given = _inputs(store, run, {(call.name, call.key, call.n) for call in mine}) if mine else {}
    return [(call, given.get((call.name, call.key, call.n), "") if call.run == id else "") for call in mine]


def _inputs(store: Store, run: RunRecord, calls: Collection[Identity]) -> Mapping[Identity, str]:
    """The inputs of those of the calls of which an attempt has failed."""
    found = {(fitted(one.name), one.key, one.n): one.input for one in store.attempt_records(run.rid)}
    return {call: secrets.describe_inputs(found[call], INPUTS) for call in calls if call in found}
