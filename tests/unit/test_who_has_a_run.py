"""What is said to who cannot have a run, or its lock."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from ruled import a_spec

from perdure.core.execution.already_running import refused, who
from perdure.core.execution.run_effects import Held, HolderInfo, Locked, Start
from perdure.core.execution.spec import Call
from perdure.core.records import RunRecord
from perdure.errors import AlreadyRunning, Skipped


def refusal(rules: Any, answer: Held | Locked, parent: int | None = None) -> AlreadyRunning:
    spec = a_spec()
    spec.rules = rules
    call = Call(spec, (), {}, b"", b"k")
    start = Start("s.py", "/s.py", "w", b"k", b"", "w-1", parent=parent)
    return refused(call, start, answer)


def test_who_has_a_run_is_said_and_what_to_do() -> None:
    """A script that is begun again has nothing to do then; who needs the result is told how to wait."""
    run = RunRecord(
        0, "r-1", "s.py", "/s.py", "w", bytes(16), True, None, "running", None, 0, b"", None, 1.0, 1.0, None, 0
    )
    by = HolderInfo("token", 77, "host", 1.0)
    record = SimpleNamespace(seq=3, name="charge")
    skips, fails = SimpleNamespace(if_locked="skip"), SimpleNamespace(if_locked="fail")
    held = Held(run, by, None)
    assert type(refusal(skips, held)) is Skipped
    for found in (refusal(fails, held), refusal(skips, held, parent=1)):
        assert type(found) is AlreadyRunning
        assert 'if_locked="wait"' in found.hint
        assert re.fullmatch(r"run r-1 is already running: pid 77 on host since \S+ \S+, no step saved yet", found.what)
    own = refusal(skips, Held(run, None, None))
    assert (type(own), own.what) == (AlreadyRunning, "run r-1 is already running in this process")
    assert "with_options(id=...)" in own.hint
    block = Locked("till", None)
    assert type(refusal(skips, block)) is AlreadyRunning
    assert who(block) == "lock 'till' is taken by this process"
    suspended = Locked("till", None, 1.0, run)
    assert type(refusal(skips, suspended)) is Skipped
    assert who(suspended) == "lock 'till' is taken by run r-1 of workflow 'w', which is suspended"
    assert re.fullmatch(r"lock 'till' is taken: pid 77 on host since \S+ \S+", who(Locked("till", by, 1.0)))
    whole = who(Locked("till", by, 1.0, run, record))  # type: ignore[arg-type]
    assert whole.endswith(", run r-1 of workflow 'w', last saved step: #3 charge")
