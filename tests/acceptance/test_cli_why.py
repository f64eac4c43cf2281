"""`perdure why` and `perdure show` say why a run is not moving: what is in flight, or was when its process died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import SOURCE, Scripts
from perdure.cli import main
from perdure.engines.local import engine
from waiting import until

FLOW = """
    import errno, os, sys, time
    import perdure
    from perdure import Breaker, Retry, step, workflow

    def say(text):
        print(text, flush=True)
        sys.stdin.readline()

    @step
    def first() -> int:
        return 1

    @step(retry=Retry(attempts=5, delay="30s", jitter=0))
    def shaky(item: str) -> None:
        print("tries", flush=True)
        if perdure.attempt() == 1:
            raise ConnectionError("refused\\nby the printer")

    @step(retry=Retry(attempts=5, delay=0, jitter=0))
    def stuck(item: str) -> None:
        if perdure.attempt() == 1:
            raise ConnectionError("once")
        say("stuck")

    @step
    def deadly(item: str) -> None:
        os.kill(os.getpid(), 9)

    @step(retry=Retry(attempts=2, delay=0, jitter=0))
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @step(breaker=Breaker("printer", failures=1, cooldown="10m"), retry=Retry(attempts=3, delay=0, jitter=0))
    def guarded() -> None:
        print("asks", flush=True)
        raise ConnectionError("the printer is off")

    @step
    def locked() -> None:
        with perdure.lock("press", if_locked="wait"):
            pass

    @step(retry=None)
    def odd(n: int) -> int:
        if n % 2:
            raise ValueError("odd")
        return n

    @workflow
    def flow(kind: str) -> None:
        first()
        match kind:
            case "shaky": shaky("a")
            case "stuck": stuck("a")
            case "deadly": deadly("a")
            case "full": full()
            case "guarded": guarded()
            case "locked": locked()
            case "dead": odd.map([1, 2])
            case "own": say("own")
            case "stop": sys.exit(3)
            case "child": child("stuck")
            case "failed child": child("full")

    @workflow
    def child(kind: str) -> None:
        flow(kind)

    @workflow(park_after=1)
    def fragile() -> None:
        full()

    if __name__ == "__main__":
        if sys.argv[1] == "hold":
            with perdure.lock("press"):
                say("held")
        elif sys.argv[1] == "fragile":
            fragile()
        else:
            flow(sys.argv[1])
"""


class Shop:
    """A folder with the script: processes that run it, and what is said of them."""

    def __init__(self, scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
        self.scripts = scripts
        self.script = scripts.write(FLOW, "flow.py")
        self.started: list[subprocess.Popen[str]] = []
        self._capsys = capsys

    def begin(self, kind: str, word: str = "", **env: str) -> subprocess.Popen[str]:
        """Run it, until it says that word."""
        process = self.scripts.start(self.script, kind, **env)
        self.started.append(process)
        if word:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{word}\n"
        return process

    def run(self, kind: str, **env: str) -> int:
        """Run it to its end."""
        process = self.begin(kind, **env)
        process.communicate(timeout=60)
        return process.returncode

    def cancel(self) -> None:
        command = [sys.executable, "-m", "perdure", "cancel", "last", "flow.py"]
        subprocess.run(command, cwd=self.script.parent, env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=True)

    def told(self, *args: str) -> str:
        assert main([*args, "--file", str(self.script)]) == 0
        return self._capsys.readouterr().out

    def why(self, run: str = "last") -> str:
        return self.told("why", run)

    def json(self, *args: str) -> Any:
        return json.loads(self.told(*args, "--json"))

    def until(self, true: Callable[[str], bool]) -> str:
        """What `why` says as soon as that is true of it."""

        def said() -> str:
            code, said = main(["why", "last", "--file", str(self.script)]), self._capsys.readouterr().out
            return said if code == 0 and true(said) else ""

        return until(said)


@pytest.fixture
def shop(scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH", "PERDURE_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    shop = Shop(scripts, capsys)
    yield shop
    for process in shop.started:
        process.kill()
        process.communicate()
    engine.close_all()


def test_a_step_in_flight(shop: Shop) -> None:
    """Who executes the run, which step is in flight with which inputs, at which attempt, and for how long."""
    process = shop.begin("stuck", "stuck")
    said = shop.why()
    assert "is running" in said
    assert f"pid {process.pid} on " in said
    assert "in flight: stuck('a'), attempt 2, for " in said
    assert "perdure show flow-" in said
    assert "perdure cancel flow-" in said
    assert "in flight stuck('a'), attempt 2, for " in shop.told("show", "last")
    (one,) = shop.json("show", "last")["process"]["in_flight"]
    assert (one["step"], one["attempt"], one["inputs"]) == ("stuck", 2, "('a')")
    assert shop.json("show", "last")["process"]["alive"] is True


def test_the_wait_for_the_next_attempt(shop: Shop) -> None:
    """Which call failed at which attempt, how long ago, with the first line of its error."""
    shop.begin("shaky", "tries")
    said = shop.until(lambda said: "failed at attempt" in said)
    assert "shaky('a') failed at attempt 1, " in said
    assert "ago: ConnectionError: refused; it waits for its next attempt" in said
    assert "printer" not in said


def test_the_wait_for_a_breaker(shop: Shop) -> None:
    """The breaker that is open, until when, after which error, and how to close it."""
    shop.begin("guarded", "asks")
    said = shop.until(lambda said: "breaker 'printer'" in said)
    assert "breaker 'printer' is open until " in said
    assert "after ConnectionError: the printer is off" in said
    assert "perdure breaker reset printer" in said


def test_the_wait_for_a_lock(shop: Shop) -> None:
    """Who holds it, and that what needs it waits."""
    holder = shop.begin("hold", "held")
    shop.begin("locked")
    said = shop.until(lambda said: "in flight: locked" in said)
    assert f"lock 'press' is held by pid {holder.pid} on " in said


def test_code_between_steps(shop: Shop) -> None:
    """Nothing is in flight: it says so, and when the last step ended."""
    shop.begin("own", "own")
    assert "no step of it is in flight or has failed (the last one, first, ended " in shop.why()


def test_a_run_that_was_told_to_end(shop: Shop) -> None:
    """It is about to, at its next safe point; until then the step in flight is named."""
    shop.begin("stuck", "stuck")
    shop.cancel()
    said = shop.why()
    assert "is about to end" in said
    assert "it was asked to end " in said
    assert "in flight: stuck('a')" in said
    assert "perdure cancel" not in said


def test_a_death_that_nobody_saw(shop: Shop) -> None:
    """The step it was in and its attempt; that nobody saw how; how often in a row, and from when on it is not tried."""
    assert shop.run("deadly") == -9
    said = shop.why()
    assert "is interrupted" in said
    assert "died, 1 step saved" in said
    assert "how it died is not known" in said
    assert "it died in deadly, attempt 1\n" in said
    assert "perdure resume flow-" in said
    assert shop.run("deadly") == -9
    assert "deadly was in flight at 2 crashes in a row; it is tried again until that has happened 3 times" in shop.why()
    assert shop.run("deadly") == -9
    said = shop.why()
    assert "deadly was in flight at 3 crashes in a row, so it is not tried again" in said
    assert "this kind of failure: crash-loop" in said
    shown = shop.told("show", "last")
    assert "crashes   deadly was in flight at 3 crashes in a row (unseen); is not tried again" in shown
    (suspect,) = shop.json("show", "last")["suspects"]
    assert (suspect["step"], suspect["crashes"], suspect["limit"]) == ("deadly", 3, 3)
    assert shop.run("deadly") == 1
    assert "CrashLoop: " in shop.why()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="how a process died is read from /proc")
def test_a_death_that_was_watched(shop: Shop) -> None:
    """How it died, in which step, at which attempt, for how long, and the most memory that it used."""
    process = shop.begin("stuck", "stuck", PERDURE_ALERTS="exec:/bin/true")
    record = shop.json("show", "last")["process"]
    assert record["memory"] > 1_000_000
    process.kill()
    process.wait()
    shown = shop.told("show", "last")
    assert "died      killed by SIGKILL" in shown
    assert "in flight stuck('a'), attempt 2, for " in shown
    assert "memory    up to " in shown
    said = shop.why()
    assert "killed by SIGKILL" in said
    assert "it died in stuck('a'), attempt 2, for " in said
    assert "it had used up to " in said


def test_a_run_that_was_broken_off(shop: Shop) -> None:
    """Nobody executes it, nothing died, and it can be gone on with."""
    assert shop.run("stop") == 3
    said = shop.why()
    assert "no process executes it: it was interrupted (Ctrl-C, sys.exit, a deploy), 1 step saved" in said
    assert "died" not in said
    assert "go on:    perdure resume flow-" in said


def test_a_failed_run(shop: Shop) -> None:
    """Which step, at which attempt, the error's first line, what kind of failure it is, and whether it may heal."""
    assert shop.run("full") == 1
    said = shop.why()
    assert "has failed" in said
    assert "full() failed at its only attempt, " in said  # a full disk is not tried again
    assert "ago: OSError: [Errno 28] No space left on device" in said
    assert "this kind of failure: disk-full" in said
    assert "1 step saved, and none of them runs again" in said
    assert "perdure resume flow-" in said
    assert shop.json("why", "last")["code"] == "disk-full"


def test_a_child_and_its_parent(shop: Shop) -> None:
    """The parent says what its child has in flight; the child says whose it is, and how that stands."""
    shop.begin("child", "stuck")
    said = shop.why()
    assert "in flight: stuck of child run flow-" in said
    (run,) = shop.json("ps")
    children = [one["id"] for one in shop.json("ps", "--all") if one["id"] != run["id"]]
    said = shop.why(min(children, key=len))
    assert f"it is a child of run {run['id']}, which is running, and goes on when that does" in said
    assert f"perdure why {run['id']}" in said


def test_a_parent_of_a_failed_child(shop: Shop) -> None:
    """It was the child that failed: that is where to look."""
    assert shop.run("failed child") == 1
    said = shop.why()
    assert "its child run flow-" in said
    assert "ago: OSError: [Errno 28]" in said


def test_a_parked_run(shop: Shop) -> None:
    """It was set aside, after which error; and the command that tries it again."""
    assert shop.run("fragile") == 1
    said = shop.why()
    assert "is set aside" in said
    assert "the last time with OSError: [Errno 28]" in said
    assert "perdure dlq redrive 1" in said


def test_runs_that_need_nothing(shop: Shop) -> None:
    """One that is done says so, and what is left of it; one that was cancelled as well."""
    assert shop.run("dead") == 0
    said = shop.why()
    assert "is done, with dead letters" in said
    assert "1 dead letter is left" in said
    assert "perdure dlq redrive --run flow-" in said
    assert shop.run("full") == 1
    shop.cancel()
    assert "was cancelled" in shop.why()
    assert shop.run("none") == 0
    assert "there is nothing to wait for" in shop.why()
    assert shop.json("why", "last")["ways"] == []


def test_json_says_the_same(shop: Shop) -> None:
    """Reasons and commands, under stable names."""
    assert shop.run("full") == 1
    said, data = shop.why(), shop.json("why", "last")
    assert set(data) == {"run", "workflow", "status", "reasons", "ways", "code"}
    assert all(way["command"] in said for way in data["ways"])
    assert data["reasons"][-1].split(";")[0] in said


def test_no_such_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and the exit code is not 0."""
    assert shop.run("none") == 0
    assert main(["why", "nothing", "--file", str(shop.script)]) != 0
    assert "there is no run 'nothing'" in capsys.readouterr().err
