"""The body of urllib's HTTPError, which is on the socket still: what the server says would be lost with it."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

from perdure.core.exceptions.http_responses import LONGEST_BODY, bounded_body

PATIENCE = 1.0
"""Seconds that are waited for the rest of a body at most."""


def keep_body(error: Exception) -> None:
    """Read the body of an HTTPError now, such that it can be read as before. Does nothing to other exceptions."""
    if type(error).__module__ != "urllib.error" or type(error).__name__ != "HTTPError":
        return
    held = vars(error)
    file: Any = held.get("fp")
    connection = _socket(file)
    if connection is None:  # it was read, or closed, or is of another kind of address
        return
    with suppress(Exception):  # what the server sent stays unread then
        before = connection.gettimeout()
        connection.settimeout(PATIENCE if before is None else min(before, PATIENCE))
        try:
            body = io.BytesIO(bounded_body(file.read(LONGEST_BODY + 1)))
        finally:
            with suppress(OSError):  # it was read to its end, and closed by that
                connection.settimeout(before)
        for name in ("read", "readline", "readlines", "readinto", "read1", "peek", "seek", "tell"):
            held.pop(name, None)  # methods of the file before, which tempfile's wrapper keeps
        held["fp"] = held["file"] = body
        file.close()


def _socket(file: Any) -> Any:
    """The connection that an open response reads from; None if there is none."""
    found = getattr(getattr(getattr(file, "fp", None), "raw", None), "_sock", None)
    return found if hasattr(found, "settimeout") else None
