"""When the command of a job has ended is noted then, not when somebody looks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import replace
from perdure.core.timestamps import moment
from perdure.operations.location import Location
from perdure.web import jobs


def test_the_end_of_a_job_is_when_it_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However much later it is looked at; and it is under way as long as that is not noted."""
    now = [5.0]
    replace(monkeypatch, jobs.time, "time", lambda: now[0])

    def start(*about: Any, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    monkeypatch.setattr(jobs, "start", start)
    server = jobs.Jobs()
    id = server.start(Location(tmp_path / "state.db", "a test"), ["resume"], ["r1"]).id
    started = server._jobs[id]
    assert (server.get(id).ended, server.get(id).outcome) == (None, "under way")
    now[0] = 6.0
    fstat = jobs.os.fstat

    def ends(descriptor: int) -> Any:
        if started.ended is None:
            started.process.communicate(b"\n")
            started.watch.join()
        return fstat(descriptor)

    replace(monkeypatch, jobs.os, "fstat", ends)
    seen = server.get(id)
    assert (seen.ended, seen.outcome) == (None, "under way"), "it ended while it was looked at"
    now[0] = 99.0
    seen = server.get(id)
    started.output.close()
    assert (seen.began, seen.ended, seen.outcome) == (moment(5.0), moment(6.0), "done")
