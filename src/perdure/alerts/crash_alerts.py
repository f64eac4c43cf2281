"""What an alert says of a process that has died, or hangs: from what was seen, in words."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perdure.alerts.alert import RECOVERED, Alert, Level
from perdure.core.byte_sizes import size
from perdure.core.durations import show
from perdure.core.exit_causes import CRASHED, ENDED, describe
from perdure.errors import PerdureError
from perdure.store.flight_recorder import Flight, InFlight
from perdure.store.runs import Store

SHOWN = 3
"""Steps in flight that are named."""

SURE = ("cgroup", "kernel log")


class About(msgspec.Struct):
    """A run: its id, its workflow, and whom to tell."""

    run: str
    workflow: str
    targets: tuple[str, ...]


class How(msgspec.Struct):
    """How a run was stopped, or what the process said last (`alerts.watchdog.Stop`)."""

    kind: str
    text: str = ""
    code: int | str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class Hello(msgspec.Struct):
    """Where the process kept its things, and whether Ctrl-C is to be told of."""

    state: str = ""
    flight: str = ""
    interrupts: bool = False


class Seen(msgspec.Struct):
    """What was seen. Times in seconds since the epoch, lengths in seconds, memory in bytes.

    `kind` is "death", "stopped", "stall", "deadline", "moving" or "tell"; `held` whether whoever saw it has the lock of
    the flight record.
    """

    kind: str
    hello: Hello
    runs: list[About] = []
    pid: int = 0
    held: int = 0
    stop: How | None = None
    bye: How | None = None
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
        last = self.stop or self.bye
        return self.cause == "SIGINT" or (last is not None and last.kind == "KeyboardInterrupt")


class Said(msgspec.Struct, frozen=True):
    """What happened, in the words of an alert."""

    what: str
    error: str
    level: Level = "error"
    code: str = ""


def put(seen: Seen) -> Said:
    """What happened, in the words of an alert."""
    if seen.interrupted:
        return Said("interrupted", ENDED["SIGINT"], "info")
    match seen.kind:
        case "stall":
            return Said("hung", f"no step has finished for {show(seen.seconds)}")
        case "deadline":
            return Said("hung", f"it has run for {show(seen.seconds)}, and its deadline has passed")
        case "moving":
            return Said(RECOVERED, "steps finish again", "info")
    how = seen.stop or seen.bye
    if how is not None and how.kind == "SystemExit":
        text = f"sys.exit({how.code}) in the middle of the run"
        return Said("stopped", f"{text}: {how.text}" if how.text else text, "error" if how.code else "warning")
    if how is not None:
        return Said("failed" if isinstance(how.code, str) else "stopped", str(how), code=str(how.code or ""))
    if seen.cause.startswith("exit "):
        return Said("stopped", describe(seen.cause))
    if seen.cause == "oom":
        return Said("killed", describe("oom", sure=seen.evidence in SURE), code="out-of-memory")
    if seen.cause in CRASHED:
        return Said("crashed", describe(seen.cause))
    return Said("killed", describe(seen.cause))


def alerts(seen: Seen, record: Flight | None) -> list[tuple[Alert, tuple[str, ...]]]:
    """One alert, and whom to tell, for each workflow, of which a service may have run a thousand at once."""
    groups: dict[tuple[str, tuple[str, ...]], list[About]] = {}
    for about in seen.runs:
        groups.setdefault((about.workflow, about.targets), []).append(about)
    said = put(seen)
    return [
        (_alert(seen, said, group, record), targets) for (_, targets), group in groups.items()
    ]  # fmt: skip


def _alert(seen: Seen, said: Said, group: Sequence[About], record: Flight | None) -> Alert:
    first = group[0]
    calls = [] if record is None else _calls(record, group)
    now = seen.died or (record.seen if record is not None else 0.0)
    more = "" if len(group) == 1 else f"and {len(group) - 1:,} more runs of it"
    notes = [more, *_flying(calls, now, record), _memory(seen, record)]
    only = calls[0] if len(calls) == 1 else None
    hung = said.what in ("hung", RECOVERED)
    run, where = shlex.quote(first.run), f" --state {shlex.quote(seen.hello.state)}"
    commands = [("see more", f"perdure show {run}{where}")]
    if not hung:
        commands.append(("go on", f"perdure resume {run}{where}"))
    return Alert(
        what=said.what,
        level=said.level,
        workflow=first.workflow,
        run=first.run,
        step=only.name if only else "",
        attempt=only.attempt if only else 0,
        error=said.error,
        code=said.code,
        saved=_saved(Path(seen.hello.state), first.run),
        notes=tuple(note for note in notes if note),
        commands=tuple(commands),
        pid=seen.pid,
        key=f"hung\n{first.workflow}\n{first.run}" if hung else "",
        id=_id(seen, first, record),
        time=seen.died or time.time(),
    )


def _id(seen: Seen, first: About, record: Flight | None) -> str:
    """Unlike that of every other alert, and the same should this death be told of again."""
    parts = [seen.kind, first.run, first.workflow, *first.targets, f"{seen.seconds}"]
    parts.append(record.token if record is not None else f"{seen.pid} {seen.died}")
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _calls(record: Flight, group: Sequence[About]) -> list[InFlight]:
    """The attempts in flight of these runs and of their child runs, whose ids begin with theirs."""
    ids = tuple(about.run for about in group)
    begun = tuple(f"{id}." for id in ids)
    return [call for call in record.calls if call.run in ids or call.run.startswith(begun)]


def _flying(calls: Sequence[InFlight], now: float, record: Flight | None) -> list[str]:
    lines = [f"in flight: {call.name}, attempt {call.attempt}, for {_since(call, now)}" for call in calls[:SHOWN]]
    more = len(calls) - len(lines) + (record.more if record is not None else 0)
    return [*lines, f"and {more:,} more in flight"] if more else lines


def _since(call: InFlight, now: float) -> str:
    return show(max(now - call.started, 0.0)) if now else "an unknown time"


def _memory(seen: Seen, record: Flight | None) -> str:
    most = seen.memory or (record.memory if record is not None else 0)
    if not most:
        return ""
    return f"memory: up to {size(most)}" + (f" of {size(seen.limit)}" if seen.limit else "")


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
