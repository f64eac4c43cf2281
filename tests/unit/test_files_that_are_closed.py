"""What opens a file closes it: a worker lives for months, and a process may have a thousand files open."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import msgspec

import perdure
from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.store import dead_letters, flight_record, link_keys, schedule_copies
from perdure.store.attempt_logs import LogFile, LogLine
from perdure.store.changes import Changes
from perdure.store.dead_letter_file import LetterFile
from perdure.store.flight_recorder import Recorder
from perdure.store.runs import Store
from perdure.store.services import Services
from perdure.store.write_turns import WriteTurns

OLD = Path(__file__).parents[1] / "state_files" / "version-12.db"


@step(name="closed", retry=None)
def closed(x: int) -> int:
    perdure.spend(tokens=1)
    if x == 3:
        raise Trouble("three")
    return x


@workflow(name="closed_files")
def closed_files(items: list[int]) -> int:
    return len(closed.map(items).results)


def live(machine: Machine, folder: Path) -> None:
    """What a process does in its life, with a state file, what lies beside it, and what others have left there."""
    folder.mkdir()
    closed_files([1, 3])
    store = machine.engine.store
    assert LetterFile(folder / "letters", store).catch_up() == 0
    assert dead_letters.find(store, dead_letters.Filter())
    assert link_keys.keys_of(folder / "state.db", make=True)
    record = flight_record.stand_in(folder / "flight", "token", 1, 1.0)
    flight_record.mark_cause(record, "SIGTERM")
    flight_record.mark_reported(record)
    assert not flight_record.is_watched(record)
    with flight_record.reporting(record) as ours:
        assert not ours
    descriptor = flight_record.locked_for_reporting(record)
    assert flight_record.locked_for_reporting(record) == -1
    os.close(descriptor)
    recorder = Recorder(folder / "recorder", "token", "/a.py", 1.0)
    recorder.end(recorder.begin("run", "name", bytes(16), 0, 1, 1.0))
    recorder.close()
    log = LogFile(folder / "state.db", "token")
    assert log.add(LogLine(1.0, "run", "name", bytes(16), 0, 1, "", "stdout", "text"))
    log.close()
    turns = WriteTurns(folder / "state.db")
    turns.take()
    turns.close_in_child()
    services = Services(folder / "state.db", lambda: 1.0)
    services.update("pause", "bank", lambda state, now: (msgspec.structs.replace(state, until=now), None))
    services.close()
    changes = Changes(machine.state)
    changes.records()
    changes.around()
    changes.close()
    with schedule_copies.scratch([]):
        pass
    shutil.copy(OLD, folder / "old.db")
    Store(folder / "old.db").close()
    machine.boot()


def test_a_process_that_has_let_go_of_its_state_file_has_no_file_of_it_open(machine: Machine) -> None:
    """However often it takes it: what is open after the first time is all that ever is."""
    counts = []
    gc.freeze()  # what earlier tests have left is not closed meanwhile
    for number in range(2):
        live(machine, machine.folder / f"life {number}")
        counts.append(len(os.listdir("/dev/fd")))
    assert counts[1] == counts[0]
