"""Whatever is damaged in the spool: the other alerts are delivered, the loss is reported, and nothing raises."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alert_world import Chat, Clock, by_digest, down, failed

from conftest import replace
from perdure.alerts import atomic_files
from perdure.alerts.retry_queue import RetryQueue
from perdure.alerts.sender import send
from perdure.alerts.spool import Spool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return Spool(tmp_path / "alerts", now=clock)


def alone(path: Path) -> Path:
    return min(path.glob("*.json"))


def replaced_by(data: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(data) and None


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").touch()


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent/x")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def called(name: bytes) -> Callable[[Path], None]:
    return lambda path: os.rename(path, os.path.join(os.fsencode(path.parent), name))


CONTENTS = {
    "nothing": b"",
    "half": b'{"alert":{"wh',
    "zeros": b"\x00" * 500,
    "other JSON": b'{"alert": 3}',
    "no text": b"\xff\xfe",
    "nested": b"[" * 100_000,
    "a time beyond all": b'{"alert":{"what":"x","time":1e300},"target":""}',
    "too much": b" " * (2 << 20),
}

FILES: dict[str, Callable[[Path], None]] = {
    **{name: replaced_by(data) for name, data in CONTENTS.items()},
    "a folder": a_folder,
    "a link to nowhere": a_link,
    "a pipe": a_pipe,
    "a name that is no UTF-8": called(b"\xff\xfe.json"),
    "a name with a huge number": called(b"9" * 190 + b"-x.json"),
    "a name from the end of time": called(b"9" * 20 + b"-x.json"),
    "a name without a number": called(b"x.json"),
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_blocks_no_other(spool: Spool, damage: Callable[[Path], None]) -> None:
    """It is set aside, and the loss is reported to the target, once, before the alerts that are left."""
    chat = Chat()
    for word in ("one", "two"):
        spool.put(failed(f"{word}: x"), [chat])
    damage(alone(spool.folder / chat.digest))
    assert spool.put(failed("three: x"), [chat])
    assert spool.deliver(by_digest(chat)) == []
    assert "1 older alert was lost" in chat.said[0]
    assert chat.said[1:] == ["two: x", "three: x"]
    assert spool.pending({}).damaged == 1
    assert spool.pending({}).alerts == []
    assert spool.deliver(by_digest(chat), all=True) == []
    assert len(chat.said) == 3


class Once:
    """A function that reports an error of the system the first time that it is called with such a path or queue."""

    def __init__(self, function: Callable[..., Any], number: int, end: str = "") -> None:
        self._function = function
        self._end = end
        self._error: OSError | None = OSError(number, os.strerror(number))

    def __call__(self, *given: Any) -> Any:
        if self._error is not None and str(given[0]).endswith(self._end):
            error, self._error = self._error, None
            raise error
        return self._function(*given)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM], ids=errno.errorcode.get)
def test_what_cannot_be_read_now_is_read_the_next_time(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No descriptor is free, or the disk reports an error: that is said. Nothing is wrong with the file, so that no
    alert is lost, and none waits for it."""
    chat = Chat()
    for word in ("one", "two"):
        spool.put(failed(f"{word}: x"), [chat])
    first, real = alone(spool.folder / chat.digest), atomic_files.read
    for look in (spool.pending, spool.failing):
        replace(monkeypatch, atomic_files, "read", Once(real, number, first.name))
        with pytest.raises(OSError, match=re.escape(os.strerror(number))):
            look(by_digest(chat))
    replace(monkeypatch, RetryQueue, "has_work", lambda self: True)
    replace(monkeypatch, atomic_files, "read", Once(real, number, first.name))
    (failure,) = spool.deliver(by_digest(chat))
    assert os.strerror(number) in failure.what
    assert chat.said == ["two: x"]
    assert spool.deliver(by_digest(chat)) == []
    assert chat.said == ["two: x", "one: x"]
    assert spool.pending({}).damaged == 0


def test_what_cannot_be_read_now_is_work(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an alert would wait for the next one: here it is sent at once, since it can be read by then."""
    chat = Chat()
    spool.put(failed("one: x"), [chat])
    once = Once(atomic_files.read, errno.EMFILE, alone(spool.folder / chat.digest).name)
    replace(monkeypatch, atomic_files, "read", once)
    assert spool.deliver(by_digest(chat)) == []
    assert chat.said == ["one: x"]


def test_a_count_that_cannot_be_read_now_goes_on(spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is sent once more, and what was counted is in the summary."""
    chat = Chat()
    for _ in range(3):
        spool.put(failed("one: x"), [chat])
    once = Once(atomic_files.read, errno.EMFILE, alone(spool.folder / "windows").name)
    replace(monkeypatch, atomic_files, "read", once)
    clock.time += 1
    spool.put(failed("one: x"), [chat])
    assert spool.pending({}).counted == 2


@pytest.mark.parametrize("others", [0, 1])
def test_what_cannot_be_kept_is_kept_after_all_if_it_is_not_delivered(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    """The disk was full for a moment, and the target is down: the alert waits, for each target that has not got it."""
    chat, up = Chat(), [Chat("up")] * others
    chat.trouble = down
    replace(monkeypatch, RetryQueue, "put", Once(RetryQueue.put, errno.ENOSPC))
    failures = send(failed("one: x"), [chat, *up], spool.folder)
    assert "cannot be kept until it is delivered" in caplog.text
    assert "it waits and is tried again" in caplog.text
    assert [failure.target for failure in failures] == [chat.name]
    assert [each.title for each in spool.pending({}).alerts] == [failed("one: x").title()]
    chat.trouble = lambda _: None
    assert spool.deliver(by_digest(chat, *up), all=True) == []
    assert [each.said for each in (chat, *up)] == [["one: x"]] * (1 + others)


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_a_window_that_cannot_be_read_is_an_alert_too_many_at_most(
    spool: Spool, clock: Clock, damage: Callable[[Path], None]
) -> None:
    """Then the count of one failure is lost, and the failure itself is sent again."""
    chat = Chat()
    spool.put(failed("one: x"), [chat])
    damage(alone(spool.folder / "windows"))
    for _ in range(2):
        spool.put(failed("one: x"), [chat])
        spool.put(failed("two: x"), [chat])
        assert spool.deliver(by_digest(chat)) == []
        assert spool.pending(by_digest(chat)).alerts == []
        clock.time += 900
    assert set(chat.said) == {"one: x", "two: x"}


def file_for_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


def folder_for_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "x").touch()


PLACES: dict[str, Callable[[Path, Path], None]] = {
    "windows is a file": lambda spool, _: file_for_folder(spool / "windows"),
    "incidents is a file": lambda spool, _: file_for_folder(spool / "ailing"),
    "the spool's lock is a folder": lambda spool, _: folder_for_file(spool / "lock"),
    "the queue's lock is a folder": lambda _, queue: folder_for_file(queue / "lock"),
    "dropped is a folder": lambda _, queue: folder_for_file(queue / "dropped"),
    "dropped is noise": lambda _, queue: (queue / "dropped").write_bytes(b"\xff" * 50) and None,
    "unreadable is a folder": lambda _, queue: folder_for_file(queue / "unreadable"),
    "a stray file": lambda spool, _: (spool / "x.json").write_text("x") and None,
    "a stray folder": lambda spool, _: (spool / "more").mkdir(),
}


@pytest.mark.parametrize("damage", PLACES.values(), ids=PLACES)
def test_a_file_in_the_wrong_place_blocks_nothing(spool: Spool, damage: Callable[[Path, Path], None]) -> None:
    """Nothing that waited is lost, and what comes after is delivered too."""
    chat, other = Chat(), Chat("other")
    spool.put(failed("one: x"), [chat, other])
    spool.deliver(by_digest(other))
    spool.put(msgspec.structs.replace(failed("two: x"), run="nightly-1"), [chat])
    damage(spool.folder, spool.folder / chat.digest)
    spool.put(failed("three: x"), [chat, other])
    assert spool.deliver(by_digest(chat, other)) == []
    assert (chat.said, other.said) == (["one: x", "two: x", "three: x"], ["one: x", "three: x"])
    assert spool.pending(by_digest(chat)).alerts == []


@pytest.mark.parametrize("what", ["the spool", "the queue"])
def test_a_file_for_a_folder_is_set_aside(what: str, spool: Spool) -> None:
    """What waited there is gone; what comes after waits and is delivered."""
    chat = Chat()
    spool.put(failed("one: x"), [chat])
    file_for_folder(spool.folder if what == "the spool" else spool.folder / chat.digest)
    assert spool.pending({}).alerts == []
    assert spool.put(failed("two: x"), [chat])
    assert spool.deliver(by_digest(chat)) == []
    assert chat.said == ["two: x"]


def test_a_queue_that_cannot_be_written_holds_up_no_other_target(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its alert is sent at once instead, and the others wait and are delivered as ever."""
    from perdure.alerts import atomic_files

    lame, well = Chat("lame"), Chat("well")
    write = atomic_files.write

    def refuse(path: Path, data: bytes) -> None:
        if path.parent.name == lame.digest:
            raise PermissionError(13, "Permission denied")
        write(path, data)

    monkeypatch.setattr(atomic_files, "write", refuse)
    assert spool.put(failed("one: x"), [lame, well])
    assert (lame.said, well.said) == (["one: x"], [])
    assert "cannot be kept" in caplog.text
    assert spool.deliver(by_digest(lame, well)) == []
    assert (lame.said, well.said) == (["one: x"], ["one: x"])


def test_a_queue_that_cannot_be_read_is_reported(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failure with the folder to look at; the other target gets its alerts."""
    from perdure.alerts.retry_queue import RetryQueue

    lame, well = Chat("lame"), Chat("well")
    spool.put(failed("one: x"), [lame, well])
    names = RetryQueue.names

    def refuse(queue: RetryQueue) -> list[str]:
        if queue.folder.name == lame.digest:
            raise PermissionError(13, "Permission denied")
        return names(queue)

    monkeypatch.setattr(RetryQueue, "names", refuse)
    (failure,) = spool.deliver(by_digest(lame, well))
    assert (failure.target, failure.what) == ("lame", "the alerts that wait for it cannot be read: Permission denied")
    assert lame.digest in failure.hint
    assert well.said == ["one: x"]
