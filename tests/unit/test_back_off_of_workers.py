"""A worker tries again what fails, later and later while it keeps failing; what has worked for a while begins anew."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.engines.local.worker import executor, executors, state_access
from perdure.engines.local.worker.back_off import SLOWEST, back_off
from perdure.engines.local.worker.executors import YOUNG, Crew, Member
from perdure.engines.local.worker.messages import Loaded, Orders
from perdure.engines.local.worker.options import Options
from perdure.engines.local.worker.state_access import StateAccess
from perdure.engines.local.worker.waker import Waker
from perdure.errors import DiskFull, StateBusy


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (executors, executor, state_access):
        monkeypatch.setattr(module, "steady", made)
    return made


class Process(Member):
    """An executor without a process: it dies when the test says so."""

    def __init__(self, orders: Orders, heard: object) -> None:
        self.orders, self.line, self.pid, self.code = orders, orders.line, 1, 0
        self.loaded, self.unusable, self.killed, self.idle = None, False, False, False
        self._serves_since = self._served = None
        self.told: list[object] = []

    def tell(self, message: object) -> None:
        self.told.append(message)

    def look(self, *, dead: bool = False) -> None:
        pass

    def ended(self) -> int | None:
        return self.code or None

    def close(self) -> None:
        pass


@pytest.fixture
def crew(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Crew:
    monkeypatch.setattr(executors, "Member", Process)
    return Crew(Options(tmp_path / "state.db", [], processes=1), lambda _: None, Waker())


def waits(crew: Crew, clock: Clock) -> float:
    """After how many seconds another executor is there."""
    began = clock.now
    while not crew.serving:
        crew.replace()
        clock.now += 0 if crew.serving else 0.25
    return clock.now - began


def is_killed(crew: Crew) -> None:
    crew.serving[0].code = -signal.SIGKILL  # type: ignore[attr-defined]
    crew.reap()


def cannot_go_on(crew: Crew) -> None:
    crew.serving[0].cannot_go_on()
    is_killed(crew)


LOADED = Loaded([], [], {}, "token")
ENDS = pytest.mark.parametrize("ends", [is_killed, cannot_go_on])


@ENDS
def test_errors_that_lie_apart(crew: Crew, clock: Clock, ends: Callable[[Crew], None]) -> None:
    """T13: however often an executor has ended: after one that has served for a while, another is started at once."""
    for _ in range(10):
        assert waits(crew, clock) == 0.0
        crew.serving[0].has_loaded(LOADED)
        clock.now += YOUNG
        ends(crew)


@ENDS
@pytest.mark.parametrize("loads", [True, False])
def test_executors_that_are_of_no_use(crew: Crew, clock: Clock, ends: Callable[[Crew], None], loads: bool) -> None:
    """Of those that end as soon as they serve, or do not come to serve however long they load, each comes later."""
    found = []
    for _ in range(9):
        found.append(waits(crew, clock))
        if loads:
            crew.serving[0].has_loaded(LOADED)
        else:
            clock.now += 10 * YOUNG
        ends(crew)
    assert found == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, SLOWEST, SLOWEST]
    waits(crew, clock)
    crew.serving[0].has_loaded(LOADED)
    clock.now += YOUNG
    ends(crew)
    assert waits(crew, clock) == 0.0


def test_the_time_in_which_runs_are_given_back_is_no_service(crew: Crew, clock: Clock) -> None:
    """An executor that cannot go on at once, and takes long to end, has not served."""
    found = []
    for _ in range(4):
        found.append(waits(crew, clock))
        crew.serving[0].has_loaded(LOADED)
        crew.serving[0].cannot_go_on()
        clock.now += 10 * YOUNG
        is_killed(crew)
    assert found == [0.0, 0.0, 1.0, 2.0]


def test_days_of_failures() -> None:
    """T13: the wait stays at its longest, after any number of failures."""
    assert [back_off(n) for n in range(8)] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, SLOWEST, SLOWEST]
    assert back_off(100_000) == SLOWEST


def test_a_state_file_that_cannot_be_used_for_a_night(tmp_path: Path, clock: Clock) -> None:
    """T13: 2,000 tries, 16 hours, do not end the clock of a worker; the file is used again then."""
    said: list[str] = []
    access = StateAccess(tmp_path / "state.db", said.append)

    def refuse(store: object) -> bool:
        raise DiskFull("it is full")

    for _ in range(2_000):
        access.use(refuse)
        clock.now += SLOWEST
    assert access.use(lambda _: True) is True
    assert said == [said[0], "the state file can be used again"]
    access.use(refuse)
    clock.now += 1.0
    assert access.use(lambda _: True) is True
    access.close()


def test_a_claim_that_fails_for_a_night(tmp_path: Path, clock: Clock) -> None:
    """T13: 2,000 times that another process keeps the file do not end an executor; a longer pause is kept."""
    orders = Orders(str(tmp_path / "state.db"), [], [], "", [], 1, pause=45.0)
    made = executor.Executor(None, orders)  # type: ignore[arg-type]
    made._say_again = lambda _: None  # type: ignore[assignment]
    made._cannot_go_on(StateBusy("it is kept"))
    assert not made._looks()
    clock.now += 44.0
    assert not made._looks()
    for _ in range(2_000):
        made._cannot_go_on(StateBusy("it is kept"))
    clock.now += SLOWEST
    assert made._looks()


def test_executors_that_start_after_the_clock_has_jumped(crew: Crew, clock: Clock) -> None:
    """T17: nothing is begun for a while; also by an executor that replaces one, or loads an edited script."""
    waits(crew, clock)
    crew.pause(30.0)
    clock.now += 10.0
    later = crew.start()
    assert isinstance(later, Process)
    assert later.orders.pause == 20.0
    clock.now += 30.0
    last = crew.start()
    assert isinstance(last, Process)
    assert last.orders.pause == 0.0
