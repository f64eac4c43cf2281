"""A row that is not as it was written is listed as damaged, and all others beside it are listed as ever."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from listed_runs import Listed, given

import perdure
from conftest import Machine
from perdure.cli import main
from perdure.operations import doctor, overview, waiting_runs
from perdure.operations.deeds import list_deeds, note
from perdure.operations.location import locate
from perdure.operations.metrics import metrics_of
from perdure.operations.queues import list_queues
from perdure.operations.schedules import list_schedules
from perdure.operations.searching import search
from perdure.operations.show import details_of
from perdure.operations.step_rows import StepFilter, step_rows
from perdure.operations.timeline import timeline_of
from perdure.store import queue, schedules
from perdure.store.rows import sealed
from perdure.store.schedules import Declaration
from perdure.web import api_reading
from perdure.web.endpoints import Desk
from perdure.web.jobs import Jobs

NO_TEXT = "CAST(x'66ff' AS TEXT)"
"""A text that is none: SQLite keeps it, and Python cannot read it."""


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    made = Listed(tmp_path / "state.db")
    for number in range(4):
        made.steps(made.run(f"run-{number}"), "load", "send")
    return made


def damage(listed: Listed, *statements: str) -> None:
    """Edit the file from outside."""
    connection = apsw.Connection(str(listed.store.path))
    for one in statements:
        connection.execute(one)
    connection.close()


def said(capsys: pytest.CaptureFixture[str], listed: Listed, *words: str) -> Any:
    assert main([*words, "--json", "--state", str(listed.store.path)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("of", ["path = 'elsewhere'", f"workflow = {NO_TEXT}", f"id = {NO_TEXT}", "ended = -1e300"])
def test_runs(listed: Listed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, of: str):
    """In the listing, by the filter for them, and as what needs somebody; other filters leave them out."""
    damage(listed, f"UPDATE run SET {of} WHERE rid = 2")
    stands = [run["status"] for run in said(capsys, listed, "ps")["runs"]]
    assert stands == ["done", "done", "damaged", "done"]
    assert len(said(capsys, listed, "ps", "--status", "damaged")["runs"]) == 1
    assert [run["id"] for run in said(capsys, listed, "ps", "--status", "done")["runs"]] == ["run-3", "run-2", "run-0"]
    monkeypatch.setenv("PERDURE_STATE", str(listed.store.path))
    assert [run.status for run in perdure.runs()] == stands
    assert [run.id for run in perdure.runs(status="done", most=2)] == ["run-3", "run-2"]
    assert main(["ps", "--state", str(listed.store.path)]) == 0
    assert "perdure doctor" in capsys.readouterr().out
    (check,) = [one for one in doctor.examine(locate(listed.store.path)).state if one.name == "checksums"]
    assert check.finding.startswith("1 row is not what was written: run ")
    found = overview.overview_of(listed.store, locate(listed.store.path))
    assert [one.kind for one in found.needs] == ["damaged", "nobody"]
    assert [run.status for run in found.runs] == stands


@pytest.mark.parametrize("of", ["input = x'c1'", f"workflow = {NO_TEXT}"])
def test_what_is_made_of_the_newest_runs(listed: Listed, of: str):
    """How a workflow is doing, and the processes, are told by the runs that can be read, and which cannot is said."""
    desk = Desk(locate(listed.store.path), True, Jobs())
    assert api_reading.workflows(desk, {}, api_reading.Nothing()).damaged == []
    damage(listed, f"UPDATE run SET {of} WHERE rid = 2")
    found = api_reading.workflows(desk, {}, api_reading.Nothing())
    assert [one.ended for one in found.workflows] == [3]
    assert found.damaged == ["run run-1"]
    assert api_reading.processes(desk, {}, api_reading.Nothing()).damaged == ["run run-1"]


def test_records_that_a_listing_shows(listed: Listed, capsys: pytest.CaptureFixture[str]):
    """The last record of a run, and who executes one: only that run is damaged."""
    listed.run("run-4", "suspended")
    damage(
        listed,
        "UPDATE step SET ms = ms + 1 WHERE run = 1 AND seq = 2",
        "INSERT INTO wait (run, name, key, n, position, event, began, crc)"
        " VALUES (5, 'w', zeroblob(16), 0, 0, 'paid', 1.0, 7)",
        f"UPDATE step SET name = {NO_TEXT} WHERE run = 3 AND seq = 2",
    )
    stands = {run["id"]: run["status"] for run in said(capsys, listed, "ps")["runs"]}
    assert stands == {"run-0": "damaged", "run-1": "done", "run-2": "damaged", "run-3": "done", "run-4": "damaged"}
    views, _ = waiting_runs.waiting_runs(listed.store)
    assert [(one.run, one.status) for one in views] == [("run-4", "damaged")]


@pytest.mark.parametrize(
    "damaged",
    [
        "UPDATE run SET path = 'elsewhere' WHERE rid = 5",
        f"UPDATE run SET id = {NO_TEXT} WHERE rid = 5",
        "UPDATE step SET ms = ms + 1 WHERE run = 5",
    ],
)
@pytest.mark.parametrize("more", [[], ["--text", "run-4"], ["--older", "1h"]])
def test_a_command_for_all_runs_names_those_that_it_passes_over(
    listed: Listed, capsys: pytest.CaptureFixture[str], damaged: str, more: list[str]
):
    """Whatever is known of them; not named are a sound one that is not meant, and a damaged one that is done."""
    for number in (4, 5):
        listed.steps(listed.run(f"run-{number}", "failed", workflow="bill" if number == 4 else "sell"), "load")
    damage(listed, damaged, "UPDATE run SET path = 'elsewhere' WHERE rid = 1")
    for command, done in (("resume", "resumed"), ("cancel", "cancelled")):
        words = [command, "--all", "--workflow", "bill", *more, "--state", str(listed.store.path)]
        assert main(words) == 1
        assert capsys.readouterr().err.count(f"is not {done}: damaged: see perdure doctor") == 1


def test_numbers_for_programs(listed: Listed):
    """A workflow whose name is no text is counted, with escapes in its name."""
    damage(listed, f"UPDATE run SET workflow = {NO_TEXT} WHERE rid = 2")
    counted = [line for line in metrics_of(locate(listed.store.path)).splitlines() if line.startswith("perdure_runs{")]
    assert sorted(line.rpartition(" ")[2] for line in counted) == ["1", "3"]
    assert sum('workflow="f' in line and "xff" in line for line in counted) == 1


def test_letters(listed: Listed, capsys: pytest.CaptureFixture[str]):
    """A letter's own row, and the record of its call; a reason is shown by the newest letter that can be read."""
    run = listed.run("run-4")
    listed.steps(run, *["mail"] * 5, status="dead", reason=b"reasoned")
    damage(
        listed,
        "UPDATE dead_letter SET redriven = 9 WHERE lid = 5",
        f"UPDATE dead_letter SET error = {NO_TEXT} WHERE lid = 2",
        "UPDATE step SET ms = ms + 1 WHERE run = 5 AND seq = (SELECT seq FROM dead_letter WHERE lid = 4)",
    )
    letters = said(capsys, listed, "dlq", "ls")["letters"]
    assert [(one["letter"], one["status"]) for one in letters] == [
        (5, "damaged"), (4, "damaged"), (3, "parked"), (2, "damaged"), (1, "parked"),
    ]  # fmt: skip
    (reason,) = said(capsys, listed, "dlq", "reasons")["reasons"]
    assert (reason["letters"], reason["newest"]["letter"]) == (5, 3)


def test_parts_of_a_run(listed: Listed, capsys: pytest.CaptureFixture[str]):
    """Its sessions, its maps, and what else is shown of it: what is damaged is named, and all others are there."""
    store, run = listed.store, listed.run("run-4")
    maps = [sealed(run.rid, number, "mail", 9, 4, 1.0, None) for number in (1, 2)]
    store.journal.write((), lambda at: at.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)", maps))
    listed.steps(run, *["mail"] * 4, attempts=2)
    listed.steps(run, *["pay"] * 2, status="dead")
    damage(
        listed,
        "INSERT INTO session (run, number, holder, began, version, crc) VALUES (5, 1, 1, 1.0, '1', 7)",
        f"INSERT INTO batch (run, number, step, began, crc) VALUES (5, 3, {NO_TEXT}, 1.0, 7)",
        "INSERT INTO function (run, kind, name, module, qualname, file, crc) VALUES (5, 'step', 'a', 'a', 'a', 'a', 7)",
        "INSERT INTO published (run, name, value, stamp, crc) VALUES (5, 'a', zeroblob(1), 1.0, 7)",
        "INSERT INTO command_line (run, line, crc) VALUES (5, zeroblob(1), 7)",
        f"UPDATE step SET name = {NO_TEXT} WHERE run = 5 AND seq = 2",
        "UPDATE attempt SET ms = 77 WHERE run = 5 AND key = (SELECT key FROM step WHERE run = 5 AND seq = 3)",
        "UPDATE dead_letter SET redriven = 9 WHERE run = 5 AND seq = 5",
    )
    run = store.run("run-4")
    shown = details_of(store, run, limit=0)
    code = "what is known of its code"
    assert sorted(shown.damaged) == ["its command line", "map 3", "session 1", code, "what it has published"]
    assert [one.number for one in shown.maps] == [1, 2]
    stands = ["done", "damaged", "damaged", "done", "damaged", "dead"]
    assert [one.status for one in step_rows(store, run).steps] == stands
    assert [one.status for one in timeline_of(store, run).calls or ()] == [stands[0], *stands[2:]]
    assert [one.status for one in step_rows(store, run, StepFilter(text="mail")).steps] == ["done", "damaged", "done"]
    shown = details_of(store, run)
    of_steps = [f"what is kept of step #{seq} ({name})" for seq, name in ((3, "mail"), (5, "pay"))]
    assert [one for one in shown.damaged if "step" in one][1:] == of_steps
    assert [one.seq for one in shown.steps] == [1, 4, 6]
    found = said(capsys, listed, "show", "run-4", "--limit", "0")
    assert ([one["seq"] for one in found["steps"]], sorted(found["damaged"])) == ([1, 4, 6], sorted(shown.damaged))
    assert main(["show", "run-1", "--state", str(store.path)]) == 0
    assert "damaged" not in capsys.readouterr().out
    damage(listed, "INSERT INTO batch (run, number, step, began, crc) VALUES (2, 1, 'a', 1.0, 7)")
    assert main(["show", "run-1", "--state", str(store.path)]) == 0
    assert "damaged   map 1: see perdure doctor" in capsys.readouterr().out
    damage(listed, "UPDATE run SET path = 'elsewhere' WHERE rid = 2")
    assert main(["show", "run-1", "--state", str(store.path)]) == 0
    out = capsys.readouterr().out
    assert "damaged   its own row, its command line, map 1: see perdure doctor" in out
    assert "load" in out
    found = said(capsys, listed, "show", "run-1")
    assert (found["run"]["status"], [one["name"] for one in found["steps"]]) == ("damaged", ["load", "send"])


def test_schedules_queues_and_deeds(listed: Listed):
    """One of each is damaged, and the other is listed."""
    store, here = listed.store, locate(listed.store.path)
    for name in ("daily", "hourly"):
        schedules.declare(
            store,
            Declaration(
                name, "shop.py", "/srv/shop.py", "sell", "0 3 * * *", "UTC", "skip", "one", 60.0, 0.0, None,
                bytes(16), given(""), "call",
            ),
            time.time(),
        )  # fmt: skip
        store.journal.write((), lambda at, name=name: queue.put(at, queue.QueueRow(name)))
        note(here, "cancel", name)
    damage(
        listed,
        f"UPDATE schedule SET spec = {NO_TEXT} WHERE name = 'daily'",
        "UPDATE queue SET paused = 1 WHERE name = 'daily'",
        f"UPDATE deed SET detail = {NO_TEXT} WHERE target = 'daily'",
    )
    assert [(one.name, one.status) for one in list_schedules(here)] == [("daily", "damaged"), ("hourly", "active")]
    assert [(one.name, one.damaged) for one in list_queues(here)] == [("daily", True), ("hourly", False)]
    assert [(one.what, one.target) for one in list_deeds(here)] == [("cancel", "hourly"), ("damaged", "")]


def test_a_text_is_looked_for_beside_a_damaged_run(machine: Machine) -> None:
    """One of whose inputs a piece is damaged; what it may have is said not to be all."""
    for text in ("word" * 250_000, "word"):
        perdure.workflow(len, name="takes-a-text")(text)
    store = machine.engine.store
    assert search(store, "takes").complete
    store.journal.write((), lambda connection: connection.execute("UPDATE piece SET data = zeroblob(9)"))
    found = search(store, "takes")
    assert (len(found.runs), found.complete) == (2, False)
