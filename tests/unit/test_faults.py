"""Exceptions as data, and back: `except` behaves on resume as on the first run."""

from __future__ import annotations

import json
import os
import subprocess

import httpx
import pytest
from raised_errors import AbstractError, Batch, Both, Connection, Declined, FrozenError, OwnText, Slotted, again, raised

from perdure import errors
from perdure.core.exceptions import capture
from perdure.core.exceptions.attempt_notes import AttemptNote, note
from perdure.core.exceptions.capture import restore, to_fault


def exceptions_that_come_back_whole():
    yield from (ValueError(), ValueError("x"), ValueError(1, (2, [3]), {"a": b"b"}), KeyError("k"), StopIteration(4))
    yield from (OSError(), OSError("text"), ConnectionResetError(104, "reset"), BlockingIOError(11, "x", 5))
    yield raised(lambda: os.stat("/no/such/file"))
    yield raised(lambda: os.rename("/no/such/file", "/no/such/place"))
    yield raised(lambda: b"\xff".decode())
    yield raised(lambda: "é".encode("ascii"))
    yield UnicodeTranslateError("abc", 0, 2, "x")
    yield raised(lambda: json.loads("{"))
    yield raised(lambda: compile("a b", "file", "exec"))
    yield raised(lambda: __import__("no_such_module"))
    yield raised(lambda: no_such_name)  # noqa: F821
    yield raised(lambda: (1).no_such_attribute)
    yield Declined(402, reason="no money")
    yield FrozenError(5)
    yield Both("x")
    yield AbstractError("x")
    yield subprocess.CalledProcessError(2, ["ls"], b"out", b"err")
    yield httpx.InvalidURL("x")
    yield errors.StepTimeout("slow", "wait")
    yield errors.NotStorable("x", "y")
    yield errors.AlreadyRunning("x")
    yield Exception("\udc80", 10**30, float("inf"))


@pytest.mark.parametrize("exc", list(exceptions_that_come_back_whole()), ids=lambda exc: type(exc).__name__)
def test_what_is_plain_comes_back_whole(exc):
    """Same class, same text, same arguments, same attributes."""
    back = again(exc)
    assert type(back) is type(exc)
    assert str(back) == str(exc)
    assert repr(back) == repr(exc)
    assert back.args == exc.args
    assert vars(back) == vars(exc)


def test_what_python_keeps_elsewhere_comes_back():
    """errno, filename and the like are not in `args` alone."""
    back = again(raised(lambda: os.rename("/no/such/file", "/no/such/place")))
    assert (back.errno, back.filename, back.filename2) == (2, "/no/such/file", "/no/such/place")
    back = again(raised(lambda: b"a\xff".decode()))
    assert (back.object, back.start, back.end, back.encoding) == (b"a\xff", 1, 2, "utf-8")
    assert again(raised(lambda: __import__("no_such_module"))).name == "no_such_module"
    assert again(StopIteration(4)).value == 4
    assert again(raised(lambda: compile("a b", "file", "exec"))).lineno == 1
    assert again(Slotted("here")).place == "here"


def test_a_lost_attribute_says_so():
    """What could not be stored is listed, and using it explains itself; the text is as it was."""
    exc = OwnText(7, Connection())
    assert to_fault(exc).lost == ["connection"]
    back = again(exc)
    assert isinstance(back, OwnText)
    assert type(back).__name__ == "OwnText"
    assert str(back) == "order 7 over tcp"
    assert back.order == 7
    with pytest.raises(AttributeError, match="'connection' of this OwnText is not available"):
        _ = back.connection
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = back.other
    assert not hasattr(back, "other")


def test_an_argument_that_cannot_be_stored_is_stood_in_for():
    """The arguments keep their places, and print as they did."""
    thing = object()
    back = again(ValueError("a", thing, 3))
    assert back.args[::2] == ("a", 3)
    assert repr(back) == repr(ValueError("a", thing, 3))
    assert again(back).args == back.args


def test_what_was_restored_can_be_kept_again():
    """An exception from a resumed run that goes on to the next record loses nothing more."""
    once = again(OwnText(7, Connection()))
    twice = again(once)
    assert isinstance(twice, OwnText)
    assert str(twice) == str(once)
    assert to_fault(twice).lost == ["connection"]
    assert to_fault(twice).qualname == to_fault(OwnText(7, Connection())).qualname


def test_causes_contexts_and_notes_come_back():
    """What an exception came from, and what was noted on it, is as it was."""
    exc = Declined(1, reason="x")
    exc.__cause__ = KeyError("cause")
    exc.__context__ = IndexError("context")
    exc.__suppress_context__ = False
    exc.add_note("noted")
    back = again(exc)
    assert (type(back.__cause__), str(back.__cause__)) == (KeyError, "'cause'")
    assert (type(back.__context__), str(back.__context__)) == (IndexError, "context")
    assert back.__suppress_context__ is False
    assert back.__notes__ == ["noted"]
    exc.__suppress_context__ = True
    assert again(exc).__suppress_context__ is True


def test_groups_come_back_for_except_star():
    """The members of a group are caught by their classes."""
    back = again(ExceptionGroup("many", [KeyError("a"), ExceptionGroup("inner", [OSError(2, "x")])]))
    assert str(back) == "many (2 sub-exceptions)"
    assert type(back) is ExceptionGroup
    matched, rest = back.split(OSError)
    assert matched.exceptions[0].exceptions[0].errno == 2
    assert [type(each) for each in rest.exceptions] == [KeyError]
    back = again(Batch("many", [KeyError("a")], extra=5))
    assert (type(back), back.extra, str(back)) == (Batch, 5, "many (1 sub-exception)")


def test_cycles_and_floods_are_bounded():
    """Endless chains, huge groups and huge texts make a bounded record that comes back."""
    loop = ValueError("loop")
    loop.__cause__ = KeyError("inner")
    loop.__cause__.__cause__ = loop
    assert type(again(loop).__cause__) is KeyError
    assert to_fault(loop).cause.cause is None
    huge = ExceptionGroup("huge", [ValueError("x" * 100) for _ in range(1500)])
    data = capture.encode(to_fault(huge))
    assert len(data) < 600_000
    back = restore(capture.decode(data))
    assert isinstance(back, ExceptionGroup)
    assert len(back.exceptions) == 1500
    assert str(back) == "huge (1500 sub-exceptions)"
    assert len(capture.encode(to_fault(ValueError("x" * 5_000_000)))) < 3_000_000
    deep = ValueError("bottom")
    for _ in range(900):
        deep = ExceptionGroup("deep", [deep])
    assert str(again(deep)) == "deep (1 sub-exception)"
    fault, depth = to_fault(deep), 0
    while fault.members:
        fault, depth = fault.members[0], depth + 1
    assert depth < 40


def test_the_traceback_is_kept_as_text():
    """People see where it came from; a very long one keeps its beginning and its end."""
    assert "in raised" in to_fault(raised(lambda: 1 / 0)).traceback
    long = to_fault(raised(lambda: {}["x" * 100_000])).traceback
    assert len(long) < 21_000
    assert long.startswith("Traceback")
    assert "left out" in long


def test_notes_of_attempts():
    """The user's own exception tells how often it was tried and what each try said; equal ones are one line."""
    tried = [AttemptNote("ConnectError", "refused")] * 3 + [AttemptNote("ReadTimeout", "")]
    assert note("step 'charge'", tried, 7.31, "no attempts left") == [
        "perdure: step 'charge' failed 4 times in 7.3 s; no attempts left",
        "  1-3. ConnectError: refused",
        "  4. ReadTimeout",
    ]
    first = "perdure: step 'charge' failed at its first attempt, after 250 ms"
    assert note("step 'charge'", tried[:1], 0.25) == [first]


def test_notes_of_attempts_are_bounded():
    """A thousand attempts with long messages of many lines are a few short lines."""
    tried = [AttemptNote("Error", f"{number}\n" + "x" * 10_000) for number in range(1, 1001)]
    lines = note("step 'charge'", tried, 3600)
    assert len(lines) <= 10
    assert all(len(line) < 250 and "\n" not in line for line in lines)
    assert lines[1].startswith("  1. Error: 1 ")
    assert lines[-1].startswith("  1000. ")
    shown = sum(line.lstrip()[0].isdigit() for line in lines[1:])
    assert f"  ... {1000 - shown} lines left out" in lines
