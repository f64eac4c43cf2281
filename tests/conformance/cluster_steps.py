"""Steps that the tests of clusters share, and how many executions a run has taken."""

from __future__ import annotations

from tests.conformance.bench import Bench, note

from perdure import step
from perdure.engines.selection import cluster_at


@step(retry=None)
def tick(n: int) -> int:
    note(n)
    if n % 50 == 49:
        raise ValueError(f"{n}")
    return n + 1


@step(retry=None)
async def atick(n: int) -> int:
    note(n)
    return n + 1


def executions(bench: Bench, name: str) -> int:
    """How many executions Temporal has of all runs of a workflow."""

    async def count() -> int:
        client = await cluster_at(bench.engine).cluster.client()
        return len([each async for each in client.list_workflows(f"WorkflowType = '{name}'")])

    return cluster_at(bench.engine).cluster.wait(count())
