"""Races of one run over several executions and several workers: the branch that was taken is taken again."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

from tests.conformance.bench import Bench, note, steps
from tests.conformance.conftest import Server
from tests.conformance.shapes.races import arrive, arrived, break_once, broken, fetch, slow
from tests.conformance.test_kills import size, workers

from perdure import step, workflow
from perdure.core.execution.identity import identify
from perdure.engines.selection import cluster_at
from perdure.operations.scripts import find_workflow
from waiting import until

RACER = Path(__file__).parent / "racer.py"
ROUNDS = 4


@step(retry=None)
async def count(n: int, text: str) -> int:
    note("count", n, text)
    return n


def test_a_call_under_way_tells_how_the_race_went(bench: Bench) -> None:
    """A step that was called because of a timeout is called again, though nothing else was saved after it."""
    slow.add("primary")
    broken[0] = True

    @workflow
    async def alone() -> str:
        try:
            text = await asyncio.wait_for(fetch("primary"), 0.05)
        except TimeoutError:
            text = "none"
        break_once()
        return text

    assert isinstance(bench.run(alone), ConnectionError)
    broken[0] = False
    slow.clear()
    assert bench.run(alone) == "none"
    assert steps() == [("fetch", "primary"), "break", "break"]


def test_a_race_before_the_record_is_full(bench: Bench) -> None:
    """A run that goes on in a new record of Temporal's, and in a third, comes out of its races as it did before."""
    arrived["slowly"] = threading.Event()

    @workflow
    async def long(counts: int) -> str:
        seen: list[str] = []

        async def tick() -> None:
            await asyncio.sleep(0.03)
            seen.append("tick")
            await arrive("slowly")

        async def answer() -> None:
            seen.append(await fetch("slowly"))

        await asyncio.gather(answer(), tick())
        for n in range(counts):
            await count(n, " ".join(seen))
        return " ".join(seen)

    assert bench.run(long, 40) == "tick slowly"
    assert steps()[2:] == [("count", n, "tick slowly") for n in range(40)]
    assert sorted(steps()[:2]) == [("arrive", "slowly"), ("fetch", "slowly")]


def test_workers_are_killed_in_races(server: Server, tmp_path: Path) -> None:
    """Whenever a worker dies, another takes the same branches: no drift, and no call is made that lost its race."""
    ledger, script = tmp_path / "ledger", tmp_path / "racer_of_kills.py"
    script.write_text(RACER.read_text())
    url = server.url(dead_after="1s", events=150)
    engine = cluster_at(url)
    call = identify(find_workflow(script, "racing")._spec, (ROUNDS,), {})
    with workers(url, ledger, script) as crew:
        crew.start()
        engine.cluster.wait(engine._starter.take(call, str(script), "races", None))
        for _ in range(2):
            further = size(ledger) + 150
            until(lambda to=further: size(ledger) >= to or engine.status("races") != "running")
            crew.start()
            crew.kill()
        until(lambda: engine.status("races") != "running")
        result = engine.run(call, script=str(script), id="races")
    each = [result[n : n + 5] for n in range(0, len(result), 5)]
    assert [sorted(used[:3]) + used[3:] for used in each] == [
        [f"x {n}", f"y {n}", f"z {n}", f"backup {n}", f"second {n}"] for n in range(ROUNDS)
    ]
    made = Counter(ledger.read_text().splitlines())
    assert {line for line in made if line.startswith("use")} == {f"use {text}" for text in result}
    again = sum(made.values()) - len(made)
    assert again <= 4 * crew.killed, f"only what was under way when a worker died is made again: {made}"
