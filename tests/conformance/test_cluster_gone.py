"""The cluster goes away while a command waits for a run: it says so, and not that the run has failed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conformance.conftest import Server
from tests.conformance.test_commands import Desk

from waiting import until

SCRIPT = """
@step
def first() -> int:
    return 1

@step
def second() -> int:
    (FOLDER / "begun").touch()
    while not (FOLDER / "gate").exists():
        time.sleep(0.01)
    return 2

@workflow
def both() -> int:
    return first() + second()
"""


class Relay:
    """What stands between a command and the cluster, until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lines: list[socket.socket] = [self._listening]
        self._gone = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                onward = socket.create_connection(("127.0.0.1", self._target))
                self._lines += [line, onward]
                for pair in ((line, onward), (onward, line)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()
                if self._gone:
                    self.cut()

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)

    def cut(self) -> None:
        """From now on nothing answers there."""
        self._gone = True
        for line in list(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """A way to the cluster that can be cut."""
    relay = Relay(server.port)
    yield relay
    relay.cut()


def test_while_a_run_is_waited_for(server: Server, relay: Relay, tmp_path: Path) -> None:
    """Two lines with the code `engine`, nothing of a failure; when it is back, running again completes the run."""
    url = server.url(dead_after="2s")
    desk = Desk(tmp_path, url.replace(str(server.port), str(relay.port)))
    desk.write(SCRIPT)
    try:
        waits = desk.start("run", "--id", "gone", f"{desk.script}:both")
        until((tmp_path / "begun").exists, "the second step")
        relay.cut()
        _, said = waits.communicate(timeout=120)
        assert waits.returncode == 1
        assert "error [engine]: the Temporal cluster at 127.0.0.1:" in said
        assert "does not answer any more" in said
        assert "Traceback" not in said
        assert "failed" not in said
        (tmp_path / "gate").touch()
        desk.url = url
        code, out, said = desk.type("run", "--id", "gone", f"{desk.script}:both")
        assert (code, out) == (0, "3\n"), said
    finally:
        desk.close()
