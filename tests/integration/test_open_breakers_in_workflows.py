"""A step whose breaker is open waits or fails, as it says, and uses no attempt."""

from __future__ import annotations

import pytest

from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.api.breaker import Breaker
from perdure.errors import BreakerOpen


def attempts(machine: Machine) -> int:
    """How many failed attempts are recorded in all runs."""
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


def test_a_step_fails_at_once_if_its_breaker_says_fail(machine: Machine) -> None:
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
