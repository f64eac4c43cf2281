"""Async workflows that race, killed in processes of their own; what their steps did stands in a ledger outside."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from conftest import Scripts

HEAD = """
    import asyncio, os, signal
    from perdure import step, workflow

    first = asyncio.Event()

    def ledger(line):
        with open(os.environ["LEDGER"], "a") as file:
            file.write(line + "\\n")

    @step(retry=None, timeout=None)
    async def fetch(mirror: str, seconds: float | None) -> str:
        ledger("fetch " + mirror)
        if seconds is None:
            await first.wait()  # it is not the first
        else:
            await asyncio.sleep(0 if os.path.exists("crashed") else seconds)
        return mirror

    @step(retry=None)
    def crash_once() -> None:
        if not os.path.exists("crashed"):
            open("crashed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""

RACES = {
    "a timeout": """
        try:
            async with asyncio.timeout(0.05):
                text = await fetch("primary", 3600)
        except TimeoutError:
            text = await fetch("backup", 0)
        crash_once()
        return text
    """,
    "wait_for": """
        try:
            text = await asyncio.wait_for(fetch("primary", 3600), 0.05)
        except TimeoutError:
            text = await fetch("backup", 0)
        crash_once()
        return text
    """,
    "the first of several": """
        tasks = [asyncio.create_task(fetch("primary", 3600)), asyncio.create_task(fetch("backup", 0.05))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        text = await fetch("after " + done.pop().result(), 0)
        crash_once()
        return text
    """,
    "as_completed": """
        texts = []
        for each in asyncio.as_completed([fetch("primary", None), fetch("backup", 0)]):
            texts.append(await fetch("after " + await each, 0))
            first.set()
        crash_once()
        return texts[0]
    """,
    "a queue": """
        queue = asyncio.Queue()
        async def produce(mirror, seconds):
            await queue.put(await fetch(mirror, seconds))
        tasks = [asyncio.create_task(produce("primary", None)), asyncio.create_task(produce("backup", 0))]
        texts = []
        for _ in tasks:
            texts.append(await fetch("after " + await queue.get(), 0))
            first.set()
        crash_once()
        return texts[0]
    """,
    "a branch that sleeps for hours": """
        async def second():
            # Slept through for real once; the sleeps of the resumed process take no time.
            await asyncio.sleep(86400 if os.path.exists("crashed") else 0.05)
            return await fetch("backup", 0)
        async def first():
            await fetch("one", 0)
            return await fetch("two", 0.2)
        texts = await asyncio.gather(first(), second())
        crash_once()
        return texts[1]
    """,
}


@pytest.mark.parametrize("race", RACES)
def test_a_race_that_was_killed_goes_on_as_it_went(tmp_path: Path, race: str) -> None:
    """The unedited script takes the branch that it took, and executes no step again; the loser is not tried again."""
    scripts, ledger = Scripts(tmp_path), tmp_path / "ledger"
    body = textwrap.indent(textwrap.dedent(RACES[race]), "    ")
    function = f"@workflow\nasync def load() -> str:\n{body}\nprint(asyncio.run(load()))\n"
    script = scripts.write(textwrap.dedent(HEAD) + function)
    env = {"LEDGER": str(ledger), "PERDURE_STATE": str(tmp_path / "state.db")}
    first = scripts.start(script, **env)
    first.communicate()
    assert first.returncode == -9
    before = ledger.read_text().splitlines()
    assert "fetch backup" in before
    second = scripts.start(script, **env)
    out, err = second.communicate()
    assert second.returncode == 0, err
    assert out.strip().endswith("backup")
    assert ledger.read_text().splitlines() == before
