"""Requests of those who may not use the page: each address, by many methods, in many spellings, with no right token."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ui_server import TOKEN

from perdure.web import api_acting, api_reading

ROUTES = (
    *sorted({one.path for one in (*api_reading.ENDPOINTS, *api_acting.ENDPOINTS)}),
    *(
        "/session",
        "/openapi.json",
        "/events",
        "/export",
        "/runs/{run}/steps/{seq}/input",
        "/runs/{run}/steps/{seq}/result",
    ),
)
NAMES = {"run": "ui_month", "seq": "1", "letter": "1", "job": "0123456789abcdef"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get")
SPELLED = (
    *(
        "{}",
        "{}",
        "{}",
        "{}",
        "{}/",
        "/{}",
        "{}?token=" + TOKEN,
        "{}?limit=1",
        "{};a=b",
        "{}%00",
        "{}%2f",
        "{}/..",
        "{}#x",
    ),
    *("/x/..{}", "/assets/..{}", "/runs/..%2f..{}", "http://{{host}}{}", "http://evil.example{}"),
)
WRONG = (
    *("", "", f"Authorization: Bearer {TOKEN[:-1]}", f"Authorization: Bearer {TOKEN}x", "Authorization: Bearer "),
    *(f"Authorization: Bearer {TOKEN.upper()}", f"Authorization: Basic {TOKEN}", f"Authorization: {TOKEN}"),
    *(f"Authorization: Bearer\t{TOKEN[::-1]}", f"Authorization: Bearer {TOKEN} {TOKEN}", f"Cookie: token={TOKEN}"),
    *(f"X-Authorization: Bearer {TOKEN}", f"Proxy-Authorization: Bearer {TOKEN}", "Authorization: Bearer \xff\xfe"),
    f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}",
    f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer wrong",
)
MORE = (
    *("", "", "", "Accept: */*", "Origin: http://{host}", "Sec-Fetch-Site: same-origin", "X-Forwarded-For: 127.0.0.1"),
    *(
        "X-HTTP-Method-Override: GET",
        "X-Original-URL: /",
        "X-Rewrite-URL: /assets/style.css",
        "Idempotency-Key: 0123456789",
    ),
    *(
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
        "Range: bytes=0-9",
        "Upgrade: h2c",
    ),
)
FOREIGN = (
    *("Host: evil.example", "Host: {host}.evil.example", "Host: {host}@evil.example", "Host: {host}\r\nOrigin: null"),
    *("Host: {host}\r\nOrigin: https://evil.example", "Host: {host}\r\nSec-Fetch-Site: cross-site"),
    *("Host: evil.example\r\nX-Forwarded-Host: {host}", "Host: {host}\r\nSec-Fetch-Site: same-site"),
)
SMUGGLED = (
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
    "0\r\n\r\n{inner}",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n{inner}",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n{inner}",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\x0bchunked\r\nContent-Length: 3\r\n\r\n{inner}",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\n Authorization: Bearer {token}\r\nConnection: close\r\n\r\n",
    "{method} {path} HTTP/1.1\nHost: {host}\nAuthorization: Bearer wrong\nConnection: close\n\n",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization : Bearer {token}\r\n\r\n",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX: a\rAuthorization: Bearer {token}\r\n\r\n",
    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n"
    "Authorization: Bearer {token}\r\nConnection: close\r\n\r\n",
    "{method} {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n",
    "{method}  {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n",
    "{method} {path}\r\n\r\n",
)


def _path(chance: random.Random) -> str:
    route = "/metrics" if chance.random() < 0.03 else f"/api/v1{chance.choice(ROUTES)}"
    named = route.format_map(_Names(chance))
    changed = chance.random()
    if changed < 0.05:
        return named.replace("api", "%61pi", 1)
    return named.upper() if changed < 0.1 else chance.choice(SPELLED).format(named)


class _Names(dict[str, str]):
    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def __missing__(self, name: str) -> str:
        return NAMES.get(name, "x") if self._chance.random() < 0.9 else str(self._chance.getrandbits(20))


def requests(host: str, seed: int) -> Iterator[bytes]:
    """Well-formed requests without end, none of which has a right to an answer: most of them have no right token, the
    others have it, and come from another site."""
    chance = random.Random(seed)
    while True:
        path = _path(chance).format(host=host)
        if chance.random() < 0.8:
            heads = [f"Host: {host}", chance.choice(WRONG), chance.choice(MORE).format(host=host)]
        else:
            heads = [chance.choice(FOREIGN).format(host=host), f"Authorization: Bearer {TOKEN}"]
        method = chance.choice(METHODS)
        body = "" if method == "GET" else chance.choice(("", "", "{}", f'{{"code": "{chance.getrandbits(90):x}"}}'))
        heads += [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join(one for one in (f"{method} {path.replace(' ', '')} HTTP/1.1", *heads) if one)
        yield f"{head}\r\n\r\n{body}".encode("latin-1")


def smuggled(host: str, seed: int) -> Iterator[bytes]:
    """Bytes without end, each for a connection of its own, that a reader who is not strict takes for a request with
    the right token, or for two."""
    chance = random.Random(seed)
    inner = f"GET /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    while True:
        path = f"/api/v1{chance.choice(ROUTES).format_map(_Names(chance))}"
        given = chance.choice(SMUGGLED)
        yield given.format(method=chance.choice(METHODS), path=path, host=host, token=TOKEN, inner=inner).encode(
            "latin-1"
        )
