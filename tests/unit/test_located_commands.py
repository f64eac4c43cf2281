"""Commands in the hints of errors can be copied: complete, quoted, and they find the state file from here."""

from __future__ import annotations

import io
import subprocess
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.core import commands
from perdure.core.exceptions import capture, output

OPTION = " --state /srv/state.db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("list the runs with `perdure ps`", "list the runs with `perdure ps --state /srv/state.db`"),
        ("or: perdure fork a --from b", "or: perdure fork a --from b --state /srv/state.db"),
        ("see `perdure dlq ls --run x`; then go", "see `perdure dlq ls --run x --state /srv/state.db`; then go"),
        ("a:  perdure resume a --accept-changes\nb", "a:  perdure resume a --accept-changes --state /srv/state.db\nb"),
        ("pip install perdure, perdure run FILE", "pip install perdure, perdure run FILE"),
        ("see `perdure ps --state x`", "see `perdure ps --state x`"),
    ],
)  # fmt: skip
def test_commands_say_where_the_runs_are(text: str, expected: str) -> None:
    """Each command that looks at a state file, and nothing else; none is changed where it is not needed."""
    assert commands.located(text, OPTION) == expected
    assert commands.located(expected, OPTION) == expected
    assert commands.located(text, "") == text


def test_names_are_quoted() -> None:
    """A shell takes them as one word."""
    assert commands.fork("a b", "it's") == """perdure fork 'a b' --from 'it'"'"'s'"""


class Response:
    """What clients hang on their errors."""

    status_code = 422
    headers: dict[str, str] = {}  # noqa: RUF012
    url = "https://api.example.org/orders"

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.encoding = "utf-8"


class HTTPStatusError(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__("422 Unprocessable Entity")
        self.response = response


def command(stderr: bytes | str | None, stdout: bytes | str | None = None) -> subprocess.CalledProcessError:
    return subprocess.CalledProcessError(3, ["tool"], stdout, stderr)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (command("disk is full"), "its stderr ends with: disk is full"),
        (command(b"disk \xff is full"), "its stderr ends with: disk \N{REPLACEMENT CHARACTER} is full"),
        (command("", "only here"), "its output ends with: only here"),
        (subprocess.TimeoutExpired(["tool"], 3, stderr=b"waiting"), "its stderr ends with: waiting"),
        (HTTPStatusError(Response(b'{"error": "no such item"}')), 'the response says: {"error": "no such item"}'),
    ],
)
def test_what_a_command_or_a_server_says_is_kept(error: Exception, said: str) -> None:
    """The text of such an error leaves out why it failed."""
    capture.add_output(error)
    capture.add_output(error)
    assert error.__notes__ == [f"perdure: {said}"]
    assert capture.to_fault(error).notes == error.__notes__


def test_it_is_redacted_and_bounded() -> None:
    """Also where it is long: a credential is not cut in two before it is found."""
    error = command("x" * 50_000 + " password=hunter2 " + "y" * 995)
    capture.add_output(error)
    (note,) = error.__notes__
    assert "hunter2" not in note
    assert len(note) < 1_100


def test_errors_without_output_get_no_note() -> None:
    """Nothing is added that the text says already, or that is not there."""
    for error in (command(None), command("  "), ValueError("x"), HTTPStatusError(Response(b""))):
        capture.add_output(error)
        assert not hasattr(error, "__notes__")


def hidden(text: str) -> str:
    return text.replace("hunter22", "***")


@pytest.mark.parametrize("size", [999, 1000, 1001, 20_000, 20_001])
def test_how_much_is_kept_of_what_a_command_says(size: int) -> None:
    """The last 1,000 characters of stderr, of text and of bytes; credentials are hidden before it is cut."""
    for text in ("x" * (size - 1) + "y", ("x" * (size - 1) + "y").encode()):
        kept = "x" * 999 + "y" if size > 1000 else "x" * (size - 1) + "y"
        dots = "..." if size > 1000 else ""
        assert output.notes_of(command(text), hidden) == [f"perdure: its stderr ends with: {dots}{kept}"]
    long = "hunter22" + "x" * 998
    assert output.notes_of(command(long), hidden) == ["perdure: its stderr ends with: ..." + "**" + "x" * 998]
    assert output.notes_of(command("lost" + "x" * 19_996 + " end"), lambda text: text[-7:]) == [
        "perdure: its stderr ends with: xxx end"
    ]


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_how_much_is_kept_of_what_a_server_says(size: int) -> None:
    """The first 1,000 characters, on one line; the body that urllib has read, too."""
    body = "a \n b" + "x" * (size - 3)
    said = "a b" + "x" * (size - 3)
    kept = said if size <= 1000 else f"{said[:1000]}..."
    error = urllib.error.HTTPError("http://x", 500, "no", Message(), io.BytesIO(body.encode()))
    assert output.notes_of(error, hidden) == [f"perdure: the response says: {kept}"]
    empty = urllib.error.HTTPError("http://x", 500, "no", Message(), io.BytesIO(b" \n "))
    assert output.notes_of(empty, hidden) == []
    other = type("Other", (Exception,), {"__module__": "elsewhere"})("no")
    other.file = io.BytesIO(b"a body")
    assert output.notes_of(other, hidden) == []


def test_what_a_command_of_another_library_says_is_found() -> None:
    """On the result that hangs on the exception; stderr before stdout; and nothing that the text says already."""
    error: Any = RuntimeError("no")
    error.result = SimpleNamespace(stderr="", stdout="from stdout")
    assert output.notes_of(error, hidden) == ["perdure: its output ends with: from stdout"]
    error.result.stderr = "from stderr"
    assert output.notes_of(error, hidden) == ["perdure: its stderr ends with: from stderr"]
    error.stderr = "own"
    assert output.notes_of(error, hidden) == ["perdure: its stderr ends with: own"]
    said: Any = RuntimeError("it says: own words")
    said.stderr = "own words"
    assert output.notes_of(said, hidden) == []

    def broken(text: str) -> str:
        raise KeyError(text)

    assert output.notes_of(error, broken) == []
