"""A step that `sys.exit` has left: what the workflow handles is history, what ends its life is none."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import warm
from conftest import Died, Machine
from perdure import sleep, step, workflow


class Halt(BaseException):
    pass


@step(name="exits-in-a-step")
def exits(by: str) -> None:
    raise SystemExit(0)


@step(name="after-the-exit")
def after(n: int) -> int:
    return n


class Later(Exception):
    pass


@pytest.fixture
def went(machine: Machine) -> list[object]:
    """What was executed."""
    return machine.ran


@pytest.mark.parametrize("end", ["a step", "none"])
@pytest.mark.parametrize("by", ["SystemExit", "Halt"])
def test_an_exit_that_the_workflow_handles_is_not_made_again(went: list[object], by: str, end: str) -> None:
    """The resumed run is left by an equal one at that place, whether a step follows or the run fails at once."""

    @step(name="exits")
    def exits() -> None:
        went.append("exits")
        raise SystemExit(3) if by == "SystemExit" else Halt(3)

    @workflow(name=f"past-{by}-{end}")
    def past() -> None:
        try:
            exits()
        except (SystemExit, Halt) as left:
            went.append((type(left), left.args, getattr(left, "code", None)))
        if end == "a step":
            after(1)
        raise Later

    for _ in range(2):
        with pytest.raises(Later):
            past()
    handled = (SystemExit, (3,), 3) if by == "SystemExit" else (Halt, (3,), None)
    assert went == ["exits", handled, handled]


executed: list[int] = []


@step(name="exits-at-two", retry=None)
def exits_at_two(n: int) -> int:
    executed.append(n)
    if n == 2:
        raise Halt(n)
    return n


@step(name="exits-at-two-in-a-task", retry=None)
async def aexits_at_two(n: int) -> int:
    executed.append(n)
    if n == 2:
        raise Halt(n)
    return n


@step(name="is-called-wrongly", retry=None)
def is_called_wrongly(n: int) -> int:
    executed.append(n)
    raise TypeError("is called wrongly")


@workflow(name="child-that-exits")
def child(n: int) -> None:
    after(n)
    executed.append(n)
    raise Halt(n)


@workflow(name="async-child-that-exits")
async def achild(n: int) -> None:
    executed.append(n)
    raise Halt(n)


@pytest.mark.parametrize(
    "calls",
    [
        lambda: exits_at_two.map([1, 2, 3]),
        lambda: exits_at_two.map([1, 2, 3], concurrency=3),
        lambda: exits_at_two.map([1, 2, 3], on_failure="raise"),
        lambda: aexits_at_two.map([1, 2, 3], concurrency=2),
        lambda: is_called_wrongly.map([1, 2, 3]),
        lambda: child(2),
        lambda: child.with_options(id="named")(2),
        lambda: achild(2),
    ],
    ids=["item", "on threads", "that raises", "in tasks", "a fault of the program", "child", "by id", "async child"],
)
def test_what_has_left_a_map_or_a_run_is_history(machine: Machine, calls: Callable[[], Any]) -> None:
    """An exit of an item or of a run that is called, or a fault of the program that has ended a map: handled by the
    workflow, it is what the resumed run gets there, and nothing is executed again."""
    executed.clear()
    seen: list[object] = []

    @workflow(name="goes-past-it")
    async def past() -> None:
        try:
            done = calls()
            seen.append((await done) if hasattr(done, "__await__") else done)
        except (Halt, TypeError) as left:
            seen.append((type(left), left.args))
        after(7)
        raise Died

    with pytest.raises(Died):
        asyncio.run(past())
    before = list(executed)
    machine.boot()
    with pytest.raises(Died):
        asyncio.run(past())
    assert executed == before
    assert seen == [(Halt, (2,))] * 2 or seen == [(TypeError, ("is called wrongly",))] * 2


def test_an_exit_of_an_item_or_a_child_that_ends_the_run_is_none(machine: Machine) -> None:
    """Both get their chance in the next life; what was done beside is kept."""
    executed.clear()
    fails = [True]

    @step(name="exits-at-first")
    def item(n: int) -> int:
        executed.append(n)
        if n == 2 and fails:
            raise SystemExit(3)
        return n

    @workflow(name="part-that-exits")
    def part() -> int:
        return sum(item.map([1, 2]).results)

    @workflow(name="left-by-a-child")
    def left() -> int:
        return part()

    with pytest.raises(SystemExit):
        left()
    fails.clear()
    machine.boot()
    assert left() == 3
    assert executed == [1, 2, 2]


def test_an_exit_of_a_coroutine_or_a_thread_is_kept_as_well(went: list[object]) -> None:
    """A call that is cancelled is given up, and is no exit."""

    @step(name="sleeps-for-long")
    async def sleeps() -> None:
        await asyncio.sleep(3600)

    @step(name="exits-in-a-coroutine")
    async def exits_later() -> None:
        went.append("coroutine")
        await asyncio.sleep(0)
        raise Halt

    @step(name="exits-in-a-thread")
    def exits_there() -> None:
        went.append("thread")
        raise Halt

    def there() -> None:
        with suppress(Halt):
            exits_there()

    @workflow(name="past-in-a-loop")
    async def past() -> None:
        task = asyncio.create_task(sleeps())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(Halt):
            await exits_later()
        await asyncio.to_thread(there)
        await asyncio.to_thread(after, 1)
        raise Later

    for _ in range(2):
        with pytest.raises(Later):
            asyncio.run(past())
    assert went == ["coroutine", "thread"]


@pytest.mark.parametrize("by", [SystemExit, Halt])
def test_an_exit_in_a_task_of_a_map_leaves_the_items_beside_it(went: list[object], by: type[BaseException]) -> None:
    """As on threads: they come to their end, nothing else begins, and all of it is history once it is handled."""

    @step(name="exits-in-a-task", retry=None)
    async def leaves(n: int) -> int:
        for _ in range(20 * n):  # turns of the loop
            await asyncio.sleep(0)
        went.append(n)
        if n == 1:
            raise by(3)
        return n

    @workflow(name=f"past-an-item-{by.__name__}")
    async def past() -> None:
        with suppress(by):
            await leaves.map([1, 2, 3], concurrency=2)
        went.append("on")
        raise Later

    for _ in range(2):
        with pytest.raises(Later):
            asyncio.run(past())
    assert went == [1, 2, "on", "on"]


@pytest.mark.parametrize("first", [SystemExit, PermissionError])
def test_what_an_exit_ends_the_run_for_gets_its_chance(went: list[object], first: type[BaseException]) -> None:
    """The exit itself, or the failure that the workflow has exited for; what it has called meanwhile is kept."""

    @step(name="fails-at-first", retry=None)
    def fails() -> str:
        went.append("fails")
        if went == ["fails"]:
            raise first(2)
        return "done"

    @step(name="tells-of-it")
    def tells() -> None:
        went.append("tells")

    @workflow(name=f"exits-for-{first.__name__}")
    def wf() -> str:
        try:
            return fails()
        except (SystemExit, PermissionError):
            tells()
            sys.exit(2)

    with pytest.raises(SystemExit):
        wf()
    assert wf() == "done"
    assert went == ["fails", "tells", "fails"]


def test_a_handled_exit_survives_a_kill(tmp_path: Path) -> None:
    """With what was saved after it."""
    (tmp_path / "killed.py").write_text(
        "import os, sys\nfrom perdure import step, workflow\n"
        "@step(retry=None)\ndef exits():\n    print('EXITS', flush=True); sys.exit(4)\n"
        "@step\ndef after():\n    print('AFTER', flush=True)\n"
        "@step\ndef dies():\n    if not os.path.exists('died'): open('died', 'w').close(); os.kill(os.getpid(), 9)\n"
        "@workflow\ndef main():\n    try: exits()\n    except SystemExit as left: code = left.code\n"
        "    after(); dies(); print('CODE', code)\n"
        "main()\n"
    )
    out = [
        warm.run([sys.executable, "killed.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        for _ in range(2)
    ]
    assert out == ["EXITS\nAFTER\n", "CODE 4\n"]


class Group(BaseExceptionGroup):
    pass


def test_what_has_no_outcome_is_told_once_if_the_workflow_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A group may hold what comes from outside: the step is executed once more."""

    @step(name="left-by-a-group")
    def grouped() -> None:
        raise Group("from outside", [GeneratorExit()])

    @workflow(name="goes-past")
    def past() -> int:
        with suppress(Group):
            grouped()
        return after(1) + after(2)

    assert past() == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "is not saved" in line]
    assert len(lines) == 1
    assert "step 'left-by-a-group' was left by Group" in lines[0]


@pytest.mark.parametrize("over", ["calls", "items", "threads", "child"])
def test_ctrl_c_that_a_finally_with_a_step_has_seen_goes_on(machine: Machine, over: str) -> None:
    """A script that nobody has edited always goes on: with what was cut off, and not with what is saved."""
    executed.clear()
    cuts = [KeyboardInterrupt()]

    @step(name="books")
    def book(n: int) -> int:
        executed.append(n)
        if n == 2 and cuts:
            raise cuts.pop()
        return n

    @workflow(name="books-in-a-child")
    def books() -> int:
        return sum(book(n) for n in (1, 2, 3))

    @workflow(name=f"cut-off-{over}")
    def flow() -> int:
        try:
            if over == "child":
                return books()
            if over in ("items", "threads"):
                return sum(book.map([1, 2, 3], concurrency=1 if over == "items" else 2).results)
            return sum(book(n) for n in (1, 2, 3))
        finally:
            book(9)

    with pytest.raises(KeyboardInterrupt):
        flow()
    machine.boot()
    assert flow() == 6
    assert executed.count(1) == executed.count(9) == 1
    assert executed.count(2) == 2
    assert {status for _, status in machine.runs()} == {"done"}


def cut_off(flow: Callable[[], Coroutine[Any, Any, int]], cuts: list[Callable[[], object]], by: str) -> None:
    """Begin an async workflow that cuts itself off by what is given to it: a Ctrl-C, or its task cancelled."""

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        cuts.append(task.cancel if by == "cancel" else lambda: signal.raise_signal(signal.SIGINT))
        return await flow()

    with pytest.raises(KeyboardInterrupt if by == "Ctrl-C" else asyncio.CancelledError):
        asyncio.run(main())


@pytest.mark.parametrize("by", ["Ctrl-C", "cancel"])
@pytest.mark.parametrize("over", ["calls", "gather", "group", "child"])
def test_a_cancellation_from_outside_that_a_finally_with_a_step_has_seen_goes_on(
    machine: Machine, over: str, by: str
) -> None:
    """As asyncio makes of Ctrl-C: what was given up for it is made again; what a timeout in it gave up is not."""
    executed.clear()
    cuts: list[Any] = []

    @step(name="books-in-tasks")
    async def book(n: int) -> int:
        executed.append(n)
        if n == 0:
            await asyncio.Event().wait()
        if n == 2 and cuts:
            cuts.pop()()
            await asyncio.Event().wait()
        return n

    @workflow(name="books-in-a-child-task")
    async def books() -> int:
        return await book(1) + await book(2) + await book(3)

    @workflow(name=f"cancelled-{over}")
    async def flow() -> int:
        with suppress(TimeoutError):
            await asyncio.wait_for(book(0), 0.001)
        try:
            if over == "child":
                return await books()
            if over == "gather":
                return sum(await asyncio.gather(book(1), book(2), book(3)))
            if over == "group":
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(book(n)) for n in (1, 2, 3)]
                return sum(task.result() for task in tasks)
            return await book(1) + await book(2) + await book(3)
        finally:
            await book(9)

    cut_off(flow, cuts, by)
    machine.boot()
    assert asyncio.run(flow()) == 6
    assert [executed.count(n) for n in (0, 1, 2, 3, 9)] == [1, 1, 2, 1, 1]
    assert {status for _, status in machine.runs()} == {"done"}


@pytest.mark.parametrize("way", ["raise", "exit", "error", "sleep", "child", "id", "items", "a failing step"])
@pytest.mark.parametrize("by", [KeyboardInterrupt, SystemExit, Halt, ValueError])
def test_what_is_called_while_an_error_outside_of_steps_is_handled_goes_on(
    machine: Machine, by: type[BaseException], way: str
) -> None:
    """In plain code, or in a wait: once the script is put right, what was called meanwhile is not held against it."""
    executed.clear()
    cuts = [by()]

    @step(name="books-beside", retry=None)
    def book(n: int) -> int:
        executed.append(n)
        if n == 8 and way == "a failing step":
            raise Later
        return n

    @workflow(name="books-in-a-child-beside")
    def tell() -> int:
        return book(9)

    def plain() -> list[int]:
        done = [book(1)]
        if cuts:
            raise cuts.pop()
        return [*done, book(2), book(3)]

    @workflow(name=f"cut-off-outside-{way}-{by.__name__}")
    def flow() -> list[int]:
        try:
            return plain()
        except by as error:
            if way == "child":
                tell()
            if way == "id":
                tell.with_options(id="beside")()
            if way == "sleep":
                sleep(0)
            if way == "items":
                book.map([9], concurrency=2)
            else:
                book(9)
            if way == "a failing step":
                book(8)
            if way == "exit":
                sys.exit(130)
            if way == "error":
                raise Later from error
            raise

    with pytest.raises({"exit": SystemExit, "error": Later, "a failing step": Later}.get(way, by)):
        flow()
    machine.boot()
    assert flow() == [1, 2, 3]
    assert [n for n in executed if n < 8] == [1, 2, 3]
    assert executed.count(9) == (2 if way in ("child", "id") else 1)


@pytest.mark.parametrize("by", [SystemExit, Halt, ValueError])
@pytest.mark.parametrize("over", ["calls", "items", "threads", "tasks"])
def test_a_process_that_dies_while_an_error_outside_of_steps_is_handled(
    machine: Machine, over: str, by: type[BaseException]
) -> None:
    """The next life comes to the same error and makes no call again; nor does the one after, in which all goes well."""
    executed.clear()
    ill, dies = [True], [Died()]

    @step(name="books-in-lives")
    def book(n: int) -> int:
        executed.append(n)
        return n

    @step(name="books-in-lives-of-tasks")
    async def abook(n: int) -> int:
        executed.append(n)
        return n

    def fails() -> None:
        if ill:
            raise by("of its own code")

    def after() -> None:
        if dies:
            raise dies.pop()

    @workflow(name=f"dies-in-a-finally-{over}-{by.__name__}")
    def flow() -> int:
        try:
            done = book(1)
            fails()
            return done + book(2)
        finally:
            if over == "items":
                book.map([8, 9])
            else:
                with ThreadPoolExecutor(1) as pool:
                    list((pool.map if over == "threads" else map)(book, [8, 9]))
            after()
            book(7)

    @workflow(name=f"dies-in-a-finally-{over}-{by.__name__}")
    async def aflow() -> int:
        try:
            done = await abook(1)
            fails()
            return done + await abook(2)
        finally:
            await asyncio.gather(abook(8), abook(9))
            after()
            await abook(7)

    def live() -> int:
        machine.boot()
        return asyncio.run(aflow()) if over == "tasks" else flow()

    with pytest.raises(Died):
        live()
    with pytest.raises(by, match="of its own code"):
        live()
    ill.clear()
    assert live() == 3
    assert executed == [1, 8, 9, 7, 2]


def test_drift_after_a_kill_in_a_handler_says_what_it_may_be(tmp_path: Path) -> None:
    """Nothing was edited if the error that was handled does not come again; the command beside it goes on."""
    (tmp_path / "killed.py").write_text(
        "import os\nfrom perdure import step, workflow\n"
        "@step\ndef tell(n):\n    if n == 9: os.mkdir('there'); os.kill(os.getpid(), 9)\n    return n\n"
        "@workflow\ndef main():\n    try:\n        os.rmdir('there')\n"
        "    except OSError:\n        tell(8)\n        tell(9)\n        raise\n    return tell(1)\n"
        "main()\n"
    )
    command = [sys.executable, "killed.py"]
    said = [warm.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr for _ in range(2)][1]
    assert "now:      tell(1)" in said
    assert "or nothing was edited: the process died in an `except` or a `finally` whose cause is gone" in said


@pytest.mark.parametrize("is_async", ["", "async "])
def test_a_process_that_is_killed_while_an_exit_is_handled_that_does_not_come_again(
    tmp_path: Path, is_async: str
) -> None:
    """Ctrl-C, or the `sys.exit` of a SIGTERM, and a kill soon after: the next life knows of neither, and goes on."""
    call = "await book" if is_async else "book"
    (tmp_path / "killed.py").write_text(
        "import asyncio, os, sys\nfrom perdure import step, workflow\n"
        "def first(name):\n    try: os.mkdir(name)\n    except FileExistsError: return False\n    return True\n"
        f"@step\n{is_async}def book(n):\n    print(n)\n    return n\n"
        f"@workflow\n{is_async}def main():\n    try:\n"
        f"        done = {call}(1)\n        if first('left'): sys.exit(1)\n        return done + {call}(2)\n"
        f"    finally:\n        {call}(8)\n        {call}(9)\n        if first('died'): os.kill(os.getpid(), 9)\n"
        f"print({'asyncio.run(main())' if is_async else 'main()'})\n"
    )
    out = [
        warm.run([sys.executable, "-u", "killed.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        for _ in range(2)
    ]
    assert out == ["1\n8\n9\n", "2\n3\n"]


SYNC = """
    @step
    def book(n):
        print(f'{n}\\n', end='')  # in one piece: two threads print
        return n
    @workflow
    def kid(n): return book(n)
    def several(n):
        return sum(book.map([n, n + 1], concurrency=2).results) + kid(n + 2) + len(kid.enqueue(n + 3).id[:0])
    @workflow
    def main():
        try:
            done = book(1)
            if first("left"): sys.exit(1)
            done += several(10)
        finally:
            if leaves:
                several(80)
                os.kill(os.getpid(), 9)
        return done + several(20)
    print(main())
"""

ASYNC = """
    @step
    async def book(n):
        print(n)
        return n
    @workflow
    async def kid(n): return await book(n)
    async def several(n):
        done = await book.map([n, n + 1], concurrency=1)
        return sum(done.results) + await kid(n + 2) + sum(await asyncio.gather(book(n + 3)))
    @step
    async def hang():
        if not leaves: return 0
        cut.set()
        await asyncio.Event().wait()
    @workflow
    async def main():
        try:
            done = await book(1)
            if how == "exit" and first("left"): sys.exit(1)
            if how == "cancel": done += await asyncio.wait_for(hang(), 9)
            done += await several(10)
        finally:
            if leaves:
                await several(80)
                os.kill(os.getpid(), 9)
        return done + await several(20)
    async def go():
        global cut
        cut = asyncio.Event()
        task = asyncio.create_task(main())
        if how == "cancel" and leaves:
            await cut.wait()
            task.cancel()
        return await task
    print(asyncio.run(go()))
"""


@pytest.mark.parametrize(("script", "how"), [(SYNC, "exit"), (ASYNC, "exit"), (ASYNC, "cancel")])
def test_maps_and_called_runs_of_a_handler_are_not_held_against_a_life_without_it(
    tmp_path: Path, script: str, how: str
) -> None:
    """Nor is a call that was given up for a cancellation from outside: it is made, as after any death."""
    (tmp_path / "killed.py").write_text(
        "import asyncio, os, sys\nfrom perdure import step, workflow\n"
        "def first(name):\n    try: os.mkdir(name)\n    except FileExistsError: return False\n    return True\n"
        f"leaves, how = first('leaves'), {how!r}\n" + dedent(script)
    )
    command = [sys.executable, "-u", "killed.py"]
    lives = [warm.run(command, cwd=tmp_path, capture_output=True, text=True, check=False) for _ in range(2)]
    made, called = [sorted(map(int, life.stdout.split())) for life in lives], 4 if script == ASYNC else 3
    assert made[0] == [1, *range(80, 80 + called)]
    later = [*range(10, 10 + called), *range(20, 20 + called)]
    assert made[1] == [*later, sum(later) + 1], lives[1].stderr


@pytest.mark.parametrize("by", ["Ctrl-C", "cancel"])
def test_a_cancellation_outside_of_steps_that_a_step_has_seen_goes_on(machine: Machine, by: str) -> None:
    """A timeout of the workflow's own, before it, is history as ever."""
    executed.clear()
    cuts: list[Any] = []

    @step(name="books-beside-tasks")
    async def book(n: int) -> int:
        executed.append(n)
        return n

    async def tidied() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await book(7)

    @workflow(name=f"cancelled-outside-{by}")
    async def flow() -> int:
        with suppress(TimeoutError):
            await asyncio.wait_for(tidied(), 0.001)
        try:
            one = await book(1)
            if cuts:
                cuts.pop()()
                await asyncio.Event().wait()
            return one + await book(2)
        finally:
            await book(9)

    cut_off(flow, cuts, by)
    machine.boot()
    assert asyncio.run(flow()) == 3
    assert executed == [7, 1, 9, 2]


@pytest.mark.parametrize("by", ["SystemExit", "KeyboardInterrupt"])
def test_a_process_that_dies_before_an_exit_has_left_the_run_goes_on(tmp_path: Path, by: str) -> None:
    """With the step that was left, as after a failure, and not by being left once more."""
    (tmp_path / "killed.py").write_text(
        "import os\nfrom perdure import step, workflow\n"
        "def first(name):\n    try: os.mkdir(name)\n    except FileExistsError: return False\n    return True\n"
        f"@step\ndef book(n):\n    print(n)\n    if n == 2 and first('cut'): raise {by}\n    return n\n"
        "@step\ndef dies():\n    if first('died'): os.kill(os.getpid(), 9)\n"
        "@workflow\ndef main():\n    try: return [book(n) for n in (1, 2, 3)]\n    finally: book(9), dies()\n"
        "print(main())\n"
    )
    out = [
        warm.run([sys.executable, "-u", "killed.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        for _ in range(2)
    ]
    assert out == ["1\n2\n9\n", "2\n3\n[1, 2, 3]\n"]


def test_a_handled_ctrl_c_is_history(machine: Machine) -> None:
    """The resumed run is interrupted at the same call, and handles it as it did: that call is not made again."""
    executed.clear()
    cuts, dies = [KeyboardInterrupt()], [Died()]

    @step(name="cuts")
    def cut(n: int) -> int:
        executed.append(n)
        if n == 2 and cuts:
            raise cuts.pop()
        return n

    @workflow(name="goes-past-ctrl-c")
    def past() -> list[int]:
        seen = []
        for n in (1, 2, 3):
            try:
                seen.append(cut(n))
            except KeyboardInterrupt:
                seen.append(-n)
        if dies:
            raise dies.pop()
        return seen

    with pytest.raises(Died):
        past()
    machine.boot()
    assert past() == [1, -2, 3]
    assert executed == [1, 2, 3]


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


def test_what_a_call_follows_from_is_saved_before_it_begins(tmp_path: Path) -> None:
    """A fallback has done its work, and its process dies before its commit: the exit that led to it is not undone."""
    (tmp_path / "falls_back.py").write_text(
        "import os, sys\nfrom perdure import step, workflow\n"
        "@step(retry=None)\ndef primary():\n    print('PRIMARY') if os.path.exists('died') else sys.exit(4)\n"
        "@step(retry=None)\ndef fallback():\n    print('FALLBACK', flush=True)\n"
        "    if not os.path.exists('died'): open('died', 'w').close(); os.kill(os.getpid(), 9)\n"
        "@workflow\ndef main():\n    try: primary()\n    except SystemExit: fallback()\n"
        "main()\n"
    )
    out = [
        warm.run([sys.executable, "falls_back.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        for _ in range(2)
    ]
    assert out == ["FALLBACK\n", "FALLBACK\n"]
