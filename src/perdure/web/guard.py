"""What stands before every request: whose host is meant, whose page asks, and whether the token is right.

It decides before routing, and for every method. What is not known to hold no data needs the token.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from perdure.web.answers import problem
from perdure.web.session import Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS: Final = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "cache-control": "no-store",
        "content-security-policy": CSP,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "x-robots-tag": "noindex",
    }.items()
)

LARGEST: Final = 1_000_000
"""Bytes of a body."""

SESSION: Final = "/api/v1/session"
"""Where a code is exchanged: the one address of the API that needs no token."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_ASSET = re.compile(r"/assets/[a-z-]+\.(js|css|svg)")


class Hosts:
    """The hosts that a server goes by.

    Args:
        names: each with its port, unless it is 80.
        any_port: of this machine's own names every port is right: what forwards to a socket chooses its own.
    """

    def __init__(self, names: Iterable[str], *, any_port: bool = False) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._any_port = any_port

    def has(self, host: str) -> bool:
        """Is that one of them, to the letter?"""
        host = host.lower()
        if host in self._names:
            return True
        name, colon, port = host.rpartition(":")
        return self._any_port and (host in LOOPBACK or (bool(colon) and name in LOOPBACK and port.isdecimal()))


class Guard:
    """Passes on what may be answered, and adds to every answer what the browser has to know.

    Args:
        app: what answers.
        hosts: the names of this server.
        session: who may use it.
        views: the addresses of the page's views, each without a `/` at its end; they and the assets hold no data.
    """

    def __init__(self, app: App, hosts: Hosts, session: Session, views: re.Pattern[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._session = session
        self._views = views

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def answered(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in HEADERS}
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in own]
                message["headers"] = [*kept, *HEADERS]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, answered)
            return
        await self._app(scope, receive, answered)

    def _refusal(self, scope: Scope) -> App | None:
        headers = _Headers(scope)
        host = headers.only("host")
        if host is None or not self._hosts.has(host):
            return problem(421, "bad-host", "this server does not go by that host", "open the address that it printed")
        if self._is_foreign(scope, headers, host):
            return problem(403, "foreign", "the request comes from another site", "open the address that it printed")
        if _is_too_large(headers):
            return problem(413, "too-large", "the body is larger than 1 MB", "send less")
        if self._is_open(scope):
            return None
        if self._session.admits(headers.only("authorization") or ""):
            return None
        if self._session.is_limited:
            return problem(429, "too-many-failures", "too many wrong tokens in the last minute", "wait a minute")
        return problem(401, "no-token", "the token is missing or wrong", "open a new link: perdure ui")

    def _is_foreign(self, scope: Scope, headers: _Headers, host: str) -> bool:
        """Does another site ask? A link that somebody follows to a view is no question: the view holds no data."""
        origin = headers.only("origin")
        if headers.count("origin") and (origin is None or origin.lower() not in _origins(host)):
            return True
        site = headers.only("sec-fetch-site")
        if site in ("same-origin", "none") or not headers.count("sec-fetch-site"):
            return False
        followed = headers.only("sec-fetch-mode") == "navigate" and headers.only("sec-fetch-dest") == "document"
        return not (followed and scope["method"] == "GET" and self._is_view(scope["path"]))

    def _is_open(self, scope: Scope) -> bool:
        method, path = scope["method"], scope["path"]
        if method == "POST":
            return bool(path == SESSION)
        return method in ("GET", "HEAD") and (self._is_view(path) or _ASSET.fullmatch(path) is not None)

    def _is_view(self, path: str) -> bool:
        return self._views.fullmatch(path) is not None


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._found: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            self._found.setdefault(name.lower(), []).append(value)

    def count(self, name: str) -> int:
        return len(self._found.get(name.encode(), ()))

    def only(self, name: str) -> str | None:
        """The header of that name; None if there is none, or more than one."""
        found = self._found.get(name.encode(), ())
        return found[0].decode("latin-1").strip() if len(found) == 1 else None


def _origins(host: str) -> tuple[str, str]:
    return f"http://{host.lower()}", f"https://{host.lower()}"


def _is_too_large(headers: _Headers) -> bool:
    announced = headers.only("content-length") or "0"
    return not announced.isdecimal() or len(announced) > 18 or int(announced) > LARGEST


def is_loopback(host: str) -> bool:
    """Is that host this machine alone? A name may be anything, but for localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
