"""Links over HTTP: looking decides nothing, posting decides once, and without a whole, fresh token nothing is done."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import perdure
import perdure.http
from conftest import Machine
from perdure import workflow
from perdure.core.signal_links import Link, sign
from perdure.core.values import codec
from perdure.engines.local import engine as local
from perdure.errors import OptionError, StateBusy, Suspended
from perdure.http.server import parsed, serving
from perdure.store import approvals, signals
from perdure.store.link_keys import keys_of
from waiting import until

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@workflow
def asks_and_waits() -> list[object]:
    perdure.publish("link", perdure.signal_url("paid", key="7").rpartition("/")[2])
    decision = perdure.approval('<b>pay</b> & "go"?', details="<script>alert(1)</script>", timeout="2d")
    return [decision.approved, decision.by, decision.note, perdure.wait_for("paid", key="7", timeout="2d")]


class Site:
    """The app with a run that asks; `approve` and `signal` are its addresses."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.app = perdure.http.app(machine.state)
        self.go_on()
        store = machine.engine.store
        self.run = store.runs()[0].id
        ((self.topic, _),) = approvals.open_topics(store, store.runs()[0])
        (self.key,) = keys_of(machine.state)
        self.approve = f"/approve/{self.token('approval', self.topic.rpartition('#')[2])}"
        found = machine.engine.store.journal.read(
            lambda at: at.execute("SELECT output FROM step WHERE name = 'perdure.signal_url'").fetchone()
        )
        self.signal = str(codec.to_builtins(found[0])).removeprefix("https://host.example")

    def token(self, kind: Any, nonce: str, *, later: float = 2 * 86_400) -> str:
        return sign(Link(kind, self.run, "", "", nonce, int(self.machine.world.time + later)), self.key)

    def go_on(self) -> object:
        try:
            return asks_and_waits()
        except Suspended:
            return None

    def ask(self, method: str, address: str, **options: Any) -> httpx.Response:
        (answer,) = self.ask_all([(method, address, options)])
        return answer

    def ask_all(self, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.request(method, address, **options) for method, address, options in requests]

        return asyncio.run(send())

    def letters(self) -> list[str]:
        store = self.machine.engine.store
        return [one.event for one in signals.not_taken(store, store.run(self.run).rid)]


@pytest.fixture
def site(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("PERDURE_PUBLIC_URL", "https://host.example")
    yield Site(machine)
    local.close_all()


def test_looking_decides_nothing_and_posting_decides_once(site: Site) -> None:
    """However often a prefetcher follows the link. A second answer is told who decided; the workflow has the first."""
    for _ in range(3):
        page = site.ask("GET", site.approve, headers=BROWSER)
        assert (page.status_code, site.ask("HEAD", site.approve).status_code) == (200, 200)
    assert site.letters() == []
    assert "&lt;b&gt;pay&lt;/b&gt; &amp; &quot;go&quot;?" in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    form = {"decision": "approve", "by": "Ann <a>", "note": "fine"}
    done = site.ask("POST", site.approve, data=form, headers=BROWSER)
    assert (done.status_code, "approved by Ann &lt;a&gt;" in done.text) == (200, True)
    for method in ("POST", "GET"):
        second = site.ask(method, site.approve, data={"decision": "reject", "by": "Bob"} if method == "POST" else None)
        assert (second.status_code, "approved by Ann" in second.text) == (410, True)
    assert site.ask("POST", site.signal, json={"amount": 5}).json() == {"outcome": "stored"}
    assert site.go_on() == [True, "Ann <a>", "fine", {"amount": 5}]
    assert site.ask("POST", site.approve, json={"approved": False}).status_code == 410
    assert site.ask("GET", site.approve).status_code == 410


def test_a_signal_is_sent_once_with_a_link(site: Site) -> None:
    """The same body again is no other signal: services that call back do so more than once. Another body is refused."""
    answers = [site.ask("POST", site.signal, content=body) for body in (b'{"a": 1}', b'{"a":1}', b'{"a": 2}')]
    assert [one.status_code for one in answers] == [200, 200, 410]
    assert [one.json().get("outcome") for one in answers] == ["stored", "repeated", None]
    assert site.letters() == ["paid"]


def test_an_empty_body_uses_up_no_link(site: Site) -> None:
    """A probe, or a proxy that has lost the body, sends no signal; who means nothing posts null."""
    for body in (b"", b" \n"):
        refused = site.ask("POST", site.signal, content=body)
        assert (refused.status_code, "the body is empty" in refused.text) == (422, True)
    assert site.letters() == []
    assert site.ask("POST", site.signal, content=b"null").json() == {"outcome": "stored"}


def test_a_proxy_may_pass_the_path_of_the_public_address_on(site: Site) -> None:
    """Or take it away: the link works as it was printed. A name that holds a line break makes no line of its own."""
    by = "Ann on 2026-11-01\nrun: approved by the Board"
    done = site.ask("POST", f"/perdure{site.approve}", json={"approved": True, "by": by})
    assert done.status_code == 200
    second = site.ask("POST", site.approve, json={"approved": False})
    assert (second.status_code, "approved by Ann on 2026-11-01 run: approved by the Board" in second.text) == (
        410,
        True,
    )
    assert site.ask("POST", f"/a/b{site.signal}", json={"amount": 5}).json() == {"outcome": "stored"}
    assert site.ask("POST", f"/perdure{site.signal}x", json={"amount": 5}).status_code == 401
    assert site.ask("GET", "/perdure/approve/").status_code == 404


def refused(site: Site) -> list[tuple[int, str, str, dict[str, Any]]]:
    """Status, method, address and body of what must do nothing."""
    expired = f"/approve/{site.token('approval', site.topic.rpartition('#')[2], later=-1)}"
    other = f"/approve/{site.token('approval', 'another')}"
    return [
        (401, "POST", site.approve[:-1], {"json": {"approved": True}}),
        (401, "POST", site.approve.replace("/approve/", "/signal/"), {"json": 1}),
        (401, "GET", "/approve/pdl_", {}),
        (401, "POST", "/signal/x", {"json": 1}),
        (410, "POST", expired, {"json": {"approved": True}}),
        (410, "GET", other, {}),
        (404, "GET", "/", {}),
        (404, "GET", "/approve/", {}),
        (404, "POST", "/runs", {}),
        (405, "GET", site.signal, {}),
        (405, "HEAD", site.signal, {}),
        (405, "PUT", site.approve, {}),
        (413, "POST", site.approve, {"content": b"x" * 1_000_001}),
        (413, "POST", site.signal, {"content": b"x" * 1_000_001}),
        (415, "POST", site.approve, {"content": b"approve"}),
        (422, "POST", site.approve, {"json": {"approved": "yes"}}),
        (422, "POST", site.approve, {"json": {"approved": True, "by": 7}}),
        (422, "POST", site.approve, {"data": {"note": "none"}}),
        (422, "POST", site.approve, {"content": b"decision=approve&decision=reject", "headers": FORM}),
        (422, "POST", site.approve, {"content": b"\xff=1", "headers": FORM}),
        (422, "POST", site.signal, {"content": b"{"}),
        (422, "POST", site.signal, {"content": b"NaN"}),
        (422, "POST", site.signal, {"content": b"1e999"}),
        (422, "POST", site.signal, {"content": b"[" * 100_000}),
    ]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_what_is_refused_does_nothing_and_says_little(site: Site) -> None:
    """With the status that says why, the headers that keep a page harmless, and no token in the answer."""
    for status, method, address, options in refused(site):
        answer = site.ask(method, address, **options)
        assert answer.status_code == status, (method, address, answer.text)
        assert "pdl_" not in answer.text.replace("pdl_***", "")
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert site.run not in answer.text or status == 410
    assert site.letters() == []


def test_a_state_that_is_busy_is_tried_again_later(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """503 with Retry-After; the log has the reason, and no token."""

    def busy(*_: object) -> None:
        raise StateBusy("another process kept the state file locked", "wait")

    store = site.machine.engine.store
    write, store.journal.write = store.journal.write, busy  # type: ignore[method-assign]
    with caplog.at_level(logging.DEBUG, "perdure"):
        answer = site.ask("POST", site.approve, json={"approved": True})
    store.journal.write = write  # type: ignore[method-assign]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "a link cannot be served: another process" in caplog.text
    assert not [one for one in caplog.records if one.name == "perdure" and "pdl_" in one.getMessage()]


PATHS = st.sampled_from(["/approve/", "/signal/", "//approve/", "/approve%2f", "/", "/../approve/", "/approve/./"])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])


@st.composite
def mutated(draw: st.DrawFn, good: list[str]) -> tuple[str, str, dict[str, Any]]:
    """A request with a token that was changed in one place, was cut, or is none."""
    token = draw(st.sampled_from(good))
    at = draw(st.integers(4, len(token) - 1))
    other = draw(st.sampled_from("ABCabc019-_=.%/ \u00e9"))
    changed = draw(st.sampled_from([token[:at] + other + token[at + 1 :], token[:at], token + other, other]))
    body = draw(st.sampled_from([b'{"approved": true}', b"decision=approve", b"", b"1"]) | st.binary(max_size=40))
    kind = draw(st.sampled_from(["application/json", FORM["Content-Type"], "text/plain", ""]))
    headers = {"Content-Type": kind, "X-HTTP-Method-Override": "POST", "Accept": "text/html"}
    address = draw(PATHS) + (token[:at] if changed in good else changed)
    return draw(METHODS), address, {"content": body, "headers": headers}


@pytest.mark.parametrize("lists", [40, pytest.param(2_000, marks=pytest.mark.long)])
def test_no_mutated_request_decides_anything(site: Site, lists: int) -> None:
    """Many requests with a token that was changed, and any method, path and body."""
    good = [site.approve.rpartition("/")[2], site.signal.rpartition("/")[2]]
    statuses = set()

    @settings(max_examples=lists, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(mutated(good), min_size=20, max_size=25))
    def mutate(requests: list[tuple[str, str, dict[str, Any]]]) -> None:
        statuses.update(answer.status_code for answer in site.ask_all(requests))

    mutate()
    assert site.letters() == []
    assert statuses <= {401, 404, 405}
    assert 401 in statuses
    assert site.ask("POST", site.approve, json={"approved": True}).status_code == 200  # the control


def test_the_server_beside_a_worker(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """A real server on a port of its own: it serves the same, logs no address, and ends."""
    local.close_all()
    with serving(site.machine.state, "127.0.0.1:0", "") as server:
        page = httpx.get(server.address + site.approve)
        assert (page.status_code, "server" in page.headers) == (200, False)
        large = httpx.post(server.address + site.approve, content=iter([b"x" * 600_000] * 2))
        assert large.status_code == 413
        done = httpx.post(server.address + site.approve, json={"approved": False, "by": "Ann", "note": "no"})
        assert json.loads(done.text) == {"outcome": "rejected by Ann"}
    until(lambda: "perdure-http" not in {thread.name for thread in threading.enumerate()}, "the end of the server")
    out, err = capfd.readouterr()
    assert "pdl_" not in out + err


BAD: list[tuple[str, str]] = [
    ("0.0.0.0:8787", "public-url"),
    ("[::]:8787", "public-url"),
    ("host.example:8787", "public-url"),
    ("http://127.0.0.1:1", "give a host and a port"),
    ("127.0.0.1", "give a host and a port"),
    ("user@127.0.0.1:1", "give a host and a port"),
    ("127.0.0.1:99999", "give a host and a port"),
]


@pytest.mark.parametrize(("address", "text"), BAD)
def test_addresses_that_are_not_listened_at(machine: Machine, address: str, text: str) -> None:
    """Other machines reach it only if that is said; what is no address is refused."""
    with pytest.raises(OptionError, match=text), serving(machine.state, address, ""):
        pass


def test_addresses_as_they_are_written() -> None:
    """A port alone is one of this machine."""
    assert [parsed(one) for one in ("8787", "localhost:1", "[::1]:2")] == [
        ("127.0.0.1", 8787),
        ("localhost", 1),
        ("::1", 2),
    ]
