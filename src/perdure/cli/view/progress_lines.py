"""Tells what a run does, line by line: every step at first, and a summary now and then once there are many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from perdure.cli.view.terminal import count, one_line
from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.exceptions.capture import Fault
from perdure.core.execution.cleanup_records import called
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.errors import PerdureError

FULL = 20
"""So many lines of one kind about one step are told one by one."""
EVERY = 5.0
"""From then on there is one line in so many seconds."""
LONG_WAIT = 1.0
"""Seconds; shorter waits are not worth a line."""

INPUTS, MESSAGE = 60, 200


class _Told:
    """How much has been told of one kind of thing."""

    __slots__ = ("held", "last", "lines")

    def __init__(self, now: float) -> None:
        self.lines = 0
        self.held = 0
        self.last = now


class _Batch:
    __slots__ = ("dead", "done", "skipped", "total", "untold")

    def __init__(self) -> None:
        self.done = self.dead = self.skipped = 0
        self.total: int | None = None
        self.untold = False


class Narrator:
    """Turns what an engine reports into lines.

    Args:
        say: given each line and its style; called by one thread at a time.
        clock: seconds that only grow.

    `executed` counts the attempts of this process that came to a good end, `recorded` those that were saved before.
    """

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], _Told] = {}
        self._batches: dict[tuple[str, str], _Batch] = {}
        self._mapped: set[str] = set()
        self._since: float | None = None
        self.run_id: str | None = None
        self.executed = 0
        self.recorded = 0

    @property
    def seconds(self) -> float:
        """How long the run has been going on in this process."""
        return 0.0 if self._since is None else self._clock() - self._since

    # -- what the engine reports --------------------------------------------------------------------------------------

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run has to wait for somebody."""
        with self._lock:
            self._say(f"{workflow} waits: {one_line(reason)}", "yellow")

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed."""
        with self._lock:
            how = f"resumed, with {count(recorded, 'step')} saved before" if resumed else "started"
            if self.run_id is None:
                self.run_id, self.recorded, self._since = run_id, recorded, self._clock()
                self._say(f"run {run_id} {how}", "bold")
            elif run_id != self.run_id:
                self._tell("run", workflow, f"child run {run_id} {how}", "")

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run is done or failed; how the first one ended is told by whoever started it."""
        with self._lock:
            if run_id == self.run_id:
                self._catch_up()
            else:
                self._tell("run", workflow, f"child run {run_id} {status}", "")

    def run_stopped(self, run_id: str, workflow: str, error: BaseException) -> None:
        """A run was broken off; of the first one whoever started it tells that too."""
        with self._lock:
            if run_id == self.run_id:
                self._catch_up()
            else:
                self._tell("run", workflow, f"child run {run_id} stopped", "")

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record: not worth a line."""

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins; its end will be told."""

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""
        name = call.spec.name
        with self._lock:
            if outcome.error is None:
                self.executed += 1
                again = f", at attempt {attempt}" if attempt > 1 else ""
                self._tell("done", name, lambda: f"{call_line(call)} ran in {show(outcome.seconds)}{again}", "green")
            else:
                error = outcome.error
                self._tell(
                    "failed",
                    name,
                    lambda: f"{call_line(call)} failed at attempt {attempt}: {error_line(error)}",
                    "yellow",
                )

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated."""
        if seconds >= LONG_WAIT:
            with self._lock:
                self._tell("again", call.spec.name, lambda: f"{call_line(call)} is tried again in {show(seconds)}", "")

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet."""
        if seconds >= LONG_WAIT:
            with self._lock:
                self._tell("held", call.spec.name, lambda: f"{call_line(call)} waits for {one_line(reason)}", "")

    def parked(self, run_id: str, name: str, letter: int, fault: Fault) -> None:
        """A call has become a dead letter."""
        with self._lock:
            line = f"{one_line(name)} is parked as dead letter {letter}: {_cut(one_line(secrets.conceal(fault.line)))}"
            self._tell("parked", name, line, "red")

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""
        with self._lock:
            batch = self._batches.get((run_id, name))
            if batch is None:
                batch = self._batches[run_id, name] = _Batch()
                self._mapped.add(name)
            batch.done, batch.dead, batch.skipped, batch.total, batch.untold = done, dead, skipped, total, True
            told = self._of("batch", name)
            if (total is not None and done + dead >= total) or self._clock() - told.last >= EVERY:
                self._tell_batch(name, batch, told)

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come; one line now and then."""
        with self._lock:
            told = self._of("progress", call.spec.name)
            if self._clock() - told.last >= EVERY:
                told.last = self._clock()
                of = f" of {total:g}" if total is not None else ""
                self._say(f"{call_line(call)}: {done:g}{of}{f', {one_line(note)}' if note else ''}", "")

    # -- what is told of it -------------------------------------------------------------------------------------------

    def _of(self, kind: str, name: str) -> _Told:
        told = self._told.get((kind, name))
        if told is None:
            told = self._told[kind, name] = _Told(self._clock())
        return told

    def _tell(self, kind: str, name: str, line: str | Callable[[], str], style: str) -> None:
        told = self._of(kind, name)
        if told.lines < FULL:
            told.lines += 1
            told.last = self._clock()
            self._say(line if isinstance(line, str) else line(), style)
            return
        told.held += 1
        if self._clock() - told.last >= EVERY:
            self._tell_held(kind, name, told)

    def _tell_held(self, kind: str, name: str, told: _Told) -> None:
        # What is done in a batch is in the line about the batch.
        if told.held and not (kind == "done" and name in self._mapped):
            names = {"done": "done", "failed": "failed attempts", "run": "child runs", "parked": "dead letters"}
            what = names.get(kind, "waits")
            self._say(f"{name}: {told.held} more {what}", "yellow" if kind == "failed" else "")
        told.held, told.last = 0, self._clock()

    def _tell_batch(self, name: str, batch: _Batch, told: _Told) -> None:
        of = f" of {batch.total}" if batch.total is not None else ""
        parts = [f"{name}: {batch.done + batch.dead}{of} items"]
        if batch.dead:
            parts.append(count(batch.dead, "dead letter"))
        if batch.skipped:
            parts.append(f"{batch.skipped} from before")
        self._say(", ".join(parts), "red" if batch.dead else "cyan")
        told.last, batch.untold = self._clock(), False

    def _catch_up(self) -> None:
        for (_, name), batch in self._batches.items():
            if batch.untold:
                self._tell_batch(name, batch, self._of("batch", name))
        for (kind, name), told in self._told.items():
            if kind not in ("batch", "progress"):
                self._tell_held(kind, name, told)


def error_line(error: BaseException) -> str:
    """An exception in one line of bounded length."""
    try:
        message = secrets.conceal(error.what if isinstance(error, PerdureError) else str(error))
        message = one_line(message)
    except Exception:  # noqa: BLE001  a __str__ of the user's may fail
        message = ""
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE else f"{text[: MESSAGE - 3]}..."


def call_line(call: Call, most: int = INPUTS) -> str:
    """A call as people see it, with that many characters of its inputs at most, and without credentials."""
    name, given = called(call.spec.record_kind, call.spec.name, call.input)
    return f"{one_line(name)}{secrets.describe_inputs(given, most)}"
