"""Programs that outlive the process which started them: marked when they are started, found and ended afterwards.

A process that executes runs carries a mark in its environment, which the programs that it starts inherit; those that
belong to one attempt of a step carry one more. A mark is in the process itself: no file can say less or more than there
is, and a number that was given to another process does not bear it. Linux shows the environment of one's own processes.
docs/decisions/0022-repair-adds-up.md says why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from perdure.config.steady_clock import steady
from perdure.core.process_marks import PROCESS, STEP, TEMPLATE
from perdure.engines.interface import StepContext

GRACE = 2.0
LOOK = 0.01
"""Seconds: a program that is asked to end has so long; so often it is looked at."""

PASSES = 3

LARGEST = 1 << 17
"""Bytes that are read of a file of /proc at a time."""

SHOWN = 5
"""Programs that are named in a line."""

_PROC = Path("/proc")


class Marked(msgspec.Struct, frozen=True):
    """A program with a mark: its number, its parent of old, the attempt that it belongs to."""

    pid: int
    parent: int
    step: str | None


def mark_process() -> None:
    """From now on the programs that this process starts say whose they are."""
    pid = os.getpid()
    if not os.environ.get(PROCESS, "").startswith(f"{pid}-"):
        os.environ[PROCESS] = f"{pid}-{_started(pid) or 0}-{_boot()}"


def step_mark(run: str, key: str, attempt: int) -> str:
    """The mark of the programs of one attempt."""
    return f"{key[:12]}-{attempt} {run}"


def mark_of(context: StepContext) -> str:
    """The mark of the programs of an attempt, as its own code sees it."""
    return step_mark(context.run_id, context.idempotency_key(), context.attempt)


def end_left(run: str, sources: Iterable[str] = (), died: int | None = None) -> None:
    """Before a run goes on: end what earlier processes have started for its steps, and name what may be theirs.

    Args:
        run: its id.
        sources: the ids of the runs that it was forked from.
        died: the number of the process that died while it executed the run.
    """
    runs = (run, *sources)
    for _ in range(PASSES):  # an isolated step's process is the parent of further ones
        try:
            found = [one for one in _marked() if not _is_alive(one.parent, one.pid)]
        except OSError:  # not on Linux
            return
        end(  # they die with the process that they serve, if not at the same moment
            [one.pid for one in found if one.step == TEMPLATE], lambda pid: _mark(pid, STEP) == TEMPLATE
        )
        ours = [one for one in found if one.step is not None and _is_of(one.step.partition(" ")[2], runs)]
        if not ours:
            break
        named = _named(ours)  # while they are there
        end([one.pid for one in ours], lambda pid: _mark(pid, STEP) is not None)
        _say(f"{named} of an earlier process of run {run} was running still, and is ended")
    others = [one for one in found if one.step is None and one.parent == died]
    if others:
        pids = " ".join(str(one.pid) for one in others[:SHOWN])
        _say(
            f"{_named(others)}, started by pid {died} before it died in run {run}, is running still beside what is "
            f"made again; to end it: kill {pids}"
        )


def end_attempt(mark: str) -> None:
    """End the programs of one attempt, whichever group they are in."""
    try:
        pids = [one.pid for one in _marked() if one.step == mark]
    except OSError:
        return
    end(pids, lambda pid: _mark(pid, STEP) == mark)


def end(pids: list[int], still: Callable[[int], bool]) -> None:
    """End processes: asked first, then killed. `still`: is that the number of the one that is meant?"""
    import signal

    held: list[int] = []
    try:
        for pid in pids:
            with suppress(OSError):
                descriptor = os.pidfd_open(pid)  # names this process, whatever becomes of its number
                held.append(descriptor)
                if still(pid):
                    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                else:
                    os.close(held.pop())
        until = steady() + GRACE
        while (rest := [each for each in held if not _is_over(each)]) and steady() < until:
            time.sleep(LOOK)
        for descriptor in rest:
            with suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        for descriptor in held:
            os.close(descriptor)


def _is_over(descriptor: int) -> bool:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


# -- what the system says ---------------------------------------------------------------------------------------------


def _marked() -> list[Marked]:
    """Every program of this user that has a mark.

    Raises:
        OSError: the system does not show its processes.
    """
    found: list[Marked] = []
    for name in os.listdir(_PROC):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        pid = int(name)
        mark = _mark(pid, PROCESS)
        if mark is not None:
            parent = mark.partition("-")[0]
            found.append(Marked(pid, int(parent) if parent.isdecimal() else 0, _mark(pid, STEP)))
    return found


def _mark(pid: int, name: str) -> str | None:
    prefix = f"{name}=".encode()
    try:
        data = _read(f"{_PROC}/{pid}/environ")
    except OSError:  # it is gone, or another user's
        return None
    if prefix not in data:  # most programs bear none, and all are looked at whenever a run goes on
        return None
    for part in data.split(b"\0"):
        if part.startswith(prefix):
            return part[len(prefix) :].decode(errors="replace")
    return None


def _read(path: str) -> bytes:
    """The whole of a file of /proc, by the calls that cost least."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, LARGEST):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _is_alive(parent: int, pid: int) -> bool:
    """Does the process live that has put the mark on that program?"""
    mark = _mark(pid, PROCESS)
    if mark is None:
        return True  # the program is over meanwhile
    _, started, boot = (*mark.split("-"), "", "")[:3]
    return boot == _boot() and str(_started(parent)) == started


def _started(pid: int) -> int | None:
    """When a process was started, in the ticks of the system since it was booted; None if there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""


def _command(pid: int) -> str:
    from perdure.config import secrets

    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    text = " ".join(word.decode(errors="replace") for word in words if word)
    return secrets.conceal(" ".join(text.split()))[:80] or "?"


def _is_of(run: str, runs: tuple[str, ...]) -> bool:
    """Is that one of the runs, or a child run of one?"""
    return any(run == one or run.startswith(f"{one}.") for one in runs)


def _named(found: list[Marked]) -> str:
    shown = ", ".join(f"pid {one.pid} ({_command(one.pid)})" for one in found[:SHOWN])
    more = len(found) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _say(line: str) -> None:
    from perdure.config.stderr_line import say
    from perdure.core.redaction.printable import one_line

    say(one_line(f"perdure: {line}"))
