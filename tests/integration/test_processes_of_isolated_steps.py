"""The process of an isolated step is as if it had loaded the script for it alone, and is over after it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path

import pooled_steps as steps
import pytest
from test_map_in_processes import gone

from conftest import Machine, Scripts
from perdure import workflow
from perdure.engines.processes import template
from waiting import until


@workflow
def isolated_whos() -> list[list[int]]:
    return [*[steps.who(n) for n in range(3)], *steps.who.map(range(3, 6), processes=2).results]


@pytest.mark.skipif(not template._can_copy(), reason="only where descriptors of processes are to be had")
def test_each_attempt_has_a_process_of_its_own_also_in_a_map(machine: Machine) -> None:
    """None is used twice, and none has loaded the module itself: they are copies of one that has."""
    found = isolated_whos()
    assert len({pid for pid, _ in found}) == 6
    (loaded_by,) = {loaded_by for _, loaded_by in found}
    assert loaded_by not in {pid for pid, _ in found} | {os.getpid()}


@workflow
def isolated_who() -> int:
    _, loaded_by = steps.who(0)
    return loaded_by


@pytest.mark.skipif(not template._can_copy(), reason="only where descriptors of processes are to be had")
def test_a_process_that_copies_are_made_of_is_replaced_when_it_was_killed(machine: Machine) -> None:
    """By another one, and nothing of it is left open."""
    first = isolated_who()
    os.kill(first, signal.SIGKILL)
    assert isolated_who() != first
    gc.collect()  # a socket that is left open is a warning, which is an error


SHARED = """
    import atexit, os, threading
    from perdure import step, workflow
    {loading}
    LOADED_BY = os.getpid()

    @step(isolate=True)
    def alone() -> bool:
        return LOADED_BY == os.getpid()

    @workflow
    def both() -> list[bool]:
        return [alone(), alone()]

    if __name__ == "__main__":
        print(both())
"""


@pytest.mark.parametrize(
    "loading",
    [
        'file = open("log", "a")',
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "atexit.register(print, 'bye')",
        "if '-P' in __import__('sys').orig_argv and not __import__('os').path.exists('first'):\n"
        "        open('first', 'w').close(); os._exit(3)",
    ],
    ids=["a file", "a thread", "something at exit", "an end"],
)
def test_what_copies_would_share_or_lack_is_loaded_by_each(scripts: Scripts, loading: str) -> None:
    """An open file, a thread, what is done at exit: no process has another one's, and none is left to warn of."""
    done = scripts.run(scripts.write(SHARED.format(loading=loading)), PYTHONWARNINGS="always::ResourceWarning")
    assert "[True, True]\n" in done.stdout, done.stderr
    assert "is still running" not in done.stderr
    assert done.stdout.count("bye") == (3 if "bye" in loading else 0) + ("bye" in loading)


EDITED = """
    from pathlib import Path
    import words
    from perdure import step, workflow

    @step(isolate=True)
    def word() -> str:
        return words.WORD

    @step
    def edit() -> None:
        Path(words.__file__).write_text("WORD = 'another one'")

    @workflow
    def both() -> list[str]:
        first = word()
        edit()
        return [first, word()]

    if __name__ == "__main__":
        print(both())
"""


def test_an_edit_counts_for_the_next_attempt(scripts: Scripts) -> None:
    """As if each process had loaded the script itself."""
    scripts.write("WORD = 'one'", "words.py")
    done = scripts.run(scripts.write(EDITED))
    assert done.stdout == "['one', 'another one']\n", done.stderr


LOADING = """
    import itertools, sys, threading
    from perdure import step, workflow
    from perdure.engines.processes import isolated_step, template

    threading.Thread(target=threading.Event().wait, daemon=True).start()  # so each process loads the script itself
    if "-P" in sys.orig_argv:
        {loading}
    {clock}

    @step(isolate=True, retry=None, timeout="1ms")
    def alone(n: int) -> int:
        return n

    @step(retry=None, timeout="1ms")
    def pooled(n: int) -> int:
        return n

    @workflow
    def both() -> list[int]:
        return [alone(1), *pooled.map([2], processes=1).results]

    if __name__ == "__main__":
        print(both())
"""


def test_the_time_of_an_attempt_begins_when_its_process_has_loaded_the_script(scripts: Scripts) -> None:
    """However short it is: by a clock that stands an hour later each time that it is asked."""
    clock = "real, asked = isolated_step.steady, itertools.count(step=3600)"
    later = "isolated_step.steady = lambda: real() + next(asked)"
    done = scripts.run(scripts.write(LOADING.format(loading="pass", clock=f"{clock}; {later}")))
    assert done.stdout == "[1, 2]\n", done.stderr


def test_a_process_that_does_not_come_to_an_end_with_its_script_is_ended(scripts: Scripts) -> None:
    """The error names the load, not the step, which has not begun."""
    clock = "isolated_step.PATIENCE = template.PATIENCE = 0.5"
    done = scripts.run(scripts.write(LOADING.format(loading="threading.Event().wait()", clock=clock)))
    assert "did not load script.py within 500 ms; the step has not begun" in done.stderr


@workflow
async def isolated_and_cancelled(ledger: str) -> int:
    attempt = asyncio.create_task(steps.endless())
    while not steps.lines(ledger):
        await asyncio.sleep(0)
    attempt.cancel()
    await asyncio.wait([attempt])
    return steps.lines(ledger)[0][1]


def test_a_cancelled_task_ends_the_process(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An async step that never ends is over, and so is the run."""
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    pid = asyncio.run(isolated_and_cancelled(str(tmp_path / "ledger")))
    until(lambda: gone(pid), "the end of the process")
