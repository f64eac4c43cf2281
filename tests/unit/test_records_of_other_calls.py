"""A record that is read is held against the call that claims it; a query over families looks at no other run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure import step
from perdure.core.execution.call import perform
from perdure.core.execution.effects import Load
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, spec_of
from perdure.core.records import StepRecord
from perdure.errors import StateCorrupt, StopRun
from perdure.store.runs import Store
from perdure.store.statements import load


@step
def price(i: int) -> int:
    return i


@pytest.mark.parametrize("change", [{"name": "cost"}, {"key": bytes(16)}, {"n": 1}])
def test_the_record_of_another_call(change: dict[str, Any]) -> None:
    """The index was right, and what is read then is not: the run stops, and no value reaches the workflow."""
    key = b"0123456789abcdef"
    call = Call(spec_of(price), (1,), {}, b"in", key)
    decision = perform(call, History(1, "run-1", [(7, "price", key, 0, "done", "step")]))
    assert next(decision) == Load(call, 7)
    told: dict[str, Any] = {"name": "price", "key": key, "n": 0} | change
    record = StepRecord(
        7, **told, status="done", input=b"", output=b"\x01", started=0.0, ms=0, attempts=1, crc=0, kind="step"
    )
    with pytest.raises(StopRun) as stopped:
        decision.send(record)
    assert isinstance(stopped.value.error, StateCorrupt)


FAMILIES = [
    ("listing.sql", "dead_letters"),
    ("runs.sql", "last_failure"),
    ("runs.sql", "children"),
    ("runs.sql", "unended"),
]


@pytest.mark.parametrize(("file", "name"), [*FAMILIES, ("forks.sql", "children"), ("runs.sql", "same_inputs")])
def test_families_are_found_by_an_index(tmp_path: Path, file: str, name: str) -> None:
    """`perdure ps --limit 0` asks for each run: a look at every run would make its time grow with their square."""
    Store(tmp_path / "state.db").close()
    connection = apsw.Connection(str(tmp_path / "state.db"))
    plan: list[Any] = connection.execute(f"EXPLAIN QUERY PLAN {load(file)[name]}", (1,)).fetchall()
    lines = [line[-1] for line in plan]
    assert not [line for line in lines if line.startswith(("SCAN run", "SCAN r", "SCAN c"))], lines
    assert any("run_child" in line or "run_key" in line for line in lines), lines
    connection.close()
