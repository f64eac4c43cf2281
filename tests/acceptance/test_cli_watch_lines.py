"""What the live view and the plain lines show of many steps, without a process."""

from __future__ import annotations

import pytest
from rich.console import Console

from perdure.cli.view.progress_lines import EVERY, FULL, ProgressLines
from perdure.cli.view.running_steps import Board
from perdure.core.execution.spec import Call, Spec
from perdure.core.values import codec
from perdure.engines.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    MapProgress,
    RetryScheduled,
    RunEnded,
    RunResumed,
    RunStarted,
    StepProgress,
)
from perdure.engines.observers import json_logs
from perdure.engines.observers.fanout import FanOut

STUCK = 60
"""Seconds without output after which a test fails rather than hangs."""


def call(name: str = "charge", n: int = 0) -> Call:
    def fn(n: int) -> int:
        return n

    return Call(Spec("step", fn, name), (n,), {}, codec.pack_inputs([n], {}, owner=name), b"k" * 16)


def ended(one: Call, error: Exception | None = None) -> AttemptEnded:
    return AttemptEnded("r", "flow", one, 1, error, 0.0, 0.001)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_ten_thousand_items_are_a_handful_of_lines() -> None:
    """A line now and then while it lasts, with the numbers, and one at the end; failures are counted too."""
    lines: list[str] = []
    clock = Clock()
    said = ProgressLines(lambda text, style: lines.append(text), clock)
    said.notify(RunStarted("r", "flow"))
    for n in range(10_000):
        clock.now += 0.002
        error = ValueError("no") if n % 2 else None
        said.notify(ended(call(n=n), error))
        said.notify(MapProgress("r", "flow", "charge", n + 1 - (n + 1) // 2, (n + 1) // 2, 0, 10_000))
    said.notify(RunEnded("r", "flow", "done"))
    assert len(lines) <= 1 + 2 * FULL + 2 * (20 / EVERY + 1)
    assert "charge: 10000 of 10000 items, 5,000 dead letters" in lines
    assert any(line.endswith("more failed attempts") for line in lines)
    counted = sum(int(line.split()[1]) for line in lines if line.endswith("more failed attempts"))
    assert counted + FULL == 5_000, "a failure is neither said nor counted"


def test_a_loop_of_many_steps_is_summed_up() -> None:
    """What is not told one by one is counted, and nothing is lost at the end."""
    lines: list[str] = []
    said = ProgressLines(lambda text, style: lines.append(text), Clock())
    said.notify(RunResumed("r", "flow", 3))
    for n in range(FULL + 7):
        said.notify(ended(call(n=n)))
    said.notify(RunEnded("r", "flow", "done"))
    assert lines[0] == "run r resumed, with 3 steps saved before"
    assert lines[-1] == "charge: 7 more done"
    assert said.executed == FULL + 7


def test_the_picture_is_bounded_and_escapes_what_it_shows() -> None:
    """However many steps run, and whatever they are called."""
    clock = Clock()
    board = Board(clock)
    calls = [call(f"st\x1b[31mep{n}", n) for n in range(500)]
    for one in calls:
        board.notify(AttemptStarted("r", "flow", one, 2))
    board.notify(MapProgress("r", "flow", "item", 10, 2, 4, 100))
    board.notify(RetryScheduled("r", "flow", calls[0], 1, 3.0, ConnectionError("refused\x1b[0m")))
    board.notify(StepProgress("r", "flow", calls[1], 3, 6, "half"))
    console = Console(width=100, height=24, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(board)
    text = captured.get()
    assert len(text.splitlines()) <= 12
    assert "\x1b" not in text
    assert "12/100, 2 dead, 4 from before" in text
    assert "attempt 2" in text
    assert "again in 3 s after ConnectionError" in text
    assert "3/6 half" in text
    assert "492 more running" in text
    for one in calls:
        board.notify(ended(one))
    board.notify(MapProgress("r", "flow", "item", 98, 2, 4, 100))
    with console.capture() as captured:
        console.print(board)
    assert captured.get().strip() == ""


def test_a_view_that_fails_is_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a view raises, the run goes on; the view is not notified any more, which is printed once."""
    monkeypatch.setattr(json_logs, "heard", lambda: False)  # pytest itself listens
    seen: list[Event] = []

    def gone(text: str, style: str) -> None:
        raise OSError("the terminal is gone")

    class Broken(ProgressLines):
        def notify(self, event: Event) -> None:
            seen.append(event)
            super().notify(event)

    fan_out = FanOut(Broken(gone))
    for _ in range(2):
        fan_out.notify(ended(call()))
    assert len(seen) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "perdure: the observer Broken has failed and is not notified any more: OSError: the terminal is gone"
