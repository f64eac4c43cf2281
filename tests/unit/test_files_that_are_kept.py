"""Files beside the state file that hold large values and artifacts: by content, whole, and as long as they are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.errors import OptionError, StateCorrupt
from perdure.store import artifacts


def test_a_file_that_is_kept_holds_what_was_given(tmp_path: Path) -> None:
    """Bytes and the content of a file alike, each content once; one that is not whole is written anew."""
    folder = artifacts.folder_of(tmp_path / "state.db")
    (tmp_path / "source").write_bytes(b"content")
    digest, size = artifacts.keep(folder, b"content")
    assert (folder / digest).read_bytes() == b"content"
    assert artifacts.keep(folder, tmp_path / "source") == (digest, size) == (artifacts.digest_of(b"content"), 7)
    (folder / digest).chmod(0o600)
    (folder / digest).write_bytes(b"cont")
    artifacts.keep(folder, b"content")
    assert artifacts.find(digest, "it", tmp_path / "state.db").read_bytes() == b"content"
    assert [path.name for path in folder.iterdir()] == [digest]


def test_a_kept_file_that_was_changed_is_not_read(tmp_path: Path) -> None:
    """Whether its length is another one or its content; nor is what a link leads to."""
    state = tmp_path / "state.db"
    folder = artifacts.folder_of(state)
    digest, size = artifacts.keep(folder, b"content")
    assert artifacts.read(digest, size, "it", state) == b"content"
    path = folder / digest
    path.chmod(0o600)
    for changed in (b"c0ntent", b"conten", b"contents", b""):
        path.write_bytes(changed)
        with pytest.raises(StateCorrupt, match="is damaged"):
            artifacts.read(digest, size, "it", state)
        assert not artifacts.is_sound(state, digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StateCorrupt, match="is missing"):
            artifacts.read(digest, size, "it", state)
        path.unlink(missing_ok=True)


def test_kept_files_that_nothing_names_are_removed_when_they_are_old(tmp_path: Path) -> None:
    """What is used stays, and what somebody may be about to name; also links and folders."""
    folder = artifacts.folder_of(tmp_path / "state.db")
    assert artifacts.sweep(folder, lambda name: False, 100.0) == []
    names = [artifacts.keep(folder, text)[0] for text in (b"old", b"used", b"new")]
    for name, at in zip(names, (99.0, 99.0, 100.0), strict=True):
        os.utime(folder / name, (at, at))
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / names[0])
    assert artifacts.sweep(folder, lambda name: name == names[1], 100.0) == [names[0]]
    assert {path.name for path in folder.iterdir()} == {*names[1:], "folder", "link"}


def test_what_is_kept_again_is_not_written_again(tmp_path: Path) -> None:
    """It counts as new, so that who removes old files leaves it to the row that will name it."""
    folder = artifacts.folder_of(tmp_path / "state.db")
    digest, _ = artifacts.keep(folder, b"content")
    first = (folder / digest).stat()
    os.utime(folder / digest, (1, 1))
    artifacts.keep(folder, b"content")
    again = (folder / digest).stat()
    assert (again.st_ino, again.st_mtime > 1) == (first.st_ino, True)


def test_a_kept_file_is_found_beside_the_state_files_that_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its content alone; where it was looked for is said."""
    monkeypatch.setattr(artifacts, "_folders", [])
    digest, _ = artifacts.keep(tmp_path / f"b.db{artifacts.SUFFIX}", b"content")
    with pytest.raises(StateCorrupt, match="no state file is open"):
        artifacts.find(digest, "it")
    folders = [artifacts.folder_of(tmp_path / name) for name in ("a.db", "b.db", "b.db")]
    assert artifacts.find(digest, "it") == folders[1] / digest
    assert artifacts._folders == folders[:2]
    with pytest.raises(StateCorrupt, match=r"restore the folder .*; or make it again: perdure fork"):
        artifacts.find("0" * 64, "it", remake="perdure fork")


def test_a_pipe_is_not_kept(tmp_path: Path) -> None:
    """It is named, and neither waited for nor left open."""
    os.mkfifo(tmp_path / "pipe")
    opened = len(os.listdir("/dev/fd"))
    with pytest.raises(OptionError, match="no file but a pipe"):
        artifacts.keep(artifacts.folder_of(tmp_path / "state.db"), tmp_path / "pipe")
    assert len(os.listdir("/dev/fd")) == opened
