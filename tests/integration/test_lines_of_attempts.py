"""What steps log and print is kept with their attempts, also by a process that is killed, and without credentials."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import warm
from conftest import SOURCE, Machine, _clean
from looking import looked
from perdure import Retry, step, workflow
from perdure.core.records import RunRecord
from perdure.engines.runtime import captured_lines
from perdure.operations.deeds import list_deeds, note
from perdure.operations.location import locate
from perdure.operations.run_log import LogView, log_of
from perdure.store import attempt_logs


def newest(machine: Machine) -> RunRecord:
    return machine.engine.store.runs()[0]


def lines(machine: Machine) -> list[LogView]:
    return log_of(machine.engine.store, newest(machine))


def test_lines_belong_to_attempts(machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Logged and printed, to either stream, in each attempt; what goes to another file does not, and all arrive."""
    log = logging.getLogger("lines.of.attempts")
    fails = [True]

    @step(name="lines-talk", retry=Retry(attempts=2, delay=0))
    def talk(what: str) -> str:
        log.warning("talks of %s", what)
        print("said", what)
        print("to stderr", file=sys.stderr)
        with open(tmp_path / "own", "a") as own:
            print("nobody's business", file=own)
        if fails.pop() if fails else False:
            raise OSError
        return what

    @workflow(name="lines-talking")
    def talking() -> None:
        print("not of a step")
        talk("token=" + "ghp_" + "a1B2" * 9)

    talking()
    found = [(one.step, one.attempt, one.level, one.logger) for one in lines(machine)]
    kinds = [("WARNING", "lines.of.attempts"), ("", "stdout"), ("", "stderr")]
    assert found == [("lines-talk", attempt, *kind) for attempt in (1, 2) for kind in kinds]
    assert not any("a1B2" in one.text for one in lines(machine))
    out, err = capsys.readouterr()
    assert (out.count("said token="), out.count("not of a step")) == (2, 1)
    assert err.count("to stderr") == 2
    assert (tmp_path / "own").read_text().count("nobody's business") == 2


def test_lines_of_one_call_are_looked_for_where_they_can_be(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files that ended long before the call, none is read, and of those that began long after it the first line."""

    @step(name="lines-once", retry=None)
    def once(what: str) -> None:
        print("said", what)

    @workflow(name="lines-twice")
    def twice() -> None:
        once("a")
        once("b")

    twice()
    run = newest(machine)
    _, call = machine.engine.store.all_records(run.rid)
    folder = attempt_logs.folder_of(machine.state)
    (path,) = folder.iterdir()
    call = msgspec.structs.replace(call, started=path.stat().st_mtime)  # the machine's clock is another one here
    moved = attempt_logs.LogLine(call.started + 7_200, run.id, call.name, call.key, call.n, 1, "", "stdout", "later")
    attempt_logs.LogFile(machine.state, "later").add(moved)
    earlier = folder / "earlier-1.log"
    earlier.write_bytes(path.read_bytes())
    os.utime(earlier, (call.started - 7_200,) * 2)
    read, whole = [], attempt_logs._read
    monkeypatch.setattr(attempt_logs, "_read", lambda path, most: (read.append((path, most)), whole(path, most))[1])
    assert [one.text for one in log_of(machine.engine.store, run, call=call)] == ["said b"]
    assert earlier not in dict(read)
    assert [most for found, most in read if found != path] == [attempt_logs.LONGEST]
    assert len(lines(machine)) == 5


def test_an_attempt_that_talks_without_end(machine: Machine) -> None:
    """The first lines and the last ones are kept, and how many are not."""

    @step(name="lines-flood", retry=None)
    def flood() -> None:
        for n in range(4_000):
            logging.getLogger("lines.flood").error("line %d %s", n, "x" * 50)

    @workflow(name="lines-flooding")
    def flooding() -> None:
        flood()

    flooding()
    found = [one.text for one in lines(machine)]
    assert found[0].startswith("line 0 ")
    assert found[-1].startswith("line 3999 ")
    assert sum(map(len, found)) < captured_lines.HEAD + captured_lines.TAIL
    (left_out,) = [one for one in found if one.endswith("lines are left out")]
    assert int(left_out.split()[0].replace(",", "")) == 4_000 - (len(found) - 1)


def test_the_oldest_files_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files together keep within their bound."""
    monkeypatch.setattr(attempt_logs, "ALL", 3_000)
    for age in range(5):
        path = tmp_path / f"{age}.log"
        path.write_bytes(bytes(1_000))
        os.utime(path, (1e9 - age, 1e9 - age))
    attempt_logs.make_room(tmp_path, 1_000)
    assert {path.name for path in tmp_path.iterdir()} == {"0.log", "1.log"}


SCRIPT = """
import logging, os, signal
from perdure import step, workflow

@step(retry=None)
def die():
    print("the last words")
    os.kill(os.getpid(), signal.SIGKILL)

@workflow
def dying():
    die()

dying()
"""


@pytest.mark.parametrize("kept", [True, False])
def test_a_process_that_is_killed(tmp_path: Path, kept: bool) -> None:
    """Its lines are there; with PERDURE_LOGS=0 there is not even a folder."""
    (tmp_path / "dying.py").write_text(SCRIPT)
    state = str(tmp_path / "state.db")
    env = {**_clean(), "PYTHONPATH": str(SOURCE), "PERDURE_STATE": state, "PERDURE_LOGS": "1" if kept else "0"}
    warm.run([sys.executable, "dying.py"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, check=False)
    (run,) = json.loads(looked(tmp_path, "ps", "--json", PERDURE_STATE=state).stdout)["runs"]
    shown = looked(tmp_path, "show", run["id"], "--log", "--json", PERDURE_STATE=state).stdout
    found: list[dict[str, Any]] = json.loads(shown)["lines"]
    assert [one["text"] for one in found] == ["the last words"] * kept
    assert (tmp_path / "state.db-logs").exists() == kept
    for path in (tmp_path / "state.db-logs").glob("*"):
        assert path.stat().st_mode & 0o777 == 0o600
    text = looked(tmp_path, "show", run["id"], "--log", PERDURE_STATE=state).stdout
    assert ("the last words" in text) == kept


def test_deeds_are_listed(machine: Machine) -> None:
    """The newest first, page by page, with who has had what done by which way; credentials are taken out."""

    @workflow(name="lines-of-deeds")
    def nothing() -> None: ...

    nothing()
    location = locate(machine.state)
    note(location, "cancel", "one-1", "requested")
    note(location, "dlq drop", "1 2 3", "token=" + "ghp_" + "a1B2" * 9, via="page", who="ann")
    newer, older = list_deeds(location)
    assert (newer.who, newer.via, newer.what, newer.target) == ("ann", "page", "dlq drop", "1 2 3")
    assert "a1B2" not in newer.detail
    assert (older.via, older.what, older.target, older.detail) == ("command", "cancel", "one-1", "requested")
    assert older.who
    assert list_deeds(location, before=newer.number) == [older]
