"""Which workers serve a state file: each has a file beside its lock, which says what it serves, as long as it lives."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from perdure.config.os_errors import remove
from perdure.config.ownership import NO_LINK, make_file
from perdure.core.records import RunRecord
from perdure.store.liveness import locks_of, seems_held

SUFFIX = ".worker"
MOST = 1 << 20
"""Bytes that are read of such a file."""


class Worker(msgspec.Struct, frozen=True):
    """A worker that lives.

    Attributes:
        pid: of its supervisor, on this machine.
        started: when it began, in seconds since the epoch.
        scripts: the paths of the scripts that it has loaded.
        workflows: the identity of the script and the name of each workflow that it executes.
        locks: script, workflow and name of each lock that runs of those take.
        queues: the only queues that it serves; empty: all.
        slots: how many runs each of its processes executes at a time.
        executors: what the locks of its processes go by.
        ready: it has loaded what loads, and claims runs.
    """

    pid: int
    started: float
    scripts: list[str] = []
    workflows: list[tuple[str, str]] = []
    locks: list[tuple[str, str, str]] = []
    queues: list[str] = []
    slots: int = 1
    executors: list[str] = []
    ready: bool = False

    def serves(self, script: str, workflow: str, queue: str | None = None) -> bool:
        """Does it execute runs of that workflow, which stand in that queue?

        Args:
            script: the identity of the script.
            workflow: its name.
            queue: None: in none.
        """
        return (script, workflow) in self.workflows and (not self.queues or queue is None or queue in self.queues)


def announce(state: Path, token: str, worker: Worker) -> None:
    """Say what this process serves. Its lock is held, under that token.

    Raises:
        OSError: the file cannot be written.
    """
    path = locks_of(state) / f"{token}{SUFFIX}"
    draft = path.with_suffix(".draft")
    remove(draft)
    descriptor = make_file(draft, os.O_EXCL | os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(worker))
    draft.replace(path)


def withdraw(state: Path, token: str) -> None:
    """This process serves nothing any more."""
    remove(locks_of(state) / f"{token}{SUFFIX}")


def living(state: Path) -> list[Worker]:
    """The workers of a state file that live, the oldest first. The files of dead ones are removed.

    Args:
        state: the state file.
    """
    found = []
    try:
        names = [entry.name for entry in os.scandir(locks_of(state)) if entry.name.endswith(SUFFIX)]
    except OSError:
        return []
    for name in names:
        path = locks_of(state) / name
        worker = _read(path)  # before the lock is looked at: what is read of a living one is whole
        if not seems_held(path.with_suffix(".lock")):
            remove(path)
        elif worker is not None:
            found.append(worker)
    return sorted(found, key=lambda worker: (worker.started, worker.pid))


def server_of(state: Path, run: RunRecord) -> int | None:
    """The process id of a worker that goes on with a suspended run when it is due; None if none does.

    Args:
        state: the state file.
        run: which.
    """
    if run.hold is not None:
        return None
    found = (one.pid for one in living(state) if one.ready and one.serves(run.script, run.workflow, run.queue))
    return next(found, None)


def _read(path: Path) -> Worker | None:
    with suppress(OSError, msgspec.DecodeError, ValueError), open(os.open(path, os.O_RDONLY | NO_LINK), "rb") as file:
        return msgspec.json.decode(file.read(MOST), type=Worker)
    return None
