"""What is going on at this moment, as Rich draws it: one line a running step, a bar for each batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perdure.cli.view.progress_lines import call_line, error_line
from perdure.cli.view.terminal import one_line
from perdure.core.durations import show
from perdure.core.execution.spec import Call
from perdure.engines.events import (
    AttemptEnded,
    AttemptStarted,
    CallHeld,
    Event,
    MapProgress,
    RetryScheduled,
    StepProgress,
)

LINES = 8
"""Running steps that are shown; of the others only the number is."""
FRAMES, PLAIN_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
FRAMES_A_SECOND = 10
BAR, INPUTS, ERROR = 30, 50, 60


class _Running:
    """A call that is being tried, or waits for its next try."""

    __slots__ = ("again", "attempt", "call", "note", "reason", "since", "total", "units")

    def __init__(self, call: Call, attempt: int, since: float) -> None:
        self.call = call
        self.attempt = attempt
        self.since = since
        self.again: float | None = None
        self.reason = ""
        self.units: float | None = None
        self.total: float | None = None
        self.note = ""


class _Bar:
    __slots__ = ("counts", "name", "since")

    def __init__(self, name: str, since: float) -> None:
        self.name = name
        self.since = since
        self.counts: tuple[int, int, int, int | None] = (0, 0, 0, None)

    @property
    def full(self) -> bool:
        done, dead, _, total = self.counts
        return total is not None and done + dead >= total


class Board:
    """Remembers what is running; Rich draws it when its turn comes, so that the run never waits for the screen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._bars: dict[tuple[str, str], _Bar] = {}

    def notify(self, event: Event) -> None:
        """Take in what happens."""
        with self._lock:
            match event:
                case AttemptStarted():
                    self._running[id(event.call)] = _Running(event.call, event.attempt, self._clock())
                case AttemptEnded():
                    self._running.pop(id(event.call), None)
                case RetryScheduled():
                    line = error_line(event.error)
                    reason = f" after {line[:ERROR]}{'...' * (len(line) > ERROR)}"
                    self._wait(event.call, event.attempt, event.seconds, reason)
                case CallHeld():
                    self._wait(event.call, 1, event.seconds, f" waits for {event.reason}")
                case MapProgress():
                    self._move_bar(event)
                case StepProgress():
                    one = self._running.get(id(event.call))
                    if one is not None:
                        one.units, one.total, one.note = event.done, event.total, event.note
                case _:
                    pass  # what is not running is shown in lines

    def _wait(self, call: Call, attempt: int, seconds: float, reason: str) -> None:
        one = self._running[id(call)] = _Running(call, attempt, self._clock())
        one.again, one.reason = one.since + seconds, reason

    def _move_bar(self, event: MapProgress) -> None:
        key = event.run, event.step
        bar = self._bars.get(key)
        if bar is None:
            bar = self._bars[key] = _Bar(event.step, self._clock())
        bar.counts = event.done, event.dead, event.skipped, event.total
        if bar.full:
            del self._bars[key]

    # -- how it looks -------------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            now = self._clock()
            running = sorted(self._running.values(), key=lambda one: one.since)
            bars = list(self._bars.values())
        unicode = options.encoding.startswith("utf")
        for bar in bars:
            yield _draw_bar(bar, now)
        most = max(min(LINES, options.size.height - len(bars) - 3), 1)
        frames = FRAMES if unicode else PLAIN_FRAMES
        frame = frames[int(now * FRAMES_A_SECOND) % len(frames)]
        for one in running[:most]:
            yield _draw_step(one, now, frame)
        if len(running) > most:
            yield Text(f"  and {len(running) - most} more running", "dim")


def _draw_bar(bar: _Bar, now: float) -> RenderableType:
    done, dead, skipped, total = bar.counts
    ended = done + dead
    grid = Table.grid(padding=(0, 1))
    # Not ended before the first report, which came when the first item of this process had ended.
    rate = (ended - skipped) / (now - bar.since) if now - bar.since >= 1 else 0.0
    words = [f"{ended}/{total}" if total is not None else str(ended)]
    words += [f"{dead} dead"] * bool(dead) + [f"{skipped} from before"] * bool(skipped)
    words += [f"{rate:.3g}/s"] * bool(rate) + [show(int(now - bar.since))]
    label = Text(one_line(bar.name), "bold")
    grid.add_row(label, ProgressBar(total=total, completed=ended, width=BAR, pulse=total is None), ", ".join(words))
    return grid


def _draw_step(one: _Running, now: float, frame: str) -> RenderableType:
    text = Text(no_wrap=True, overflow="ellipsis")
    line = call_line(one.call, INPUTS)
    if one.again is not None:
        left = max(one.again - now, 0.0)
        text.append(f"{frame} {line}", "yellow")
        text.append(f" again in {show(round(left, 1))}{one_line(one.reason)}")
        return text
    text.append(f"{frame} ", "cyan")
    text.append(line)
    text.append("".join(_particulars(one, now)), "dim")
    if one.units is None or not one.total:
        return text
    grid = Table.grid(padding=(0, 1))
    grid.add_row(text, ProgressBar(total=one.total, completed=one.units, width=BAR // 2))
    return grid


def _particulars(one: _Running, now: float) -> Iterator[str]:
    if one.attempt > 1:
        yield f", attempt {one.attempt}"
    yield f"  {show(int(now - one.since))}"
    if one.units is not None:
        yield f"  {one.units:g}/{one.total:g}" if one.total is not None else f"  {one.units:g}"
    if one.note:
        yield f" {one_line(one.note)}"
