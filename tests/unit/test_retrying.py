"""`@perdure.retry` alone: the policy around any function, with nothing saved."""

from __future__ import annotations

import urllib.error

import pytest
from retried import WAYS, Clock, Flaky, call, installed, too_many

from perdure.api.retry import retry


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return installed(monkeypatch)


@pytest.mark.parametrize("way", WAYS)
def test_tries_again_with_growing_waits(way: str, clock: Clock) -> None:
    """The defaults of steps: 4 tries, 1 s doubling, half of 500 ms of jitter here."""
    flaky = Flaky(OSError("one"), OSError("two"), OSError("three"))
    assert call(way, flaky, 3) == 3
    assert flaky.calls == 4
    assert clock.slept == [1.25, 2.25, 4.25]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_raised_is_the_users_own_exception_with_the_tries_as_notes(way: str) -> None:
    """The very object that the last try raised, with nothing of ours around it."""
    last = OSError("third")
    flaky = Flaky(OSError("first"), EOFError("second"), last)
    with pytest.raises(OSError, match="third") as caught:
        call(way, flaky, attempts=3, jitter=0)
    assert caught.value is last
    assert last.__cause__ is None
    assert last.__context__ is None
    name = "fetch" if way == "async" else "Flaky"
    assert last.__notes__ == [
        f"perdure: {name!r} failed 3 times in 3 s",
        "  1. OSError: first",
        "  2. EOFError: second",
        "  3. OSError: third",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_names_a_delay_is_obeyed_and_uses_up_no_tries(way: str, clock: Clock) -> None:
    """Seconds, a date counted from the server's own clock, and a date counted from ours."""
    flaky = Flaky(
        too_many(Retry_After="7"),
        too_many(Retry_After="Tue, 14 Nov 2023 22:14:20 GMT", Date="Tue, 14 Nov 2023 22:13:20 GMT"),
        too_many(Retry_After="Fri, 15 Jan 2027 08:02:27 GMT"),  # 1,800,000,147
        OSError("once"),
    )
    assert call(way, flaky, attempts=2, jitter=0) == 7
    assert clock.slept == [7, 60, 80, 8]


@pytest.mark.parametrize("way", WAYS)
def test_a_delay_beyond_the_bound_ends_it_at_once(way: str, clock: Clock) -> None:
    """A server that says "in a year" hangs no script."""
    flaky = Flaky(*[too_many(Retry_After="31536000") for _ in range(9)])
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(way, flaky)
    assert (flaky.calls, clock.slept) == (1, [])
    assert "there was no time left for another try" in caught.value.__notes__[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [TypeError("wrong"), FileNotFoundError(2, "gone"), AssertionError()], ids=repr)
def test_permanent_errors_are_raised_at_once(way: str, error: Exception) -> None:
    """A wrong program fails the same way every time."""
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        call(way, flaky)
    assert flaky.calls == 1


def test_calls_do_not_share_their_tries(clock: Clock) -> None:
    """Each call has the whole policy to itself."""
    flaky = Flaky(OSError(), OSError())
    fetch = retry(attempts=3, jitter=0)(flaky)
    assert fetch() == 7
    flaky.failures = [OSError(), OSError()]
    assert fetch() == 7
    assert clock.slept == [1, 2, 1, 2]
