"""When and how one life is ended."""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

# Every call that changes a file, a folder or a lock that a run may use. strace counts each of them on its own, in
# each thread on its own.
MUTATING = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "link", "rename", "mkdir", "flock")


@dataclass(frozen=True)
class Kill:
    """How one life ends.

    Args:
        kind: 'point' kills itself right after line `at` of the ledger; 'event' is killed from outside `spin` seconds
            after line `at`; 'time' after `spin` seconds; 'call' on entering the `at`-th system call `call` of a
            thread (strace); 'none' lives on.
        at: a count from 1.
        spin: seconds.
        call: the name of the system call.
        fresh: in an interpreter of its own instead of a fork of a warm one.
    """

    kind: str = "none"
    at: int = 0
    spin: float = 0.0
    call: str = ""
    fresh: bool = False

    def __str__(self) -> str:
        return f"{self.call or self.kind}@{self.at}+{self.spin * 1000:.2f}ms{' fresh' if self.fresh else ''}"


def at_random(rng: random.Random, lines: int) -> Kill:
    """A kill somewhere in a life of about `lines` ledger lines, most often close to an event."""
    kind = rng.choices(("point", "event", "time"), (3, 5, 2))[0]
    fresh = rng.random() < 0.02
    if kind == "time":
        return Kill("time", spin=rng.uniform(0.0, 0.15 if fresh else 0.06), fresh=fresh)
    at = rng.randint(1, max(1, lines))
    return Kill(kind, at, rng.expovariate(1 / 0.0006) if kind == "event" else 0.0, fresh=fresh)


def random_chain(rng: random.Random, lines: int) -> list[Kill]:
    """One to five kills, the later ones closer to where their life starts, since less is left to do."""
    count = rng.choice((1, 1, 2, 3, 5))
    return [at_random(rng, max(2, lines // count)) for _ in range(count)]


def strace(call: str, at: int, effect: str = "signal=SIGKILL", *, trace: str = os.devnull) -> list[str]:
    """The command that applies `effect` to the `at`-th such call of any one thread; what is traced is added to it.

    Not with --seccomp-bpf, though it would be faster: under it strace 6.1 does not inject signals.
    """
    # The question mark: a call that this machine's kernel does not have is never made, which is no error.
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        trace,
        "-e",
        f"trace=?{call}",
        "-e",
        f"inject=?{call}:{effect}:when={at}",
    ]


@functools.cache
def no_strace() -> str:
    """Why strace cannot be used here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with tempfile.TemporaryFile() as file:
        probe = [sys.executable, "-c", f"import os; os.fsync({file.fileno()})"]
        traced = subprocess.run(
            [*strace("fsync", 1), *probe],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            pass_fds=[file.fileno()],
        )
    return "" if traced.returncode in (-9, 137) else f"strace may not trace here: {traced.stderr.strip()}"
