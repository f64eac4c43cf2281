"""What another wrote is printed as text: no terminal acts on it, no log takes it for a line, no shell executes it."""

from __future__ import annotations

import ast
import json
import logging
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from perdure.cli.view.terminal import Printer, as_json
from perdure.core import commands
from perdure.core.redaction.printable import json_text, one_line, printable
from perdure.engines.events import RunWaits
from perdure.engines.observers.fanout import FanOut
from perdure.engines.observers.json_logs import JsonFormatter
from perdure.engines.observers.log_observer import LogObserver
from syntax import nodes

PACKAGE = Path(__file__).parents[2] / "src" / "perdure"
HOSTILE = "a\x1b[2Jb\x9b31mc\x7fd\u202ee\u2066f\u200bg\x07h\ri\ud800j\u2028k\x00l"
HARMLESS = "Füße 漢字 🦊 é"


def is_harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


def test_text_for_a_terminal() -> None:
    """Nothing that a terminal acts on is left, and nothing of what can be read is lost."""
    assert is_harmless(printable(HOSTILE))
    assert printable(f"{HARMLESS}\n\tx") == f"{HARMLESS}\n\tx"
    assert "\\x1b[2J" in printable(HOSTILE)
    assert "\n" not in one_line("a\nERROR forged")
    assert one_line(HARMLESS) == HARMLESS


def test_json_says_the_same_and_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Escaped from U+007F on, also beyond the first plane; a reader of JSON gets what was written."""
    value = {HOSTILE.replace("\ud800", ""): [HARMLESS, "\U000e0001"]}
    as_json(value)
    line = capsys.readouterr().out
    assert is_harmless(line)
    assert json.loads(line) == value
    assert line.count("\n") == 1
    assert json_text('{"a": "b"}') == '{"a": "b"}'


def test_a_printer_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line and every cell."""
    Printer().line(HOSTILE)
    Printer().table(["name"], [[HOSTILE]])
    assert is_harmless(capsys.readouterr().out)


def test_a_line_of_the_log_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    """The text of an error makes no line that looks like another's."""
    observer = LogObserver()
    with caplog.at_level(logging.DEBUG, "perdure"):
        observer.notify(RunWaits("job", f"x\n2026-11-23 CRITICAL forged {HOSTILE}"))
    (message,) = caplog.messages
    assert message.isprintable()


def test_an_observer_that_fails_makes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What its error says is printed as text."""

    class Failing:
        def notify(self, event: object) -> None:
            raise ValueError(HOSTILE)

    FanOut(Failing()).notify(RunWaits("job", "x"))
    assert capsys.readouterr().err.removesuffix("\n").isprintable()


def test_a_line_of_json_in_the_log() -> None:
    """No control character of a message is raw in it."""
    record = logging.LogRecord("x", logging.INFO, "f", 1, HOSTILE, (), None)
    assert JsonFormatter().format(record).isprintable()


RAW = {"stdout.write", "stderr.write", "print", "_stdout.write"}
ESCAPED = ("safe(", "json_text(", "one_line(", "shown_in_a_shell")


def unescaped(path: Path) -> list[str]:
    """Places where a text with something put into it is written as it is."""
    found = []
    for node in nodes(path):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name, argument = ast.unparse(node.func), node.args[0]
        if name.removeprefix("sys.").removeprefix("self.") not in RAW:
            continue
        variable = [each for each in ast.walk(argument) if isinstance(each, ast.FormattedValue)]
        if variable and not any(word in ast.unparse(argument) for word in ESCAPED):
            found.append(f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}")
    return found


def test_commands_write_through_a_printer() -> None:
    """What is written without one has nothing put into it that another wrote."""
    allowed = (
        *("RUN_HELP", "finish.shown", "count(len(chosen)", "_OUTCOMES"),
        *("wrote {file}", "python {shown}", "perdure run {shown}"),
    )
    found = [
        line
        for folder in ("cli", "engines", "api", "operations")
        for path in (PACKAGE / folder).rglob("*.py")
        for line in unescaped(path)
        if not any(each in line for each in allowed)
    ]
    assert found == []


COMMANDS = ("show", "why", "resume", "fork", "cancel", "dlq")


def test_commands_that_are_printed_are_quoted() -> None:
    """`perdure resume x; touch pwned #` is what a run may be called."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in nodes(path):
            if not isinstance(node, ast.JoinedStr):
                continue
            parts = node.values
            for before, value in pairwise(parts):
                text = str(before.value) if isinstance(before, ast.Constant) else ""
                if isinstance(value, ast.FormattedValue) and "perdure " in text and text.rstrip("-").endswith(" "):
                    named = ast.unparse(value.value)
                    asked = text.rpartition("perdure ")[2].split()[:1]
                    if asked and asked[0] in COMMANDS and named.endswith((".id", "run_id")):
                        found.append(f"{path.relative_to(PACKAGE)}: {ast.unparse(node)[:100]}")
    assert found == []
    assert shlex.quote("x; touch pwned #") == "'x; touch pwned #'"


@pytest.mark.parametrize("name", ["x; touch pwned #", "$(touch pwned)", "a b", "it's"])
def test_a_command_names_its_run_whatever_it_is_called(name: str) -> None:
    """A shell passes it on as one word."""
    of_a_run = (commands.show, commands.resume, commands.approve, commands.reject, commands.accept, commands.dlq)
    for command in (*of_a_run, commands.redrive, commands.cancel_damaged):
        assert shlex.split(command(name)).count(name) == 1
    assert shlex.split(commands.fork(name, name))[2:] == [name, "--from", name]
    assert shlex.split(commands.signal(name, name)).count(name) == 2
