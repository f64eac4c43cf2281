"""A run that is under way is attached to, whichever process executes it; its id alone is enough to wait for its end."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import perdure
from conftest import Machine, Scripts, Trouble
from perdure import Retry, step, workflow
from perdure.errors import AlreadyRunning, Cancelled, NotFound

SCRIPT = """
    import asyncio, os, sys, threading
    from dataclasses import dataclass
    from perdure import Retry, step, workflow

    class NoRoute(Exception):
        pass

    @dataclass
    class Receipt:
        order: str
        pid: int

    def say(*texts):  # in one write: two threads do
        os.write(1, (" ".join(map(str, texts)) + "\\n").encode())

    def note(text):
        with open("ledger", "a") as ledger:
            ledger.write(text + "\\n")

    @step
    def charge(order):
        note(f"charge {order}")

    def hold(order) -> Receipt:
        note(f"ship {order}")
        if os.environ.get("HOLD") == "1":
            say("shipping")
            word = sys.stdin.readline().strip()
            if word == "fail":
                raise NoRoute(order)
            order = word if word == "stay" else order
        return Receipt(order, os.getpid())

    @step
    def archive(order):
        pass

    @step(retry=Retry(attempts=1))
    def ship(order) -> Receipt:
        return hold(order)

    @step
    async def aship(order) -> tuple[Receipt, bool]:
        return hold(order), threading.current_thread() is threading.main_thread()

    @workflow
    def shop(order) -> Receipt:
        charge(order)
        receipt = ship(order)
        archive(order)
        while receipt.order == "stay":  # until it is cancelled
            archive(order)
        return receipt

    @workflow
    async def ashop(order) -> tuple[Receipt, bool]:
        charge(order)
        return await aship(order)

    async def in_loop():
        handle = ashop.with_options(id="order-7").start("7")
        say(handle.id)
        say(await handle)

    if __name__ == "__main__":
        if sys.argv[1] == "loop":
            asyncio.run(in_loop())
        else:
            handle = shop.with_options(id="order-7").start("7")
            say(handle.id)
            try:
                say(handle.result(), handle.status())
            except NoRoute as error:
                say("NoRoute", error, handle.status())
"""


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def held(scripts: Scripts, way: str) -> tuple[Path, subprocess.Popen[str], subprocess.Popen[str]]:
    """A run in the middle of its second step in one process, and another process that has started it too."""
    script = scripts.write(SCRIPT)
    first = scripts.start(script, way, HOLD="1")
    assert {line(first), line(first)} == {"order-7", "shipping"}
    second = scripts.start(script, way)
    assert line(second) == "order-7"
    return script, first, second


@pytest.mark.parametrize("end", ["go", "fail"])
def test_another_process_that_starts_a_run_gets_its_end(scripts: Scripts, end: str) -> None:
    """start() of an id that another process executes waits for the result, or the error, of that run."""
    _, first, second = held(scripts, "plain")
    said, _ = first.communicate(f"{end}\n", 60)
    expected = f"Receipt(order='7', pid={first.pid}) done" if end == "go" else "NoRoute 7 failed"
    assert said.strip() == expected
    assert second.communicate(timeout=60)[0].strip() == expected
    assert (scripts.folder / "ledger").read_text().split("\n")[:-1] == ["charge 7", "ship 7"]


@pytest.mark.parametrize("way", ["plain", "loop"])
def test_who_has_attached_goes_on_with_the_run_of_a_process_that_dies(scripts: Scripts, way: str) -> None:
    """Killed in a step, its process loses the run to the one that waits for it, which goes on: in its own loop."""
    _, first, second = held(scripts, way)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    said, errors = second.communicate(timeout=60)
    receipt = f"Receipt(order='7', pid={second.pid})"
    assert said.strip() == (f"{receipt} done" if way == "plain" else f"({receipt}, True)"), errors
    assert (scripts.folder / "ledger").read_text().split("\n")[:-1] == ["charge 7", "ship 7", "ship 7"]


def test_an_id_is_enough(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no script reads how a run stands, waits for its result as plain data, and cancels runs."""
    script, first, second = held(scripts, "plain")
    state = scripts.folder / ".perdure" / "state.db"
    monkeypatch.setenv("PERDURE_STATE", str(state))
    handle = perdure.run("order-7")
    assert handle.status() == "running"
    with pytest.raises(TimeoutError):
        handle.result(timeout=0)
    first.communicate("go\n", 60)
    second.communicate(timeout=60)
    assert handle.result(60) == {"order": "7", "pid": first.pid}
    assert handle.cancel().outcome == "none"
    assert [(run.id, run.workflow, run.status, Path(run.script).name) for run in perdure.runs()] == [
        ("order-7", "shop", "done", script.name)
    ]
    with pytest.raises(NotFound, match="there is no run 'order'"):
        perdure.run("order")


def test_a_run_is_cancelled_by_its_handle(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process asks; who waits for the run is told that it was cancelled."""
    _, first, second = held(scripts, "plain")
    monkeypatch.setenv("PERDURE_STATE", str(scripts.folder / ".perdure" / "state.db"))
    handle = perdure.run("order-7")
    assert handle.cancel().outcome == "requested"
    first.communicate("stay\n", 60)
    with pytest.raises(Cancelled, match="run order-7 was cancelled"):
        handle.result(60)
    assert "Cancelled" in second.communicate(timeout=60)[1]


@dataclass
class Parcel:
    """What a workflow of this file returns."""

    label: str


def test_a_handle_knows_the_types_of_a_workflow_of_its_process(machine: Machine) -> None:
    """With the workflow defined, the result is of its own types, and the failure of its own class."""
    trouble = [Trouble("no route")]

    @step(retry=Retry(attempts=1))
    def pack(label: str) -> Parcel:
        if trouble:
            raise trouble.pop()
        return Parcel(label)

    @workflow
    def parcels(label: str) -> Parcel:
        perdure.publish("label", label)
        return pack(label)

    with pytest.raises(Trouble):
        parcels.with_options(id="p-1")("x")
    with pytest.raises(Trouble, match="no route"):
        perdure.run("p-1").result(60)
    assert [run.id for run in perdure.runs(status="failed", workflow="parcels")] == ["p-1"]
    assert perdure.run("p-1").signal("late", 1) == "stored", "it can be resumed"
    parcels.with_options(id="p-1")("x")
    assert perdure.run("p-1").published("label") == "x"
    with pytest.raises(NotFound, match="has not published 'labels'"):
        perdure.run("p-1").published("labels")
    assert perdure.run("p-1").result(60) == Parcel("x")


def test_start_attaches_to_a_run_that_a_call_of_this_process_executes(machine: Machine) -> None:
    """Called in one thread, started in another: the handle gets the result of the call, which goes on undisturbed."""
    from threading import Event, Thread

    entered, go = Event(), Event()

    @step
    def wait() -> int:
        entered.set()
        assert go.wait(60)
        return 1

    @workflow
    def called() -> int:
        return wait()

    caller = Thread(target=called)
    caller.start()
    assert entered.wait(60)
    handle = called.start()
    with pytest.raises(AlreadyRunning):
        called()
    go.set()
    assert handle.result(60) == 1
    caller.join(60)
    assert json.dumps(machine.runs()) == '[["called", "done"]]'
