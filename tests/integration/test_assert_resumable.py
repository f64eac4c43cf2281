"""`perdure.testing`: tests of users' crash workflows where they say, without waiting, and see what is repeated."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from perdure import Retry, step, workflow
from perdure.errors import NotFound, OptionError
from perdure.testing import Clock, Crash, Ledger, assert_resumable, durable
from perdure.testing.fixtures import perdure_clock, perdure_ledger, perdure_run  # noqa: F401  the plugin is off here

HERE = __name__
LEFT: list[int] = []


def pay(order: str, key: str = "") -> int:
    """The service that is called."""
    return len(order)


@step
def charge(order: str) -> int:
    return pay(order)


@step(retry=Retry(attempts=3, delay="40s", jitter=0))
def fetch(n: int) -> int:
    return n


@step
async def afetch(n: int) -> int:
    return n


@step
def remember(n: int) -> None:
    LEFT.append(n)


@workflow
def checkout(order: str) -> int:
    return fetch(charge(order))


@workflow
async def gathered(n: int) -> int:
    import asyncio

    return sum(await asyncio.gather(*(afetch(each) for each in range(n))))


@workflow
def forgetful() -> int:
    LEFT.clear()
    for n in range(3):
        remember(n)
    return len(LEFT)


@workflow
def tidy() -> int:
    try:
        return charge("o")
    finally:
        pay("from finally")


@pytest.fixture
def ledger() -> Any:
    counting = Ledger()
    counting.wrap(f"{HERE}.pay")
    yield counting
    counting.close()


def test_a_crash_before_the_save_executes_the_step_again_and_no_other() -> None:
    """The test says where, the engine saves nothing more, and resuming goes on from there."""
    with durable(stubs={"charge": 7}) as run:
        run.crash_at("fetch")
        with pytest.raises(Crash):
            checkout("o-1")
        assert run.resume() == 7
        assert (len(run.calls(charge)), run.attempts("fetch")) == (1, 2)
        assert run.calls("charge")[0].args == ("o-1",)
    assert os.environ.get("PERDURE_STATE") != str(run.state)
    assert not run.state.parent.exists()


def test_a_crash_after_the_save_executes_nothing_again() -> None:
    """The result is durable, though the workflow did not get it."""
    with durable(crash=("charge", 1, "after-save")) as run:
        with pytest.raises(Crash):
            checkout("o-1")
        assert run.resume() == 3
        assert run.attempts("charge") == 1


def test_what_a_service_sees_of_a_crash_is_counted(perdure_run: Any, perdure_ledger: Ledger) -> None:  # noqa: F811
    """The ledger outlives the crash, as the service does; the fixtures know each other."""
    perdure_ledger.wrap(f"{HERE}.pay")
    perdure_run.crash_at("charge", where="effect")
    with pytest.raises(Crash):
        checkout("o-1")
    perdure_run.resume()
    assert perdure_ledger.counts() == {"pay('o-1')": 2}
    with pytest.raises(AssertionError, match="more than once"):
        perdure_ledger.once()


def test_no_retry_is_waited_for(perdure_run: Any, perdure_clock: Clock) -> None:  # noqa: F811
    """The clock jumps to the end of each wait, and knows them all; failures run out by themselves."""
    perdure_run.stub("fetch", raises=ConnectionError("down"), times=2)
    assert checkout("o-1") == 3
    assert perdure_clock.slept == [40.0, 60.0]
    assert perdure_run.attempts(fetch) == 3


def test_alerts_and_dead_letters_are_seen_and_none_is_sent(perdure_run: Any) -> None:  # noqa: F811
    """What would have been sent is there to be looked at."""
    perdure_run.stub("fetch", side_effect=lambda n: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkout("o-1")
    assert ["failed" in alert.text() for alert in perdure_run.alerts] == [True]
    perdure_run.stub("charge", raises=ValueError("no"))
    assert not charge_all(["a", "b"])
    assert [letter.step for letter in perdure_run.dead] == ["charge", "charge"]


@workflow
def charge_all(orders: list[str]) -> bool:
    return charge.map(orders).ok


def test_what_finally_does_after_a_crash_is_a_finding(perdure_run: Any, perdure_ledger: Ledger) -> None:  # noqa: F811
    """A process that is killed does not run `finally`."""
    perdure_ledger.wrap(f"{HERE}.pay")
    perdure_run.crash_at("charge")
    with pytest.raises(Crash):
        tidy()
    found = [(each.code, each.text) for each in perdure_run.findings()]
    assert found == [("after-crash", "an effect of the workflow after the crash")]


def test_a_call_that_a_crash_cut_is_a_finding(perdure_run: Any) -> None:  # noqa: F811
    """It was executed in two lives without a key, as `perdure diagnose` says after a kill -9."""
    perdure_run.crash_at("charge")
    with pytest.raises(Crash):
        checkout("o-1")
    perdure_run.resume()
    assert perdure_run.attempts("charge") == 2
    assert [each.code for each in perdure_run.findings()] == ["phantom-retry"]


def test_a_call_that_was_saved_before_the_crash_is_none(perdure_run: Any) -> None:  # noqa: F811
    """It was executed once."""
    perdure_run.crash_at("charge", where="after-save")
    with pytest.raises(Crash):
        checkout("o-1")
    perdure_run.resume()
    assert perdure_run.attempts("charge") == 1
    assert perdure_run.findings() == []


@workflow
def by_threads() -> list[str]:
    with ThreadPoolExecutor(3) as pool:
        return sorted(pool.map(charge, ["a", "b", "c", "d"]))


def test_what_other_threads_have_in_flight_is_not_done_after_the_crash() -> None:
    """With a thread the process is gone: the others of a pool neither begin steps nor count as code after a crash."""
    assert assert_resumable(by_threads, max_kills=6).findings == []


def test_tasks_that_wait_side_by_side_are_woken_in_the_order_of_their_times() -> None:
    """The time is that of the longest wait, not of all of them."""
    import asyncio

    clock, woken = Clock(start=100), []

    async def wait(seconds: float) -> None:
        await clock.asleep(seconds)
        woken.append((seconds, clock.now()))

    async def main() -> None:
        await asyncio.gather(wait(30), wait(10), wait(20))

    asyncio.run(main())
    assert woken == [(10, 110), (20, 120), (30, 130)]


@pytest.mark.parametrize("real", [False, True])
def test_a_sound_workflow_is_resumable(real: bool, ledger: Ledger) -> None:
    """Killed at each point; the async one with its branches too."""
    report = assert_resumable(gathered, 3, real=real, max_kills=8)
    assert report.kills == 8
    assert report.findings == []
    keyed = assert_resumable(checkout, "o-1", at="after-save", oracle=ledger, real=real)
    assert (keyed.steps, keyed.findings) == (["charge", "fetch"], [])


@pytest.mark.parametrize("real", [False, True])
def test_a_payment_that_is_repeated_is_found(real: bool, ledger: Ledger) -> None:
    """By the oracle, with the place."""
    with pytest.raises(
        AssertionError, match=r"1\. before-save of charge: the oracle says pay\('o-1'\): 2 instead of 1"
    ):
        assert_resumable(checkout, "o-1", oracle=ledger, real=real)


@step
def give_back(order: str) -> None:
    pay(f"-{order}")


@step(undo=give_back)
def take(order: str) -> str:
    pay(order)
    return order


@workflow
def declined(order: str) -> None:
    take(order)
    raise PermissionError(f"{order} is declined")


@pytest.mark.parametrize("real", [False, True])
def test_a_failure_that_is_undone_is_resumable(real: bool, ledger: Ledger) -> None:
    """Killed between undoing and end, and behind the end: nothing is taken and given back once more."""
    report = assert_resumable(declined, "o-1", at="after-save", oracle=ledger, real=real)
    assert (report.steps, report.findings) == (["take", "undo:give_back"], [])


def test_a_result_left_in_memory_is_found_only_where_memory_is_lost() -> None:
    """The reason for real=True."""
    with pytest.raises(AssertionError, match="its result is"):
        assert_resumable(forgetful, real=True)


def test_mistakes_are_named(perdure_run: Any) -> None:  # noqa: F811
    """Each says what to give instead."""
    with pytest.raises(OptionError, match="where is 'later'"):
        perdure_run.crash_at("charge", where="later")
    with pytest.raises(OptionError, match="no workflow"):
        assert_resumable(charge)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="at is"):
        assert_resumable(checkout, "o", at="now")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no step 'charge_of_nobody'"):
        perdure_run.stub("charge_of_nobody", returns=1)
    with pytest.raises(NotFound, match="no run to resume"):
        perdure_run.resume()
    with pytest.raises(OptionError, match="no function"):
        Ledger().wrap("os.path.nothing")


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error in the block; a state that was named stays."""
    monkeypatch.setenv("PERDURE_ALERTS", "exec:/bin/false")
    inside = []
    with pytest.raises(ZeroDivisionError), durable(state=tmp_path / "kept.db"):
        inside.append(os.environ["PERDURE_ALERTS"] or 1 / 0)
    assert inside == []
    assert os.environ["PERDURE_ALERTS"] == "exec:/bin/false"
    assert (tmp_path / "kept.db").exists()
