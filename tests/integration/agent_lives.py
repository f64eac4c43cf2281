"""Agents that are killed: each life is a process of its own, and what it has done stands in a ledger outside of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perdure.engines.local.engine  # noqa: F401  loaded once, not in each life

TOKENS = 1_100
"""What each answer of a scripted model takes."""

PRICE = 0.25
"""The same in dollars."""

_folder = Path()
_kill_at = 0
_in_turn = False


def note(event: str) -> None:
    """Something has happened; the process dies of it if it is the event that this life is to end at."""
    descriptor = os.open(_folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{event}\n".encode())
    os.close(descriptor)
    if len(ledger(_folder)) == _kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def ledger(folder: Path) -> list[str]:
    """What has happened, in all lives."""
    path = folder / "ledger"
    return path.read_text().splitlines() if path.exists() else []


def one_after_the_other() -> None:
    """In this life a tool that has begun ends when the one before it is saved, which is an event: `returned 0`."""
    global _in_turn
    from perdure.ext.agent_steps import AgentSteps

    tool: Any = AgentSteps.tool

    async def tool_and_note(self: AgentSteps, run: Any, name: str, arguments: Any, body: Any) -> Any:
        result = await tool(self, run, name, arguments, body)
        if f"returned {arguments['number']}" not in ledger(_folder):
            note(f"returned {arguments['number']}")
        return result

    AgentSteps.tool = tool_and_note  # type: ignore[method-assign]
    _in_turn = True


async def turn(number: int) -> None:
    """Wait in a tool for its turn to end."""
    await asyncio.sleep(0)  # lets those beside it begin
    for _ in range(1_000_000 if _in_turn and number else 0):
        if f"returned {number - 1}" in ledger(_folder):
            return
        await asyncio.sleep(0)
    assert not (_in_turn and number), "the tool before it is never saved"


def live(folder: Path, main: Callable[[], Any], kill_at: int = 0) -> Any:
    """Call `main` in a process of its own, with its state in `folder`: what it returns, or None if it was killed.

    Args:
        folder: what lives of one run share.
        main: calls the workflow.
        kill_at: the event, counted over all lives, that the process dies of; 0 for none.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            _begin(folder, kill_at)
            (folder / "result").write_text(json.dumps(main()))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if kill_at:
        assert os.WIFSIGNALED(status), "it has come to its end before that event"
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.waitstatus_to_exitcode(status) == 0
    return json.loads((folder / "result").read_text())


def _begin(folder: Path, kill_at: int) -> None:
    global _folder, _kill_at
    from perdure.ext import agent_steps

    _folder, _kill_at = folder, kill_at
    os.environ["PERDURE_STATE"] = str(folder / "state.db")
    os.environ["PERDURE_CRASH_LIMIT"] = "1000000"
    os.environ["PERDURE_ALERTS"] = ""
    os.environ["PERDURE_QUIET"] = "1"
    spend: Any = agent_steps.spend

    def spend_and_note(**amounts: Any) -> None:
        spend(**amounts)
        note("spent")

    agent_steps.spend = spend_and_note
