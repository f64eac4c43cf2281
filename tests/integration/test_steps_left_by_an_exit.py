"""A step that `sys.exit` has left is no completed one; a workflow that goes on past it is told, and nothing else is."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import warm
from perdure import step, workflow


class Halt(BaseException):
    pass


@step(name="exits-in-a-step")
def exits(by: str) -> None:
    raise SystemExit(0) if by == "SystemExit" else Halt


@step(name="exits-in-a-coroutine")
async def exits_later() -> None:
    await asyncio.sleep(0)
    raise Halt


@step(name="after-the-exit")
def after(n: int) -> int:
    return n


@pytest.mark.parametrize("by", ["SystemExit", "Halt"])
def test_a_workflow_that_goes_on_past_an_exit_is_told_once(by: str, capsys: pytest.CaptureFixture[str]):
    """With the next step, and no other one."""

    @workflow(name=f"past-{by}")
    def past() -> int:
        with suppress(SystemExit, Halt):
            exits(by)
        return after(1) + after(2)

    assert past() == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "is not saved" in line]
    assert len(lines) == 1
    assert f"step 'exits-in-a-step' was left by {by}" in lines[0]


def test_a_coroutine_that_was_left_is_told_of_and_one_that_was_cancelled_is_not(capsys: pytest.CaptureFixture[str]):
    """A call that is cancelled is given up, which is saved."""

    @step(name="sleeps-for-long")
    async def sleeps() -> None:
        await asyncio.sleep(3600)

    @workflow(name="past-in-a-loop")
    async def past() -> int:
        task = asyncio.create_task(sleeps())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(Halt):
            await exits_later()
        return await asyncio.to_thread(after, 1)

    assert asyncio.run(past()) == 1
    err = capsys.readouterr().err
    assert err.count("is not saved") == 1
    assert "'exits-in-a-coroutine'" in err


def test_an_exit_that_ends_the_run_says_what_it_always_says(capsys: pytest.CaptureFixture[str]):
    """Nothing goes on past it."""

    @workflow(name="left-by-the-exit")
    def left() -> None:
        exits("SystemExit")

    with pytest.raises(SystemExit):
        left()
    assert "is not saved" not in capsys.readouterr().err


def test_a_script_without_a_file_says_what_it_is_taken_for(tmp_path: Path):
    """Two texts that Python is given in one folder are one script, edited: the run that goes on says so."""
    text = (
        "from perdure import step, workflow\n"
        "@step(retry=None)\ndef send() -> int:\n    {}\n"
        "@workflow\ndef report() -> int:\n    return send()\n"
        "print(report())\n"
    )

    def given(body: str) -> str:
        script = text.format(body)
        return warm.run(
            [sys.executable, "-"], input=script, cwd=tmp_path, capture_output=True, text=True, check=False
        ).stderr

    assert "standard input" not in given("raise PermissionError")
    assert "is taken for this script, edited: a file tells two apart" in given("return 1")
