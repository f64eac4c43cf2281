"""Why a process ended in the middle of a run: the causes that a flight record holds, and how each is described.

A cause is the name of a signal, "exit N", "oom", "restart", "unknown", "unseen", or "stopped" and the code of an error
of the state file which kept the process from writing there why it ended.
"""

from __future__ import annotations

from typing import Final

ENDED: Final = {
    "SIGKILL": "killed by SIGKILL: from outside, or by the system",
    "SIGTERM": "ended by SIGTERM in the middle of the run",
    "SIGHUP": "ended by SIGHUP: its terminal or session closed",
    "SIGQUIT": "ended by SIGQUIT in the middle of the run",
    "SIGINT": "interrupted (SIGINT)",
    "oom": "the system ran out of memory and killed it",
    "unknown": "its process ended; how is unknown (SIGKILL leaves no trace)",
    "restart": "the machine went down while it ran",
    "unseen": "its process died; how is unknown, since no watchdog watched it",
}
"""Causes from outside the program."""

STOPPED: Final = "stopped "

CRASHED: Final = {
    "SIGSEGV": "segmentation fault (SIGSEGV)",
    "SIGABRT": "aborted (SIGABRT)",
    "SIGBUS": "bus error (SIGBUS)",
    "SIGFPE": "arithmetic error (SIGFPE)",
    "SIGILL": "illegal instruction (SIGILL)",
}
"""Signals that native code raises when it crashes."""


def describe(cause: str, *, sure: bool = True) -> str:
    """A cause as one line of text.

    Args:
        cause: as a flight record holds it.
        sure: whether "oom" is proven for this process, rather than concluded from the counter of the whole machine.
    """
    if cause == "oom" and not sure:
        return f"{ENDED['oom']} (probably: the machine's count of such kills rose at this moment)"
    if cause.startswith("exit "):
        code = cause.removeprefix("exit ")
        return f"the process ended with exit code {code} in the middle of the run, without an exception (os._exit?)"
    if cause.startswith(STOPPED):
        return f"it ended with {cause.removeprefix(STOPPED)}, and could not write that into the state file"
    return CRASHED.get(cause) or ENDED.get(cause) or f"ended by {cause}"


def is_unseen(cause: str) -> bool:
    """Has nobody seen how the process ended, but for what it has said itself?"""
    return cause == "unseen" or cause.startswith(STOPPED)
