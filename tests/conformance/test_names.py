"""A worker is killed by a run whose steps are named like clean-ups: none of them is executed again, or left out."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from pathlib import Path

from tests.conformance.conftest import Server
from tests.conformance.test_kills import workers

from perdure.core.execution.identity import identify
from perdure.core.execution.spec import spec_of
from perdure.engines.selection import cluster_at
from perdure.engines.temporal.commands import RECALL
from perdure.engines.temporal.engine import TemporalEngine
from perdure.engines.temporal.executions import Found
from perdure.engines.temporal.payloads import StepCommand, decode
from perdure.operations.scripts import find_workflow
from waiting import until

NAMES = ("undo:close", "undo:", "defer:close", "defer:", "perdure", "perdure:undo", "undone", "builtin", "recall")

SCRIPT = f"""
import os, signal
import perdure
from perdure import defer_every_end, step, workflow

NAMES = {NAMES!r}

def note(line):
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, repr(line).encode() + b"\\n")
    os.close(descriptor)

def named(name):
    @step(name=name, retry=None)
    def look_alike(what: str) -> str:
        note(name)
        return what
    return look_alike

STEPS = [named(name) for name in NAMES]

def die(reason):
    if os.path.exists(os.environ["LEDGER"] + reason):
        os.remove(os.environ["LEDGER"] + reason)
        os.kill(os.getpid(), signal.SIGKILL)

@step(retry=None)
def close(what: str) -> None:
    note(f"close {{what}}")
    die(".late")

@step(retry=None, undo=close)
def make(what: str) -> str:
    note("make")
    return what

@step(retry=None)
def last() -> None:
    note("last")
    die(".early")
    if os.path.exists(os.environ["LEDGER"] + ".broken"):
        raise ConnectionError("down")

@workflow
def look_alikes() -> str:
    defer_every_end(close, "deferred")
    make("undone")
    for each in STEPS:
        each("a")
    last()
    return perdure.uuid().hex[:0] + "well"
"""


async def calls(engine: TemporalEngine, execution: Found) -> list[tuple[tuple[str, str], int]]:
    """The calls of an execution, as the cluster made them: kind and name of the step, and how many attempts."""
    client = await engine.cluster.client()
    names: dict[int, tuple[str, str]] = {}
    found: dict[int, int] = {}
    handle = client.get_workflow_handle(execution.workflow_id, run_id=execution.run_id)
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name != RECALL:
                command = decode(scheduled.input.payloads[0].data, StepCommand)
                names[event.event_id] = (command.kind, command.name)
        elif event.HasField("activity_task_started_event_attributes"):
            started = event.activity_task_started_event_attributes
            found[started.scheduled_event_id] = started.attempt
    return [(name, found[number]) for number, name in names.items()]


def test_killed_and_resumed_on_a_cluster(server: Server, tmp_path: Path) -> None:
    """Killed in a step and in a clean-up, failed, and resumed: each look-alike is called once, and executed.

    A worker that does not answer for a second counts as dead, on a slow machine too: its step has an attempt more then.
    So the calls are those that the cluster has in its histories, and no step was executed more often than it says.
    """
    ledger, script = tmp_path / "ledger", tmp_path / "look_alikes.py"
    script.write_text(SCRIPT)
    reasons = [ledger.with_name(f"ledger.{each}") for each in ("early", "late", "broken")]
    for each in reasons:
        each.touch()
    engine = cluster_at(server.url(dead_after="1s"))
    flow = find_workflow(script, "look_alikes")
    call = identify(spec_of(flow), (), {})
    with workers(server.url(dead_after="1s"), ledger, script) as crew:
        crew.start()
        first, _ = engine.cluster.wait(engine._starter.take(call, str(script), "look-alikes", None))
        for reason in reasons[:2]:
            until(lambda gone=reason: not gone.exists())
            crew.start()
        until(lambda: engine.status("look-alikes") == "failed")
        reasons[2].unlink()
        second, _ = engine.cluster.wait(engine._starter.take(call, str(script), "look-alikes", None))
        until(lambda: engine.status("look-alikes") == "done")
    made = [engine.cluster.wait(calls(engine, each)) for each in (first, second)]
    looks = [("step", name) for name in NAMES]
    begun, again = [("defer", "perdure.defer_every_end"), ("step", "make")], [("step", "make"), ("step", "last")]
    ends = [("undone", "undo:close"), ("deferred", "defer:close")]
    assert [who for who, _ in made[0]] == [*begun, *looks, ("step", "last"), *ends]
    assert [who for who, _ in made[1]] == [*again, ("builtin", "perdure.uuid"), ends[1]]
    most: Counter[str] = Counter()
    for (kind, name), attempts in itertools.chain(*made):
        most["close" if kind in ("undone", "deferred") else name] += attempts
    executed = Counter(ast.literal_eval(line).partition(" ")[0] for line in ledger.read_text().splitlines())
    assert set(executed) == {"make", *NAMES, "last", "close"}
    assert [name for name in executed if executed[name] > most[name]] == []
    assert (executed["last"] >= 3, executed["close"] >= 4) == (True, True)  # once more for each kill
