"""A breaker opens when it should, lets exactly the permitted probes through, and is not confused by anything late."""

from __future__ import annotations

import msgspec
import pytest
from breaker_world import World, live
from classified import assess

from perdure.core.policies import breaker
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Bucket, Refusal, Ticket
from perdure.core.policies.guard import grade
from perdure.errors import BreakerOpen

POLICY = BreakerPolicy()
T = 1_800_000_000.0


def fail(state: BreakerState, times: int, policy: BreakerPolicy = POLICY, now: float = T) -> BreakerState:
    for _ in range(times):
        state = breaker.report(state, policy, now, Ticket(state.generation), "failure", "down")
    return state


def ask(
    state: BreakerState, now: float, policy: BreakerPolicy = POLICY, lease: str = "a"
) -> tuple[BreakerState, object]:
    return breaker.admit(state, policy, now, lease, "me", lambda whose: True)


# -- ten thousand openings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [1, 3])
def test_exactly_the_permitted_probes(probes: int) -> None:
    """However many callers in four processes wait, whoever dies and whatever the clock does: so many probes, no more
    and no fewer, after every cool-down."""
    world = live(World(1, 1000, BreakerPolicy(probes=probes)), 60)
    assert min(world.deaths, world.jumps, world.late) > 10


@pytest.mark.long
def test_exactly_the_permitted_probes_ten_thousand_times() -> None:
    """The same, as often as is promised: 10,000 openings, 1,000 callers."""
    world = live(World(2, 1000, POLICY), 10_000)
    print(f"{world.openings} openings, {world.deaths} deaths, {world.jumps} clock jumps, {world.late} late reports")


def test_a_breaker_that_lets_everybody_probe_is_found_out() -> None:
    """The control: the onlooker notices a half-open breaker that admits all who wait."""

    def lax(state: BreakerState, policy: BreakerPolicy, now: float, *others: object) -> tuple[BreakerState, object]:
        after, answer = breaker.admit(state, policy, now, *others)  # type: ignore[arg-type]
        if isinstance(answer, Refusal) and answer.mode == "half-open":
            return after, Ticket(after.generation, next(iter(after.leases)))
        return after, answer

    with pytest.raises(AssertionError, match="more probes"):
        live(World(1, 1000, POLICY, lax), 60)  # type: ignore[arg-type]


def test_a_breaker_that_keeps_the_leases_of_the_dead_is_found_out() -> None:
    """The control: the onlooker notices that nobody can probe after a prober has died."""

    def credulous(state: BreakerState, policy: BreakerPolicy, now: float, lease: str, holder: str, alive: object):  # type: ignore[no-untyped-def]
        return breaker.admit(state, policy, now, lease, holder, lambda whose: True)

    with pytest.raises((AssertionError, IndexError)):
        live(World(1, 1000, POLICY, credulous), 60)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_three_failures_in_a_row_open_it() -> None:
    """Three; and a success in between begins the count anew."""
    state = fail(BreakerState(), 2)
    state = breaker.report(state, POLICY, T, Ticket(state.generation), "success")
    assert fail(state, 2).mode == "closed"
    opened = fail(state, 3)
    assert (opened.mode, opened.until, opened.error) == ("open", T + 30, "down")


@pytest.mark.parametrize("said", ["throttled", "unknown"])
def test_what_says_nothing_does_not_count(said: breaker.Grade) -> None:
    """HTTP 429 and the program's own errors neither count as failures nor interrupt a row of them."""
    state = fail(BreakerState(), 2)
    assert breaker.report(state, POLICY, T, Ticket(state.generation), said) is state


def test_success_while_all_is_well_changes_nothing() -> None:
    """A healthy service costs no write."""
    state = BreakerState()
    assert breaker.report(state, POLICY, T, Ticket(), "success") is state


def test_a_ratio_opens_it_only_once_there_are_enough_calls() -> None:
    """Half of the calls of a minute, if there were ten; failures in a row do not count then."""
    policy = BreakerPolicy(failures=None, ratio=0.5, minimum=10)
    state = fail(BreakerState(), 9, policy)
    assert state.mode == "closed"
    assert fail(state, 1, policy).mode == "open"
    state = BreakerState()
    for _ in range(5):
        state = breaker.report(state, policy, T, Ticket(state.generation), "success")
    assert fail(state, 4, policy).mode == "closed"
    assert fail(state, 5, policy).mode == "open"
    state = BreakerState()
    for second in range(100):
        said: breaker.Grade = "failure" if second % 4 == 3 else "success"
        state = breaker.report(state, policy, T + second, Ticket(state.generation), said)
    assert state.mode == "closed"
    assert sum(bucket.calls for bucket in state.window) <= 66
    assert len(state.window) <= breaker.BUCKETS + 1


def test_failures_older_than_the_window_do_not_count() -> None:
    """Nine failures, then nothing for a minute: the tenth is the first."""
    policy = BreakerPolicy(failures=None, ratio=0.5, minimum=10)
    assert fail(fail(BreakerState(), 9, policy), 1, policy, T + 61).mode == "closed"


# -- cooling down -----------------------------------------------------------------------------------------------------


def test_the_cool_down_grows_if_asked_to() -> None:
    """30 s, 60 s, 120 s ... up to the cap, while probes keep failing; anew after it was closed."""
    policy = BreakerPolicy(cooldown_factor=2, cooldown_cap=100)
    state, now, seen = fail(BreakerState(), 3, policy), T, []
    for _ in range(4):
        seen.append(state.cooldown)
        now = state.until
        state, ticket = ask(state, now, policy)
        assert isinstance(ticket, Ticket)
        state = breaker.report(state, policy, now, ticket, "failure")
    assert seen == [30, 60, 100, 100]
    state, ticket = ask(state, state.until, policy)
    assert isinstance(ticket, Ticket)
    state = breaker.report(state, policy, now, ticket, "success")
    assert state.mode == "closed"
    assert fail(state, 3, policy).cooldown == 30


def test_an_answer_to_a_probe_closes_it_and_a_429_gives_the_lease_back() -> None:
    """A 4xx means that somebody is there; a 429 says nothing, and another may probe."""
    state, ticket = ask(fail(BreakerState(), 3), T + 30)
    assert isinstance(ticket, Ticket)
    assert breaker.report(state, POLICY, T + 31, ticket, "answered").mode == "closed"
    back = breaker.report(state, POLICY, T + 31, ticket, "throttled")
    assert back.mode == "half-open"
    assert isinstance(ask(back, T + 32)[1], Ticket)


def test_a_clock_that_was_set_back_does_not_keep_it_open() -> None:
    """What was left of the cool-down is left; an hour is not added to it."""
    opened = fail(BreakerState(), 3)
    state, refused = ask(opened, T - 3600)
    assert refused == Refusal("open", 30)
    assert isinstance(ask(state, T - 3600 + 30)[1], Ticket)


def test_isolated_until_it_is_reset() -> None:
    """Nobody comes through, however long one waits, and no late report ends it."""
    state = breaker.isolate(BreakerState(), T)
    assert ask(state, T + 1e9)[1] == Refusal("isolated")
    assert breaker.report(state, POLICY, T, Ticket(0), "success") is state
    assert isinstance(ask(breaker.reset(state, T), T)[1], Ticket)


# -- what counts ------------------------------------------------------------------------------------------------------


class Answered(Exception):
    """As the errors of HTTP clients."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = type("Response", (), {"status_code": status, "headers": headers})()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "success"),
        (ConnectionError("refused"), "failure"),
        (TimeoutError(), "failure"),
        (Answered(500), "failure"),
        (Answered(501), "failure"),
        (Answered(503, **{"retry-after": "5"}), "failure"),
        (Answered(429), "throttled"),
        (Answered(400), "answered"),
        (Answered(404), "answered"),
        (Answered(409), "answered"),
        (TypeError("a slip"), "unknown"),
        (BreakerOpen("further inside"), "unknown"),
    ],
)
def test_what_a_call_says_about_the_service(error: Exception | None, said: str) -> None:
    """Failures are what may heal, and HTTP 5xx; 429, other 4xx and the program's own errors are none."""
    assert grade(error, assess(error, T) if error else None) == said


ONCE = BreakerPolicy(failures=1, cooldown=30.0, cooldown_cap=60.0)


def test_a_look_at_the_state_says_who_would_be_refused() -> None:
    """Open until its cool-down is over; half-open lets probes pass; isolated without an end."""
    opened = fail(BreakerState(), 1, ONCE)
    assert breaker.peek(BreakerState(), T) is None
    assert breaker.peek(opened, T + 10) == Refusal("open", 20.0)
    assert breaker.peek(opened, T + 29.5) == Refusal("open", 0.5)
    assert breaker.peek(opened, T + 30) is None
    assert breaker.peek(breaker.isolate(opened, T), T + 500) == Refusal("isolated")
    probing, _ = ask(opened, T + 31, ONCE)
    assert probing.mode == "half-open"
    assert breaker.peek(probing, T + 31) is None
    # A clock that was set back: what was left of the cool-down is left still.
    assert breaker.peek(opened, T - 50) == Refusal("open", 30.0)


def test_it_is_overdue_until_that_was_alerted_or_it_is_closed() -> None:
    """So many seconds after it first opened, failed probes included."""
    opened = fail(BreakerState(), 1, ONCE)
    assert not breaker.overdue(opened, T + 59, 60)
    assert breaker.overdue(opened, T + 60, 60)
    probing, ticket = ask(opened, T + 31, ONCE)
    assert breaker.overdue(probing, T + 60, 60)
    assert isinstance(ticket, Ticket)
    again = breaker.report(probing, ONCE, T + 32, ticket, "failure", "down")
    assert breaker.overdue(again, T + 60, 60)
    alerted, first = breaker.mark_alerted(again, T + 60, 60)
    assert first
    assert not breaker.overdue(alerted, T + 70, 60)
    assert not breaker.overdue(breaker.reset(opened, T + 10), T + 60, 60)


def test_the_calls_of_a_window_go_back_with_the_clock() -> None:
    """Else all of them would be of the future, and count for longer than the window is."""
    state = BreakerState(changed=T, window=[breaker.Bucket(T - 10, 3, 1), breaker.Bucket(T - 5, 2, 0)])
    assert [bucket.start for bucket in breaker.rebased(state, T - 60).window] == [T - 70, T - 65]
    assert breaker.rebased(state, T) is state


def test_a_breaker_as_a_whole_after_each_event() -> None:
    """Counts, times and leases, at the very bounds: a bucket is a tenth of the window, and drops out as it ends."""
    policy = BreakerPolicy(
        failures=2, ratio=0.9, window=60, minimum=5, cooldown=10, cooldown_factor=2, cooldown_cap=30, probes=2
    )
    state = BreakerState()

    def ended(at: float, grade: breaker.Grade, lease: str = "") -> None:
        nonlocal state
        state = breaker.report(state, policy, T + at, Ticket(state.generation, lease), grade, f"down at {at}")

    def asks(at: float, lease: str) -> object:
        nonlocal state
        state, answer = ask(state, T + at, policy, lease)
        return answer

    ended(1, "success")
    ended(6.5, "failure")
    expected = BreakerState(T + 6.5, consecutive=1, window=[Bucket(T + 1, 2, 1)], error="down at 6.5")
    assert state == expected
    ended(7, "answered")
    window = [Bucket(T + 1, 2, 1), Bucket(T + 7, 1, 0)]
    assert state == BreakerState(T + 7, window=window, error="down at 6.5")
    ended(61, "failure")
    window = [Bucket(T + 7, 1, 0), Bucket(T + 61, 1, 1)]
    assert state == BreakerState(T + 61, consecutive=1, window=window, error="down at 61")
    ended(62, "failure")
    opened = BreakerState(
        T + 62, "open", 1, 2, until=T + 72, cooldown=10, streak=1, openings=1, error="down at 62", since=T + 62
    )
    assert state == opened
    assert breaker.peek(state, T + 70) == asks(70, "a") == Refusal("open", 2)
    assert breaker.peek(state, T + 72) is None
    assert state == opened
    assert asks(72, "a") == Ticket(2, "a")
    half = msgspec.structs.replace(opened, changed=T + 72, mode="half-open", generation=2, leases={"a": "me"})
    assert state == half
    assert (asks(73, "b"), asks(73, "c")) == (Ticket(2, "b"), Refusal("half-open"))
    assert state == (half := msgspec.structs.replace(half, changed=T + 73, leases={"a": "me", "b": "me"}))
    ended(74, "success", "a")
    assert state == (half := msgspec.structs.replace(half, changed=T + 74, leases={"b": "me"}, passed=1))
    assert asks(74, "c") == Refusal("half-open")
    ended(75, "unknown", "b")
    assert state == (half := msgspec.structs.replace(half, changed=T + 75, leases={}))
    assert asks(76, "d") == Ticket(2, "d")
    ended(77, "failure", "c")
    assert state.leases == {"d": "me"}
    ended(80, "failure", "d")
    assert state == msgspec.structs.replace(
        opened, changed=T + 80, generation=3, until=T + 100, cooldown=20, streak=2, openings=2, error="down at 80"
    )
    assert [breaker.overdue(state, T + at, 30) for at in (91.5, 92)] == [False, True]
    alerted, due = breaker.mark_alerted(state, T + 92, 30)
    assert (alerted, due) == (msgspec.structs.replace(state, alerted=True), True)
    assert breaker.mark_alerted(alerted, T + 99, 30) == (alerted, False)
    assert (asks(100, "e"), asks(100, "f")) == (Ticket(4, "e"), Ticket(4, "f"))
    ended(101, "success", "e")
    ended(102, "success", "f")
    assert state == BreakerState(T + 102, generation=5, openings=2, error="down at 80")
    state = breaker.isolate(state, T + 103)
    assert state == BreakerState(T + 103, "isolated", generation=6, openings=2, error="down at 80")
    assert asks(104, "g") == breaker.peek(state, T + 104) == Refusal("isolated")
    assert breaker.reset(state, T + 105) == BreakerState(T + 105, generation=7, openings=2, error="down at 80")


@pytest.mark.parametrize(("failures", "mode"), [(3, "closed"), (4, "open")])
def test_a_ratio_is_reached_by_as_many_failures_as_it_says(failures: int, mode: str) -> None:
    """With the last call that is wanted, and not before."""
    policy = BreakerPolicy(failures=None, ratio=0.5, minimum=8)
    state = BreakerState()
    for number in range(8):
        said: breaker.Grade = "failure" if number >= 8 - failures else "success"
        assert state.mode == "closed"
        state = breaker.report(state, policy, T, Ticket(state.generation), said)
    assert state.mode == mode


@pytest.mark.parametrize(("back", "until"), [(0.5, T + 30), (1.0, T + 30), (1.5, T + 28.5), (100, T - 70)])
def test_a_cool_down_by_a_clock_that_was_set_back(back: float, until: float) -> None:
    """By more than two looks at it may cross; what is left is never more than all of it."""
    opened = fail(BreakerState(), 3)
    assert breaker.rebased(opened, T - back).until == min(until, T - back + 30)
    assert breaker.rebased(opened, T - back).changed == T - back
