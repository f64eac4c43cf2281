"""What is enqueued exists once it returns, once: from programs, event loops, and workflows that are killed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import msgspec
import pytest

import perdure
from conftest import Died, Machine, Scripts
from perdure import aio, step, workflow
from perdure.core.execution.identity import identify
from perdure.errors import Drift, NotStorable, OptionError, OtherInputs, PerdureError, UsageError
from perdure.store import queue_order


@workflow
def mailed(address: str, copies: int = 1) -> str:
    """What is enqueued here."""
    return address * copies


@workflow
async def amailed(address: str) -> int:
    """The same, async."""
    return len(address)


@workflow
def other_mail(address: str) -> str:
    """Another workflow with the same inputs."""
    return address


def serve(machine: Machine) -> list[str]:
    """Execute what is queued as a worker does, one run after the other; returns the ids in that order."""
    store, done = machine.engine.store, []
    known = {each._spec.name: each for each in (mailed, amailed, other_mail)}
    while True:
        workflows = {(run.script, run.workflow) for run in store.runs()}
        now = machine.world.now()
        rid = store.journal.write((), lambda at, w=workflows, n=now: queue_order.Waiting(store, at, n, w).following())
        if rid is None:
            return done
        run = store.run_by_number(rid)
        spec = known[run.workflow]._spec
        args, kwargs = spec.arguments(run.input)
        call = identify(spec, tuple(args), kwargs)
        if spec.is_async:
            asyncio.run(machine.engine.arun(call, script=spec.file, resume=run.id))
        else:
            machine.engine.run(call, script=spec.file, resume=run.id)
        done.append(run.id)


def test_a_handle_of_what_was_enqueued(machine: Machine) -> None:
    """The run exists at once, queued; executed, its handle gives the result of its own type."""
    handle = mailed.enqueue("a", copies=2)
    assert (handle.status(), machine.runs()) == ("queued", [("mailed", "queued")])
    machine.boot()
    assert serve(machine) == [handle.id]
    found = perdure.run(handle.id)
    assert (found.result(60), found.status()) == ("aa", "done")


def test_an_id_whose_run_has_ended_is_said_not_to_be_queued(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """In a line, once: how that run has ended, and the way on. A run that is unfinished, and a new one, say nothing."""
    for id in ("stays", "ends", "is-called-off"):
        mailed.with_options(id=id).enqueue("a")
    mailed.with_options(id="ends")("a")
    perdure.run("is-called-off").cancel()
    caplog.clear()
    for id in ("stays", "ends", "is-called-off", "new"):
        assert mailed.with_options(id=id).enqueue("a").id == id
    said = [record.message for record in caplog.records]
    assert [line.partition(";")[0] for line in said] == [
        "run ends is not enqueued: an id stands for one run, and that one is done",
        "run is-called-off is not enqueued: an id stands for one run, and that one is cancelled",
    ]


def test_an_id_is_for_ever_and_a_dedup_key_for_unfinished_runs(machine: Machine) -> None:
    """The same id is the same run, whatever has become of it; a dedup key is free as soon as its run has ended."""
    named = mailed.with_options(id="order-7")
    assert named.enqueue("a").id == named.enqueue("a").id == "order-7"
    with pytest.raises(OtherInputs, match="run order-7 was started with other inputs"):
        named.enqueue("b")
    with pytest.raises(OtherInputs, match="is one of workflow 'mailed', and its id is given to one of 'other_mail'"):
        other_mail.with_options(id="order-7").enqueue("a")
    once = mailed.with_options(dedup="daily")
    first = once.enqueue("x").id
    assert once.enqueue("y").id == first, "unfinished"
    assert other_mail.with_options(dedup="daily").enqueue("x").id != first, "another workflow"
    serve(machine)
    assert named.enqueue("a").status() == "done"
    assert once.enqueue("x").id != first
    assert [handle.id for handle in once.enqueue_many([("p",), ("q",)])] == [once.enqueue("z").id] * 2


def test_many_are_enqueued_together_or_not_at_all(machine: Machine) -> None:
    """Rows of arguments, by position or name; a bad one anywhere and nothing is written."""
    commits = []
    handles = mailed.enqueue_many([("a",), {"address": "b", "copies": 3}])
    machine.engine.store.journal.around = lambda batch, done: commits.append(done)
    assert len(mailed.enqueue_many([(str(n),) for n in range(30)])) == 30
    assert commits == [False, True], "one transaction"
    assert mailed.enqueue_many([]) == []
    for bad, error in (([("c",), "d"], OptionError), ([("c",), (object(),)], NotStorable), ([("c",), ()], TypeError)):
        with pytest.raises(error):
            mailed.enqueue_many(bad)  # type: ignore[arg-type]
    assert serve(machine)[:2] == [each.id for each in handles]
    assert [each.result(60) for each in handles] == ["a", "bbb"]
    assert len(machine.runs()) == 32


def test_many_of_a_workflow_are_enqueued_together_too(machine: Machine) -> None:
    """They and their records are one transaction; in a later life, a row that an edit adds is enqueued alone."""
    commits: list[bool] = []
    rows: list[tuple[str]] = [(str(n),) for n in range(30)]

    @workflow(name="enqueued.many")
    def parent() -> None:
        commits.clear()
        ids = [each.id for each in mailed.enqueue_many(rows)]
        made = len(commits)
        keyed = [each.id for each in other_mail.with_options(dedup="d").enqueue_many([("d",), ("d",)])]
        assert keyed[0] == keyed[1], "one of its key"
        raise ValueError(made, ids, keyed)

    def life() -> tuple[int, list[str], list[str]]:
        machine.engine.store.journal.around = lambda batch, done: commits.append(done)
        with pytest.raises(ValueError, match="mailed") as ended:
            parent()
        machine.boot()
        made, ids, keyed = ended.value.args
        return made, ids, keyed

    made, ids, keyed = life()
    assert (made, len(machine.runs())) == (2, 32), "before and after one transaction"
    assert life() == (0, ids, keyed)
    rows.insert(7, ("new",))
    made, edited, _ = life()
    assert (made, [*edited[:7], *edited[8:]], len(machine.runs())) == (2, ids, 33)
    assert edited[7] not in ids


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_id_with_other_inputs_is_a_failure_of_the_workflow_that_enqueues(
    machine: Machine, asynchronous: bool
) -> None:
    """Handled, it is history, also when the id is free again; if it has ended the run, the next life asks anew."""
    taken = mailed.with_options(id="taken").enqueue("a")
    handled, told = False, list[bool]()

    def go_on(refusal: OtherInputs | None) -> None:
        told.append(refusal is not None)
        if refusal is not None and not handled:
            raise refusal
        raise ValueError("later")

    @workflow(name="enqueued.refused")
    def parent() -> None:
        refused = None
        try:
            mailed.with_options(id="taken").enqueue("b")
        except OtherInputs as refusal:
            refused = refusal
        go_on(refused)

    @workflow(name="enqueued.refused")
    async def aparent() -> None:
        refused = None
        try:
            await aio.enqueue(mailed.with_options(id="taken"), "b")
        except OtherInputs as refusal:
            refused = refusal
        go_on(refused)

    def life(error: type[Exception]) -> None:
        with pytest.raises(error):
            asyncio.run(aparent()) if asynchronous else parent()
        machine.boot()

    def rename(connection: apsw.Connection) -> None:
        run = machine.engine.store.find_in(connection, taken.id)
        assert run is not None
        free = msgspec.structs.replace(run, id="free").sealed()
        connection.execute("UPDATE run SET id = ?, crc = ? WHERE rid = ?", (free.id, free.crc, free.rid))

    life(OtherInputs)
    handled = True
    life(ValueError)
    machine.engine.store.journal.write((), rename)
    life(ValueError)
    assert told == [True, True, True]


def test_delayed_runs_wait_for_their_time(machine: Machine) -> None:
    """`delay` and `at`: not before."""
    at = datetime.fromtimestamp(machine.world.now()).astimezone() + timedelta(seconds=30)
    late = mailed.with_options(delay="1m").enqueue("late")
    soon = mailed.with_options(at=at).enqueue("soon")
    assert serve(machine) == []
    machine.world.time += 29.9
    assert serve(machine) == []
    machine.world.time += 0.1
    assert serve(machine) == [soon.id]
    machine.world.time += 30
    assert serve(machine) == [late.id]


def test_bad_options_are_refused_before_anything_is_written(machine: Machine) -> None:
    """Each with what to do instead; options of queues have no effect elsewhere, and say so."""
    bad: list[dict[str, Any]] = [
        {"priority": -1},
        {"priority": True},
        {"queue": ""},
        {"queue": "perdure.own"},
        {"key": "\n"},
        {"dedup": ""},
        {"delay": "-1s"},
        {"delay": float("inf")},
        {"delay": "101 years"},
        {"at": datetime(2026, 11, 27)},
        {"at": 5.0},
        {"at": datetime.max.replace(tzinfo=UTC)},
        {"at": datetime.min.replace(tzinfo=UTC)},
        {"delay": 1, "at": datetime.now().astimezone()},
    ]
    for options in bad:
        with pytest.raises(OptionError):
            mailed.with_options(**options)
    for options in ({"concurrency": 0}, {"per_key": True}, {"rate": "fast"}):
        with pytest.raises(OptionError):
            perdure.Queue("mail", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="called with_options"):
        mailed.with_options(delay=1)("a")
    with pytest.raises(UsageError, match="started with_options"):
        mailed.with_options(queue="mail").start("a")

    @workflow
    def inner() -> None: ...

    with pytest.raises(UsageError, match="not defined at the top level"):
        inner.enqueue()
    with pytest.raises(PerdureError):
        mailed.with_options(id="x").enqueue_many([("a",)])
    assert machine.runs() == []


def test_a_time_that_no_date_can_show_is_not_written(machine: Machine) -> None:
    """Whatever asks for it: the row could not be read again, and with it nothing that lists the runs of the file."""
    handle = mailed.with_options(delay=60).enqueue("a")
    store = machine.engine.store
    run = store.run(handle.id)
    never = datetime.max.replace(tzinfo=UTC).timestamp()
    other = msgspec.structs.replace(run, rid=0, id="never", wake=never)
    for operation in (
        lambda at: store.put_run(at, run, wake=never),
        lambda at: store.insert_run(at, other),
        lambda at: store.put_run(at, run, wake=float("nan")),
    ):
        with pytest.raises(OptionError, match="no date can show"):
            store.journal.write((), operation)
    assert [one.id for one in store.runs()] == [handle.id]


def test_from_an_event_loop(machine: Machine) -> None:
    """`aio.enqueue` gives the handle, which is awaited; tasks that enqueue at the same time share commits."""

    async def main() -> list[str]:
        handles = await asyncio.gather(*(aio.enqueue(mailed, str(n)) for n in range(20)))
        assert {handle.status() for handle in handles} == {"queued"}
        return [handle.id for handle in handles]

    assert sorted(asyncio.run(main())) == sorted(serve(machine))


KILLED = """
    import os, signal, sys
    import perdure
    from perdure import aio, step, workflow

    @workflow
    def child(n) -> int:
        return n

    @step
    def die():
        if not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

    @workflow
    def parent():
        ids = [child.with_options(queue="q").enqueue(1).id for _ in range(2)]
        ids += [each.id for each in child.enqueue_many([(2,), (3,)])]
        ids.append(child.with_options(dedup="one").enqueue(4).id)
        ids.append(child.with_options(dedup="one").enqueue(5).id)
        die()
        ids.append(child.with_options(id="named").enqueue(6).id)
        return ids

    @workflow
    async def aparent():
        ids = [(await aio.enqueue(child, n)).id for n in (1, 1)]
        die()
        return ids + [(await aio.enqueue(child.with_options(dedup="two"), n)).id for n in (7, 8)]

    if __name__ == "__main__":
        if sys.argv[1] == "sync":
            print(*parent())
        else:
            import asyncio
            print(*asyncio.run(aparent()))
"""


@pytest.mark.parametrize(("way", "count"), [("sync", 6), ("async", 3)])
def test_a_workflow_enqueues_once_over_its_deaths(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, way: str, count: int
) -> None:
    """Killed after it has enqueued, and run again, it has the ids of before: each call is one run."""
    script = scripts.write(KILLED)
    assert scripts.run(script, way).returncode == -9
    done = scripts.run(script, way)
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    monkeypatch.setenv("PERDURE_STATE", str(scripts.folder / ".perdure" / "state.db"))
    queued = perdure.runs(status="queued")
    assert len(queued) == len(set(ids)) == count
    assert set(ids) == {run.id for run in queued}
    assert ids[-1] == (ids[-2] if way == "async" else "named")


def test_a_run_and_its_record_are_one_transaction(machine: Machine) -> None:
    """Whatever commit the process dies at, there is no queued run without its record, nor a record without its run."""

    class Dead(BaseException):
        pass

    @step
    def before() -> int:
        return 1

    @workflow
    def parent() -> list[str]:
        before()
        return [mailed.enqueue("a").id, mailed.with_options(dedup="d").enqueue("b").id]

    for at in range(1, 12):
        count = iter(range(1, 100))

        def die(batch: Any, done: bool, at: int = at, count: Any = count) -> None:
            if next(count) == at:
                raise Dead

        machine.engine.store.journal.around = die
        try:
            parent()
        except Dead:
            machine.boot()
            continue
        break
    machine.engine.store.journal.around = None
    assert parent.with_options(id="again")() != []
    runs = {run.id: run for run in machine.engine.store.runs()}
    parents = [each for each in runs.values() if each.workflow == "parent"]
    for run in parents:
        records = [one for one in machine.engine.store.all_records(run.rid) if one.kind == "builtin"]
        assert [record.name for record in records] == ["perdure.enqueue:mailed"] * 2
    queued = [run for run in runs.values() if run.workflow == "mailed"]
    assert len(queued) == len(parents) + 1, "one of each parent, and one that they share by its key"


def test_a_completed_child_run_that_an_edit_enqueues_is_not_executed_again(machine: Machine) -> None:
    """Same workflow, same inputs: drift. Other inputs, and another workflow, are new work."""
    edited: list[bool] = []

    @workflow
    def parent() -> list[str]:
        if not edited:
            mailed("a")
            raise Died
        return [each.enqueue(*given).id for each, given in calls]

    calls: list[Any] = [(mailed, ("b",)), (other_mail, ("a",)), (mailed, ("a",))]
    with pytest.raises(Died):
        parent()
    machine.boot()
    edited.append(True)
    with pytest.raises(Drift, match="called in another way now"):
        parent()
    assert len(perdure.runs(status="queued")) == 2
    calls.pop()
    assert len(parent()) == 2
