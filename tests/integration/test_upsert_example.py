"""examples/upsert.py, killed again and again: every order is in the database once, and every parcel was made once."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import Scripts

EXAMPLE = Path(__file__).parents[2] / "examples" / "upsert.py"
ORDERS = 20


class Shipper(ThreadingHTTPServer):
    """Makes one parcel for each key. `kill` is called when it has made one, before it answers, as `deadly` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.parcels: dict[str, tuple[str, str]] = {}
        self.requests = 0
        self.deadly: set[int] = set()
        self.heeds_keys = True
        self.kill: Any = None


class Handler(BaseHTTPRequestHandler):
    server: Shipper

    def do_POST(self) -> None:
        shipper = self.server
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["order"]
        shipper.requests += 1
        key = self.headers["Idempotency-Key"] if shipper.heeds_keys else str(shipper.requests)
        new = key not in shipper.parcels
        parcel, _ = shipper.parcels.setdefault(key, (f"P{len(shipper.parcels):04}", order))
        if new and len(shipper.parcels) in shipper.deadly:
            shipper.kill()
            return
        body = json.dumps({"parcel": parcel}).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def shipper() -> Iterator[Shipper]:
    with Shipper() as shipper:
        thread = threading.Thread(target=shipper.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield shipper
        shipper.shutdown()
        thread.join()


def run_until_done(scripts: Scripts, shipper: Shipper) -> tuple[int, list[tuple[str, str]]]:
    """How often it was killed, and what is in the database at the end."""
    scripts.folder.mkdir()
    script = Path(shutil.copy(EXAMPLE, scripts.folder / "upsert.py"))
    database = scripts.folder / "orders.db"
    kills = 0
    while True:
        process = scripts.start(
            script, SHIPPER_API=f"http://127.0.0.1:{shipper.server_port}", ORDERS_DB=str(database), NO_PROXY="*"
        )
        shipper.kill = process.kill
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            assert out == f"brought in {ORDERS} orders\n"
            break
        assert process.returncode == -signal.SIGKILL, err
        kills += 1
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT number, parcel FROM orders ORDER BY number").fetchall()
    connection.close()
    return kills, rows


def test_killed_and_run_again_everything_is_there_once(scripts: Scripts, shipper: Shipper) -> None:
    """Killed when the parcel has been made and nobody knows it yet: the worst moment."""
    shipper.deadly = {1, 8, 9, 20}
    kills, rows = run_until_done(scripts, shipper)
    assert kills == 4
    assert shipper.requests == ORDERS + kills
    assert len(shipper.parcels) == ORDERS
    assert rows == sorted((order, parcel) for parcel, order in shipper.parcels.values())
    assert [number for number, _ in rows] == [f"2026-11-23-{n:03}" for n in range(ORDERS)]


def test_a_shipper_that_does_not_heed_the_key_makes_parcels_twice(scripts: Scripts, shipper: Shipper) -> None:
    """The control: it is the key that does it."""
    shipper.deadly, shipper.heeds_keys = {1, 8}, False
    kills, rows = run_until_done(scripts, shipper)
    assert len(shipper.parcels) == ORDERS + kills == ORDERS + 2
    assert len(rows) == ORDERS
