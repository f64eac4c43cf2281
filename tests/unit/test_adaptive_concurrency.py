"""The controller behind concurrency="auto": up by one a round, down by half, fair to others."""

from __future__ import annotations

import random
import urllib.error
from collections import deque
from email.message import Message

import httpx
import pytest
from classified import RULES
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.execution.adaptive_concurrency import CEILING, FIRST, AdaptiveConcurrency, is_congestion
from perdure.core.execution.effects import Outcome
from perdure.errors import StepTimeout


def a_round(adaptive: AdaptiveConcurrency) -> list[int]:
    """As many attempts as may be under way begin."""
    while not adaptive.full:
        adaptive.enter()
    return [adaptive.began() for _ in range(adaptive.inside)]


def end(adaptive: AdaptiveConcurrency, attempts: list[int], good: bool = True) -> None:
    for attempt in attempts:
        (adaptive.succeeded if good else adaptive.congested)(attempt)
        adaptive.leave()


def test_one_more_after_each_full_round() -> None:
    """From 4, by one for as many successes as may be under way."""
    adaptive = AdaptiveConcurrency()
    seen = []
    for _ in range(5):
        seen.append(adaptive.limit)
        end(adaptive, a_round(adaptive))
    assert seen == [4, 5, 6, 7, 8]


def test_half_as_many_once_for_all_that_were_under_way() -> None:
    """Ten that are told "too many" at the same time cut once; the next round's may cut again. Never below 1."""
    adaptive = AdaptiveConcurrency()
    while adaptive.limit < 16:
        end(adaptive, a_round(adaptive))
    seen = []
    for _ in range(6):
        end(adaptive, a_round(adaptive), good=False)
        seen.append(adaptive.limit)
    assert seen == [8, 4, 2, 1, 1, 1]


def test_what_began_before_a_cut_does_not_raise_the_limit() -> None:
    """It tells of the load before."""
    adaptive = AdaptiveConcurrency()
    attempts = a_round(adaptive)
    end(adaptive, attempts[:1], good=False)
    assert adaptive.limit == 2
    end(adaptive, attempts[1:])
    assert adaptive.limit == 2


def test_room_that_nobody_used_says_nothing_about_more() -> None:
    """A slow source of items does not let the limit rise."""
    adaptive = AdaptiveConcurrency()
    for _ in range(100):
        adaptive.enter()
        end(adaptive, [adaptive.began()])
    assert adaptive.limit == FIRST


def test_never_above_what_it_may() -> None:
    """The ceiling, or the number of items."""
    for most in (1, 3, 7, CEILING):
        adaptive = AdaptiveConcurrency(most)
        for _ in range(3 * CEILING):
            end(adaptive, a_round(adaptive))
        assert adaptive.limit == most
    assert AdaptiveConcurrency(0).limit == 1


@given(st.lists(st.sampled_from(["begin", "good", "bad", "other"]), max_size=300), st.integers(1, 20))
def test_bounds_hold_whatever_happens(events: list[str], most: int) -> None:
    """1 to the ceiling; never more inside than the limit was when they came."""
    adaptive, open_ = AdaptiveConcurrency(most), deque[int]()
    for event in events:
        if event == "begin":
            if not adaptive.full:
                adaptive.enter()
                open_.append(adaptive.began())
                assert adaptive.inside <= adaptive.limit
        elif open_:
            attempt = open_.popleft()
            if event != "other":
                (adaptive.succeeded if event == "good" else adaptive.congested)(attempt)
            adaptive.leave()
        assert 1 <= adaptive.limit <= most
        assert adaptive.inside == len(open_)


def share(seed: int, capacity: int, heads: list[int], rounds: int) -> list[float]:
    """Several controllers at one service that answers 429 to what exceeds its capacity; their mean limits at the end.

    Time goes in round trips: all attempts of one begin, in random order, and end before those of the next.
    """
    chance = random.Random(seed)
    paces = [AdaptiveConcurrency() for _ in heads]
    for adaptive, head in zip(paces, heads, strict=True):
        while adaptive.limit < head:
            end(adaptive, a_round(adaptive))
    sums = [0] * len(paces)
    for turn in range(rounds):
        attempts = [(adaptive, attempt) for adaptive in paces for attempt in a_round(adaptive)]
        chance.shuffle(attempts)
        for place, (adaptive, attempt) in enumerate(attempts):
            end(adaptive, [attempt], good=place < capacity)
        if turn >= rounds // 2:
            sums = [total + adaptive.limit for total, adaptive in zip(sums, paces, strict=True)]
    return [total / (rounds - rounds // 2) for total in sums]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 20))])
def test_two_come_to_equal_shares(seed: int) -> None:
    """From 40 and 4 to parts that differ by less than a tenth, using most of the service (Chiu and Jain 1989)."""
    first, second = share(seed, 48, [40, 4], 4000)
    assert abs(first - second) < 0.1 * (first + second) / 2
    assert 0.6 * 48 < first + second < 1.1 * 48


def test_alone_it_finds_the_capacity() -> None:
    """Between half of it and it, as a saw's teeth."""
    (mean,) = share(1, 24, [4], 2000)
    assert 0.6 * 24 < mean < 24


def too_many(status: int, **headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://api.test/", status, "", message, None)


@pytest.mark.parametrize(
    ("error", "congestion"),
    [
        (too_many(429), True),
        (too_many(503, Retry_After="3"), True),
        (too_many(504), True),
        (StepTimeout("x"), True),
        (TimeoutError(), True),
        (httpx.ReadTimeout("x"), True),
        (httpx.ConnectTimeout("x"), True),
        (too_many(503), False),
        (too_many(404), False),
        (ValueError(), False),
        (ConnectionResetError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_what_is_congestion(error: Exception | None, congestion: bool) -> None:
    """Throttling and no answer in time; not the item's own trouble."""
    assert is_congestion(Outcome(None, error, 1_800_000_000.0, 1.0), RULES) is congestion
