"""Crash alerts: what an alert says of a process that has died or hangs, from what the watchdog observed."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perdure.alerts.alert import RECOVERED, Alert, Level
from perdure.alerts.watchdog.client import LastException
from perdure.config.page_links import page_way
from perdure.core.durations import show
from perdure.core.exit_causes import CRASHED, ENDED, describe
from perdure.core.sizes import show_size
from perdure.errors import PerdureError
from perdure.store.flight_record import Flight, InFlight
from perdure.store.runs import Store

SHOWN = 3
"""Steps in flight that are named."""

PROVEN = ("cgroup", "kernel log")
"""Evidence that it was this process which the kernel killed for want of memory."""


class WatchedRun(msgspec.Struct):
    """A run: its id, its workflow, and the addresses that its alerts go to."""

    run: str
    workflow: str
    targets: tuple[str, ...]


class Hello(msgspec.Struct):
    """Where the process keeps its state file and flight record, and whether Ctrl-C is alerted."""

    state: str = ""
    flight: str = ""
    interrupts: bool = False


class Observation(msgspec.Struct):
    """What was observed. Times in seconds since the epoch, durations in seconds, memory in bytes.

    `kind` is "death", "stopped", "stall", "deadline", "moving" or "deliver"; `held` whether the process that observed
    it has the lock of the flight record; `stop` the exception that stopped one run, `last_exception` the one that ended
    the process.
    """

    kind: str
    hello: Hello
    runs: list[WatchedRun] = []
    pid: int = 0
    held: int = 0
    stop: LastException | None = None
    last_exception: LastException | None = None
    cause: str = ""
    evidence: str = ""
    limit: int = 0
    memory: int = 0
    died: float = 0.0
    seconds: float = 0.0
    message: dict[str, tuple[str, ...]] = {}

    @property
    def interrupted(self) -> bool:
        """Was it Ctrl-C?"""
        last = self.stop or self.last_exception
        return self.cause == "SIGINT" or (last is not None and last.kind == "KeyboardInterrupt")


class Description(msgspec.Struct, frozen=True):
    """What happened, as the fields of an alert."""

    what: str
    error: str
    level: Level = "error"
    code: str = ""


def describe_observation(seen: Observation) -> Description:
    """What happened, as the fields of an alert."""
    if seen.interrupted:
        return Description("interrupted", ENDED["SIGINT"], "info")
    match seen.kind:
        case "stall":
            return Description("hung", f"no step has finished for {show(seen.seconds)}")
        case "deadline":
            return Description("hung", f"it has run for {show(seen.seconds)}, and its deadline has passed")
        case "moving":
            return Description(RECOVERED, "steps finish again", "info")
    last = seen.stop or seen.last_exception
    if last is not None and last.kind == "SystemExit":
        text = f"sys.exit({last.code}) in the middle of the run"
        return Description(
            "stopped", f"{text}: {last.text}" if last.text else text, "error" if last.code else "warning"
        )
    if last is not None:
        return Description("failed" if isinstance(last.code, str) else "stopped", str(last), code=str(last.code or ""))
    if seen.cause.startswith("exit "):
        return Description("stopped", describe(seen.cause))
    if seen.cause == "oom":
        return Description("killed", describe("oom", sure=seen.evidence in PROVEN), code="out-of-memory")
    return Description("crashed" if seen.cause in CRASHED else "killed", describe(seen.cause))


def alerts_for(seen: Observation, record: Flight | None) -> list[tuple[Alert, tuple[str, ...]]]:
    """One alert, and the addresses it goes to, for each workflow: a service may run a thousand runs of one at once.

    Args:
        seen: what was observed.
        record: the flight record of the process, if there is one.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[WatchedRun]] = {}
    for run in seen.runs:
        groups.setdefault((run.workflow, run.targets), []).append(run)
    description = describe_observation(seen)
    return [(_alert(seen, description, group, record), targets) for (_, targets), group in groups.items()]


def _alert(seen: Observation, description: Description, group: Sequence[WatchedRun], record: Flight | None) -> Alert:
    first = group[0]
    calls = [] if record is None else _calls(record, group)
    now = seen.died or (record.seen if record is not None else 0.0)
    more = "" if len(group) == 1 else f"and {len(group) - 1:,} more runs of it"
    last = seen.stop or seen.last_exception
    way_out = f"what to do: {last.hint}" if last is not None and last.hint else ""
    notes = [more, way_out, *_in_flight(calls, now, record), _memory(seen, record)]
    only = calls[0] if len(calls) == 1 else None
    hung = description.what in ("hung", RECOVERED)
    run, where = shlex.quote(first.run), f" --state {shlex.quote(seen.hello.state)}"
    commands = [("see more", f"perdure show {run}{where}")]
    if not hung:
        commands.append(("go on", f"perdure resume {run}{where}"))
    return Alert(
        what=description.what,
        level=description.level,
        workflow=first.workflow,
        run=first.run,
        step=only.name if only else "",
        attempt=only.attempt if only else 0,
        error=description.error,
        code=description.code,
        saved=_saved(Path(seen.hello.state), first.run),
        notes=tuple(note for note in notes if note),
        commands=(*commands, *page_way(first.run)),
        pid=seen.pid,
        key=f"hung\n{first.workflow}\n{first.run}" if hung else "",
        id=_id(seen, first, record),
        time=seen.died or time.time(),
    )


def _id(seen: Observation, first: WatchedRun, record: Flight | None) -> str:
    """Unlike that of every other alert, and the same if this death is reported again."""
    parts = [seen.kind, first.run, first.workflow, *first.targets, f"{seen.seconds}"]
    parts.append(record.token if record is not None else f"{seen.pid} {seen.died}")
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _calls(record: Flight, group: Sequence[WatchedRun]) -> list[InFlight]:
    """The attempts in flight of these runs and of their child runs, whose ids begin with theirs."""
    ids = tuple(each.run for each in group)
    prefixes = tuple(f"{id}." for id in ids)
    return [call for call in record.calls if call.run in ids or call.run.startswith(prefixes)]


def _in_flight(calls: Sequence[InFlight], now: float, record: Flight | None) -> list[str]:
    lines = [f"in flight: {call.name}, attempt {call.attempt}, for {_since(call, now)}" for call in calls[:SHOWN]]
    more = len(calls) - len(lines) + (record.more if record is not None else 0)
    return [*lines, f"and {more:,} more in flight"] if more else lines


def _since(call: InFlight, now: float) -> str:
    return show(max(now - call.started, 0.0)) if now else "an unknown time"


def _memory(seen: Observation, record: Flight | None) -> str:
    most = seen.memory or (record.memory if record is not None else 0)
    if not most:  # it died before the first look at it
        return f"memory: a limit of {show_size(seen.limit)}" if seen.limit else ""
    return f"memory: up to {show_size(most)}" + (f" of {show_size(seen.limit)}" if seen.limit else "")


def _saved(state: Path, run: str) -> int | None:
    """How many steps of a run are saved, if the state file can be read at this moment."""
    try:
        store = Store(state, read_only=True)
        try:
            return sum(store.counts(store.run(run).rid).values())
        finally:
            store.close()
    except (PerdureError, OSError):
        return None
