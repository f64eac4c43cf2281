"""Commands that execute scripts, and how much of their end a tool waits for."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from perdure.mcp.answers import Answer, item, within
from perdure.operations.location import Location
from perdure.operations.started_commands import OUTCOMES, start

TAIL = 4_000
"""Bytes of what a command printed that are shown: the last ones."""


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
    with tempfile.TemporaryFile() as output:
        process = start(location, arguments, [named], output, via="mcp")
        try:
            code = process.wait(wait)
        except subprocess.TimeoutExpired:
            return {**about, "outcome": "under way", "pid": process.pid}
        printed = output.seek(0, 2)
        output.seek(max(printed - TAIL, 0))
        text = output.read().decode("utf-8", "replace")
    outcome = outcomes.get(code, "killed" if code < 0 else "failed")
    return within(item({**about, "outcome": outcome, "exit_code": code}, output=text))
