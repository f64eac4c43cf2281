"""HTTP 429 and rate limits hold back all callers of a service, open no breaker, and cost no time of a step."""

from __future__ import annotations

import pytest

from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.api.breaker import Breaker
from perdure.core.execution.adaptive_concurrency import AdaptiveConcurrency


class TooMany(Exception):
    """HTTP 429, as clients raise it."""

    def __init__(self, after: str | None = None) -> None:
        super().__init__("HTTP 429")
        headers = {} if after is None else {"retry-after": after}
        self.response = type("Response", (), {"status_code": 429, "headers": headers})()


def test_a_429_does_not_count_and_pauses_all_who_call_the_service(machine: Machine) -> None:
    """Two steps of one breaker: the delay of the first holds for the second, and the breaker stays closed."""
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
    assert machine.ran == [0, 1, 2, 1, 1]
    assert 40 * 60 <= machine.world.time - began <= 41 * 60


def test_adaptive_concurrency_sees_the_attempts_of_guarded_steps(machine: Machine) -> None:
    """concurrency="auto" counts the attempts of guarded steps too: a throttled one halves the concurrency."""

    @step(breaker="svc", retry=None, timeout=None)
    def call(n: int) -> int:
        if n == 30:
            raise TooMany
        return n

    @workflow
    def main() -> list[int]:
        return list(call.map(range(40), concurrency="auto").results)

    calls: list[str] = []
    began, cut = AdaptiveConcurrency.began, AdaptiveConcurrency.congested
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdaptiveConcurrency, "began", lambda self: calls.append("began") or began(self))
        patch.setattr(AdaptiveConcurrency, "congested", lambda self, attempt: calls.append("cut") or cut(self, attempt))
        assert len(main()) == 39
    assert (calls.count("began"), calls.count("cut")) == (40, 1)
