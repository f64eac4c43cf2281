"""Policies, rules and redaction where little is left to decide: odd tables, late reports, values at a bound."""

from __future__ import annotations

import errno
import urllib.error
from email.message import Message
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from classified import RULES

from perdure.core.cron import parse as parse_ticks
from perdure.core.exceptions import notes
from perdure.core.exceptions.fingerprint import users_line
from perdure.core.policies import breaker, failure_rules
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Ticket
from perdure.core.policies.classify import assess
from perdure.core.policies.exception_facts import Facts
from perdure.core.policies.failure_rules import NO_RULES, Rules, parse
from perdure.core.policies.retry import Retry, reassess
from perdure.core.redaction.names import is_secret
from perdure.core.redaction.nested import NotRedactable, redact_nested
from perdure.core.redaction.text import HIDDEN, redact
from perdure.errors import OptionError

T = 1_800_000_000.0
UTC = ZoneInfo("UTC")
LAST_MINUTE = 253_402_300_740
"""9999-12-31 23:59 UTC."""


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"kind": "permanent"}, "the failure rules in f are not a list of tables"),
        (["permanent"], "rule 1 in f is not a table"),
        ([{"kind": "permanent", "status": {"a": 1}}], "status is {'a': 1}"),
        ([{"kind": "permanent", "status": True}], "status is True"),
        ([{"kind": "permanent", "class": [""]}], "class is ['']"),
        ([{"kind": "permanent", "class": [3]}], "class is [3]"),
        ([{"kind": "permanent", "errno": [True]}], "errno True does not exist"),
    ],
)
def test_tables_of_another_form_are_refused(tables: Any, says: str) -> None:
    """With the rule's number, and before anything runs."""
    with pytest.raises(OptionError) as caught:
        parse(tables, "f")
    assert says in caught.value.what


def test_a_single_text_or_number_stands_for_a_list_of_one() -> None:
    """As TOML is written by hand."""
    one, listed = (
        parse([{"kind": "permanent", "class": name, "status": status, "errno": number}], "f")[0]
        for name, status, number in (("a.B", 404, errno.ENOSPC), (["a.B"], [404], [errno.ENOSPC]))
    )
    assert (one.classes, one.status, one.errno) == (listed.classes, listed.status, listed.errno)


def test_a_rule_about_an_error_of_another_system_matches_nothing_here() -> None:
    """The catalogue's rules are read on every system; without that number the rule must not match all."""
    rules = Rules(parse([{"kind": "permanent", "errno": ["EWOULDNEVERBE"]}], "f", portable=True))
    assert (
        assess(OSError(errno.ENOSPC, "full"), T, rules).kind == assess(OSError(errno.ENOSPC, "full"), T, NO_RULES).kind
    )


def test_no_more_classes_are_remembered_than_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that makes classes without end does not fill the memory with what is known about them."""
    monkeypatch.setattr(failure_rules, "_REMEMBERED", 3)
    rules = Rules(parse([{"kind": "permanent", "class": ["*.Odd7"]}], "f"))
    kinds = [assess(type(f"Odd{n}", (Exception,), {})("x"), T, rules).kind for n in range(10)]
    assert [n for n, kind in enumerate(kinds) if kind == "permanent"] == [7]
    assert len(rules._of_class) <= 3


@pytest.mark.parametrize(
    ("path", "pattern", "matches"),
    [
        ("detail.code", "28*", True),
        ("detail.code", "29*", False),
        ("raw", "dead", True),
        ("parts.1", "b", True),
        ("parts.2", "*", False),
        ("parts.x", "*", False),
        ("parts.*", "b", True),
        ("detail.*", "280", True),
        ("gone.code", "*", False),
    ],
)
def test_a_rule_looks_into_attributes(path: str, pattern: str, matches: bool) -> None:
    """Dicts by key, lists by place, `*` for all of them, bytes as text; what is not there matches nothing."""
    exc = ValueError("x")
    exc.detail, exc.raw, exc.parts = {"code": 280}, b"dead", ["a", "b"]  # type: ignore[attr-defined]
    rules = Rules(parse([{"kind": "throttled", "attr": {path: pattern}}], "f"))
    assert (assess(exc, T, rules).kind == "throttled") is matches


def test_a_header_of_bytes_is_read() -> None:
    """As some clients keep them."""

    class Response:
        status_code = 429

        def __init__(self) -> None:
            self.headers = {"Retry-After": b" 7 "}

    exc = RuntimeError("429")
    exc.response = Response()  # type: ignore[attr-defined]
    assert Facts(exc, T).delay == 7.0


def test_what_a_policy_says_anyway_changes_nothing() -> None:
    """`Retry(on=...)` that agrees with what is known leaves the reason as it is; one that does not is named."""
    known = assess(ConnectionResetError(), T, NO_RULES)
    same = reassess(Retry(on=(ConnectionResetError,)), ConnectionResetError(), known)
    assert same is known
    other = reassess(Retry(on=(KeyError,)), ConnectionResetError(), known)
    assert other.kind == "permanent"
    assert "Retry(on=...)" in other.rule


def a_probe(policy: BreakerPolicy) -> tuple[BreakerState, Ticket]:
    state = BreakerState()
    for _ in range(policy.failures):
        state = breaker.report(state, policy, T, Ticket(state.generation), "failure", "down")
    state, ticket = breaker.admit(state, policy, T + 10_000, "lease", "me", lambda whose: True)
    assert isinstance(ticket, Ticket)
    return state, ticket


def test_a_probe_that_has_lost_its_lease_says_nothing() -> None:
    """It came too late: another has its place. Nor does it close the breaker, or open it."""
    policy = BreakerPolicy()
    state, ticket = a_probe(policy)
    for grade in ("success", "failure", "unknown"):
        assert breaker.report(state, policy, T, msgspec.structs.replace(ticket, lease="other"), grade) is state


def test_an_alert_about_an_open_breaker_is_marked_once() -> None:
    """When it is overdue, and not before."""
    policy = BreakerPolicy()
    state, _ = a_probe(policy)
    assert breaker.mark_alerted(state, state.since + 59, 60) == (state, False)
    marked, due = breaker.mark_alerted(state, state.since + 60, 60)
    assert due
    assert marked.alerted
    assert breaker.mark_alerted(marked, state.since + 600, 60) == (marked, False)


def test_a_stored_cool_down_is_never_longer_than_itself() -> None:
    """Whatever moment is in the file."""
    state = BreakerState(mode="open", changed=T, until=T + 500, cooldown=30.0)
    assert breaker.rebased(state, T).until == T + 30.0
    ahead = msgspec.structs.replace(state, until=T + 20)
    assert breaker.rebased(ahead, T) == ahead


def test_schedules_end_with_the_calendar() -> None:
    """In the year 9999, without an error: a stretch of time that goes on beyond it has no more ticks."""
    for spec in ("* * * * *", "59 23 31 12 *"):
        ticks = parse_ticks(spec)
        assert list(ticks.between(LAST_MINUTE - 1, LAST_MINUTE + 10**6, UTC)) == [LAST_MINUTE]
        assert ticks.next(LAST_MINUTE, UTC) is None
    assert parse_ticks("* * * * *").next(1e18, UTC) is None


def test_the_latest_ticks_of_a_dense_hour_are_found() -> None:
    """A schedule that is due each second of one hour of a year: most of its ticks lie in a small part of the time."""
    ticks = parse_ticks("* * 0 1 1 *")
    begin = 1_767_225_600  # 2026-01-01
    found = ticks.latest(begin - 40 * 86_400, begin + 300 * 86_400, UTC, most=5)
    assert found.ticks == tuple(range(begin + 3595, begin + 3600))
    assert found.before == begin + 3594


def test_a_day_that_never_comes_is_refused() -> None:
    """The 30th of February."""
    with pytest.raises(OptionError, match="30 2"):
        parse_ticks("0 0 30 2 *")


class Stubborn(Exception):
    def add_note(self, note: str, /) -> None:
        raise RuntimeError("no notes")


def test_a_note_is_kept_by_an_exception_that_takes_none() -> None:
    """And where something else stands in its place, the exception stays as it is."""
    exc = Stubborn()
    notes.add(exc, "one")
    notes.add(exc, "two")
    assert notes.of(exc) == ["one", "two"]
    exc.__dict__["__notes__"] = "text"
    notes.add(exc, "three")
    assert exc.__dict__["__notes__"] == "text"
    assert notes.of(exc) == []


def test_the_users_line_is_none_of_a_library_and_none_of_python_itself() -> None:
    """The last one of those that are the user's."""
    frames = (
        ("/home/me/a.py", "f"), ("/home/me/b.py", "g"), ("/usr/lib/python3/site-packages/x.py", "h"), ("<string>", "i"),
    )  # fmt: skip
    text = "".join(f'  File "{path}", line 1, in {name}\n    call({name})\n' for path, name in frames)
    assert users_line(text) == "b.py:g:call(g)"
    assert users_line(text[text.index("/usr") - 8 :]) == ""


def hide(text: str) -> str:
    return text.replace("s3cret", HIDDEN)


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def test_values_that_only_show_a_credential_cannot_be_redacted() -> None:
    """Of other kinds it is only known how they look; what shows none comes back as it is."""
    clean = Shown("clean")
    assert redact_nested(clean, hide) is clean
    with pytest.raises(NotRedactable):
        redact_nested([Shown("s3cret")], hide)


def test_what_is_nested_too_deep_cannot_be_redacted() -> None:
    """A limit, and no RecursionError."""
    deep: Any = "x"
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(NotRedactable):
        redact_nested(deep, hide)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_how_deep_values_may_lie(wrap: Any) -> None:
    """Each list and each dict is a level; 300 are looked through."""
    levels: list[Any] = ["s3cret!"]
    for _ in range(301):
        levels.append(wrap(levels[-1]))
    assert "s3cret" not in repr(redact_nested(levels[300], hide))
    with pytest.raises(NotRedactable):
        redact_nested(levels[301], hide)


def test_bytes_are_redacted_by_name_and_by_content() -> None:
    """In the kind that they were; empty ones hide nothing."""
    assert redact_nested({"password": b"abc", "note": b"s3cret!"}, hide) == {
        "password": HIDDEN.encode(),
        "note": HIDDEN.encode() + b"!",
    }
    assert redact_nested({"password": bytearray(b"abc")}, hide) == {"password": bytearray(HIDDEN.encode())}
    assert redact_nested({"password": b""}, hide) == {"password": b""}


def test_a_name_of_any_length_is_no_secret_by_chance() -> None:
    """Texts that are longer than names are not looked through word by word."""
    assert is_secret("password")
    assert not is_secret("x_" * 5000 + "password")


def test_a_known_value_is_hidden_without_the_spaces_around_it_too() -> None:
    """As `strip()` leaves it in what is printed."""
    assert "Tr0ub4dor" not in redact("it was Tr0ub4dor&3.", [" Tr0ub4dor&3 \n"])


@pytest.mark.parametrize(
    "text", ["oldpwd=/home/me", "token = null", "password: required", "api_key=None", "PASSWORD=true"]
)
def test_what_stands_where_a_secret_would_be_stays(text: str) -> None:
    """A folder, and words that say that there is none."""
    assert redact(text) == text


@pytest.mark.parametrize(("deep", "kind"), [(1, "throttled"), (5, "throttled"), (6, "transient")])
def test_what_was_being_handled_is_looked_at_as_far_as_the_bound(deep: int, kind: str) -> None:
    """A 429 that other errors were raised over; a chain without end is not followed."""
    exc: Exception = urllib.error.HTTPError("http://x/", 429, "", Message(), None)
    for _ in range(deep):
        above = RuntimeError("over it")
        above.__context__, exc = exc, above
    assert assess(exc, T, RULES).kind == kind


def test_a_delay_of_a_plain_http_error_is_read() -> None:
    """As urllib keeps its headers."""
    message = Message()
    message["Retry-After"] = "9"
    assert Facts(urllib.error.HTTPError("http://x/", 429, "", message, None), T).delay == 9.0


def test_what_a_group_is_of_says_more_than_a_message_about_it() -> None:
    """Its members are looked at by what they are, before the text of an error that it has led to."""
    error = RuntimeError("too many requests")
    assert assess(error, T, RULES).kind == "throttled"
    error.__cause__ = ExceptionGroup("several", [PermissionError("no")])
    assert (assess(error, T, RULES).kind, assess(error, T, RULES).confidence) == ("permanent", "certain")


@pytest.mark.parametrize(("depth", "kind"), [(1, "permanent"), (5, "permanent"), (6, "transient")])
def test_groups_in_groups_are_looked_into_so_deep(depth: int, kind: str) -> None:
    """What is deeper is unknown, and tried again."""
    error: Exception = PermissionError("no")
    for _ in range(depth):
        error = ExceptionGroup("several", [error])
    assert assess(error, T, RULES).kind == kind
