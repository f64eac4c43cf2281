"""The assessment of exceptions: permanent or transient, by class, cause and group."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sqlite3
import ssl
import subprocess
import urllib.error

import httpx
import msgspec
import pytest
from classified import assess
from http_errors import NOW, from_httpx

from perdure import errors


@pytest.mark.parametrize(
    "exc",
    [
        TypeError(), AttributeError(), NameError(), UnboundLocalError(), SyntaxError(), ImportError(),
        ModuleNotFoundError(), AssertionError(), NotImplementedError(), RecursionError(),
        FileNotFoundError(2, "x"), PermissionError(13, "x"), IsADirectoryError(21, "x"), NotADirectoryError(20, "x"),
        FileExistsError(17, "x"), OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), OSError(errno.EROFS, "x"),
        errors.NotStorable("x"), errors.OptionError("x"), errors.NotDecodable("x"), errors.Drift("x"),
        errors.StateCorrupt("x"), errors.HasDeadLetters("x"),
        KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError(), errors.StopRun(errors.Drift("x")),
        from_httpx(302), ValueError(), KeyError(), IndexError(), ZeroDivisionError(),
    ],
    ids=repr,
)  # fmt: skip
def test_permanent_exceptions(exc):
    """A wrong program or input, a missing file, a full disk, an interrupt: another try gives the same."""
    assert assess(exc, NOW).kind == "permanent"


@pytest.mark.parametrize(
    "exc",
    [
        Exception(), RuntimeError(), EOFError(), OSError(),
        json.JSONDecodeError("x", "", 0), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), MemoryError(),
        ConnectionResetError(104, "x"), BrokenPipeError(32, "x"), TimeoutError(),
        socket.gaierror(-3, "x"), ssl.SSLError(1, "x"), OSError(errno.EMFILE, "x"),
        errors.StepTimeout("x"), errors.ProcessDied("x"), errors.StateBusy("x"),
        sqlite3.OperationalError("database is locked"), subprocess.CalledProcessError(1, "x"),
        httpx.ConnectError("x"), httpx.ReadTimeout("x"), urllib.error.URLError("x"), msgspec.ValidationError("x"),
    ],
    ids=repr,
)  # fmt: skip
def test_transient_exceptions(exc):
    """The network, the moment, data from outside, and whatever is not known: try again."""
    assert assess(exc, NOW).kind == "transient"


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, IndexError, LookupError, ArithmeticError, ZeroDivisionError, OverflowError]
)
def test_what_the_input_causes_is_permanent(kind):
    """The same input gives the same error; a class of a library below it, or a cause that heals, is about an answer."""

    class InvalidAnswer(kind):
        pass

    assert assess(kind("x"), NOW).kind == "permanent"
    assert assess(InvalidAnswer("x"), NOW).kind == "transient"
    assert assess(raised(kind("x"), cause=ConnectionResetError(104, "x")), NOW).kind == "transient"
    assert assess(raised(kind("x"), cause=from_httpx(404)), NOW).kind == "permanent"


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (from_httpx(401), "credential-expired"),
        (from_httpx(403), "credential-expired"),
        (from_httpx(413), "oversized-payload"),
        (from_httpx(504), "cascading-timeout"),
        (TimeoutError(), "cascading-timeout"),
        (errors.StepTimeout("x"), "cascading-timeout"),
        (MemoryError(), "out-of-memory"),
        (OSError(errno.ENOSPC, "x"), "disk-full"),
        (errors.DiskFull("x"), "disk-full"),
        (errors.NotDecodable("x"), "schema-change"),
        (msgspec.ValidationError("x"), "schema-change"),
        (errors.Drift("x"), "code-drift"),
        (errors.StateBusy("x"), "lock-contention"),
        (from_httpx(404), None),
        (ValueError(), None),
    ],
    ids=repr,
)
def test_catalogue_codes(exc, code):
    """Where the entry of the failure catalogue is obvious, it is named."""
    assert assess(exc, NOW).code == code


def test_a_locked_database_is_lock_contention(tmp_path):
    """SQLite says so itself, in the exception."""
    first, second = (sqlite3.connect(tmp_path / "db", isolation_level=None, timeout=0) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()
    assert assess(locked.value, NOW).code == "lock-contention"


def raised(exc, *, cause=None, context=None):
    exc.__cause__, exc.__context__ = cause, context
    return exc


def test_an_explicit_cause_decides_about_an_unknown_exception():
    """`raise OrderFailed() from http_error` is judged as the HTTP error."""
    seen = assess(raised(RuntimeError(), cause=from_httpx(429, {"Retry-After": "9"})), NOW)
    assert (seen.kind, seen.retry_after) == ("throttled", 9.0)
    assert assess(raised(RuntimeError(), cause=from_httpx(404)), NOW).kind == "permanent"


def test_an_exception_that_is_given_another_one_is_about_it():
    """As libraries wrap what they were told: `raise ConnectionError(error)`."""
    assert assess(raised(RuntimeError(from_httpx(429))), NOW).kind == "throttled"
    assert assess(raised(RuntimeError("once", from_httpx(429))), NOW).kind == "transient"


def test_what_was_merely_being_handled_decides_nothing():
    """An implicit context may have nothing to do with the error; that there was too much load is worth a wait."""
    assert assess(raised(RuntimeError(), context=TypeError()), NOW).kind == "transient"
    busy = RuntimeError()
    busy.__context__ = from_httpx(429)
    assert (assess(busy, NOW).kind, assess(busy, NOW).confidence) == ("throttled", "possible")
    busy.__suppress_context__ = True  # raise ... from None
    assert assess(busy, NOW).kind == "transient"


def test_the_exception_itself_counts_before_its_cause():
    """A TypeError is a TypeError, whatever it was raised from."""
    assert assess(raised(TypeError(), cause=from_httpx(503)), NOW).kind == "permanent"


def test_a_group_is_transient_when_all_of_it_is():
    """One permanent member is enough; else the longest named delay counts."""
    busy = [from_httpx(429, {"Retry-After": "3"}), RuntimeError(), from_httpx(429, {"Retry-After": "5"})]
    assert assess(ExceptionGroup("", [ValueError(), TypeError()]), NOW).kind == "permanent"
    seen = assess(ExceptionGroup("", busy), NOW)
    assert (seen.kind, seen.retry_after) == ("throttled", 5.0)
    assert assess(ExceptionGroup("", [RuntimeError()]), NOW).kind == "transient"
