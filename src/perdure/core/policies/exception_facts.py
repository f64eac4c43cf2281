"""What an exception says of itself, read without importing the library that raised it.

Whatever its attributes are or do, reading it never raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from perdure.core.policies.retry_after import named_delay

LONGEST_TEXT = 2_000
"""Characters of the message that rules look at."""

_WIDE = 100
"""Elements that a `*` in a path of attributes stands for."""


class Facts:
    """The facts about one exception.

    `status` is the HTTP status that the server answered with, `delay` the seconds from now that it asked to wait.

    Args:
        exc: the exception.
        now: seconds since the epoch; a delay that was named as a date is counted from it.
    """

    __slots__ = ("_text", "_values", "delay", "exc", "names", "status")

    def __init__(self, exc: Exception, now: float) -> None:
        self.exc = exc
        self.names = class_names(type(exc))
        self._text: str | None = None
        self._values: dict[str, tuple[str, ...]] = {}
        response = peek(exc, "response")
        if isinstance(response, dict):  # botocore's ClientError
            meta = response.get("ResponseMetadata")
            meta = meta if isinstance(meta, dict) else {}
            self.status = _plausible(meta.get("HTTPStatusCode"))
            self.delay = named_delay(partial(_header, meta.get("HTTPHeaders")), self.status, now)
        else:
            headers = _headers(exc, response)
            self.status = _status(exc, response, headers)
            self.delay = None if self.status is None else named_delay(partial(_header, headers), self.status, now)

    @property
    def text(self) -> str:
        """The beginning of its message, and of what a program has said before it failed."""
        if self._text is None:
            parts = []
            said = self.values("body.error.message|body.message")
            for part in (_message(self.exc), *said[:1], peek(self.exc, "stderr"), peek(self.exc, "output")):
                if isinstance(part, bytes):
                    part = part[-LONGEST_TEXT:].decode("utf-8", "replace")
                if isinstance(part, str) and part:
                    parts.append(part[:LONGEST_TEXT])
            self._text = "\n".join(parts)[:LONGEST_TEXT]
        return self._text

    def values(self, path: str) -> tuple[str, ...]:
        """What lies at a path of attributes, keys and indexes, as texts; `*` is any element, `a|b` one of two paths."""
        found = self._values.get(path)
        if found is None:
            found = self._values[path] = tuple(
                value for one in path.split("|") for value in _values(self.exc, one.split("."))
            )
        return found


def class_names(kind: type) -> tuple[str, ...]:
    """The names along the MRO: `module.qualname`, and the mere name of what is built in."""
    names = []
    for each in kind.__mro__:
        module, name = str(each.__module__), each.__qualname__
        names.append(name if module == "builtins" else f"{module}.{name}")
    return tuple(names)


def peek(holder: Any, name: str) -> Any:
    """An attribute, or None: reading an exception of another library must never raise."""
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001  a property may raise anything
        return None


def inner(exc: Exception) -> Exception | None:
    """What the exception is about: its explicit cause, or what it wraps (SQLAlchemy, urllib, requests).

    Only the cause that was named with `raise ... from`: what was merely being handled may have nothing to do with it.
    """
    if isinstance(exc.__cause__, Exception):
        return exc.__cause__
    for name in ("orig", "reason"):
        wrapped = peek(exc, name)
        if isinstance(wrapped, Exception):
            return wrapped
    args = peek(exc, "args")
    first = args[0] if isinstance(args, tuple) and args else None
    return first if isinstance(first, Exception) else None


def _message(exc: Exception) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001  of another library
        return ""


def _values(holder: Any, path: list[str]) -> Iterator[str]:
    if not path:
        if isinstance(holder, bytes):
            holder = holder[:LONGEST_TEXT].decode("utf-8", "replace")
        if isinstance(holder, str | int):
            yield str(holder)[:LONGEST_TEXT]
        return
    name, *rest = path
    try:
        if name == "*":
            several = list(holder.values()) if isinstance(holder, dict) else list(holder)
            for each in several[:_WIDE]:
                yield from _values(each, rest)
        elif isinstance(holder, dict):
            if name in holder:
                yield from _values(holder[name], rest)
        elif isinstance(holder, list | tuple):
            if name.isdecimal() and int(name) < len(holder):
                yield from _values(holder[int(name)], rest)
        else:
            yield from _values(getattr(holder, name, None), rest)
    except Exception:  # noqa: BLE001  a property may raise anything
        return


# -- HTTP -------------------------------------------------------------------------------------------------------------


def _status(exc: Exception, response: Any, headers: Any) -> int | None:
    """The HTTP status, from where the client libraries keep it.

    `status_code`: openai, anthropic, azure; `http_status`: stripe; `response.status_code`: httpx, requests;
    `status`: aiohttp, kubernetes; `code`: urllib, google-api-core. The last two are names that other exceptions use for
    other numbers, so they count only beside headers or a response.
    """
    for holder, name in ((exc, "status_code"), (exc, "http_status"), (response, "status_code"), (response, "status")):
        status = _plausible(peek(holder, name))
        if status is not None:
            return status
    if headers is None and response is None:
        return None
    return _plausible(peek(exc, "status")) or _plausible(peek(exc, "code"))


def _plausible(status: object) -> int | None:
    """`status` if it is the HTTP status of a failure."""
    if isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599:
        return int(status)
    return None


def _headers(exc: Exception, response: Any) -> Any:
    headers = peek(response, "headers")
    return headers if headers is not None else peek(exc, "headers")


def _header(headers: Any, name: str) -> str | None:
    """One header as text; the clients' mappings ignore case, a plain dict has one of these two spellings."""
    get = peek(headers, "get")
    if get is None:
        return None
    for spelling in (name, name.title()):
        value = get(spelling)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            return value.strip()
    return None
