"""The demo's API misbehaves as promised, and its ledger tells the truth about it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from perdure.demo import ledger
from perdure.demo.api import Api, Ending, Refusal
from perdure.demo.ledger import Effect, Ledger, Mark, Request
from perdure.demo.mishaps import Mishap, Script, draw
from perdure.demo.server import Server
from waiting import until

NO_WAIT = (0.0, 0.0)


def body(order: str = "SO-1", **changes: object) -> bytes:
    fields = {"id": order, "customer": "C-1", "sku": "X", "quantity": 1, "amount": "9.90", "currency": "EUR"}
    return json.dumps({**fields, **changes}).encode()


@contextmanager
def serving(path: Path, scripts: Mapping[str, Script] | None = None) -> Iterator[Server]:
    with Ledger(path) as book:
        server = Server(Api(book, scripts or {}, latency=NO_WAIT))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(60)
        assert not thread.is_alive()


def post(server: Server, data: bytes, key: str = "", path: str = "/charges") -> tuple[int, dict[str, object], object]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", path, data, {"Idempotency-Key": key} if key else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


def unanswered(port: int, data: bytes, ledger: Path) -> Exception:
    """Send what gets no answer, and give up when the API has dealt with it; what the client meets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/charges", data, {"Idempotency-Key": "k"})
    until(lambda: requests(ledger))
    assert connection.sock is not None
    connection.sock.settimeout(0.2)
    with pytest.raises((OSError, http.client.HTTPException)) as met:
        connection.getresponse().read()
    connection.close()
    return met.value


def requests(path: Path) -> Sequence[Request]:
    return [line for line in ledger.read(path) if isinstance(line, Request)]


def test_one_key_charges_once(tmp_path: Path) -> None:
    """The same key gets the first answer again; the ledger shows one charge and one replay."""
    with serving(tmp_path / "ledger") as server:
        first = post(server, body(), "k")
        second = post(server, body(), "k")
    assert first[:2] == second[:2]
    assert second[2]["Idempotent-Replayed"] == "true"  # type: ignore[index]
    assert [line.effect for line in requests(tmp_path / "ledger")] == [Effect.CHARGED, Effect.REPLAYED]


def test_no_key_charges_again(tmp_path: Path) -> None:
    """Without a key every request is a charge of its own: the API does not forgive."""
    with serving(tmp_path / "ledger") as server:
        post(server, body())
        post(server, body())
    assert ledger.charged(ledger.read(tmp_path / "ledger")) == ["SO-1", "SO-1"]


def test_a_key_belongs_to_one_order(tmp_path: Path) -> None:
    """A key that comes with another body is refused and charges nothing."""
    with serving(tmp_path / "ledger") as server:
        post(server, body("SO-1"), "k")
        status, _, _ = post(server, body("SO-2"), "k")
    assert status == 400
    assert ledger.charged(ledger.read(tmp_path / "ledger")) == ["SO-1"]


def test_same_key_at_the_same_time_charges_once(tmp_path: Path) -> None:
    """Twenty requests with one key at once: one charge."""
    with serving(tmp_path / "ledger") as server:
        threads = [threading.Thread(target=post, args=(server, body(), "k")) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    effects = [line.effect for line in requests(tmp_path / "ledger")]
    assert sorted(effects) == [Effect.CHARGED] + [Effect.REPLAYED] * 19


@pytest.mark.parametrize("mishap", [m for m in Mishap if m.charges and m is not Mishap.SLOW])
def test_charged_but_never_answered(tmp_path: Path, mishap: Mishap) -> None:
    """The charge takes effect, the client learns nothing, and asking again with the key charges nothing more."""
    with serving(tmp_path / "ledger", {"SO-1": (mishap,)}) as server:
        unanswered(server.port, body(), tmp_path / "ledger")
        status, answer, _ = post(server, body(), "k")
    assert (status, answer["status"]) == (200, "ok")
    assert [line.effect for line in requests(tmp_path / "ledger")] == [Effect.CHARGED, Effect.REPLAYED]


@pytest.mark.parametrize("mishap", [Mishap.HANG, Mishap.DROP])
def test_never_answered_and_not_charged(tmp_path: Path, mishap: Mishap) -> None:
    """No answer and no charge: the client that gives up has lost an order."""
    with serving(tmp_path / "ledger", {"SO-1": (mishap,)}) as server:
        unanswered(server.port, body(), tmp_path / "ledger")
    assert ledger.charged(ledger.read(tmp_path / "ledger")) == []


@pytest.mark.parametrize(
    ("mishap", "status"),
    [(Mishap.RATE_LIMITED, 429), (Mishap.ERROR_500, 500), (Mishap.ERROR_503, 503), (Mishap.ERROR_IN_200, 200)],
)
def test_trouble_passes(tmp_path: Path, mishap: Mishap, status: int) -> None:
    """Trouble is not remembered: the next request with the same key is charged."""
    with serving(tmp_path / "ledger", {"SO-1": (mishap,)}) as server:
        first = post(server, body(), "k")
        second = post(server, body(), "k")
    assert first[0] == status
    assert first[1].get("status") != "ok"
    assert second[1]["status"] == "ok"


def test_retry_after_in_both_forms(tmp_path: Path) -> None:
    """429 names its delay in seconds, or as an HTTP date at least that far away (RFC 9110, 10.2.3)."""
    scripts = {"SO-1": (Mishap.RATE_LIMITED, Mishap.RATE_LIMITED_UNTIL)}
    with serving(tmp_path / "ledger", scripts) as server:
        seconds = post(server, body())[2]
        date = post(server, body())[2]
    assert seconds["Retry-After"] == "1"  # type: ignore[index]
    wait = parsedate_to_datetime(date["Retry-After"]) - parsedate_to_datetime(date["Date"])  # type: ignore[index]
    assert 1 <= wait.total_seconds() <= 3


@pytest.mark.parametrize(
    ("changes", "status", "refusal"),
    [
        ({"amount": "0.00"}, 422, Refusal.AMOUNT),
        ({"currency": "EURO"}, 422, Refusal.CURRENCY),
        ({"sku": "GFT-000-OLD"}, 500, Refusal.CRASH),
        ({"quantity": 26}, 200, Refusal.DECLINED),
    ],
)
def test_poison_is_always_refused(tmp_path: Path, changes: dict[str, object], status: int, refusal: Refusal) -> None:
    """A poison order gets the same refusal however often it comes, and is never charged."""
    with serving(tmp_path / "ledger") as server:
        answers = [post(server, body(**changes), "k")[:2] for _ in range(3)]
    assert [answer[0] for answer in answers] == [status] * 3
    assert all(answer[1]["status"] == "error" for answer in answers)
    assert [(line.outcome, line.effect) for line in requests(tmp_path / "ledger")] == [(refusal, Effect.NOTHING)] * 3


def test_a_mark_stands_below_what_came_before(tmp_path: Path) -> None:
    """A request that was accepted but not yet read when the mark is asked for still stands above it."""
    with serving(tmp_path / "ledger") as server:
        data = body()
        early = socket.create_connection(("127.0.0.1", server.port))
        early.sendall(b"POST /charges HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data))
        marking = threading.Thread(target=post, args=(server, b"", "", "/marks/killed"))
        marking.start()
        until(lambda: server._changed._waiters)  # type: ignore[attr-defined]  # for the first request's body
        assert marking.is_alive()
        early.sendall(data)
        marking.join(60)
        early.close()
    kinds = [type(line) for line in ledger.read(tmp_path / "ledger")]
    assert kinds == [Request, Mark]


def test_nonsense_is_answered_and_noted(tmp_path: Path) -> None:
    """A body that is no order is a 400 in answer and ledger, not a crash of the API."""
    with serving(tmp_path / "ledger") as server:
        answers = [post(server, data)[0] for data in (b"", b"[]", b"\xff", body(amount="much"))]
    assert answers == [400] * 4
    assert len(requests(tmp_path / "ledger")) == 4


def test_a_ledger_read_while_it_is_written(tmp_path: Path) -> None:
    """Half a line at the end is not yet a line."""
    (tmp_path / "ledger").write_bytes(b'{"type":"mark","name":"a","seconds":1.0}\n{"type":"ma')
    assert ledger.read(tmp_path / "ledger") == [Mark("a", 1.0)]


def test_the_draw_is_repeatable_and_leaves_nothing_out() -> None:
    """One seed, one draw; another seed, another; and each kind of mishap comes at least once."""
    orders = [f"SO-{n}" for n in range(200)]
    assert draw(orders, 1) == draw(orders, 1)
    assert draw(orders, 1) != draw(orders, 2)
    for count in (40, 200):
        assert {m for script in draw(orders[:count], 3).values() for m in script} == set(Mishap)
    assert draw([], 1) == {}
    assert set(draw(orders[:1], 1)) <= {"SO-0"}


def test_answers_do_not_depend_on_who_comes_first(tmp_path: Path) -> None:
    """Two APIs with one seed answer the same requests alike, in whatever order they come."""
    with Ledger(tmp_path / "ledger") as book:
        one, other = (Api(book, {"SO-1": (Mishap.ERROR_500,)}, 7) for _ in range(2))
        first = {order: one.charge(body(order), order) for order in ("SO-1", "SO-2", "SO-3")}
        again = {order: other.charge(body(order), order) for order in ("SO-3", "SO-2", "SO-1")}
    assert {order: (answer.status, answer.delay) for order, answer in first.items()} == {
        order: (answer.status, answer.delay) for order, answer in again.items()
    }


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """The server's process ends as soon as its standard input does, although an answer is hanging."""
    lines = [body(f"SO-{n}") for n in range(40)]
    (tmp_path / "orders").write_bytes(b"\n".join(lines))
    scripts = draw([f"SO-{n}" for n in range(40)], 5)
    hanging = next(order for order, script in scripts.items() if script[0] is Mishap.HANG)
    for_an_hour = "import runpy; from perdure.demo import api; api.HANG_SECONDS = 3600.0"
    module = f"{for_an_hour}; runpy.run_module('perdure.demo.server', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", module, "orders", "ledger", "--seed", "5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert isinstance(unanswered(port, body(hanging), tmp_path / "ledger"), TimeoutError)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    assert [line.outcome for line in requests(tmp_path / "ledger")] == [Mishap.HANG]


def test_endings_are_what_the_mishaps_say(tmp_path: Path) -> None:
    """Each mishap without an answer ends its connection in its own way."""
    endings = {}
    for mishap in Mishap:
        with Ledger(tmp_path / "ledger") as book:
            endings[mishap] = Api(book, {"SO-1": (mishap,)}, latency=NO_WAIT).charge(body(), "k").ending
    assert {mishap: ending for mishap, ending in endings.items() if ending is not Ending.WHOLE} == {
        Mishap.HANG: Ending.HANG,
        Mishap.CHARGE_THEN_HANG: Ending.HANG,
        Mishap.DROP: Ending.DROP,
        Mishap.CHARGE_THEN_DROP: Ending.DROP,
        Mishap.CHARGE_THEN_CUT: Ending.CUT,
    }
