"""A fork stands on what its source has done: each call is executed once, each letter is of one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.spending import Bounds
from perdure.core.letter_record import LetterRecord
from perdure.core.records import RunRecord
from perdure.engines.local.redrive import Redriver, Result
from perdure.errors import AlreadyRunning, NotFound, RunError, Suspended
from perdure.operations.after_redrive import follow
from perdure.operations.find_run import find_run
from perdure.operations.find_step import find_step
from perdure.store import dead_letters, forks, signals, spending, unseen_results
from perdure.store.dead_letter_file import letter_details
from perdure.store.forks import Forked
from perdure.store.kept_runs import enqueued_again

done: list[str] = []
broken: dict[str, BaseException] = {}


def effect(what: str) -> None:
    done.append(what)
    if what in broken:
        raise broken[what]


def take_effects() -> list[str]:
    found = done[:]
    done.clear()
    return found


@step(name="forked stop undo", retry=None)
def start(name: str) -> None:
    effect(f"start {name}")


@step(name="forked stop", retry=None, undo=start)
def stop(name: str) -> str:
    effect(f"stop {name}")
    return name


@step(name="forked remove", retry=None)
def remove(name: str) -> None:
    effect(f"remove {name}")


@step(name="forked parse", retry=None)
def parse(x: int) -> int:
    effect(f"parse {x}")
    return x * 10


@step(name="load", retry=None)
def load(rows: list[int]) -> str:
    effect(f"load {rows}")
    perdure.spend(tokens=1)
    return f"{rows}"


@step(name="last", retry=None)
def last() -> None:
    effect("last")


@workflow(name="forked_saga")
def saga() -> str:
    stop("a")
    perdure.defer(remove, "folder")
    load([1])
    stop("b")
    last()
    return "migrated"


@workflow(name="forked_rows")
def rows() -> str:
    with perdure.budget(tokens=5) as budget:
        found = load(parse.map([1, 2, 3, 4]).results)
        last()
    return f"{found} for {budget.spent.tokens}"


@workflow(name="forked_parent")
def parent() -> str:
    found = rows()
    load([9])
    return found


@pytest.fixture(autouse=True)
def all_works() -> Iterator[None]:
    done.clear()
    broken.clear()
    yield
    broken.clear()


def end(machine: Machine, function: Callable[[], Any]) -> RunRecord:
    """Run it, whatever comes of it, in a process that ends then."""
    with contextlib.suppress(Died, Trouble):
        function()
    machine.boot()
    return machine.engine.store.runs()[0]


def fork(machine: Machine, source: RunRecord, before: int, new_id: str = "fork-1") -> Forked:
    operation = forks.fork(machine.engine.store, source, new_id, before, machine.world.now(), child_id)
    made: Forked = machine.engine.store.journal.write((), operation)
    machine.boot()
    return made


def parked(machine: Machine) -> list[LetterRecord]:
    found = dead_letters.find(machine.engine.store, dead_letters.Filter())
    return [letter for letter in found if letter.seq and letter.status == "parked"]


def redrive(machine: Machine) -> list[Result]:
    """All letters that are parked."""
    results: list[Result] = []
    specs = {each._spec.name: each._spec for each in (parse, load, last)}
    lids = [letter.lid for letter in parked(machine)]
    Redriver(machine.engine, lambda run, record: specs[record.name], results.append).run(lids)
    machine.boot()
    return results


def test_the_workflow_goes_on_with_the_fork(machine: Machine) -> None:
    """What lies before its point is not executed again, what lies behind it is, and the source can do no more."""
    broken["last"] = Died()
    source = end(machine, saga)
    assert take_effects() == ["stop a", "load [1]", "stop b", "last"]
    broken.clear()
    made = fork(machine, source, 3)
    assert (made.undoable, made.results, made.moved, made.again) == (1, 0, 0, 0)
    assert saga() == "migrated"
    assert [one for one in take_effects() if not one.startswith("remove")] == ["load [1]", "stop b", "last"]
    new, old = machine.engine.store.runs()
    assert (new.id, new.status, new.forked_from) == ("fork-1", "done", source.rid)
    assert old.superseded_by == new.rid
    with pytest.raises(RunError, match=f"run {old.id} is superseded by its fork fork-1"):
        fork(machine, old, 2, "fork-2")


def test_a_fork_that_fails_undoes_what_both_have_done(machine: Machine) -> None:
    """Also what the source has done behind the point, each call once, the last one first."""
    broken["last"] = Died()
    source = end(machine, saga)
    fork(machine, source, 3)
    broken["last"], _ = Trouble("no"), take_effects()
    end(machine, saga)
    assert take_effects() == ["load [1]", "stop b", "last", "start b", "start b", "start a"]


def test_a_run_that_was_left_while_it_was_undone_has_no_forks(machine: Machine) -> None:
    """What a fork would take over may be undone in part."""
    broken.update({"last": Trouble("no"), "start a": Died()})
    source = end(machine, saga)
    with pytest.raises(RunError, match="was left while it was being undone"):
        fork(machine, source, 3)


def test_a_run_that_is_executed_has_no_forks(machine: Machine) -> None:
    """A fork would take over what is not done yet."""

    def forking(*_: object) -> None:
        store = machine.engine.store
        (run,) = store.runs()
        with pytest.raises(AlreadyRunning, match=f"run {run.id} is executed by pid"):
            store.journal.write((), forks.fork(store, run, "fork-1", 1, machine.world.now(), child_id))
        done.append("refused")

    @step(name="forking", retry=None)
    def attempt() -> None:
        forking()

    @workflow(name="forked while it runs")
    def busy() -> None:
        attempt()

    busy()
    assert take_effects() == ["refused"]


def test_results_that_came_too_late_are_seen_by_a_fork(machine: Machine) -> None:
    """A letter that is re-driven after its run has ended: the command that is named sees the result."""
    broken["parse 2"] = broken["parse 4"] = Trouble("bad")
    source = end(machine, rows)
    store = machine.engine.store
    assert (source.status, unseen_results.unseen(store, source)) == ("done", None)
    del broken["parse 2"]
    assert sorted(result.status for result in redrive(machine)) == ["failed", "resolved"]
    take_effects()
    late = unseen_results.unseen(machine.engine.store, source)
    assert late is not None
    assert (late.count, late.results) == (1, "the result of 1 re-driven dead letter")
    assert late.command == f"perdure fork {source.id} --from load"
    made = fork(machine, source, 5)
    assert (made.results, made.moved, made.again) == (1, 1, 0)
    store = machine.engine.store
    assert unseen_results.unseen(store, store.run(source.id)) is None, "the fork does"
    assert rows() == "[10, 20, 30] for 1"
    assert take_effects() == ["load [10, 20, 30]", "last"]
    (letter,) = parked(machine)
    assert letter.run == made.rid, "the letter that is left is the fork's"


def test_letters_behind_the_point_are_made_again(machine: Machine) -> None:
    """They are superseded, since their calls are made anew; those before it are the fork's."""
    broken["parse 2"] = broken["parse 4"] = Trouble("bad")
    source = end(machine, rows)
    made = fork(machine, source, 3)
    assert (made.moved, made.again) == (1, 1)
    del broken["parse 4"]
    take_effects()
    assert rows() == "[10, 30, 40] for 1"
    assert take_effects() == ["parse 3", "parse 4", "load [10, 30, 40]", "last"]


def test_a_fork_of_a_fork_takes_over_the_letters_of_both(machine: Machine) -> None:
    """A run that is done may have several forks: the letter that an earlier fork has taken over is the newest one's."""
    broken["parse 2"] = broken["parse 4"] = Trouble("bad")
    source = end(machine, rows)
    fork(machine, source, 5)
    end(machine, rows)
    first = machine.engine.store.run("fork-1")
    again = fork(machine, first, 5, "fork-2")
    assert again.moved == 2
    broken.clear()
    assert [result.status for result in redrive(machine)] == ["resolved", "resolved"]
    assert rows() == "[10, 20, 30, 40] for 1"


def test_a_child_run_whose_letters_were_redriven_is_forked_with_its_parent(machine: Machine) -> None:
    """Its parent's fork comes to the new result, and executes nothing that was done on the way."""
    broken["parse 2"] = Trouble("bad")
    source = end(machine, parent)
    broken.clear()
    redrive(machine)
    late = unseen_results.unseen(machine.engine.store, source)
    assert late is not None
    assert late.command == f"perdure fork {source.id} --from load"
    take_effects()
    made = fork(machine, source, 2)
    assert made.results == 1
    assert parent() == "[10, 20, 30, 40] for 1"
    assert take_effects() == ["load [10, 20, 30, 40]", "load [9]"]


def test_a_child_run_behind_the_point_is_called_anew(machine: Machine) -> None:
    """What it has left parked is superseded."""
    broken["parse 2"] = Trouble("bad")
    source = end(machine, parent)
    made = fork(machine, source, 1)
    assert (made.moved, made.again) == (0, 1)
    assert parked(machine) == []
    broken.clear()
    take_effects()
    assert parent() == "[10, 20, 30, 40] for 1"
    assert take_effects()[:4] == ["parse 1", "parse 2", "parse 3", "parse 4"]


def test_a_child_run_before_the_point_is_taken_over(machine: Machine) -> None:
    """With its letters, which are re-driven as the fork's."""
    broken["parse 2"] = Trouble("bad")
    source = end(machine, parent)
    fork(machine, source, 2)
    take_effects()
    assert parent() == "[10, 30, 40] for 1"
    assert take_effects() == ["load [9]"]
    child = next(run for run in machine.engine.store.runs(children=True) if run.parent is not None)
    assert child.parent == machine.engine.store.run("fork-1").rid


@workflow(name="forked_budget")
def bounded() -> int:
    with perdure.budget(tokens=9) as budget:
        rows()
        load([9])
        if "bounded" in broken:
            raise broken["bounded"]
        last()
    return budget.spent.tokens


def test_what_a_child_run_has_spent_counts_for_the_blocks_of_the_fork(machine: Machine) -> None:
    """The child run is taken over; its costs are those of the block that called it, there too; what was raised is."""
    broken["bounded"] = Trouble("later")
    source = end(machine, bounded)
    store = machine.engine.store
    raised = Bounds(tokens=50)
    store.journal.write((), lambda connection: spending.raise_bounds(connection, source.rid, raised, store.path))
    fork(machine, source, 3)
    broken.clear()
    take_effects()
    assert bounded() == 2
    assert take_effects() == ["last"]
    store = machine.engine.store
    made = store.run("fork-1").rid
    assert store.spent_in(made, f"{made}:0").tokens == 2
    assert store.raised_bounds(made) == raised


def test_a_later_fork_of_a_run_that_is_done_takes_the_letters_over_from_an_earlier_one(machine: Machine) -> None:
    """What the earlier one has not re-driven of what lies before the point."""
    broken["parse 2"] = Trouble("bad")
    source = end(machine, rows)
    for new_id, before in (("fork-1", 6), ("fork-2", 5), ("fork-3", 2)):
        made = fork(machine, machine.engine.store.run(source.id), before, new_id)
        store = machine.engine.store
        assert (made.moved, made.again) == ((1, 0) if before > 2 else (0, 0))
        assert [store.run_by_number(letter.run).id for letter in parked(machine)] == [
            new_id if before > 2 else "fork-2"
        ]
        assert [one.message for one in letter_details(store, parked(machine)[0]).attempts] == ["bad"]


@workflow(name="forked_wait")
def waiting() -> list[str]:
    load([1])
    found = [str(perdure.wait_for("paid", timeout="1d"))]
    last()
    found.append(str(perdure.wait_for("sent", timeout="1d")))
    return found


@pytest.mark.parametrize(("before", "again"), [(2, ["paid", "sent"]), (3, ["sent"])])
def test_signals_go_over_to_the_fork(machine: Machine, before: int, again: list[str]) -> None:
    """What the source has not taken, and what it took behind the point, which is taken again; the rest stays taken."""
    broken["last"] = Died()
    with pytest.raises(Suspended):
        waiting()
    (source,) = machine.engine.store.runs()
    for event in ("paid", "sent"):
        perdure.signal(source.id, event, event.upper())
    source = end(machine, waiting)
    assert [letter.event for letter in signals.not_taken(machine.engine.store, source.rid)] == ["sent"]
    made = fork(machine, source, before)
    assert [letter.event for letter in signals.not_taken(machine.engine.store, made.rid)] == again
    assert signals.not_taken(machine.engine.store, source.rid) == []
    broken.clear()
    take_effects()
    assert waiting() == ["PAID", "SENT"]
    assert take_effects() == ["last"]


@workflow(name="forked_rows_alone")
def rows_alone() -> int:
    return len(parse.map([1, 2]).results)


def test_a_result_that_came_too_late_behind_which_nothing_was_called(machine: Machine) -> None:
    """The fork that is named keeps all records: the number behind the last one stands for that."""
    broken["parse 2"] = Trouble("bad")
    source = end(machine, rows_alone)
    broken.clear()
    redrive(machine)
    late = unseen_results.unseen(machine.engine.store, source)
    assert late is not None
    assert late.command == f'perdure fork {source.id} --from "#3"'
    fork(machine, source, 3)
    take_effects()
    assert (rows_alone(), take_effects()) == (2, [])


@workflow(name="forked_halves")
def halves() -> str:
    first = load(parse.map([1, 2]).results)
    second = parse.map([3, 4]).results
    last()
    return f"{first} {second}"


def test_one_fork_sees_all_that_was_redriven_of_a_run(machine: Machine) -> None:
    """Letters of several steps, each with a consumer of its own: one line names a fork that makes none again."""
    broken["parse 2"] = broken["parse 4"] = Trouble("bad")
    source = end(machine, halves)
    broken.clear()
    resolved = [(result.letter, result.seen) for result in redrive(machine)]
    (line,) = set(follow(machine.engine.store, resolved).values())
    late = unseen_results.unseen(machine.engine.store, source)
    assert late is not None
    assert (late.count, late.command) == (2, f"perdure fork {source.id} --from last")
    assert f"{late.command} makes it again" in line
    assert fork(machine, source, find_step(machine.engine.store, source, "last")).results == 2
    take_effects()
    assert halves() == "[10, 20] [30, 40]"
    assert take_effects() == ["load [10, 20]", "last"]


@workflow(name="forked_caller")
def caller() -> str:
    found = rows.with_options(id="by id")()
    parse.map([2])
    last()
    return found


def test_a_run_that_keeps_the_result_of_one_by_an_id_says_so(machine: Machine) -> None:
    """Both have letters: the order of the forks is said, and that another point makes again what came after it."""
    broken["parse 2"] = Trouble("bad")
    end(machine, caller)
    broken.clear()
    resolved = [(result.letter, result.seen) for result in redrive(machine)]
    store = machine.engine.store
    source = next(run for run in store.runs() if run.workflow == "forked_caller")
    lines = sorted(set(follow(store, resolved).values()), key=len)
    assert [f"perdure fork {id} --from" in line for id, line in zip(("'by id'", source.id), lines, strict=True)] == [
        True,
        True,
    ]
    assert f'fork by id first, then perdure fork {source.id} --from "#2"' in lines[1]
    assert "keeps" not in lines[0]


@workflow(name="forked_part")
def part(n: int) -> int:
    return parse(n)


@workflow(name="forked_part_once", once=True)
def part_once(n: int) -> int:
    return parse(n)


@workflow(name="forked_calls")
def calls() -> None:
    part.enqueue(1)
    part_once.enqueue(1)
    part.with_options(id="by-id").enqueue(2)
    part.with_options(id="called")(3)
    last()


def test_runs_that_a_fork_enqueues_again_are_named(machine: Machine) -> None:
    """With the command that ends one: those behind the point alone, and none that the fork finds again."""
    broken["last"] = Died()
    end(machine, calls)
    store = machine.engine.store
    source = next(run for run in store.runs() if run.workflow == "forked_calls")
    line = enqueued_again(store, source, 1, " --state x.db")
    assert line is not None
    assert line.count("perdure cancel") == 1
    assert f"`perdure cancel {source.id}.forked_part-" in line
    assert " --state x.db` ends it" in line
    assert enqueued_again(store, source, find_step(store, source, "last", behind=True)) is None


def test_the_last_run_is_one_that_nobody_has_called(machine: Machine) -> None:
    """Neither by an id, nor into a queue; unless a person has begun it again since then."""
    broken["last"] = Trouble("no")
    end(machine, calls)
    store = machine.engine.store
    assert [run.workflow for run in store.runs()][-1] == find_run(store, "last").workflow == "forked_calls"
    machine.world.sleep(1)
    part.with_options(id="by hand")(3)
    assert find_run(machine.engine.store, "last").id == "by hand"


def test_clean_ups_are_no_steps_to_fork_from(machine: Machine) -> None:
    """A wrong name is answered with the steps that the workflow calls."""
    broken["last"] = Trouble("no")
    source = end(machine, saga)
    with pytest.raises(NotFound) as refused:
        find_step(machine.engine.store, source, "forked", behind=True)
    assert "load" in refused.value.hint
    assert "undo" not in refused.value.hint
