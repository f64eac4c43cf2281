"""A run that only waits is left: it is rows, neither done nor failed, and goes on as if it had never been left."""

from __future__ import annotations

import asyncio
import os
import shlex
from typing import Any

import pytest
from letterbox import letters, open_waits, post
from suspended import left, newest

import perdure
from conftest import Died, Machine, Scripts
from perdure import step, workflow
from perdure.cli import main
from perdure.core.commands import commands_in
from perdure.errors import DeadlineExceeded
from perdure.store import workers
from perdure.store.liveness import Liveness

DAY = 86_400.0


@step(name="suspended.work")
def work(n: int) -> int:
    LEDGER.append(n)
    return n


LEDGER: list[object] = []
"""What steps have done; outside of any run."""


@pytest.fixture(autouse=True)
def ledger() -> list[object]:
    LEDGER.clear()
    return LEDGER


def test_a_suspended_run_is_not_ended(machine: Machine, ledger: list[object]) -> None:
    """No clean-up is made, no failure is seen, no attempt used, no holder kept; early it is only said once more."""

    @workflow(name="suspended.tidy")
    def tidy() -> str:
        perdure.defer(work, -1)
        work(1)
        try:
            perdure.sleep("1d")
        except Exception:
            work(-2)
        finally:
            ledger.append("finally")
        return "done"

    error = left(tidy)
    run = newest(machine)
    assert (run.status, run.holder, run.epoch, run.wake) == ("suspended", None, 0, machine.world.time + DAY)
    assert (error.run, error.wake) == (run.id, run.wake)
    assert ledger == [1, "finally"]
    machine.boot()
    left(tidy)
    assert ledger == [1, "finally"]  # nothing was replayed
    machine.world.time += DAY
    assert tidy() == "done"
    assert ledger == [1, "finally", "finally", -1]
    assert newest(machine).wake is None
    assert open_waits(machine.state) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_at_the_moment_of_suspension_is_not_lost(machine: Machine, when: str) -> None:
    """Sent by another process right before the transaction that leaves the run, or right after: it wakes it."""

    @workflow(name="suspended.aimed")
    def aimed() -> object:
        return perdure.wait_for("go")

    journal = machine.engine.store.journal
    count = 0

    def aim(batch: Any, done: bool) -> None:
        """The third commit is the one that leaves the run, after its beginning and the opening of the wait."""
        nonlocal count
        count += not done
        if count == 3 and done is (when == "after") and not letters(machine.state):
            run = newest_outside(machine)
            post(machine.state, run, "go", "now", stamp=machine.world.time)

    journal.around = aim
    if when == "before":
        assert aimed() == "now"
    else:
        left(aimed)
        machine.boot()
        assert newest(machine).wake == machine.world.time
        assert aimed() == "now"
    assert letters(machine.state) == [("go", "taken", "now")]


def newest_outside(machine: Machine) -> str:
    import apsw

    connection = apsw.Connection(str(machine.state))
    (id,) = next(connection.execute("SELECT id FROM run ORDER BY rid DESC LIMIT 1"))
    connection.close()
    return str(id)


def test_its_deadline_wakes_it(machine: Machine) -> None:
    """The timeout of a workflow counts its waits, of a child's too, and is when the run goes on at the latest."""

    @workflow(name="suspended.hasty", timeout="2h")
    def hasty() -> None:
        perdure.sleep("1d")

    left(hasty)
    assert newest(machine).wake == machine.world.time + 7200
    machine.world.time += 7200
    with pytest.raises(DeadlineExceeded):
        hasty()
    assert newest(machine).status == "failed"


def test_the_lock_of_a_workflow_stays_with_it(machine: Machine) -> None:
    """No other run has it while the run is suspended; the run itself has it again, and lets it go at its end."""

    @workflow(name="suspended.locked", lock="suspended", if_locked="fail")
    def locked(n: int) -> int:
        perdure.sleep("1d")
        return n

    left(lambda: locked(1))
    machine.boot()
    with pytest.raises(perdure.errors.AlreadyRunning, match="which is suspended"):
        locked(2)
    with pytest.raises(perdure.errors.AlreadyRunning), perdure.lock("suspended", if_locked="fail"):
        pass
    machine.world.time += DAY
    assert locked(1) == 1
    left(lambda: locked(2))
    assert main(["cancel", newest(machine).id]) == 0
    left(lambda: locked(3))


def test_it_can_be_cancelled(machine: Machine, ledger: list[object]) -> None:
    """With its clean-ups and those of its child runs; no wait of it is left."""

    @workflow(name="suspended.child")
    def child() -> None:
        perdure.defer(work, 2)
        perdure.sleep("1d")

    @workflow(name="suspended.parent")
    def parent() -> None:
        perdure.defer(work, 1)
        child()

    left(parent)
    assert machine.engine.call_off(newest(machine)) == []
    assert ledger == [2, 1]
    assert {status for _, status in machine.runs()} == {"cancelled"}
    assert open_waits(machine.state) == []


def test_edits_never_strand_a_sleeper(machine: Machine) -> None:
    """An open wait counts from its beginning, whatever its length is now; a removed one is closed; no wait is drift."""
    script = {"length": "2d", "first": True}

    @workflow(name="suspended.edited")
    def edited() -> str:
        if script["first"]:
            perdure.sleep("1s")
            perdure.wait_for("old", timeout="30d", default=None) if script["length"] == "2d" else None
        perdure.sleep(script["length"], name="long")
        work(1)
        return "done"

    left(edited)
    began = machine.world.time
    script["length"] = "1d"
    left(lambda: resumed(machine, edited))
    assert open_waits(machine.state) == [("perdure.sleep", None)]
    second = machine.world.time
    script["length"] = "12h"
    left(lambda: resumed(machine, edited))
    assert newest(machine).wake == second + DAY / 2
    script["first"] = False
    machine.world.time = second + DAY / 2
    assert edited() == "done"
    assert began <= second


def resumed(machine: Machine, flow: Any) -> Any:
    from perdure.core.execution.spec import Call

    run = newest(machine)
    call = Call(flow._spec, (), {}, run.input, run.key)
    return machine.engine.run(call, script=flow._spec.file, resume=run.id)


def test_it_is_told_what_it_waits_for(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """`ps`, `show` and `why` say it and until when, and how it goes on; none of them takes it for broken."""

    @workflow(name="suspended.asks")
    def asks() -> None:
        perdure.wait_for("paid", key="order 7", timeout="2h")

    left(asks)
    capsys.readouterr()
    run = newest(machine).id
    for look in (["ps"], ["show", run], ["why", run]):
        assert main(look) == 0
        said = capsys.readouterr().out
        assert "suspended" in said
        assert "it waits for paid (order 7), until 2065-01-2" in said
        assert "interrupted" not in said
        if look[0] == "why":
            assert f"perdure signal {run} paid --key 'order 7'" in said
    assert main(["ps", "--json"]) == 0
    assert '"wake":"2065-01-2' in capsys.readouterr().out.replace(" ", "")


def test_who_goes_on_with_it_is_told(machine: Machine) -> None:
    """Nobody, or the worker that serves its script: such a one is not told to be started."""

    @workflow(name="suspended.served")
    def served() -> None:
        perdure.sleep("2h")

    assert "nobody wakes it by itself; run the script again then, or: " in left(served).hint
    store, run = machine.engine.store, newest(machine)
    liveness = Liveness(store.path)
    mine = workers.Worker(pid=os.getpid(), started=0.0, workflows=[(run.script, run.workflow)], ready=True)
    workers.announce(store.path, liveness.show(), mine)
    try:
        assert left(served).hint == f"do nothing: worker pid {os.getpid()} goes on with it then"
    finally:
        workers.withdraw(store.path, liveness.token)
        liveness.close()


def test_the_commands_that_bring_about_what_it_waits_for_are_told(machine: Machine) -> None:
    """They can be copied as they are: what answers an approval, and what sends a signal."""

    @workflow(name="suspended.asking")
    def asking() -> object:
        answer = perdure.approval("refund it's 40?")
        return answer.by, perdure.wait_for("it's paid", key="order 7")

    def told() -> list[str]:
        return commands_in(left(asking).hint)

    yes, no, *_ = told()
    assert (shlex.split(yes)[1], shlex.split(no)[1]) == ("approve", "reject")
    assert main([*shlex.split(yes)[1:], "--by", "Ann"]) == 0
    send, *_ = told()
    assert main([*shlex.split(send)[1:], "true"]) == 0
    assert asking() == ("Ann", True)


def test_of_several_questions_the_command_says_which(machine: Machine) -> None:
    """It answers the first one, whatever else is asked."""

    @workflow(name="suspended.asking_both")
    async def asking() -> list[bool]:
        both = await asyncio.gather(perdure.aio.approval("this?"), perdure.aio.approval("that?"))
        return [one.approved for one in both]

    def told() -> list[str]:
        return shlex.split(commands_in(left(lambda: asyncio.run(asking())).hint)[0])[1:]

    assert main(told()) == 0
    assert main(told()) == 0
    assert asyncio.run(asking()) == [True, True]


SCRIPT = """
    import sys
    import perdure
    from perdure import step, workflow

    @step
    def say(word: str) -> None:
        print(word, flush=True)

    @workflow
    def remind() -> None:
        say("one")
        perdure.sleep("2h")
        say("two")

    remind()
    print("after", flush=True)
"""


def test_a_script_that_is_left_ends_with_75(scripts: Scripts) -> None:
    """It says what it waits for and how it goes on; run again early, it says so and executes nothing."""
    script = scripts.write(SCRIPT)
    first, again = scripts.run(script), scripts.run(script)
    assert (first.returncode, first.stdout) == (75, "one\n")
    assert (again.returncode, again.stdout) == (75, "")
    for life in (first, again):
        said, how = life.stderr.splitlines()
        assert said.startswith("perdure: run remind-")
        assert "is suspended: it sleeps until " in said
        assert f"perdure resume --wait {said.split()[2]}, " in how
    assert "Traceback" not in first.stderr


@workflow(name="suspended.queued")
def queued() -> str:
    return "made"


@workflow(name="suspended.awaits")
def awaits() -> str:
    """Waits for a run that only a worker executes."""
    return queued.with_options(id="made", queue="made").enqueue().result()


def test_a_run_that_waits_for_one_in_a_queue_says_that_no_worker_executes_that(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left to its waits, and of `why`: what to start. Running it again, or waiting for it, does not help."""
    error = left(awaits)
    run = machine.engine.store.run(error.run)
    assert error.what.endswith("made, which stands in a queue, and no worker executes it")
    assert error.hint == (
        f"start a worker, which executes that: perdure worker --state {machine.state} {os.path.relpath(__file__)}"
    )
    assert main(["why", run.id]) == 0
    said = capsys.readouterr().out
    assert "run made does not go on by itself: it stands in a queue, and no worker executes it" in said
    assert "perdure why made" in said
    assert "no process is needed" not in said
    store = machine.engine.store
    liveness = Liveness(store.path)
    serves = [(run.script, each) for each in ("suspended.queued", "suspended.awaits")]
    for workflows, hint in ((serves[1:], "start a worker, which"), (serves, "do nothing: worker pid")):
        workers.announce(store.path, liveness.show(), workers.Worker(os.getpid(), 0.0, workflows=workflows, ready=True))
        assert left(awaits).hint.startswith(hint)
    assert main(["why", run.id]) == 0
    assert "made; no process is needed" in capsys.readouterr().out
    workers.withdraw(store.path, liveness.token)
    liveness.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_wait_for_a_run_in_a_queue_says_once_that_no_worker_executes_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A process that stays would be silent for ever; also of a run that waits for one that waits for that."""

    @workflow(name="suspended.outer")
    def outer() -> str:
        return awaits.with_options(id="between", queue="made").enqueue().result()

    @workflow(name="suspended.later")
    async def later() -> str:
        return await queued.with_options(id="made", queue="made").enqueue()

    left(awaits)
    call: Any = outer if kind == "sync" else lambda: asyncio.run(later())
    machine.engine.resources.suspend_after = float("inf")
    rests: list[float] = []

    def rest(ear: Any, seconds: float) -> None:
        rests.append(seconds)
        machine.world.time += 1.0
        if len(rests) == 200:
            raise Died

    monkeypatch.setattr(machine.world, "rest", rest)
    with caplog.at_level("INFO", "perdure"), pytest.raises(Died):
        call()
    start = "no worker executes it; start one: perdure worker "
    assert caplog.text.count(start) == 1
