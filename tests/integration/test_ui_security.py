"""What `perdure ui` answers to those whom it is not for: nothing. Against the real server."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ui_server import TOKEN, Ui, run_all
from unauthorised import requests, smuggled

from waiting import until


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_all(tmp_path_factory.mktemp("ui"))


@pytest.fixture(scope="module")
def ui(state: Path) -> Iterator[Ui]:
    with Ui(state, "--port", "0") as served:
        yield served


def test_a_foreign_host_is_refused_before_anything_else(ui: Ui):
    """DNS rebinding: a name that is not one of the server's, or not with its port, gets 421, token or not."""
    hosts = (
        "evil.example",
        f"evil.example:{ui.port}",
        "127.0.0.1",
        f"127.0.0.1:{ui.port + 1}",
        f"localhost.:{ui.port}",
    )
    for host, path in itertools.product((*hosts, "", f"127.0.0.1:{ui.port}@evil.example"), ("/", "/api/v1/runs")):
        with ui.client() as client:
            assert client.get(path, headers={"Host": host}).status_code in (400, 421), host
    forwarded = {"Host": "evil.example", "X-Forwarded-Host": f"127.0.0.1:{ui.port}", "Forwarded": "host=127.0.0.1"}
    with ui.client() as client:
        assert client.get("/api/v1/runs", headers=forwarded).status_code == 421
        assert client.get("/api/v1/runs", headers={"Host": f"LOCALHOST:{ui.port}"}).status_code == 200
    twice = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{ui.port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert ui.raw(twice.encode()).split(b" ")[1] in (b"400", b"421")


def test_other_sites_are_refused_with_every_method(ui: Ui):
    """A page of another site reaches nothing, also with the token; only a link that is followed to a view is served."""
    foreign: list[dict[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{ui.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense", "Sec-Fetch-Mode": "navigate"},
    ]
    with ui.client() as client:
        for headers, method in itertools.product(foreign, ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")):
            for path in ("/api/v1/runs", "/api/v1/session", "/assets/style.css", "/"):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 403, (headers, method, path)
                assert not [name for name in answer.headers if name.startswith("access-control")]
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get("/runs/ui_month", headers=followed).status_code == 200
        assert client.get("/api/v1/runs", headers=followed).status_code == 403
        assert client.get("/", headers={**followed, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def answers(ui: Ui, sent: bytes) -> list[int]:
    """The statuses that are answered to bytes, until the server closes; no answer tells of a run."""
    with socket.create_connection(("127.0.0.1", ui.port), 60) as connection:
        connection.sendall(sent)
        found = b""
        with contextlib.suppress(ConnectionResetError):  # what it refuses it does not read to the end
            while b"text/event-stream" not in found and (part := connection.recv(1 << 20)):
                found += part
    assert b"text/event-stream" not in found  # it has no end
    assert b"ui_month" not in found
    assert b"ui_price" not in found
    return [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]


def test_nothing_is_answered_without_the_token(state: Path):
    """Of 10,000 requests for any address of the API, by any method, in any spelling, with no token or what is none,
    from another site with the right one, or smuggled, none is answered 2xx; and none changes the file."""

    def rows() -> list[str]:
        with contextlib.closing(sqlite3.connect(state)) as file:
            return list(file.iterdump())

    with Ui(state, "--port", "0") as ui:
        before, host, got = rows(), f"127.0.0.1:{ui.port}", Counter[int]()
        wellformed = requests(host, 13)
        last = (
            f"GET /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )  # else it waits for more
        for _ in range(38):
            sent = [*itertools.islice(wellformed, 249), last]
            found = answers(ui, b"".join(sent))
            assert len(found) == len(sent)
            wrong = [one for one, status in zip(sent, found, strict=True) if not 400 <= status < 500]
            assert not wrong
            got.update(found)
        for sent in itertools.islice(smuggled(host, 13), 500):
            found = answers(ui, sent)
            assert all(400 <= status < 500 for status in found), (sent, found)
            got.update(found)
        assert sum(got.values()) >= 9_500
        assert got[429] > 1_000
        assert got[421] > 500
        assert got[403] > 500
        assert rows() == before
        with ui.client() as client:  # however many failed: the right token is always admitted
            assert client.get("/api/v1/runs").status_code == 200


def test_failures_are_limited(state: Path):
    """After ten wrong tokens in a minute further ones are answered 429, and no code is tried any more."""
    with Ui(state, "--port", "0") as served, served.client("wrong") as client:
        codes = [client.get("/api/v1/runs").status_code for _ in range(12)]
        assert codes == [401] * 9 + [429] * 3
        assert client.post("/api/v1/session", json={"code": served.code}).status_code == 429
        with served.client() as right:
            assert right.get("/api/v1/runs").status_code == 200


def test_a_code_is_good_once_and_the_token_is_nowhere(state: Path):
    """The printed code gives the token, once; the token is in no argument, no output and no asset."""
    with Ui(state, "--port", "0", fresh=True) as served, served.client(None) as client:
        assert client.post("/api/v1/session", json={"code": served.code}).json() == {"token": TOKEN}
        assert client.post("/api/v1/session", json={"code": served.code}).status_code == 401
        assert client.post("/api/v1/session", content=b"{").status_code == 400
        assert client.get(f"/api/v1/session?code={served.code}").status_code == 401
        assert TOKEN not in served.printed
        assert TOKEN.encode() not in Path(f"/proc/{served.pid}/cmdline").read_bytes()
        pages = [client.get(path) for path in ("/", "/runs/x", "/dead", "/assets/style.css")]
        assert all(page.status_code == 200 and TOKEN not in page.text and "ui_month" not in page.text for page in pages)
        assert not any("set-cookie" in page.headers for page in pages)


def test_every_answer_says_what_a_browser_may_do(ui: Ui):
    """The policy, nosniff, no-referrer and no-store are on every answer, also on errors."""
    with ui.client() as client, ui.client(None) as stranger:
        answers = [
            client.get(path) for path in ("/", "/assets/style.css", "/api/v1/runs", "/api/v1/nothing", "/nothing")
        ]
        answers += [client.get("/", headers={"Host": "evil"}), stranger.get("/api/v1/runs"), client.post("/")]
    for one in answers:
        policy = one.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["referrer-policy"] == "no-referrer"
        assert one.headers["cache-control"] == "no-store"
        assert one.headers["cross-origin-opener-policy"] == one.headers["cross-origin-resource-policy"] == "same-origin"


def test_large_bodies_and_slow_clients(ui: Ui):
    """A body over 1 MB is refused, announced or not; a client that does not send its request is cut."""
    silent = socket.create_connection(("127.0.0.1", ui.port), 60)
    dripping = socket.create_connection(("127.0.0.1", ui.port), 60)
    dripping.sendall(b"GET / HTTP/1.1\r\nHost: 127")
    with ui.client(None) as client:
        assert client.post("/api/v1/session", content=b"x" * 1_000_001).status_code == 413
        assert client.post("/api/v1/session", content=iter([b"x" * 500_000] * 3)).status_code == 413
    for connection in (silent, dripping):
        with connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_no_more_connections_than_it_serves(ui: Ui):
    """32 connections at once are served, whatever they ask in a row; the next one is answered 503; when they go there
    is room again."""
    heads = (f"Host: 127.0.0.1:{ui.port}", f"Authorization: Bearer {TOKEN}")
    asked = "\r\n".join(("GET /api/v1/ HTTP/1.1", *heads, "", "")).encode()

    def status() -> int:
        with ui.client() as client:
            return client.get("/api/v1/").status_code

    def is_full() -> bool:
        """Whether 32 are served and one more is not: if all come within the time in which none is closed, and those
        before are seen to be gone."""
        with contextlib.ExitStack() as opened:
            address = ("127.0.0.1", ui.port)
            served = [opened.enter_context(socket.create_connection(address, 60)) for _ in range(32)]
            try:
                for one in served:
                    one.sendall(5 * asked)
                for one in served:
                    found = b""
                    while found.count(b"HTTP/1.1 200 ") < 5:
                        if not (part := one.recv(65536)):
                            return False
                        found += part
            except ConnectionError:
                return False
            return status() == 503

    assert any(is_full() for _ in range(30))
    until(lambda: status() == 200, "room")


def test_a_socket_is_this_users_alone(state: Path, tmp_path: Path):
    """`--socket` makes one of mode 0600, which goes with the server, and answers only to this machine's names and
    those that it is given, the first of which is in the printed link."""
    path = tmp_path / "ui.socket"
    with Ui(state, "--socket", str(path), "--allow-host", "ops.example.org", "--root-path", "/jobs") as ui:
        assert f"https://ops.example.org/jobs/#{ui.code} " in ui.printed
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            assert client.get("http://localhost:4711/api/v1/runs").status_code == 200
            assert client.get("http://ops.example.org/jobs/api/v1/runs").status_code == 200
            assert client.get("http://evil.example/api/v1/runs").status_code == 421
    assert not path.exists()


def test_files_and_addresses_are_not_read(ui: Ui):
    """No name leads out of the page's own files, and no run can be named so that another file is opened."""
    for path in ("/assets/..%2fapp.py", "/assets/%2e%2e/app.py", "/assets/....//app.py", "/assets//etc/passwd"):
        with ui.client() as client:
            assert client.get(path).status_code == 404, path
            answer = client.get("/api/v1/runs/..%2f..%2fetc%2fpasswd")
            assert answer.status_code == 404
            assert json.loads(answer.content)["code"] == "not-found"
