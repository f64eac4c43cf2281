"""What an alert says: enough to act on, short enough for a phone, nothing that harms or gives a secret away."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.alerts.alert import RECOVERED, TEXT, Alert
from perdure.alerts.sanitize import cut, harmless

FULL = Alert(
    what="failed",
    workflow="nightly",
    run="7f3a9c",
    step="charge",
    attempt=4,
    error="PaymentError: card declined\n  at line 3",
    code="credential-expired",
    saved=12,
    commands=(("see more", "perdure show 7f3a9c"), ("resume", "perdure resume 7f3a9c")),
    host="web-1",
    pid=123,
    time=1_795_000_000.0,
)


def test_an_alert_says_what_where_why_and_what_to_do() -> None:
    """Workflow, run, step, attempt, the error's first line, the class, what was saved, the exact commands."""
    assert FULL.text().splitlines() == [
        "ERROR: nightly failed in step charge, attempt 4",
        "PaymentError: card declined",
        "kind: credential-expired",
        "saved: 12 steps",
        "run 7f3a9c, web-1 pid 123, 2026-11-18 11:06:40 UTC",
        "see more: perdure show 7f3a9c",
        "resume: perdure resume 7f3a9c",
    ]


ANYTHING = st.text(st.characters(exclude_categories=[])) | st.text(
    "\x00\x1b\u202e\ud800\u200b<>_*`[]\n\r\t", max_size=9
)


@given(error=ANYTHING, name=ANYTHING, notes=st.lists(ANYTHING, max_size=30), repeat=st.integers(1, 400))
def test_no_text_makes_an_alert_long_or_harmful(error: str, name: str, notes: list[str], repeat: int) -> None:
    """At most 13 lines and 900 characters; UTF-8; no control, bidi or private character; stored as it is read."""
    commands = tuple((name, error) for _ in range(repeat % 20))
    alert = Alert(
        what="failed", workflow=name, step=name, error=error * repeat, notes=tuple(notes), commands=commands, run=name
    )
    text = alert.text()
    assert 0 < len(text) <= TEXT
    assert len(text.split("\n")) <= 13
    text.encode("utf-8")
    bad = [c for c in text if unicodedata.category(c)[0] == "C" and c not in "\n\u200c\u200d"]
    assert bad == []
    assert len(alert.plainest()) <= TEXT
    assert alert.plainest().isascii()
    again = msgspec.json.decode(msgspec.json.encode(alert), type=Alert)
    assert (again.text(), again.key, again.id) == (text, alert.key, alert.id)


def test_no_field_of_an_alert_holds_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that looks like one, nor the value of a variable whose name says that it is one, nor a split one."""
    monkeypatch.setenv("BILLING_API_KEY", "plain-looking-value-77")
    secrets = [
        "AKIAIOSFODNN7EXAMPLE",
        "hunter2hunter2",
        "plain-looking-value-77",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    ]
    said = (
        "https://bob:hunter2hunter2@db.example/x AKIAIOSFODNN7EXAMPLE plain-looking-value-77"
        " ghp_0123456789abcdefghijABCDEFGHIJ012345"
    )
    alert = Alert(
        what="failed", workflow=said, run=said, step=said, error=said, notes=(said,), commands=((said, said),), key=said
    )
    default = Alert(what="message", error=said)
    for held in (msgspec.json.encode(alert).decode(), str(alert.as_json()), alert.text(), repr(alert), repr(default)):
        assert [secret for secret in secrets if secret in held] == []


def test_a_text_that_cannot_be_cleaned_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert goes out all the same."""
    from perdure.alerts import sanitize

    def broken(_: str) -> str:
        raise RuntimeError

    monkeypatch.setattr(sanitize, "conceal", broken)
    assert "hunter2" not in Alert(what="failed", error="password=hunter2").text()


def test_what_cannot_be_seen_is_written_out() -> None:
    """A bidi override would show other text than there is; a joiner in an emoji is no harm."""
    assert harmless("a\u202eb\x00\x1b[31m\ud800") == "a\\u202eb\\x00\\x1b[31m\\ud800"
    assert harmless("\U0001f469\u200d\U0001f52c caf\u00e9\u00a0x") == "\U0001f469\u200d\U0001f52c caf\u00e9 x"


def test_a_cut_says_that_something_is_missing() -> None:
    """After a whole word if one ends near, and never on half an emoji."""
    assert cut("one two three four", 17) == "one two three..."
    assert cut("x" * 30, 10) == "x" * 7 + "..."
    assert cut("x" * 6 + "\u200d" + "y" * 30, 10) == "x" * 6 + "..."


def test_the_key_is_that_of_the_failure_not_of_its_details() -> None:
    """The same error of the same step with another text is the same failure; another step's is not."""

    def failed(**more: str) -> str:
        return Alert(what="failed", **{"workflow": "w", "step": "s", "error": "KeyError: 'a17'"} | more).key

    assert failed() == failed(error="KeyError: 'b18'")
    assert len({failed(), failed(step="t"), failed(workflow="v"), failed(error="ValueError: x")}) == 4


def test_recovered_takes_back_what_was_said_of_the_workflow() -> None:
    """Of the workflow as a whole; with a key of its own, only of that key."""
    assert Alert(what=RECOVERED, workflow="nightly").closes(FULL)
    assert not Alert(what=RECOVERED, workflow="hourly").closes(FULL)
    assert not Alert(what=RECOVERED, workflow="nightly", key="hung").closes(FULL)
    assert Alert(what=RECOVERED, key=FULL.key).closes(FULL)
