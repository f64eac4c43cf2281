"""A server that says when to come back is obeyed, whichever client asked it."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from conftest import Machine
from perdure import Retry, step, workflow

CLOCK = 1_900_000_000.0
"""What time it is by the server's clock, which is years ahead of ours."""


class Server(HTTPServer):
    """Answers as `script` says (status and Retry-After), then 200 for ever."""

    script: list[tuple[int, str | None]]
    requests: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        status, delay = self.server.script.pop(0) if self.server.script else (200, None)
        self.send_response_only(status)
        self.send_header("Date", formatdate(CLOCK, usegmt=True))
        if delay is not None:
            self.send_header("Retry-After", delay)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.script, server.requests = [], 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def with_urllib(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return int(answer.status)


def with_httpx(url: str) -> int:
    return httpx.get(url, timeout=60, trust_env=False).raise_for_status().status_code


CLIENTS = [with_urllib, with_httpx]


def fetch(client: Callable[[str], int], url: str, **policy: Any) -> int:
    get = step(client, name="get", retry=Retry(jitter=0, **policy))

    @workflow
    def wf() -> int:
        return get(url)

    return wf()


@pytest.mark.parametrize("client", CLIENTS)
def test_seconds_and_dates(machine: Machine, server: Server, client: Callable[[str], int]) -> None:
    """Retry-After in seconds, and as a date by the server's own clock; neither uses up attempts."""
    date = formatdate(CLOCK + 45, usegmt=True)
    server.script = [(429, "7"), (503, "30"), (429, date), (429, "2")]
    assert fetch(client, server.url, attempts=2) == 200
    assert machine.world.slept == [7, 30, 45, 2]


def forms(moment: float) -> list[str]:
    """The three forms of an HTTP-date, as RFC 9110, section 5.6.7, has them."""
    at = datetime.fromtimestamp(moment, UTC)
    asctime = f"{at:%a %b} {at.day:2} {at:%H:%M:%S %Y}"
    return [f"{at:%a, %d %b %Y %H:%M:%S} GMT", f"{at:%A, %d-%b-%y %H:%M:%S} GMT", asctime]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_form_of_a_date(machine: Machine, server: Server, client: Callable[[str], int]) -> None:
    """IMF-fixdate, RFC 850 and asctime; for one that is past, the policy's shortest wait is kept."""
    later, past = forms(CLOCK + 45), forms(CLOCK - 86400 * 400)
    server.script = [(503, date) for date in (*later, *past)]
    assert fetch(client, server.url, attempts=2) == 200
    assert machine.world.slept == [45, 45, 45, 1, 1, 1]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("date", forms(CLOCK + 86400 * 365 * 10))
def test_a_date_beyond_the_bound_ends_the_step_at_once(
    machine: Machine, server: Server, client: Callable[[str], int], date: str
) -> None:
    """Ten years are nothing to wait for, however they are written."""
    server.script = [(429, date)] * 9
    with pytest.raises(Exception, match="429"):
        fetch(client, server.url)
    assert (machine.world.slept, server.requests) == ([], 1)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "delay", ["-5", "soon", "1e3", "Tue, 99 Nov 2023 99:99:99 GMT", "2030-01-01T00:00:00Z", "5, 10"]
)
def test_what_is_no_delay_is_ignored(
    machine: Machine, server: Server, client: Callable[[str], int], delay: str
) -> None:
    """The policy's own waits are kept instead; a 503 that names nothing uses up attempts, a 429 does not."""
    server.script = [(429, delay), (429, delay), (503, delay)]
    assert fetch(client, server.url, attempts=2) == 200
    assert machine.world.slept == [1, 2, 4]
    server.script = [(503, delay)] * 9
    with pytest.raises(Exception, match="503"):
        fetch(client, server.url, attempts=2)
    assert machine.world.slept[3:] == [1]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_delay_beyond_the_bound_ends_the_step_at_once(
    machine: Machine, server: Server, client: Callable[[str], int]
) -> None:
    """A server that says "in a year" does not hang the run."""
    server.script = [(429, "31536000")] * 9
    with pytest.raises(Exception, match="429"):
        fetch(client, server.url)
    assert machine.world.slept == []
    assert server.requests == 1


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("status", "requests"), [(400, 1), (401, 1), (404, 1), (500, 4), (503, 4)])
def test_what_may_heal_is_tried_again(
    machine: Machine, server: Server, client: Callable[[str], int], status: int, requests: int
) -> None:
    """A server's trouble is; a bad request is not."""
    server.script = [(status, None)] * 9
    with pytest.raises(Exception, match=str(status)):
        fetch(client, server.url)
    assert server.requests == requests


@pytest.mark.parametrize("client", CLIENTS)
def test_endless_throttling_ends_at_the_total_bound(
    machine: Machine, server: Server, client: Callable[[str], int]
) -> None:
    """429 does not use up attempts, yet it does not go on for ever."""
    server.script = [(429, "60")] * 99
    with pytest.raises(Exception, match="429"):
        fetch(client, server.url, total="5m")
    assert machine.world.slept == [60] * 5
