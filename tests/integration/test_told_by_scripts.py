"""What real scripts have told of their runs: failures, dead letters, hangs, what is well again, what cannot begin."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sinks import Sink, answering, serving

from conftest import SOURCE, Scripts

PATIENCE = 15.0
LOOK = 0.01

SCRIPT = """
import asyncio, os, signal, sys, time
import perdure
from perdure import Retry, step, workflow
from pathlib import Path

HOOK = os.environ["HOOK"]
ONCE = Retry(attempts=2, delay=0.001, jitter=0)


class CardDeclined(Exception):
    pass


@step
def fetch(n):
    return n


@step(retry=ONCE)
def charge(n):
    if Path("fail").exists():
        raise CardDeclined("card 4 declined\\nand a second line")
    if Path("die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@workflow(alert=HOOK)
def nightly():
    return charge(fetch(1))


@workflow(alert=HOOK)
def batch():
    return len(charge.map([1, 2, 3]).results)


@workflow(alert=HOOK)
def drifting():
    fetch(os.environ["N"])
    charge(1)


@workflow(alert=HOOK)
def quiet():
    print("waiting", flush=True)
    while True:
        fetch(time.time())
        time.sleep(0.02)


@step(timeout="30s")
def slow(n):
    print("waiting", flush=True)
    for done in range(60):
        perdure.progress(done, 60)
        time.sleep(0.02)


@workflow(alert=HOOK, stall="0.5s")
def slowly():
    slow(1)
    print("done", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


def told(hook: Sink) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in list(hook.requests)]


def told_in_time(hook: Sink, count: int) -> list[dict[str, Any]]:
    """What has been told, once there is so much of it."""
    until = time.monotonic() + PATIENCE
    while len(hook.requests) < count and time.monotonic() < until:
        time.sleep(LOOK)
    return told(hook)


class Shop:
    """The script in a folder, with whom to tell."""

    def __init__(self, scripts: Scripts, hook: Sink) -> None:
        self.hook = hook
        self.scripts = scripts
        self.path = scripts.write(SCRIPT, "shop.py")
        self.folder = scripts.folder

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, and to that of all who tell of it."""
        ended = self.scripts.run(self.path, *args, HOOK=f"http://{self.hook.address}/x", **env)
        self.settle()
        return ended

    def settle(self) -> None:
        until = time.monotonic() + PATIENCE
        while _mentioned(self.folder) and time.monotonic() < until:
            time.sleep(LOOK)

    def perdure(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(SOURCE), "HOOK": f"http://{self.hook.address}/x"}
        return subprocess.run(
            [sys.executable, "-m", "perdure", *words], cwd=self.folder, env=env, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()


def _mentioned(folder: Path) -> bool:
    """Does a process live that was started with that folder in its command?"""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    return True
            except OSError:
                continue
    return False


@pytest.fixture
def shop(scripts: Scripts, hook: Sink) -> Shop:
    return Shop(scripts, hook)


def test_a_failed_run(shop: Shop, hook: Sink) -> None:
    """One alert: step, attempt, the first line of the error, what is saved; and its commands work when typed."""
    shop.touch("fail")
    assert shop.run("nightly").returncode == 1
    (alert,) = told(hook)
    assert (alert["what"], alert["level"], alert["step"], alert["attempt"]) == ("failed", "error", "charge", 2)
    assert alert["text"].splitlines()[1] == "CardDeclined: card 4 declined"
    assert "second line" not in alert["text"]
    assert alert["saved"] == 1
    see, go_on = (shlex.split(command) for _, command in alert["commands"])
    shown = shop.perdure(*see[1:])
    assert (shown.returncode, "card 4 declined" in shown.stdout) == (0, True)
    shop.remove("fail")
    assert shop.perdure(*go_on[1:]).returncode == 0
    shop.settle()
    assert [(each["what"], each["level"]) for each in told(hook)] == [("failed", "error"), ("recovered", "info")]


def test_failing_again_is_counted_and_told_when_it_is_well(shop: Shop, hook: Sink) -> None:
    """Three failures of the same kind are one alert, and the good news has the count."""
    shop.touch("fail")
    for _ in range(3):
        shop.run("nightly")
    shop.remove("fail")
    assert shop.run("nightly").returncode == 0
    assert [(each["what"], each["repeated"]) for each in told(hook)] == [("failed", 0), ("recovered", 2)]


def test_dead_letters_are_a_warning(shop: Shop, hook: Sink) -> None:
    """The run is done; its commands list and re-drive them."""
    shop.touch("fail")
    shop.run("batch")
    (alert,) = told(hook)
    assert (alert["what"], alert["level"]) == ("dead-letters", "warning")
    assert "3 items became dead letters" in alert["text"]
    see, again = (shlex.split(command) for _, command in alert["commands"])
    assert shop.perdure(*see[1:]).stdout.count("charge") >= 3
    shop.remove("fail")
    assert shop.perdure(*again[1:]).returncode == 0


def test_killed_resumed_and_well(shop: Shop, hook: Sink) -> None:
    """One alert of the death over crash, restart and resumption; then that it is well again; then no more."""
    shop.touch("die")
    assert shop.run("nightly").returncode == -signal.SIGKILL
    assert [each["what"] for each in told(hook)] == ["killed"]
    shop.remove("die")
    assert shop.run("nightly").returncode == 0
    assert [each["what"] for each in told(hook)] == ["killed", "recovered"]
    assert shop.run("nightly").returncode == 0
    assert len(told(hook)) == 2


def test_a_clean_end_is_silent(shop: Shop, hook: Sink) -> None:
    """Nothing is told, and nothing is left on the disk of it."""
    assert shop.run("nightly").returncode == 0
    assert told(hook) == []
    assert not list((shop.folder / ".perdure").glob("*-alerts"))
    assert list((shop.folder / ".perdure" / "state.db-flight").iterdir()) == []


def test_cancelled_is_silent(shop: Shop, hook: Sink) -> None:
    """Somebody wanted that."""
    process = shop.scripts.start(shop.path, "quiet", HOOK=f"http://{hook.address}/x")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert shop.perdure("cancel", "last").returncode == 0
    process.communicate(timeout=30)
    shop.settle()
    assert told(hook) == []


def test_drift(shop: Shop, hook: Sink) -> None:
    """A run that stops since the script was edited is told of by its code."""
    shop.touch("fail")
    shop.run("drifting", N="1")
    assert shop.run("drifting", N="2").returncode == 1
    assert [(each["what"], each["code"]) for each in told(hook)] == [("failed", ""), ("failed", "code-drift")]


@pytest.mark.parametrize("how", ["garbage", "a folder that is none"])
def test_a_state_file_that_cannot_be_used(how: str, shop: Shop, hook: Sink, tmp_path: Path) -> None:
    """Critical, once in a while however often it is tried, also where nothing can be written beside it."""
    place = tmp_path / "place"
    if how == "garbage":
        place.mkdir()
        (place / "state.db").write_bytes(b"not a state file " * 100)
    else:
        place.write_text("a file")
    for _ in range(3):
        ended = shop.run("nightly", PERDURE_STATE=str(place / "state.db"), TMPDIR=str(tmp_path))
        assert ended.returncode == 1
    (alert,) = told(hook)
    assert (alert["what"], alert["level"]) == ("state-unusable", "critical")
    assert alert["code"].startswith("state-")
    assert "cannot use its state file" in alert["title"]


def test_progress_is_no_hang(shop: Shop, hook: Sink) -> None:
    """A step that says how far it has come, for longer than the stall bound."""
    ended = shop.run("slowly")
    assert ended.returncode == 0, ended.stderr
    assert told(hook) == []


def test_a_run_without_targets_pays_for_nothing(scripts: Scripts) -> None:
    """`import perdure` loads nothing of alerts; a run without targets loads only what finds out that there are none."""
    path = scripts.write(
        """
        import sys
        from perdure import step, workflow
        assert not [name for name in sys.modules if name.startswith("perdure.alerts")]
        @step
        def one(n):
            return n
        @workflow
        def plain():
            return one.map(range(3)).ok and one(7)
        plain()
        print(sorted(name for name in sys.modules if name.startswith("perdure.alerts")))
        """
    )
    ended = scripts.run(path)
    assert (ended.stdout, ended.stderr) == ("['perdure.alerts', 'perdure.alerts.recipients']\n", "")


# -- breakers ---------------------------------------------------------------------------------------------------------

BREAKER = """
import os
from pathlib import Path
from perdure import Breaker, Retry, step, workflow

SICK = Breaker("stripe", failures=1, cooldown=0.1)


@step(breaker=SICK, retry=Retry(attempts=1000, delay=0.02, factor=1, jitter=0, total="20s"))
def charge(n):
    if Path("sick").exists():
        raise ConnectionError("the service is down")
    return n


@workflow(alert=os.environ["HOOK"])
def nightly():
    print("waiting", flush=True)
    charge(1)


nightly()
"""


def test_a_breaker_that_stays_open(scripts: Scripts, hook: Sink) -> None:
    """A warning, once for two processes that wait for it, while they wait; and once that it has closed."""
    path = scripts.write(BREAKER)
    (scripts.folder / "sick").touch()
    env = {"HOOK": f"http://{hook.address}/x", "PERDURE_ALERT_BREAKER_AFTER": "0.4s"}
    first = scripts.start(path, **env)
    other = scripts.start(scripts.write(BREAKER, "other.py"), **env)
    alerts = told_in_time(hook, 1)
    assert [(alert["what"], alert["level"]) for alert in alerts] == [("breaker-open", "warning")]
    assert "stripe" in alerts[0]["text"]
    assert "the service is down" in alerts[0]["text"]
    assert first.poll() is None
    (scripts.folder / "sick").unlink()
    for process in (first, other):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    told_in_time(hook, 2)
    until = time.monotonic() + PATIENCE
    while _mentioned(scripts.folder) and time.monotonic() < until:
        time.sleep(LOOK)
    assert [alert["what"] for alert in told(hook)] == ["breaker-open", "recovered"]


# -- heartbeats -------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(("fails", "last"), [("0", "/check"), ("1", "/check/fail")])
def test_heartbeats(fails: str, last: str, scripts: Scripts, hook: Sink) -> None:
    """Start, then success or failure, in the form of healthchecks.io, tied together by one UUID."""
    scripts.run(scripts.write(BEATING), fails, BEAT=f"http://{hook.address}/check")
    paths = [path for path, _, _ in hook.requests]
    (first, _, start), (end, _, finish) = [path.partition("?") for path in paths]
    assert (first, end) == ("/check/start", last)
    assert start == finish
    assert start.startswith("rid=")


def test_a_deaf_heartbeat_delays_the_end_a_little(scripts: Scripts) -> None:
    """By 5 s at most, however long the service takes."""
    path = scripts.write(BEATING)
    with answering(lambda connection, over: over.wait(30) and None) as port:
        began = time.monotonic()
        ended = scripts.run(path, "0", BEAT=f"http://127.0.0.1:{port}/check")
        took = time.monotonic() - began
    assert ended.returncode == 0, ended.stderr
    assert took < 5 + 2  # and Python's own start
