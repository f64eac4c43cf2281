"""`perdure why` does not promise what is not so, nor names a command that cannot help before another one has."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.cli.view.ps_table import show_runs
from perdure.cli.view.terminal import Printer
from perdure.errors import BudgetExceeded, RunError, Suspended
from perdure.operations.approvals import answer
from perdure.operations.diagnose import diagnose
from perdure.operations.doctor import examine
from perdure.operations.fork import fork
from perdure.operations.gone_scripts import script_gone
from perdure.operations.location import locate
from perdure.operations.overview import overview_of
from perdure.operations.ps import list_runs
from perdure.operations.scripts import find_workflow
from perdure.operations.why import Why, explain


@step(retry=None)
def give_back(amount: int) -> None:
    pass


@step(undo=give_back)
def pay(amount: int) -> int:
    perdure.spend(usd=amount)
    return amount


@step
def plain(amount: int) -> int:
    return amount


@step(retry=None)
def fails_yet() -> None:
    raise OSError("down")


@workflow
def enqueued() -> None:
    fails_yet()


def why(machine: Machine, id: str) -> Why:
    store = machine.engine.store
    return explain(store, store.run(id), locate(store.path))


def test_what_was_undone_is_not_called_saved(machine: Machine) -> None:
    """Clean-ups are no steps that stay done, and what they took back is made again."""

    @workflow
    def pays() -> None:
        plain(0)
        pay(1)
        pay(2)
        fails_yet()

    with pytest.raises(OSError, match="down"):
        pays.with_options(id="pays")()
    (said,) = (one for one in why(machine, "pays").reasons if "saved" in one)
    assert said.endswith("; 1 step saved, and none of them runs again; what was undone is made again")


def test_a_raised_bound_lets_undone_steps_be_made_again(machine: Machine) -> None:
    """What the hint says is enough: the run is done with it."""

    @workflow
    def pays() -> int:
        with perdure.budget(usd=2):
            return sum(pay(1) for _ in range(2)) + plain(1)

    called = pays.with_options(id="pays")
    with pytest.raises(BudgetExceeded) as exceeded:
        called()
    found = re.search(r"--budget usd=(\d+)", exceeded.value.hint)
    assert found is not None
    from perdure.api.budget import bounds_of

    machine.engine.raise_bounds(machine.engine.store.run("pays"), bounds_of(usd=int(found[1])))
    assert called() == 3


def test_a_run_that_failed_by_another_names_that_one_first(machine: Machine) -> None:
    """Going on with it alone raises the same failure; and once the other one was gone on with, it is not named."""

    @workflow
    def waits() -> None:
        enqueued.with_options(id="other").enqueue().result()

    with pytest.raises(Suspended):
        waits.with_options(id="waits")()
    with pytest.raises(OSError, match="down"):
        enqueued.with_options(id="other")()
    with pytest.raises(OSError, match="down"):
        waits.with_options(id="waits")()
    said = why(machine, "waits")
    commands = [one.command.partition(" -")[0] for one in said.ways]
    assert commands.index("perdure resume other") < commands.index("perdure resume waits")
    assert any("go on with that one first" in one for one in said.reasons)
    perdure.run("other").cancel()
    assert "perdure resume other" not in str(why(machine, "waits").ways)


@workflow
def places(item: int) -> int:
    plain(item)
    fails_yet()
    return item


@workflow(once=True)
def places_once(item: int) -> int:
    return places(item)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: places(1), r"its child run (?P<id>\S+)"),
        (lambda: places.with_options(id="own")(1), r"run (?P<id>own), which it calls,"),
        (lambda: places_once(1), r"its child run (?P<id>\S+)"),
    ],
    ids=["child", "by an id", "once"],
)
def test_a_run_that_failed_by_one_that_it_called_names_that_one_first(
    machine: Machine, call: Callable[[], int], named: str
) -> None:
    """Also if the workflow has made another error of that one's; one whose failure it has handled is not named."""

    @workflow
    def orders() -> None:
        with suppress(OSError):
            places.with_options(id="handled")(2)
        try:
            call()
        except OSError as failed:
            raise RuntimeError("no order is placed") from failed

    with pytest.raises(RuntimeError):
        orders.with_options(id="orders")()
    said = why(machine, "orders")
    found = re.match(named + r" has failed: fails_yet\(\) failed at its only attempt", said.reasons[0])
    assert found is not None, said.reasons
    assert said.ways[0].command.startswith(f"perdure why {found['id']}")
    assert machine.engine.store.run(found["id"]).status == "failed"
    assert any(one.endswith("RuntimeError: no order is placed") for one in said.reasons)


@pytest.mark.parametrize(("did", "point"), [("nothing", "#1"), ("a step", "#2"), ("a step to clean up", "#1")])
def test_a_run_whose_called_run_was_cancelled_names_the_fork_without_which_it_fails_again(
    machine: Machine, did: str, point: str
) -> None:
    """A cancelled run keeps its id, so its caller fails until a fork has that: with all that it did, or, if that was
    cleaned up, with nothing. The caller's last line and `why` say so, and followed in their order they go on."""
    closed = True

    @workflow
    def called() -> int:
        if did == "a step to clean up":
            perdure.defer(give_back, 1)
        if did != "nothing":
            plain(1)
        if closed:
            raise OSError("closed")
        return plain(2)

    @workflow
    def orders() -> int:
        return called.with_options(id="own")()

    with pytest.raises(OSError, match="closed"):
        orders.with_options(id="orders")()
    perdure.run("own").cancel()
    closed = False
    before = commands_for(machine, "orders")
    with pytest.raises(RunError, match=r"own was cancelled(?s:.*)fork own --from '#1'") as caught:
        orders.with_options(id="orders")()
    assert caught.value.__notes__[-1].endswith("do that first, then run the script again to go on from here")
    assert before[:2] == commands_for(machine, "orders")[:2] == [["fork", "own", "--from", point], ["resume", "orders"]]
    fork(locate(machine.engine.store.path), machine.engine.store.run("own"), before[0][3], 0.0)
    assert orders.with_options(id="orders")() == 2


def commands_for(machine: Machine, id: str) -> list[list[str]]:
    """What `why` names to be done, in order."""
    said = why(machine, id)
    assert said.reasons[0].startswith("run own, which it calls, was cancelled")
    ways = [one.command.partition(" --state ")[0] for one in said.ways if one.purpose != "see why"]
    return [shlex.split(one)[1:] for one in ways]


def test_what_the_error_of_a_called_run_says_to_do_is_said_of_its_caller(machine: Machine) -> None:
    """By `why` and by `diagnose`: with the command that names the run whose bound it is, before the caller's."""

    @workflow
    def spends() -> None:
        with perdure.budget(usd=1):
            pay(1)
            pay(2)

    @workflow
    def orders() -> None:
        spends.with_options(id="own")()

    with pytest.raises(BudgetExceeded):
        orders.with_options(id="orders")()
    raises = [one.command.startswith("perdure resume own --budget usd=") for one in why(machine, "orders").ways]
    goes_on = [one.command.startswith("perdure resume orders") for one in why(machine, "orders").ways]
    assert raises.index(True) < goes_on.index(True)
    store = machine.engine.store
    (found,) = diagnose(store, store.run("orders"), locate(store.path)).findings
    assert found.commands[0].startswith("perdure why own")
    assert found.evidence[0].text.startswith("run own, which it calls, has failed: BudgetExceeded")


def test_a_child_run_is_in_no_command_that_refuses_child_runs(machine: Machine) -> None:
    """What is gone on with is its caller."""

    @workflow
    def orders() -> None:
        places(1)

    with pytest.raises(OSError, match="down"):
        orders.with_options(id="orders")()
    (child,) = machine.engine.store.children(machine.engine.store.run("orders").rid)
    assert f"perdure resume {child}" not in str(why(machine, child).ways)


def test_an_answered_approval_is_not_waited_for(machine: Machine) -> None:
    """The run has not gone on since: it is said how it was answered."""

    @workflow
    def asks() -> bool:
        return perdure.approval("pay?").approved

    with pytest.raises(Suspended):
        asks.with_options(id="asks")()
    answer(locate(machine.state), "asks", False, by="Ann")
    assert why(machine, "asks").reasons[0].startswith("the approval pay? was answered (rejected, by Ann)")


def test_a_script_that_is_gone_is_in_no_command(machine: Machine, tmp_path: os.PathLike[str]) -> None:
    """Nothing can be done with its old path."""
    assert script_gone(__file__) is None
    assert script_gone("<stdin>") is None
    gone = script_gone(os.path.join(tmp_path, "gone.py"))
    assert gone is not None
    assert "is not there any more" in gone


def test_a_gone_script_of_an_unfinished_run_is_said_wherever_runs_are_shown(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ps`, `doctor` and the page say so, with the command that takes FILE; not of a run that is done."""
    script = tmp_path / "gone_orders.py"
    script.write_text(
        "from perdure import workflow\n\n@workflow\ndef orders(n: int) -> int:\n    return 1 // n\n", encoding="utf-8"
    )
    orders = find_workflow(script)
    orders.with_options(id="done")(1)
    with pytest.raises(ZeroDivisionError):
        orders.with_options(id="left")(0)
    location = locate(machine.state)

    def said() -> list[str]:
        store = machine.engine.store
        show_runs(list_runs(store), Printer(), here=True)
        overview = [f"{one.text} {[way.command for way in one.ways]}" for one in overview_of(store, location).needs]
        doctor = [f"{one.finding}: {one.hint}" for one in examine(location).state]
        return [
            text
            for text in (capsys.readouterr().out.replace("\n", " "), *overview, *doctor)
            if f"is not there any more: {script}" in text
        ]

    assert said() == []
    script.unlink()
    found = said()
    assert len(found) == 3
    assert all(re.search(r"perdure resume left\b.* FILE", one) and "resume done" not in one for one in found)


def test_a_run_that_was_cancelled_meanwhile_is_forked(machine: Machine) -> None:
    """Whoever wanted to go on with it is not told to begin another one."""

    @workflow
    def ends() -> None:
        fails_yet()

    called = ends.with_options(id="ends")
    with pytest.raises(OSError, match="down"):
        called()
    perdure.run("ends").cancel()
    with pytest.raises(RunError) as refused:
        called()
    assert "`perdure fork ends --from STEP" in refused.value.hint
