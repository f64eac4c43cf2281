"""Which clean-ups and dead letters are due: what a run stands on is not taken back, nor made once more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.alerts.run_alerts import end_alert
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines.local.redrive import Redriver, Result
from perdure.engines.local.scope import LocalScope
from perdure.errors import AlreadyRunning, NotFound, RunError, StepTimeout
from perdure.operations.dead_letters import texts_of
from perdure.operations.show import details_of
from perdure.store import dead_letters, forks, parking

done: list[str] = []
keys: list[str] = []
broken: set[str] = set()
leaves: list[BaseException] = []


def effect(what: str) -> None:
    if what.partition(" ")[0] in broken:
        raise Died if what == "pay" and "die" in broken else Trouble(what)
    done.append(what)


@step(name="due cancel", retry=None)
def cancel(seat: str) -> None:
    if leaves:
        raise leaves.pop()
    effect(f"cancel {seat}")


@step(name="due book", retry=None, undo=cancel)
def book(seat: str) -> str:
    keys.append(perdure.idempotency_key())
    effect(f"{'late' if seat == 'late' else 'book'} {seat}")
    return seat


@step(name="due clean", retry=None)
def clean() -> None:
    effect("clean")


@step(name="due pay", retry=None)
def pay() -> None:
    effect("pay")


@workflow(name="due_kid")
def kid() -> str:
    perdure.defer(clean)
    return book("seat")


@workflow(name="due_items")
def items() -> int:
    return len(book.map(["seat", "late"]).dead)


@workflow(name="due_flat")
def flat() -> str:
    seat = book("seat")
    pay()
    return seat


@workflow(name="due_twice")
def twice() -> None:
    book("seat")
    book("seat")
    pay()


@workflow(name="due_trip")
def trip() -> str:
    seat = kid()
    pay()
    return seat


@workflow(name="due_order")
def order() -> int:
    dead = items()
    pay()
    return dead


@workflow(name="due_items_paid")
def items_paid() -> int:
    dead = len(book.map(["late"]).dead)
    clean()
    pay()
    return dead


@workflow(name="due_once", once=True)
def once() -> str:
    return book("seat")


@workflow(name="due_caller")
def caller() -> str:
    seat = once()
    pay()
    return seat


@pytest.fixture(autouse=True)
def all_works() -> Iterator[None]:
    done.clear()
    keys.clear()
    broken.clear()
    leaves.clear()
    yield
    broken.clear()


def end(machine: Machine, function: Callable[[], Any], *works_not: str) -> RunRecord:
    """Run it, whatever comes of it, in a process that ends then; all works afterwards."""
    broken.update(works_not)
    with contextlib.suppress(Trouble):
        function()
    broken.clear()
    machine.boot()
    return machine.engine.store.runs()[0]


def fork(machine: Machine, source: RunRecord, new_id: str = "fork-1", before: int = 0) -> RunRecord:
    """A fork that has the records of the source before that number, or all."""
    fork_of(machine, source, new_id, before)
    return machine.engine.store.run(new_id)


def fork_of(machine: Machine, source: RunRecord, new_id: str, before: int) -> forks.Forked:
    store = machine.engine.store
    before = before or max([record.seq for record in store.all_records(source.rid)], default=0) + 1
    operation = forks.fork(store, source, new_id, before, machine.world.now(), child_id)
    made: forks.Forked = store.journal.write((), operation)
    machine.boot()
    return made


def statuses(machine: Machine) -> list[str]:
    return [letter.status for letter in dead_letters.find(machine.engine.store, dead_letters.Filter())]


def redrive(machine: Machine, lid: int = 1) -> Result:
    (result,) = redrive_all(machine, [lid])
    return result


def redrive_all(machine: Machine, lids: list[int]) -> list[Result]:
    results: list[Result] = []
    specs = {"undo:due cancel": cancel, "due book": book, "defer:due clean": clean}
    Redriver(machine.engine, lambda run, record: spec_of(specs[record.name]), results.append).run(lids)
    machine.boot()
    return results


def test_the_letter_of_an_undoing_is_superseded_when_the_run_goes_on_and_its_next_end_decides_anew(
    machine: Machine,
) -> None:
    """The run stands on what was not taken back; if it fails once more, that is undone, and if not, never."""
    end(machine, flat, "pay", "cancel")
    assert (done, statuses(machine)) == (["book seat"], ["parked"])
    end(machine, flat, "pay")
    assert (done, statuses(machine)) == (["book seat", "cancel seat"], ["superseded"])
    done.clear()
    end(machine, flat, "pay", "cancel")
    assert flat() == "seat"
    assert (done, statuses(machine)) == (["book seat", "pay"], ["superseded"] * 2)
    assert redrive(machine, 2).status == "refused"
    assert done == ["book seat", "pay"]


def test_an_undoing_is_tried_again_while_its_run_has_failed_or_was_cancelled(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its letter stays, and who cancels is told so; its record is taken back then, so that a fork makes the call."""
    run = end(machine, flat, "pay", "cancel")
    capsys.readouterr()
    found = machine.engine.cancel(run.id, lambda run: None)
    assert found.outcome == "ended"
    first, second = found.missed
    assert first == "clean-up undo:due cancel had failed before, and is not tried again"
    assert f"dead letter 1 of a clean-up stays parked; to try again: perdure dlq redrive --run {run.id}" in second
    assert "undoes" not in capsys.readouterr().err
    assert redrive(machine).status == "resolved"
    fork(machine, run)
    assert machine.engine.store.counts(run.rid + 1).get("done", 0) == 1  # that it was undone
    assert done == ["book seat", "cancel seat"]


def test_the_alert_of_a_failed_run_names_the_letter_of_its_undoing(machine: Machine) -> None:
    """What was booked is still there, and nobody else says so."""
    run = end(machine, flat, "pay", "cancel")
    assert run.output is not None
    alert = end_alert(machine.engine.store, run, run.status, run.output, "")
    assert alert is not None
    assert "a clean-up has failed, too: dead letter 1; " in "".join(alert.notes)
    assert ("clean up", f"perdure dlq redrive --run {run.id}") in alert.commands


def test_each_of_two_calls_that_are_alike_has_an_undoing_of_its_own(machine: Machine) -> None:
    """Both may fail, and be re-driven one by one; a call that is made again has a key of its own, too."""
    end(machine, twice, "pay", "cancel")
    assert statuses(machine) == ["parked"] * 2
    assert redrive(machine).status == "resolved"
    assert done == ["book seat", "book seat", "cancel seat"]
    done.clear()
    end(machine, twice, "pay")
    assert done == ["book seat", "cancel seat", "cancel seat"]
    twice()
    assert len(keys) == len(set(keys)) == 5


def test_an_undoing_of_a_run_that_is_done_is_refused_in_files_of_before(machine: Machine) -> None:
    """Such a letter may be parked still; the error says what to do."""
    end(machine, flat, "pay", "cancel")
    assert flat() == "seat"
    store = machine.engine.store
    (letter,) = dead_letters.find(store, dead_letters.Filter())
    store.journal.write((), lambda connection: parking.put(connection, letter, status="parked"))
    result = redrive(machine)
    assert (result.status, getattr(result.error, "hint", "")) == ("refused", "drop it: perdure dlq drop 1")
    assert "cancel seat" not in done


@pytest.mark.parametrize("function", [flat, order], ids=["its undoing", "a call of a child run"])
def test_nobody_has_a_run_while_a_letter_of_it_is_redriven(machine: Machine, function: Any) -> None:
    """It would stand on what is being taken back, or neither see nor undo what is being made."""
    run = end(machine, function, "pay", "cancel" if function is flat else "late")
    store = machine.engine.store
    store.journal.write((), dead_letters.claim(store, 1, machine.world.now()))
    for meddle in (function, lambda: machine.engine.cancel(run.id, lambda run: None)):
        with pytest.raises(AlreadyRunning, match="dead letter 1 is being re-driven"):
            meddle()
    store.journal.write((), dead_letters.release(store, 1, machine.world.now()))
    assert machine.engine.store.run(run.id).stop is None
    function()
    assert machine.engine.store.run(run.id).status == "done"


@pytest.mark.parametrize("then", ["cancel", "fail", "fork before", "fork behind"])
@pytest.mark.parametrize("function", [items_paid, order])
def test_what_is_redriven_when_its_run_has_gone_on_is_undone_with_it_all_the_same(
    machine: Machine, function: Any, then: str
) -> None:
    """Also if the run is a child that is done, whose parent a death has left."""
    broken.update({"pay", "late", "die"} if function is order else {"pay", "late"})
    with pytest.raises((Died, Trouble)):
        function()
    run = end(machine, lambda: None)
    assert redrive(machine).seen is False
    assert done.count("late late") == 1
    if then == "cancel":
        assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    else:
        if then != "fail":
            fork(machine, run, before=0 if then == "fork before" else 1)
        end(machine, function, "pay")
        if then != "fail":
            assert machine.engine.cancel("fork-1", lambda run: None).outcome == "ended"
    assert done.count("cancel late") == done.count("late late")
    assert done.count("cancel seat") == done.count("book seat")
    if then == "fail":
        function()
        assert done.count("late late") == 2


def edit(machine: Machine, lid: int, seat: str) -> None:
    store = machine.engine.store
    given = codec.pack_inputs([seat], {}, owner="book")
    store.journal.write((), dead_letters.edit(store, lid, given, None, machine.world.now()))


@pytest.mark.parametrize("then", ["goes on", "fails for good", "is forked"])
@pytest.mark.parametrize("way", ["keyed", "plain"])
def test_an_edited_call_that_is_undone_is_made_again_as_edited(
    machine: Machine, capsys: pytest.CaptureFixture[str], then: str, way: str
) -> None:
    """Nothing known of its letter is gone, a fork and a later letter of the call have the edit, too."""

    @workflow(name="due_mended")
    def mended() -> list[str]:
        batch = book.map(["late"], key=str.upper if way == "keyed" else None)
        pay()
        return list(batch.results)

    run = end(machine, mended, "late", "pay")
    edit(machine, 1, "soon")
    assert redrive(machine).seen
    end(machine, mended, "pay")
    (letter,) = dead_letters.find(machine.engine.store, dead_letters.Filter())
    assert (letter.status, letter.result is not None) == ("resolved", True)
    assert texts_of(machine.engine.store, letter).undone
    if then == "fails for good":
        end(machine, mended, "book", "pay")
        assert redrive(machine, 2).seen
    if then == "is forked":
        run = fork(machine, run)
    assert mended() == ["soon"]
    assert done == ["book soon", "cancel soon", "book soon", "pay"]
    assert "makes a call of due book again, with the input that dead letter" in capsys.readouterr().err
    (made,) = (
        one for one in machine.engine.store.all_records(run.rid) if one.name == "due book" and one.kind == "step"
    )
    assert made.input == codec.pack_inputs(["late"], {}, owner="book")
    assert len(set(keys)) == 3


def test_a_call_that_can_be_undone_is_not_redriven_while_its_run_is_executed(machine: Machine) -> None:
    """The end that the run comes to would not know of it."""
    found: list[AlreadyRunning] = []

    @step(name="due meanwhile")
    def meanwhile() -> None:
        store = machine.engine.store
        with pytest.raises(AlreadyRunning) as refusal:
            store.journal.write((), dead_letters.claim(store, 1, machine.world.now(), undoable=True))
        found.append(refusal.value)

    @workflow(name="due_long")
    def long() -> None:
        items()
        meanwhile()

    run = end(machine, long, "late")
    (refusal,) = found
    assert f"dead letter 1 is a call with undo= of run {run.id}, which pid " in refusal.what


def leave(machine: Machine, function: Callable[[], Any], how: type[BaseException] = Died) -> None:
    """Run it, in a process that is left, or dies, while it undoes what that has booked; undoing fails now."""
    broken.add("pay")
    leaves.append(StepTimeout("cancel ran out of time", "") if how is StepTimeout else how())
    with pytest.raises(Trouble if how is StepTimeout else how):
        function()
    broken.clear()
    broken.add("cancel")
    machine.boot()


@pytest.mark.parametrize("how", [Died, KeyboardInterrupt, StepTimeout])
@pytest.mark.parametrize("function", [flat, trip, order, caller])
def test_what_a_broken_off_undoing_has_failed_to_take_back_is_made_again(
    machine: Machine, function: Any, how: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be taken back in part; so it is for a step, a child, an item of a map and a run once. The letter stays."""
    leave(machine, function, how)
    function()
    assert done.count("late late" if function is order else "book seat") == 2
    assert len(keys) == len(set(keys))
    assert statuses(machine).count("parked") == 1
    assert "makes a call again that undo:due cancel may have taken back in part" in capsys.readouterr().err
    assert redrive(machine, statuses(machine).index("parked") + 1).status == "refused"  # it would take the new one


def test_what_was_made_again_after_a_broken_off_undoing_has_an_undoing_of_its_own(machine: Machine) -> None:
    """The letter of the first one is re-driven when that stands no more, and takes nothing back of the run."""
    leave(machine, flat)
    run = end(machine, flat, "pay")
    end(machine, flat, "pay")
    assert (done, statuses(machine)) == (["book seat", "book seat", "cancel seat"], ["parked", "superseded"])
    assert redrive(machine).status == "resolved"
    assert flat() == "seat"
    assert len(keys) == len(set(keys)) == 3
    assert machine.engine.store.run(run.id).status == "done"


def test_of_two_letters_of_one_call_the_newer_one_is_redriven_first(machine: Machine) -> None:
    """The older one alone is refused, and says so: it would take back what was made again."""
    leave(machine, flat)
    run = end(machine, flat, "pay", "cancel")
    assert statuses(machine) == ["parked"] * 2
    assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    refused = redrive(machine, 1)
    hint = "run `perdure dlq redrive 2` first: that letter is of the newer one"
    assert (refused.status, getattr(refused.error, "hint", "")) == ("refused", hint)
    assert [(one.letter, one.status) for one in redrive_all(machine, [1, 2])] == [(2, "resolved"), (1, "resolved")]
    assert done == ["book seat", "book seat", "cancel seat", "cancel seat"]


@pytest.mark.parametrize("point", ["behind it", "before it", "at the first step"])
def test_the_letter_of_a_broken_off_undoing_becomes_the_forks(machine: Machine, point: str) -> None:
    """Under its number, wherever the fork begins: the fork makes the call again, the letter is what is left to do."""
    leave(machine, flat)
    run = end(machine, flat, "pay", "cancel")
    assert redrive(machine, 2).status == "resolved"
    (letter,) = dead_letters.find(machine.engine.store, dead_letters.Filter(status="parked"))
    new = fork(machine, run, before={"behind it": 0, "before it": letter.seq, "at the first step": 1}[point])
    assert flat() == "seat"
    (found,) = dead_letters.find(machine.engine.store, dead_letters.Filter(status="parked"))
    assert (found.lid, found.run) == (letter.lid, new.rid)
    assert "see with the service" in getattr(redrive(machine, found.lid).error, "hint", "")
    assert done == ["book seat", "book seat", "cancel seat", "book seat", "pay"]


def test_what_a_lost_undo_step_may_have_begun_to_take_back_is_made_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was renamed or moved after the process had died in it."""

    def gone(*_: object) -> None:
        raise NotFound("no such step", "")

    leave(machine, flat)
    monkeypatch.setattr(LocalScope, "find_step", gone)
    assert flat() == "seat"
    assert (done, statuses(machine)) == (["book seat", "book seat", "pay"], ["parked"])


@pytest.mark.parametrize("how", ["dies", "is left"])
def test_what_a_broken_off_redrive_may_have_taken_back_is_made_again(machine: Machine, how: str) -> None:
    """Also if the letter was re-driven once more since, and that has failed."""
    end(machine, flat, "pay", "cancel")
    if how == "dies":
        store = machine.engine.store
        store.journal.write((), dead_letters.claim(store, 1, machine.world.now()))
        machine.boot()
    else:
        leaves.append(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            redrive(machine)
        machine.boot()
    broken.add("cancel")
    assert redrive(machine).status == "failed"
    assert flat() == "seat"
    assert (done, statuses(machine)) == (["book seat", "book seat", "pay"], ["parked"])


@pytest.mark.parametrize("then", ["cancelled", "resolved"])
def test_a_call_that_a_redrive_has_died_in_is_named(
    machine: Machine, capsys: pytest.CaptureFixture[str], then: str
) -> None:
    """When its run is cancelled, as those of the run itself; `dlq show` names it at once. Not if it was made since."""
    broken.update(("book", "pay"))

    @workflow(name="due_parks")
    def parks() -> None:
        book.map(["seat"])
        pay()

    with pytest.raises(Trouble):
        parks()
    store = machine.engine.store
    store.journal.write((), dead_letters.claim(store, 1, machine.world.now(), undoable=True))
    machine.boot()
    store = machine.engine.store
    cut = texts_of(store, dead_letters.get(store, 1)).cut
    assert cut == ["its last redrive was under way when its process died"]
    if then == "resolved":
        broken.discard("book")
        assert redrive(machine).status == "resolved"
    store = machine.engine.store
    (run,) = store.runs()
    machine.engine.cancel(run.id, lambda run: None)
    unknown = details_of(store, store.run(run.id)).unknown
    assert (unknown is not None) == (then == "cancelled")
    if unknown is not None:
        assert "is not known, and it is not undone: due book (attempt 2 was under way when its process died" in unknown
        assert unknown in capsys.readouterr().err
        (line,) = texts_of(store, dead_letters.get(store, 1)).cut
        assert line.startswith("attempt 2 was under way when its process died")


@pytest.mark.parametrize("dropped", [False, True])
def test_a_fork_makes_again_what_may_be_undone_in_part(machine: Machine, dropped: bool) -> None:
    """The source was cancelled, and its undoing, in which a process had died, has failed."""
    leave(machine, flat)
    (run,) = machine.engine.store.runs()
    assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    if dropped:
        store = machine.engine.store
        store.journal.write((), dead_letters.drop(store, 1, machine.world.now()))
    fork(machine, run)
    assert flat() == "seat"
    assert done == ["book seat", "book seat", "pay"]
    assert set(statuses(machine)) == {"dropped" if dropped else "parked"}
    assert redrive(machine).status == "refused"


@pytest.mark.parametrize("redriven", [False, True])
def test_a_child_that_is_made_again_calls_its_deferred_clean_up_again(machine: Machine, redriven: bool) -> None:
    """Also if that had failed the first time; re-driving it meanwhile would clean up what is made later."""
    end(machine, trip, "clean", "pay")
    assert (done, statuses(machine)) == (["book seat", "cancel seat"], ["superseded"])
    if redriven:
        assert redrive(machine).status == "refused"
    done.clear()
    assert trip() == "seat"
    assert done == ["book seat", "clean", "pay"]


@pytest.mark.parametrize("function", [flat, trip])
def test_a_fork_makes_nothing_twice_whose_undoing_has_failed(machine: Machine, function: Any) -> None:
    """It stands on that, or is refused, and nothing is left of it, until a person has decided."""
    run = end(machine, function, "pay", "cancel")
    if function is flat:
        fork(machine, run)
        assert (flat(), done, statuses(machine)) == ("seat", ["book seat", "pay"], ["superseded"])
        return
    with pytest.raises(RunError, match=r"dead letter 1 is an undoing of run .* that has failed"):
        fork(machine, run)
    assert len(machine.engine.store.runs()) == 1
    assert redrive(machine).status == "resolved"
    fork(machine, run)
    assert trip() == "seat"
    assert [what for what in done if what != "clean"] == ["book seat", "cancel seat", "book seat", "pay"]


def test_a_fork_of_a_cancelled_run_does_not_stand_on_what_could_not_be_undone(machine: Machine) -> None:
    """It would not undo that, and the letter that does would be superseded."""
    run = end(machine, flat, "pay", "cancel")
    assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    with pytest.raises(RunError, match="a fork would never take that back"):
        fork(machine, run)
    assert redrive(machine).status == "resolved"
    fork(machine, run)
    assert flat() == "seat"
    assert done == ["book seat", "cancel seat", "book seat", "pay"]


def test_a_fork_that_fails_undoes_what_its_source_could_not(machine: Machine) -> None:
    """It answers for all that both stand on."""
    run = end(machine, flat, "pay", "cancel")
    fork(machine, run)
    end(machine, flat, "pay")
    assert done == ["book seat", "cancel seat"]


@pytest.mark.parametrize("before", [1, 2], ids=["behind the point", "before it"])
def test_what_child_runs_of_an_unfinished_source_have_done_is_undone_at_the_final_end_of_the_fork(
    machine: Machine, before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fork stands on it until then, also if it fails, and says so; a fork of the fork answers for it as well."""
    broken.update({"pay", "die"})
    with pytest.raises(Died):
        trip()
    source = end(machine, lambda: None)
    assert fork_of(machine, source, "fork-1", before).below == (before == 1)
    run = end(machine, trip, "pay")
    assert done == ["book seat", "clean", *(["book seat", "clean", "cancel seat"] if before == 1 else [])]
    assert (
        "does not undo 1 step of child runs that its source had called until it is cancelled" in capsys.readouterr().err
    )
    fork(machine, run, "fork-2")
    assert machine.engine.cancel("fork-2", lambda run: None).outcome == "ended"
    assert done.count("book seat") == done.count("cancel seat") == 3 - before


def test_nothing_is_made_any_more_for_a_run_that_was_cancelled(machine: Machine) -> None:
    """Nothing would take it back; so it is for its child runs."""
    run = end(machine, order, "late", "pay")
    assert statuses(machine) == ["parked"]
    assert machine.engine.cancel(run.id, lambda run: None).outcome == "ended"
    assert statuses(machine) == ["superseded"]
    result = redrive(machine)
    assert result.status == "refused"
    assert f"is of run {run.id}, which was cancelled" in str(result.error)
    assert done == ["book seat", "cancel seat"]


def test_a_fork_of_a_cancelled_run_has_the_letters_of_the_calls_that_it_stands_on(machine: Machine) -> None:
    """They are parked again, and are the fork's."""

    @step(name="due send", retry=None)
    def send(number: int) -> int:
        effect(f"send {number}")
        return number

    @workflow(name="due_mails")
    def mails() -> int:
        dead = len(send.map([1, 2]).dead)
        pay()
        return dead

    run = end(machine, mails, "send", "pay")
    machine.engine.cancel(run.id, lambda run: None)
    assert statuses(machine) == ["superseded"] * 2
    new = fork(machine, run)
    found = dead_letters.find(machine.engine.store, dead_letters.Filter(status="parked"))
    assert [letter.run for letter in found] == [new.rid] * 2
