"""Artifacts: large data in files that are whole, known by their content, and go with their runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from conftest import Died, Machine, Scripts
from perdure import Artifact, artifact, step, workflow
from perdure.errors import NotDecodable, NotStorable, OptionError, StateCorrupt
from perdure.store import pieces
from perdure.store.removal import remove_unused_artifacts

BIG = b"some bytes " * 300_000


def files(machine: Machine) -> list[Path]:
    return sorted((machine.folder / "state.db-artifacts").iterdir())


def test_an_artifact_is_a_small_reference(machine: Machine) -> None:
    """It is the same on resume, is passed to a step and a child, and the data is there once."""
    opened: list[Any] = []

    @step(retry=None)
    def download() -> Artifact:
        return artifact(BIG, summary="300,000 lines", name="log")

    @step(retry=None)
    def count(log: Artifact) -> int:
        return len(log.load())

    @step(retry=None)
    def die() -> None:
        if not machine.ran:
            machine.ran.append("died")
            raise Died

    @workflow
    def child(log: Artifact) -> int:
        return count(log)

    @workflow
    def w() -> Artifact:
        log = download()
        opened.append((log, log.load() == BIG, log.path.read_bytes() == BIG, log.summary, log.size))
        assert count(log) == child(log) == len(BIG)
        die()
        return log

    with pytest.raises(Died):
        w()
    machine.boot()
    log = w()
    assert opened[0] == opened[1] == (log, True, True, "300,000 lines", len(BIG))
    assert repr(log).startswith("Artifact(3.3 MB, 'log', '300,000 lines', ")
    (file,) = files(machine)
    assert file.name == log.digest
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert machine.state.stat().st_size < 300_000
    assert len(machine.engine.store.record(1, 1).output) < 300


@pytest.mark.parametrize(
    "data", [b"", b"x", bytearray(b"y"), "text \udc80", {"a": [1, (2, 3)]}, [None, 2.5], 10**40], ids=repr
)
def test_what_is_kept_comes_back(machine: Machine, data: Any) -> None:
    """Bytes, text and values, in type and content."""

    @step(retry=None)
    def keep() -> Artifact:
        return artifact(data)

    @workflow
    def w() -> list[Any]:
        return [keep().load()]

    assert w() == [bytes(data) if isinstance(data, bytearray) else data]


def test_files_arrays_and_frames(machine: Machine, tmp_path: Path) -> None:
    """A file is copied; arrays and DataFrames come back as what they were."""
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    source = tmp_path / "given.bin"
    source.write_bytes(BIG)
    array, frame = numpy.arange(12).reshape(3, 4), pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})

    @step(retry=None)
    def keep() -> list[Artifact]:
        return [artifact(source), artifact(array), artifact(frame)]

    @workflow
    def w() -> None:
        file, numbers, table = keep()
        source.unlink()
        assert file.load() == BIG
        assert (numbers.load() == array).all()
        assert table.load().equals(frame)

    w()


def test_what_cannot_be_stored_is_refused(machine: Machine) -> None:
    """No pickle: an object of an unknown class is not-storable, and nothing is left behind."""

    @step(retry=None)
    def keep() -> Artifact:
        return artifact(object())

    @workflow
    def w() -> None:
        keep()

    with pytest.raises(NotStorable):
        w()
    assert not (machine.folder / "state.db-artifacts").exists()


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "a link"])
def test_damage_is_named(machine: Machine, tmp_path: Path, damage: str) -> None:
    """Whatever happened to the file: it is state-corrupt, names the artifact, and gives nothing else instead."""
    data = os.urandom(3_000_000)

    @step(retry=None)
    def keep() -> Artifact:
        return artifact(data, name="log")

    @workflow
    def w() -> Artifact:
        return keep()

    log = w()
    (file,) = files(machine)
    if damage == "changed":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "cut":
        file.write_bytes(data[:-1])
    else:
        file.unlink()
    if damage == "a link":
        (tmp_path / "other").write_bytes(data)
        file.symlink_to(tmp_path / "other")
    with pytest.raises(StateCorrupt, match="artifact 'log'"):
        log.load()


def test_files_go_with_the_last_run(machine: Machine) -> None:
    """Two runs and a state that was opened anew use one file; what makes it again writes it again."""

    @step(retry=None)
    def keep() -> Artifact:
        return artifact(BIG)

    @workflow
    def w(number: int) -> int:
        return keep().size

    w(1), w(2)
    store = machine.engine.store
    assert store.journal.write((), lambda connection: pieces.release(connection, 1)) == []
    assert remove_unused_artifacts(store, grace=-1) == []
    (digest,) = store.journal.write((), lambda connection: pieces.release(connection, 2))
    assert remove_unused_artifacts(store) == []  # a row that names it may not be committed yet
    assert remove_unused_artifacts(store, grace=-1) == [digest]
    assert files(machine) == []
    assert w(3) == len(BIG)
    assert [file.name for file in files(machine)] == [digest]


def test_a_stored_artifact_that_was_made_up_is_refused(machine: Machine) -> None:
    """Its name is never a path: only what looks like a digest is looked for."""
    from perdure.api.artifact import _make

    for digest in ("../../etc/passwd", "a" * 63, 5):
        with pytest.raises((StateCorrupt, NotDecodable)):
            _make([digest, 5, "bytes", "", "", None])


def test_outside_of_a_run_it_is_a_temporary_file() -> None:
    """A plain call of a step works."""
    log = artifact("text")
    assert log.load() == "text"
    assert log.path.read_text() == "text"


ISOLATED = """
    from perdure import Artifact, artifact, step, workflow

    @step(isolate=True, retry=None)
    def load() -> Artifact:
        return artifact(b"x" * 3_000_000, name="big")

    @workflow
    def w() -> int:
        return len(load().load())

    if __name__ == "__main__":
        print(w())
"""


def test_an_isolated_step_makes_one(scripts: Scripts) -> None:
    """The process of the step writes the file where that of the workflow finds it; `doctor` looks at it."""
    script = scripts.write(ISOLATED, name="isolated.py")
    assert scripts.run(script).stdout == "3000000\n"
    folder = script.parent / ".perdure/state.db-artifacts"
    (name,) = os.listdir(folder)
    assert scripts.run(Path("-m"), "perdure", "doctor").returncode == 0
    (folder / name).write_bytes(b"y")
    found = scripts.run(Path("-m"), "perdure", "doctor")
    assert found.returncode == 1
    assert "artifact" in found.stdout


@pytest.mark.parametrize("data", [bytearray(b"abc"), b"abc", "abc", [1, 2]])
def test_what_is_loaded_is_what_was_given(data: Any) -> None:
    """Of the same type too."""
    loaded = artifact(data).load()
    assert loaded == data
    assert type(loaded) is type(data)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OptionError, match="no file but a pipe"):
            artifact(path)


def test_a_lost_file_names_the_command_that_makes_it_again(machine: Machine) -> None:
    """With the run and the step, to be copied."""

    @step(retry=None)
    def fetch_page() -> Artifact:
        return artifact(b"page " * 99, name="page")

    @workflow
    def w_of_a_lost_file() -> int:
        page = fetch_page()
        (file,) = files(machine)
        file.unlink()
        return len(page.load())

    with pytest.raises(StateCorrupt) as lost:
        w_of_a_lost_file()
    (run,) = machine.engine.store.runs()
    assert f"perdure fork {run.id} --from fetch_page" in lost.value.hint


def test_a_script_that_names_no_artifact_in_this_life(scripts: Scripts) -> None:
    """The step that made one is not executed again: its result is read all the same."""
    path = scripts.write(
        """
        import os, sys
        import perdure
        from perdure import step, workflow

        @step
        def artifact_kept():
            return perdure.artifact(b"x" * 100_000)

        @step(retry=None)
        def artifact_measured(one):
            if os.environ.get("DIE"):
                os._exit(1)
            return one.size

        @workflow
        def artifact_of_before():
            return artifact_measured(artifact_kept())

        print(artifact_of_before(), "perdure.api.artifact" in sys.modules)
        """
    )
    assert scripts.run(path, DIE="1").returncode == 1
    assert scripts.run(path, fresh=True).stdout == "100000 True\n"
