"""What `perdure.lock` is asked for is checked before anything is taken, and who cannot have it is told so."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from conftest import Machine
from perdure import lock, step, workflow
from perdure.errors import AlreadyRunning, OptionError, Skipped


@pytest.mark.parametrize("how", ["fail", "skip"])
def test_a_timeout_is_for_those_who_wait(how: Any) -> None:
    """For others it would mean nothing."""
    with pytest.raises(OptionError, match="lock 'nightly' has a timeout but does not wait"):
        lock("nightly", if_locked=how, timeout=1)
    lock("nightly", if_locked="wait", timeout=1)
    lock("nightly", if_locked=how)


def in_thread(function: Any) -> BaseException | None:
    """What it raises, while this thread has the lock."""
    found: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:
            found.append(error)

    with lock("nightly"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return found[0] if found else None


def take(**options: Any) -> None:
    with lock("nightly", **options):
        pass


def test_a_script_that_skips_ends_and_says_why(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """One that fails is told what it can do; one that has waited as long as it may, that the lock was not free."""
    skipped = in_thread(lambda: take(if_locked="skip"))
    assert isinstance(skipped, Skipped)
    assert capsys.readouterr().err == "perdure: lock 'nightly' is taken by this process; skipped\n"
    failed = in_thread(take)
    assert isinstance(failed, AlreadyRunning)
    assert 'if_locked="wait"' in failed.hint
    late = in_thread(lambda: take(if_locked="wait", timeout=1e-9))
    assert isinstance(late, AlreadyRunning)
    assert "it was not free in time" in late.what
    assert capsys.readouterr().err == ""
    take()


def test_inside_of_a_run_nothing_can_be_skipped(machine: Machine) -> None:
    """No script can end there."""

    @step(name="takes the lock", retry=None)
    def takes() -> None:
        take(if_locked="skip")

    @workflow(name="takes_the_lock")
    def job() -> None:
        takes()

    assert isinstance(in_thread(job), AlreadyRunning)


def test_a_block_in_a_block_is_left_once(machine: Machine) -> None:
    """The outer block has the lock until its end, under the same fence, which grows with the next one."""
    with lock("nightly") as outer:
        with lock("nightly") as inner:
            assert inner.fence == outer.fence
        assert repr(outer) == f"<lock 'nightly', fence {outer.fence}>"
        outer.confirm()
    with lock("nightly") as later:
        assert later.fence > outer.fence


def test_a_lock_around_a_block_of_a_coroutine_is_let_go_of(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a plain block is."""
    monkeypatch.setenv("PERDURE_STATE", str(machine.state))

    async def hold() -> None:
        async with lock("orders"):
            assert machine.engine.store.locks.any
        assert not machine.engine.store.locks.any

    asyncio.run(hold())
