"""Which run a worker claims next: what is due first, then what died, then what is queued; and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.core.execution.run_effects import End
from perdure.core.records import RunRecord
from perdure.errors import LockLost
from perdure.store import bell, claims, command_lines, lives, runs_on_hold
from perdure.store.claims import Offer
from perdure.store.liveness import locks_of
from perdure.store.locks import asker
from perdure.store.queue import AFTER_OTHERS, QueueRow
from perdure.store.queue_listing import declare
from perdure.store.runs import Store

NOW = 1_800_000_000.0
SERVED = {("app.py", "job"): Offer("/srv/app.py"), ("app.py", "alone"): Offer("/srv/app.py", lock="till")}
RUN = RunRecord(
    0, "", "app.py", "/srv/app.py", "job", bytes(16), True, None, "suspended", None, 0, b"", None, NOW, NOW, None, 0
)

Add = Callable[..., RunRecord]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


@pytest.fixture
def other(tmp_path: Path, store: Store) -> Iterator[Store]:
    """The state file as another process has it."""
    other = Store(store.path)
    yield other
    other.close()


def add(store: Store, id: str, **changed: Any) -> RunRecord:
    run = msgspec.structs.replace(RUN, **{"id": id, "wake": NOW - 1, **changed})
    added: RunRecord = store.journal.write((), lambda connection: store.insert_run(connection, run))
    return added


def executes(store: Store, id: str, **changed: Any) -> int:
    """A run that the process of that store executes; the run's number."""
    hid: int = store.journal.write((), lambda connection: store.holder.hid(connection, NOW))
    return add(store, id, **{"status": "running", "wake": None, "holder": hid, **changed}).rid


def claimed(store: Store, most: int = 10, **options: Any) -> list[str]:
    return [taken.run.id for taken in claims.claim(store, SERVED, most, NOW, **options)]


def test_the_order(store: Store, other: Store) -> None:
    """Suspended runs that are due come before those of dead processes, and these before queued ones by priority."""
    add(store, "queued-late", status="queued", priority=5, wake=None)
    add(store, "queued-first", status="queued", priority=0, wake=None)
    died = executes(other, "died")
    other.close()
    add(store, "due-second", wake=NOW - 5)
    add(store, "due-first", wake=NOW - 9)
    left = claims.left_by_dead(store, SERVED)
    assert [run.rid for run in left] == [died]
    assert claimed(store, 4, crashed=left) == ["due-first", "due-second", "died", "queued-first"]
    assert claimed(store) == ["queued-late"]
    assert claimed(store) == []


def test_as_much_as_is_asked_for_of_what_is_served(store: Store) -> None:
    """No more than so many, nothing where nothing is served; of the queues that are named, and all that is in none."""
    add(store, "in none", wake=NOW - 9)
    add(store, "mailed", wake=NOW - 8, queue="mail")
    add(store, "printed", wake=NOW - 7, queue="print")
    add(store, "queued", status="queued", queue="print", wake=None)
    assert claims.claim(store, {}, 10, NOW) == claims.claim(store, SERVED, 0, NOW) == []
    assert claimed(store, others=False) == []
    assert claimed(store, 1, queues=["mail"]) == ["in none"]
    assert claimed(store, queues=["mail"]) == ["mailed"]
    assert claimed(store, 1) == ["printed"]
    assert claimed(store) == ["queued"]


def test_runs_of_one_command_line_are_claimed_together(store: Store, other: Store) -> None:
    """Of the others those are named that could be: not one whose lock another process has."""
    add(other, "has the lock", workflow="alone")
    assert claimed(other, 1) == ["has the lock"]
    for id, line, workflow in (("of a", b"a", "job"), ("of b", b"b", "job"), ("of c", b"c", "alone")):
        rid = add(store, id, workflow=workflow).rid
        store.journal.write((), lambda connection, it=(rid, line): command_lines.put(connection, *it))  # type: ignore[misc]
    add(store, "of none")
    add(store, "queued", status="queued", wake=None)
    claim = claims.Claim(store, SERVED, 10, NOW, line=b"a")
    assert [taken.run.id for taken in store.journal.write((), claim)] == ["of a"]
    assert claim.elsewhere == {b"b", b""}
    claim = claims.Claim(store, SERVED, 10, NOW, line=b"")
    assert [taken.run.id for taken in store.journal.write((), claim)] == ["of none", "queued"]
    assert claim.elsewhere == {b"b"}


def test_what_a_fork_stands_for_is_nobodys_any_more(store: Store) -> None:
    """A suspended run that a fork has superseded neither sleeps, nor is overdue, nor is it claimed or put on hold."""
    add(store, "source", superseded_by=add(store, "fork", wake=NOW + 9).rid)
    assert claims.sleeping(store) == 1
    assert claims.overdue(store, NOW) == []
    assert runs_on_hold.hold_due(store, "app.py", "edited", NOW) == 0
    assert claimed(store) == []


def test_when_the_rate_of_a_queue_lets_the_next_run_begin_is_said(store: Store) -> None:
    """A worker that has nothing else to do looks again then; where nothing waits for a rate, there is no such time."""
    declare(store, [QueueRow("mail", rate=2, seconds=10.0)], NOW)
    for id in ("first", "second"):
        add(store, id, status="queued", queue="mail", priority=1, wake=None)
    claim = claims.Claim(store, SERVED, 10, NOW)
    assert [taken.run.id for taken in store.journal.write((), claim)] == ["first"]
    assert claim.later == NOW + 5
    claim = claims.Claim(store, SERVED, 10, NOW + 5)
    assert [taken.run.id for taken in store.journal.write((), claim)] == ["second"]
    assert claim.later is None


def test_a_worker_that_others_take_for_dead_claims_under_another_number(store: Store, other: Store) -> None:
    """Its lock file was removed: what it claims then is seen to be held; while it executes something, it is told."""

    def remove_lock_file() -> None:
        for path in locks_of(store.path).iterdir():
            path.unlink()

    executes(store, "introduced")
    add(store, "first")
    remove_lock_file()
    assert claimed(store) == ["first"]
    assert other.holding(store.run("first")) is not None
    add(store, "second")
    remove_lock_file()
    with pytest.raises(LockLost):
        claimed(store)


def test_what_is_claimed_is_the_claimers(store: Store, other: Store) -> None:
    """It runs, is held by the process and due no more; and it is known whether it has begun before, and who died."""
    executes(other, "died")
    other.close()
    add(store, "queued", status="queued", input=b"\x90")
    left = claims.left_by_dead(store, SERVED)
    taken = {one.run.id: one for one in claims.claim(store, SERVED, 10, NOW, crashed=left)}
    assert {id: one.resumed for id, one in taken.items()} == {"died": True, "queued": False}
    assert taken["died"].died is not None
    for id in taken:
        run = store.run(id)
        assert (run.status, run.wake, run.hold) == ("running", None, None)
        assert store.holding(run) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"wake": NOW + 1},
        {"wake": None},
        {"hold": "a step drifts"},
        {"script": "other.py"},
        {"workflow": "other"},
        {"status": "running", "wake": None},  # Ctrl-C: a person has stopped it
        {"status": "cancelled", "wake": NOW - 1},
    ],
    ids=str,
)
def test_what_is_left_alone(store: Store, changed: dict[str, Any]) -> None:
    """Not what is due later, on hold, of other code, stopped by a person, or has ended."""
    add(store, "it", **changed)
    assert claimed(store) == []


def test_not_the_run_of_a_living_process(store: Store, other: Store) -> None:
    """A process that lives keeps its runs, also if somebody takes it for dead."""
    rid = executes(other, "lives")
    assert claims.left_by_dead(store, SERVED) == []
    assert claimed(store, crashed=[each for each in claims.executed(store) if each.rid == rid]) == []


def test_not_from_a_process_that_took_it_since(store: Store, other: Store, tmp_path: Path) -> None:
    """Nobody has looked at that death: who takes the run now would not know that one more makes a crash loop."""
    executes(other, "died")
    other.close()
    left = claims.left_by_dead(store, SERVED)
    between = Store(tmp_path / "state.db")
    assert claimed(between, crashed=left) == ["died"]
    between.close()
    assert claimed(store, crashed=left) == []
    assert claimed(store, crashed=claims.left_by_dead(store, SERVED)) == ["died"]


def test_not_a_child(store: Store) -> None:
    """A child run goes on with its parent."""
    parent = add(store, "parent", wake=NOW + 1)
    add(store, "child", parent=parent.rid)
    assert claimed(store) == []


def test_room_in_a_queue_is_told_to_who_claims(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, if this process takes nothing in the place of what is over; the workers look by themselves later on."""
    rung: list[str] = []
    monkeypatch.setattr(bell, "ring", lambda _, suffix=bell.SUFFIX: rung.append(suffix))

    def over(id: str, *, then: Callable[[Any], object] = bool) -> bool:
        def operation(connection: Any) -> None:
            store.put_run(connection, store.run_in(connection, rid), status="done", output=b"\xc0", holder=None)
            then(connection)

        rid = executes(store, id, queue="mail")
        rung.clear()
        store.journal.write((), operation)
        return bell.SUFFIX in rung

    assert not over("nobody waits")
    add(store, "waits", status="queued", queue="mail", priority=5, turn=1, wake=None)
    add(store, "also", status="queued", queue="mail", priority=5, turn=1, wake=None)
    assert over("by itself")
    store.claims_next = True
    assert not over("before a claim", then=claims.Claim(store, SERVED, 1, NOW))
    assert over("of others", then=claims.Claim(store, {("b.py", "job"): Offer("/srv/b.py")}, 1, NOW))


def test_two_that_are_over_leave_more_room_than_one_that_begins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one transaction: who claims is told of what is left."""
    rung: list[str] = []
    monkeypatch.setattr(bell, "ring", lambda _, suffix=bell.SUFFIX: rung.append(suffix))
    over = [executes(store, id, queue="mail") for id in ("one", "two")]
    waiting = {"status": "queued", "queue": "mail", "priority": 5, "turn": 1, "wake": None}
    begins, _ = (add(store, id, **waiting) for id in ("begins", "waits"))

    def operation(connection: Any) -> None:
        store.put_run(connection, store.run_in(connection, begins.rid), status="running")
        for rid in over:
            store.put_run(connection, store.run_in(connection, rid), status="done", output=b"\xc0", holder=None)

    rung.clear()
    store.journal.write((), operation)
    assert bell.SUFFIX in rung


def test_a_lock_that_is_free_is_told_to_who_claims(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a queued run may be waiting for it."""
    rung: list[str] = []
    monkeypatch.setattr(bell, "ring", lambda _, suffix=bell.SUFFIX: rung.append(suffix))
    for expected in (False, True):
        store.journal.write((), store.locks.enter("till", asker(alone=True), NOW))
        rung.clear()
        operation = store.locks.exit("till")
        assert operation is not None
        store.journal.write((), operation)
        assert (bell.SUFFIX in rung) is expected
        add(store, f"waits {expected}", status="queued", queue="mail", priority=5, turn=1, wake=None)


def test_the_lock_of_the_workflow(store: Store, other: Store) -> None:
    """While another process has it, its runs wait, and do not keep others from being claimed."""
    add(other, "has-it", workflow="alone")
    assert claimed(other, 1) == ["has-it"]
    add(store, "waits", workflow="alone", wake=NOW - 9)
    add(store, "goes", wake=NOW - 1)
    assert claimed(store) == ["goes"]
    other.close()
    assert claimed(store) == ["waits"]


def test_the_runs_of_a_worker_do_not_share_a_lock(store: Store) -> None:
    """Of two queued runs that take one lock, the second begins when the first has ended, in the same process too."""
    for n in (1, 2):
        add(store, f"alone-{n}", workflow="alone", status="queued", wake=None)
    (first,) = claims.claim(store, SERVED, 10, NOW)
    assert (first.run.id, claimed(store)) == ("alone-1", [])
    store.journal.write((), store.end(End(first.run, "done", b"\xc0"), NOW))
    store.let_go(first.run)
    assert claimed(store) == ["alone-2"]


def test_given_back(store: Store, other: Store) -> None:
    """A run that is given back is due at once, for any process, and in the middle of which calls it was left is known;
    one that has ended, or that another process has, stays as it is."""
    add(store, "it")
    (taken,) = claims.claim(store, SERVED, 1, NOW)
    cut = lives.Cut("pay", bytes(16), 0, 2, NOW - 3)
    assert claims.give_back(store, taken.run, NOW, cut=[cut])
    assert lives.lives_of(other, taken.run.rid) == {("pay", bytes(16), 0): 1}
    assert claimed(other) == ["it"]
    assert not claims.give_back(store, taken.run, NOW, cut=[cut])
    assert len(lives.list_of(other, taken.run.rid)) == 1
    assert other.holding(other.run("it")) is not None


def test_on_hold_until_the_script_is_edited(store: Store) -> None:
    """It is not claimed by the same version of the script again, and by another one it is."""
    add(store, "it")
    (taken,) = claims.claim(store, SERVED, 1, NOW)
    claims.give_back(store, taken.run, NOW, hold="v1 code-drift: a step has other inputs")
    assert runs_on_hold.try_again(store, "app.py", "v1") == 0
    assert claimed(store) == []
    assert runs_on_hold.try_again(store, "app.py", "v2") == 1
    assert claimed(store) == ["it"]


def test_runs_of_a_script_that_cannot_be_loaded(store: Store) -> None:
    """Those that are due are put on hold with the reason; what is due later is not."""
    add(store, "due", script="broken.py")
    add(store, "later", script="broken.py", wake=NOW + 1)
    assert runs_on_hold.hold_due(store, "broken.py", "v1 cannot be loaded: SyntaxError", NOW) == 1
    assert store.run("due").hold == "v1 cannot be loaded: SyntaxError"
    assert store.run("later").hold is None
    assert runs_on_hold.hold_due(store, "broken.py", "v1 cannot be loaded: SyntaxError", NOW) == 0


def test_runs_of_a_workflow_that_is_defined_no_more(store: Store) -> None:
    """They are put on hold instead of standing for ever: due or queued; the others, and other scripts', are left."""
    add(store, "due", workflow="gone")
    add(store, "queued", workflow="gone", status="queued", wake=None, queue="default", turn=1)
    add(store, "later", workflow="gone", wake=NOW + 1)
    add(store, "elsewhere", script="other.py", workflow="gone")
    add(store, "served")
    after = add(store, "after", status="queued", wake=None, hold=AFTER_OTHERS)
    (found,) = runs_on_hold.hold_homeless(store, ["app.py"], list(SERVED), (), "v1", NOW)
    assert (found.first.id, found.runs) == ("due", 2)
    assert runs_on_hold.hold_homeless(store, ["app.py"], list(SERVED), (), "v1", NOW) == []
    held = {id for id in ("due", "queued", "later", "elsewhere", "served") if store.run(id).hold is not None}
    assert held == {"due", "queued"}
    assert "nor imports a workflow 'gone'" in runs_on_hold.reason_of(store.run("queued").hold)
    assert runs_on_hold.try_again(store, "app.py", "v1") == 0
    assert runs_on_hold.try_again(store, "app.py", "v2") == 2
    assert store.run("due").hold is store.run("queued").hold is None
    assert store.run(after.id).hold == AFTER_OTHERS


def test_the_next_moment(store: Store) -> None:
    """It is that of the soonest run after now; what is on hold and what has ended does not count."""
    assert claims.next_moment(store, NOW) is None
    add(store, "held", wake=NOW + 1, hold="v1 a step drifts")
    add(store, "later", wake=NOW + 60)
    add(store, "queued", status="queued", wake=NOW + 30)
    add(store, "due", wake=NOW)
    assert claims.next_moment(store, NOW) == NOW + 30
    assert claims.next_moment(store, NOW + 30) == NOW + 60
    assert [run.id for run in claims.overdue(store, NOW)] == ["due"]
    assert claims.sleeping(store) == 2


def test_each_look_uses_an_index(store: Store) -> None:
    """With a hundred thousand runs that sleep or are done, no look goes through all of them."""
    for name, statement in (*claims._SQL.items(), *runs_on_hold._SQL.items()):
        arguments: list[object] = [NOW, "[]", 1][: len({each for each in ("?1", "?2", "?3") if each in statement})]
        if name == "set_aside":
            arguments = ["app.py", ""]
        plan = store.journal.read(
            lambda connection, text=statement, given=arguments: connection.execute(
                f"EXPLAIN QUERY PLAN {text}", given
            ).fetchall()
        )
        scans = [line for *_, line in plan if line.startswith("SCAN run")]
        assert scans == (["SCAN run USING INDEX run_waiting"] if name == "due_of_no_workflow" else []), name  # 10,000
