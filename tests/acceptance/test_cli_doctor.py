"""`perdure doctor` finds what is wrong with a state file, and no damage takes a command down."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

import warm
from conftest import replace
from perdure import step, workflow
from perdure.cli import main
from perdure.config import settings
from perdure.core.sizes import show_size
from perdure.engines.local import engine
from perdure.store.checkpoints import LONG, PAGE

SOURCE = Path(__file__).parents[2] / "src"


@step
def double(n: int) -> int:
    return 2 * n


@step(retry=None)
def picky(n: int) -> int:
    if n == 3:
        raise ValueError("three")
    return n


@workflow
def some(n: int) -> int:
    return sum(double(i) for i in range(n)) + sum(picky.map(range(n)).results)


@workflow
def strict() -> int:
    return picky(3)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state file with a few runs in it, closed."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("PERDURE_STATE", str(path))
    for n in (2, 5, 12):
        some(n)
    engine.close_all()
    return path


def rows_of(state: Path) -> int:
    """How many rows the file has in tables with checksums, counted by another library."""
    with closing(sqlite3.connect(state)) as connection:
        tables = connection.execute(
            "SELECT DISTINCT m.name FROM sqlite_schema m, pragma_table_info(m.name) i WHERE i.name = 'crc'"
        )
        return sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables.fetchall())


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *options])
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["ok"] is (code == 0)
    return code, {check["name"]: check for check in found["installation"] + found["state"]}


def test_a_healthy_file_and_no_file_at_all(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, every row counted, where the file was found and why it is this one."""
    code, checks = doctor(capsys)
    assert code == 0
    assert str(state) in checks["path"]["finding"]
    assert "PERDURE_STATE" in checks["path"]["finding"]
    assert checks["checksums"]["finding"].startswith(f"all {rows_of(state)} rows")
    assert checks["runs"]["finding"] == "3 done"
    assert checks["sqlite"]["verdict"] == "ok"
    assert main(["doctor"]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    state.unlink()
    code, checks = doctor(capsys)
    assert (code, checks["file"]["verdict"]) == (0, "note")


def test_a_full_disk_is_named(state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With how much is free."""
    replace(monkeypatch, shutil, "disk_usage", lambda _: SimpleNamespace(free=12_288))
    code, checks = doctor(capsys)
    assert (code, checks["disk"]["verdict"]) == (1, "wrong")
    assert f"{show_size(12_288)} are free" in checks["disk"]["finding"]


def test_alerts_that_were_not_delivered_are_named(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has heard of them yet; that the state file is in order does not help there."""
    monkeypatch.setenv("PERDURE_ALERTS", "http://127.0.0.1:1/hook")  # nobody answers there
    with pytest.raises(ValueError, match="three"):
        strict()
    engine.close_all()
    capsys.readouterr()
    code, checks = doctor(capsys)
    assert (code, checks["alerts"]["verdict"]) == (0, "warning")
    assert checks["alerts"]["finding"] == "1 alert waits for delivery"


@pytest.mark.parametrize("name", ["state.db-locks", "state.db-flight", "state.db-alerts"])
def test_a_folder_that_may_not_be_used_is_named(
    name: str, state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its permissions as what to change, and no other advice."""
    folder = state.with_name(name)
    folder.mkdir(exist_ok=True)
    may = os.access
    replace(monkeypatch, os, "access", lambda path, mode: Path(path) != folder and may(path, mode))
    code, checks = doctor(capsys)
    assert (code, checks[name]["verdict"]) == (1, "wrong")
    assert checks[name]["hint"].endswith(f"chmod 700 {folder}")
    assert not any("rm -f" in check["hint"] for check in checks.values())


def test_a_changed_row_is_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A payload that was edited from outside passes SQLite's own check; the checksum finds it, and says which it is."""
    connection = apsw.Connection(str(state))
    connection.execute("UPDATE step SET output = x'07' WHERE run = 2 AND seq = 3")
    connection.close()
    code, checks = doctor(capsys)
    assert code == 1
    assert checks["integrity"]["verdict"] == "ok"
    assert checks["checksums"]["verdict"] == "wrong"
    assert "step #3 double of run number 2" in checks["checksums"]["finding"]
    assert main(["doctor"]) == 1
    assert "something is wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "state-corrupt"), (b"hello" * 1000, "state-foreign"), (b"SQLite format 3\0" + b"x" * 5000, "state-")],
)
def test_a_file_that_is_none_of_ours_is_named_and_left_alone(
    state: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: str
) -> None:
    """Empty, foreign, nonsense: one check says which, and what to do; the file stays as it was."""
    state.write_bytes(content)
    status, checks = doctor(capsys)
    assert status == 1
    assert f"[{code}" in checks["content"]["finding"]
    assert checks["content"]["hint"]
    assert state.read_bytes() == content


def test_a_long_journal_and_an_earlier_version_are_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What keeps the journal from starting over, and that the file is shown as a copy; neither is wrong."""
    state.with_name(f"{state.name}-wal").touch()
    assert not {"journal", "format"} & doctor(capsys)[1].keys()
    shutil.copy(Path(__file__).parents[1] / "state_files" / "version-10.db", state)
    os.truncate(f"{state}-wal", LONG * PAGE)
    code, checks = doctor(capsys)
    assert (code, checks["journal"]["verdict"], checks["format"]["verdict"]) == (0, "note", "note")
    assert "grows until the process that reads it has finished" in checks["journal"]["finding"]


def test_what_was_moved_or_copied_is_said_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the files are now, in the one object that each command answers with: the deed is done by then."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal\nfrom perdure import step, workflow\n"
        "@step\ndef one(n):\n    return n\n"
        "@workflow\ndef work():\n    [one(n) for n in range(5)]\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "work()\n"
    )
    state = tmp_path / ".perdure" / "state.db"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    warm.run([sys.executable, str(script)], env=env | {"PYTHONPATH": str(SOURCE)}, check=False)
    with state.with_name("state.db-wal").open("r+b") as journal:
        journal.write(bytes(512))
    code, checks = doctor(capsys, "--state", str(state))
    assert code == 1
    assert "perdure doctor --skip-damaged" in checks["content"]["hint"]
    for option in ("--skip-damaged", "--set-aside"):
        assert main(["doctor", option, "--json", "--state", str(state)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert (Path(json.loads(out)["folder"]) / "state.db").is_file()


def test_others_can_read_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Open permissions are a warning with the command that closes them."""
    state.chmod(0o644)
    code, checks = doctor(capsys)
    assert code == 0
    assert checks["permissions"]["verdict"] == "warning"
    assert checks["permissions"]["hint"] == f"chmod 600 {state}"


def test_a_killed_process_leaves_an_interrupted_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While it lives it is listed with its pid; after kill -9 its run is left behind, and ps calls it interrupted."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys\nfrom perdure import step, workflow\n"
        "@step\ndef wait():\n    print('here', flush=True)\n    sys.stdin.read()\n"
        "@workflow\ndef slow():\n    wait()\nslow()\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    env["PYTHONPATH"] = str(SOURCE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with warm.Popen([sys.executable, str(script)], env=env, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        place = ["--state", str(settings.state_path(str(script)))]
        main(["doctor", *place])
        assert f"1 running something: pid {process.pid}" in capsys.readouterr().out
        process.kill()
        process.wait()
    assert main(["doctor", *place]) == 0
    assert "1 run was left unfinished" in capsys.readouterr().out
    main(["ps", *place])
    assert "interrupted" in capsys.readouterr().out


def test_no_damage_takes_a_command_down(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes flipped, zeroed, cut off: every command ends with an answer or an error of perdure's own."""
    good = state.read_bytes()
    chance = random.Random(11)
    wrong = 0
    for _ in range(30):
        data = bytearray(good)
        if chance.random() < 0.15:
            data = data[: chance.randrange(len(data))]
        for _ in range(chance.choice([1, 4, 32])):
            data[chance.randrange(len(data))] = chance.choice([0, 255, chance.randrange(256)]) if data else 0
        for suffix in ("", "-wal", "-shm"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        state.write_bytes(data)
        for command in (["ps", "--all"], ["show", "last", "-v"], ["show", "last", "--json"], ["doctor"]):
            code = main(command)
            out, err = capsys.readouterr()
            assert code in (0, 1, 2)
            assert code == 0 or "what to do: " in out + err
            wrong += code != 0
    assert 10 < wrong < 120  # a run is shown beside what of it is damaged
