"""What others tell a run, and what it tells them: signals, answers to approvals, published values, each once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.core.signal_size import LARGEST_SENT
from perdure.core.values import codec
from perdure.errors import AlreadyDecided, NotFound, RunHasEnded, StateCorrupt, Suspended, TooLarge
from perdure.store import approvals, forks, published, signals
from perdure.store.signals import Sent

DAY = 86400.0


moves: list[Callable[[], None]] = []


@step(name="mailbox work", retry=None)
def work(x: int) -> int:
    for move in moves:
        move()
    return x


@workflow(name="mailbox_paid")
def paid(order: str) -> list[Any]:
    return [perdure.wait_for("paid", timeout="2d") for _ in range(2)]


@workflow(name="mailbox_asks")
def asks(order: str) -> list[bool]:
    work(0)
    return [perdure.approval(f"Refund {order}?", details="of the shop", timeout="2d").approved for _ in range(2)]


@workflow(name="mailbox_says")
def says(n: int) -> int:
    perdure.publish("state", {"at": 1})
    work(1)
    perdure.publish("state", {"at": 2})
    perdure.publish("other", [n])
    return work(2)


@workflow(name="mailbox_parent")
def parent(n: int) -> int:
    return says(n)


def begin(machine: Machine, call: Callable[[str], object], id: str = "r-1") -> str:
    with suppress(Suspended):
        call.with_options(id=id)("SO-1")  # type: ignore[attr-defined]
    return id


def packed(value: object) -> bytes:
    return codec.pack_value(value, owner="a test")


def write(machine: Machine, operation: Any) -> Any:
    return machine.engine.store.journal.write((), operation)


def send(machine: Machine, value: object, id: str | None = None, event: str = "paid", later: float = 0.0) -> Sent:
    store, at = machine.engine.store, machine.world.now() + later
    sent: Sent = write(machine, signals.send(store, "r-1", event, "", packed(value), id, clock=lambda: at))
    return sent


def test_a_signal_is_taken_by_a_wait_or_stored_for_the_next(machine: Machine) -> None:
    """The run is ready from its moment on; what nobody waits for does not wake it."""
    begin(machine, paid)
    assert send(machine, "x", event="other").outcome == "stored"
    assert machine.engine.store.run("r-1").wake != machine.world.now()
    first, second = send(machine, 1), send(machine, 2, later=5.0)
    assert (first.outcome, second.outcome) == ("taken", "stored")
    assert (first.run.id, first.by, first.letter.value) == ("r-1", None, packed(1))
    assert machine.engine.store.run("r-1").wake == machine.world.now()
    assert paid.with_options(id="r-1")("SO-1") == [1, 2]
    with pytest.raises(RunHasEnded, match="run r-1 is done"):
        send(machine, 3)


def test_a_signal_with_an_id_is_stored_once(machine: Machine) -> None:
    """Sent again it is the first one, whatever it says."""
    begin(machine, paid)
    assert send(machine, 1, "id-1").outcome == "taken"
    again = send(machine, 2, "id-1")
    assert (again.outcome, again.letter.value) == ("repeated", packed(1))
    assert send(machine, 2, "id-2").outcome == "stored"


def test_a_signal_needs_a_run_and_has_a_size(machine: Machine) -> None:
    """The size is looked at before the file is."""
    begin(machine, paid)
    store = machine.engine.store
    with pytest.raises(NotFound, match="there is no run 'r-2'"):
        write(machine, signals.send(store, "r-2", "paid", "", packed(1)))
    with pytest.raises(TooLarge, match="the value of signal 'paid'"):
        signals.send(store, "r-2", "paid", "", bytes(LARGEST_SENT + 1))


def test_a_link_sends_one_signal_while_it_is_waited_for(machine: Machine) -> None:
    """The same value again is no further one; another one, and one that comes too late, are refused."""
    begin(machine, paid)
    store, now = machine.engine.store, machine.world.now()

    def use(value: object, nonce: str, at: float = now) -> str:
        sent: Sent = write(machine, signals.by_link(store, "r-1", "paid", "", packed(value), nonce, clock=lambda: at))
        return sent.outcome

    assert use(1, "n-1") == "taken"
    assert use(1, "n-1") == use(1, "n-1", now + 3 * DAY) == "repeated"
    with pytest.raises(AlreadyDecided, match="used before"):
        use(2, "n-1")
    with pytest.raises(AlreadyDecided, match="does not wait for 'paid' any more"):
        use(2, "n-2", now + 3 * DAY)
    assert use(2, "n-2") == "stored"


def answer(machine: Machine, topic: str, approved: bool = True, later: float = 0.0) -> Sent:
    store, at = machine.engine.store, machine.world.now() + later
    value = approvals.pack_answer(approved, " ann  lee", "fine")
    sent: Sent = write(machine, approvals.answering(store, "r-1", topic, value, clock=lambda: at))
    return sent


def test_an_approval_is_answered_once(machine: Machine) -> None:
    """Who has answered is said to the next one; the run goes on with the answer."""
    begin(machine, asks)
    store = machine.engine.store
    run = store.run("r-1")
    ((topic, answered),) = approvals.open_topics(store, run)
    assert (topic.partition(" #")[0], answered) == ("Refund SO-1?", False)
    assert [each.id for each in approvals.asking(store, 10)] == ["r-1"]
    assert approvals.asking(store, 0) == []
    assert answer(machine, topic).outcome == "taken"
    with pytest.raises(AlreadyDecided, match=r"approved by ann lee on 2065-01-24 at \d\d:\d\d UTC"):
        answer(machine, topic, False)
    assert approvals.open_topics(store, run) == [(topic, True)]
    begin(machine, asks)
    assert approvals.topics_asked(store, run)[1] == topic
    (second, _), *rest = approvals.open_topics(store, run)
    assert (second != topic, rest) == (True, [])
    assert answer(machine, second, False).letter.id != answer
    assert asks.with_options(id="r-1")("SO-1") == [True, False]
    assert approvals.open_topics(store, run) == approvals.asking(store, 10) == []


def test_how_an_approval_stands(machine: Machine) -> None:
    """It can be answered until its time is over, it was answered, or its run has ended."""
    begin(machine, asks)
    store, now = machine.engine.store, machine.world.now()
    (topic,) = approvals.topics_asked(store, store.run("r-1"))
    nonce = topic.rpartition("#")[2]

    def standing(later: float = 0.0) -> tuple[bool, bool]:
        found = approvals.standing(store, "r-1", nonce, now + later)
        assert found is not None
        assert (found.run.id, found.question.topic, found.question.details) == ("r-1", topic, "of the shop")
        return found.is_open, found.answer is not None and found.answer.approved

    assert standing() == standing(DAY) == (True, False)
    assert standing(3 * DAY) == (False, False)
    assert approvals.standing(store, "r-1", "another", now) is None
    with pytest.raises(NotFound):
        approvals.standing(store, "r-2", nonce, now)
    with pytest.raises(AlreadyDecided, match="its time is over"):
        answer(machine, topic, later=3 * DAY)
    answer(machine, topic)
    assert standing() == (False, True)


def test_an_answer_that_comes_after_the_wait_is_refused(machine: Machine) -> None:
    """Also when the run has gone on, or has ended."""
    begin(machine, asks)
    store = machine.engine.store
    (topic,) = approvals.topics_asked(store, store.run("r-1"))
    machine.world.time += 3 * DAY
    begin(machine, asks)
    with pytest.raises(AlreadyDecided, match="its time is over"):
        answer(machine, topic)
    found = approvals.standing(store, "r-1", topic.rpartition("#")[2], machine.world.now())
    assert found is not None
    assert not found.is_open
    machine.world.time += 3 * DAY
    begin(machine, asks)
    assert store.run("r-1").status == "done"
    with pytest.raises(RunHasEnded, match="run r-1 is done"):
        answer(machine, topic)


@pytest.mark.parametrize("column", ["value = x'05'", "stamp = stamp - 1", "stamp = -9e99"])
def test_a_signal_that_was_changed_from_outside_is_not_taken(machine: Machine, column: str) -> None:
    """The run stops with a named error; nothing is made of what the signal says."""
    begin(machine, paid)
    assert send(machine, 1)
    write(machine, lambda connection: connection.execute(f"UPDATE signal SET {column}") and None)
    with pytest.raises(StateCorrupt):
        begin(machine, paid)
    assert machine.engine.store.run("r-1").status != "done"


def test_a_wait_or_a_question_that_was_changed_from_outside_is_named(machine: Machine) -> None:
    """It is neither shown nor answered."""
    begin(machine, asks)
    store = machine.engine.store
    run = store.run("r-1")
    (topic,) = approvals.topics_asked(store, run)
    write(machine, lambda connection: connection.execute("UPDATE wait SET due = due + 1") and None)
    with pytest.raises(StateCorrupt):
        approvals.open_topics(store, run)
    with pytest.raises(StateCorrupt):
        answer(machine, topic)


def test_what_a_run_publishes_last_is_shown(machine: Machine) -> None:
    """Under the run, its children and its forks; a fork has what lies before its point."""
    parent.with_options(id="r-1")(7)
    store = machine.engine.store
    child = next(run for run in store.runs(children=True) if run.parent is not None)
    for id in ("r-1", child.id):
        found = published.get(store, id, "state")
        assert found is not None
        assert found.value == packed({"at": 2})
    assert published.get(store, "r-1", "none") is None
    with pytest.raises(NotFound):
        published.get(store, "r-2", "state")
    assert [one.name for one in published.of_run(store, store.run("r-1").rid)] == ["other", "state"]


def test_a_fork_has_what_was_published_before_its_point(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of that moment, and not what its source has published since."""
    monkeypatch.setattr(f"{__name__}.moves", [lambda: machine.world.sleep(60.0)])
    store = machine.engine.store
    for id, place, values in (("r-1", 1, {"state": {"at": 2}, "other": [7]}), ("r-2", 0, {"state": {"at": 1}})):
        says.with_options(id=id)(7)
        run = store.run(id)
        worked = [record.seq for record in store.all_records(run.rid) if record.name == "mailbox work"]
        write(machine, forks.fork(store, run, f"fork-{id}", worked[place], machine.world.now(), child_id))
        found = published.of_run(store, store.run(f"fork-{id}").rid)
        assert {one.name: one.value for one in found} == {name: packed(value) for name, value in values.items()}
    write(machine, lambda connection: connection.execute("UPDATE published SET stamp = stamp + 1") and None)
    with pytest.raises(StateCorrupt):
        published.get(store, "r-1", "state")
