"""Who executes a run, for others who look at it while that process goes on, and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Opened, replace
from perdure.core.execution.run_effects import Begin, End, Start, Taken
from perdure.core.records import RunRecord
from perdure.operations.run_views import holders_of, standing_of
from perdure.store import crashes
from perdure.store.runs import Store


def begun(store: Store) -> RunRecord:
    """A run that the process of that store executes."""
    start = Start("s.py", "/s.py", "work", bytes(16), b"in", "a")
    taken = store.journal.write((), store.begin(Begin(start).start, 1.0))
    assert isinstance(taken, Taken)
    return taken.run


@pytest.mark.parametrize("way", ["ends", "dies"])
def test_a_process_that_ends_between_the_looks_at_its_run_and_at_itself(process: Opened, way: str) -> None:
    """Its run was executed when it was looked at, and is not taken for one that a death has interrupted."""
    at_work, looking = process(), process()
    its = begun(at_work)
    rid = its.rid
    run = looking.run_by_number(rid)
    assert looking.holding(run) is not None
    if way == "ends":
        at_work.journal.write((), at_work.end(End(its, "done", b"out"), 2.0))
    at_work.close()
    held = looking.holding(run)
    assert (held is not None) == (way == "ends")
    assert standing_of(run, holders_of(looking, [run]).get(rid), 0) == ("running" if way == "ends" else "interrupted")
    again = looking.run_by_number(rid)
    assert looking.holding(again) is None
    assert again.status == ("done" if way == "ends" else "running")


def test_a_run_that_another_process_takes_on_between_the_looks(process: Opened) -> None:
    """It is executed, though the process is dead that had it when it was looked at."""
    dead, looking, heir = process(), process(), process()
    rid = begun(dead).rid
    run = looking.run_by_number(rid)
    dead.close()
    assert looking.holding(run) is None
    assert begun(heir).rid == rid
    assert looking.holding(run) is not None


@pytest.mark.parametrize("way", ["ends", "dies"])
def test_no_death_is_reported_of_a_process_that_ends_its_run(
    process: Opened, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Also of one that does so between the looks at what runs and at who lives; a death there is none the less one."""
    at_work, looking = process(), process()
    its, looks = begun(at_work), list[str]()
    real = crashes.seems_alive

    def late(state: Path, token: str) -> bool:
        looks.append(token)
        if way == "ends":
            at_work.journal.write((), at_work.end(End(its, "done", b"out"), 2.0))
        at_work.close()
        return real(state, token)

    replace(monkeypatch, crashes, "seems_alive", late)
    assert [one.run for one in crashes.left(looking)] == ([] if way == "ends" else [its.id])
    assert len(looks) == 1
