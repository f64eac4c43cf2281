"""A state file in a folder that cannot be written to is read from a copy of one moment."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import StateReadOnly
from perdure.store import read_only_folder
from perdure.store.read_only_folder import copied


def opened(seen: list[dict[str, bytes]]) -> Any:
    """Takes the place of what opens the copy: what it sees there is kept."""

    def look(copy: Path) -> str:
        seen.append({path.name: path.read_bytes() for path in copy.parent.iterdir()})
        return "a connection"

    return look


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state.db").write_bytes(b"pages")
    (tmp_path / "state.db-wal").write_bytes(b"frames")
    return tmp_path / "state.db"


def test_the_copy_has_all_that_belongs_to_the_file(path: Path) -> None:
    """And is gone when it was opened."""
    seen: list[dict[str, bytes]] = []
    (path.parent / "other").write_bytes(b"other")
    assert copied(path, opened(seen)) == "a connection"
    assert seen == [{"state.db": b"pages", "state.db-wal": b"frames"}]


def test_a_file_that_another_process_has_open_is_read_itself(path: Path) -> None:
    """What lies beside it says so."""
    (path.parent / "state.db-shm").touch()
    assert copied(path, opened([])) is None


def test_a_file_that_is_written_meanwhile_is_copied_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of two moments is none; after three, whoever writes it has it open."""
    seen: list[dict[str, bytes]] = []
    numbers = itertools.count()
    stamps = read_only_folder._stamps
    monkeypatch.setattr(read_only_folder, "_stamps", lambda path: {"": (next(numbers), 0)})
    assert copied(path, opened(seen)) is None
    assert (seen, next(numbers)) == ([], 6)
    turns = iter([{"": (1, 1)}, {"": (2, 2)}])
    monkeypatch.setattr(read_only_folder, "_stamps", lambda path: next(turns, None) or stamps(path))
    assert copied(path, opened(seen)) == "a connection"


def test_a_file_that_is_too_large_or_cannot_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setattr(read_only_folder, "MOST", 11)
    assert copied(path, opened([])) == "a connection"
    monkeypatch.setattr(read_only_folder, "MOST", 10)
    with pytest.raises(StateReadOnly, match="too large to be copied"):
        copied(path, opened([]))
    monkeypatch.setattr(read_only_folder, "_stamps", lambda path: {"-gone": (0, 0)})
    with pytest.raises(StateReadOnly, match="cannot be copied for reading"):
        copied(path, opened([]))
