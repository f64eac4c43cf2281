"""What a run publishes is read from the state file alone, and does not go back when the run is resumed."""

from __future__ import annotations

import asyncio
import math
import threading
from dataclasses import dataclass

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.cli import main
from perdure.core.execution.idempotency import child_id
from perdure.core.values import codec
from perdure.engines.local import engine as local
from perdure.errors import NotFound, NotStorable, OptionError
from perdure.operations.location import locate
from perdure.operations.published import get
from perdure.store import forks, published


def shown(machine: Machine, run: str, name: str) -> object:
    found = published.get(machine.engine.store, run, name)
    return None if found is None else codec.to_builtins(found.value)


def newest(machine: Machine) -> str:
    return machine.engine.store.runs()[0].id


def test_the_last_value_of_each_name_is_kept(machine: Machine) -> None:
    """Published by the workflow, by a step, and by a child run, which does it for the run that it belongs to."""

    @step
    def inside() -> None:
        perdure.publish("from step", [1])

    @workflow
    def child() -> None:
        perdure.publish("from child", 7)
        perdure.set_progress(1, 4, "begun")

    @workflow
    def publishes() -> None:
        perdure.publish("phase", "one")
        inside()
        child()
        perdure.publish("phase", "two")
        for done in range(2, 5):
            perdure.set_progress(done, 4)

    publishes()
    run = newest(machine)
    names = ("phase", "from step", "from child", "perdure.progress")
    assert [shown(machine, run, name) for name in names] == ["two", [1], 7, [4, 4, ""]]
    assert shown(machine, run, "other") is None
    with pytest.raises(NotFound):
        shown(machine, "nobody", "phase")


def test_a_resumed_run_does_not_publish_again_what_it_has(machine: Machine) -> None:
    """It is a step, which the value is no part of: another value in an edited script is no drift."""
    values = ["one", "two"]

    @step
    def dies() -> None:
        if not machine.ran:
            machine.ran.append(1)
            raise Died

    @workflow
    def publishes_twice() -> None:
        perdure.publish("phase", values[0])
        perdure.publish("phase", values[1])
        assert shown(machine, newest(machine), "phase") == "two"
        dies()

    with pytest.raises(Died):
        publishes_twice()
    machine.boot()
    values[:] = ["edited", "too"]
    publishes_twice()
    assert shown(machine, newest(machine), "phase") == "two"


def test_what_is_made_of_an_undone_result_is_published_again(machine: Machine) -> None:
    """The call is made again, and has another result; what was published before it stays."""
    booked: list[int] = []

    @step(name="published.release")
    def release(place: int) -> None:
        pass

    @step(name="published.book", undo=release)
    def book() -> int:
        booked.append(len(booked))
        return len(booked)

    @workflow(name="published.of undone")
    def trip() -> None:
        perdure.publish("lives", len(booked))
        perdure.publish("place", book())
        if len(booked) == 1:
            raise Trouble

    with pytest.raises(Trouble):
        trip()
    machine.boot()
    trip()
    assert [shown(machine, newest(machine), name) for name in ("lives", "place")] == [0, 2]


def test_async_workflows_publish(machine: Machine) -> None:
    """Awaited, under the same names."""

    @workflow
    async def publishes_async() -> None:
        await perdure.aio.publish("phase", "one")
        await perdure.aio.set_progress(1, None, "half")

    asyncio.run(publishes_async())
    assert shown(machine, newest(machine), "phase") == "one"
    assert shown(machine, newest(machine), "perdure.progress") == [1, None, "half"]


def test_outside_of_runs_and_with_bad_values(machine: Machine) -> None:
    """Nothing happens outside of runs; what cannot be published is refused everywhere."""
    perdure.publish("phase", 1)
    perdure.set_progress(1)
    for name in ("", "a\nb", "perdure.progress"):
        with pytest.raises(OptionError):
            perdure.publish(name, 1)
    with pytest.raises(NotStorable):
        perdure.publish("phase", object())
    wrong: list[object] = ["half", True, math.nan, math.inf]
    for done in wrong:
        with pytest.raises(OptionError):
            perdure.set_progress(done)  # type: ignore[arg-type]


def test_the_commands_show_it_without_the_script(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """`get` prints a text as it is and other data as JSON, without credentials; `show` has all of it."""

    @workflow
    def publishes_more() -> None:
        perdure.publish("phase", "one")
        perdure.publish("sums", {"a": 1.5, "token": "ghp_0123456789abcdefghijklmnopqrstuvwxyz"})
        perdure.set_progress(1200, 4000, "files")

    publishes_more()
    run = newest(machine)
    local.close_all()
    capsys.readouterr()
    assert main(["get", run, "phase"]) == 0
    assert main(["get", run, "sums"]) == 0
    assert capsys.readouterr().out == 'one\n{"a":1.5,"token":"***"}\n'
    assert main(["get", run, "phase", "--json"]) == 0
    assert '"value":"one"' in capsys.readouterr().out
    assert main(["show", run]) == 0
    out = capsys.readouterr().out
    assert "progress  1,200 of 4,000, files (" in out
    assert "published phase = 'one'" in out
    for words in ((run, "none"), (run, "none", "--wait"), ("nobody", "phase")):
        assert main(["get", *words]) == 2


def test_who_waits_for_a_value_gets_it(machine: Machine) -> None:
    """However long the run takes; and hears of it if the run ends without."""
    asked, go = threading.Event(), threading.Event()

    @step
    def pauses() -> None:
        asked.set()
        go.wait()

    @workflow
    def publishes_late() -> None:
        pauses()
        perdure.publish("phase", "late")

    runner = threading.Thread(target=publishes_late)
    runner.start()
    asked.wait()
    threading.Timer(0, go.set).start()
    found = get(locate(machine.state), "last", "phase", wait=True)
    runner.join()
    assert found.value == "late"
    with pytest.raises(NotFound, match="has ended without 'other'"):
        get(locate(machine.state), "last", "other", wait=True)


def test_a_link_is_shown_to_who_asks_for_it_by_name(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`get` shows the links in one value whole, and nothing else of it; `show` and lists have no token."""
    monkeypatch.setenv("PERDURE_PUBLIC_URL", "https://links.example")
    made: list[str] = []

    @workflow
    def links() -> None:
        made.append(perdure.signal_url("paid"))
        perdure.publish(
            "pay", {"at": [f"go to {made[0]} or call"], "key": f"ghp_0123456789abcdefghijklmnopqrstuvwxyz {made[0]}"}
        )

    links()
    run = newest(machine)
    local.close_all()
    capsys.readouterr()
    assert main(["get", run, "pay"]) == 0
    out = capsys.readouterr().out
    assert f"go to {made[0]} or call" in out
    assert "ghp_0" not in out
    assert main(["show", run]) == 0
    assert made[0].rpartition("/")[2] not in capsys.readouterr().out


@dataclass
class Phase:
    name: str


def test_a_fork_has_what_its_source_had_published_before_its_point(machine: Machine) -> None:
    """Also if that was published again behind it, and a child has published it.

    What came behind it is published when the fork comes there; nobody is told to wait for a run that has ended.
    """

    @step
    def passes() -> None:
        machine.world.sleep(10)

    @step
    def dies() -> None:
        if "dies" in machine.ran:
            raise Died

    @workflow
    def child() -> None:
        perdure.publish("child", Phase("one"))

    @workflow
    def publishes_twice() -> None:
        perdure.publish("before", "one")
        perdure.publish("again", "zero")
        perdure.publish("again", Phase("one"))
        child()
        passes()
        perdure.publish("behind", "two")
        perdure.publish("again", None)
        perdure.publish("child", "two")
        dies()

    machine.ran.append("dies")
    with pytest.raises(Died):
        publishes_twice()
    machine.boot()
    (source,) = machine.engine.store.runs()
    machine.engine.store.journal.write(
        (), forks.fork(machine.engine.store, source, "fork-1", 5, machine.world.now(), child_id)
    )
    assert [shown(machine, "fork-1", name) for name in ("before", "behind")] == ["one", None]
    assert shown(machine, "fork-1", "again") == shown(machine, "fork-1", "child") == {"name": "one"}
    machine.ran.clear()
    machine.boot()
    publishes_twice()
    assert [shown(machine, "fork-1", name) for name in ("before", "behind", "again", "child")] == [
        "one",
        "two",
        None,
        "two",
    ]
    with pytest.raises(NotFound, match="has ended without 'other'") as refused:
        get(locate(machine.state), "fork-1", "other")
    assert "--wait" not in refused.value.hint
