"""The file of dead letters has each of them once, whatever is torn, full or killed between append and mark."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from letter_steps import asend, broken, reset, send

from conftest import Machine
from perdure import workflow
from perdure.store import dead_letters, parking


@pytest.fixture(autouse=True)
def _fresh() -> None:
    reset()


@pytest.fixture
def export(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = machine.folder / "dead.jsonl"
    monkeypatch.setenv("WORKFLOW_DLQ_PATH", str(path))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines, as any reader has to take them."""
    found = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


@workflow(name="parts")
def parts(first: int, count: int) -> int:
    return len(send.map(range(first, first + count)).dead)


def test_each_letter_is_appended_once(machine: Machine, export: Path) -> None:
    """With everything that is known of it, and for its owner only to read."""
    broken.update(range(3))
    parts(0, 3)
    found = lines(export)
    assert [one["inputs"] for one in found] == [[0], [1], [2]]
    assert [attempt["error"] for attempt in found[0]["attempts"]] == ["Trouble", "Trouble"]
    assert "Traceback" in found[0]["attempts"][0]["traceback"]
    assert stat.S_IMODE(export.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_caught_up(
    machine: Machine, export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on with a warning; the next start of any run appends what is missing."""
    export.symlink_to("no such folder/dead.jsonl")
    broken.update(range(2))
    with caplog.at_level(logging.WARNING, "perdure"):
        assert parts(0, 2) == 2
    assert any("are appended later" in record.getMessage() for record in caplog.records)
    export.unlink()
    machine.boot()
    assert parts(5, 0) == 0
    assert [one["inputs"] for one in lines(export)] == [[0], [1]]


@pytest.mark.parametrize("torn", [b"", b'{"id":"00', b'{"id":"0011223344556677","x":"}'])
def test_a_line_that_was_torn_is_closed(machine: Machine, export: Path, torn: bytes) -> None:
    """A dead writer's last line costs no letter of ours."""
    export.write_bytes(b'{"id":"a"}\n' + torn)
    broken.add(0)
    parts(0, 1)
    assert [one["inputs"] for one in lines(export)[1:]] == [[0]]


@pytest.mark.parametrize("cut", [0, 1])
def test_dead_between_append_and_mark(machine: Machine, export: Path, cut: int) -> None:
    """The line is there (with or without its end), the state file does not know: it is not appended again."""
    broken.update(range(2))
    parts(0, 2)
    store = machine.engine.store
    letters = [dead_letters.get(store, lid) for lid in (1, 2)]
    store.journal.write((), lambda connection: [parking.put(connection, each, exported=0) for each in letters])
    export.write_bytes(export.read_bytes()[: -cut or None])
    machine.boot()
    broken.add(9)
    parts(9, 1)
    assert [one["inputs"] for one in lines(export)] == [[0], [1], [9]]


def test_letters_from_before_the_setting_are_not_appended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is parked while the variable is set is asked for."""
    broken.update(range(2))
    parts(0, 1)
    path = machine.folder / "dead.jsonl"
    monkeypatch.setenv("WORKFLOW_DLQ_PATH", str(path))
    parts(1, 1)
    assert [one["inputs"] for one in lines(path)] == [[1]]


def test_both_drivers_append(machine: Machine, export: Path) -> None:
    """Letters of async code too."""

    @workflow(name="aparts")
    async def aparts() -> int:
        return len((await asend.map(range(6), concurrency=3)).dead)

    broken.update(range(6))
    assert asyncio.run(aparts()) == 6
    assert sorted(one["inputs"][0] for one in lines(export)) == list(range(6))
