"""An executor that is killed at its commits, with several runs in each: no run is lost, none begins unclaimed."""

from __future__ import annotations

import signal
import threading

import pytest
from worker_world import World, world

from perdure.engines.local.worker.executors import Member
from perdure.engines.local.worker.messages import FromExecutor, Idle, Leave, Orders
from waiting import until

__all__ = ["world"]

SCRIPT = """
    import os, signal
    from pathlib import Path
    import perdure
    from perdure.store.group_commit import Journal

    LEDGER = Path(__file__).parent / "ledger"

    @perdure.workflow
    def numbered(run: str) -> str:
        with open(LEDGER, "a") as ledger:
            ledger.write(f"{run}\\n")
        return run

    in_turn, commits = Journal._in_turn, 0
    at, where = int(os.environ["KILLED_AT"]), os.environ["KILLED"]

    def counted(self, batch):
        global commits
        commits += any(type(entry.operation).__name__ == "Claim" for entry in batch)
        if commits == at and where == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        in_turn(self, batch)
        if commits == at:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._in_turn = counted
"""

RUNS = [f"run-{n}" for n in range(24)]
DEATHS = [(at, where) for at in (1, 2) for where in ("before", "after")]


def executions(world: World) -> list[str]:
    path = world.folder / "ledger"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def execute(world: World, monkeypatch: pytest.MonkeyPatch, at: int, where: str, slots: int) -> int | None:
    """Let an executor work until it dies, or finds nothing more to do."""
    monkeypatch.setenv("KILLED_AT", str(at))
    monkeypatch.setenv("KILLED", where)
    idle = threading.Event()

    def heard(member: Member, message: FromExecutor | None) -> None:
        if message is None or isinstance(message, Idle):
            idle.set()

    orders = Orders(
        state=str(world.state),
        scripts=[str(world.script)],
        modules=[],
        folder=str(world.folder),
        queues=[],
        slots=slots,
        once=True,
        suspects=False,
    )
    member = Member(orders, heard)
    try:
        assert idle.wait(120)
        member.tell(Leave(30.0))
        until(lambda: member.ended() is not None, "the end of the executor")
        return member.ended()
    finally:
        member.kill()
        member.close()


@pytest.mark.parametrize("slots", [1, 4])
def test_killed_at_each_commit(world: World, monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    """What had begun was claimed on the disk, what is done there is never executed again, and in the end all are done.

    The ledger is a file outside of the state, to which each execution appends its run.
    """
    monkeypatch.setenv("PERDURE_CRASH_LIMIT", "100")  # the deaths are not the runs' fault
    world.write(SCRIPT)
    world.add(*RUNS, workflow="numbered")
    seen = 0
    done: set[str] = set()
    for at, where in DEATHS:
        assert execute(world, monkeypatch, at, where, slots) == -signal.SIGKILL
        lines = executions(world)
        assert done.isdisjoint(lines[seen:])
        runs = world.runs()
        assert {runs[id].status for id in lines} <= {"running", "done"}
        done = {id for id, run in runs.items() if run.status == "done"}
        assert done <= set(lines)
        seen = len(lines)
    assert execute(world, monkeypatch, 10_000, "never", slots) == 0
    lines = executions(world)
    assert done.isdisjoint(lines[seen:])
    assert {run.status for run in world.runs().values()} == {"done"}
    assert set(lines) == set(RUNS)
    again = len(lines) - len(RUNS)
    assert 0 < again <= len(DEATHS) * slots  # of each death, the runs that the process had
