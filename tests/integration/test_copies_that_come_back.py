"""A process that a step has forked, and that returns from the step instead of ending."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, threading
from perdure.engines.runtime.threads import Pool

over = threading.Event()

def forks():
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        over.set()

Pool().spawn(forks)
assert over.wait(60)
"""


def test_it_ends_instead_of_waiting_for_work() -> None:
    """Whoever has forked it waits for it: it has none of the threads that would give it something to do."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.stdout == "1\n", done.stderr
    assert "came back out of it" in done.stderr
