"""One request over HTTP: within a time limit, through the proxy that the environment names, never to another host.

A redirect is an error: a POST that follows one becomes a GET (RFC 9110 15.4.2, 15.4.3), and the credentials in an
address or a body are for the host they were given for.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import msgspec

from perdure.alerts.channels.send_timeout import SECONDS, Exchange, no_answer, within
from perdure.errors import AlertError

ANSWER = 64 * 1024
"""Bytes of an answer that are read."""


class Answer(msgspec.Struct, frozen=True):
    """What a server answered, whatever the status."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def retry_after(self) -> float | None:
        """The seconds that the server asks to wait, where it names a number of them (RFC 9110 10.2.3)."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() and len(text) < 7 else None


def post(url: str, body: bytes | None, headers: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> Answer:
    """Send a request: POST, or GET where there is no body.

    Args:
        url: the address; a user and password in it become Basic authentication (RFC 7617).
        body: what to send.
        headers: beside those that every request has.
        seconds: how long all of it may take.

    Raises:
        AlertError: no answer in time, no connection, or the address is not valid. The text does not hold the address.
    """
    address, login = _without_login(url)
    sent = {"User-Agent": "perdure", **login, **(headers or {})}
    answers: list[Answer] = []

    def work(exchange: Exchange) -> None:
        request = Request(address, data=body, headers=sent)  # http and https only: _without_login
        opener = build_opener(_Plain(exchange), _Secure(exchange), _NoRedirects)
        try:
            with opener.open(request, timeout=seconds) as response:
                answers.append(_answer(response.status, response, response.headers))
        except HTTPError as error:
            with error:
                answers.append(_answer(error.code, error, error.headers))

    try:
        within(seconds, work)
    except AlertError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):  # the socket's own timeout was a moment earlier
            raise no_answer(seconds) from None
        reason = cause if isinstance(cause, str) else getattr(cause, "strerror", None) or type(cause).__name__
        raise AlertError(
            f"no connection: {reason}", "check whether the service can be reached from this machine"
        ) from None
    return answers[0]


def _answer(status: int, response: IO[bytes] | Any, headers: Any) -> Answer:
    return Answer(status, response.read(ANSWER), {name.lower(): value for name, value in headers.items()})


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        port = parts.port
        host = parts.hostname.encode("ascii" if parts.hostname.isascii() else "idna").decode()
    except ValueError:
        raise AlertError("the address is not valid", "give one such as https://host/path") from None
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    # What a URL may not hold is escaped, as a browser would; what is escaped already stays.
    address = parts._replace(netloc=place, fragment="").geturl()
    address = "".join(
        c if "!" <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode(errors="replace")) for c in address
    )
    if parts.username is None:
        return address, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return address, {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _holding(kind: type[HTTPConnection], exchange: Exchange) -> Any:
    """A class of connections that the exchange can cut off."""

    class Connection(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            sock = self.sock  # urllib forgets it once the answer begins
            exchange.hold(lambda: _shut(sock))

    return Connection


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Plain(HTTPHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def http_open(self, req: Request) -> Any:
        return self.do_open(_holding(HTTPConnection, self._exchange), req)


class _Secure(HTTPSHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def https_open(self, req: Request) -> Any:
        return self.do_open(_holding(HTTPSConnection, self._exchange), req, context=self._context)  # type: ignore[attr-defined]
