"""How deep workflows may be nested: a child that Python's stack has no room for is refused before it begins."""

from __future__ import annotations

import sys

from perdure.errors import StopRun, UsageError

ROOM = 200
"""Frames that a child workflow and its steps can count on."""


def check_headroom(owner: str) -> None:
    """Is there room for one more child?

    Raises:
        StopRun: no; the runs are stopped where they are, with nothing half done.
    """
    try:
        _descend(ROOM)  # counting frames would not do: some calls of C code count as well
        return
    except RecursionError:
        pass
    raise StopRun(
        UsageError(
            f"{owner} is called too deep: workflows call each other in a chain that Python's recursion limit "
            f"({sys.getrecursionlimit()}) has no room for",
            "call the workflows one after the other from one parent, with a loop, or raise sys.setrecursionlimit()",
        )
    )


def _descend(depth: int) -> None:
    if depth:
        _descend(depth - 1)
