"""`perdure why` says which of all things holds a run that no process executes, and by which command it goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from conftest import Machine
from perdure.core.exceptions import capture
from perdure.core.execution.queueing import DEFAULT
from perdure.core.execution.run_effects import Taken
from perdure.core.records import RunRecord
from perdure.engines.local.worker.left_runs import LeftRuns
from perdure.errors import NotDecodable
from perdure.operations.location import locate
from perdure.operations.ps import list_runs
from perdure.operations.run_views import view_of
from perdure.operations.why import Why, explain
from perdure.store import claims, queue, workers
from perdure.store.claims import Offer
from perdure.store.liveness import Liveness
from perdure.store.rows import sealed
from perdure.store.runs import Store

NOW = 1.7e9  # it has passed
SERVED = {("held.py", "job"): Offer("/srv/held.py", lock="till")}
GIVEN = b"\x92\x90\x80"
RUN = RunRecord(
    0, "", "held.py", "/srv/held.py", "job", bytes(16), True, None, "suspended", None, 0, GIVEN, None, NOW, NOW, None, 0
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


@pytest.fixture
def worker(store: Store) -> Iterator[None]:
    """A worker with one slot that serves `job`, and only the default queue."""
    liveness = Liveness(store.path)
    store.journal.write((), lambda connection: store.holder.hid(connection, NOW))
    one = workers.Worker(
        pid=os.getpid(),
        started=NOW,
        scripts=["/srv/held.py"],
        workflows=[("held.py", "job")],
        locks=[("held.py", "job", "till")],
        queues=[DEFAULT],
        executors=[store.holder.token],
        ready=True,
    )
    workers.announce(store.path, liveness.show(), one)
    yield
    workers.withdraw(store.path, liveness.token)
    liveness.close()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("has_a_way", [False, True], ids=["the script has to be put right", "a command helps"])
def test_what_stops_it_again_is_not_gone_on_with(machine: Machine, has_a_way: bool) -> None:
    """Neither the worker nor `why` offers to go on with a run that would be refused for the same error: both
    say what that says is to be done, also where the function has not begun, so that no error of it was kept."""
    store, said = machine.engine.store, list[str]()
    queued(store, "first")
    (taken,) = take(store)
    hint = "let it run again: perdure fork first --from work" if has_a_way else "give the field a default"
    program: Any = SimpleNamespace(version=lambda: "0a1b2c")
    left_runs = LeftRuns(machine.engine, program, store.path, said.append, lambda error: None)
    assert left_runs.left(taken, NotDecodable("the saved arguments of workflow 'job' cannot be loaded", hint))
    assert said[0].endswith(f"; {'go on: perdure fork first --from work' if has_a_way else f'what to do: {hint}'}")
    found = why(store, "first")
    assert f"what to do: {hint}" in found.reasons
    assert [way.command.split()[1] for way in found.ways] == ["fork"] * has_a_way


def add(store: Store, id: str, **changed: Any) -> RunRecord:
    run = msgspec.structs.replace(RUN, **{"id": id, **changed})
    added: RunRecord = store.journal.write((), lambda connection: store.insert_run(connection, run))
    return added


def queued(store: Store, id: str, **changed: Any) -> RunRecord:
    return add(store, id, **{"status": "queued", "turn": 1, "queue": DEFAULT, "priority": 5, **changed})


def why(store: Store, id: str) -> Why:
    return explain(store, store.run(id), locate(store.path))


def reasons(store: Store, id: str) -> str:
    return "; ".join(why(store, id).reasons)


def take(store: Store) -> list[Taken]:
    return claims.claim(store, SERVED, 1, NOW)


def test_no_worker(store: Store) -> None:
    """A due run says since when, and that no worker runs."""
    add(store, "due", wake=NOW)
    queued(store, "next")
    assert "it is due since 2023-" in reasons(store, "due")
    for id in ("due", "next"):
        assert "no worker runs on this state file" in reasons(store, id)
        assert any(way.command.startswith("perdure worker ") for way in why(store, id).ways)


@pytest.mark.usefixtures("worker")
def test_workers_that_do_not_serve_it(store: Store) -> None:
    """Those that run have loaded other workflows, or serve other queues."""
    queued(store, "other", workflow="else")
    queued(store, "mail", queue="mail")
    assert "no worker serves workflow else of /srv/held.py: those that run have loaded held.py" in reasons(
        store, "other"
    )
    assert "no worker serves queue mail: those that serve its script serve only default" in reasons(store, "mail")


@pytest.mark.usefixtures("worker")
def test_slots_and_locks(store: Store) -> None:
    """All slots of its workers are taken, or a lock is: by whom, also by a run that is suspended."""
    queued(store, "first")
    queued(store, "second", turn=2)
    (taken,) = take(store)
    assert taken.run.id == "first"
    found = reasons(store, "second")
    assert f"it needs the lock 'till', which run first has (pid {os.getpid()}" in found
    assert claims.give_back(store, taken.run, NOW, wake=9e9)
    assert "it needs the lock 'till', which run first has (suspended)" in reasons(store, "second")
    assert why(store, "second").ways[0].command.startswith("perdure why first")
    queued(store, "third", workflow="free", turn=3)
    add(store, "due", workflow="job", wake=NOW, status="suspended")
    assert "which run first has" in reasons(store, "due")


def test_a_lock_without_a_worker(store: Store) -> None:
    """The lock that another run of its workflow has comes first; a worker is needed all the same."""
    queued(store, "first")
    queued(store, "second", turn=2)
    (taken,) = take(store)
    assert claims.give_back(store, taken.run, NOW, wake=9e9)
    found = why(store, "second")
    assert found.reasons[1].startswith("it needs the lock 'till', which run first has (suspended)")
    assert found.reasons[-1] == "no worker runs on this state file"
    assert [way.purpose for way in found.ways] == ["see why", "start a worker", "end it"]


def test_a_child_of_a_cancelled_run_does_not_go_on(store: Store) -> None:
    """Nor is it told to: it has failed, and is over with what it is a part of."""
    fault = capture.encode(capture.to_fault(ValueError("no bread")))
    top = add(store, "top", status="cancelled", ended=NOW)
    middle = add(store, "middle", parent=top.rid, status="failed", output=fault, ended=NOW)
    add(store, "low", parent=middle.rid, status="failed", output=fault, ended=NOW)
    add(store, "done", parent=top.rid, status="done", output=b"\xc0", ended=NOW)
    found = why(store, "low")
    assert found.status == view_of(store, store.run("low")).status == "cancelled"
    assert "with ValueError: no bread; what it is a part of was cancelled since" in found.reasons[0]
    assert [way.purpose for way in found.ways] == ["see why", "see more"]
    for id in ("low", "middle", "done"):
        assert "goes on" not in reasons(store, id)
    store.journal.write(
        (), lambda connection: store.put_run(connection, store.run_in(connection, middle.rid), parent=3)
    )
    assert view_of(store, store.run("low")).status == "failed"  # a file that was damaged has a circle


def test_a_child_that_was_undone_with_its_parent_is_not_blamed(store: Store) -> None:
    """Nor one of its own: they have ended with the error of the run that they were undone with."""
    own, its = (capture.encode(capture.to_fault(ValueError(text))) for text in ("no bread", "no flour"))
    top = add(store, "top", status="failed", output=own, ended=NOW)
    middle = add(store, "middle", parent=top.rid, status="failed", output=own, ended=NOW)
    add(store, "low", parent=middle.rid, status="failed", output=own, ended=NOW)
    assert why(store, "top").reasons[0].startswith("its workflow failed ")
    for id in ("middle", "low"):
        assert why(store, id).reasons[0].startswith("it was undone with run top, which failed ")
    other = add(store, "other", status="failed", output=own, ended=NOW)
    add(store, "flour", parent=other.rid, status="failed", output=its, ended=NOW)
    assert why(store, "flour").reasons[0].startswith("its workflow failed ")


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ({"hold": "0a1b2c not-found: no workflow"}, "it is on hold: not-found: no workflow"),
        ({"status": "failed", "output": b"\xc0", "ended": NOW}, "it has failed: "),
        ({"status": "parked", "output": b"\xc0", "ended": NOW}, "parked, as a dead letter"),
        ({"status": "running"}, "it was interrupted, and no process executes it"),
        ({"wake": 9e9}, ""),
    ],
    ids=lambda one: None if isinstance(one, str) else one.get("status", "suspended"),
)
def test_a_run_that_is_waited_for_stands_still(store: Store, stands: dict[str, Any], said: str) -> None:
    """Whoever waits for it, or for one that waits for it, says so, with the command that says more."""
    last = add(store, "last", **stands)
    middle, first = add(store, "middle"), add(store, "first")
    for rid, awaited in ((middle.rid, last.rid), (first.rid, middle.rid)):
        row = sealed(rid, "perdure.result", bytes(16), 0, 0, None, None, awaited, NOW, None)
        marks = ", ".join("?" * len(row))
        store.journal.write(
            (), lambda at, row=row, marks=marks: at.execute(f"INSERT INTO wait VALUES ({marks})", row) and None
        )
    for id in ("middle", "first"):
        found = why(store, id)
        assert ("run last does not go on by itself" in "; ".join(found.reasons)) == bool(said)
        assert said in "; ".join(found.reasons)
        assert any(way.command.startswith("perdure why last") for way in found.ways) == bool(said)


@pytest.mark.usefixtures("worker")
def test_a_busy_worker(store: Store) -> None:
    """Its slot is taken, or it takes the run as soon as it may begin."""
    queued(store, "next")
    assert "serves it, and takes it when it may begin" in reasons(store, "next")
    hid = store.journal.write((), lambda connection: store.holder.hid(connection, NOW))
    add(store, "under-way", workflow="else", status="running", holder=hid)
    assert f"worker pid {os.getpid()} serves it, and its slot is taken" in reasons(store, "next")


def test_queues(store: Store) -> None:
    """A slot of its queue for one that goes on, its place, a pause, its key, its time, and the runs before it."""
    store.journal.write((), lambda connection: queue.put(connection, queue.QueueRow("mail", 1, 1)))
    hid = store.journal.write((), lambda connection: store.holder.hid(connection, NOW))
    add(store, "under-way", status="running", holder=hid, queue="mail", queue_key="ada")
    add(store, "due", wake=NOW, queue="mail")
    queued(store, "next", queue="mail")
    queued(store, "later", queue="mail", turn=None, wake=9e9)
    queued(store, "after", queue="mail", turn=None, hold=queue.AFTER_OTHERS)
    assert "all slots of queue mail, or of its key there, are taken" in reasons(store, "due")
    assert "queue mail, 1st; its slot is taken" in reasons(store, "next")
    assert "not before 2255-" in reasons(store, "later")
    assert "queue mail, when the runs of its schedule before it have ended" in reasons(store, "after")
    store.journal.write((), lambda connection: queue.put(connection, queue.QueueRow("mail", None, None, None, None, 1)))
    assert "paused" in reasons(store, "next")


def test_holds_and_deadlines(store: Store) -> None:
    """A run on hold is not called due, without the version that the hold begins with; a deadline that is nearer than
    what is waited for ends the run."""
    add(store, "held", wake=NOW, hold="0a1b2c code-drift: the script was edited")
    add(store, "brief", wake=9e9)
    found = reasons(store, "held")
    assert "it is on hold: code-drift: the script was edited" in found
    assert "no worker" not in found
    assert why(store, "held").ways[0].command.startswith("perdure resume held")
    said = {run.id: run.waits for run in list_runs(store)}
    assert said["held"] == "it is on hold: code-drift: the script was edited"
    assert "its time (timeout=) is over before that, at 2255-" in reasons(store, "brief")
