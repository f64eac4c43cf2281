"""A worker is killed by a run whose steps are named like clean-ups: none of them is executed again, or left out."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conformance.conftest import Server
from tests.conformance.test_kills import workers

from perdure.core.execution.identity import identify
from perdure.core.execution.spec import spec_of
from perdure.engines.selection import cluster_at
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


def test_killed_and_resumed_on_a_cluster(server: Server, tmp_path: Path) -> None:
    """Killed in a step and in a clean-up, failed, and resumed: each look-alike has been executed once."""
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
        engine.cluster.wait(engine._starter.take(call, str(script), "look-alikes", None))
        for reason in reasons[:2]:
            until(lambda gone=reason: not gone.exists())
            crew.start()
        until(lambda: engine.status("look-alikes") == "failed")
        reasons[2].unlink()
        engine.cluster.wait(engine._starter.take(call, str(script), "look-alikes", None))
        until(lambda: engine.status("look-alikes") == "done")
    away = ["close undone", "close undone", "close deferred"]
    done = [ast.literal_eval(line) for line in ledger.read_text().splitlines()]
    assert done == ["make", *NAMES, "last", "last", *away, "make", "last", "close deferred"]
