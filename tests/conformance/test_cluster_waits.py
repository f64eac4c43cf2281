"""What only a cluster does with durable waits: new records, foreign signals, replays, and who may be sent something."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.bench import Bench, note, steps
from tests.conformance.cluster_steps import executions, tick
from tests.conformance.test_commands import Desk, desk

import perdure
from perdure import aio, step, workflow
from perdure.engines.selection import cluster_at
from perdure.errors import Cancelled, RunHasEnded, TooLarge
from perdure.operations.approvals import answer
from perdure.operations.location import locate, opened
from perdure.operations.why import explain
from waiting import until

__all__ = ["desk"]


def handle_of(bench: Bench, id: str) -> Any:
    """The execution of a run, as another program has it."""

    async def handle() -> Any:
        return (await cluster_at(bench.engine).cluster.client()).get_workflow_handle(id)

    return cluster_at(bench.engine).cluster.wait(handle())


def foreign(bench: Bench, id: str, event: str, *args: Any) -> None:
    """Another program sends a signal, by Temporal's own means."""
    cluster = cluster_at(bench.engine).cluster
    cluster.wait(handle_of(bench, id).signal(event, args=list(args)))


def waits_for(bench: Bench, id: str, event: str) -> bool:
    """Does the run wait for that, as who looks at it sees it?"""
    return any(one.event == event for run in cluster_at(bench.engine).list_runs(id) for one in run.waits)


def listed(bench: Bench, id: str) -> Any:
    """The runs that may be meant, as who looks sees them."""
    return cluster_at(bench.engine).list_runs(id)


def test_signals_and_sleeps_go_over_into_new_records(bench: Bench) -> None:
    """A long run has each signal once, in order, whichever execution it came to; a sleep that lasts goes on lasting."""

    @workflow
    async def long_waits(count: int) -> list[int]:
        asleep = asyncio.create_task(aio.sleep("1s"))
        found = []
        for n in range(count):
            found.append(await aio.wait_for("n"))
            tick(n)
        await asleep
        return [*found, await aio.wait_for("last")]

    handle = long_waits.with_options(id="long-waits").start(15)
    assert perdure.signal(handle.id, "last", 100) == "stored"
    for n in range(15):
        perdure.signal(handle.id, "n", n, id=f"n{n}")
        if n % 5 == 0:
            until(lambda n=n: perdure.signal(handle.id, "n", n, id=f"n{n}") == "repeated")
    assert handle.result(60) == [*range(15), 100]
    assert steps() == list(range(15))
    assert executions(bench, "long_waits") > 2


def test_why_says_what_a_run_of_a_cluster_waits_for(bench: Bench) -> None:
    """And by which command it gets that, as on one machine: that its own code runs is not said then."""

    @workflow
    def waits_there() -> Any:
        return perdure.wait_for("paid", key="7")

    handle = waits_there.with_options(id="waits-there").start()
    until(lambda: waits_for(bench, handle.id, "paid"))
    with opened(locate(), handle.id) as store:
        said = explain(store, store.run(handle.id), locate())
    assert said.reasons[1] == "it waits for paid (7); the cluster keeps it meanwhile"
    assert not any("its own code runs" in one for one in said.reasons)
    assert said.ways[0].command.startswith("perdure signal waits-there paid --key 7")
    perdure.signal(handle.id, "paid", 1, key="7")
    assert handle.result(60) == 1


def test_a_run_that_gets_many_signals_while_it_waits_goes_on_in_new_records(bench: Bench) -> None:
    """What comes to a run that only waits fills its record, too: nothing is lost, and nothing makes it end."""

    @workflow
    def flooded() -> list[Any]:
        return [perdure.wait_for("go"), *(perdure.wait_for("n") for _ in range(3))]

    handle = flooded.with_options(id="flooded").start()
    for n in range(70):
        foreign(bench, handle.id, "n", n)
    assert perdure.signal(handle.id, "go", "went") in ("taken", "stored")
    assert handle.result(60) == ["went", 0, 1, 2]
    assert executions(bench, "flooded") > 1


def test_signals_of_other_programs(bench: Bench) -> None:
    """They count as plain data, under the name that Temporal has; what cannot be read is set aside, and listed."""

    @workflow
    def foreigners() -> list[Any]:
        return [perdure.wait_for(event) for event in ("one", "none", "two")]

    handle = foreigners.with_options(id="foreigners").start()
    foreign(bench, handle.id, "perdure", b"\x00 is no envelope")
    foreign(bench, handle.id, "one", {"amount": 5})
    foreign(bench, handle.id, "none")
    until(lambda: waits_for(bench, handle.id, "two"))
    assert perdure.signal(handle.id, "two", id="x") == "taken"
    assert handle.result(60) == [{"amount": 5}, None, None]
    (told,) = [run for run in cluster_at(bench.engine).list_runs(handle.id) if run.id == handle.id]
    assert [(one.event, one.status) for one in told.letters] == [
        ("perdure", "aside"),
        *((event, "taken") for event in ("one", "none", "two")),
    ]


def test_who_cannot_be_sent_anything(bench: Bench) -> None:
    """A run that has ended, one that has failed until it is resumed, and what is too large: the sender is told."""
    broken = [True]

    @step(retry=None)
    def mended() -> None:
        note("mended")
        if broken[0]:
            raise ConnectionError

    @workflow
    def fails() -> Any:
        mended()
        return perdure.wait_for("go")

    once = fails.with_options(id="told-when-resumed")
    with pytest.raises(ConnectionError):
        once()
    with pytest.raises(RunHasEnded, match="has failed"):
        perdure.signal("told-when-resumed", "go")
    broken[0] = False
    handle = once.start()
    with pytest.raises(TooLarge):
        perdure.signal(handle.id, "go", "x" * 1_000_001)
    perdure.signal(handle.id, "go", 1)
    assert handle.result(60) == 1
    with pytest.raises(RunHasEnded, match="is done"):
        perdure.signal(handle.id, "go")


def test_a_run_by_its_id_alone(bench: Bench) -> None:
    """Whoever knows the id sees how it stands, sends it something, and gets its result, or its error."""

    @workflow
    def known_by_id(fail: bool) -> str:
        found: str = perdure.wait_for("go", type=str)
        if fail:
            raise LookupError(found)
        return found

    for name, fail in (("known", False), ("known-failing", True), ("known-cancelled", False)):
        known_by_id.with_options(id=name).start(fail)
    known, failing, cancelled = (perdure.run(f"known{end}") for end in ("", "-failing", "-cancelled"))
    assert known.status() == "running"
    with pytest.raises(TimeoutError):
        known.result(timeout=0)
    known.signal("go", "there")
    failing.signal("go", "gone")
    cancelled.cancel()
    assert known.result(60) == "there"
    assert (perdure.run("known").result(60), known.status()) == ("there", "done")
    with pytest.raises(LookupError, match="gone"):
        failing.result(60)
    with pytest.raises(Cancelled):
        cancelled.result(60)


def test_a_child_run_gets_what_another_process_sends_its_root(bench: Bench) -> None:
    """It is told that the signal was taken, and who looks sees what the child waits for; an approval of it, too."""

    @workflow
    def listener() -> list[Any]:
        return [perdure.wait_for("go", timeout="1h"), perdure.approval("pay?").by]

    @workflow
    def parent_of_listener() -> Any:
        return listener()

    handle = parent_of_listener.with_options(id="parent-of-listener").start()
    until(lambda: waits_for(bench, handle.id, "go"))
    assert until(lambda: perdure.signal(handle.id, "go", 7, id="x")) in ("taken", "stored")
    until(lambda: waits_for(bench, handle.id, "perdure.approval"))
    assert perdure.signal(handle.id, "go", 8, id="x") == "repeated"
    assert answer(locate(), handle.id, True, by="Ann").by == "Ann"
    assert handle.result(60) == [7, "Ann"]


def test_a_run_waits_for_others(bench: Bench) -> None:
    """For one that ends later, one that has ended, one that fails, and one that is none."""

    @workflow
    def awaited_run(fail: bool) -> str:
        found: str = perdure.wait_for("go", type=str)
        if fail:
            raise LookupError(found)
        return found

    @workflow
    async def waits_for_runs() -> list[Any]:
        runs = [perdure.run(f"awaited-{name}") for name in ("later", "before", "failing", "none")]
        first = await aio.wait_any(perdure.timer("1h"), runs[0])
        found: list[Any] = [(first.wait is runs[0], first.value, first.status)]
        for one in runs[:3]:
            try:
                found.append(await one)
            except LookupError as error:
                found.append(str(error))
        return [*found, (await aio.wait_any(runs[3], perdure.timer("1h"))).status]

    for name in ("later", "before", "failing"):
        awaited_run.with_options(id=f"awaited-{name}").start(name == "failing")
    perdure.signal("awaited-before", "go", "b")
    assert perdure.run("awaited-before").result(60) == "b"
    handle = waits_for_runs.with_options(id="waits-for-runs").start()
    until(lambda: any(one.run == "awaited-later" for run in listed(bench, handle.id) for one in run.waits))
    perdure.signal("awaited-later", "go", "l")
    until(lambda: any(one.run == "awaited-failing" for run in listed(bench, handle.id) for one in run.waits))
    perdure.signal("awaited-failing", "go", "f")
    assert handle.result(60) == [(True, "l", "done"), "l", "b", "f", "failed"]


def test_a_wait_from_the_command_line(desk: Desk) -> None:
    """What a run waits for is shown, `perdure signal` wakes it, and another worker goes on with it: by its history."""
    desk.write(
        """
        @step
        def double(n: int) -> int:
            return 2 * n

        @workflow
        def order(n: int) -> int:
            first = double(n)
            perdure.sleep("10ms")
            return first + perdure.wait_for("paid", type=int, key="k")
        """
    )
    starter = desk.start("run", "--id", "order-7", str(desk.script), "20")
    until(lambda: "waits for paid (k)" in str([run["waits"] for run in desk.told("ps")["runs"]]))
    starter.kill()
    starter.communicate()
    code, out, err = desk.type("signal", "order-7", "paid", "2", "--key", "k", "--id", "a")
    assert (code, out) == (
        0,
        "paid was stored for order-7, which waits for it; a worker of the cluster goes on with it\n",
    )
    again = ("signal", "order-7", "paid", "2", "--key", "k", "--id", "a", "--json")
    until(lambda: "repeated" in desk.type(*again)[1])
    assert desk.type("signal", "order-7", "other")[0] == 0
    code, out, err = desk.type("run", "--id", "order-7", str(desk.script), "20")
    assert (code, out) == (0, "42\n"), err
    shown = desk.told("show", "order-7")
    assert [one["event"] for one in shown["signals"]] == ["other"]
    assert desk.type("signal", "order-7", "paid")[0] == 1


@pytest.mark.parametrize("shape", ["gather", "group"])
def test_a_sleep_beside_a_failure_goes_on_from_its_beginning(bench: Bench, shape: str) -> None:
    """The run fails, and is gone on with: the sleep beside the failed step is over when it would have been."""
    broken, dues = [True], list[float | None]()
    id = f"beside-a-failure-in-a-{shape}"

    def due() -> float | None:
        return next((one.due for run in listed(bench, id) for one in run.waits), None)

    @step(retry=None)
    async def break_beside() -> str:
        until(lambda: due() is not None)
        dues.append(due())
        if broken:
            raise PermissionError("no")
        return "ok"

    async def gathered() -> None:
        await asyncio.gather(aio.sleep("1h"), break_beside())

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(aio.sleep("1h"))
            group.create_task(break_beside())

    @workflow(name=f"beside_a_failure_{shape}")
    async def flow() -> None:
        await (gathered if shape == "gather" else grouped)()

    run = flow.with_options(id=id)
    with pytest.raises((PermissionError, ExceptionGroup)):
        run.start().result(60)
    broken.clear()
    handle = run.start()
    until(lambda: len(dues) > 1)
    assert dues[0] == dues[1]
    cluster_at(bench.engine).cancel(handle.id, lambda run: None)
