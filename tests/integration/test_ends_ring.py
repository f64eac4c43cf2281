"""Who waits for the end of a run is woken by its end, and the bells of a file are all found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import warm
from perdure.core.records import RunRecord
from perdure.engines.local import run_ends
from perdure.store.bell import ENDS, Bell
from perdure.store.liveness import locks_of
from perdure.store.runs import Store
from waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")

ENDLESS = 1e6
"""Seconds: who waits so long for what does not come is found by the limit of the whole test."""

CANCEL = """
import sys
from pathlib import Path
from perdure.store.runs import Store

store = Store(Path(sys.argv[1]))
store.journal.write((), lambda at: store.put_run(at, store.run_in(at, 1), status="cancelled", ended=1.8e9) and None)
store.close()
"""

RING_TWICE = """
import sys
from pathlib import Path
from perdure.store.bell import ENDS, ring

ring(Path(sys.argv[1]), ENDS)
print("rung", flush=True)
sys.stdin.readline()
ring(Path(sys.argv[1]), ENDS)
"""


def test_an_end_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The future of a run is done when another process has ended the run, without a look at the file meanwhile."""
    monkeypatch.setattr(run_ends, "LOOK_SECONDS", ENDLESS)
    state = tmp_path / "state.db"
    store = Store(state)
    names = (0, "left", "app.py", "/srv/app.py", "job", bytes(16), True, None, "running", None, 0, b"", None)
    store.journal.write((), lambda at: store.insert_run(at, RunRecord(*names, 1.8e9, 1.8e9, None, 0)))
    future = run_ends.ends_at(state).ending("left")
    said = ""

    def looked() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "run left is waited for" in said

    until(looked, "a look at the run")
    assert not future.done()
    warm.run([sys.executable, "-c", CANCEL, str(state)], check=True)
    assert future.result(ENDLESS).status == "cancelled"
    store.close()


def test_a_bell_that_was_hung_up_after_the_last_ring(tmp_path: Path) -> None:
    """A process that has found no bells in a folder which has not changed for a while finds a new one there."""
    state = tmp_path / "state.db"
    Store(state).close()
    locks_of(state).mkdir(exist_ok=True)
    os.utime(locks_of(state), (1.8e9 - 3e8, 1.8e9 - 3e8))
    ringer = warm.Popen(
        [sys.executable, "-c", RING_TWICE, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert ringer.stdout is not None
    assert ringer.stdout.readline() == "rung\n"
    bell = Bell(state, every=ENDLESS, suffix=ENDS)
    with bell, bell.listen() as ear:
        ringer.communicate("\n")
        assert ear.wait(ENDLESS)
