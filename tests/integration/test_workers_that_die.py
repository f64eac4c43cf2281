"""Workers that are killed, in part or as a whole: every run goes on, and no completed step is executed again."""

from __future__ import annotations

import os
import signal

from worker_world import Begun, World, children, in_order, world

from waiting import until

__all__ = ["world"]


def test_an_executor_then_the_supervisor_then_all(world: World) -> None:
    """After each kill the runs go on elsewhere; all end, and the ledger shows no step after a later one of its run."""
    world.open(0)
    first = world.worker("--slots", "4")
    world.add("a", "b")
    world.add("c", workflow="ajob")
    killed = world.begun(1, 3)[0].pid
    assert killed in children(first.process.pid), first.lines
    os.kill(killed, signal.SIGKILL)
    first.says(f"executor {killed} ended with SIGKILL")
    again = world.begun(1, 6)[-1].pid
    assert again != killed

    first.process.kill()  # the executor is left: it gives its runs back at their next safe point, and ends
    first.says("3 runs are given back")
    world.open(1)
    world.becomes("suspended", "a", "b", "c")
    until(lambda: not os.path.exists(f"/proc/{again}/exe"), "the end of the executor")
    assert [each.n for each in world.ledger()].count(2) == 0

    second = world.worker("--slots", "4")
    pid = world.begun(2, 3)[-1].pid
    for each in (second.process.pid, pid):
        os.kill(each, signal.SIGKILL)
    assert second.end() == -signal.SIGKILL

    world.open(2)
    third = world.worker("--once")
    assert third.end() == 0
    assert {id: run.status for id, run in world.runs().items()} == dict.fromkeys("abc", "done")
    ledger = world.ledger()
    assert in_order(ledger) == dict.fromkeys("abc", True)
    assert [each.n for each in ledger].count(0) == 3


def test_the_oracle_sees_a_repeated_step() -> None:
    """The control of the ledger: a completed step that begins again is seen, and so is one that never begins."""
    assert in_order([Begun(f"a {n} 1 v1") for n in (0, 1, 1, 2)]) == {"a": True}
    assert in_order([Begun(f"a {n} 1 v1") for n in (0, 1, 0, 1, 2)]) == {"a": False}
    assert in_order([Begun(f"a {n} 1 v1") for n in (0, 1)]) == {"a": False}


def test_a_run_that_kills_its_process(world: World) -> None:
    """After three deaths it has failed as a crash loop; what was executed beside it is not taken for guilty."""
    world.open(0, 1)
    worker = world.worker("--slots", "2")
    world.add("good")
    world.begun(2, 1)
    world.add("bad", workflow="dies", given=False)
    world.becomes("failed", "bad")
    world.open(2)
    world.becomes("done", "good")
    worker.says("run bad failed: the process of run bad died 3 times in a row")
    assert sum("ended with SIGKILL" in line for line in worker.lines) == 3, worker.lines
    worker.send(signal.SIGTERM)
    assert worker.end() == 0
