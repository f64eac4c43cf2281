"""A kill at any commit hands out no attempt anew: what is durable of a call's attempts counts, the last one included.

The witness is a ledger that the attempts append to. Every life is a process of its own, forked from a warm one; the
kill comes just before its commit number K, for every K that it makes.
"""

from __future__ import annotations

import json

import pytest

from conftest import Scripts

VICTIM = """
import asyncio, json, os, signal, sys, tempfile
from pathlib import Path
import perdure
from perdure import Retry, step, workflow
from perdure.engines.local import engine as engines
from perdure.store import group_commit
from perdure.store.runs import Store

SHAPE = sys.argv[1]
POLICY = {
    "total": Retry(attempts=99, delay="1ms", jitter=0, total="1ms"),
    "never": Retry(attempts=3, delay="1ms", jitter=0, never=ConnectionError),
}.get(SHAPE, Retry(attempts=3, delay="1ms", jitter=0))

def attempt():
    with open("ledger", "ab", buffering=0) as ledger:
        ledger.write(b"%d " % perdure.attempt())
    raise ConnectionError("down")

@step(retry=POLICY)
def call(i: int) -> int:
    attempt()

@step(name="call", retry=POLICY)
async def acall(i: int) -> int:
    attempt()

@step
def other() -> str:
    return "went on"

@step(name="other")
async def aother() -> str:
    return "went on"

@workflow
def letters() -> list[int]:
    return [len(letter.attempts) for letter in call.map([3], concurrency=1).dead]

@workflow
async def aletters() -> list[int]:
    return [len(letter.attempts) for letter in (await acall.map([3], concurrency=2)).dead]

@workflow
def handled() -> str:
    try:
        call(3)
    except ConnectionError as error:
        return other()

@workflow
async def ahandled() -> str:
    async def branch():
        try:
            await acall(3)
        except ConnectionError:
            return await aother()
    return (await asyncio.gather(branch(), aother()))[0]

@workflow
def unhandled() -> None:
    call(3)

FLOWS = {"letters": letters, "aletters": aletters, "ahandled": ahandled, "unhandled": unhandled}
flow = FLOWS.get(SHAPE, handled)

def life(kill_at):
    pid = os.fork()
    if pid:
        return os.WEXITSTATUS(status) if os.WIFEXITED(status := os.waitpid(pid, 0)[1]) else -9
    made, real = 0, group_commit.Journal._commit
    def commit(self, batch):
        nonlocal made
        made += 1
        if made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, batch)
    group_commit.Journal._commit = commit
    try:
        result = flow.with_options(id="x")()
        result = asyncio.run(result) if asyncio.iscoroutine(result) else result
        open("result", "w").write(json.dumps(result))
    except ConnectionError:
        open("result", "w").write(json.dumps("failed"))
    engines.close_all()
    os._exit(0)

def ledger():
    return open("ledger").read().split() if os.path.exists("ledger") else []

def durable():
    read, write = os.pipe()
    if not os.fork():
        store = Store(Path("state.db").absolute())
        found = sum(r.name == "call" for run in store.runs() for r in store.attempt_records(run.rid))
        os._exit(os.write(write, b"%d" % found) - 1)
    os.close(write)
    os.wait()
    return int(os.read(read, 9))

kill_at = 0
while True:
    kill_at += 1
    os.chdir(tempfile.mkdtemp(dir=sys.argv[2]))
    os.environ["PERDURE_STATE"] = os.path.abspath("state.db")
    killed = life(kill_at) == -9
    before, saved = len(ledger()), durable() if kill_at > 1 else 0
    life(0)
    resumed = len(ledger())
    if SHAPE == "unhandled":
        life(0)
    print(json.dumps([killed, before, saved, resumed, len(ledger()), json.load(open("result"))]), flush=True)
    if not killed:
        break
"""

GRANTED = {"total": 1, "never": 1}


@pytest.mark.parametrize("shape", ["letters", "aletters", "handled", "ahandled", "unhandled", "total", "never"])
def test_what_is_durable_of_the_attempts_is_all_that_counts(scripts: Scripts, shape: str) -> None:
    """Resumed, a call makes the attempts that no commit holds yet, and none if its policy had given up.

    Only where its failure is what ends the run, starting the run again is asking again.
    """
    script = scripts.write(VICTIM)
    done = scripts.run(script, shape, str(scripts.folder))
    assert done.returncode == 0, done.stderr
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) > 3, "kills at too few commits"
    granted = GRANTED.get(shape, 3)
    for killed, before, saved, resumed, again, result in lives:
        assert saved <= granted
        if killed:
            left = granted if shape == "unhandled" and saved == granted else granted - saved
            assert resumed - before == left, (before, saved, resumed)
        if shape == "unhandled":
            assert again - resumed == granted
        else:
            assert again == resumed
            assert result == ([granted] if "letters" in shape else "went on")
