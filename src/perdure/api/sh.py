"""Programs that a step runs: `perdure.sh`, and `perdure.aio.sh` in async steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from perdure.core.durations import Duration
from perdure.core.durations import seconds as _seconds

if TYPE_CHECKING:
    from perdure.engines.runtime.command import Program, Words


def sh(
    command: Words | str,
    /,
    *,
    timeout: Duration | None = None,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    stdout: IO[Any] | None = None,
) -> str:
    """Run a program in a step, and wait until it has ended.

    It runs in a session of its own. When the step's attempt ends, in whatever way (the program's end, an error, the
    timeout of the step, a cancelled run, Ctrl-C), all programs of the session's group are ended: with SIGTERM, two
    seconds later with SIGKILL. What it writes is shown on standard error as it comes, with credentials taken out. If
    this process is killed, the program is found and ended before the run goes on (on Linux).

    Args:
        command: the program and its arguments.
        timeout: (seconds, timedelta or text such as "5m") how long it may take; None: as long as the step may.
        shell: `command` is one text, for the shell. Never put what comes from elsewhere into it.
        cwd: its working directory.
        env: its environment, instead of that of this process.
        input: is written to its standard input, which is empty otherwise.
        stdout: a file that its standard output goes to, instead of being returned.

    Returns:
        What it wrote to standard output, as text; bytes that are not UTF-8 are replaced.

    Raises:
        CommandFailed: it ended with another exit code than 0; it is a subprocess.CalledProcessError.
        StepTimeout: it did not end in time.
        OSError: it cannot be started.
        UsageError: called in a workflow outside a step, or with a text without shell=True.
    """
    limit = None if timeout is None else _seconds(timeout, option="timeout")
    return _started(command, shell=shell, cwd=cwd, env=env, given=input, stdout=stdout).wait(limit)


def _started(command: Words | str, **options: Any) -> Program:
    """The program, under way.

    Raises:
        OSError: it cannot be started; one that no more files may be opened says how many, and what to do.
        UsageError: as `Program` does.
    """
    from perdure.config.os_errors import note_used_up

    try:
        from perdure.engines.runtime.command import Program  # here, since most scripts run no programs

        return Program(command, **options)
    except OSError as error:
        note_used_up(error, "a program is started with three pipes")
        raise


async def ash(
    command: Words | str,
    /,
    *,
    timeout: Duration | None = None,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    stdout: IO[Any] | None = None,
) -> str:
    """Run a program in an async step, and wait until it has ended; takes and raises what `perdure.sh` does."""
    import asyncio
    import threading

    from perdure.engines.runtime.loop_futures import settle_future

    limit = None if timeout is None else _seconds(timeout, option="timeout")
    program = _started(command, shell=shell, cwd=cwd, env=env, given=input, stdout=stdout)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()

    def wait() -> None:
        result, error = None, None
        try:
            result = program.wait(limit)
        except BaseException as raised:  # noqa: BLE001  it is the caller's
            error = raised
        with suppress(RuntimeError):  # the loop is closed: its task was left before
            loop.call_soon_threadsafe(settle_future, ended, result or "", error)

    threading.Thread(target=wait, name="perdure-sh", daemon=True).start()
    try:
        return await ended
    except asyncio.CancelledError:
        await asyncio.shield(loop.run_in_executor(None, program.end))  # it is over when the attempt is
        raise
