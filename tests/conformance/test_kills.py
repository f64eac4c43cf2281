"""Workers are killed while they run steps and workflows; every run completes, and no completed step runs again."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conformance.conftest import Server

import warm
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.execution.identity import identify
from perdure.engines.selection import cluster_at
from perdure.engines.temporal.engine import TemporalEngine
from perdure.engines.temporal.payloads import StepCommand, decode
from perdure.operations.scripts import find_workflow
from waiting import until

VICTIM = Path(__file__).parent / "victim.py"
SOURCE = Path(__file__).parents[2] / "src"
COUNT = 12


class Workers:
    """Processes that come and go."""

    def __init__(self, url: str, ledger: Path, script: Path) -> None:
        self._command = [sys.executable, "-m", "perdure", "worker", "--engine", url, str(script)]
        self._env = {**os.environ, "PYTHONPATH": str(SOURCE), "LEDGER": str(ledger)}
        self._log = ledger.with_suffix(".log").open("ab")
        self.alive: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    def start(self) -> None:
        """One more."""
        self.alive.append(warm.Popen(self._command, env=self._env, stderr=self._log, stdout=self._log))

    def kill(self) -> None:
        """SIGKILL to the oldest."""
        victim = self.alive.pop(0)
        victim.kill()
        victim.wait()
        self.killed += 1

    def end(self) -> None:
        """End all."""
        for each in self.alive:
            each.kill()
            each.wait()
        self._log.close()


@contextmanager
def workers(url: str, ledger: Path, script: Path) -> Iterator[Workers]:
    """Workers that are gone afterwards."""
    crew = Workers(url, ledger, script)
    try:
        yield crew
    finally:
        crew.end()


def carry_through_kills(server: Server, folder: Path, kills: int, seed: int, text: str = "") -> str:
    """Start runs and kill workers until so many are dead; then let the last run end, and look at the ledger.

    Args:
        server: the cluster.
        folder: an empty one.
        kills: how many.
        seed: decides when.
        text: another script than the victim.

    Returns:
        What there was, in one line.
    """
    chance = random.Random(seed)
    ledger = folder / "ledger"
    script = folder / f"victim_{seed}.py"
    script.write_text(text or VICTIM.read_text())
    url = server.url(dead_after="1s")
    engine = cluster_at(url)
    bill = find_workflow(script, "bill")
    call = identify(bill._spec, (COUNT,), {})
    ids = []
    with workers(url, ledger, script) as crew:
        crew.start()
        while crew.killed < kills:
            ids.append(f"bill-{seed}-{len(ids)}")
            engine.cluster.wait(engine._starter.take(call, str(script), ids[-1], None))
            while engine.status(ids[-1]) == "running":
                before = size(ledger)
                further = before + 60 * chance.randrange(1, 8)
                looks = itertools.count(1)  # the file is there to look at; the server has other things to do
                until(
                    lambda to=further, looks=looks: (
                        size(ledger) >= to or (next(looks) % 20 == 0 and engine.status(ids[-1]) != "running")
                    ),
                    "work",
                )
                if crew.killed < kills:
                    time.sleep(chance.random() * 0.03)
                    crew.start()
                    crew.kill()
            assert engine.run(call, script=str(script), id=ids[-1]) == expected(COUNT)
        assert crew.killed == kills
    return judge(engine, ledger, ids, kills)


def judge(engine: TemporalEngine, ledger: Path, ids: list[str], kills: int) -> str:
    """Every call has had its effect once; and none was executed again after it was known to be done."""
    began: dict[str, list[float]] = defaultdict(list)
    for line in ledger.read_text().splitlines():
        key, at = line.split()
        began[key].append(float(at))
    effects = {path.suffix[1:] for path in ledger.parent.glob("ledger.*") if path.suffix != ".log"}
    known = {key: at for id in ids for key, at in engine.cluster.wait(completions(engine, id)).items()}
    assert len(known) == len(ids) * (2 * COUNT + 2), "every call of every run is done"
    assert set(known) == effects == set(began), "one effect for each call"
    late = {key: times for key, times in began.items() if max(times) > known[key]}
    assert not late, "a completed step was executed again"
    again = sum(len(times) - 1 for times in began.values())
    assert again <= 4 * kills, "only what was under way when a worker died runs again"
    return f"{kills} kills, {len(ids)} runs, {len(known)} calls, {again} of them executed again"


async def completions(engine: TemporalEngine, id: str) -> dict[str, float]:
    """When Temporal took note that a call was done, by idempotency key; of a run and its children."""
    client = await engine.cluster.client()
    calls: dict[int, str] = {}
    found: dict[str, float] = {}
    async for event in client.get_workflow_handle(id).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            order = decode(event.activity_task_scheduled_event_attributes.input.payloads[0].data, StepCommand)
            calls[event.event_id] = idempotency_key(order.run_id, order.name, order.key, order.n)
        elif event.HasField("activity_task_completed_event_attributes"):
            scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
            found[calls[scheduled]] = event.event_time.ToMicroseconds() / 1e6
        elif event.HasField("child_workflow_execution_started_event_attributes"):
            child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
            found |= await completions(engine, child)
    return found


def size(ledger: Path) -> int:
    """Bytes, of about 60 an entry."""
    return ledger.stat().st_size if ledger.exists() else 0


def expected(count: int) -> int:
    """What a bill comes to."""
    return sum(2 * n for n in range(count)) + sum(2 * n for n in range(100, 100 + count)) + 2 * (1000 + 1001)


CRASHING = """
import os
import signal
from perdure import Retry, step, workflow

@step(retry=Retry(delay="10ms", jitter=0))
def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

@workflow
def crashing() -> None:
    crash()
"""


@pytest.mark.long
def test_a_step_that_kills_its_workers(server: Server, tmp_path: Path) -> None:
    """It is given up in the end, rather than killing one worker after the other for ever."""
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING)
    url = server.url(dead_after="1s")
    engine = cluster_at(url)
    spec = find_workflow(script, "crashing")._spec
    call = identify(spec, (), {})
    engine.cluster.wait(engine._starter.take(call, str(script), "crashing", None))
    deaths = 0
    with workers(url, tmp_path / "ledger", script) as crew:
        while engine.status("crashing") == "running":
            crew.start()
            until(lambda: crew.alive[-1].poll() is not None or engine.status("crashing") != "running")
            deaths += crew.alive[-1].poll() is not None
    assert deaths == 10
    assert "10 workers died while they ran it" in engine.list_runs("crashing")[-1].output.decode("utf-8", "replace")


def test_a_few_kills(server: Server, tmp_path: Path) -> None:
    """Whenever a worker dies, another goes on; nothing that was done is done again."""
    carry_through_kills(server, tmp_path, kills=3, seed=1)


@pytest.mark.long
def test_fifty_kills(server: Server, tmp_path: Path) -> None:
    """The same, 50 times."""
    carry_through_kills(server, tmp_path, kills=50, seed=2)
