"""A death before or during clean-ups neither loses nor repeats any of them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from clean_up_steps import steps

from conftest import Died, Machine, Trouble
from perdure import defer, step, workflow
from perdure.cli import main
from perdure.core.execution.idempotency import child_id
from perdure.errors import Cancelled, StateCorrupt
from perdure.operations.find_step import find_step
from perdure.operations.location import Location
from perdure.operations.run_views import BEING_CANCELLED, view_of
from perdure.operations.show import details_of
from perdure.operations.why import explain
from perdure.store import forks
from perdure.store.runs import Store
from perdure.store.unknown_calls import unknown_calls


def test_deferred_calls_run_after_a_crash(machine: Machine) -> None:
    """A crash is no end: nothing is put away until the run goes on and ends."""
    make, close, work = steps(machine)
    ends = ["die", "well"]

    @step(name="attempt", retry=None)
    def attempt() -> None:
        work._spec.fn(ends.pop(0))

    @workflow
    def flow() -> None:
        defer(close, make("a"))
        attempt()

    with pytest.raises(Died):
        flow()
    assert machine.ran == ["make a", "work die"]
    machine.boot()
    flow()
    assert machine.ran == ["make a", "work die", "work well", "close a"]


def test_a_crash_while_cleaning_up_does_not_clean_twice(machine: Machine) -> None:
    """What was put away before the death is not put away again at the same end."""
    dies = [True]

    @step(name="close")
    def close(what: str) -> None:
        machine.ran.append(f"close {what}")
        if what == "a" and dies:
            dies.clear()
            raise Died

    @workflow
    def flow() -> str:
        defer(close, "a")
        defer(close, "b")
        return "done"

    with pytest.raises(Died):
        flow()
    assert machine.ran == ["close b", "close a"]
    machine.boot()
    assert flow() == "done"
    assert machine.ran == ["close b", "close a", "close a"]


class Trip:
    """Two steps that are undone, of which the first leaves the process in the middle of its undoing; then one fails."""

    def __init__(self, machine: Machine, leaves: type[BaseException]) -> None:
        self.leaves = [leaves]
        self.called = 0
        self.fails: list[BaseException] = [Trouble("no truck")]

        @step(name="refund")
        def refund(receipt: str) -> None:
            machine.ran.append(f"refund {receipt}")
            if receipt == "a" and self.leaves:
                raise self.leaves.pop()

        @step(name="charge", undo=refund)
        def charge(what: str) -> str:
            machine.ran.append(f"charge {what}")
            return what

        @step(name="ship", retry=None)
        def ship() -> None:
            machine.ran.append("ship")
            if self.fails:
                raise self.fails[0]

        @workflow(name="trip")
        def flow() -> str:
            self.called += 1
            charge("a")
            charge("b")
            ship()
            return "shipped"

        @workflow(name="trip")
        async def aflow() -> str:
            charge("a")
            charge("b")
            ship()
            return "shipped"

        self.flow, self.aflow = flow, aflow


@pytest.mark.parametrize("way", ["sync", "async", "started"])
@pytest.mark.parametrize("leaves", [Died, KeyboardInterrupt])
def test_undoing_that_is_broken_off_is_ended_before_the_run_goes_on(
    machine: Machine, leaves: type[BaseException], way: str
) -> None:
    """What may be undone in part is not used: all of it is undone and made anew, as if nobody had left the process."""
    trip = Trip(machine, leaves)

    def go(way: str) -> str:
        if way == "started":
            return trip.flow.start().result()
        return asyncio.run(trip.aflow()) if way == "async" else trip.flow()

    with pytest.raises(leaves):
        go("sync" if way == "started" else way)
    first = ["charge a", "charge b", "ship", "refund b", "refund a"]
    assert machine.ran == first
    trip.fails.clear()
    machine.boot()
    assert go(way) == "shipped"
    assert machine.ran == [*first, "refund a", "charge a", "charge b", "ship"]
    (run,) = machine.engine.store.runs()
    assert (run.status, run.epoch) == ("done", 1)


def test_undoing_that_dies_again_and_again_is_ended_once(machine: Machine) -> None:
    """The note of it stays until the end is written."""
    trip = Trip(machine, Died)
    trip.leaves *= 3
    for _ in range(3):
        with pytest.raises(Died):
            trip.flow()
        machine.boot()
    trip.fails.clear()
    assert trip.flow() == "shipped"
    assert machine.ran.count("refund b") == 1
    assert machine.ran.count("charge b") == 2


@pytest.mark.parametrize(
    ("then", "named"),
    [
        ("cancelled", True),
        ("fails before it", True),
        ("fails behind it", False),
        ("forked, cancelled", True),
        ("forked, fails behind it", True),
        ("forked, done", True),
        ("cancelled, forked, done", True),
    ],
)
def test_a_call_that_a_death_cut_off_is_named_when_nobody_makes_it_again(
    machine: Machine, capsys: pytest.CaptureFixture[str], then: str, named: bool
) -> None:
    """It may have been done, and is not undone: said at the end of the run, and by `why` and `show` afterwards.

    A fork makes it under another idempotency key.
    """
    dies = [True]
    said: str | None = None

    @step(name="cut.refund")
    def refund(what: str) -> None:
        machine.ran.append(f"refund {what}")

    @step(name="cut.charge", undo=refund)
    def charge(what: str) -> str:
        machine.ran.append(f"charge {what}")
        if what == "b" and dies:
            raise Died
        return what

    @workflow(name="cut.flow")
    def flow() -> None:
        charge("a")
        if not dies and then == "fails before it":
            raise Trouble("before")
        charge("b")
        if not then.endswith("done"):
            raise Trouble("behind")

    with pytest.raises(Died):
        flow()
    dies.clear()
    machine.boot()
    (run,) = machine.engine.store.runs()
    if then.startswith("cancelled, "):
        machine.engine.cancel(run.id, lambda record: None)
        assert machine.ran.pop() == "refund a"
        run = machine.engine.store.run(run.id)
        assert find_step(machine.engine.store, run, "#1", behind=True) == 1, "undone, it has left its number free"
    if "forked" in then:
        made = forks.fork(machine.engine.store, run, "fork-1", 3, machine.world.now(), child_id)
        machine.engine.store.journal.write((), made)
        run = machine.engine.store.run("fork-1")
        said = unknown_calls(machine.engine.store, run, run.status)  # `perdure fork` says it at once
        machine.boot()
        run = machine.engine.store.run(run.id)
        found = explain(machine.engine.store, run, Location(machine.engine.store.path, "the test"))
        assert found.reasons[0].startswith("no process has executed it yet")
    if then.endswith("cancelled"):
        machine.engine.cancel(run.id, lambda record: None)
    elif then.endswith("done"):
        flow()
    else:
        with pytest.raises(Trouble):
            flow()
    made_again = ["charge a", "charge b"] if then.startswith("cancelled, ") else ["charge b"]
    assert machine.ran[2:] == (
        ["charge b", "refund b", "refund a"] if "behind" in then else made_again if "done" in then else ["refund a"]
    )
    store = machine.engine.store
    unknown = details_of(store, store.run(run.id)).unknown
    assert (unknown is not None) == named
    if unknown is not None:
        assert "is not known, and it is not undone: cut.charge" in unknown
        assert "(attempt 1 was left under way" in unknown
        assert unknown in (said if then.endswith("done") else capsys.readouterr().err)
        assert unknown in explain(store, store.run(run.id), Location(store.path, "the test")).reasons


@pytest.mark.parametrize("undoing", [False, True])
def test_a_cancel_that_dies_in_its_clean_ups_is_kept(machine: Machine, undoing: bool) -> None:
    """Whoever goes on with the run ends it: nothing is executed, and nothing that was undone in part is used.

    So it is if a process had died in its undoing before, after a failure.
    """
    trip = Trip(machine, Died)
    trip.leaves *= 1 + undoing
    trip.fails[:] = [Trouble("no truck") if undoing else Died()]
    with pytest.raises(Died):
        trip.flow()
    machine.boot()
    (run,) = machine.engine.store.runs()
    with pytest.raises(Died):
        machine.engine.cancel(run.id, lambda record: None)
    assert machine.ran == ["charge a", "charge b", "ship", "refund b", "refund a", *["refund a"] * undoing]
    before = len(machine.ran)
    trip.fails.clear()
    machine.boot()
    assert trip.flow() == "shipped"  # by a run of its own: the inputs of one that was cancelled begin anew
    assert machine.ran[before:] == ["refund a", "charge a", "charge b", "ship"]
    assert machine.engine.store.run(run.id).status == "cancelled"
    assert len(list(machine.engine.store.runs())) == 2


def test_a_cancel_that_dies_before_its_clean_ups_is_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is in the file, and `ps` says so: who takes the run ends it, and executes nothing of it."""
    trip = Trip(machine, Died)
    trip.leaves.clear()
    trip.fails[:] = [Died()]
    with pytest.raises(Died):
        trip.flow()
    machine.boot()
    (run,) = machine.engine.store.runs()

    def dies(record: object) -> None:
        raise Died

    with pytest.raises(Died):
        machine.engine.cancel(run.id, dies)
    machine.boot()
    shown = view_of(machine.engine.store, machine.engine.store.run(run.id))
    assert (shown.status, shown.waits) == ("interrupted", BEING_CANCELLED)
    with pytest.raises(Cancelled):
        trip.flow()
    assert trip.called == 1
    assert machine.ran == ["charge a", "charge b", "ship", "refund b", "refund a"]
    assert machine.engine.store.run(run.id).status == "cancelled"


def test_a_child_that_a_cancel_has_ended_before_it_died_does_not_strand_its_parent(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next life does not call it any more: it ends the parent, too, and says so before it begins another run."""
    leaves = {"last", "first"}
    fails = [Trouble("no truck")]

    @step(name="refund")
    def refund(receipt: str) -> None:
        machine.ran.append(f"refund {receipt}")
        if receipt in leaves:
            leaves.remove(receipt)
            raise Died

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        machine.ran.append(f"charge {what}")
        return what

    @workflow(name="kid")
    def kid() -> str:
        return charge("kid")

    @workflow(name="trip with a kid")
    def flow() -> str:
        charge("first")
        kid()
        charge("last")
        if fails:
            raise fails[0]
        return "shipped"

    with pytest.raises(Died):
        flow()
    machine.boot()
    run = next(run for run in machine.engine.store.runs() if run.parent is None)
    with pytest.raises(Died):
        machine.engine.cancel(run.id, lambda record: None)
    assert [each.status for each in machine.engine.store.family(run.rid)] == ["running", "cancelled"]
    machine.ran.clear()
    fails.clear()
    machine.boot()
    capsys.readouterr()
    assert flow() == "shipped"
    assert f"run {run.id} was cancelled; a run of the same inputs starts anew" in capsys.readouterr().err
    assert machine.ran == ["refund first", "charge first", "charge kid", "charge last"]
    assert machine.engine.store.run(run.id).status == "cancelled"


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_cancel_that_meets_the_undoing_of_a_failure_is_kept(machine: Machine, is_async: bool, dies: bool) -> None:
    """Once that has ended, the run is cancelled, by this process or the next; what waits for the final end is made."""
    make, close, _ = steps(machine)

    @step(name="refund")
    def refund(receipt: str) -> None:
        machine.ran.append("refund")
        if machine.ran.count("refund") == 1:
            (run,) = machine.engine.store.runs()
            machine.engine.store.ask_to_stop(run.id, machine.world.now())
            if dies:
                raise Died

    @step(name="charge", undo=refund)
    def charge() -> str:
        return "receipt"

    def body() -> None:
        defer(close, make("a"))
        charge()
        raise Trouble("no truck")

    @workflow(name="cancelled while it undoes")
    def flow() -> None:
        body()

    @workflow(name="cancelled while it undoes, async")
    async def aflow() -> None:
        body()

    def go() -> None:
        asyncio.run(aflow()) if is_async else flow()

    with pytest.raises(Died if dies else Trouble):
        go()
    if dies:
        machine.boot()
        with pytest.raises(Trouble):
            go()  # once the run has ended, another one of the same inputs
    run = min(machine.engine.store.runs(), key=lambda run: run.rid)
    assert (run.status, run.stop) == ("cancelled", None)
    assert machine.ran == ["make a", "refund", *["refund"] * dies, "close a", *["make a", "refund"] * dies]


def test_a_cancel_that_comes_as_the_failure_is_written_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has failed then, and whoever goes on with it ends it, and executes nothing more."""
    trip = Trip(machine, Died)
    trip.leaves.clear()

    def asked_too_late(store: Store, rid: int) -> bool:
        store.ask_to_stop(store.run_by_number(rid).id, machine.world.now())
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Store, "stopping", asked_too_late)
        with pytest.raises(Trouble):
            trip.flow()
    (run,) = machine.engine.store.runs()
    assert run.status == "failed"
    machine.boot()
    with pytest.raises(Cancelled):
        trip.flow()
    assert trip.called == 1
    assert machine.engine.store.run(run.id).status == "cancelled"


def test_a_run_with_a_damaged_record_can_be_ended(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A cancel is refused by the error of the record (not by what carries it through a workflow's own handlers), which
    names the command that works. That undoes what is intact; what it did not undo is kept with the run."""

    @step(name="damaged.refund")
    def refund(what: str) -> None:
        machine.ran.append(f"refund {what}")

    @step(name="damaged.charge", undo=refund)
    def charge(what: str) -> str:
        machine.ran.append(f"charge {what}")
        return what

    leaves = [Died()]

    @workflow(name="damaged.flow")
    def flow() -> None:
        charge("a")
        charge("b")
        if leaves:
            raise leaves.pop()

    with pytest.raises(Died):
        flow()
    machine.boot()
    machine.ran.clear()
    store = machine.engine.store
    (run,) = store.runs()
    store.journal.write((), lambda at: at.execute("UPDATE step SET ms = ms + 1 WHERE seq = 1") and None)
    way = f"perdure cancel {run.id} --skip-damaged"
    with pytest.raises(StateCorrupt) as refused:
        machine.engine.cancel(run.id, lambda record: None)
    assert f"`{way}`" in refused.value.hint
    with pytest.raises(StateCorrupt) as stopped:
        flow()
    assert f"`{way}" in stopped.value.hint
    assert machine.ran == ["refund b"]
    where = ["--state", str(machine.state)]
    assert main(["fork", run.id, "--from", "#1", *where]) == 1
    assert f"`{way}" in capsys.readouterr().err, "not a command that is refused as well"
    assert main([*way.split()[1:], *where]) == 1
    assert "damaged, and given up: record #1 (damaged.charge); " in capsys.readouterr().err
    assert machine.ran == ["refund b"]
    for command in ("show", "why"):
        assert main([command, run.id, "--json", *where]) == 0
        assert "record #1 (damaged.charge); a call whose record is damaged is not undone" in capsys.readouterr().out
    (kept,) = store.journal.read(
        lambda at: at.execute("SELECT input FROM attempt WHERE name = 'perdure.noted'").fetchone()
    )
    ((table, row),) = (one for one in msgspec.msgpack.decode(kept) if one[1]["kind"] == "step")
    assert (table, row["seq"], row["name"]) == ("step", 1, "damaged.charge"), "what was damaged is kept"
    assert store.check() == []
    machine.boot()
    assert main(["fork", run.id, "--from", "#1", "--no-run", *where]) == 0
    flow()
    assert machine.ran == ["refund b", "charge a", "charge b"]
