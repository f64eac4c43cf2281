"""Crashes, as far as they speak against a step: which calls were in flight at how many deaths in a row.

A row of the crash table says that a call was in flight when a process died. It goes when the call comes to an end, well
or badly: then it is not what kills processes. A row under the name BETWEEN says that a process died while it executed
the run, in a step or in none, how far the run had come (`n`), and how many other runs it executed (`attempt`): it
counts until there is a new record. What is counted is what may be the program's doing; a process that was ended with
SIGTERM, say at a deploy, speaks against nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import apsw
import msgspec

from perdure.config.os_errors import remove
from perdure.core.durations import show
from perdure.core.execution.crash_loop import Crashes, CrashLine, fitted
from perdure.core.execution.spec import Call
from perdure.core.records import BETWEEN, is_time
from perdure.store import flight_record
from perdure.store.flight_record import Flight
from perdure.store.group_commit import Operation
from perdure.store.liveness import file_token, locks_of, seems_alive
from perdure.store.rows import corrupt, sound
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("crashes.sql")

KEPT = 100
"""Records of runs that are as a crash left them; a start looks at no more."""

PATIENCE = 0.5
LOOK = 0.01
"""Seconds. A watchdog process that is about to say how the process died is waited for that long."""


class Crash(msgspec.Struct, frozen=True):
    """A call that was in flight when a process died, which executed so many `others` runs.

    Times in seconds since the epoch.
    """

    name: str
    key: bytes
    n: int
    attempt: int
    started: float
    died: float
    cause: str
    others: int

    def line(self, more: str = "") -> CrashLine:
        """As the core takes it; `more` ends what is said about it."""
        how = self.cause or "the cause is not known"
        if self.others:
            how += f"; it executed {self.others} other {'run' if self.others == 1 else 'runs'} too"
        text = f"its process died at {_moment(self.died)} ({how}){more}"
        return CrashLine(text, max(self.died - self.started, 0.0), self.others)


class Left(msgspec.Struct, frozen=True):
    """A run that a dead process has left in its middle: whose it was, and the run.

    `gone`: the process was found dead before.
    """

    token: str
    pid: int
    host: str
    started: float
    run: str
    workflow: str
    script: str
    gone: bool = False


def collect(store: Store) -> list[Flight]:
    """Write down which calls were in flight when processes died, and clear away what is not needed any more.

    To be called before this process takes its first run: what is left of a run goes by who held it last. May be called
    any number of times, by any number of processes. A record stays while its run is as the crash left it (for `show`
    and `why`; of many the newest), and while its watchdog process is about to report it.

    Returns:
        The records of dead processes, oldest first.

    Raises:
        StateError: the state file could not be written.
    """
    gone = flight_record.dead(flight_record.folder_of(store.path), locks_of(store.path))
    found = [settled(one) for one in gone]
    if found:
        _say_unknown(store, found)
        _count(store, found)
    holders = dict(_all(store, "holders"))
    explaining = []
    for one in found:
        if not one.reported and flight_record.is_watched(one.path):
            continue
        if one.token in holders:
            explaining.append(one)
        else:
            remove(one.path)
    _expire(store, explaining[:-KEPT], holders)
    return found


def _say_unknown(store: Store, found: list[Flight]) -> None:
    from perdure.store.lost_journal import unknown_to

    lines = store.journal.read(lambda connection: unknown_to(connection, found))
    if lines:
        import logging

        from perdure.core.redaction.printable import one_line

        for line in lines:
            logging.getLogger("perdure").warning("%s", one_line(line))


def _count(store: Store, found: Sequence[Flight]) -> None:
    from perdure.store import deaths, sessions

    left = store.journal.read(lambda at: sessions.is_open(at, [one.token for one in found]))
    died = [one for one in found if one.calls or not deaths.is_asked(one.cause) or one.token in left]
    if died:
        store.journal.write((), lambda connection: deaths.count(connection, died))


def _expire(store: Store, old: Sequence[Flight], holders: dict[str, int]) -> None:
    """Remove records of runs that nobody has gone on with; what speaks against their calls is written down already."""
    if not old:
        return

    def operation(connection: apsw.Connection) -> None:
        for one in old:
            store.holder.bury(connection, holders[one.token])  # so that its death is not reported once more

    store.journal.write((), operation)
    for one in old:
        remove(one.path)


def settled(one: Flight) -> Flight:
    """The record once its watchdog process has said how the process died, if one is about to."""
    for _ in range(int(PATIENCE / LOOK)):
        if one.cause or not flight_record.is_watched(one.path):
            break
        time.sleep(LOOK)
        one = flight_record.read(one.path) or one
    return one


def crashes_of(store: Store, rid: int) -> Crashes:
    """At which crashes in a row each call of a run was in flight; for `core.crashes.against`."""
    found: Crashes = {}
    for crash in list_of(store, rid):
        call = crash.name, crash.key, crash.n
        into = f", {show(max(crash.died - crash.started, 0.0))} into attempt {crash.attempt}"
        found[call] = (*found.get(call, ()), crash.line(into))
    return found


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def deaths_of(store: Store, rid: int) -> tuple[CrashLine, ...]:
    """The deaths of a run since its last new record, a line each; for `core.execution.crash_loop.stuck`.

    Raises:
        StateCorrupt: what the file says of one is not what was written.
    """
    rows = [one for one in _read(store, rid) if one.name == BETWEEN]
    if not rows:
        return ()
    progress = _all(store, "progress", rid)[0][0]
    return tuple(one.line() for one in rows if one.n == progress)


def list_of(store: Store, rid: int) -> list[Crash]:
    """Every crash that still speaks against a call of a run, oldest first.

    Raises:
        StateCorrupt: what the file says of one is not what was written.
    """
    return [one for one in _read(store, rid) if one.name != BETWEEN]


def _read(store: Store, rid: int) -> list[Crash]:
    """Every crash of a run, oldest first.

    Raises:
        StateCorrupt: what the file says of one is not what was written.
    """
    rows = _all(store, "list", rid)
    if not rows:
        return []
    company = _all(store, "company", rid)
    if not all(sound(row) and is_time(row[6]) and is_time(row[7]) for row in (*rows, *company)):
        raise corrupt(store.path)
    others = {token: count for *_, token, count, _, _, _, _ in company}
    return [
        Crash(name, key, n, attempt, started, died, cause, max(others.get(token, 0), 0))
        for _, name, key, n, token, attempt, started, died, cause, _ in rows
    ]


def others_beside(store: Store, rid: int) -> int:
    """How many other runs are held by the process that holds the run."""
    found: int = _all(store, "beside", rid)[0][0]
    return max(found, 0)


def deaths_in_a_row(store: Store, rid: int) -> int:
    """At how many deaths in a row a run was executed that has not come further since, or one call of it in flight.

    Raises:
        StateError: the file cannot be read.
    """
    return max([len(deaths_of(store, rid)), *map(len, crashes_of(store, rid).values())])


def forget(rid: int, call: Call) -> Operation:
    """An operation that forgets the crashes of a call: it has come to an end. Only needed if there were any."""
    row = (rid, fitted(call.spec.name), call.key, call.n)
    return lambda connection: connection.execute(_SQL["forget"], row) and None


def left(store: Store) -> list[Left]:
    """The runs (no child runs) that dead processes have left in their middle."""
    found = _running(store)
    held = {token: seems_alive(store.path, token) for token in {one.token for one in found}}
    dead = [one for one in found if not held[one.token]]
    # A process may have ended its run, and then itself, between the two looks.
    still = {(one.token, one.run) for one in _running(store)} if dead else ()
    return [one for one in dead if (one.token, one.run) in still]


def _running(store: Store) -> list[Left]:
    return [Left(file_token(token), *rest) for token, *rest in _all(store, "left")]


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    def question(connection: apsw.Connection) -> list[Any]:
        return connection.execute(_SQL[query], values).fetchall()

    rows: list[Any] = store.journal.read(question)
    return rows
