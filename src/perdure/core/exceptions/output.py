"""What a failed command or an HTTP response says about its failure, which the exception's own text leaves out.

`CalledProcessError` says "returned non-zero exit status 1" and keeps the reason in `stderr`; an `HTTPStatusError` says
"422 Unprocessable" and keeps it in the body of `response`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.core.exceptions.http_responses import content_of

STDERR = "perdure: its stderr ends with"
STDOUT = "perdure: its output ends with"
BODY = "perdure: the response says"
SAID = (STDERR, STDOUT, BODY)
LONGEST = 1_000
"""Characters that are shown: of the output of a command the last ones, of a response the first ones."""
READ = 20_000
"""Characters that are looked at."""


def notes_of(exc: BaseException, hide: Callable[[str], str]) -> list[str]:
    """Lines for the notes of an exception; empty if there is nothing that its text does not say. Never raises.

    Args:
        exc: as it was raised.
        hide: takes credentials out of a text.
    """
    try:
        found = _command(exc, hide) or _response(exc, hide)
        return [found] if found and found.partition(": ")[2].partition(": ")[2] not in str(exc) else []
    except Exception:  # noqa: BLE001  an object of another library may do anything
        return []


def _command(exc: BaseException, hide: Callable[[str], str]) -> str:
    contents = vars(exc)
    result: Any = contents.get("result")  # as invoke and fabric have it
    for name, label in (("stderr", STDERR), ("output", STDOUT), ("stdout", STDOUT)):
        value = contents.get(name)
        if value is None and name != "output":
            value = getattr(result, name, None)
        text = value[-READ:].decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
        if isinstance(text, str) and (text := text[-READ:].strip()):
            hidden = hide(text)
            kept = hidden if len(hidden) <= LONGEST else f"...{hidden[-LONGEST:]}"
            return f"{label}: {kept}"
    return ""


def _body_of_urllib(exc: BaseException) -> str:
    """Of an HTTPError whose body was read and is kept (`engines/runtime/error_bodies.py`)."""
    file: Any = vars(exc).get("file") if type(exc).__module__ == "urllib.error" else None
    text: str = file.getvalue()[:READ].decode("utf-8", "replace") if hasattr(file, "getvalue") else ""
    return text


def _response(exc: BaseException, hide: Callable[[str], str]) -> str:
    content = content_of(getattr(exc, "response", None)) or {}
    text = " ".join((str(content.get("text", "")) or _body_of_urllib(exc))[:READ].split())
    if not text:
        return ""
    hidden = hide(text)
    return f"{BODY}: {hidden if len(hidden) <= LONGEST else f'{hidden[:LONGEST]}...'}"
