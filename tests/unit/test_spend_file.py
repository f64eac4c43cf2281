"""The file that says what attempts under way have spent: what a process has noted there is known when it is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from perdure.errors import StateIO, UsageError
from perdure.store import spend_file, spending
from perdure.store.runs import Store
from perdure.store.spend_file import SLOT, Noted, SpendFile, Spent, read

TOKEN = "7-0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpendFile]:
    file = SpendFile(tmp_path / "state.db")
    file.belongs_to(TOKEN)
    yield file
    file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db-spend" / TOKEN


def spent(file: SpendFile, tokens: int, name: str = "ask") -> Noted:
    one = Noted(file, next(file.serials), 3, name, bytes(16), 0, 1, "3:0 3:1", in_record=True)
    one.note(5, tokens)
    return one


def said(*noted: Noted) -> list[Spent]:
    return [each.spent for each in noted]


def test_what_is_noted_last_is_read(file: SpendFile, path: Path) -> None:
    """Of each attempt, with all that says whose it is; also of a name that takes several places."""
    short, long = spent(file, 1), spent(file, 2, "n" * 1000)
    short.note(10**16, 10**16)
    last = spent(file, 4)
    assert short.spent.usd == 10**16 + 5
    assert read(path) == said(short, long, last)


def test_names_of_each_length_have_room(file: SpendFile, path: Path) -> None:
    """Also one that fills its last slot to the last byte, or needs a byte of one more: it overlaps with no other."""
    noted = [spent(file, tokens, "n" * (SLOT + tokens)) for tokens in range(SLOT)]
    assert read(path) == said(*noted)


def test_a_place_is_free_once_what_it_says_is_saved(file: SpendFile, path: Path) -> None:
    """The file is as long as there were attempts at a time, and what no commit has saved stays in it."""
    first, other = spent(file, 1), spent(file, 2)
    for tokens in range(100):
        first.saved()
        first = spent(file, tokens)
    assert read(path) == said(first, other)
    assert path.stat().st_size < 3 * SLOT
    first.saved()
    file.close()
    assert other.spent in read(path)


def test_nothing_is_left_of_a_process_that_has_saved_all(file: SpendFile, path: Path) -> None:
    """Its file goes with it."""
    spent(file, 1).saved()
    assert path.exists()
    file.close()
    assert not path.exists()


@pytest.mark.parametrize("at", [0, 30, 45])
def test_a_place_that_was_cut_short_hides_no_other(file: SpendFile, path: Path, at: int) -> None:
    """In the slots, the amounts or the name of one attempt."""
    spent(file, 1)
    other = spent(file, 2)
    with path.open("r+b") as opened:
        opened.seek(SLOT + at)
        opened.write(b"\xff")
    assert read(path) == said(other)


def test_files_of_before_are_read(tmp_path: Path) -> None:
    """They have a line for each time that an attempt has spent something, the last one cut short by the kill."""
    data = b""
    for tokens in (1, 2, 3):
        body = msgspec.msgpack.encode(Spent(1, 3, "ask", bytes(16), 0, 0, tokens, 1, 0, ""))
        data += len(body).to_bytes(4, "little") + crc32(body).to_bytes(4, "little") + body
    path = tmp_path / TOKEN
    for length, tokens in ((len(data), 3), (len(data) - 1, 2), (7, None)):
        path.write_bytes(data[:length])
        assert [each.tokens for each in read(path)] == ([] if tokens is None else [tokens])


def test_a_full_disk_is_named_and_what_was_noted_stays(
    file: SpendFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that is cut short is none; with room again, the attempt goes on."""
    one = spent(file, 1)
    with monkeypatch.context() as patch:
        patch.setattr(spend_file, "write_at", lambda descriptor, data, at: 0)
        with pytest.raises(StateIO, match="cannot be written"):
            spent(file, 2)
    more = spent(file, 3)
    assert one.spent.tokens == 1
    assert read(path) == said(one, more)


def test_a_file_that_cannot_be_begun_is_begun_again(
    file: SpendFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full before anything is in it: that is said, and what comes with room again is read."""
    with monkeypatch.context() as patch:
        patch.setattr(spend_file, "write_at", lambda descriptor, data, at: 1)
        opened = len(os.listdir("/dev/fd"))
        with pytest.raises(StateIO, match="cannot be written"):
            spent(file, 1)
        assert len(os.listdir("/dev/fd")) == opened
    one = spent(file, 2)
    assert read(path) == said(one)


def test_a_forked_process_leaves_the_file_alone(file: SpendFile, path: Path) -> None:
    """What it spends would stand in the place of what its parent does; so it is told to say it there."""
    one = spent(file, 1)
    before = path.read_bytes()
    file.close_in_child()
    with pytest.raises(UsageError, match="forked"):
        one.note(1, 1)
    with pytest.raises(UsageError, match="forked"):
        spent(file, 2)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_read_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And said: what is in it is not counted."""
    store = Store(tmp_path / "state.db")
    (tmp_path / "state.db-spend" / TOKEN).mkdir(parents=True)
    try:
        assert store.journal.write((), lambda connection: spending.take_over(connection, store.path, "")) == []
    finally:
        store.close()
    assert "cannot be read, and is not counted" in caplog.text
    assert os.listdir(tmp_path / "state.db-spend") == [TOKEN]
