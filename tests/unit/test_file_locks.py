"""The lock on an open file: one holder, a failure of the file system is an error, and other libraries see it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import lock_descriptor as by_filelock

from conftest import replace
from perdure.config import file_locks
from perdure.config.file_locks import lock_descriptor, unlock_descriptor

pytestmark = pytest.mark.skipif(not file_locks.POSIX, reason="elsewhere it is filelock's own")


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_one_holder(tmp_path: Path) -> None:
    """It is taken once, whoever asks; let go of by itself or with its descriptor, it is free again."""
    first, second, third = (opened(tmp_path / "lock") for _ in range(3))
    assert lock_descriptor(first)
    assert not lock_descriptor(second)
    assert not by_filelock(second, blocking=False)
    unlock_descriptor(first)
    assert lock_descriptor(second)
    os.close(second)
    assert by_filelock(third, blocking=False)
    assert not lock_descriptor(first)
    os.close(first)
    os.close(third)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_what_file_systems_say_of_a_lock_that_is_held(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some report a lock that is held as a permission that is missing."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    replace(monkeypatch, file_locks.fcntl, "flock", refuse)
    assert not lock_descriptor(0)


def test_a_failure_is_not_taken_for_a_lock_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, or one that fails, is an error: nobody holds that lock."""

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    replace(monkeypatch, file_locks.fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        lock_descriptor(0)
