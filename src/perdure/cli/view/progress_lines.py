"""What a run does, line by line: every step at first, and a summary now and then once there are many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from perdure.cli.view.terminal import count, one_line
from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.execution.cleanup_records import called
from perdure.core.execution.spec import Call
from perdure.engines.events import (
    AttemptEnded,
    AttemptStarted,
    CallHeld,
    DeadLetterParked,
    Event,
    MapProgress,
    RetryScheduled,
    RunEnded,
    RunResumed,
    RunStarted,
    RunStopped,
    RunSuspended,
    RunWaits,
    StepProgress,
    StepReplayed,
)
from perdure.errors import PerdureError

FULL = 20
"""So many lines of one kind about one step are said one by one."""
EVERY = 5.0
"""From then on there is one line in so many seconds."""
LONG_WAIT = 1.0
"""Seconds; shorter waits are not worth a line."""

UNSAID = (AttemptStarted, StepReplayed)
"""Events that are not worth a line."""

INPUTS, MESSAGE = 60, 200


class _Said:
    """How much has been said of one kind of thing."""

    __slots__ = ("held", "last", "lines")

    def __init__(self, now: float) -> None:
        self.lines = 0
        self.held = 0
        self.last = now


class _Map:
    """How far a map has come, and whether that has not been said yet."""

    __slots__ = ("latest", "unsaid")

    def __init__(self, latest: MapProgress) -> None:
        self.latest = latest
        self.unsaid = True


class ProgressLines:
    """An observer that makes lines of what happens.

    Args:
        say: given each line and its style; called by one thread at a time.
        clock: seconds that only grow.

    `executed` counts the attempts of this process that came to a good end, `recorded` those that were saved before.
    """

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], _Said] = {}
        self._maps: dict[tuple[str, str], _Map] = {}
        self._mapped: set[str] = set()
        self._since: float | None = None
        self.run_id: str | None = None
        self.executed = 0
        self.recorded = 0

    @property
    def seconds(self) -> float:
        """How long the run has been going on in this process."""
        return 0.0 if self._since is None else self._clock() - self._since

    # -- what happens ------------------------------------------------------------------------------------------------

    def notify(self, event: Event) -> None:
        """Say it, or count it."""
        if type(event) in UNSAID:
            return
        with self._lock:
            match event:
                case AttemptEnded():
                    self._attempt_ended(event)
                case MapProgress():
                    self._map_progress(event)
                case RetryScheduled() if event.seconds >= LONG_WAIT:
                    again = f" is tried again in {show(event.seconds)}"
                    self._line("again", event.step, lambda: f"{call_line(event.call)}{again}", "")
                case CallHeld() if event.seconds >= LONG_WAIT:
                    waits = f" waits for {one_line(event.reason)}"
                    self._line("held", event.step, lambda: f"{call_line(event.call)}{waits}", "")
                case DeadLetterParked():
                    error = _cut(one_line(secrets.conceal(event.fault.line)))
                    line = f"{one_line(event.step)} is parked as dead letter {event.letter}: {error}"
                    self._line("parked", event.step, line, "red")
                case StepProgress():
                    self._step_progress(event)
                case RunWaits():
                    self._say(f"{event.workflow} waits: {one_line(event.reason)}", "yellow")
                case RunStarted():
                    self._run_began(event.run, event.workflow, 0, "started")
                case RunResumed():
                    how = f"resumed, with {count(event.recorded, 'step')} saved before"
                    self._run_began(event.run, event.workflow, event.recorded, how)
                case RunEnded():
                    self._run_over(event.run, event.workflow, event.status)
                case RunStopped():
                    self._run_over(event.run, event.workflow, "stopped")
                case RunSuspended():
                    self._run_over(event.run, event.workflow, "is suspended")
                case _:
                    pass

    def _run_began(self, run_id: str, workflow: str, recorded: int, how: str) -> None:
        if self.run_id is None:
            self.run_id, self.recorded, self._since = run_id, recorded, self._clock()
            self._say(f"run {run_id} {how}", "bold")
        elif run_id != self.run_id:
            self._line("run", workflow, f"child run {run_id} {how}", "")

    def _run_over(self, run_id: str, workflow: str, how: str) -> None:
        """How the first run ended is said by the command that started it."""
        if run_id == self.run_id:
            self._catch_up()
        else:
            self._line("run", workflow, f"child run {run_id} {how}", "")

    def _attempt_ended(self, event: AttemptEnded) -> None:
        error, attempt = event.error, event.attempt
        if error is None:
            self.executed += 1
            again = f", at attempt {attempt}" if attempt > 1 else ""
            self._line(
                "done", event.step, lambda: f"{call_line(event.call)} ran in {show(event.seconds)}{again}", "green"
            )
        else:
            what = f" failed at attempt {attempt}: "
            self._line("failed", event.step, lambda: f"{call_line(event.call)}{what}{error_line(error)}", "yellow")

    def _map_progress(self, event: MapProgress) -> None:
        key = event.run, event.step
        shown = self._maps.get(key)
        if shown is None:
            shown = self._maps[key] = _Map(event)
            self._mapped.add(event.step)
        shown.latest, shown.unsaid = event, True
        said = self._of("map", event.step)
        over = event.total is not None and event.done + event.dead >= event.total
        if over or self._clock() - said.last >= EVERY:
            self._say_map(shown, said)

    def _step_progress(self, event: StepProgress) -> None:
        """One line now and then."""
        said = self._of("progress", event.step)
        if self._clock() - said.last >= EVERY:
            said.last = self._clock()
            of = f" of {event.total:g}" if event.total is not None else ""
            note = f", {one_line(event.note)}" if event.note else ""
            self._say(f"{call_line(event.call)}: {event.done:g}{of}{note}", "")

    # -- what is said of it -------------------------------------------------------------------------------------------

    def _of(self, kind: str, name: str) -> _Said:
        said = self._said.get((kind, name))
        if said is None:
            said = self._said[kind, name] = _Said(self._clock())
        return said

    def _line(self, kind: str, name: str, line: str | Callable[[], str], style: str) -> None:
        said = self._of(kind, name)
        if said.lines < FULL:
            said.lines += 1
            said.last = self._clock()
            self._say(line if isinstance(line, str) else line(), style)
            return
        said.held += 1
        if self._clock() - said.last >= EVERY:
            self._say_held(kind, name, said)

    def _say_held(self, kind: str, name: str, said: _Said) -> None:
        # What is done in a map is in the line about the map.
        if said.held and not (kind == "done" and name in self._mapped):
            names = {"done": "done", "failed": "failed attempts", "run": "child runs", "parked": "dead letters"}
            what = names.get(kind, "waits")
            self._say(f"{name}: {said.held} more {what}", "yellow" if kind == "failed" else "")
        said.held, said.last = 0, self._clock()

    def _say_map(self, shown: _Map, said: _Said) -> None:
        at = shown.latest
        of = f" of {at.total}" if at.total is not None else ""
        parts = [f"{at.step}: {at.done + at.dead}{of} items"]
        if at.dead:
            parts.append(count(at.dead, "dead letter"))
        if at.skipped:
            parts.append(f"{at.skipped} from before")
        self._say(", ".join(parts), "red" if at.dead else "cyan")
        said.last, shown.unsaid = self._clock(), False

    def _catch_up(self) -> None:
        for (_, name), shown in self._maps.items():
            if shown.unsaid:
                self._say_map(shown, self._of("map", name))
        for (kind, name), said in self._said.items():
            if kind not in ("map", "progress"):
                self._say_held(kind, name, said)


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
