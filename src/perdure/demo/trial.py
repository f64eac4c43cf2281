"""The processes of a demo: the API, and the script that is run, killed and run again."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from perdure.config.interpreter import module_command, script_command
from perdure.demo import ledger
from perdure.demo.ledger import Line

_POLL_SECONDS = 0.02
_SETTINGS = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT_MS", "ALERT_")


@dataclass(frozen=True)
class Ended:
    """How one run of the script ended.

    Args:
        pid: of its process.
        killed: whether it was killed on purpose.
        status: its exit status; negative: the signal that ended it.
        output: what it printed, errors included.
        seconds: how long it ran.
    """

    pid: int
    killed: bool
    status: int
    output: str
    seconds: float


class Trial:
    """A script in a folder of its own, beside an API that misbehaves; use it in a `with` block.

    Args:
        folder: an empty folder; the script, the orders, the ledger and the script's state are kept there.
        script: the file to run; it finds the API's address in ORDERS_API.
        orders: the lines of orders.jsonl, put beside the script.
        seed: decides how the API misbehaves.
    """

    def __init__(self, folder: Path, script: Path, orders: Sequence[bytes], seed: int) -> None:
        self.script = folder / script.name
        self.state = folder / ".perdure" / "state.db"
        self._folder = folder
        self._ledger = folder / "ledger.jsonl"
        self._seed = seed
        self.script.write_bytes(script.read_bytes())
        (folder / "orders.jsonl").write_bytes(b"".join(line + b"\n" for line in orders))
        self._ledger.touch()

    def __enter__(self) -> Self:
        command = module_command("perdure.demo.server", "orders.jsonl", self._ledger.name)
        self._api = subprocess.Popen(
            [*command, "--seed", str(self._seed)], cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._api.stdout is not None
        first = self._api.stdout.readline()
        if not first:
            raise RuntimeError(f"the demo's API did not start (exit status {self._api.wait()})")
        self._port = int(first)
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its standard input is what the server waits for.
        self._api.communicate()

    def mark(self, name: str) -> None:
        """Draw a line in the ledger below every request sent so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request("POST", f"/marks/{name}")
        connection.getresponse().read()
        connection.close()

    def lines(self) -> list[Line]:
        """The ledger so far."""
        return ledger.read(self._ledger)

    def run(self, progress: Callable[[int], None], kill_at: int | None = None, limit: float = 180.0) -> Ended:
        """Run the script once, to its end or to a kill -9.

        Args:
            progress: called with the number of charged orders whenever it has changed.
            kill_at: send SIGKILL as soon as so many orders are charged; None lets the script end.
            limit: after so many seconds the script is killed, whatever it has done.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        # Said aloud, since a pyproject.toml above the folder could say otherwise.
        environment["PERDURE_STATE"] = str(self.state)
        environment["ORDERS_API"] = f"http://127.0.0.1:{self._port}"
        # A proxy that this machine uses for the world has no business between a script and its own loopback.
        environment["no_proxy"] = environment["NO_PROXY"] = "127.0.0.1"
        output = self._folder / "output.txt"
        started = time.monotonic()
        with (
            output.open("wb") as file,
            subprocess.Popen(
                script_command(self.script.name),
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                killed = self._watch(process, progress, kill_at, started + limit)
            finally:
                process.kill()  # does nothing to a process that has ended
        seconds = time.monotonic() - started
        return Ended(process.pid, killed, process.returncode, output.read_text(errors="replace"), seconds)

    def _watch(
        self, process: subprocess.Popen[bytes], progress: Callable[[int], None], kill_at: int | None, until: float
    ) -> bool:
        last = -1
        while time.monotonic() < until:
            over = process.poll() is not None
            now = len(set(ledger.charged(self.lines())))
            if now != last:
                progress(now)
                last = now
            if over:
                return False
            if kill_at is not None and now >= kill_at:
                process.kill()
                return True
            time.sleep(_POLL_SECONDS)
        return False
