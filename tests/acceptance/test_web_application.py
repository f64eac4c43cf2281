"""The application of docs/how-to/web-application.md, under a server of two processes that is killed again and again."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import perdure
import warm
from conftest import SOURCE
from waiting import until

pytestmark = pytest.mark.skipif(
    not (find_spec("fastapi") and find_spec("uvicorn")), reason="fastapi or uvicorn is not installed"
)

ROOT = Path(__file__).parents[2]
ORDERS = 60
KILLED_AT = (10, 30, 50, 70)
"""The server is killed when the service has got so many requests, which it then has in hand.

An order that is alone in its process may be there each time: no crash loop is to be made of that.
"""


class Service:
    """Charges and ships: a request with a key that it has seen is not carried out again.

    `effects` are the paths of what it has carried out, `requests` counts what it was asked for.
    """

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.requests = 0
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.take(self.path, self.headers["Idempotency-Key"])
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"done")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  who asked was killed
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, key: str) -> None:
        with self._lock:
            self.requests += 1
            if key not in self._keys:
                self._keys.add(key)
                self.effects.append(path)


@pytest.fixture
def service() -> Iterator[Service]:
    """The service that the steps call: what it has carried out is the ledger."""
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Web:
    """The application under uvicorn with two processes; all of them are killed together."""

    def __init__(self, folder: Path, service: Service) -> None:
        page = (ROOT / "docs" / "how-to" / "web-application.md").read_text(encoding="utf-8")
        found = re.search(r"<!-- file: app.py -->\n```python\n(.*?)```", page, re.DOTALL)
        assert found is not None
        (folder / "app.py").write_text(found[1], encoding="utf-8")
        self.folder = folder
        self.service = f"http://127.0.0.1:{service.server.server_address[1]}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
        path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH", ""))))
        command = ["-m", "uvicorn", "app:app", "--workers", "2", "--port", str(self.port), "--log-level", "warning"]
        with (self.folder / "log").open("ab") as log:
            self.process = warm.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={
                    **kept,
                    "PYTHONPATH": path,
                    "SERVICE": self.service,
                    "PERDURE_CRASH_LIMIT": f"{len(KILLED_AT) + 1}",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        until(self.is_gone, "the end of the last process that listens")

    def is_gone(self) -> bool:
        """Whether no process of a killed server listens any more, of which some end after their parent."""
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                again.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    def ask(self, method: str, order: int) -> str:
        """The answer, asked for again while there is none: the client of a server that goes and comes."""
        request = Request(f"http://127.0.0.1:{self.port}/orders/{order}", method=method)

        def answered() -> str | None:
            try:
                with urlopen(request, timeout=60) as answer:
                    text: str = answer.read().decode()
                    return text
            except HTTPError as error:
                raise AssertionError((self.folder / "log").read_text()) from error
            except (URLError, OSError, HTTPException):  # killed before, or in the middle of, its answer
                return None

        found = until(answered, f"an answer about order {order}")
        assert found is not None
        return found


def test_a_killed_web_server_does_each_step_of_each_order_once(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 orders, each posted by two clients, 4 kills: both get the result, and each step has one effect."""
    web = Web(tmp_path, service)
    web.start()
    answers: list[tuple[int, str]] = []

    def client(orders: list[int]) -> None:
        answers.extend((order, web.ask("POST", order)) for order in orders)

    numbers = list(range(ORDERS))
    clients = [threading.Thread(target=client, args=(numbers[n % 6 :: 6],)) for n in range(12)]
    try:
        for each in clients:
            each.start()
        for count in KILLED_AT:
            until(lambda n=count: service.requests >= n, f"request {count}")  # type: ignore[misc]
            web.kill()
            web.start()
        for each in clients:
            each.join()
        assert '"done"' in web.ask("GET", 0)
    finally:
        web.kill()
    expected = {f"/{what}/{order}": 1 for what in ("charge", "ship") for order in numbers}
    assert Counter(service.effects) == expected, (tmp_path / "log").read_text()
    assert Counter(order for order, _ in answers) == dict.fromkeys(numbers, 2)
    assert {text for _, text in answers} == {f'{{"run":"order-{n}","result":"done, done"}}' for n in numbers}
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / ".perdure" / "state.db"))
    assert {run.status for run in perdure.runs(most=1_000)} == {"done"}
    assert len(perdure.runs(most=1_000)) == ORDERS
