"""What a victim tells the outside world: one line for every effect, every result seen, and the end.

Each line goes to the ledger (`O_APPEND`, one `write`, so it is whole or absent and survives the process) and then to
the parent's pipe, which only uses it to time its kill. The ledger is the evidence.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import perdure

_LIFE = int(os.environ.get("CRASH_LIFE", "0"))
_DIE_AT = int(os.environ.get("CRASH_DIE_AT", "0"))
_LEDGER = os.open(os.environ["CRASH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
_PIPE = os.open(os.environ["CRASH_PIPE"], os.O_WRONLY) if "CRASH_PIPE" in os.environ else -1

_count = 0
_lock = threading.Lock()
listeners: list[Callable[[bytes], None]] = []


def say(what: str, **fields: Any) -> None:
    """Write one line."""
    global _count
    line = (
        json.dumps({"life": _LIFE, "pid": os.getpid(), "what": what, **fields}, separators=(",", ":")).encode() + b"\n"
    )
    with _lock:
        _count += 1
        os.write(_LEDGER, line)
        for listen in listeners:
            listen(line)
        if _PIPE >= 0:
            with suppress(BrokenPipeError):  # of a process that outlives the victim that started it
                os.write(_PIPE, line)
        if _count == _DIE_AT and _first_of_life():
            os.kill(os.getpid(), signal.SIGKILL)


def _first_of_life() -> bool:
    """Of the processes of one life (a worker's, a step's own), each of which counts its lines, one is killed."""
    try:
        os.close(os.open(f"{os.environ['CRASH_LEDGER']}.{_LIFE}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def effect(step: str, item: object) -> str:
    """Inside a step: the side effect. Returns a token that no other execution ever returns."""
    token = os.urandom(6).hex()
    key = str(perdure.idempotency_key())
    say("ran", step=step, item=str(item), key=key, attempt=perdure.attempt(), token=token)
    return token


def bare_effect(step: str, item: object, key: str = "") -> str:
    """The same for controls that are no steps, or make up a key of their own."""
    token = os.urandom(6).hex()
    say("ran", step=step, item=str(item), key=key, attempt=1, token=token)
    return token


def seen(step: str, item: object, value: tuple[int, str]) -> int:
    """Inside a workflow: this result is visible here. Returns the part that is the same in every run."""
    say("seen", step=step, item=str(item), value=list(value))
    return value[0]


def settled(step: str, item: object) -> None:
    """The workflow has moved past a failure of this step: it must not run again."""
    say("settled", step=step, item=str(item))


def serve(script: str) -> None:
    """Let a worker execute what is due. If it is killed, so is this life: the next would be killed too."""
    worker = [sys.executable, "-m", "perdure", "worker", script, "--once", "--processes", "2"]
    status = subprocess.run(worker, check=False).returncode
    if status == -signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if status:
        sys.exit(f"the worker ended with status {status}")


def end(result: object) -> None:
    """The workflow has returned."""
    say("end", value=result)
