"""The codes and the token of `perdure ui`: once, for a minute, and not by guessing."""

from __future__ import annotations

from perdure.web.guard import Hosts
from perdure.web.session import CODE_SECONDS, FAILURES, Session


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_code_is_good_once_and_for_a_minute():
    """A code gives the token once; one that is too old, or was never given out, does not."""
    clock = Clock()
    session = Session(clock=clock)
    first, second = session.new_code(), session.new_code()
    assert session.exchange(first) == session.token
    assert session.exchange(first) is None
    clock.now += CODE_SECONDS
    assert session.exchange(second) is None
    assert session.exchange("") is None
    assert len(session.token) >= 43, "256 bits"
    assert Session().token != session.token


def test_failures_are_counted_by_the_minute():
    """So many wrong tokens in a minute, and it is limited, for a minute; the right one is no failure."""
    clock = Clock()
    session = Session(clock=clock)
    for _ in range(FAILURES):
        assert not session.is_limited
        assert not session.admits("Bearer wrong")
    assert session.is_limited
    assert session.admits(f"Bearer {session.token}")
    clock.now += 60
    assert not session.is_limited
    assert not session.admits("")
    assert not session.admits(session.token), "without the scheme it is none"


def test_hosts_are_exact():
    """A host is one of ours with its port, in any case; a socket takes any port of this machine's names alone."""
    hosts = Hosts(["127.0.0.1:80", "Perdure.example:8443"])
    assert hosts.has("perdure.EXAMPLE:8443")
    assert not any(
        map(hosts.has, ("127.0.0.1", "perdure.example", "127.0.0.1:8080", "", "evil:80", "127.0.0.1:80.evil"))
    )
    any_port = Hosts((), any_port=True)
    assert all(map(any_port.has, ("localhost:1", "127.0.0.1", "[::1]:9")))
    assert not any(map(any_port.has, ("evil", "evil:80", "localhost.evil:80", "localhost:x", ":80", "")))
