"""Credentials are taken out of texts; what helps to find the fault stays."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from credential_texts import CANARY, LONG, ORDINARY, SHAPES
from hypothesis import example, given
from hypothesis import strategies as st

from perdure.core.redaction.text import Redactor, redact


@pytest.mark.parametrize("text", SHAPES)
def test_credentials_of_every_shape_are_hidden(text: str) -> None:
    """What is secret goes, the rest stays as it is; and what was hidden once is left as it is."""
    hidden = redact(text)
    assert CANARY not in hidden
    assert LONG not in hidden
    assert hidden.startswith(SHAPES[text])
    assert redact(hidden) == hidden


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_no_credential_stays(text: str) -> None:
    """Texts that only look as if: names of classes, counters, code, addresses without credentials."""
    assert redact(text) == text


KNOWN = ["p@ss w/örd+1", "back\\slash\"quote'", "plain-value-77", "zeile1\nzeile2"]


@pytest.mark.parametrize("value", KNOWN)
def test_known_values_are_hidden_in_every_form(value: str) -> None:
    """As it is, in a URL, in JSON, in a repr, in a text in a text, and in base64 behind a user's name."""
    hide = Redactor(KNOWN)
    forms = [
        value,
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        repr(value),
        ascii(value),
        json.dumps(json.dumps(value)),
        repr(repr(value)),
    ]
    for form in forms:
        bare = form.strip("\"'\\")
        assert bare not in hide(f"<{form}>"), form
        assert "***" in hide(f"<{form}>")
    for user in ("", "b", "bo", "bob"):
        encoded = base64.b64encode(f"{user}:{value}".encode()).decode()
        shown = hide(f"<{encoded}>")
        assert len(shown) < 16 < len(encoded)


def test_short_and_common_values_are_no_secrets() -> None:
    """A password of `admin` or `12345` would blot out half of every text."""
    assert Redactor(["admin", "12345", "password", "localhost", ""])("admin password 12345 localhost") == (
        "admin password 12345 localhost"
    )


WORDS = [
    "password",
    "token",
    "Authorization",
    "Cookie",
    "://",
    "sk-",
    "eyJ",
    "--token",
    "secret",
    "%3D",
    "ghp_",
    "AKIA",
    "hunter22",
    "bot1:",
    "sig",
]


PIECES = st.sampled_from(
    [*"ab1 :=/@?&'\"\\-_.,;<>()[]{}*%\n", *WORDS, "Bearer ", "-----BEGIN PRIVATE KEY-----", CANARY]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("token=token=a")
def test_redacting_twice_is_redacting_once(text: str) -> None:
    """What was hidden stays as it is: views redact again what was stored redacted."""
    once = redact(text)
    assert redact(once) == once


@given(st.text(max_size=60), st.text("abcdefgh1234567890-_/+=%\\\"'", min_size=6, max_size=20))
def test_a_known_value_is_never_left(text: str, value: str) -> None:
    """Whatever stands around it."""
    hide = Redactor([value])
    if hide(value) != value:
        assert value not in hide(f"{text}{value}{text}").replace("***", "\0")


def test_a_known_value_is_hidden_in_json_of_other_programs() -> None:
    """Some leave letters that are not ASCII as they are, and escape the rest."""
    assert "p\u00e4ss" not in Redactor(['p\u00e4ss"word'])('{"password": "p\u00e4ss\\"word"}')
