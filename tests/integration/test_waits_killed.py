"""A kill at any commit of a run that waits: each signal is taken once, in order, and no wait is made twice or lost.

Every life is a process of its own, forked from a warm one. The kill comes just before commit number K of all that the
lives of the run make: for every third K, in the long run for every one. The witness is a ledger that a step appends to.
"""

from __future__ import annotations

import json

import pytest

from conftest import Scripts

VICTIM = """
import asyncio, json, os, signal, sys, tempfile
from pathlib import Path
import perdure
from perdure import aio, step, workflow
from perdure.engines.local import engine as engines
from perdure.errors import Suspended
from perdure.store.runs import Store
from perdure.store.signals import send
from perdure.core.values import codec
from perdure.testing.clock import Clock

KIND, STRIDE, CONTROL = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["control"]
START = 1_800_000_000.0

def witness(n):
    with open("ledger", "ab", buffering=0) as ledger:
        ledger.write(b"%d " % n)

@step(name="killed.note")
def note(n: int) -> None:
    witness(n)

@step(name="killed.anote")
async def anote(n: int) -> None:
    witness(n)

@workflow(name="killed.sync")
def waits():
    got = []
    for _ in range(2):
        got.append(perdure.wait_for("n", timeout="1h"))
        note(got[-1])
    perdure.sleep("2h")
    return [*got, perdure.wait_any(perdure.event("n"), perdure.timer("1h")).value]

@workflow(name="killed.async")
async def awaits():
    async def takes():
        got = []
        for _ in range(2):
            got.append(await aio.wait_for("n", timeout="1h"))
            await anote(got[-1])
        return got

    got, _ = await asyncio.gather(takes(), aio.sleep("2h"))
    return [*got, (await aio.wait_any(perdure.event("n"), perdure.timer("1h"))).value]

if CONTROL:  # a signal is not marked with the record of its wait
    from perdure.store import waits as store_waits
    store_waits._mark = lambda *given: None

STATE = Path("state", "state.db")
os.environ["PERDURE_STATE"] = "state/state.db"
os.environ["PERDURE_QUIET"] = "1"

def life(kill_at):
    path = STATE.absolute()
    engine = engines._engines[path] = engines.LocalEngine(path, world=Clock(float(Path("now").read_text())))
    engine.store.journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
    engine.resources.suspend_after = 0.0

    def around(batch, done):
        if not done:
            with open("commits", "ab", buffering=0) as commits:
                commits.write(b".")
            if os.path.getsize("commits") == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    Path("commits").touch()
    engine.store.journal.around = around
    try:
        flow = (waits if KIND == "sync" else awaits).with_options(id="killed")
        result = flow() if KIND == "sync" else asyncio.run(flow())
    except Suspended as left:
        Path("wake").write_text(str(left.wake))
        return
    Path("result").write_text(json.dumps(result))

def send_one(n):
    store = Store(STATE.absolute())
    run = store.runs()[0]
    data = codec.plan(int, owner="n").pack(n)
    store.journal.write((), send(store, run.id, "n", "", data, clock=lambda: float(Path("now").read_text())))
    store.close()

def child(act, *given):
    pid = os.fork()
    if pid == 0:
        try:
            with open(os.devnull, "w") as sys.stderr:
                act(*given)
            os._exit(0)
        except BaseException as error:
            Path("trouble").write_text(repr(error))
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def history(kill_at):
    "What has come of a run that was killed at that commit; None if it makes fewer."
    with tempfile.TemporaryDirectory(dir=".") as folder:
        home = os.getcwd()
        os.chdir(folder)
        os.mkdir("state")
        Path("now").write_text(str(START))
        killed, sent = False, 0
        for _ in range(20):
            killed |= child(life, kill_at) == -signal.SIGKILL
            if os.path.exists("result") or os.path.exists("trouble"):
                break
            if not os.path.exists("wake"):
                continue
            if sent < 3:
                sent += 1
                child(send_one, sent)
                if sent == 1:
                    sent += 1
                    child(send_one, sent)
            else:
                Path("now").write_text(Path("wake").read_text())
            os.remove("wake")
        names = ("result", "ledger", "trouble")
        result, ledger, trouble = (Path(name).read_text() if os.path.exists(name) else "" for name in names)
        os.chdir(home)
        return [kill_at, result, ledger.split(), trouble] if killed else None

found, FIRST = [], 2 if KIND == "async" and STRIDE > 1 else 1
while (one := history(FIRST + len(found) * STRIDE)) is not None and not (CONTROL and len(found) >= 8):
    found.append(one)
print(json.dumps(found))
"""


def histories(scripts: Scripts, kind: str, stride: int, *how: str) -> list[tuple[int, str, list[str], str]]:
    done = scripts.run(scripts.write(VICTIM), kind, str(stride), *how)
    assert done.returncode == 0, done.stderr
    found: list[tuple[int, str, list[str], str]] = json.loads(done.stdout)
    return found


def once(ledger: list[str]) -> list[str]:
    """Without what a step has done twice, since the kill came between its effect and its commit."""
    return [n for place, n in enumerate(ledger) if place == 0 or ledger[place - 1] != n]


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_kill_at_any_commit_takes_no_signal_twice_and_loses_none(scripts: Scripts, kind: str, stride: int) -> None:
    """Whatever was committed: the results are those of a run that nobody has killed."""
    found = histories(scripts, kind, stride)
    assert len(found) * stride > 12
    for at, result, ledger, trouble in found:
        assert (result, once(ledger), trouble) == ("[1, 2, 3]", ["1", "2"], ""), at


def test_it_is_noticed_if_taking_is_not_part_of_the_record(scripts: Scripts) -> None:
    """The control: a signal that is not marked in the transaction that records it is taken again."""
    assert any(result != "[1, 2, 3]" for _, result, _, _ in histories(scripts, "sync", 1, "control"))
