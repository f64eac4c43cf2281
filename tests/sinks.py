"""Servers on this machine that take alerts: one speaks Telegram's sendMessage, one takes any POST."""

from __future__ import annotations

import html.parser
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9"
CHAT = "-1001234567890"

PATIENCE = 60.0
"""Seconds to wait for what has to come; only a test that fails waits for so long."""


class Sink:
    """What came in, and what is answered: `down` is a status for every request, `next_answers` are used up first."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.refused: list[str] = []
        self.down: int | None = None
        self.next_answers: list[tuple[int, dict[str, Any]]] = []
        self.lock = threading.Condition()
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.requests.append((path, headers, body))
            self.lock.notify_all()
            if self.next_answers:
                return self.next_answers.pop(0)
            if self.down is not None:
                return self.down, {"ok": False, "error_code": self.down, "description": "down"}
            status, answer = self.accept(path, body)
            if status != 200:
                self.refused.append(str(answer.get("description")))
            return status, answer

    def wait(self, count: int) -> bool:
        """Wait for so many requests; False if they do not come."""
        with self.lock:
            return self.lock.wait_for(lambda: len(self.requests) >= count, PATIENCE)

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that came as JSON."""
        with self.lock:
            return [json.loads(body) for _, _, body in self.requests]

    def accept(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.texts.append(json.loads(body)["text"] if body else "")
        return 200, {"ok": True}


class TelegramSink(Sink):
    """As https://core.telegram.org/bots/api#sendmessage has it, with its ways to refuse."""

    def accept(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path != f"/bot{TOKEN}/sendMessage":
            return _no(401, "Unauthorized")
        try:
            asked = json.loads(body.decode("utf-8"))
            text = asked.get("text", "")
            text.encode("utf-8")
        except UnicodeError:
            return _no(400, "Bad Request: strings must be encoded in UTF-8")
        if str(asked.get("chat_id")) != CHAT:
            return _no(400, "Bad Request: chat not found")
        if not text.strip():
            return _no(400, "Bad Request: message text is empty")
        if len(text) > 4096:
            return _no(400, "Bad Request: message is too long")
        mode = str(asked.get("parse_mode") or "").lower()
        if mode and not _parses(text, mode):
            return _no(400, "Bad Request: can't parse entities: can't find end of the entity")
        self.texts.append(text)
        return 200, {"ok": True, "result": {"message_id": len(self.texts), "chat": {"id": CHAT}, "text": text}}


def _no(code: int, description: str) -> tuple[int, dict[str, Any]]:
    return code, {"ok": False, "error_code": code, "description": description}


def _parses(text: str, mode: str) -> bool:
    if mode == "html":
        return _Tags().fits(text)
    bare = re.sub(r"\\.", "", text)
    if mode == "markdownv2" and re.search(r"[\]()>#+=|{}.!-]", bare):
        return False
    return all(bare.count(mark) % 2 == 0 for mark in "_*`") and bare.count("[") == bare.count("]")


class _Tags(html.parser.HTMLParser):
    """Telegram knows a few tags, and refuses text with others or with a `<` that begins none."""

    KNOWN = ("b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "a", "code", "pre", "span", "blockquote")

    def fits(self, text: str) -> bool:
        if any(not re.match(r"</?[a-zA-Z][^<>]*>", text[found.start() :]) for found in re.finditer("<", text)):
            return False
        self.open: list[str] = []
        self.wrong = False
        self.feed(text)
        self.close()
        return not self.open and not self.wrong

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.wrong = self.wrong or tag not in self.KNOWN

    def handle_endtag(self, tag: str) -> None:
        self.wrong = self.wrong or not self.open or self.open.pop() != tag


@contextmanager
def serving(sink: Sink) -> Iterator[Sink]:
    """The sink on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = sink.take(self.path, headers, body)
            said = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in answer.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answering(behave: Callable[[Any, threading.Event], None]) -> Iterator[int]:
    """A bare socket that accepts, and then does what `behave` does until the test is over; yields the port."""
    import socket

    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            behave(connection, over)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.close()
        thread.join(PATIENCE)


@pytest.fixture
def telegram() -> Iterator[TelegramSink]:
    with serving(TelegramSink()) as sink:
        yield sink  # type: ignore[misc]


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink
