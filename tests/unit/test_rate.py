"""Rate limits never burst, are fair by the order of asking, and survive clocks that jump."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.core.policies import rate
from perdure.core.policies.rate import PauseState, Rate, RateState, Turn, parse

T = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "count", "period"), [("10/s", 10, 1), ("100/min", 100, 60), ("5/2s", 5, 2), ("1000/d", 1000, 86400)]
)
def test_what_is_written_is_meant(text: str, count: int, period: float) -> None:
    """A limit is so many calls in so much time, and a little slower than that."""
    limit = parse(text)
    assert (limit.count, limit.period) == (count, period)
    assert period < limit.interval * count <= period * 1.03


def simulate(
    limit: Rate, arrivals: list[float], late: random.Random, jumps: dict[int, float]
) -> list[tuple[int, float]]:
    """Callers that come at these times, wake up to 10 ms late, and look at a clock that is set while they wait.

    Returns who started when, by a clock that nobody sets.
    """
    state, offset, started = RateState(), 0.0, []
    waiting: list[tuple[float, int, Turn | None]] = [(at, number, None) for number, at in enumerate(arrivals)]
    turns = 0
    while waiting:
        waiting.sort(key=lambda one: one[0])
        now, number, turn = waiting.pop(0)
        turns += 1
        offset += jumps.get(turns, 0.0)
        state, queued = rate.take(state, limit, T + now + offset, turn)
        if queued is None:
            started.append((number, now))
        else:
            waiting.append((now + queued.seconds + late.uniform(0, 0.01), number, queued.turn))
        assert turns < 100 * len(arrivals), "somebody waits for ever"
    return started


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_window_holds_more_than_the_limit(seed: int) -> None:
    """Whenever they come: in no second do more start than may, and nobody waits much longer than those before need."""
    chance = random.Random(seed)
    limit = parse(f"{chance.choice((1, 10, 50, 200))}/s")
    arrivals = sorted(chance.choice((0.0, 1.0, chance.uniform(0, 5))) for _ in range(chance.randrange(2, 150)))
    started = simulate(limit, arrivals, chance, {})
    times = sorted(at for _, at in started)
    for first, last in zip(times, times[limit.count :], strict=False):
        assert last - first >= 1.0
    longest = max(at - arrivals[number] for number, at in started)
    assert longest <= (len(arrivals) + 1) * (limit.interval + 0.01)


def test_turns_come_in_the_order_of_asking() -> None:
    """Who asked first goes first, as far as they wake in time."""
    limit, state, turns = parse("10/s"), RateState(), []
    for number in range(20):
        state, queued = rate.take(state, limit, T + number / 1000)
        turns.append(T if queued is None else queued.turn.at)
    assert turns == sorted(turns)
    assert turns[-1] - turns[0] == pytest.approx(19 * limit.interval)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_clock_that_jumps_neither_holds_anybody_nor_lets_a_burst_through(seed: int) -> None:
    """Set by up to an hour, forth or back, while callers wait: the distance is kept, and the queue moves on."""
    chance = random.Random(seed)
    limit = parse("10/s")
    jumps = {chance.randrange(1, 100): chance.choice((-1, 1)) * chance.uniform(2, 3600) for _ in range(3)}
    started = simulate(limit, [0.0] * 50, chance, jumps)
    times = sorted(at for _, at in started)
    assert times[-1] <= 50 * (limit.interval + 0.01) + 3 * rate.MOMENT + 1
    # By a clock that went forth, the distance to the last call is long enough: that is one call for each jump.
    for first, last in zip(times, times[10 + len(jumps) :], strict=False):
        assert last - first >= 1.0


def test_a_pause_ends_when_it_was_to_end() -> None:
    """The longer of two counts; a clock that was set back does not make it longer."""
    state = rate.pause(PauseState(), T, 10)
    assert rate.pause(state, T + 1, 5) is state
    assert rate.left(state, T + 4) == 6
    assert rate.left(state, T + 11) == 0
    assert rate.left(state, T - 3600) == 10
    assert rate.left(rate.pause(state, T + 1, 20), T + 1) == 20
    assert rate.rebased_pause(state, T) == rate.rebased_pause(state, T + 5) == state
    assert rate.rebased_pause(state, T - 3600) == PauseState(T - 3600, T - 3590, 10), "as long as it was"
