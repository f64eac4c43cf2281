"""Locks between processes: never two holders, free at the holder's death, and no writing by who has lost it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from conftest import SOURCE, Machine, Scripts
from perdure import step, workflow
from perdure.api.lock import PAUSES, lock
from perdure.errors import AlreadyRunning, LockLost, Skipped
from waiting import until

BLOCK = """
    import sys
    from perdure.api.lock import lock

    with lock("nightly", if_locked=sys.argv[1]) as held:
        print("entered", held.fence, flush=True)
        sys.stdin.readline()
    print("left", flush=True)
"""

LOCKED = """
    import asyncio, sys
    import perdure

    @perdure.step
    def first() -> int:
        return 1

    @perdure.step(timeout=None)
    def wait(name: str) -> str:
        print("waiting", flush=True)
        sys.stdin.readline()
        return name

    @perdure.workflow(lock="nightly")
    def nightly(name: str) -> str:
        first()
        return wait(name)

    @perdure.workflow(lock="nightly")
    async def hourly(name: str) -> str:
        return name

    @perdure.workflow
    def unlocked(name: str) -> str:
        return wait(name)

    @perdure.workflow
    def parent(name: str) -> str:
        return nightly(name)

    if __name__ == "__main__":
        called = globals()[sys.argv[1]](sys.argv[2])
        print("result", asyncio.run(called) if asyncio.iscoroutine(called) else called)
"""


def said(process: Any) -> str:
    return str(process.stdout.readline().strip())


def waits(process: Any) -> str:
    """The line in which it says that it waits, and for whom."""
    line = process.stderr.readline()
    assert "wait" in line, line
    return str(line)


def killed(process: Any) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(60)


class Started(Scripts):
    """Scripts in a folder; whatever still runs at the end of a test is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, path: Path, *args: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        self.processes.append(super().start(path, *args, cwd=cwd, **env))
        return self.processes[-1]


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path / "scripts")
    yield started
    for process in started.processes:
        process.kill()
        with suppress(ValueError):  # it was communicated with before
            process.communicate()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def cli(scripts: Scripts) -> Callable[..., list[str]]:
    """Arguments that make the script of Scripts.start the command line."""
    main = scripts.write("from perdure.cli import main\nraise SystemExit(main())\n", "command.py")
    return lambda *args: [str(main), *args]  # type: ignore[arg-type,return-value]


# -- who is kept out, and what it is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["nightly", "hourly"])
def test_another_process_is_skipped_whatever_its_inputs(scripts: Scripts, second: str) -> None:
    """Exit code 0 and one line: who has it, where, since when, for which run, and how far that has come."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    done = scripts.run(script, second, "tuesday")
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    for part in (
        "'nightly'",
        f"pid {holder.pid} on {os.uname().nodename} since 20",
        "run nightly-",
        "#1 first",
        "skip",
    ):
        assert part in line
    assert scripts.start(script, "unlocked", "x").communicate("\n", 60)[0] == "waiting\nresult x\n"
    assert holder.communicate("go\n", 60)[0] == "result monday\n"
    assert scripts.run(script, "hourly", "tuesday").stdout == "result tuesday\n"


def test_the_command_line_says_what_to_do(scripts: Scripts, cli: Callable[..., list[str]]) -> None:
    """--if-locked: skip is exit code 0, fail is 1, wait goes on when it is free; anything else is wrong usage."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    main, *rest = cli("run", "--if-locked")
    target = f"{script}:hourly"
    skip = scripts.run(Path(main), *rest, "skip", target, "x")
    fail = scripts.run(Path(main), *rest, "fail", target, "x")
    behind = scripts.run(Path(main), "run", target, "x", "--if-locked", "fail")
    wrong = scripts.run(Path(main), *rest, "perhaps", target, "x")
    assert [done.returncode for done in (skip, fail, behind, wrong)] == [0, 1, 1, 2]
    assert skip.stderr.startswith("skipped: lock 'nightly' is taken: pid ")
    assert "already-running" in fail.stderr
    waiting = scripts.start(Path(main), *rest, "wait", target, "x")
    assert f"pid {holder.pid}" in waits(waiting)
    holder.communicate("go\n", 60)
    assert waiting.communicate(timeout=60)[0].strip() == "'x'"


def test_resume_says_it_too(scripts: Scripts, cli: Callable[..., list[str]]) -> None:
    """A run that somebody else executes: skipped, refused or waited for, as the command line says."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    main, *rest = cli("resume", "last", "--state", str(script.parent / ".perdure" / "state.db"))
    assert scripts.run(Path(main), *rest).returncode == 0
    assert scripts.run(Path(main), *rest, "--if-locked", "fail").returncode == 1
    heir = scripts.start(Path(main), *rest, "--if-locked", "wait")
    assert f"pid {holder.pid}" in waits(heir)
    killed(holder)
    assert "monday" in heir.communicate("go\n", 60)[0]


def test_a_child_run_is_never_skipped(scripts: Scripts) -> None:
    """Its parent needs the result: that fails, with exit code 1, and is resumed when the lock is free."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    failed = scripts.run(script, "parent", "tuesday")
    assert failed.returncode == 1
    assert "already-running" in failed.stderr
    killed(holder)
    assert scripts.start(script, "parent", "tuesday").communicate("go\n", 60)[0] == "waiting\nresult tuesday\n"


def test_a_block_and_a_workflow_share_the_lock(scripts: Scripts) -> None:
    """Each keeps the other out; "skip" of a block ends the script with exit code 0 and a line."""
    script, block = scripts.write(LOCKED), scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    assert "skipped" in scripts.run(script, "hourly", "x").stderr
    doctor = scripts.write("from perdure.cli import main\nmain(['doctor'])\n", "doctor.py")
    assert f"lock 'nightly' is taken: pid {holder.pid}" in " ".join(scripts.run(doctor).stdout.split())
    skipped = scripts.run(block, "skip")
    assert (skipped.returncode, skipped.stdout, len(skipped.stderr.splitlines())) == (0, "", 1)
    assert f"pid {holder.pid}" in skipped.stderr
    assert scripts.run(block, "fail").returncode == 1
    waiting = scripts.start(block, "wait")
    assert f"pid {holder.pid}" in waits(waiting)
    assert holder.communicate("\n", 60)[0] == "left\n"
    assert said(waiting) == "entered 2"
    waiting.communicate("\n", 60)
    run = scripts.start(script, "nightly", "x")
    assert said(run) == "waiting"
    assert scripts.run(block, "fail").returncode == 1
    run.communicate("\n", 60)


# -- death, and what only looks like it --------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["block", "run"])
def test_a_killed_holder_is_succeeded_within_a_second(scripts: Scripts, what: str) -> None:
    """By whoever waits, who looks ten times a second."""
    assert max(PAUSES) <= 0.1
    block = scripts.write(BLOCK, "block.py")
    holder = scripts.start(scripts.write(LOCKED), "nightly", "x") if what == "run" else scripts.start(block, "fail")
    said(holder)
    waiting = scripts.start(block, "wait")
    waits(waiting)
    holder.send_signal(signal.SIGKILL)
    assert said(waiting) == "entered 2"
    waiting.communicate("\n", 60)
    holder.communicate()


def test_a_stopped_holder_keeps_it(scripts: Scripts) -> None:
    """SIGSTOP is not death: others are skipped, or wait, until it goes on and lets go."""
    block = scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    holder.send_signal(signal.SIGSTOP)
    waiting = scripts.start(block, "wait")
    waits(waiting)
    assert scripts.run(block, "fail").returncode == 1
    holder.send_signal(signal.SIGCONT)
    assert holder.communicate("\n", 60)[0] == "left\n"
    assert holder.returncode == 0
    assert said(waiting) == "entered 2"
    waiting.communicate("\n", 60)


@pytest.mark.parametrize("taker", ["the run", "the lock"])
def test_a_stopped_holder_that_lost_it_cannot_write(scripts: Scripts, taker: str) -> None:
    """The folder of locks is removed, another process takes over; the first wakes up, and what it does is not saved."""
    script = scripts.write(LOCKED)
    holder = scripts.start(script, "nightly", "monday")
    assert said(holder) == "waiting"
    holder.send_signal(signal.SIGSTOP)
    shutil.rmtree(script.parent / ".perdure" / "state.db-locks")
    other = scripts.start(script, "nightly", "monday" if taker == "the run" else "tuesday")
    assert said(other) == "waiting"
    holder.send_signal(signal.SIGCONT)
    out, err = holder.communicate("go\n", 60)
    assert holder.returncode == 1
    assert "result" not in out
    assert "lock-lost" in err
    assert other.communicate("go\n", 60)[0].startswith("result ")
    if taker == "the lock":  # what had been saved before is kept, and the run goes on
        assert scripts.start(script, "nightly", "monday").communicate("go\n", 60)[0] == "waiting\nresult monday\n"


def test_a_block_that_lost_its_lock_says_so(scripts: Scripts) -> None:
    """At its end; whoever fences writes of its own has seen a greater number by then."""
    block = scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    holder.send_signal(signal.SIGSTOP)
    shutil.rmtree(block.parent / ".perdure" / "state.db-locks")
    other = scripts.start(block, "fail")
    assert said(other) == "entered 2"
    holder.send_signal(signal.SIGCONT)
    out, err = holder.communicate("\n", 60)
    assert (holder.returncode, out) == (1, "")
    assert "lock-lost" in err
    assert scripts.run(block, "fail").returncode == 1, "what the first did not have, it did not let go"
    assert other.communicate("\n", 60)[0] == "left\n"


PARENT = """
    import multiprocessing, os, signal, subprocess, sys, time
    from perdure.api.lock import lock

    def live():
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        while True:
            time.sleep(60)

    os.setpgid(0, 0)
    with lock("nightly"):
        OFFSPRING
        print("entered", flush=True)
        sys.stdin.readline()
"""

OFFSPRING = {
    "fork": "os.fork() or live()",
    "multiprocessing": "multiprocessing.get_context('fork').Process(target=live).start()",
    "subprocess": "subprocess.Popen(['sleep', '60'], close_fds=False, stdin=-3, stdout=-3, stderr=-3)",
}


@pytest.mark.parametrize("how", OFFSPRING)
def test_children_do_not_keep_the_lock_of_a_dead_parent(scripts: Scripts, how: str) -> None:
    """However they came to be, and though they live on."""
    script = scripts.write(PARENT.replace("OFFSPRING", OFFSPRING[how]))
    holder = scripts.start(script)
    try:
        assert said(holder) == "entered"
        block = scripts.write(BLOCK, "block.py")
        assert scripts.run(block, "fail").returncode == 1
        killed(holder)
        os.killpg(holder.pid, 0)  # the child lives
        heir = scripts.start(block, "fail")
        assert said(heir) == "entered 2"
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_forked_child_does_not_let_go(scripts: Scripts) -> None:
    """It leaves the block that its parent entered, and the parent still has the lock; nor has the child got it."""
    script = scripts.write(
        """
        import os, sys
        from perdure.errors import AlreadyRunning
        from perdure.api.lock import lock

        with lock("nightly"):
            child = os.fork()
            if child == 0:
                try:
                    lock("nightly").__enter__()
                except AlreadyRunning as error:
                    os.write(1, f"kept out {f'pid {os.getppid()}' in str(error)}\\n".encode())
            else:
                os.waitpid(child, 0)
                print("entered", flush=True)
                sys.stdin.readline()
        if child == 0:
            os._exit(0)
        print("left")
        """
    )
    holder = scripts.start(script)
    assert [said(holder), said(holder)] == ["kept out True", "entered"]
    assert scripts.run(scripts.write(BLOCK, "block.py"), "fail").returncode == 1
    assert holder.communicate("\n", 60)[0] == "left\n"


# -- names that mean nothing -------------------------------------------------------------------------------------------


def unshare(*options: str) -> list[str]:
    """A command that starts another in namespaces of its own; skips the test where that is not allowed."""
    command = ["unshare", *options]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not possible here; it takes root")
    return command


def test_the_same_pid_is_not_the_same_process(scripts: Started) -> None:
    """Every holder is process 1 of its namespace, as in a container: neither is a dead one taken for the living one
    that has its number, nor a living one for oneself."""
    wrap = unshare("--pid", "--fork", "--kill-child", "--mount-proc")
    block = scripts.write(BLOCK, "block.py")

    def contained(how: str) -> subprocess.Popen[str]:
        return inside(scripts, wrap, block, how)

    first = contained("fail")
    assert said(first) == "entered 1"
    second = contained("fail")
    assert "pid 1 on" in second.communicate(timeout=60)[1]
    assert second.returncode == 1
    waiting = contained("wait")
    assert "pid 1 on" in waits(waiting)
    first.send_signal(signal.SIGKILL)  # unshare dies, and takes process 1 with it
    assert said(waiting) == "entered 2"
    assert contained("fail").wait(60) == 1


def test_the_host_s_name_does_not_matter(scripts: Started) -> None:
    """A holder under another name is alive as long as it lives, and dead at its death."""
    wrap = unshare("--uts")
    block = scripts.write(BLOCK, "block.py")
    first = inside(scripts, [*wrap, "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"], block, "fail")
    assert said(first) == "entered 1"
    second = scripts.run(block, "fail")
    assert second.returncode == 1
    assert "on elsewhere since" in second.stderr
    killed(first)
    third = scripts.start(block, "fail")
    assert said(third) == "entered 2"
    third.communicate("\n", 60)


def inside(scripts: Started, wrap: list[str], script: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [*wrap, sys.executable, str(script), *args],
        cwd=scripts.folder,
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    scripts.processes.append(process)
    return process


def test_a_copied_state_folder_is_a_place_of_its_own(scripts: Scripts) -> None:
    """Lock files are copied, locks are not: in the copy nobody has it, where it was the holder still does."""
    block = scripts.write(BLOCK, "here/block.py")
    holder = scripts.start(block, "fail")
    assert said(holder) == "entered 1"
    shutil.copytree(block.parent, scripts.folder / "there")
    copy = scripts.start(scripts.folder / "there" / "block.py", "fail")
    assert said(copy) == "entered 2"
    assert scripts.run(block, "fail").returncode == 1
    for process in (copy, holder):
        assert process.communicate("\n", 60)[0] == "left\n"


# -- inside one process ------------------------------------------------------------------------------------------------


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose blocks are in the same state file."""
    monkeypatch.setenv("PERDURE_STATE", str(machine.state))
    return machine


def in_thread(function: Callable[[], object]) -> list[object]:
    """What it returned or raised, in a thread of its own."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    return found


def take(**options: Any) -> int:
    with lock("nightly", **options) as held:
        return held.fence


def test_threads_keep_each_other_out(here: Machine) -> None:
    """Unlike runs: a block is a mutex. The thread that has it may take it again."""
    with lock("nightly") as held:
        assert take() == held.fence
        (refused,) = in_thread(take)
        assert isinstance(refused, AlreadyRunning)
        assert "this very process" in str(refused)
        (late,) = in_thread(lambda: take(if_locked="wait", timeout=0.05))
        assert isinstance(late, AlreadyRunning)
        held.confirm()
    assert in_thread(take) == [held.fence + 1]


def test_a_thread_waits_for_another(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """And has it as soon as that one has left."""
    entered: list[int] = []
    with lock("nightly"):
        thread = threading.Thread(target=lambda: entered.append(take(if_locked="wait")))
        thread.start()
        until(lambda: "waiting" in capsys.readouterr().err)
        assert entered == []
    thread.join(60)
    assert entered == [2]


def test_tasks_keep_each_other_out_and_the_loop_goes_on(here: Machine) -> None:
    """One task at a time is inside; while one waits, the others go on."""
    inside = most = turns = 0

    async def work() -> None:
        nonlocal inside, most
        async with lock("nightly", if_locked="wait"):
            inside += 1
            most = max(most, inside)
            leaves = turns + 20
            while turns < leaves:
                await asyncio.sleep(0)
            inside -= 1

    async def main() -> int:
        nonlocal turns
        tasks = [asyncio.create_task(work()) for _ in range(5)]
        while not all(task.done() for task in tasks):
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) >= 5 * 20
    assert most == 1


def test_in_steps_and_workflows(here: Machine) -> None:
    """A block inside of a run comes through the run's own lock; one of another thread does not; nothing is skipped."""
    seen: list[object] = []

    @step(retry=None)
    def work() -> None:
        with lock("nightly") as held:
            seen.append(held.fence)
        seen.extend(in_thread(take))

    @workflow(lock="nightly")
    def nightly() -> None:
        with lock("nightly"):
            work()

    @workflow
    def parent() -> None:
        nightly()

    parent()
    assert seen[0] == 2
    assert isinstance(seen[1], AlreadyRunning)
    assert take() == 3


def test_skip_inside_of_a_run_fails_it(here: Machine) -> None:
    """There is nothing to skip to, and a run that failed must not end with exit code 0."""

    @step(retry=None)
    def work() -> None:
        in_other_thread = threading.Event(), threading.Event()

        def hold() -> None:
            with lock("nightly"):
                in_other_thread[0].set()
                in_other_thread[1].wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        in_other_thread[0].wait(60)
        try:
            take(if_locked="skip")
        finally:
            in_other_thread[1].set()
            thread.join(60)

    @workflow
    def nightly() -> None:
        work()

    with pytest.raises(AlreadyRunning) as caught:
        nightly()
    assert not isinstance(caught.value, Skipped)


def test_a_workflow_called_in_a_block_comes_through(here: Machine) -> None:
    """And one of another thread does not."""

    @workflow(lock="nightly")
    def nightly(name: str) -> str:
        return name

    with lock("nightly"):
        assert nightly("inside") == "inside"
        (refused,) = in_thread(lambda: nightly("outside"))
        assert isinstance(refused, AlreadyRunning)
    assert nightly("outside") == "outside"


def test_an_async_workflow_waits_without_stopping_the_loop(machine: Machine, scripts: Scripts) -> None:
    """Other tasks go on while it waits for another process."""
    machine.world.asleep = lambda seconds: asyncio.sleep(0)  # type: ignore[method-assign]
    block = scripts.write(BLOCK, "block.py")
    holder = scripts.start(block, "fail", PERDURE_STATE=str(machine.state))
    assert said(holder) == "entered 1"

    @workflow(lock="nightly", if_locked="wait")
    async def nightly() -> str:
        return "done"

    async def main() -> tuple[int, str]:
        task = asyncio.create_task(nightly())
        turns = 0
        while not task.done():
            turns += 1
            if turns == 100:
                holder.stdin.write("\n")
                holder.stdin.flush()
            await asyncio.sleep(0)
        return turns, await task

    turns, result = asyncio.run(main())
    assert (turns >= 100, result) == (True, "done")
    holder.communicate()


def test_an_error_in_a_block_is_not_hidden_by_the_loss_of_its_lock(here: Machine) -> None:
    """The user's error comes first, with a note; without one, LockLost is raised."""

    def lose() -> None:
        here.engine.store.journal.write(
            (), lambda connection: connection.execute("UPDATE lock SET fence = fence + 1") and None
        )

    def fail() -> None:
        with lock("nightly"):
            lose()
            raise ZeroDivisionError

    def go_on() -> None:
        with lock("other") as held:
            lose()
            with pytest.raises(LockLost):
                held.confirm()

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "lock-lost" in caught.value.__notes__[0]
    with pytest.raises(LockLost):
        go_on()
