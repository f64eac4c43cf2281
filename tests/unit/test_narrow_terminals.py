"""What a narrow terminal, a pipe or a long run would hide: errors, ids, what was not done, and that it is not all."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import struct
import termios
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import pytest
from listed_runs import Listed

from perdure.cli import main
from perdure.cli.view.ps_table import show_runs
from perdure.cli.view.show_page import show_run
from perdure.cli.view.terminal import Printer
from perdure.cli.view.watching import watch
from perdure.operations.ps import list_runs
from perdure.operations.show import details_of, time_left

ERROR = "ConnectionError: the printer at the end of the long corridor is off, and nobody is there to turn it on again"


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A terminal of 80 columns."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(slave, "w") as stream:
        yield stream
    os.close(master)


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def printed(terminal: TextIO | None, draw: Any) -> list[str]:
    """The lines that are drawn for that terminal, or for a file; without colours."""
    out = StringIO()
    draw(Printer(out, like=terminal))
    return re.sub(r"\033\[[0-9]+m", "", out.getvalue()).splitlines()


def test_a_narrow_terminal_keeps_ids_standings_and_errors(listed: Listed, terminal: TextIO) -> None:
    """No line is longer than the terminal; what has no room is columns of less weight, never a part of an error. A file
    gets dates, a terminal how long ago that is."""
    import msgspec

    listed.steps(listed.run("a-run-with-a-long-name-x7k2m9q4", "failed", "reconcile-accounts"), "load")
    listed.steps(listed.run("another-9z"), *["step-with-a-name"] * 3)
    runs = [msgspec.structs.replace(view, error=view.error and ERROR) for view in list_runs(listed.store)]
    now = (runs[0].created or datetime.now(UTC)) + timedelta(hours=3)
    lines = printed(terminal, lambda printer: show_runs(runs, printer, now=now))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert ERROR in re.sub(r"\s+", " ", text)
    assert "a-run-with-a-long-name-x7k2m9q4" in text
    assert re.search(r"x7k2m9q4 .*failed", text)
    assert "3 h ago" in text
    wide = "\n".join(printed(None, lambda printer: show_runs(runs, printer, now=now)))
    assert "reconcile-accounts" in wide
    assert "3 h ago" not in wide
    verbose = "\n".join(printed(terminal, lambda printer: show_runs(runs, printer, verbose=True, now=now)))
    assert "/srv/shop.py: sell('another-9z')" in verbose


def test_a_step_with_many_calls_is_a_line_and_what_was_not_done(listed: Listed, terminal: TextIO) -> None:
    """Thousands of items do not push the other steps out; each that was not done is there, however early it was; and it
    is said how to see each."""
    run = listed.run("long")
    listed.steps(run, "load", "item", "item")
    listed.steps(run, "item", status="dead", attempts=2)
    listed.steps(run, *["item"] * 400, "report")
    lines = printed(
        terminal, lambda printer: show_run(details_of(listed.store, run, limit=200, fold=10), printer, verbose=False)
    )
    shown = " ".join(" ".join(lines).split())
    assert len(lines) < 30
    assert "#1 load(1)" in shown
    assert "#2 item x 403 in 6 min" in shown.replace("  ", " ")
    assert "402 done, 1 dead letters, 1 tried again; each: perdure show long --step item" in shown
    assert "#4 item(4) dead letter 1, parked" in shown
    assert "attempt 2 failed" in shown
    assert "#405 report(405)" in shown
    assert "left out" not in shown


def test_json_is_a_page_or_all_and_says_which(listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    """`show --json` has the last 200 steps and says how many came before; with --limit 0 it has all, and the same
    fields; `ps --limit 0 --json` has every run."""
    run = listed.run("long")
    listed.steps(run, *["item"] * 450)
    for number in range(230):
        listed.run(f"r{number}")
    state = ("--state", str(listed.store.path))

    def told(*words: str) -> Any:
        assert main([*words, *state, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    page, whole = told("show", "long"), told("show", "long", "--limit", "0")
    assert ([step["seq"] for step in page["steps"]], page["earlier"]) == (list(range(251, 451)), 250)
    assert ([step["seq"] for step in whole["steps"]], whole["earlier"]) == (list(range(1, 451)), 0)
    assert list(page) == list(whole)
    assert page["steps"] == whole["steps"][250:]
    assert [(group["step"], group["calls"], group["done"]) for group in page["groups"]] == [("item", 450, 450)]
    assert len(told("ps")["runs"]) == 20
    assert len(told("ps", "--limit", "0")["runs"]) == 231
    assert told("ps", "--text", "nothing of that") == {"runs": []}


@pytest.mark.parametrize(
    ("env", "colours"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], colours: bool
) -> None:
    """FORCE_COLOR gives a file colours too, NO_COLOR takes them from everything."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    out = StringIO()
    Printer(out).line("red", "red")
    assert ("\033" in out.getvalue()) is colours


def test_what_is_followed_is_printed_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets each picture that differs from the one before, until there is no more to come, or Ctrl-C."""
    pictures = iter(["one", "one", "two", "three"])
    waited: list[float] = []

    def draw(printer: Printer) -> bool:
        text = next(pictures)
        printer.line(text)
        return text != "three"

    watch(draw, waited.append)
    assert capsys.readouterr().out == "one\n\ntwo\n\nthree\n"
    assert len(waited) == 3

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    watch(lambda printer: bool(printer.line("for ever")) or True, interrupted)
    assert capsys.readouterr().out == "for ever\n"


@pytest.mark.parametrize(
    ("done", "total", "left"),
    [
        *((25, 100, 170.0), (100, 100, None), (0, 100, None), (25, None, None), (120, 100, None), (99, 100, 0.0)),
        *((math.nan, 100, None), (25, math.inf, None), (math.inf, math.nan, None), (5e-324, 1e308, None)),
    ],
)
def test_the_rest_is_estimated_from_what_is_done(done: float, total: float | None, left: float | None) -> None:
    """A quarter in a minute leaves three minutes, less what has passed since; what cannot be said is not said."""
    assert time_left(done, total, took=60.0, since=10.0) == left
