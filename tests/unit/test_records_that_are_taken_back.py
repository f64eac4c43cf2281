"""What is taken back of a run, what is then made again, and what a run leaves when it ends, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from listed_runs import BEGAN, VALUE, Listed, given

from perdure.core.execution.effects import Save
from perdure.core.execution.idempotency import child_id
from perdure.core.records import RunRecord, StepRecord
from perdure.store import unseen_results
from perdure.store.rows import sealed


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def write(listed: Listed, operation: Any) -> Any:
    return listed.store.journal.write((), operation)


def publish(listed: Listed, run: RunRecord, seq: int) -> None:
    """The record of a value that the run has published."""
    made = StepRecord(
        seq, "perdure.publish", bytes(16), seq, "done", given(seq), VALUE, BEGAN, 0, 1, 0, "builtin"
    ).sealed(run.rid)
    write(listed, lambda at: listed.store.insert_rows(at, [(run.rid, *msgspec.structs.astuple(made))]))


def numbers(listed: Listed, run: RunRecord) -> list[int]:
    return [seq for seq, *_ in listed.store.index(run.rid)]


def test_what_followed_from_a_result_that_is_taken_back_may_be_otherwise(listed: Listed) -> None:
    """What came after it is not held against the script, and what was published then is published anew; what came
    before stays as it is, and so does all of a run of which the last record is taken back."""
    run = listed.run("r", "running")
    listed.steps(run, "first")
    publish(listed, run, 2)
    listed.steps(run, "undone")
    publish(listed, run, 4)
    listed.steps(run, "last")
    write(listed, lambda at: listed.store.take_back(at, run.rid, [5]))
    assert (numbers(listed, run), listed.store.exempted(run.rid)) == ([1, 2, 3, 4], [])
    write(listed, lambda at: listed.store.take_back(at, run.rid, []))
    assert (numbers(listed, run), listed.store.exempted(run.rid)) == ([1, 2, 3, 4], [])
    write(listed, lambda at: listed.store.take_back(at, run.rid, [3]))
    assert (numbers(listed, run), listed.store.exempted(run.rid)) == ([1, 2], [(4, 4)])


def test_a_record_that_is_not_held_against_the_script_is_saved_as_such(listed: Listed) -> None:
    """One that was made while an exit was handled may be missing in the next life, which does not handle it."""
    run = listed.run("r", "running")
    row = (run.rid, *msgspec.structs.astuple(StepRecord(1, "x", bytes(16), 0, "done", b"", b"", 0.0, 0, 1, 0, "step")))
    assert listed.store.saving(Save((row,)), BEGAN) is None
    write(listed, listed.store.saving(Save((row,), aftermath=(1, 1)), BEGAN))
    assert listed.store.exempted(run.rid) == [(1, 1)]


@pytest.mark.parametrize(
    ("status", "waits"), [("cancelled", set()), ("done", set()), ("failed", {"own"}), ("parked", {"own"})]
)
def test_a_run_that_has_ended_for_good_waits_for_nothing(listed: Listed, status: Any, waits: set[str]) -> None:
    """One that can be gone on with does; what others wait for, it leaves alone, also if it stands for its source."""
    source, other = listed.run("source", "failed"), listed.run("other", "suspended")
    fork = msgspec.structs.replace(source, rid=0, id="r", status="running", output=None)
    fork = msgspec.structs.replace(fork, forked_from=source.rid, forked_at=0, forked_last=0)
    run = write(listed, lambda at: listed.store.insert_run(at, fork))

    def wait(whose: RunRecord, awaited: int | None) -> None:
        row = sealed(whose.rid, "perdure.wait", bytes(16), 0, 0, None, None, awaited, BEGAN, None)
        write(listed, lambda at: at.execute("INSERT INTO wait VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row) and None)

    wait(run, None)
    wait(source, None)
    wait(other, run.rid)
    changed = {"status": status, "output": None if status == "cancelled" else VALUE, "ended": BEGAN + 5}
    (now,) = [each for each in listed.store.runs() if each.id == "r"]
    write(listed, lambda at: listed.store.put_run(at, now, **changed))
    rows: Any = listed.store.journal.read(lambda at: at.execute("SELECT run FROM wait").fetchall())
    left = {source.rid: "source", run.rid: "own", other.rid: "other"}
    assert {left[rid] for (rid,) in rows} == {"source", "other", *waits}
    (woken,) = [each for each in listed.store.runs() if each.id == "other"]
    assert woken.wake == BEGAN + 5


def test_a_child_run_is_found_by_the_record_of_its_call(listed: Listed) -> None:
    """Whatever else the run has called before, or by the same name with other inputs."""
    run = listed.run("r", "running")
    listed.steps(run, "part", "other", "part", "part")
    third = listed.run(child_id("r", "part", (3).to_bytes(16, "big"), 0), parent=run.rid)
    unknown = listed.run("r.unknown", parent=run.rid)
    assert unseen_results.record_of(listed.store, run, third) == 3
    assert unseen_results.record_of(listed.store, run, unknown) is None
