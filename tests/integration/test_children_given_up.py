"""Child runs that their parent does not wait for any longer."""

from __future__ import annotations

import asyncio

from conftest import Machine
from perdure import step, workflow


def test_a_child_run_that_was_given_up_is_cancelled_at_the_final_end_of_its_parent(machine: Machine) -> None:
    """It is not left for ever as one that was interrupted, also if it has nothing to be put away; nor are its own."""

    @step(retry=None)
    async def wait(n: int) -> None:
        await asyncio.Event().wait()

    @workflow
    async def grandchild() -> None:
        await wait(1)

    @workflow
    async def child() -> None:
        await grandchild()

    @workflow
    async def parent() -> str:
        try:
            await asyncio.wait_for(child(), 0.01)
        except TimeoutError:
            return "went on"
        return "waited"

    assert asyncio.run(parent()) == "went on"
    store = machine.engine.store
    assert {run.workflow: run.status for run in store.runs(children=True)} == {
        "parent": "done",
        "child": "cancelled",
        "grandchild": "cancelled",
    }
