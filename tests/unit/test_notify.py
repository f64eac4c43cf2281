"""What a service manager hears of a worker (sd_notify(3))."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

from perdure.engines.local.worker.notify import Notify


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket at which a manager listens, that the environment names; its path has to be a short one."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        yield manager


def heard(manager: socket.socket) -> list[bytes]:
    """All that has come."""
    found = []
    while True:
        try:
            found.append(manager.recv(1000))
        except BlockingIOError:
            return found


@pytest.mark.parametrize("state", [b"READY=1", b"STOPPING=1"])
def test_a_manager_that_is_busy_hears_how_the_worker_is_later(manager: socket.socket, state: bytes) -> None:
    """The system keeps a few messages for it; a worker that is ready and never says so is ended by its manager."""
    notify = Notify()
    for _ in range(5_000):  # more than any system keeps
        notify.alive()
    if state == b"READY=1":
        notify.ready("serving\napp.py")
    else:
        notify.stopping()
    notify.alive()
    assert {message.partition(b"\n")[0] for message in heard(manager)} == {b"WATCHDOG=1"}
    notify.alive()
    found = heard(manager)
    assert [message.partition(b"\n")[0] for message in found] == [state, b"WATCHDOG=1"]
    if state == b"READY=1":
        assert found[0] == b"READY=1\nSTATUS=serving app.py"
    notify.again()
    assert heard(manager) == []
    notify.close()


def test_the_last_state_is_what_is_said(manager: socket.socket) -> None:
    """A worker that is ended before its manager has heard that it is ready is not ready any more."""
    notify = Notify()
    for _ in range(5_000):
        notify.alive()
    notify.ready("serving app.py")
    notify.stopping()
    heard(manager)
    notify.again()
    assert heard(manager) == [b"STOPPING=1"]
    notify.close()
