"""What perdure writes where a user says so goes there: not through a link, not into another user's file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from conftest import replace
from perdure.cli.private_file import private_file
from perdure.config import settings
from perdure.errors import UsageError
from perdure.store.dead_letter_file import LetterFile
from perdure.store.runs import Store

OTHER = 65534

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users")


@pytest.fixture
def letters(tmp_path: Path) -> LetterFile:
    return LetterFile(tmp_path / "out", Store(tmp_path / "state.db"))


def export(path: Path, content: bytes = b"new") -> None:
    with private_file(path) as stream:
        stream.write(content)


def test_an_export_replaces_what_was_there_when_it_is_complete(tmp_path: Path) -> None:
    """One that breaks off leaves the one before; nothing else stays behind."""
    out = tmp_path / "out"
    out.write_text("old")
    out.chmod(0o644)
    with pytest.raises(TypeError), private_file(out) as stream:
        stream.writelines([b"half", None])  # type: ignore[list-item]
    assert out.read_text() == "old"
    export(out)
    assert out.read_text() == "new"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("there", [True, False])
def test_an_export_through_a_link(there: bool, tmp_path: Path) -> None:
    """It is refused, and the file that the link leads to stays as it is, or is not made."""
    target = tmp_path / "target"
    if there:
        target.write_text("precious")
    (tmp_path / "out").symlink_to(target)
    with pytest.raises(UsageError, match="is a link"):
        export(tmp_path / "out")
    assert target.exists() == there
    assert not there or target.read_text() == "precious"


@as_root
def test_an_export_into_the_file_of_another_user(tmp_path: Path) -> None:
    """They could read it; it is refused, and left as it is."""
    (tmp_path / "out").write_text("theirs")
    os.chown(tmp_path / "out", OTHER, OTHER)
    with pytest.raises(UsageError, match="uid 65534"):
        export(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "theirs"


def test_an_export_to_what_is_no_file() -> None:
    """`-o /dev/stdout`, `-o >(gzip > x)`: written to as it is."""
    reading, writing = os.pipe()
    export(Path(f"/dev/fd/{writing}"))
    os.close(writing)
    assert os.read(reading, 10) == b"new"
    os.close(reading)


def test_dead_letters_through_a_link(tmp_path: Path, letters: LetterFile) -> None:
    """WORKFLOW_DLQ_PATH names a file, not a way to one."""
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="it is a link"):
        letters.catch_up()
    assert not (tmp_path / "target").exists()


def test_dead_letters_through_a_link_into_a_closed_folder(
    tmp_path: Path, letters: LetterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends no run: that they are appended later is said, as of any file that cannot be written."""
    out, look = tmp_path / "out", os.stat
    out.symlink_to(tmp_path / "target")

    def closed(path: object, *rest: object, **more: bool) -> os.stat_result:
        if path in (out, str(out)) and more.get("follow_symlinks", True):
            raise PermissionError(errno.EACCES, "Permission denied", str(out))
        return look(path, *rest, **more)  # type: ignore[arg-type]

    replace(monkeypatch, os, "stat", closed)
    monkeypatch.setenv("WORKFLOW_DLQ_PATH", str(out))
    assert settings.dead_letter_file() == out
    with pytest.raises(OSError, match="it is a link"):
        letters.catch_up()


@as_root
def test_dead_letters_into_the_file_of_another_user(tmp_path: Path, letters: LetterFile) -> None:
    """They would read every input."""
    (tmp_path / "out").touch()
    os.chown(tmp_path / "out", OTHER, OTHER)
    with pytest.raises(PermissionError, match="uid 65534"):
        letters.catch_up()


def test_dead_letters_into_a_pipe(tmp_path: Path, letters: LetterFile) -> None:
    """It is refused, and waits for no reader."""
    os.mkfifo(tmp_path / "out")
    with pytest.raises(OSError, match="not a regular file"):
        letters.catch_up()
