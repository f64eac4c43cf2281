"""What is deferred is done at the end, what can be undone is undone when the run does not succeed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from conftest import Died, Machine, Scripts, Trouble
from perdure import Retry, defer, defer_every_end, idempotency_key, step, workflow
from perdure.errors import OptionError, UsageError


@pytest.fixture
def told() -> list[Any]:
    """What the steps of a test have said, in order."""
    return []


def steps(told: list[Any]) -> tuple[Any, Any, Any]:
    """A step that makes something, one that puts it away, and one that may be told to fail."""

    @step(name="make")
    def make(what: str) -> str:
        told.append(f"make {what}")
        return what

    @step(name="close")
    def close(what: str) -> None:
        told.append(f"close {what}")

    @step(name="work", retry=None)
    def work(ends: str) -> None:
        told.append(f"work {ends}")
        if ends == "fail":
            raise Trouble("no luck")
        if ends == "die":
            raise Died

    return make, close, work


def test_deferred_calls_run_last_in_first_out_when_the_run_succeeds(machine: Machine, told: list[Any]) -> None:
    """They run after the workflow's function has returned, and before the caller has the result."""
    make, close, work = steps(told)

    @workflow
    def flow() -> str:
        defer(close, make("a"))
        defer(close, make("b"))
        work("well")
        told.append("returns")
        return "result"

    assert flow() == "result"
    assert told == ["make a", "make b", "work well", "returns", "close b", "close a"]
    assert machine.runs() == [("flow", "done")]


def test_at_every_end_they_run_when_it_fails_and_again_when_it_is_resumed(machine: Machine, told: list[Any]) -> None:
    """The run's own error is what the caller sees; the completed steps keep their results on resume."""
    make, close, work = steps(told)
    ends = ["fail", "well"]

    @step(name="tell", key=lambda: "tell")
    def tell() -> str:
        return "told"

    @workflow
    def flow() -> str:
        defer_every_end(close, make("a"))
        tell()
        attempt()
        return "done"

    @step(name="attempt", retry=None)
    def attempt() -> None:
        work._spec.fn(ends[0])

    with pytest.raises(Trouble, match="no luck"):
        flow()
    assert told == ["make a", "work fail", "close a"]
    ends.pop(0)
    told.clear()
    machine.boot()
    assert flow() == "done"
    assert told == ["work well", "close a"]


def test_they_run_after_a_crash(machine: Machine, told: list[Any]) -> None:
    """A crash is no end: nothing is put away until the run goes on and ends."""
    make, close, work = steps(told)
    ends = ["die", "well"]

    @step(name="attempt", retry=None)
    def attempt() -> None:
        work._spec.fn(ends.pop(0))

    @workflow
    def flow() -> None:
        defer(close, make("a"))
        attempt()

    with pytest.raises(Died):
        flow()
    assert told == ["make a", "work die"]
    machine.boot()
    flow()
    assert told == ["make a", "work die", "work well", "close a"]


def test_a_crash_while_cleaning_up_does_not_clean_twice(machine: Machine, told: list[Any]) -> None:
    """What was put away before the death is not put away again at the same end."""
    dies = [True]

    @step(name="close")
    def close(what: str) -> None:
        told.append(f"close {what}")
        if what == "a" and dies:
            dies.clear()
            raise Died

    @workflow
    def flow() -> str:
        defer(close, "a")
        defer(close, "b")
        return "done"

    with pytest.raises(Died):
        flow()
    assert told == ["close b", "close a"]
    machine.boot()
    assert flow() == "done"
    assert told == ["close b", "close a", "close a"]


def test_a_failing_clean_up_is_retried_parked_and_hides_nothing(machine: Machine, told: list[Any]) -> None:
    """The run's error comes first; the clean-up that cannot be done is a dead letter; the others are made."""

    @step(name="close", retry=Retry(attempts=3))
    def close(what: str) -> None:
        told.append(f"close {what}")
        if what == "bad":
            raise Trouble("cannot close")

    @step(name="work", retry=None)
    def work() -> None:
        raise Trouble("no luck")

    @workflow
    def flow() -> None:
        defer_every_end(close, "good")
        defer_every_end(close, "bad")
        work()

    with pytest.raises(Trouble, match="no luck") as caught:
        flow()
    assert told == ["close bad"] * 3 + ["close good"]
    assert any("defer:close has failed" in note for note in caught.value.__notes__)
    assert machine.steps() == [
        ("perdure.defer_every_end", "done"),
        ("perdure.defer_every_end", "done"),
        ("defer:close", "dead"),
        ("defer:close", "done"),
    ]


def test_what_was_undone_is_done_again_under_another_key(machine: Machine, told: list[Any]) -> None:
    """Undone last first, with the result; a resumed run makes the calls anew, since a service knows the old key."""
    keys: list[str] = []
    fails = [True]

    @step(name="refund")
    def refund(receipt: str) -> None:
        told.append(f"refund {receipt}")

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        keys.append(idempotency_key())
        told.append(f"charge {what}")
        return f"receipt {what}"

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> list[str]:
        receipts = [charge("a"), charge("b"), *charge.map(["c"]).results]
        ship()
        return receipts

    with pytest.raises(Trouble):
        flow()
    assert told == ["charge a", "charge b", "charge c", "refund receipt c", "refund receipt b", "refund receipt a"]
    fails.clear()
    told.clear()
    machine.boot()
    assert flow() == ["receipt a", "receipt b", "receipt c"]
    assert told == ["charge a", "charge b", "charge c"]
    assert len(set(keys)) == 6


def test_nothing_is_undone_when_the_run_succeeds(machine: Machine, told: list[Any]) -> None:
    """Undoing is for runs that fail or are cancelled."""

    @step(name="refund")
    def refund(receipt: str) -> None:
        told.append("refund")

    @step(name="charge", undo=refund)
    def charge() -> str:
        return "receipt"

    @workflow
    def flow() -> str:
        return charge()

    assert flow() == "receipt"
    assert told == []


def test_a_crash_in_the_middle_of_undoing_neither_loses_nor_repeats(machine: Machine, told: list[Any]) -> None:
    """After the death the run goes on: what was undone is done anew, what was not stays done."""
    dies = [True]
    fails = [True]

    @step(name="refund")
    def refund(receipt: str) -> None:
        if receipt == "a" and dies:
            dies.clear()
            raise Died
        told.append(f"refund {receipt}")

    @step(name="charge", undo=refund)
    def charge(what: str) -> str:
        told.append(f"charge {what}")
        return what

    @step(name="ship", retry=None)
    def ship() -> None:
        if fails:
            raise Trouble("no truck")

    @workflow
    def flow() -> None:
        charge("a")
        charge("b")
        ship()

    with pytest.raises(Died):
        flow()
    assert told == ["charge a", "charge b", "refund b"]
    fails.clear()
    machine.boot()
    flow()
    assert told == ["charge a", "charge b", "refund b", "charge b"]


def test_async_workflows_clean_up_as_well(machine: Machine, told: list[Any]) -> None:
    """With sync and async steps mixed."""

    @step(name="close")
    async def close(what: str) -> None:
        await asyncio.sleep(0)
        told.append(f"close {what}")

    @step(name="drop")
    def drop(what: str) -> None:
        told.append(f"drop {what}")

    @step(name="make", undo=drop)
    async def make(what: str) -> str:
        return what

    @workflow
    async def flow() -> None:
        await asyncio.gather(make("a"), make("b"))
        defer_every_end(close, "c")
        defer_every_end(drop, "d")
        raise Trouble("no luck")

    with pytest.raises(Trouble):
        asyncio.run(flow())
    assert told[:2] == ["drop d", "close c"]
    assert sorted(told[2:]) == ["drop a", "drop b"]


def test_defer_says_where_it_belongs(machine: Machine, told: list[Any]) -> None:
    """Outside a workflow, in a step, without a step, or with an async step in a sync workflow it is a clear error."""
    _, close, _ = steps(told)

    @step(name="late")
    async def late() -> None:
        pass

    @step(name="inner", retry=None)
    def inner() -> None:
        defer(close, "x")

    @workflow
    def flow(what: Any) -> None:
        if what == "step":
            inner()
        elif what == "async":
            defer(late)
        else:
            defer(print, "x")

    with pytest.raises(UsageError, match="outside a workflow"):
        defer(close, "x")
    with pytest.raises(UsageError, match="outside a workflow"):
        flow("step")
    with pytest.raises(UsageError, match="is async"):
        flow("async")
    with pytest.raises(OptionError, match="not a step"):
        flow("no step")
    with pytest.raises(OptionError, match="not a step"):
        step(undo=print)(lambda: None)


FLOW = """
    import os, sys
    from pathlib import Path
    from perdure import defer, step, workflow

    @step
    def close(what: str) -> None:
        with open("ledger", "a") as ledger:
            ledger.write(f"close {what}\\n")

    @step(undo=close)
    def make(what: str) -> str:
        return what

    @workflow
    def flow() -> None:
        make("a")
        defer(close, "b")
        os.kill(os.getpid(), 9)

    if __name__ == "__main__":
        flow()
"""


def test_a_crashed_run_that_is_cancelled_is_cleaned_up(scripts: Scripts) -> None:
    """`perdure cancel` makes the clean-ups itself, from what the journal says, also if the script was edited since."""
    script = scripts.write(FLOW)
    assert scripts.run(script).returncode == -9
    script.write_text(script.read_text().replace('make("a")', 'make("another")'))
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    done = scripts.run(starter, "cancel", "last")
    assert (done.returncode, "is cancelled" in done.stderr) == (0, True), done.stderr
    assert (scripts.folder / "ledger").read_text().splitlines() == ["close b", "close a"]
    assert '"cancelled"' in scripts.run(starter, "ps", "--json").stdout


def test_a_clean_up_whose_step_is_gone_is_a_dead_letter(scripts: Scripts, tmp_path: Path) -> None:
    """The run is cancelled all the same, and the command says what was not put away."""
    script = scripts.write(FLOW)
    assert scripts.run(script).returncode == -9
    script.unlink()
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    done = scripts.run(starter, "cancel", "last")
    assert done.returncode == 1
    assert "defer:close could not be made" in done.stderr
    assert "is cancelled" in done.stderr
    assert "defer:close" in scripts.run(starter, "dlq", "ls").stdout
