"""Child runs that their parent does not wait for any longer."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import pytest

from conftest import Machine, Scripts, Trouble
from perdure import step, workflow

RACE = """
import asyncio, os, signal
from perdure import step, workflow

FIRST = not os.path.exists("second")
open("second", "w").close()


@step
async def ask(shop):
    if shop == "A" and FIRST:
        await asyncio.Event().wait()
    return shop


@step
async def charge(shop):
    print("charge", shop, flush=True)
    return shop


@step
async def die():
    if FIRST:
        os.kill(os.getpid(), signal.SIGKILL)


@workflow
async def buy_a():
    return await charge(await ask("A"))


@workflow
async def buy_b():
    shop = await charge("B")
    await die()
    return shop


async def quote():
    if FIRST:
        await asyncio.get_running_loop().create_future()  # a request of the workflow's own, which is not answered
    return await charge("A")


async def in_time():
    try:
        return await asyncio.wait_for(GIVEN_UP, 0.05)
    except TimeoutError:
        return await buy_b()


async def by_a_timer():
    asked = asyncio.create_task(ask("A"))
    timer = asyncio.create_task(asyncio.sleep(0.05))
    done, _ = await asyncio.wait([asked, timer], return_when=asyncio.FIRST_COMPLETED)
    return await (buy_b() if timer in done else charge("A"))


@workflow
async def shop():
    return await RACE


if __name__ == "__main__":
    print(asyncio.run(shop()))
"""


@pytest.mark.parametrize(
    ("race", "given_up"),
    [("in_time()", "buy_a()"), ("in_time()", 'ask("A")'), ("in_time()", "quote()"), ("by_a_timer()", "None")],
    ids=["a child run", "a step", "no step", "a timer"],
)
def test_a_child_run_that_follows_a_race_keeps_it_decided(scripts: Scripts, race: str, given_up: str) -> None:
    """Killed in the child run that was called because another call was too late: the run goes on with that child, also
    if the other call is in time now."""
    script = scripts.write(RACE.replace("RACE", race).replace("GIVEN_UP", given_up))
    first = scripts.run(script)
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "charge B\n")
    second = scripts.run(script)
    assert (second.returncode, second.stdout) == (0, "B\n"), second.stderr


def test_a_child_run_that_was_given_up_is_cancelled_at_the_final_end_of_its_parent(machine: Machine) -> None:
    """It is not left for ever as one that was interrupted, also if it has nothing to be put away; nor are its own."""

    begun = asyncio.Event()

    @step(retry=None)
    async def wait(n: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    @workflow
    async def grandchild() -> None:
        await wait(1)

    @workflow
    async def child() -> None:
        await grandchild()

    @workflow
    async def parent() -> str:
        under_way = asyncio.create_task(child())
        await begun.wait()
        under_way.cancel()
        await asyncio.wait([under_way])
        return "went on"

    assert asyncio.run(parent()) == "went on"
    store = machine.engine.store
    assert {run.workflow: run.status for run in store.runs(children=True)} == {
        "parent": "done",
        "child": "cancelled",
        "grandchild": "cancelled",
    }


def test_a_child_run_that_is_given_up_while_it_begins_is_not_left_running(machine: Machine) -> None:
    """Its row may be written after the task that has called it was cancelled, in whichever turn of the loop that is."""

    @step(retry=None)
    async def wait_long(n: int) -> None:
        await asyncio.Event().wait()

    @workflow
    async def innermost(n: int) -> None:
        await wait_long(n)

    @workflow
    async def inner(n: int) -> None:
        await innermost(n)

    @workflow
    async def outer(turns: int) -> None:
        under_way = asyncio.create_task(inner(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        under_way.cancel()
        await asyncio.wait([under_way])

    for turns in range(16):
        asyncio.run(outer(turns))
    left = [run.id for run in machine.engine.store.runs(children=True, most=100) if run.status == "running"]
    assert left == []


def test_what_a_given_up_child_run_has_done_is_undone(machine: Machine) -> None:
    """Its parent goes on without it, and comes to a good end: nobody uses what it has booked."""

    @step
    async def unbook(what: str) -> None:
        machine.ran.append(f"unbook {what}")

    @step(undo=unbook)
    async def book(what: str) -> str:
        machine.ran.append(f"book {what}")
        return what

    @step(retry=None)
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    booked = asyncio.Event()

    @workflow
    async def journey() -> None:
        await book("train")
        booked.set()
        await wait_for_ever()

    @workflow
    async def plan() -> str:
        await book("hotel")
        under_way = asyncio.create_task(journey())
        await booked.wait()
        under_way.cancel()
        await asyncio.wait([under_way])
        return "by bus"

    assert asyncio.run(plan()) == "by bus"
    assert machine.ran == ["book hotel", "book train", "unbook train"]


def test_what_a_timeout_gave_up_is_not_made_again_when_other_calls_are_undone(machine: Machine) -> None:
    """The timer is real then, and gives it up once more; what was undone is made again."""

    @step
    async def unbook(what: str) -> None:
        machine.ran.append(f"unbook {what}")

    @step(undo=unbook)
    async def book(what: str) -> str:
        machine.ran.append(f"book {what}")
        return what

    @step(retry=None)
    async def pay() -> None:
        if machine.ran.count("book hotel") == 1:
            raise Trouble

    @workflow
    async def journey() -> None:
        await book("train")
        await asyncio.Event().wait()

    @workflow
    async def plan() -> str:
        await book("hotel")
        with suppress(TimeoutError):
            await asyncio.wait_for(journey(), 0.05)
        await pay()
        return "by bus"

    with pytest.raises(Trouble):
        asyncio.run(plan())
    machine.boot()
    before = list(machine.ran)
    assert asyncio.run(plan()) == "by bus"
    assert machine.ran[len(before) :] == ["book hotel"]
