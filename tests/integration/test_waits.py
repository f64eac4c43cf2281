"""Sleeping and waiting in a workflow: each wait is a record, takes one signal, and has one end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from letterbox import letters, open_waits, post

import perdure
from conftest import Machine
from perdure import aio, workflow
from perdure.core.values import codec
from perdure.errors import NotDecodable, Suspended, WaitTimeout


@dataclass
class Payment:
    amount: int


def send(machine: Machine, event: str, value: Any = None, *, key: str = "", late: float = 0.0) -> None:
    """To the newest run, so many seconds from now."""
    run = machine.engine.store.runs()[0]
    post(machine.state, run.id, event, value, key=key, stamp=machine.world.time + late)


def left(flow: Callable[[], Any]) -> None:
    with pytest.raises(Suspended):
        flow()


def test_a_sleep_takes_its_time_once(machine: Machine) -> None:
    """A short one is waited for here, is a record, and is not slept again by a later life; no wait is left open."""
    moments = []

    @workflow
    def naps() -> None:
        moments.append(machine.world.time)
        perdure.sleep("30s")
        perdure.sleep_until(datetime.fromtimestamp(machine.world.time, UTC) + timedelta(seconds=5))
        moments.append(machine.world.time)
        if len(moments) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        naps()
    machine.boot()
    naps()
    assert [moment - moments[0] for moment in moments] == [0, 35, 35, 35]
    assert machine.steps() == [("perdure.sleep", "done"), ("perdure.sleep", "done")]
    assert open_waits(machine.state) == []


def test_signals_are_taken_in_the_order_in_which_they_were_sent(machine: Machine) -> None:
    """Each by one wait of its name and key; what nobody asks for stays."""

    @workflow
    def asks() -> list[Any]:
        left_over = perdure.wait_for("go")
        return [left_over, *(perdure.wait_for("n", key=key) for key in ("", "k", ""))]

    left(asks)
    for value, key in ((1, ""), (2, "k"), (3, ""), (4, "")):
        send(machine, "n", value, key=key)
    send(machine, "other")
    send(machine, "go")
    machine.world.time += 1
    assert perdure_resumed(machine, asks) == [None, 1, 2, 3]
    assert [status for _, status, _ in letters(machine.state)] == ["taken"] * 3 + ["stored", "stored", "taken"]


def perdure_resumed(machine: Machine, flow: Any) -> Any:
    """Go on with the newest run, whether it is due or not."""
    run = machine.engine.store.runs()[0]
    spec = flow._spec
    from perdure.core.execution.spec import Call

    call = Call(spec, (), {}, run.input, run.key)
    if not spec.is_async:
        return machine.engine.run(call, script=spec.file, resume=run.id)
    return asyncio.run(machine.engine.arun(call, script=spec.file, resume=run.id))


@pytest.mark.parametrize(("late", "came"), [(-1.0, True), (0.0, True), (0.001, False)])
def test_a_signal_counts_if_it_was_stored_in_time(machine: Machine, late: float, came: bool) -> None:
    """However long nobody wakes the run: the stamp decides, to the moment; one that came too late stays."""

    @workflow
    def waits_an_hour() -> str:
        return str(perdure.wait_for("paid", timeout="1h", default="nothing"))

    left(waits_an_hour)
    send(machine, "paid", "money", late=3600 + late)
    machine.world.time += 1_000_000
    assert waits_an_hour() == ("money" if came else "nothing")
    assert letters(machine.state)[0][1] == ("taken" if came else "stored")


def test_a_timeout_that_was_handled_is_history(machine: Machine) -> None:
    """A later life gets the same failure, whatever has come meanwhile."""
    seen = []

    @workflow
    def handles() -> None:
        try:
            perdure.wait_for("paid", timeout="10s")
        except TimeoutError as error:
            seen.append(type(error))
        perdure.sleep("1s")
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        handles()
    send(machine, "paid")
    machine.boot()
    handles()
    assert seen == [WaitTimeout, WaitTimeout]
    assert machine.steps()[0] == ("perdure.wait:paid", "failed")


def test_a_timeout_that_ends_the_run_is_waited_for_anew(machine: Machine) -> None:
    """Running it again waits once more from its beginning, and finds a signal that came late."""

    @workflow
    def insists() -> Any:
        return perdure.wait_for("paid", timeout="10s")

    began = machine.world.time
    for n in (1, 2):
        with pytest.raises(WaitTimeout, match="'paid' did not come within 10 s"):
            insists()
        assert machine.world.time == began + n * 10
        machine.boot()
    send(machine, "paid", "late")
    assert insists() == "late"


def test_the_first_of_several_is_told_by_stamps(machine: Machine) -> None:
    """At the same moment what is named first; the losers are closed, and their signals stay for a next wait."""

    @workflow
    def races() -> list[Any]:
        waits = perdure.event("b"), perdure.event("a", type=int), perdure.timer("2h")
        won = [perdure.wait_any(*waits) for _ in range(3)]
        return [(waits.index(one.wait), one.value, one.at.timestamp() - start) for one in won]

    start = machine.world.time
    left(races)
    send(machine, "a", 1, late=50)
    send(machine, "b", "x", late=50)
    machine.world.time += 10_000
    left(races)  # the second takes what the first has left, the third sleeps
    assert [status for _, status, _ in letters(machine.state)] == ["taken", "taken"]
    machine.boot()
    machine.world.time += 7200
    assert races() == [(0, "x", 50), (1, 1, 50), (2, None, 17_200)]


@pytest.mark.parametrize("default", [..., "nobody", {}])
def test_a_payload_that_does_not_fit_hurts_its_sender_only(
    machine: Machine, caplog: pytest.LogCaptureFixture, default: Any
) -> None:
    """It is set aside with a warning, and the wait goes on; plain data becomes the declared class.

    What the default is, a payload may not be.
    """

    @workflow
    def paid() -> Payment | str:
        found: Payment | str = perdure.wait_for("paid", type=Payment, timeout="1h", default=default)
        return found

    left(paid)
    for value in ("much", {"amount": "x"}, {"amount": 5}):
        send(machine, "paid", value)
    assert perdure_resumed(machine, paid) == Payment(5)
    assert [status for _, status, _ in letters(machine.state)] == ["aside", "aside", "taken"]
    assert sum("is set aside, and perdure.wait:paid goes on" in line for line in caplog.messages) == 2


def test_the_end_of_another_run_wakes_who_waits_for_it(machine: Machine) -> None:
    """It makes the waiting run ready in its own transaction, and its result is the value, of the class that it has."""

    @workflow
    def other(n: int) -> Payment:
        perdure.wait_for("go")
        return Payment(n)

    with pytest.raises(Suspended):
        other.with_options(id="other-1")(7)

    class Handle:
        id = "other-1"

        def result(self) -> None: ...

    @workflow
    def waits_for_it() -> tuple[Payment, str]:
        won = perdure.wait_any(Handle(), perdure.timer("9h"))
        return won.value, won.status

    left(waits_for_it)
    left(waits_for_it)
    post(machine.state, "other-1", "go", stamp=machine.world.time)
    run = machine.engine.store.run("other-1")
    machine.world.time += 10
    machine.engine.store.journal.write((), lambda at: machine.engine.store.put_run(at, run, wake=1.0) and None)
    assert other.with_options(id="other-1")(7) == Payment(7)
    assert waits_for_it() == (Payment(7), "done")


def test_two_branches_that_wait_for_one_name_take_turns(machine: Machine) -> None:
    """The one that began first has the first signal, in whichever order they are woken."""

    @workflow
    async def two() -> list[Any]:
        async def one(n: int) -> Any:
            await aio.sleep(n)
            return await aio.wait_for("n")

        return await asyncio.gather(one(1), one(2))

    with pytest.raises(Suspended):
        asyncio.run(two())
    send(machine, "n", "first")
    send(machine, "n", "second")
    assert perdure_resumed(machine, two) == ["first", "second"]


def test_a_record_that_fits_no_argument_any_more_is_told(machine: Machine) -> None:
    """An edit that takes the winner out of a `wait_any` is an error, not another result."""
    names = ["a"]

    @workflow
    def edited() -> str:
        won = perdure.wait_any(*map(perdure.event, names))
        perdure.sleep("1s")
        if names == ["a"]:
            raise KeyboardInterrupt
        return str(won.value)

    left(edited)
    send(machine, "a")
    with pytest.raises(KeyboardInterrupt):
        perdure_resumed(machine, edited)
    names[:] = ["b"]
    with pytest.raises(NotDecodable, match="not among what it waits for now"):
        edited()
    names[:] = ["b", "a"]
    assert edited() == "None"
    assert codec.digest(b"") == machine.engine.store.all_records(1).__next__().key
