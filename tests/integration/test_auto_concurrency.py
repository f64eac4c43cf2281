"""concurrency="auto" against a real server that bears so many requests at once, and answers 429 to the others."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

import perdure
from conftest import Machine
from perdure import Retry, step, workflow
from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.engines.runtime import base_map
from perdure.errors import OptionError, StepTimeout
from waiting import LOOK

BEARS = 6
ITEMS = 300


class Server(ThreadingHTTPServer):
    """Counts what it serves, and what it turns away.

    It keeps its requests until all callers of a round are there, `round` of them: how many it has at once depends on
    how many may call, and not on how fast anyone is.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.changed = threading.Condition()
        self.round: Callable[[], int] = lambda: 1
        self.rounds = 0
        self.came = 0
        self.busy = 0
        self.served = 0
        self.refused = 0

    def serve(self) -> bool:
        """Deal with one request; whether it is not turned away."""
        with self.changed:
            self.came += 1
            if self.busy == BEARS:
                self.refused += 1
                self.changed.notify_all()
                return False
            self.busy += 1
            mine = self.rounds
            # The limit changes without saying so: it is looked at now and then.
            while self.rounds == mine and self.came < self.round():
                self.changed.wait(LOOK)
            if self.rounds == mine:
                self.rounds, self.came = mine + 1, 0
                self.changed.notify_all()
            self.busy -= 1
            self.served += 1
            return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response_only(200 if self.server.serve() else 429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def paces() -> list[AdaptiveConcurrency]:
    """What found out how many may call at once, for each batch."""
    return []


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch, paces: list[AdaptiveConcurrency]) -> list[int]:
    """Every limit that there was."""
    seen: list[int] = []

    class Watched(AdaptiveConcurrency):
        def __init__(self, most: int) -> None:
            super().__init__(most)
            paces.append(self)

        def _change(self, limit: int) -> None:
            super()._change(limit)
            seen.append(limit)

    monkeypatch.setattr(base_map, "AdaptiveConcurrency", Watched)
    return seen


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return int(answer.status)


def run(kind: str, url: str, items: int, concurrency: Any) -> Any:
    """Fetch `url` for so many items; the batch."""
    policy = Retry(delay="20ms", factor=1, jitter="20ms", total="1m")

    if kind == "tasks":
        clients: list[httpx.AsyncClient] = []

        @step(retry=policy, name="fetch")
        async def afetch(n: int) -> int:
            return (await clients[0].get(url)).raise_for_status().status_code

        @workflow(name="wf")
        async def awf() -> list[int]:
            async with httpx.AsyncClient(trust_env=False) as client:
                clients[:] = [client]
                batch = await afetch.map(range(items), concurrency=concurrency)
            return [len(batch.results), len(batch.dead)]

        return asyncio.run(awf())

    @step(retry=policy)
    def fetch(n: int) -> int:
        return get(url)

    @workflow
    def wf() -> list[int]:
        batch = fetch.map(range(items), concurrency=concurrency)
        return [len(batch.results), len(batch.dead)]

    return wf()


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_it_finds_what_the_server_bears(
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    paces: list[AdaptiveConcurrency],
    limits: list[int],
    kind: str,
) -> None:
    """All items are done, most of the time about as many run as the server bears, and few requests are turned away."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    server.round = lambda: min(paces[0].limit, ITEMS - server.served)
    assert run(kind, server.url, ITEMS, "auto") == [ITEMS, 0]
    assert server.served == ITEMS
    assert 0 < server.refused < 100
    assert BEARS <= max(limits) <= BEARS + 3


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_no_more_than_there_are_items(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, server: Server, limits: list[int], kind: str
) -> None:
    """Few items, one item, none."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    for items in (0, 1, 3):
        assert run(kind, server.url, items, "auto") == [items, 0]
    assert limits == []


def test_a_timeout_is_congestion(machine: Machine, limits: list[int]) -> None:
    """Attempts that are not answered in time halve it, those of one round together once."""
    first = threading.Barrier(4)
    late = set(range(4))

    @step(retry=Retry(delay=0, jitter=0))
    def fetch(n: int) -> int:
        if n in late:
            late.discard(n)
            first.wait(60)
            raise StepTimeout("no answer")
        return n

    @workflow
    def wf() -> int:
        return len(fetch.map(range(8), concurrency="auto").results)

    assert wf() == 8
    assert limits[0] == 2
    assert 1 not in limits


def test_a_dead_item_and_one_that_raises(machine: Machine) -> None:
    """What fails for good is parked, or ends the batch, as with a number."""

    @step(retry=None)
    def pick(n: int) -> int:
        if n == 5:
            raise ValueError("five")
        return n

    @workflow
    def parks() -> list[int]:
        batch = pick.map(range(40), concurrency="auto")
        return [len(batch.results), len(batch.dead)]

    @workflow
    def raises() -> None:
        pick.map(range(40), concurrency="auto", on_failure="raise")

    assert parks() == [39, 1]
    with pytest.raises(ValueError, match="five"):
        raises()


def test_other_words_are_refused(machine: Machine) -> None:
    """With what there is to give."""

    @workflow
    def wf(concurrency: Any) -> None:
        perdure.now.map([], concurrency=concurrency)  # type: ignore[misc]

    for wrong in ("Auto", "8", 0, True, 1.5, None):
        with pytest.raises(OptionError, match="whole number of at least 1, or"):
            wf(wrong)
