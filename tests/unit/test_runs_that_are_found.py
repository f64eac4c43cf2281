"""A call goes on with the run of its inputs; one that cannot be found because the file is damaged is not made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import test_claims
from test_claims import NOW, RUN

from perdure.core.execution.run_effects import Answer, Held, Other, Start, Taken
from perdure.core.records import RunRecord
from perdure.errors import RunError, StateCorrupt
from perdure.store.runs import Store

START = Start("app.py", "/srv/app.py", "job", RUN.key, RUN.input, fresh="job-2")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


def add(store: Store, id: str, status: str = "failed", **changed: Any) -> RunRecord:
    """A run that nobody executes."""
    usual: dict[str, Any] = {"named": False, "wake": NOW - 1 if status == "suspended" else None}
    if status in ("failed", "done"):
        usual |= {"output": b"\xc0", "ended": NOW}
    return test_claims.add(store, id, **{**usual, "status": status, **changed})


def begun(store: Store, **changed: Any) -> Answer:
    answer: Answer = store.journal.write((), store.begin(msgspec.structs.replace(START, **changed), NOW))
    return answer


def edit(store: Store, statement: str) -> None:
    store.journal.write((), lambda connection: connection.execute(statement) and None)


def test_the_run_of_the_same_inputs_is_gone_on_with(store: Store) -> None:
    """Not one that is done, nor that has other inputs; an id belongs to one run."""
    add(store, "done", status="done")
    add(store, "other", status="failed", key=bytes([1] * 16))
    add(store, "mine", status="failed")
    found = begun(store)
    assert isinstance(found, Taken)
    assert (found.run.id, found.resumed) == ("mine", True)
    assert isinstance(begun(store), Held), "this process executes it now"
    assert isinstance(begun(store, id="other", named=True), Other)
    made = begun(store, key=bytes([2] * 16))
    assert isinstance(made, Taken)
    assert (made.run.id, made.resumed) == ("job-2", False)


@pytest.mark.parametrize(
    "damage",
    ["workflow = 'another'", "status = 'done'", "script = 'another.py'", "named = 1", "superseded_by = 1"],
)
def test_a_run_that_damage_hides_is_not_made_again(store: Store, damage: str) -> None:
    """What was edited from outside no longer finds it: the call stops, and nothing is executed anew."""
    add(store, "mine", status="failed")
    edit(store, f"UPDATE run SET {damage}")
    with pytest.raises(StateCorrupt):
        begun(store)


@pytest.mark.parametrize(
    ("changed", "asked", "is_made"),
    [
        ({"status": "failed"}, {}, False),
        ({"status": "suspended"}, {}, False),
        ({"status": "running"}, {}, False),
        ({"status": "done"}, {}, True),
        ({"status": "cancelled"}, {}, True),
        ({"status": "failed", "named": True}, {}, True),
        ({"status": "failed", "workflow": "other"}, {}, True),
        ({"status": "failed", "script": "other.py"}, {}, True),
        ({"status": "done", "named": True}, {"id": "mine", "named": True}, False),
    ],
    ids=str,
)
def test_an_index_that_does_not_find_a_run_is_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], asked: dict[str, Any], is_made: bool
) -> None:
    """The newest runs of the inputs are looked at where none was found: one that should have been is not made again."""
    add(store, "mine", **changed)
    monkeypatch.setattr(store, "_same", lambda *_: None)
    real = store._one
    monkeypatch.setattr(store, "_one", lambda at, name, *values: None if name == "find_id" else real(at, name, *values))
    if is_made:
        assert isinstance(begun(store, **asked), Taken)
        return
    with pytest.raises(StateCorrupt):
        begun(store, **asked)


def test_a_workflow_that_calls_itself_with_its_own_inputs_waits_for_itself(store: Store) -> None:
    """That is an error, and no wait without end."""
    add(store, "mine", status="failed")
    outer = begun(store)
    assert isinstance(outer, Taken)
    with pytest.raises(RunError, match="waits for itself"):
        begun(store, parent=outer.run.rid, once=True)
