"""What an earlier life has done, and the life that ends the run does not come to, is said, and kept with the run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import perdure
import warm
from conftest import Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.core.exceptions import capture
from perdure.core.values import codec
from perdure.operations.diagnose_facts import RunFacts
from perdure.operations.show import RunDetails, details_of

FIRST = "did not come to a step that an earlier try had completed: refund (#2)"


@workflow
def later(n: int) -> int:
    """It is put into a queue, for which a worker has to find it."""
    return n


def details(machine: Machine) -> RunDetails:
    store = machine.engine.store
    return details_of(store, store.runs()[0])


def charge_declined_once(machine: Machine) -> Callable[[], str]:
    """A step that fails for good the first time."""

    @step(retry=None)
    def charge() -> str:
        machine.ran.append("charge")
        if machine.ran.count("charge") == 1:
            raise PermissionError("declined")
        return "paid"

    return charge


def refunding(machine: Machine) -> Callable[[int], str]:
    @step
    def refund(amount: int) -> str:
        machine.ran.append(f"refund {amount}")
        return f"refunded {amount}"

    return refund


def refunds_and_fails(machine: Machine, leaves: str = "raise") -> Callable[[], str]:
    """A workflow whose first life has refunded a charge that was declined, and has ended like that."""
    charge, refund = charge_declined_once(machine), refunding(machine)

    @workflow
    def wf() -> str:
        try:
            return charge()
        except PermissionError:
            refund(5)
            if leaves == "sys.exit":
                sys.exit(3)
            raise

    with pytest.raises((PermissionError, SystemExit)):
        wf()
    return wf


@pytest.mark.parametrize("leaves", ["raise", "sys.exit"])
def test_what_a_handler_has_done_is_said_once_the_step_goes_well(
    machine: Machine, capfd: pytest.CaptureFixture[str], leaves: str
) -> None:
    """The handler's step is completed, the run fails, and in the next life the step that was handled goes well: one
    line at the end of the run names the completed call, and `show` and `why` tell it as no fault of the script."""
    wf = refunds_and_fails(machine, leaves)
    assert "did not come to" not in capfd.readouterr().err
    machine.boot()
    assert wf() == "paid"
    assert machine.ran == ["charge", "refund 5", "charge"]
    [line] = [line for line in capfd.readouterr().err.splitlines() if "did not come to" in line]
    assert FIRST in line
    shown = details(machine)
    assert [line.removeprefix("perdure: ")] == shown.remarks
    assert shown.notes == shown.remarks
    run = shown.run.id
    for command, label in (("show", "noted"), ("why", "")):
        assert main([command, run]) == 0
        out = " ".join(capfd.readouterr().out.split())
        assert f"{label} run {run} is done, and {FIRST}".strip() in out
        assert "unsaved" not in out
    assert main(["diagnose", run]) == 0
    assert "silent-failure" not in capfd.readouterr().out


def test_it_is_kept_with_the_end_of_the_run(machine: Machine) -> None:
    """The note is in the transaction that ends the run: a process that dies right behind that commit loses no word."""
    wf = refunds_and_fails(machine)
    machine.boot()
    seen: list[tuple[str, int]] = []
    journal = machine.engine.store.journal
    whole = journal.write

    def write(*given: Any) -> Any:
        answer = whole(*given)
        store = machine.engine.store
        seen.extend((run.status, len(store.notes(run.rid))) for run in store.runs())
        return answer

    journal.write = write  # type: ignore[method-assign]
    assert wf() == "paid"
    assert ("done", 0) not in seen
    assert details(machine).remarks


def test_nothing_is_said_where_nothing_was_left(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """A control: the next life fails in the same way, or makes the handler's call elsewhere; and what perdure's own
    steps have answered is no deed."""
    charge, refund = charge_declined_once(machine), refunding(machine)

    @workflow
    def wf() -> str:
        try:
            result = charge()
        except PermissionError:
            perdure.now()
            perdure.sleep(0)
            refund(5)
            raise
        return result + refund(5)

    with pytest.raises(PermissionError):
        wf()
    machine.boot()
    assert wf() == "paidrefunded 5"
    assert machine.ran == ["charge", "refund 5", "charge"]
    assert "did not come to" not in capfd.readouterr().err
    assert details(machine).remarks == []


def test_a_run_that_fails_again_says_it_at_its_end_only(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """Lives that end otherwise say nothing: what they left may be come to still. Calls of several lives are counted,
    child runs and queued runs among them, and those that failed are not."""
    fails = 2

    @workflow
    def inner(n: int) -> int:
        return n

    @step(retry=None)
    def wrong() -> None:
        raise ValueError("wrong")

    @step(retry=None)
    def charge() -> str:
        machine.ran.append("charge")
        if len(machine.ran) <= fails:
            raise PermissionError("declined")
        return "paid"

    @workflow
    def wf() -> str:
        try:
            return charge()
        except PermissionError:
            inner(len(machine.ran))
            later.enqueue(len(machine.ran))
            with suppress(ValueError):
                wrong()
            raise

    for _ in range(fails):
        with pytest.raises(PermissionError):
            wf()
        assert "did not come to" not in capfd.readouterr().err
        machine.boot()
    assert wf() == "paid"
    [line] = [line for line in capfd.readouterr().err.splitlines() if "did not come to" in line]
    assert "to 4 steps that earlier tries had completed: inner (#" in line
    assert (line.count("inner (#"), line.count("later (#")) == (2, 2)
    assert "wrong" not in line


def test_the_same_in_an_async_workflow(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """The driver of async workflows ends runs by a path of its own."""
    charge, refund = charge_declined_once(machine), refunding(machine)

    @workflow
    async def wf() -> str:
        try:
            return charge()
        except PermissionError:
            refund(5)
            raise

    with pytest.raises(PermissionError):
        asyncio.run(wf())
    machine.boot()
    assert asyncio.run(wf()) == "paid"
    assert FIRST in capfd.readouterr().err
    assert len(details(machine).remarks) == 1


def test_a_workflow_called_from_another_says_it_of_its_own_run(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """A child run is gone on with as its parent is: the line and the note are of the child."""
    charge, refund = charge_declined_once(machine), refunding(machine)

    @workflow
    def inner() -> str:
        try:
            return charge()
        except PermissionError:
            refund(5)
            raise

    @workflow
    def outer() -> str:
        return inner()

    with pytest.raises(PermissionError):
        outer()
    machine.boot()
    assert outer() == "paid"
    [line] = [line for line in capfd.readouterr().err.splitlines() if "did not come to" in line]
    assert FIRST in line
    assert ".inner-" in line
    store = machine.engine.store
    assert details(machine).remarks == []
    [child] = details(machine).children
    assert len(details_of(store, store.run(child.id)).remarks) == 1


def test_remarks_that_were_stored_before_they_had_a_class_are_no_unsaved_calls(machine: Machine) -> None:
    """They were warnings like those about calls that were not saved; what each is about tells them apart."""

    @step(retry=None)
    def work() -> int:
        return 1

    @workflow
    def wf() -> int:
        return work()

    wf()
    store = machine.engine.store
    (run,) = store.runs()
    for about, text in ((b"done first", "done before it could end"), (b"a step", "a call that was not saved")):
        fault = capture.encode(capture.to_fault(RuntimeWarning(text)))
        store.note(run, codec.digest(about), fault, machine.world.now())
    shown = details(machine)
    assert shown.remarks == ["done before it could end"]
    assert sorted(shown.notes) == ["a call that was not saved", "done before it could end"]
    assert RunFacts(store, run, machine.world.now()).notes == ["a call that was not saved"]


KILLED = """
import os, signal, sys
from perdure import step, workflow

@step
def notify(text: str) -> str:
    return text

@step
def charge(n: int) -> int:
    return n

@workflow
def wf() -> int:
    try:
        open("needed").close()
    except FileNotFoundError:
        notify("missing")
        os.kill(os.getpid(), signal.SIGKILL)
    return charge(2)

print(wf())
"""


@pytest.mark.parametrize("how", ["cause", "edit"])
def test_what_a_killed_process_had_completed_is_said_where_nothing_asks_for_it(tmp_path: Path, how: str) -> None:
    """No call without a record is of that step, so that the run is not stopped: the cause of the error that the
    workflow had handled is gone, or an edit has removed the call. One line names it."""
    (tmp_path / "pay.py").write_text(KILLED)
    options: dict[str, Any] = {"cwd": tmp_path, "text": True, "capture_output": True}
    assert warm.run([sys.executable, "pay.py"], **options).returncode == -9
    if how == "cause":
        (tmp_path / "needed").touch()
    else:
        (tmp_path / "pay.py").write_text(
            KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "pass").replace('notify("missing")', "pass")
        )
    again = warm.run([sys.executable, "pay.py"], **options)
    assert (again.returncode, again.stdout) == (0, "2\n")
    assert again.stderr.count("did not come to a step that an earlier try had completed: notify (#1)") == 1
