"""The payment API on a loopback port, in a process of its own: `python -m perdure.demo.server`."""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import msgspec

from perdure.demo.api import HANG_SECONDS, Answer, Api, Ending, Order, refusal
from perdure.demo.ledger import Ledger
from perdure.demo.mishaps import draw


class Server(ThreadingHTTPServer):
    """Serves an `Api`; a hanging answer never keeps it from ending.

    Args:
        api: decides every answer.
        port: 0 picks a free one; `port` says which.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, api: Api, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.api = api
        self.ending = threading.Event()
        self._undecided: set[object] = set()
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def stop(self) -> None:
        """Stop listening, and let go of every connection that was left hanging."""
        self.ending.set()
        self.shutdown()
        self.server_close()

    # A mark must stand below everything that was sent before it, although every request has its own thread: so each
    # accepted connection is undecided until it is in the ledger or closed, and a mark waits for those before it.

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Hand an accepted connection to a thread of its own."""
        with self._changed:
            self._undecided.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close a connection."""
        self.decided(request)
        super().shutdown_request(request)

    def decided(self, connection: object) -> None:
        """The request of this connection is in the ledger."""
        with self._changed:
            self._undecided.discard(connection)
            self._changed.notify_all()

    def mark(self, connection: object, name: str) -> None:
        """Draw a line in the ledger below everything that came before this connection."""
        self.decided(connection)
        with self._changed:
            before = set(self._undecided)
            self._changed.wait_for(lambda: not (before & self._undecided))
        self.api.mark(name)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is this server's daily life; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "payments/1"
    sys_version = ""

    def do_POST(self) -> None:
        server = cast("Server", self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/marks/"):
            server.mark(self.connection, self.path.removeprefix("/marks/"))
            self._send(Answer(200, {"status": "ok"}))
        elif self.path == "/charges":
            answer = server.api.charge(body, self.headers.get("Idempotency-Key", ""))
            server.decided(self.connection)
            self._send(answer)
        else:
            self._send(Answer(404, {"error": "there is only POST /charges"}))

    def _send(self, answer: Answer) -> None:
        server = cast("Server", self.server)
        self.close_connection = True
        if answer.ending is Ending.HANG:
            server.ending.wait(HANG_SECONDS)
            return
        server.ending.wait(answer.delay)
        if answer.ending is Ending.DROP:
            # With nothing left to linger for, close() sends a reset, as a crashed proxy would.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if answer.ending is Ending.CUT else body)

    def log_message(self, format: str, *args: object) -> None:
        """The ledger is the log."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends, so that no server outlives the demo that started it. Prints its port first."""
    parser = argparse.ArgumentParser(prog="perdure.demo.server", description=main.__doc__)
    parser.add_argument("orders", type=Path, help="JSON Lines file of the orders that will come")
    parser.add_argument("ledger", type=Path, help="file to append every request to")
    parser.add_argument("--seed", type=int, default=0, help="decides what goes wrong and when")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args(arguments)
    orders = [msgspec.json.decode(line, type=Order) for line in options.orders.read_bytes().splitlines()]
    scripts = draw([order.id for order in orders if not refusal(order)], options.seed)
    with Ledger(options.ledger) as ledger:
        server = Server(Api(ledger, scripts, options.seed), options.port)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        print(server.port, flush=True)
        sys.stdin.read()
        server.stop()


if __name__ == "__main__":
    main()
