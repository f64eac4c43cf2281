"""A signal is kept from the moment that its sender is told so, whatever the run does; a workflow sends it once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.cli import main
from perdure.core.values import codec
from perdure.engines.local import engine as local
from perdure.errors import NotFound, NotStorable, OptionError, RunHasEnded, Suspended
from perdure.operations.fork import fork
from perdure.operations.location import locate, opened
from perdure.store import signals
from perdure.store.rows import sealed
from perdure.store.signals import Letter


@workflow
def fails() -> None:
    raise Trouble("not yet")


def failed_run(machine: Machine) -> str:
    with pytest.raises(Trouble):
        fails()
    return machine.engine.store.runs()[0].id


def letters(machine: Machine, run: str) -> list[Letter]:
    store = machine.engine.store
    return signals.not_taken(store, store.run(run).rid)


def open_wait(machine: Machine, run: str, event: str, topic: str = "", due: float | None = None, n: int = 0) -> None:
    """What a wait writes that has begun."""
    store = machine.engine.store
    key = codec.digest(topic.encode())
    row = sealed(store.run(run).rid, f"perdure.wait:{event}", key, n, 0, event, topic, None, 1.0, due)
    store.journal.write((), lambda at: at.execute("INSERT INTO wait VALUES (?,?,?,?,?,?,?,?,?,?,?)", row) and None)


def suspend(machine: Machine, run: str, wake: float | None) -> None:
    """The run is left, and only rows of it remain."""
    store = machine.engine.store
    found = store.run(run)
    changed = {"status": "suspended", "output": None, "holder": None, "wake": wake}
    store.journal.write((), lambda at: store.put_run(at, found, **changed))


def test_signals_of_a_run_that_failed_are_kept_in_order(machine: Machine) -> None:
    """With name, key, value and the moment; over a restart."""
    run = failed_run(machine)
    assert perdure.signal(run, "paid", {"amount": 5}) == "stored"
    machine.world.time += 10
    assert perdure.signal(run, "paid", 7, key="b", id="two") == "stored"
    machine.boot()
    first, second = letters(machine, run)
    assert (first.event, first.topic, first.id, first.status) == ("paid", "", None, "stored")
    assert codec.to_builtins(first.value) == {"amount": 5}
    assert (second.topic, second.id, second.stamp - first.stamp) == ("b", "two", 10)
    assert first.sid < second.sid


def test_the_same_id_is_stored_once(machine: Machine) -> None:
    """The second is told so, whatever it says; another run may have the id too."""
    run, other = failed_run(machine), machine
    assert perdure.signal(run, "paid", 1, id="a") == "stored"
    assert perdure.signal(run, "refunded", 2, id="a") == "repeated"
    assert [codec.to_builtins(one.value) for one in letters(other, run)] == [1]


def test_a_run_that_waits_takes_one_signal_for_each_wait(machine: Machine) -> None:
    """Told "taken" as often as there are waits of that name and key whose time is not over, as long as it waits."""
    run = failed_run(machine)
    open_wait(machine, run, "paid", "a")
    open_wait(machine, run, "paid", "c")
    assert perdure.signal(run, "paid", key="c") == "stored"  # it has failed: it waits when it is resumed
    suspend(machine, run, None)
    open_wait(machine, run, "paid", "a", n=1, due=machine.world.time + 5)
    open_wait(machine, run, "paid", "late", due=machine.world.time - 1)
    assert perdure.signal(run, "paid", key="b") == "stored"
    assert perdure.signal(run, "paid", key="late") == "stored"
    assert [perdure.signal(run, "paid", key="a") for _ in range(3)] == ["taken", "taken", "stored"]


def test_a_suspended_run_is_made_ready_by_what_it_waits_for(machine: Machine) -> None:
    """In the same transaction: at the moment of the signal, never later than it would have been; by nothing else."""
    run = failed_run(machine)
    open_wait(machine, run, "paid")
    suspend(machine, run, wake=None)
    store = machine.engine.store
    assert perdure.signal(run, "other") == "stored"
    assert store.run(run).wake is None
    assert perdure.signal(run, "paid") == "taken"
    assert store.run(run).wake == machine.world.time
    suspend(machine, run, wake=machine.world.time - 100)
    perdure.signal(run, "paid")
    assert store.run(run).wake == machine.world.time - 100


def test_runs_that_cannot_take_a_signal(machine: Machine) -> None:
    """One that has ended and one that is not there are refused, and nothing is stored."""

    @workflow
    def ends() -> None:
        return None

    with pytest.raises(NotFound, match="no run 'nobody'"):
        perdure.signal("nobody", "paid")
    ends()
    run = machine.engine.store.runs()[0].id
    with pytest.raises(RunHasEnded, match="is done"):
        perdure.signal(run, "paid")
    assert letters(machine, run) == []


def test_without_a_state_file_none_is_made(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The run is somewhere else: the error names the file that was looked for."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "home" / "state.db"))
    with pytest.raises(NotFound, match=r"home/state\.db"):
        perdure.signal("order-7", "paid")
    assert not (tmp_path / "home").exists()


def test_a_child_and_a_fork_stand_for_the_run_that_goes_on(machine: Machine) -> None:
    """A child's id means the run that it belongs to; that of a forked run its newest fork."""

    @step
    def one() -> int:
        return 1

    @workflow
    def inner() -> None:
        one()
        raise Trouble("not yet")

    @workflow
    def outer() -> None:
        inner()

    with pytest.raises(Trouble):
        outer()
    child, parent = (run.id for run in machine.engine.store.runs(children=True))
    perdure.signal(child, "paid")
    assert [one.event for one in letters(machine, parent)] == ["paid"]


def test_a_fork_has_what_its_source_was_sent(machine: Machine) -> None:
    """What was not taken, and what was taken by waits that it makes again; not what the records say that it keeps."""

    @step
    def between(n: int) -> int:
        machine.ran.append(n)
        return n

    @workflow
    def takes() -> list[object]:
        first = perdure.wait_for("paid")
        between(1)
        return [first, perdure.wait_for("paid"), perdure.wait_for("sent", key="a")]

    with pytest.raises(Suspended):
        takes()
    run = machine.engine.store.runs()[0].id
    for value in (1, 2, 3):
        perdure.signal(run, "paid", value, id=f"p{value}")
    perdure.signal(run, "sent", 4, key="a")
    assert takes() == [1, 2, 4]
    local.close_all()
    location = locate(machine.state)
    with opened(location) as store:
        source = store.run(run)
    made = fork(location, source, "between", machine.world.time)
    machine.boot()
    store = machine.engine.store
    found = [(one.event, codec.to_builtins(one.value)) for one in signals.not_taken(store, made.run.rid)]
    assert found == [("paid", 2), ("paid", 3), ("sent", 4)]
    assert perdure.signal(run, "paid", id="p1") == "repeated"
    assert takes() == [1, 2, 4]
    assert machine.ran == [1, 1]
    with pytest.raises(RunHasEnded):
        perdure.signal(run, "paid", 5)


BAD = [
    ("", "paid", None, "", None),
    ("r", "", None, "", None),
    ("r", "perdure.approval", None, "", None),
    ("r", "a\nb", None, "", None),
    ("r", "paid", None, "a\0", None),
    ("r", "paid", None, "", ""),
]


@pytest.mark.parametrize(("run", "event", "value", "key", "id"), BAD)
def test_what_cannot_be_a_signal(machine: Machine, run: str, event: str, value: object, key: str, id: str) -> None:
    """Refused before anything is looked up or written."""
    with pytest.raises(OptionError):
        perdure.signal(run, event, value, key=key, id=id)


def test_values_that_cannot_be_stored(machine: Machine) -> None:
    """Neither what is no data nor more than a million bytes; instances of classes are, for a wait that names them."""

    @dataclass
    class Payment:
        amount: int

    run = failed_run(machine)
    with pytest.raises(NotStorable, match=r"signal 'paid' has a value that cannot be saved: `value\['a'\]`"):
        perdure.signal(run, "paid", {"a": object()})
    with pytest.raises(NotStorable, match="1,000,005 bytes"):
        perdure.signal(run, "paid", b"x" * 1_000_000)
    assert letters(machine, run) == []
    perdure.signal(run, "paid", Payment(5))
    assert codec.plan(Payment, owner="paid").unpack(letters(machine, run)[0].value) == Payment(5)


def test_a_workflow_sends_a_signal_once(machine: Machine) -> None:
    """It is a step; one that died between sending and saving sends it again under the same id."""
    run = failed_run(machine)

    @workflow
    def tells(broken: bool) -> str:
        told = perdure.signal(run, "paid", 5)
        if not machine.ran:
            machine.ran.append(told)
            raise Died
        return told

    with pytest.raises(Died):
        tells(True)
    store = machine.engine.store
    rid = store.runs(workflow=tells._spec.name)[0].rid
    store.journal.write((), lambda at: at.execute("DELETE FROM step WHERE run = ?", (rid,)) and None)
    machine.boot()
    assert tells(True) == "repeated"
    assert len(letters(machine, run)) == 1
    assert machine.steps()[-1] == ("perdure.signal", "done")


def test_async_code_sends_signals(machine: Machine) -> None:
    """In a workflow as a step, elsewhere without blocking the loop."""
    run = failed_run(machine)

    @workflow
    async def tells() -> str:
        return await perdure.aio.signal(run, "paid", 1)

    async def both() -> list[str]:
        return [await tells(), await perdure.aio.signal(run, "paid", 2, id="two")]

    assert asyncio.run(both()) == ["stored", "stored"]
    assert [codec.to_builtins(one.value) for one in letters(machine, run)] == [1, 2]


def test_the_command_sends_what_it_is_given_and_says_who_goes_on(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON in, a line out; wrong input is exit code 2, an ended run 1."""

    @workflow
    def ends() -> None:
        return None

    run = failed_run(machine)
    ends()
    ended = machine.engine.store.runs()[0].id
    local.close_all()
    capsys.readouterr()
    assert main(["signal", run, "paid", '{"amount": 5}', "--id", "a"]) == 0
    out, err = capsys.readouterr()
    assert out == f"paid was stored for {run}, which does not wait for it yet\n"
    assert err == f"  the run has failed, and takes it when it is gone on with: perdure resume {run}\n"
    assert main(["signal", run, "paid", "--id", "a", "--json"]) == 0
    assert '"outcome":"repeated"' in capsys.readouterr().out
    assert main(["show", run]) == 0
    shown = capsys.readouterr().out
    assert "signal    paid {'amount': 5}, sent " in shown
    assert "no wait has taken it" in shown
    wrong = ([run, "paid", "{5"], [run, "paid", "NaN"], ["nobody", "paid"], [run, "perdure.x"])
    assert [main(["signal", *words]) for words in wrong] == [2, 2, 2, 2]
    assert "the value is not JSON" in capsys.readouterr().err
    assert main(["signal", ended, "paid"]) == 1
    assert "[run-ended]" in capsys.readouterr().err
