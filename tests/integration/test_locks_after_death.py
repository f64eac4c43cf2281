"""Locks whose holders die, or only look dead: free at the death, and no writing by who has lost it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from lock_scripts import BLOCK, LOCKED, Started, killed, said, started, waits

from conftest import Scripts
from perdure.api.lock import PAUSES


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Started]:
    yield from started(tmp_path)


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
