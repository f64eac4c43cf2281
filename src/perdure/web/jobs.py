"""Jobs: commands that the page has started, and what they print. What a user's script does, this server never does."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import IO, Any, Final

import msgspec

from perdure.core.timestamps import moment
from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.operations.started_commands import OUTCOMES, start

KEPT: Final = 100
"""Jobs that are remembered, the newest; those under way always."""

TAIL: Final = 60_000
"""Bytes of what a job printed that are shown: the last ones."""


class Job(msgspec.Struct, frozen=True):
    """A command that was started, and what became of it.

    Attributes:
        id: what it goes by, as long as the server lives.
        command: what does the same in a terminal.
        about: the run that it is about; empty: several, or letters.
        began: when it was started.
        ended: when it ended; None: it is under way.
        outcome: "under way", "killed", or what its exit code means: "done", "failed", "refused",
            "suspended" (it waits, and goes on later), "skipped" (another process has the run).
        exit_code: the command's; negative: the number of the signal that killed it.
        output: the end of what it has printed.
    """

    id: str
    command: str
    about: str
    began: datetime | None
    ended: datetime | None
    outcome: str
    exit_code: int | None
    output: str


class _Started:
    def __init__(
        self,
        command: str,
        about: str,
        outcomes: Mapping[int, str],
        process: subprocess.Popen[bytes],
        output: IO[Any],
    ) -> None:
        self.command = command
        self.about = about
        self.outcomes = outcomes
        self.process = process
        self.output = output
        self.began = time.time()
        self.ended: float | None = None
        self.watch = threading.Thread(target=self._watch, name="perdure-job", daemon=True)
        self.watch.start()

    def _watch(self) -> None:
        """Note when it ends, whether or not anybody looks."""
        self.process.wait()
        self.ended = time.time()


class Jobs:
    """The jobs of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, _Started] = OrderedDict()

    def start(
        self,
        location: Location,
        arguments: Sequence[str],
        named: Sequence[str],
        about: str = "",
        outcomes: Mapping[int, str] = OUTCOMES,
        given: bytes = b"",
    ) -> Job:
        """Start a command of perdure.

        Args:
            location: the state file.
            arguments: the command and its options.
            named: what it is about; never taken for options.
            about: the run that it is about.
            outcomes: what its exit codes mean.
            given: what it reads from its standard input.

        Raises:
            OSError: no process can be started.
        """
        output = tempfile.TemporaryFile()  # noqa: SIM115  closed when the job is forgotten
        try:
            process = start(location, arguments, named, output, via="page", given=given)
        except BaseException:
            output.close()
            raise
        told = f"perdure {shlex.join((*arguments, *named))}{location.option}"
        id = secrets.token_hex(8)
        with self._lock:
            self._jobs[id] = _Started(told, about, outcomes, process, output)
            over = [old for old, job in self._jobs.items() if job.process.poll() is not None]
            for old in over[: max(len(self._jobs) - KEPT, 0)]:
                self._jobs.pop(old).output.close()
            return self._view(id)

    def get(self, id: str) -> Job:
        """One of them.

        Raises:
            NotFound: there is none; it was forgotten, or the server was started anew.
        """
        with self._lock:
            if id not in self._jobs:
                raise NotFound(f"there is no job {id}", "see the run: what the command did stands there")
            return self._view(id)

    def newest(self) -> list[Job]:
        """All that are remembered, the newest first."""
        with self._lock:
            return [self._view(id) for id in reversed(self._jobs)]

    def _view(self, id: str) -> Job:
        job = self._jobs[id]
        ended = job.ended  # read once: it may end while this is put together
        code = None if ended is None else job.process.returncode
        outcome = "under way" if code is None else job.outcomes.get(code, "killed" if code < 0 else "failed")
        printed = os.fstat(job.output.fileno()).st_size
        text = os.pread(job.output.fileno(), TAIL, max(printed - TAIL, 0)).decode("utf-8", "replace")
        return Job(id, job.command, job.about, moment(job.began), moment(ended), outcome, code, text)
