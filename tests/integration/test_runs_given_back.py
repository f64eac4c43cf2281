"""A worker cannot give a run back, since the disk is full or it dies: somebody goes on with the run all the same."""

from __future__ import annotations

import pytest
from worker_world import World, world

__all__ = ["world"]

SCRIPT = """
    import os, signal
    from pathlib import Path
    import perdure
    from perdure.errors import DiskFull
    from perdure.store import claims
    from perdure.store.group_commit import Journal

    HERE = Path(__file__).parent

    def first(what: str) -> bool:
        path = HERE / what
        there = path.exists()
        path.touch()
        return not there

    @perdure.step
    def work(run: str) -> str:
        return run

    @perdure.workflow
    def job(run: str) -> str:
        return work(run)

    write, give_back = Journal.write, claims.give_back

    def full(self, rows, operation=None):
        if rows and first("full"):
            raise DiskFull("no space is left", "free some")
        return write(self, rows, operation)

    def broken(*args, **kwargs):
        if first("given-back"):
            if HOW == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise DiskFull("no space is left", "free some")
        return give_back(*args, **kwargs)

    HOW = os.environ["HOW"]
    Journal.write, claims.give_back = full, broken
"""


@pytest.mark.parametrize("how", ["dies", "full"])
def test_a_run_that_was_stopped_and_not_given_back(world: World, how: str) -> None:
    """Its step could not be saved, and neither that it is due again: it is taken over as that of a dead process."""
    world.write(SCRIPT)
    world.worker(HOW=how)
    world.add("a")
    world.becomes("done", "a")
    assert (world.folder / "given-back").exists()
