"""Scripts that hold, wait for and lose locks, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from conftest import Scripts

BLOCK = """
    import sys
    from perdure.api.lock import lock

    with lock("nightly", if_locked=sys.argv[1]) as held:
        print("entered", held.fence, flush=True)
        sys.stdin.readline()
    print("left", flush=True)
"""

LOCKED = """
    import asyncio, sys
    import perdure

    @perdure.step
    def first() -> int:
        return 1

    @perdure.step(timeout=None)
    def wait(name: str) -> str:
        print("waiting", flush=True)
        sys.stdin.readline()
        return name

    @perdure.workflow(lock="nightly")
    def nightly(name: str) -> str:
        first()
        return wait(name)

    @perdure.workflow(lock="nightly")
    async def hourly(name: str) -> str:
        return name

    @perdure.workflow
    def unlocked(name: str) -> str:
        return wait(name)

    @perdure.workflow
    def parent(name: str) -> str:
        return nightly(name)

    if __name__ == "__main__":
        called = globals()[sys.argv[1]](sys.argv[2])
        print("result", asyncio.run(called) if asyncio.iscoroutine(called) else called)
"""


def said(process: Any) -> str:
    return str(process.stdout.readline().strip())


def waits(process: Any) -> str:
    """The line in which it says that it waits, and for whom."""
    line = process.stderr.readline()
    if "perdure: loads " in line:
        line = process.stderr.readline()
    assert "wait" in line, line
    return str(line)


def killed(process: Any) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(60)


class Started(Scripts):
    """Scripts in a folder; whatever still runs at the end of a test is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, path: Path, *args: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        self.processes.append(super().start(path, *args, cwd=cwd, **env))
        return self.processes[-1]


def started(folder: Path) -> Iterator[Started]:
    """What a test's fixture is: scripts in a folder, whose processes do not outlive the test."""
    begun = Started(folder / "scripts")
    yield begun
    for process in begun.processes:
        process.kill()
        with suppress(ValueError):  # it was communicated with before
            process.communicate()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
