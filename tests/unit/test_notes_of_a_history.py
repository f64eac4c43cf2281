"""What a history knows of earlier lives beside the records of calls, and what it writes down with the next ones."""

from __future__ import annotations

import copy

import msgspec
import pytest
from test_which_record_a_call_claims import called

from perdure.core import records
from perdure.core.execution.call_extras import Extras
from perdure.core.execution.history import History, Tries
from perdure.core.execution.spec import InputKept
from perdure.core.values.digested import is_digested
from perdure.core.values.extensions import encode

KEY = (3).to_bytes(16, "little")


def test_attempts_of_earlier_lives_are_claimed_once() -> None:
    """How many there were, by the highest number; how many of them count, by their sum."""
    attempts = [("claiming", KEY, 0, number, counted, 1.0) for number, counted in ((2, 1), (1, 1), (3, 0))]
    history = History(1, "run", attempts=attempts)
    call = called("claiming", 3)
    assert history.tries(called("claiming too", 3)) == Tries()
    assert history.tries(call) == Tries(made=3, counted=2)
    assert history.tries(call) == Tries()


def test_whether_a_call_was_tried_is_asked_once_a_step() -> None:
    """Of an engine that knows; of another one nothing was."""
    history = History(1, "run")
    assert not history.tried(called("claiming", 3))
    asked: list[str] = []

    def tried_calls(name: str) -> set[tuple[bytes, int]]:
        asked.append(name)
        return {(KEY, 0)}

    history.tried_calls = tried_calls
    assert history.tried(called("claiming", 3))
    assert not history.tried(called("claiming", 4))
    again = called("claiming", 3)
    again.n = 1
    assert not history.tried(again)
    assert asked == ["claiming"]


def test_a_call_that_is_given_up_is_written_down_with_the_next_records() -> None:
    """Unless it has ended, which its record says."""
    history = History(1, "run", [(1, "claiming", KEY, 0, "done", "step"), (2, "claiming", KEY, 1, "abandoned", "step")])
    for seq, given_up in ((1, False), (2, True)):
        call = called("claiming", 3)
        call.seq = seq
        assert history.give_up(call) is given_up
    assert history.with_notes(()) == ()
    call = called("claiming", 4)
    assert history.give_up(call)
    row = history.row(called("claiming", 5), "done", b"\x01", 0.0, 0.0, 1)
    first, second = history.with_notes((row,))
    assert (first[records.SEQ], first[records.STATUS]) == (3, "abandoned")
    assert (call.seq, second) == (3, row)
    assert history.with_notes((row,)) == (row,), "once"


def test_a_call_that_was_left_by_an_exit_is_seen_as_a_failure() -> None:
    """Its record is unsaved until the next commit, and is left out of what is taken back where that is asked."""
    history = History(1, "run")
    call = called("claiming", 3)
    history.left_by_exit(call, SystemExit(3), 5.0, 0.25, 2)
    history.give_up(called("claiming", 4))
    (row,) = history.exits(())
    assert (row[records.SEQ], row[records.STATUS], row[records.ATTEMPTS]) == (1, "failed", 2)
    assert history.exits([1]) == ()
    assert history.handled == [1]


def test_timers_are_one_note_in_front_of_what_came_after_them() -> None:
    """Each with the record that was the last one when it fired; a loop has a name if it is not the first one."""
    history = History(1, "run", [(4, "claiming", KEY, 0, "done", "step")])
    history.timer_fired(0)
    history.timer_fired(2, b"other")
    note, row = history.with_notes(((1, 9),))
    assert (note[records.KIND], note[records.SEQ]) == ("timers", 5)
    assert (note[records.RUN], note[records.KEY], note[records.N], note[records.STATUS]) == (1, bytes(16), 0, "done")
    assert msgspec.msgpack.decode(note[records.INPUT]) == [[0, 4], [2, 4, b"other"]]
    assert row == (1, 9)
    assert history.with_notes(()) == ()
    assert History(1, "run", [(5, *note[2:6], "timers")]).timer_notes() == [5]


def test_a_thread_writes_down_its_own_notes_alone() -> None:
    """What others have noted is left to them: they would go on before it is written."""
    history = History(1, "run")
    me = [1]
    history.whose = lambda: me[0]
    mine, others = called("claiming", 1), called("claiming", 2)
    history.give_up(mine)
    history.timer_fired(0)
    me[0] = 2
    history.give_up(others)
    history.timer_fired(1)
    abandoned, timers = history.with_notes(())
    assert (abandoned[records.SEQ], msgspec.msgpack.decode(timers[records.INPUT])) == (others.seq, [[1, 2]])
    assert history.with_notes(()) == ()
    me[0] = 1
    abandoned, timers = history.with_notes(())
    assert (abandoned[records.SEQ], msgspec.msgpack.decode(timers[records.INPUT])) == (mine.seq, [[0, 1]])


def test_what_is_to_be_cleaned_up() -> None:
    """The last one first; what an earlier life has done of it, and what it has given up."""
    history = History(
        1,
        "run",
        [
            (1, "perdure.undo", KEY, 0, "done", "undo"),
            (2, "claiming", KEY, 0, "done", "defer"),
            (3, "perdure.undo", KEY, 1, "done", "undo"),
            (4, "claiming", KEY, 0, "dead", "undone"),
            (5, "claiming", KEY, 1, "done", "undone"),
            (6, "claiming too", KEY, 0, "failed", "undone"),
        ],
    )
    assert history.to_clean() == [(3, "undo"), (2, "defer"), (1, "undo")]
    assert history.to_undo() == 1
    assert history.undone[KEY] == 1
    cleaned = [("claiming", 0), ("claiming", 1), ("claiming too", 0)]
    assert [history.is_cleaned("undone", name, KEY, n) for name, n in cleaned] == [True, True, False]
    assert [history.is_given_up("undone", name, KEY, n) for name, n in cleaned] == [True, False, False]
    row = history.row(called("claiming", 3), "done", b"\x01", 0.0, 0.0, 1)
    note = history.can_be_undone(row, b"given")
    assert (note[records.SEQ], note[records.KIND], note[records.INPUT]) == (8, "undo", b"given")
    assert note[records.KEY : records.N + 1] == row[records.KEY : records.N + 1]
    assert history.to_clean()[0] == (8, "undo")
    ending = history.ends(b"failed")
    assert history.ending == history.last == ending[records.SEQ] == 9
    assert History(1, "run", [(9, *ending[2:6], "timers")]).ending == 9


def test_a_record_that_is_written_late_is_numbered_after_those_before_it() -> None:
    """One that is still the last keeps its number."""
    history = History(1, "run")
    call = called("claiming", 3)
    row = history.row(call, "done", b"\x01", 0.0, 0.0, 1)
    assert history.number_again(call, row) is row
    history.row(called("claiming", 4), "done", b"\x01", 0.0, 0.0, 1)
    again = history.number_again(call, row)
    assert (again[records.SEQ], call.seq, history.last) == (3, 3, 3)
    assert again[: records.SEQ] + again[records.NAME :] == row[: records.SEQ] + row[records.NAME :]


def test_a_record_has_the_inputs_of_its_call() -> None:
    """A text of them instead, if the step keeps no more, once it is done. What it took is in milliseconds."""
    call = called("claiming", 3)
    call.input, call.spec = encode([list(range(3_000))]), copy.copy(call.spec)
    given: list[tuple[InputKept, records.StepStatus]] = [("whole", "done"), ("digest", "failed"), ("digest", "done")]
    for kept, status in given:
        call.spec.input_kept = kept
        row = History(4, "run").row(call, status, b"\x01", 5.0, 0.25, 2)
        assert (row[records.INPUT] == call.input) is (kept == "whole" or status == "failed")
        assert is_digested(row[records.INPUT]) is not (row[records.INPUT] == call.input)
        assert row[: records.INPUT] == (4, 1, "claiming", KEY, 0, status)
        assert row[records.INPUT + 1 :][:4] == (b"\x01", 5.0, 250, 2)
        assert (row[records.KIND], len(row)) == ("step", records.KIND + 1)
        assert (row[records.SEQ], call.seq) == (1, 1)


def test_a_record_says_besides_what_is_to_be_said() -> None:
    """A label, what it waited for, what it spent; each under the checksum of the record."""
    call, rows = called("claiming", 3), []
    for label, spent in (("order 7", None), (None, "[5,0]"), ("order 7", "[5,0]")):
        call.extras, call.spent = (Extras(label=label) if label else Extras()), spent
        rows.append(row := History(4, "run").row(call, "done", b"\x01", 5.0, 0.25, 2))
        record = records.StepRecord(*row[1:])
        assert (record.label, record.spent) == (label, spent)
        assert record.crc == record.checksum(4)
    assert len({row[records.KIND - 1] for row in rows}) == 3


@pytest.mark.parametrize("first", [0, 7])
def test_a_life_has_new_records_once_it_has_made_one(first: int) -> None:
    """Numbered after those of before."""
    history = History(1, "run", last=first)
    assert not history.has_new
    row = history.row(called("claiming", 3), "done", b"\x01", 0.0, 0.0, 1)
    assert row[records.SEQ] == history.last == first + 1
    assert history.has_new


def test_what_is_known_of_a_failure_goes_with_it_alone() -> None:
    """A failure that the workflow raises another one from ends the run, and is not what is known of that other one."""
    history = History(1, "run", last=4)
    failure = ValueError("no")
    history.failed(failure, 5, verdict=b"known")
    history.row(called("claiming", 3), "failed", b"\x01", 0.0, 0.0, 1)
    other = RuntimeError("because")
    other.__cause__ = failure
    for error, verdict in ((failure, b"known"), (other, None)):
        cause = history.root_cause(error)
        assert (cause.records, cause.replayed, cause.verdict) == ((5,), False, verdict)
    assert history.root_cause(other, [other]).records == ()


def test_what_was_made_since_a_failure_goes_with_it() -> None:
    """It was made because of it, or beside it."""
    for more, aftermath in ((0, None), (1, (6, 6)), (3, (6, 8))):
        history = History(1, "run", last=4)
        failure = ValueError("no")
        for number in range(1 + more):
            history.row(called("claiming", number), "failed", b"\x01", 0.0, 0.0, 1)
        history.failed(failure, 5)
        assert history.root_cause(failure).aftermath == aftermath
        assert history.root_cause(KeyError()).aftermath is None


def test_records_that_no_call_has_claimed_are_found_by_name_and_key() -> None:
    """Of calls that are made once and of those that are made again; what is claimed is not open any more."""
    index = [(1, "claiming", KEY, 0, "done", "step"), (2, "claiming", KEY, 1, "done", "step")]
    index.append((3, "claiming", (4).to_bytes(16, "little"), 0, "failed", "step"))
    history = History(1, "run", index)
    other = (4).to_bytes(16, "little")
    assert history.open_record("claiming too", KEY) is None
    assert history.open_record("claiming", other) is None, "it is not completed"
    found = [history.open_record("claiming", KEY)]
    assert [history.is_open("claiming", seq) for seq in (1, 2, 3)] == [True, True, False]
    assert not history.is_open("claiming too", 1)
    for number in range(2):
        assert not history.was_called("claiming", KEY), f"after {number} calls: there are records"
        history.claim(called("claiming", 3))
        found.append(history.open_record("claiming", KEY))
    assert found == [1, 2, None]
    assert [history.is_open("claiming", seq) for seq in (1, 2)] == [False, False]
    new = (5).to_bytes(16, "little")
    assert not history.was_called("claiming", new)
    history.claim(called("claiming", 5))
    assert history.was_called("claiming", new)
    assert not history.was_called("claiming too", new)
