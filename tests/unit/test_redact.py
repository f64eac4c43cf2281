"""Credentials are taken out of texts; what helps to find the fault stays."""

from __future__ import annotations

import base64
import html
import json
import re
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


ODD = 'p\u00e4ss <wo\'rd> "x\\y&z"\t9'


@pytest.mark.parametrize(
    "form",
    [
        ODD,
        *(urllib.parse.quote(ODD, safe=safe).replace("%20", space) for safe in ("", "/") for space in ("%20", "+")),
        re.sub("%..", lambda match: match.group().lower(), urllib.parse.quote(ODD, safe="")),
        *(escape(ODD)[1:-1] for escape in (repr, ascii, json.dumps)),
        *(again(escape(ODD)[1:-1])[1:-1] for escape in (repr, ascii, json.dumps) for again in (repr, json.dumps)),
        json.dumps(ODD, ensure_ascii=False)[1:-1],
        html.escape(ODD),
        html.escape(ODD, quote=False),
        html.escape(ODD).replace("&#x27;", "&#39;"),
        repr(ODD.encode())[2:-1],
        *(ODD.encode().hex(*separator) for separator in ((), (" ",), (":",))),
        ODD.encode().hex().upper(),
        "\\x".join(f"{byte:02x}" for byte in ODD.encode()),
    ],
)
def test_nothing_is_left_of_a_known_value_in_any_form(form: str) -> None:
    """And nothing is taken away from what stands around it."""
    assert Redactor([ODD])(f"<{form}>") == "<***>"


@pytest.mark.parametrize("length", [7, 8, 9])
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_a_known_value_is_hidden_in_base64_up_to_the_letters_of_its_neighbours(
    length: int, before: int, after: int
) -> None:
    """A letter that says something of a neighbour too stays; no other one does."""
    value = "\u00b5~?>7Zq~?>"[:length]
    data = value.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(b"<" * before + data + b">" * after).decode()
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        assert Redactor([value])(f"<{text}>") == f"<{text[:first]}***{text[last:]}>"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("hun\x1b[31mter\x1b[0m22", "***"),
        ("a hun\u200bter22 b", "a *** b"),
        ("a hunter\n    22 b hunt\\ner22 c", "a *** b *** c"),
        ("\x1b[1mhun\nter22hunter\n22\x1b[0m", "\x1b[1m******\x1b[0m"),
        ("hunter22 ter\nno hun\nter22", "*** ter\nno ***"),
        ("a\nb\nc", "a\nb\nc"),
        ("hun\nter2", "hun\nter2"),
        ("x22o\npen x22o\npensesame", "x22o\npen ***"),
        ("hun\nter22o\npen", "***"),
    ],
)
def test_a_known_value_is_hidden_where_something_splits_it(text: str, hidden: str) -> None:
    """A colour, a character that is not seen, the end of a line: with all that lies between its ends."""
    assert Redactor(["hunter22", "x22opensesame", "ter22open"])(text) == hidden


@pytest.mark.parametrize(
    ("value", "text", "hidden"),
    [
        (" spaced value\n", "a spaced value b", "a *** b"),
        (" spaced value\n", "a spaced value\nb", "a***b"),
        (" ab \n", "x ab \ny", "x ab \ny"),
        (" 12345 ", "x 12345 y 12345", "x***y 12345"),
    ],
)
def test_a_known_value_is_hidden_without_the_space_around_it(value: str, text: str, hidden: str) -> None:
    """As it comes from a file that ends with a line; unless it is too short then."""
    assert Redactor([value])(text) == hidden
