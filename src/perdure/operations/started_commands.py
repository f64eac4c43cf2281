"""Commands that execute scripts, started for somebody who asks from elsewhere: each in a process of its own.

So the scripts are loaded as they are now, print into nobody's protocol, and outlive who asked: a client that goes away
interrupts no run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, Any, Final, Literal

from perdure.config.interpreter import module_command
from perdure.engines.features import Feature
from perdure.operations.deeds import VIA
from perdure.operations.location import Location

SKIPPED: Final = 4
"""The exit code of a command that was started so and has left a run to another process; in a terminal it is 0."""

OUTCOMES: Final = {
    0: "done",
    1: "failed",
    2: "refused",
    3: "done, with dead letters",
    SKIPPED: "skipped",
    75: "suspended",
    130: "interrupted",
}
"""By exit code."""

REDRIVEN: Final = {0: "resolved", 1: "failed", 2: "refused", 3: "failed again, or refused"}
"""By exit code of a redrive."""

_left: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def start(
    location: Location,
    arguments: Sequence[str],
    named: Sequence[str],
    output: IO[Any],
    *,
    via: Literal["page", "mcp"],
    given: bytes = b"",
) -> subprocess.Popen[bytes]:
    """Start a command of perdure; no shell is involved.

    Args:
        location: the state file or the cluster that is meant.
        arguments: the command and its options.
        named: what it is about, such as a run; never taken for options.
        output: a file for all that it prints.
        via: by which way it was asked for, in the deed that it writes down.
        given: what it reads from its standard input; arguments are seen by other users of the machine.

    Raises:
        OSError: no process can be started.
    """
    local = location.supports(Feature.STATE_FILE)
    where = ["--state", str(location.path)] if local else ["--engine", location.engine]
    with tempfile.TemporaryFile() as read:
        read.write(given)
        read.seek(0)
        process = subprocess.Popen(
            module_command("perdure.cli", *arguments, *where, "--", *named),
            stdin=read,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | {VIA: via},
        )
    with _lock:  # kept in mind, so that it is reaped when it has ended
        _left[:] = [one for one in _left if one.poll() is None]
        _left.append(process)
    return process
