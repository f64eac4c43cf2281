"""What is known of a call while it is made stays: its map, its waits, its label, what it spent, whose code it was."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.core.records import RunRecord
from perdure.operations.show import details_of
from perdure.store import dead_letters, listing, spending


def shown(machine: Machine, number: int = 0) -> Any:
    store = machine.engine.store
    return details_of(store, newest(machine, number), data=True)


def newest(machine: Machine, number: int = 0) -> RunRecord:
    return machine.engine.store.runs()[number]


def test_items_of_maps(machine: Machine) -> None:
    """Number, label, wait and delay of each item; the map is the same one in the life that goes on with it."""
    down, refused = [True], ["late"]

    @step(name="say-visit", retry=Retry(attempts=2, delay="3s", jitter=0))
    def visit(town: str) -> str:
        if down[0] and town == "last":
            raise KeyboardInterrupt
        if town in refused:
            refused.remove(town)
            raise Trouble(town)
        return town

    @workflow(name="say-tour")
    def tour() -> None:
        visit("alone")
        visit.map(["late", "early"])
        visit.map(["first", "last"], key=lambda town: f"to {town}")

    with pytest.raises(KeyboardInterrupt):
        tour()
    machine.world.time += 100
    machine.boot()
    down[0] = False
    tour()
    found = shown(machine)
    assert [(one.number, one.step, one.total, one.concurrency, one.counts) for one in found.maps] == [
        (1, "say-visit", 2, 1, {"done": 2}),
        (2, "say-visit", 2, 1, {"done": 2}),
    ]
    assert all(one.ended is not None for one in found.maps)
    assert (found.maps[1].ended - found.maps[1].began).total_seconds() == 100, "since it was begun in the first life"
    steps = {one.inputs["args"][0] if isinstance(one.inputs, dict) else one.inputs[0]: one for one in found.steps}
    assert {name: (one.map, one.label) for name, one in steps.items()} == {
        "alone": (None, None),
        "late": (1, None),
        "early": (1, None),
        "first": (2, "to first"),
        "last": (2, "to last"),
    }
    assert (steps["late"].asked, steps["late"].waits) == (3.0, {"retry": 3.0})
    assert (steps["early"].asked, steps["early"].waits) == (0.0, {})
    assert [(one.delay, one.delayed_by) for one in steps["late"].failures] == [(3.0, "policy")]
    assert all(row.intact for row in listing.rows(machine.engine.store))


def test_whose_code_it_was(machine: Machine) -> None:
    """The names of the parameters, and where it stands, of the workflow and of each step."""

    @step(name="say-pay", retry=Retry(attempts=4), timeout="5s")
    def pay(card: str, amount: int = 1) -> None:
        machine.ran.append(card)

    @workflow(name="say-sell")
    def sell(customer: str) -> None:
        pay(customer)

    sell("ann")
    found = {(one.kind, one.name): one for one in shown(machine).functions}
    assert set(found) == {("workflow", "say-sell"), ("step", "say-pay")}
    assert found["workflow", "say-sell"].parameters == ["customer"]
    paying = found["step", "say-pay"]
    assert (paying.parameters, paying.file) == (["card", "amount"], __file__)
    assert (paying.options["attempts"], paying.options["timeout"]) == (4, 5)
    with open(__file__) as source:
        assert "def pay(" in source.readlines()[paying.line]


def test_letters_of_one_reason(machine: Machine) -> None:
    """What differs from item to item is no other reason; another line of the user's, or another class, is."""

    @step(name="say-refuse", retry=None)
    def refuse(n: int) -> None:
        if n < 3:
            raise ValueError(f"order {n} of 'customer {n}' is refused, see https://shop/{n}")
        if n == 3:
            raise ValueError("order 3 of 'customer 3' is refused, see https://shop/3")
        raise ConnectionError("no route")

    @workflow(name="say-refusals")
    def refusals() -> None:
        refuse.map(range(5))

    refusals()
    letters = dead_letters.of_run(machine.engine.store, newest(machine).rid)
    reasons = [(one.error, one.fingerprint) for one in letters]
    assert [error for error, _ in reasons] == ["ValueError"] * 4 + ["ConnectionError"]
    assert reasons[0] == reasons[1] == reasons[2] != reasons[3]
    assert len(set(reasons)) == 3


def test_spending_stands_in_the_record(machine: Machine) -> None:
    """A call that ends well at once needs no row of its own; it counts once, in later lives and in forks too."""
    down = [True]

    @step(name="say-ask", retry=None)
    def ask(n: int) -> int:
        machine.ran.append(n)
        perdure.spend(usd=1, tokens=n)
        if down[0] and n == 3:
            raise Trouble
        return n

    @workflow(name="say-asking")
    def asking() -> int:
        with perdure.budget(usd=9) as budget:
            for n in range(1, 4):
                ask(n)
            return budget.spent.tokens

    with pytest.raises(Trouble):
        asking()
    store = machine.engine.store
    rows = [row for row in store.journal.read(lambda at: spending.rows(at, ("", 0), 99)) if row[3]]
    assert [row[3] for row in rows] == ["say-ask"], "the one that has failed"
    machine.boot()
    down[0] = False
    assert asking() == 1 + 2 + 3 + 3
    rid = newest(machine).rid
    total = machine.engine.store.journal.read(lambda at: spending.of_family(at, rid, machine.state))
    assert (total.usd, total.tokens, total.calls) == (4 * 10**9, 9, 3)


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"detail": "the amount must be more than zero"}'
        self.send_response(422)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def refusing() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_what_the_server_said(machine: Machine, refusing: str) -> None:
    """urllib's error leaves the body on the socket; it is kept, and who catches the error can read it still."""

    @step(name="say-fetch", retry=None)
    def fetch() -> None:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(refusing, timeout=30)

    @workflow(name="say-fetching")
    def fetching() -> str:
        try:
            fetch()
        except OSError as error:
            return str(error.read().decode())  # type: ignore[attr-defined]
        return ""

    assert "more than zero" in fetching()
    machine.boot()
    (one,) = shown(machine).steps
    assert one.error is not None
    assert any("the amount must be more than zero" in note for note in one.error.notes)
