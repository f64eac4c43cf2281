"""`perdure crashtest` of workflows as agents write them: it names the faults of a first try, and none of sound ones."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.acceptance.agent_workflows import HEAD, NAIVE, SOUND
from tests.integration.warm_nursery import nursery_begins_warm

from perdure.crashtest.campaign import Report, crashtest
from perdure.crashtest.lives import Target

__all__ = ["nursery_begins_warm"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

ANSWERS = {
    "/customers": [{"id": 1}, {"id": 2}],
    "/orders": [{"id": 1, "amount": 5}, {"id": 2, "amount": 7}],
    "/charge": {"status": "ok"},
    "/model": {"text": "search"},
}


class Service(BaseHTTPRequestHandler):
    """Answers each path in the same way, whatever came before."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(ANSWERS.get(self.path, {"price": len(self.path)})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class MailServer(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as smtplib needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The head of each script, with the addresses of two services on this machine."""
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), Service),
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer),
    ]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    port, mail = (server.server_address[1] for server in servers)
    yield HEAD.replace("{port}", str(port)).replace("{mail}", str(mail))
    for server in servers:
        server.shutdown()
        server.server_close()


def tried(folder: Path, text: str, kills: int) -> Report:
    """What that many kills have found, at other steps and in other ways each."""
    script = folder / "job.py"
    script.write_text(text, encoding="utf-8")
    return crashtest(Target(script, None, [], folder, folder), kills=kills, seconds=600, patience=60)


@pytest.mark.parametrize("name", NAIVE)
def test_the_faults_of_a_first_try_are_named(tmp_path: Path, head: str, name: str) -> None:
    """Those that it has, by kind and step, and no other kinds; a day that changes meanwhile is drift as well."""
    expected, text = NAIVE[name]
    report = tried(tmp_path, head + text, 8)
    found = {(finding.kind, finding.step) for finding in report.findings}
    assert expected <= found, report
    kinds = {kind for kind, _ in expected}
    assert {kind for kind, _ in found} <= kinds | ({"drift"} if "non-deterministic" in kinds else set()), report


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workflow_is_left_alone(tmp_path: Path, head: str, name: str) -> None:
    """What came again was keyed, accepted or repeatable."""
    report = tried(tmp_path, head + SOUND[name], 6)
    assert (report.ending, report.findings, report.finished) == ("", [], True)
    assert {each.how for each in report.repeated} <= {"keyed", "accepted", "repeatable"}
    assert report.kills >= 6
