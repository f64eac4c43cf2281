"""Scripts of runs that are not where they were: moved, renamed or deleted."""

from __future__ import annotations

import os
import shlex
from functools import cache

import msgspec

from perdure.engines.recorded_script import archive_of
from perdure.store import run_pages
from perdure.store.runs import Store

UNFINISHED = ("queued", "suspended", "interrupted", "failed", "parked")
"""How runs stand that a script has to go on with."""

LOOKED_AT = 500
"""Runs of each such status whose scripts are looked for, the newest."""


class GoneScript(msgspec.Struct):
    """A script that is gone: how many unfinished runs it has, and the newest of them."""

    path: str
    run: str
    runs: int = 1


def has_script(path: str) -> bool:
    """Is a run's script a file that can be loaded, rather than a cell of a notebook or a prompt?"""
    return bool(path) and not path.startswith("<") and "ipykernel_" not in path and not path.endswith(".ipynb")


def script_gone(path: str) -> str | None:
    """That the script of a run is not where it was, in words; None if it is, or is a notebook or a prompt."""
    if not has_script(path) or os.path.exists(path):
        return None
    if archive_of(path) is not None:
        return f"its script lies in an archive, of which no command loads it: {path}; run the archive again"
    return f"its script is not there any more: {path}; in the commands, FILE is where it is now"


def go_on(id: str, path: str, option: str = "") -> str:
    """The command that goes on with a run: with FILE, if its script is gone; the archive, if it lies in one."""
    archive = None if os.path.exists(path) or not has_script(path) else archive_of(path)
    if archive is not None:
        return f"python {shlex.quote(str(archive))}"
    return f"perdure resume {shlex.quote(id)}{option}{' FILE' if script_gone(path) else ''}"


def gone_scripts(store: Store) -> list[GoneScript]:
    """The scripts of unfinished runs that are not where they were; each is looked for once.

    Args:
        store: the state file.

    Raises:
        StateError: the file cannot be read.
    """
    looked, found = cache(script_gone), dict[str, GoneScript]()
    for status in ("running", "failed", "suspended", "queued", "parked"):
        for run in run_pages.newest(store, LOOKED_AT, status)[0]:
            if run.superseded or looked(run.path) is None or (status == "running" and store.holding(run)):
                continue
            if run.path in found:
                found[run.path].runs += 1
            else:
                found[run.path] = GoneScript(run.path, run.id)
    return list(found.values())
