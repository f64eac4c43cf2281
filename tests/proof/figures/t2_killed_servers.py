"""T2: the server of a Temporal cluster is killed under load, and started again."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.proof.figures.t1_killed_workers import OTHER_KEYS, TWICE, judged, says  # isort: skip  it says where modules are
from tests.conformance.conftest import Server
from tests.conformance.test_kills import COUNT, VICTIM, expected, judge, size, workers
from tests.proof.form import Figures, Proof, each_of
from tests.waiting import until

from perdure.core.execution.identity import identify
from perdure.engines.selection import cluster_at
from perdure.operations.scripts import find_workflow

RUNS = 4
"""At a time."""


def run(part: int, seed: int, cases: int) -> Figures:
    """A server that dies so often."""
    return on_a_disk(cases, cases, seed + part, VICTIM.read_text())


def on_a_disk(cases: int, kills: int, seed: int, text: str) -> Figures:
    """On a server that writes to a file: what one has in memory is gone with it."""
    return judged(cases, lambda server, folder: carry_through(server, folder, kills, seed, text), kept=True)


def carry_through(server: Server, folder: Path, kills: int, seed: int, text: str) -> str:
    """Some runs at a time, and two workers; the server is killed in the middle until it has died so often."""
    chance = random.Random(seed)
    ledger = folder / "ledger"
    script = folder / f"served_{seed}.py"
    script.write_text(text)
    url = server.url(dead_after="2s")
    engine = cluster_at(url)
    call = identify(find_workflow(script, "bill")._spec, (COUNT,), {})
    ids: list[str] = []
    killed = 0
    with workers(url, ledger, script) as crew:
        crew.start()
        crew.start()
        while killed < kills:
            these = [f"served-{seed}-{len(ids) + number}" for number in range(RUNS)]
            ids += these
            for id in these:
                engine.cluster.wait(engine._starter.take(call, str(script), id, None))
            further = size(ledger) + 60 * chance.randrange(4, RUNS * COUNT)
            until(lambda to=further: size(ledger) >= to, f"{further // 60} lines of the ledger")
            kill_and_start(server)
            killed += 1
            for id in these:
                until(lambda id=id: engine.status(id) != "running", f"the end of {id}")  # type: ignore[misc]
                assert engine.run(call, script=str(script), id=id) == expected(COUNT), id
    return judge(engine, ledger, ids, RUNS * kills)


def kill_and_start(server: Server) -> None:
    """With SIGKILL; on the same port, and with what it had written."""
    server._process.kill()
    server._process.wait()
    again: list[str] = [str(each) for each in server._process.args]  # type: ignore[union-attr]
    server._process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert server._answers(), "the server does not start again"


def control(seed: int) -> Figures:
    """The same with keys that each execution makes up anew."""
    text = VICTIM.read_text().replace(*OTHER_KEYS)
    return each_of(on_a_disk(1, 1, seed, text), TWICE)


PROOF = Proof(
    name="T2",
    claim="the server of a cluster killed under load and started again: every run ends with its result, nothing"
    " completed is executed again, one effect for each call",
    unit="killed servers",
    size=100,
    part=5,
    run=run,
    control=control,
    controlled="keys made up anew",
    short="",
    says=says,
    alone=True,
)
