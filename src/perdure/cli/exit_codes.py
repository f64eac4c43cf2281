"""What the exit codes say."""

from __future__ import annotations

DONE = 0
"""Also: skipped, because another process runs it."""
FAILED = 1
USAGE = 2
DEAD_LETTERS = 3
"""The run is done; some items became dead letters."""
SUSPENDED = 75
"""All branches of the run wait: it holds nothing but rows until it goes on (EX_TEMPFAIL)."""
INTERRUPTED = 130
"""By Ctrl-C, as shells have it: 128 + SIGINT."""
