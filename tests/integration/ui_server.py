"""A `perdure ui` of its own process, and a state file with a bit of everything that real runs have left."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import httpx

import warm
from conftest import SOURCE

TOKEN = "a-token-for-tests-0123456789abcdefghij"

SCRIPT = """
import sys
import perdure
from perdure import Retry, step, workflow

@step(retry=Retry(attempts=2, delay=0.001, jitter=0))
def ui_price(item: dict) -> int:
    print("the price of", item["id"])
    if item["amount"] == "x":
        raise ValueError(f"amount of {item['id']} is no number: {item['amount']!r}")
    return int(item["amount"])

@workflow
def ui_month(items: list) -> str:
    return f"{len(ui_price.map(items).results)} priced"

@step(retry=Retry(attempts=1))
def ui_send(to: str) -> None:
    raise PermissionError("the mail server says no")

@workflow
def ui_report(to: str) -> None:
    ui_send(to)

@workflow
def ui_refund(order: str) -> bool:
    title = "".join(filter(str.isprintable, order))  # of others an approval is refused
    return perdure.approval(f"Refund {title}?", timeout="2d").approved

@step
def ui_die() -> None:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

@workflow
def ui_backup(shop: str) -> None:
    ui_price({"id": shop, "amount": "1"})
    ui_die()
"""


def environment(state: Path) -> dict[str, str]:
    """Of processes on that state file: nothing else of perdure's is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return {**kept, "PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(state), "PERDURE_UI_TOKEN": TOKEN}


def run_all(folder: Path, hostile: str = "") -> Path:
    """Run each workflow in one process, and one that is killed in another; returns the state file.

    Args:
        folder: an empty one.
        hostile: a text that inputs, errors and results hold.
    """
    state = folder / "state.db"
    script = folder / "ui_shop.py"
    script.write_text(SCRIPT, encoding="utf-8")
    rows = [{"id": f"R-{n}{hostile}", "amount": "x" if n % 4 == 0 else str(n), "currency": "EUR"} for n in range(9)]
    program = (
        "import contextlib, sys\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        "from ui_shop import *\n"
        "from perdure.errors import Suspended\n"
        "hostile = sys.argv[1]\n"
        f"ui_month({rows!r})\n"
        "with contextlib.suppress(PermissionError):\n    ui_report('boss' + hostile)\n"
        "with contextlib.suppress(Suspended):\n    ui_refund('SO-1' + hostile)\n"
        "ui_backup('lyon' + hostile)\n"
    )
    done = warm.run(
        [sys.executable, "-c", program, hostile],
        env=environment(state),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == -9, done.stderr
    return state


class Ui:
    """The server, until the block ends. `address` is where; `code` the one that it printed.

    It is started `fresh` where the system is asked for its command line.
    """

    def __init__(self, state: Path, *options: str, fresh: bool = False) -> None:
        self._process = (subprocess if fresh else warm).Popen(
            [sys.executable, "-m", "perdure", "ui", "--state", str(state), "--no-open", *options],
            env=environment(state),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.printed = ""
        self.address = self.code = ""

    def __enter__(self) -> Ui:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.printed += line
            if found := re.search(r"listens at +(\S+)/$", line.rstrip()):
                self.address = found[1]
            if found := re.search(r"#(\S+)", line):
                self.code = found[1]
                break
        assert self.code, self.printed + self._process.stderr.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        _, said = self._process.communicate()
        if error is not None and said:
            error.add_note(f"The server said:\n{said}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def client(self, token: str | None = TOKEN) -> httpx.Client:
        """Of the API; without a token, if None is given."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, trust_env=False, verify=False)

    def raw(self, request: bytes) -> bytes:
        """What is answered to bytes, until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(request)
            found = b""
            while part := connection.recv(65536):
                found += part
        return found
