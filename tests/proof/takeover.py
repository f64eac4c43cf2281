"""Holds a lock, once it has it: says when it wants it, and when it has it, on the clock that processes share.

With UNLOCKED set, locks are granted to whoever asks: a control.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from perdure.api.lock import lock

if __name__ == "__main__":
    if "UNLOCKED" in os.environ:
        fcntl.flock = lambda descriptor, operation: None
    with lock("warm"):  # everything is imported, the state file is open
        pass
    print("wants", flush=True)
    with lock("contended", if_locked="wait"):
        print(time.monotonic(), flush=True)
        sys.stdin.readline()
