"""Commands that execute scripts, each in a process of its own.

So the scripts are loaded as they are now, print nothing into the protocol, and outlive the server: a client that goes
away interrupts no run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence

from perdure.config.interpreter import module_command
from perdure.engines.features import Feature
from perdure.mcp.answers import Answer, item, within
from perdure.operations.deeds import VIA
from perdure.operations.location import Location

TAIL = 4_000
"""Bytes of what a command printed that are shown: the last ones."""

OUTCOMES = {0: "done", 1: "failed", 2: "refused", 3: "done, with dead letters"}
"""By exit code."""

_left: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def carry_out(
    location: Location,
    arguments: Sequence[str],
    named: str,
    wait: float,
    about: Answer,
    outcomes: Mapping[int, str] = OUTCOMES,
) -> Answer:
    """Start a command of perdure, and wait for a while for its end.

    Args:
        location: the state file or the cluster that is meant.
        arguments: the command and its options.
        named: what it is about, such as a run; never taken for an option.
        wait: seconds until it is left to itself.
        about: what else is in the answer.
        outcomes: what its exit codes mean.
    """
    local = location.supports(Feature.STATE_FILE)
    where = ["--state", str(location.path)] if local else ["--engine", location.engine]
    command = module_command("perdure.cli", *arguments, *where, "--", named)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, VIA: "mcp"},
        )
        _reap(process)
        try:
            code = process.wait(wait)
        except subprocess.TimeoutExpired:
            return {**about, "outcome": "under way", "pid": process.pid}
        printed = output.seek(0, 2)
        output.seek(max(printed - TAIL, 0))
        text = output.read().decode("utf-8", "replace")
    outcome = outcomes.get(code, "killed" if code < 0 else "failed")
    return within(item({**about, "outcome": outcome, "exit_code": code}, output=text))


def _reap(started: subprocess.Popen[bytes]) -> None:
    """Keep the process in mind, and forget those that have ended."""
    with _lock:
        _left[:] = [one for one in _left if one.poll() is None]
        _left.append(started)
