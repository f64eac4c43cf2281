"""What a step's breaker and rate limit do to its run: no attempt is used, and nothing is hung."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import FakeWorld, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.api.breaker import Breaker
from perdure.api.rate import Rate
from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency
from perdure.core.policies import rate as rates
from perdure.core.policies.breaker import BreakerState
from perdure.core.policies.rate import RateState
from perdure.engines import guards
from perdure.errors import BreakerOpen, OptionError


class TooMany(Exception):
    """HTTP 429, as clients raise it."""

    def __init__(self, after: str | None = None) -> None:
        super().__init__("HTTP 429")
        headers = {} if after is None else {"retry-after": after}
        self.response = type("Response", (), {"status_code": 429, "headers": headers})()


def attempts(machine: Machine) -> int:
    """How many failed attempts are written down in all runs."""
    return int(machine.engine.store.journal.read(lambda it: it.execute("SELECT count(*) FROM attempt").fetchone())[0])


def test_a_step_waits_for_the_breaker_and_uses_no_attempt(machine: Machine) -> None:
    """Two failures open it; the third try is the probe after the cool-down, and the second of three attempts' waits is
    the only other one."""

    @step(breaker=Breaker("svc", failures=2, cooldown="30s"), retry=Retry(attempts=3, delay=1, jitter=0))
    def call() -> str:
        machine.ran.append(machine.world.time)
        if len(machine.ran) < 3:
            raise Trouble
        return "well"

    @workflow
    def main() -> str:
        return call()

    assert main() == "well"
    first, second, third = machine.ran
    assert (second - first, 30 <= third - second <= 33) == (1, True)
    assert attempts(machine) == 2


def test_a_step_fails_at_once_if_it_is_told_to(machine: Machine) -> None:
    """when_open="fail": the second workflow's step is not made at all, and says why."""
    breaker = Breaker("svc", failures=1, when_open="fail")

    @step(breaker=breaker, retry=None)
    def call(n: int) -> None:
        machine.ran.append(n)
        raise Trouble("it is down")

    @workflow
    def main(n: int) -> None:
        call(n)

    with pytest.raises(Trouble):
        main(1)
    with pytest.raises(BreakerOpen, match=r"'svc' is open .* Trouble: it is down") as refused:
        main(2)
    assert "perdure breaker reset svc" in refused.value.hint
    assert machine.ran == [1]
    assert attempts(machine) == 1


def test_the_first_error_comes_first(machine: Machine) -> None:
    """An attempt that opens the breaker itself is not hidden behind it; a note says why there is no other."""

    @step(breaker=Breaker("svc", failures=1, when_open="fail"))
    def call() -> None:
        raise Trouble("it is down")

    @workflow
    def main() -> None:
        call()

    with pytest.raises(Trouble, match="it is down") as failed:
        main()
    assert any("breaker 'svc' is open" in note for note in failed.value.__notes__)


def test_an_open_breaker_is_waited_for_within_the_total_bound_only(machine: Machine) -> None:
    """A cool-down that ends after the bound is not waited for; an isolated one is until the bound, and no longer."""

    @step(breaker=Breaker("svc", failures=1, cooldown="10m"), retry=Retry(total="5m"))
    def call(n: int) -> None:
        raise Trouble

    @workflow
    def main(n: int) -> None:
        call(n)

    with pytest.raises(Trouble):
        main(1)
    before = machine.world.time
    with pytest.raises(BreakerOpen):
        main(2)
    assert machine.world.time == before
    machine.engine.resources.guards.isolate("svc")
    with pytest.raises(BreakerOpen, match="is isolated"):
        main(3)
    assert 290 <= machine.world.time - before <= 300


def test_a_429_does_not_count_and_pauses_all_who_call_the_service(machine: Machine) -> None:
    """Two steps of one breaker: what the first is told holds for the second, and the breaker stays closed."""
    breaker = Breaker("svc", failures=1)

    @step(breaker=breaker, retry=None)
    def first() -> None:
        raise TooMany("20")

    @step(breaker=breaker)
    def second() -> None:
        machine.ran.append(machine.world.time)

    @workflow
    def main() -> None:
        began = machine.world.time
        try:
            first()
        except TooMany:
            second()
        assert 20 <= machine.ran[0] - began <= 23  # type: ignore[operator]

    main()
    assert breaker.state == "closed"


def test_a_step_that_nothing_guards_learns_to_pause_from_its_first_429(machine: Machine) -> None:
    """The others of a map pause with the one that met it; before, no file of services was there at all."""
    services = machine.state.with_name("state.db-services")

    @step(retry=Retry(delay=1, jitter=0))
    def call(n: int) -> int:
        machine.ran.append((n, machine.world.time))
        if machine.ran[-1][0] == 2 and sum(number == 2 for number, _ in machine.ran) == 1:  # type: ignore[index, misc]
            assert not services.exists()
            raise TooMany("20")
        return n

    @workflow
    def main() -> None:
        call(1)
        with pytest.raises(TooMany):
            once(2)
        call(3)

    @step(name="once", retry=None)
    def once(n: int) -> None:
        raise TooMany("20")

    @workflow
    def follow() -> None:
        once(9)

    main()
    assert services.exists()
    began = machine.world.time
    with pytest.raises(TooMany):
        follow()
    assert machine.world.time - began >= 20


def test_the_queue_of_a_rate_limit_is_no_lost_time(machine: Machine) -> None:
    """More calls than fit into the total bound at that rate: all are made, and none is out of time for that."""

    @step(rate="1/10min", retry=Retry(total="2m", attempts=3, delay=1, jitter=0))
    def call(n: int) -> int:
        machine.ran.append(n)
        if machine.ran.count(n) < 3 and n == 1:
            raise Trouble
        return n

    @workflow
    def main() -> list[int]:
        return list(call.map(range(3)).results)

    began = machine.world.time
    assert main() == [0, 1, 2]
    assert machine.ran == [0, 1, 1, 1, 2]
    assert 40 * 60 <= machine.world.time - began <= 41 * 60


def test_a_map_that_finds_its_pace_sees_through_the_guard(machine: Machine) -> None:
    """concurrency="auto" is told of the attempts of guarded steps too: a throttled one halves the concurrency."""

    @step(breaker="svc", retry=None, timeout=None)
    def call(n: int) -> int:
        if n == 30:
            raise TooMany
        return n

    @workflow
    def main() -> list[int]:
        return list(call.map(range(40), concurrency="auto").results)

    told: list[str] = []
    began, cut = AdaptiveConcurrency.began, AdaptiveConcurrency.congested
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdaptiveConcurrency, "began", lambda self: told.append("began") or began(self))
        patch.setattr(AdaptiveConcurrency, "congested", lambda self, attempt: told.append("cut") or cut(self, attempt))
        assert len(main()) == 39
    assert (told.count("began"), told.count("cut")) == (40, 1)


def test_slips_of_the_program_do_not_open_it(machine: Machine) -> None:
    """A TypeError says nothing about the service."""
    breaker = Breaker("svc", failures=1)

    @step(breaker=breaker)
    def call() -> None:
        raise TypeError("a slip")

    @workflow
    def main() -> None:
        call()

    with pytest.raises(TypeError):
        main()
    assert breaker.state == "closed"


def test_a_cancelled_probe_frees_its_place(machine: Machine) -> None:
    """A probe that is broken off says nothing, and the next caller probes."""
    breaker, entered = Breaker("svc", failures=1, cooldown="1s"), asyncio.Event()

    @step(breaker=breaker, retry=None, timeout=None)
    async def call(kind: str) -> str:
        if kind == "fail":
            raise Trouble
        if kind == "hang":
            entered.set()
            await asyncio.Event().wait()
        return kind

    @workflow
    async def main() -> str:
        try:
            await call("fail")
        except Trouble:
            machine.world.time += 2
        hanging = asyncio.ensure_future(call("hang"))
        await asyncio.wait_for(entered.wait(), 10)
        assert breaker.state == "half-open"
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        return await call("well")

    assert asyncio.run(main()) == "well"
    assert breaker.state == "closed"


def test_it_stays_open_over_a_restart(machine: Machine) -> None:
    """What is known of a service is not forgotten with the process."""
    breaker = Breaker("svc", failures=1, when_open="fail")

    @step(breaker=breaker, retry=None)
    def call() -> None:
        machine.ran.append(1)
        raise Trouble

    @workflow
    def main() -> None:
        call()

    with pytest.raises(Trouble):
        main()
    machine.boot()
    with pytest.raises(BreakerOpen):
        main()
    machine.boot()
    machine.world.time += 31
    with pytest.raises(Trouble):
        main()
    assert len(machine.ran) == 2


def test_a_damaged_file_of_services_is_set_aside(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """No run stops for it: it begins anew, the damaged one is kept, and the log says so."""

    @step(breaker="svc")
    def call() -> str:
        return "well"

    @workflow
    def main() -> str:
        return call()

    assert main() == "well"
    machine.engine.resources.guards.isolate("svc")
    machine.engine.close()
    services = machine.state.with_name("state.db-services")
    services.write_bytes(b"this is no database, and never was one" * 200)
    machine.boot()
    with caplog.at_level(logging.WARNING, logger="perdure"):
        assert main() == "well"
    assert "set aside" in caplog.text
    assert len(list(machine.folder.glob("state.db-services.damaged-*"))) >= 1
    assert oct(services.stat().st_mode & 0o777) == "0o600"


def test_damage_within_a_cell_is_no_more_than_that(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """A state that cannot be read begins anew."""
    guards = machine.engine.resources.guards
    guards.isolate("svc")
    guards.services._using(lambda it: it.execute("UPDATE cell SET state = x'c1'"))
    with caplog.at_level(logging.WARNING, logger="perdure"):
        assert guards.services.about("svc")["breaker"] == BreakerState()
    assert "damaged" in caplog.text


# -- alone ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    """Time passes for breakers outside of workflows when they wait, and only then."""
    state, world = tmp_path / "state.db", FakeWorld()
    monkeypatch.setenv("PERDURE_STATE", str(state))
    monkeypatch.setitem(guards._alone, state, guards.Guards(state, world))
    monkeypatch.setattr("time.sleep", world.sleep)
    return world


def test_alone_in_all_its_forms(alone: FakeWorld) -> None:
    """with, async with, above a function of either kind, around a call: a failure counts in each, and open is open."""
    breaker = Breaker("svc", failures=5)

    def broken(n: int) -> int:
        raise Trouble(n)

    async def abroken(n: int) -> int:
        raise Trouble(n)

    async def block() -> None:
        async with breaker:
            raise Trouble

    with pytest.raises(Trouble), breaker:
        raise Trouble
    with pytest.raises(Trouble):
        breaker(broken)(1)
    with pytest.raises(Trouble):
        asyncio.run(breaker(abroken)(1))
    with pytest.raises(Trouble):
        breaker.call(broken, 1)
    assert breaker.state == "closed"
    with pytest.raises(Trouble):
        asyncio.run(block())
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen) as refused:
        breaker.call(broken, 1)
    assert refused.value.retry_after == 30
    breaker.reset()
    assert breaker.call(len, "abc") == 3
    breaker.isolate()
    with pytest.raises(BreakerOpen), breaker:
        raise AssertionError("it is isolated")


def test_alone_it_waits_if_it_is_told_to(alone: FakeWorld) -> None:
    """when_open="wait": the next caller comes back as soon as the cool-down is over, and probes."""
    breaker = Breaker("svc", failures=1, cooldown="100ms", when_open="wait")
    with pytest.raises(Trouble), breaker:
        raise Trouble
    with breaker:
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
    assert 0.1 - 1e-6 <= sum(alone.slept) <= 0.12


def test_a_rate_alone_is_shared_by_threads(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Four threads, one limit: no two calls are closer than it says."""
    take = rates.take

    def noting(state: RateState, limit: rates.Rate, now: float, turn: Any = None) -> Any:
        after, queued = take(state, limit, now, turn)
        if queued is None:
            times.append(now)
        return after, queued

    monkeypatch.setattr(rates, "take", noting)
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    rate, times = Rate("100/s", name="api"), list[float]()

    def work() -> None:
        for _ in range(5):
            with rate:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 20
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 1 / 100


def test_a_forked_child_has_a_lease_of_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The child of a process that used a breaker uses it too; the parent's probe is freed neither by its life nor by
    its death."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    breaker = Breaker("svc", failures=1, cooldown="10ms", when_open="wait")
    with pytest.raises(Trouble), breaker:
        raise Trouble
    with breaker:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                Breaker("svc", when_open="fail").call(len, "")
            except BreakerOpen:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert breaker.state == "half-open"
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "options",
    [
        {"breaker": 3},
        {"breaker": ""},
        {"rate": "fast"},
        {"rate": 10},
    ],
)
def test_what_cannot_be_is_refused(options) -> None:  # type: ignore[no-untyped-def]
    """When the decorator runs."""
    with pytest.raises(OptionError):
        step(**options)(lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"failures": 0},
        {"ratio": 1.5},
        {"cooldown": 0},
        {"cooldown_factor": 0.5},
        {"probes": True},
        {"when_open": "hope"},
        {"minimum": "3"},
    ],
)
def test_a_breaker_that_cannot_be_is_refused(options) -> None:  # type: ignore[no-untyped-def]
    """When it is made."""
    with pytest.raises(OptionError):
        Breaker("svc", **options)
