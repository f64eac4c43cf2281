"""The alerts of a worker: a run that is on hold, a script that cannot be loaded, runs that nobody goes on with."""

from __future__ import annotations

import hashlib
import shlex

from perdure.alerts.alert import Alert
from perdure.config.page_links import page_way
from perdure.core.commands import commands_in, located
from perdure.core.durations import show
from perdure.core.records import RunRecord
from perdure.errors import PerdureError


def held(run: RunRecord, error: PerdureError, option: str) -> Alert:
    """A run does not fit its script any more, and is on hold.

    Args:
        run: which.
        error: why.
        option: what a command needs to find the state file, with a space before it.
    """
    name = shlex.quote(run.id)
    named = [located(command, option) for command in commands_in(error.hint)]
    return Alert(
        what="on-hold",
        workflow=run.workflow,
        run=run.id,
        error=error.what,
        code=error.code,
        notes=("it is tried again when its script is edited",),
        commands=(
            ("see more", f"perdure show {name}{option}"),
            *(("go on", command) for command in named or [f"perdure resume {name}{option}"]),
            *page_way(run.id, run.path),
        ),
    )


def broken(script: str, why: str, *, serves: bool) -> Alert:
    """A script cannot be loaded.

    Args:
        script: its path.
        why: in a line.
        serves: its runs go on with the code of before.
    """
    note = "its runs go on with the code of before" if serves else "its runs wait"
    return Alert(
        what="not-loaded",
        workflow=script.rpartition("/")[2],
        error=f"{script} cannot be loaded: {why}",
        notes=(f"{note}; it is tried again when it is edited",),
        key=f"not-loaded\n{script}",
    )


def overdue(run: RunRecord, seconds: float, option: str) -> Alert:
    """A run was due so many seconds ago, and no process goes on with it."""
    name = shlex.quote(run.id)
    return Alert(
        what="overdue",
        workflow=run.workflow,
        run=run.id,
        error=f"it was due {show(seconds)} ago, and nothing goes on with it",
        commands=(
            ("why", f"perdure why {name}{option}"),
            ("serve it", f"perdure worker {shlex.quote(run.path)}"),
            *page_way(run.id, run.path),
        ),
        key=f"overdue\n{run.workflow}\n{run.id}",
        id=_id("overdue", run.id, f"{run.wake}"),
    )


def waits_long(run: RunRecord, what: str, seconds: float, option: str) -> Alert:
    """A run has waited for something for so many seconds."""
    name = shlex.quote(run.id)
    return Alert(
        what="suspended",
        level="warning",
        workflow=run.workflow,
        run=run.id,
        error=f"it has waited for {what} for {show(seconds)}",
        commands=(
            ("why", f"perdure why {name}{option}"),
            ("see more", f"perdure show {name}{option}"),
            *page_way(run.id, run.path),
        ),
        key=f"suspended\n{run.workflow}\n{run.id}",
        id=_id("suspended", run.id, what),
    )


def unserved_queue(queue: str, workflow: str, path: str, count: int, seconds: float, option: str) -> Alert:
    """Runs of a workflow have stood in a queue for so many seconds, and no worker serves them."""
    runs = "1 run waits" if count == 1 else f"{count:,} runs wait"
    return Alert(
        what="unserved",
        workflow=workflow,
        error=f"{runs} in queue {queue}, the first for {show(seconds)}, and no worker serves it",
        commands=(
            ("serve it", f"perdure worker {shlex.quote(path)}{option}"),
            ("see queues", f"perdure queue ls{option}"),
        ),
        key=f"unserved\n{queue}\n{path}\n{workflow}",
    )


def unserved_schedule(name: str, workflow: str, path: str, seconds: float, option: str) -> Alert:
    """A schedule was due so many seconds ago, and no worker serves it."""
    return Alert(
        what="unserved",
        workflow=workflow,
        error=f"schedule {name} was due {show(seconds)} ago, and no worker serves it",
        commands=(
            ("serve it", f"perdure worker {shlex.quote(path)}{option}"),
            ("see it", f"perdure schedule ls{option}"),
        ),
        key=f"unserved\n{name}",
    )


def _id(*parts: str) -> str:
    """The same if the same is alerted by another process."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
