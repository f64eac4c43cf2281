"""Heartbeats of runs: start and end arrive, and a service that does not answer holds up no script for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from conftest import Scripts, replace
from perdure.alerts import heartbeat, heartbeat_thread
from perdure.alerts.channels.send_timeout import SECONDS
from sinks import Sink, answering, serving

BEATING = """
import os, sys
from perdure import step, workflow

@step(retry=None)
def one(n):
    if n:
        raise ValueError("no")

@workflow(heartbeat=os.environ["BEAT"])
def nightly(n):
    one(n)

nightly(int(sys.argv[1]))
"""


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


@pytest.mark.parametrize(("fails", "last"), [("0", "/check"), ("1", "/check/fail")])
def test_heartbeats(fails: str, last: str, scripts: Scripts, hook: Sink) -> None:
    """Start, then success or failure, in the form of healthchecks.io, tied together by one UUID."""
    scripts.run(scripts.write(BEATING), fails, BEAT=f"http://{hook.address}/check")
    paths = [path for path, _, _ in hook.requests]
    (first, _, start), (end, _, finish) = [path.partition("?") for path in paths]
    assert (first, end) == ("/check/start", last)
    assert start == finish
    assert start.startswith("rid=")


def test_a_service_that_never_answers_does_not_keep_the_script(scripts: Scripts) -> None:
    """The script ends by itself, and well, while the service still has not answered."""
    path = scripts.write(BEATING)
    unanswered: list[bool] = []

    def never(connection: object, over: threading.Event) -> None:
        unanswered.append(True)
        over.wait()

    with answering(never) as port:
        ended = scripts.run(path, "0", BEAT=f"http://127.0.0.1:{port}/check")
        assert unanswered
    assert ended.returncode == 0, ended.stderr


def test_the_last_heartbeat_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """For 5 s; the first is not waited for at all."""
    assert SECONDS == 5
    waited: list[float | None] = []
    release = threading.Event()

    class Thread(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            waited.append(timeout)

    replace(monkeypatch, heartbeat_thread.threading, "Thread", Thread)
    monkeypatch.setattr(heartbeat_thread, "ping", lambda *_: release.wait())
    for last in ("success", "fail", ""):
        heartbeats = heartbeat_thread.HeartbeatThread("http://127.0.0.1:1/check", "nightly-1")
        heartbeats.send("start")
        assert waited == []
        heartbeats.send(last)  # type: ignore[arg-type]
        assert waited == [SECONDS]
        waited.clear()
    release.set()


def test_a_heartbeat_has_the_form_that_healthchecks_takes(hook: Sink) -> None:
    """URL/start, URL, URL/fail, with one UUID for a run; the log goes along, without credentials, 100 kB at most."""
    url = f"http://{hook.address}/ping/some-uuid?create=1"
    hook.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]
    assert heartbeat.ping(url, "start", "7f3a9c")
    assert heartbeat.ping(url, "success", "7f3a9c")
    assert heartbeat.ping(url, "fail", "other", "password=hunter2hunter2 " + "x" * 200_000)
    rid, other = heartbeat.run_uuid("7f3a9c"), heartbeat.run_uuid("other")
    assert [path for path, _, _ in hook.requests] == [
        f"/ping/some-uuid/start?create=1&rid={rid}",
        f"/ping/some-uuid?create=1&rid={rid}",
        f"/ping/some-uuid/fail?create=1&rid={other}",
    ]
    body = hook.requests[-1][2]
    assert b"hunter2" not in body
    assert 90_000 < len(body) <= 100_000


def test_a_heartbeat_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, without the address."""
    assert not heartbeat.ping("http://127.0.0.1:1/very-secret-uuid", "start")
    with answering(lambda _, over: over.wait() and None) as port:
        assert not heartbeat.ping(f"http://127.0.0.1:{port}/very-secret-uuid", "start", seconds=0.2)
    assert not heartbeat.ping("not an address", "start")
    assert len(caplog.records) == 3
    assert "very-secret" not in caplog.text
