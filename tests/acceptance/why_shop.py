"""A script whose runs wait, die, fail and end, and what `perdure why` and `perdure show` print about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import warm
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

    @step(breaker=Breaker("gate", failures=2, cooldown="1h"), retry=Retry(attempts=5, delay=0, jitter=0, total="1s"))
    def refused() -> None:
        raise ConnectionError("no answer")

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
            case "refused": refused()
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
    """A folder with the script: processes that run it, and what is printed about them."""

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
            said = process.stdout.readline()
            assert said == f"{word}\n", said or process.communicate()
        return process

    def run(self, kind: str, **env: str) -> int:
        """Run it to its end."""
        process = self.begin(kind, **env)
        process.communicate(timeout=60)
        return process.returncode

    def cancel(self) -> None:
        command = [sys.executable, "-m", "perdure", "cancel", "last", "flow.py"]
        warm.run(command, cwd=self.script.parent, env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=True)

    def printed(self, *args: str) -> str:
        assert main([*args, "--file", str(self.script)]) == 0
        return self._capsys.readouterr().out

    def why(self, run: str = "last") -> str:
        return self.printed("why", run)

    def json(self, *args: str) -> Any:
        return json.loads(self.printed(*args, "--json"))

    def until(self, true: Callable[[str], bool]) -> str:
        """What `why` says as soon as that is true of it."""

        def said() -> str:
            code, said = main(["why", "last", "--file", str(self.script)]), self._capsys.readouterr().out
            return said if code == 0 and true(said) else ""

        return until(said)


@contextmanager
def opened(scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop whose processes are gone afterwards."""
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH", "PERDURE_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    shop = Shop(scripts, capsys)
    try:
        yield shop
    finally:
        for process in shop.started:
            process.kill()
            process.communicate()
        engine.close_all()
