"""W6: requests at the links of a run that asks and waits: looks, and tokens that are forged, expired or changed."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place

import perdure.http
from perdure.core import signal_links
from perdure.core.signal_links import Link, sign
from perdure.engines.local import engine as local
from perdure.store import approvals
from perdure.store.link_keys import keys_of

SCRIPT = """
import perdure

@perdure.workflow
def asks():
    with open("link", "w") as link:
        link.write(perdure.signal_url("paid", key="7", expires="30d"))
    perdure.approval("pay?", timeout="30d")
    perdure.wait_for("paid", key="7")
"""
BEGIN = """
try:
    app.asks()
except perdure.errors.Suspended:
    pass
"""

READ = """
import json, sqlite3, sys
at = sqlite3.connect(sys.argv[1])
print(json.dumps({name: [repr(row) for row in at.execute(f"SELECT * FROM {name}")] for name in sys.argv[2:]}))
"""

AT_ONCE = 50
"""Requests under way at a time."""

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
STRANGE = "=.%/+ ~\\x00\u00e9\u212a"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
BODIES = (b'{"approved": true}', b"decision=approve", b"decision=reject&by=Ann", b"", b"1", b"null")
KINDS = (b"application/json", b"application/x-www-form-urlencoded", b"text/plain", b"")
FIRST = ("/", "//", "/./", "/../", "/x/", "/approve/", "/%2f")
KEPT = ("run", "step", "signal", "wait")
"""Tables that a decision would show in."""


class Request(NamedTuple):
    """What comes in."""

    method: str
    path: str
    body: bytes = b""
    kind: bytes = b""


class Tokens(NamedTuple):
    """The two that are good, and what they say; `key` signs them."""

    approval: str
    signal: str
    said: tuple[Link, Link]
    key: bytes


def run(part: int, seed: int, cases: int) -> Figures:
    """So many requests that must do nothing at a run of their own; then the two links, which must work, once."""
    found, rng = Figures(), random.Random(f"{seed}/{part}")
    logging.getLogger("perdure").setLevel(logging.ERROR)
    with Place(SCRIPT, PERDURE_PUBLIC_URL="https://host.example") as place, ExitStack() as closed:
        place.python(BEGIN)
        closed.callback(local.close_all)
        tokens, before = _tokens(place), _rows(place)
        app = perdure.http.app(place.state)
        requests = [_request(rng, tokens, found) for _ in range(cases)]
        for request, status in zip(requests, asyncio.run(_ask_all(app, requests)), strict=True):
            found.cases += 1
            found.counts[f"answers of {status}"] += 1
            if status != 200 or request.method not in ("GET", "HEAD"):
                allowed = status in (401, 404, 405, 410)
                found.failures += [] if allowed else [f"{request} is answered with {status}"]
        if (after := _rows(place)) != before:
            changed = [name for name in KEPT if after[name] != before[name]]
            found.failures.append(f"something was decided by {cases} requests of part {part}: {', '.join(changed)}")
        else:
            found.failures += _used(app, place, tokens)
    return found


def _used(app: Any, place: Place, tokens: Tokens) -> Iterator[str]:
    """The good links do what they say, and once."""
    approve = Request("POST", f"/approve/{tokens.approval}", b'{"approved": true}', KINDS[0])
    reject = approve._replace(body=b'{"approved": false}')
    pay, other = (Request("POST", f"/signal/{tokens.signal}", body, KINDS[0]) for body in (b"5", b"6"))
    statuses = asyncio.run(_ask_all(app, [approve, reject, approve, pay, pay, other], at_once=1))
    if statuses != [200, 410, 410, 200, 200, 410]:
        yield f"the good links are answered with {statuses}"
    if len(_rows(place)["signal"]) != 2:
        yield f"{len(_rows(place)['signal'])} signals are stored by the good links"


def _tokens(place: Place) -> Tokens:
    (key,) = keys_of(place.state)
    token = (place.folder / "link").read_text().rpartition("/")[2]
    signal = signal_links.read(token, [key], time.time())
    store = local.engine_at(place.state).store
    ((topic, _),) = approvals.open_topics(store, store.run(signal.run))
    approval = Link("approval", signal.run, "", "", topic.rpartition("#")[2], int(time.time()) + 30 * 86_400)
    return Tokens(sign(approval, key), token, (approval, signal), key)


def _request(rng: random.Random, tokens: Tokens, found: Figures) -> Request:
    kind, make = rng.choices(_KINDS, _SHARES)[0]
    found.counts[kind] += 1
    return make(rng, tokens)


def _look(rng: random.Random, tokens: Tokens) -> Request:
    """A prefetcher, or a tool that tries methods; the address is good."""
    if rng.random() < 0.5:
        return Request(rng.choice(METHODS[:2]), f"/approve/{tokens.approval}")
    method = rng.choice([one for one in METHODS if one != "POST"])
    return Request(method, f"/signal/{tokens.signal}", rng.choice(BODIES), rng.choice(KINDS))


def _forged(rng: random.Random, tokens: Tokens) -> Request:
    """Signed with another key, with what a good one says or with something else."""
    return _posted(rng, sign(rng.choice(tokens.said), rng.randbytes(32)))


def _expired(rng: random.Random, tokens: Tokens) -> Request:
    """Good until a moment ago."""
    link = rng.choice(tokens.said)
    old = Link(link.kind, link.run, link.event, link.key, link.nonce, int(time.time()) - rng.randint(1, 10**6))
    return _posted(rng, sign(old, tokens.key), right=old.kind)


def _crossed(rng: random.Random, tokens: Tokens) -> Request:
    """Good, at the address of the other kind."""
    token, kind = rng.choice([(tokens.approval, "signal"), (tokens.signal, "approval")])
    return _posted(rng, token, right=kind)


def _changed(rng: random.Random, tokens: Tokens) -> Request:
    """Good but for one to three places, its end, its beginning, or another spelling of its letters."""
    kind, good = rng.choice([("approval", tokens.approval), ("signal", tokens.signal)])
    token = good
    while token == good:
        match rng.randrange(8):
            case 0:
                token = good[: rng.randrange(len(good))]
            case 1:
                token = good + rng.choice(ALPHABET + STRANGE) * rng.randint(1, 9)
            case 2:
                at = rng.randrange(len(good))
                token = good[:at] + good[at].swapcase() + good[at + 1 :]
            case 3:
                at = rng.randrange(len(good))
                token = good[:at] + good[at + 1 :]
            case 4:
                one, other = sorted((rng.randrange(len(good)), rng.randrange(len(good))))
                token = good[:one] + good[one:other][::-1] + good[other:]
            case _:
                letters = list(good)
                for _ in range(rng.randint(1, 3)):
                    letters[rng.randrange(len(good))] = rng.choice(ALPHABET + STRANGE)
                token = "".join(letters)
    return _posted(rng, token, right=kind)


def _posted(rng: random.Random, token: str, *, right: str = "") -> Request:
    """Mostly as a good one is posted."""
    kind = right or rng.choice(["approval", "signal"])
    path = ("/approve/" if kind == "approval" else "/signal/") + token
    if rng.random() < 0.1:
        path = rng.choice(FIRST) + path.removeprefix("/")
    method = "POST" if rng.random() < 0.8 else rng.choice(METHODS)
    return Request(method, path, rng.choice(BODIES), rng.choice(KINDS))


_KINDS: list[tuple[str, Callable[[random.Random, Tokens], Request]]] = [
    ("looks", _look),
    ("forged", _forged),
    ("expired", _expired),
    ("at the wrong address", _crossed),
    ("changed", _changed),
]
_SHARES = (1, 1, 1, 1, 6)


async def _ask_all(app: Any, requests: list[Request], *, at_once: int = AT_ONCE) -> list[int]:
    """The statuses of the answers, by the interface of ASGI; many are under way at a time."""
    statuses = [0] * len(requests)
    numbered = iter(enumerate(requests))

    async def ask() -> None:
        for number, request in numbered:
            statuses[number] = await _status(app, request)

    await asyncio.gather(*(ask() for _ in range(at_once)))
    return statuses


async def _status(app: Any, request: Request) -> int:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"host.example"), (b"content-type", request.kind), (b"x-http-method-override", b"POST")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, (b"content-length", str(len(request.body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("host.example", 80),
    }
    await app(scope, receive, send)
    return status


def _rows(place: Place) -> dict[str, list[str]]:
    """What the file has of the run, read by another program: two SQLites of one process undo each other's locks."""
    command = [sys.executable, "-c", READ, place.state, *KEPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def control(seed: int) -> Figures:
    """The code of a token is not compared with what it should be."""
    with mock.patch.object(signal_links.hmac, "compare_digest", return_value=True):
        return run(0, seed, 2_000)


def says(found: Figures) -> str:
    kinds = ", ".join(f"{found.counts[kind]:,} {kind}" for kind, _ in _KINDS)
    answers = {name.removeprefix("answers of "): n for name, n in found.counts.items() if name.startswith("answers")}
    return f"{kinds}; answers: {', '.join(f'{n:,} of {status}' for status, n in sorted(answers.items()))}"


PROOF = Proof(
    name="W6",
    claim="requests at the links of a run that asks and waits, looks with the good links among them, the others with"
    " tokens that are forged, expired or changed: nothing is decided, and the good links work afterwards, once",
    unit="requests",
    size=1_000_000,
    part=20_000,
    run=run,
    control=control,
    controlled="the code of a token is not compared",
    short="tests/integration/test_links_over_http.py",
    says=says,
)
