"""Results above `artifact_above` lie in files of their own: the script does not notice, and a kill loses none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conftest import Died, Machine, Scripts
from perdure import step, workflow
from perdure.errors import OptionError, StateCorrupt
from perdure.operations.doctor import examine
from perdure.operations.location import locate
from perdure.operations.show import details_of
from perdure.operations.why import explain
from perdure.store import pieces
from perdure.store.removal import remove_unused_artifacts

LARGE = bytes(range(256)) * 4_800  # 1,228,800 bytes
SMALL = b"small" * 4_000  # in pieces, as before


def files(machine: Machine) -> list[Path]:
    """The artifacts of the state file."""
    folder = machine.folder / "state.db-artifacts"
    return sorted(folder.iterdir()) if folder.exists() else []


@step(retry=None)
def download_spilled(which: str) -> bytes:
    """By default above 1,000,000 bytes."""
    return LARGE if which == "large" else SMALL


def test_a_result_above_a_megabyte_is_a_file_and_the_same_when_it_is_replayed(machine: Machine) -> None:
    """What the workflow gets is the value, before and after a crash; one that is smaller is in the state file."""
    got: list[bytes] = []

    @step(retry=None)
    def die_spilled() -> None:
        if not machine.ran:
            machine.ran.append("died")
            raise Died

    @workflow
    def w_spilled() -> int:
        got.append(download_spilled("large"))
        got.append(download_spilled("small"))
        die_spilled()
        return len(got[-1])

    with pytest.raises(Died):
        w_spilled()
    (file,) = files(machine)
    assert LARGE in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    machine.boot()
    assert w_spilled() == len(SMALL)
    assert got == [LARGE, SMALL] * 2
    assert files(machine) == [file]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_file_is_named_and_never_a_result(machine: Machine, damage: str) -> None:
    """The resumed run stops with the record, the file, and a command that makes it again as it stands, also in `why`.
    `doctor` names it too, and the other records are shown as ever, with what is wrong in its place."""

    @workflow
    def w_spilled() -> int:
        size = len(download_spilled("large"))
        if not machine.ran:
            machine.ran.append("died")
            raise Died
        return size

    with pytest.raises(Died):
        w_spilled()
    (file,) = files(machine)
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:] if damage == "changed" else data[:-1])
    machine.boot()
    with pytest.raises(StateCorrupt, match="the file of the result of record #1 download_spilled is") as stopped:
        w_spilled()
    store = machine.engine.store
    (run,) = store.runs()
    assert f"perdure fork {run.id} --from '#1'" in stopped.value.hint
    details = details_of(store, run)
    assert [one.name for one in details.steps] == ["download_spilled"]
    assert "the file of the result of record #1 download_spilled is" in str(details.steps[0].result)
    location = locate(machine.folder / "state.db")
    assert any(f"perdure fork {run.id} --from '#1'" in way.command for way in explain(store, run, location).ways)
    health = examine(locate(machine.folder / "state.db"))
    assert any("artifact" in check.finding for check in health.state if check.verdict == "wrong")


def test_the_step_says_from_where_on(machine: Machine) -> None:
    """`None` is never, and a setting holds for steps that say nothing; what is given on is in no second file."""

    @step(retry=None, artifact_above=10_000)
    def early_spilled() -> bytes:
        return SMALL

    @step(retry=None, artifact_above=None)
    def never_spilled() -> bytes:
        return LARGE

    @step(retry=None)
    def size_spilled(data: bytes) -> int:
        return len(data)

    @workflow
    def w_spilled() -> int:
        return size_spilled(early_spilled()) + size_spilled(never_spilled())

    assert w_spilled() == len(SMALL) + len(LARGE)
    assert len(files(machine)) == 1


@pytest.mark.parametrize("above", [0, 9_999, -1, 1e6, "1 MB", True])
def test_a_bad_size_is_refused_when_the_script_is_loaded(above: object) -> None:
    """With the step, what was given, and what can be."""
    with pytest.raises(OptionError, match="artifact_above of step 'odd_spilled' is"):

        @step(artifact_above=above)  # type: ignore[call-overload, unused-ignore]
        def odd_spilled() -> None: ...


@pytest.mark.parametrize(("given", "made"), [("20000", 1), ("0", 0), ("", 0)])
def test_a_setting_says_from_where_on(machine: Machine, monkeypatch: pytest.MonkeyPatch, given: str, made: int) -> None:
    """In bytes; 0 is never."""
    monkeypatch.setenv("PERDURE_ARTIFACT_ABOVE", given)

    @step(retry=None)
    def set_spilled() -> bytes:
        return b"x" * 50_000

    @workflow
    def w_spilled() -> int:
        return len(set_spilled())

    assert w_spilled() == 50_000
    assert len(files(machine)) == made


def test_a_bad_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not passed over."""
    monkeypatch.setenv("PERDURE_ARTIFACT_ABOVE", "1 MB")
    with pytest.raises(OptionError, match="PERDURE_ARTIFACT_ABOVE is '1 MB'"):
        step(lambda: None)


def test_the_file_goes_with_the_last_run_that_uses_it(machine: Machine) -> None:
    """Two runs with the same result have one file."""

    @workflow
    def w_spilled(number: int) -> int:
        return len(download_spilled("large"))

    w_spilled(1), w_spilled(2)
    (file,) = files(machine)
    store = machine.engine.store
    store.journal.write((), lambda connection: pieces.release(connection, 1))
    assert remove_unused_artifacts(store, grace=-1) == []
    store.journal.write((), lambda connection: pieces.release(connection, 2))
    assert remove_unused_artifacts(store, grace=-1) == [file.name]
    assert files(machine) == []


KILLED = """
    import json, os, signal, sys
    from perdure import step, workflow
    from perdure.config import settings
    from perdure.engines.local import engine
    from perdure.store import artifacts

    when, ran = sys.argv[1], sys.argv[2]

    @step(retry=None)
    def make() -> list:
        with open(ran, "a") as file:
            file.write("ran\\n")
        return list(range(1_000_000))

    @workflow
    def main() -> int:
        return sum(make())

    if when:
        keep = artifacts.keep
        def killing(folder, data):
            found = keep(folder, data) if when == "after the file" else None
            os.kill(os.getpid(), signal.SIGKILL)
        def around(batch, done):
            if done and any(entry.files for entry in batch):
                os.kill(os.getpid(), signal.SIGKILL)
        if when == "after the row":
            engine.engine_at(settings.state_path(__file__)).store.journal.around = around
        else:
            artifacts.keep = killing
    if __name__ == "__main__":
        print(json.dumps(main()))
"""


@pytest.mark.parametrize(("when", "runs"), [("before the file", 2), ("after the file", 2), ("after the row", 1)])
def test_a_kill_around_the_file_loses_no_result(scripts: Scripts, when: str, runs: int) -> None:
    """What is saved is whole; what is not is made again, and no half of a file is taken for it."""
    script = scripts.write(KILLED, "killed.py")
    ran = scripts.folder / "ran"
    assert scripts.run(script, when, str(ran)).returncode == -9
    done = scripts.run(script, "", str(ran))
    assert json.loads(done.stdout) == sum(range(1_000_000)), done.stderr
    assert ran.read_text().count("ran") == runs
    folder = next(scripts.folder.rglob("state.db-artifacts"))
    assert len([name for name in os.listdir(folder) if not name.startswith(".")]) == 1
