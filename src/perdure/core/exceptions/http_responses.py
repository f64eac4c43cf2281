"""What is kept of an HTTP response that hangs on an exception.

`except HTTPStatusError as exc: if exc.response.status_code == 404: ...` is how scripts decide what to do about a
failure, so it has to work on resume too. The response itself (sockets, streams, the client) is no data; what it says
is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.core.exceptions.recorded_objects import NotRecorded

LONGEST_BODY: Final = 100_000
"""Bytes that are kept of a body."""
_KEPT = (
    *("status_code", "status", "reason", "reason_phrase", "http_version"),
    *("ok", "is_error", "is_client_error", "is_server_error", "is_success", "is_informational"),
    *("is_redirect", "is_permanent_redirect", "has_redirect_location"),
)


class RecordedResponse:
    """Stands in for the response of an HTTP client on an exception that was read back.

    It has what the response had of: status_code, status, reason, reason_phrase, http_version, what tells kinds of
    status apart (ok, is_error, is_success, is_redirect and the like), url (as text), headers (a dict with lower-case
    names), text (of its first 100,000 bytes), json().
    Responses of httpx and requests come back as such (`http_objects`), where these are loaded.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.__dict__.update(content)

    def json(self) -> Any:
        """The body as JSON; raises json.JSONDecodeError, as the clients do."""
        import json  # here, since `import perdure` does not need it

        return json.loads(self.text)

    def __bool__(self) -> bool:
        # A requests.Response of a failure is false.
        return bool(self.__dict__.get("ok", True))

    def __repr__(self) -> str:
        status = self.__dict__.get("status_code", self.__dict__.get("status"))
        return f"<RecordedResponse [{status}]>"

    def __getattr__(self, name: str) -> Any:
        raise NotRecorded(
            f"{name!r} of this response is not available: the exception was read back from its record, which keeps "
            f"of a response only {', '.join(sorted(self.__dict__))}.",
            name=name,
            obj=self,
        )


def content_of(value: Any) -> dict[str, Any] | None:
    """What is kept of `value` as plain values, or None if it is no HTTP response.

    A body that has not been received yet stays unread: httpx refuses to give it, but requests, which marks it by a
    `_content` of False, would wait for the network.
    """
    try:
        status, headers = getattr(value, "status_code", None), getattr(value, "headers", None)
        if type(status) is not int or not isinstance(headers, Mapping):
            return None
        content = kept_of(value)
        content["headers"] = {str(name).lower(): str(each) for name, each in headers.items()}
        content["url"] = str(read(value, "url"))
        body = None if value.__dict__.get("_content") is False else read(value, "content")
        if isinstance(body, bytes):
            content["text"] = bounded_body(body).decode(read(value, "encoding") or "utf-8", "replace")
    except Exception:  # noqa: BLE001  an object of another library may do anything; then its response is not kept
        return None
    return content


def kept_of(value: Any) -> dict[str, Any]:
    """What a response says of its status; of a dict, what is under those names."""
    each = ((name, value.get(name) if type(value) is dict else read(value, name)) for name in _KEPT)
    return {name: kept for name, kept in each if type(kept) in (int, bool, str)}


def bounded_body(body: bytes, longest: int = LONGEST_BODY) -> bytes:
    """A body, or its first bytes and a word that it was cut."""
    if len(body) <= longest:
        return body
    end = f"\n[... perdure keeps the first {longest:,} bytes of a body ...]".encode()
    return body[: longest - len(end)] + end


def read(value: Any, name: str) -> Any:
    """An attribute; None where there is none, or reading it fails."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001  such as the body of a stream that was not read
        return None
