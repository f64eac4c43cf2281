"""T13: no error of the state's files ends the clock of a worker."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from perdure.engines.local.worker.executors import Crew
from perdure.engines.local.worker.options import Options
from perdure.engines.local.worker.sparing import Sparing
from perdure.engines.local.worker.state_access import StateAccess
from perdure.engines.local.worker.supervisor import Supervisor
from perdure.engines.local.worker.waker import Waker
from perdure.errors import DiskFull, StateBusy, StateError
from perdure.store import liveness
from perdure.store.runs import Store


def test_a_lock_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a process is dead is asked again later; it is said."""
    said: list[str] = []
    state = tmp_path / "state.db"
    supervisor = Supervisor(Options(state, []), ready=lambda *_: "", say=said.append, broken=lambda _: None)
    supervisor._store = StateAccess(state, said.append)
    other = liveness.Liveness(state)
    supervisor._deaths._tokens = {other.show()}
    supervisor._stale = supervisor._rung = False

    def fails(descriptor: int) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(liveness, "is_free", fails)
        supervisor._look_at_runs()
    assert said[0].startswith("the state file cannot be used, it is tried again"), said
    other.close()
    supervisor._store.close()


def test_an_executor_that_the_worker_has_ended_is_no_crash(tmp_path: Path) -> None:
    """It loaded a script that was edited once more meanwhile: that is no line, as it is of one that is killed."""
    said: list[str] = []
    crew = Crew(Options(tmp_path / "state.db", [], once=True), said.append, Waker())
    for ended_by_us in (True, False):
        member = crew.start()
        crew.coming.append(member)
        if ended_by_us:
            member.kill()
        else:
            os.kill(member.pid, signal.SIGKILL)
        member._process.wait()
        crew.reap()
        assert said == ([] if ended_by_us else [f"executor {member.pid} ended with SIGKILL"])


def test_a_worker_that_does_what_is_due_ends_when_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `once` it fails, if the disk is full say; not for another process that keeps the file for a while."""
    state = tmp_path / "state.db"
    for once, trouble, fails in [
        (True, DiskFull("it is full"), True),
        (True, StateBusy("it is kept"), False),
        (False, DiskFull("it is full"), False),
    ]:
        said: list[str] = []
        options = Options(state, [], once=once)
        supervisor = Supervisor(options, ready=lambda *_: "", say=said.append, broken=lambda _: None)
        supervisor._store = StateAccess(state, said.append)

        def refuse(store: Store, trouble: StateError = trouble) -> bool:
            raise trouble

        assert not supervisor._fails()
        monkeypatch.setattr(supervisor, "_refresh", refuse)
        supervisor._look_at_runs()
        assert supervisor._fails() is fails
        supervisor._store.close()


def test_what_is_tried_again_and_again_is_said_less_and_less() -> None:
    """The line comes with how often it was; after a quiet while it is news again."""
    said: list[str] = []
    time = 0.0
    say = Sparing(said.append, lambda: time)
    for _ in range(40):
        say("no space")
        time += 30.0
    assert len(said) == 6
    assert said[:2] == ["no space", "no space (2 times until now)"]
    time += 1_000.0
    say("no space")
    assert said[-1] == "no space"
