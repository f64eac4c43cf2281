"""Credentials are taken out of texts; what helps to find the fault stays; no text takes long."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator

import pytest
from credential_forms import forms
from hypothesis import example, given
from hypothesis import strategies as st
from regex_steps import Counted, deep

from perdure.core.redaction import names, shapes
from perdure.core.redaction import text as text_rules
from perdure.core.redaction.text import Redactor, redact

CANARY = "cAnary7Xq9Zw3"
LONG = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6"

SHAPES = {
    # URLs
    f"postgres://bob:{CANARY}@db.example:5432/shop": "postgres://bob:***@db.example:5432/shop",
    f"redis://:{CANARY}@cache:6379/0": "redis://:***@cache:6379/0",
    f"postgres://bob:{CANARY}/x@db/shop": "postgres://bob:***@db/shop",
    f"postgres://bob:a@{CANARY}@db/shop": "postgres://bob:***@db/shop",
    f"https://{CANARY}@sentry.example/4": "https://***@sentry.example/4",
    f"https://{CANARY}:@api.stripe.example/v1": "https://***:***@api.stripe.example/v1",
    f"GET https://h.example/p?a=1&token={CANARY}&b=2": "GET https://h.example/p?a=1&token=***&b=2",
    f"https://h/p?api_key={CANARY}#x": "https://h/p?api_key=***",
    f"https://h/p?sig={CANARY}&x=1": "https://h/p?sig=***&x=1",
    f"https://h/p?access_token={CANARY}": "https://h/p?access_token=***",
    f"https://s3/x?X-Amz-Signature={CANARY}&e=1": "https://s3/x?X-Amz-Signature=***&e=1",
    f"next=https%3A%2F%2Fh%2F%3Ftoken%3D{CANARY}%26x%3D1": "next=https%3A%2F%2Fh%2F%3Ftoken%3D***%26x%3D1",
    f"https://api.telegram.org/bot123456:{CANARY}/sendMessage": "https://api.telegram.org/bot***/sendMessage",
    f"tgram://123456:{CANARY}/99": "tgram://***",
    f"https://hooks.slack.com/services/T1/B2/{CANARY}": "https://hooks.slack.com/services/***",
    f"https://discord.com/api/webhooks/123/{CANARY}": "https://discord.com/api/webhooks/123/***",
    # headers
    f"Authorization: Bearer {CANARY}\nHost: h": "Authorization: Bearer ***\nHost: h",
    f"Authorization: Basic {CANARY}==": "Authorization: Basic ***",
    f"Proxy-Authorization: Basic {CANARY}": "Proxy-Authorization: Basic ***",
    f"Cookie: a={CANARY}; b={CANARY}\nHost: h": "Cookie: ***\nHost: h",
    f"{{'Authorization': 'Bearer {CANARY}', 'Host': 'h'}}": "{'Authorization': 'Bearer ***', 'Host': 'h'}",
    f"{{'Set-Cookie': 'sid={CANARY}; Path=/'}}": "{'Set-Cookie': '***'}",
    f"[(b'x-api-key', b'{CANARY}'), (b'host', b'h')]": "[(b'x-api-key', b'***'), (b'host', b'h')]",
    f"curl -H 'X-Api-Key: {CANARY}' https://h": "curl -H 'X-Api-Key: ***' https://h",
    # names
    f"password={CANARY}": "password=***",
    f"Connection(host='h', password='{CANARY}', port=1)": "Connection(host='h', password='***', port=1)",
    f"Connection(host='h', password={CANARY})": "Connection(host='h', password=***)",
    f"Server=h;Password={CANARY};User=bob": "Server=h;Password=***;User=bob",
    f'{{"client_secret": "{CANARY}", "host": "h"}}': '{"client_secret": "***", "host": "h"}',
    f'"{{\\"password\\": \\"{CANARY}\\"}}"': '"{\\"password\\": \\"***\\"}"',
    f"AWS_SECRET_ACCESS_KEY={CANARY}": "AWS_SECRET_ACCESS_KEY=***",
    f"os.environ['DB_PASSWORD'] = '{CANARY}'": "os.environ['DB_PASSWORD'] = '***'",
    f"run --token {CANARY} --verbose": "run --token *** --verbose",
    f"['run', '--api-key', '{CANARY}']": "['run', '--api-key', '***']",
    f"db: password: {CANARY}": "db: password: ***",
    f"<password>{CANARY}</password>": "<password>***</password>",
    # tokens
    f"ghp_{LONG}": "ghp_***",
    f"github_pat_{LONG}": "github_pat_***",
    f"glpat-{LONG}": "glpat-***",
    f"bad key sk-proj-{LONG}.": "bad key sk-proj-***.",
    f"sk-ant-{LONG}": "sk-ant-***",
    f"xoxb-1234-{LONG}": "xoxb-***",
    f"sk_live_{LONG}": "sk_live_***",
    f"AIza{LONG}xyz": "AIza***",
    f"npm_{LONG}": "npm_***",
    f"pypi-{LONG}": "pypi-***",
    "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "AKIA*** ***",
    f"123456789:AAF{LONG}": "123456789:***",
    f"eyJhbGciOiJI.{LONG}.{LONG}": "eyJ***",
    f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}\n{LONG}\n-----END RSA PRIVATE KEY-----": (
        "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"
    ),
}


@pytest.mark.parametrize("text", SHAPES)
def test_credentials_of_every_shape_are_hidden(text: str) -> None:
    """What is secret goes, the rest stays as it is; and what was hidden once is left as it is."""
    hidden = redact(text)
    assert CANARY not in hidden
    assert LONG not in hidden
    assert hidden.startswith(SHAPES[text])
    assert redact(hidden) == hidden


ORDINARY = [
    "ValueError: order 17 has no amount",
    "unexpected token: foo",
    "max_tokens=4096, token_count: 5",
    "KeyError: 'token'",
    "def charge(token: str, password: str = None) -> None:",
    "Basic authentication required",
    "http://host:8080/~bob@example",
    "PWD=/home/bob password=None",
    "key=order-17 sort_key=created_at",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "git@github.com:someone/something.git",
    "2026-11-23T10:00:00 a:b@c",
    "postgres://bob@db/shop refused",
    'File "/srv/app/secrets.py", line 3, in load_token',
]


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


HOSTILE = [
    *[
        "a",
        "password=",
        'password="',
        "password='\\",
        "password=\\",
        "password>",
        "password=,",
        "password=(",
        " password",
    ],
    *[
        "://a:",
        "://",
        "x@",
        "://@",
        "://x:y",
        "https://a:1/",
        "%3a%2f%2f:",
        "/ping/1-",
        "eyJ",
        "eyJa.",
        "sk-",
        "sk-a",
        "xox",
        "ghp_",
    ],
    *["-", "--a", "--token ", "-----BEGIN PRIVATE KEY-----", "Bearer ", "1:a", "/bot1:", "akia", "A/+", "akiaA/+"],
    *[
        "cookie: ",
        "cookie='",
        "authorization: ",
        "\\",
        "a.b-",
        "password:\t",
        "password=b'",
        "%3d",
        "token=%",
        '"token\\',
    ],
]


SMALL, LARGE = 400, 1_600
"""Characters: both far beyond the longest bound of a repeat, which the counting matcher lowers."""


HINTS = " ".join(dict.fromkeys(hint for hints, _ in text_rules._RULES for hint in hints)) + "\n"
"""What every rule looks for before it begins."""


def growth(counted: list[Counted], piece: str, small: int = SMALL, large: int = LARGE) -> float:
    """How many times more steps a larger text takes; what it begins with is not counted."""
    given = [f"{HINTS}{piece * (size // len(piece))}" for size in (0, small, large)]
    none, fewer, more = (steps(counted, each) for each in given)
    return (more - none) / (fewer - none)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Counted]]:
    """All patterns of the rules, each in a matcher that counts its steps."""
    patterns = []
    for module in (text_rules, names, shapes):
        for name, value in vars(module).copy().items():
            if isinstance(value, re.Pattern):
                patterns.append(Counted(value))
                monkeypatch.setattr(module, name, patterns[-1])
    rows = [(hints, Counted(pattern), check) for hints, pattern, check in shapes._SHAPES]
    monkeypatch.setattr(shapes, "_SHAPES", rows)
    with deep():
        yield [*patterns, *(pattern for _, pattern, _ in rows)]


def steps(counted: list[Counted], text: str) -> int:
    """How many steps it takes to look through a text."""
    before = sum(each.steps for each in counted)
    names.is_secret.cache_clear()
    redact(text, known=["a-known-value"])
    return sum(each.steps for each in counted) - before


def test_the_counting_matcher_finds_what_the_real_one_finds(counted: list[Counted]) -> None:
    """Or its steps would say nothing about the rules: it raises where the two differ."""
    assert len(counted) >= 15
    for shape in (*SHAPES, *ORDINARY, *(text for text, _ in forms())):
        steps(counted, shape)
    assert [each.real.pattern for each in counted if not each.steps] == []


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_take_time_in_proportion(counted: list[Counted], piece: str) -> None:
    """Four times the text takes about four times as many steps, not sixteen: no rule runs back and forth."""
    assert growth(counted, piece) < 5


@pytest.mark.parametrize(
    ("pattern", "piece"),
    [
        (r"a*b", "a"),  # begins anew at each character of a run
        (r"://[^@]*@", "://"),  # looks for an end that is not there, from each beginning
        (r"(?:a|aa)*-", "a"),
        (r"(?<!a)a.*?c.*?d", "ac"),  # two repeats that share out a text between them
    ],
)
def test_counting_tells_a_rule_that_runs_back_and_forth(
    counted: list[Counted], monkeypatch: pytest.MonkeyPatch, pattern: str, piece: str
) -> None:
    """Put in the place of a rule, a pattern that takes more than time in proportion fails the test above."""
    bad = Counted(re.compile(pattern))
    monkeypatch.setattr(text_rules, "_by_shape", lambda text: bad.sub("", text))
    counted.append(bad)
    assert growth(counted, piece, *((5, 20) if "aa" in pattern else (25, 100))) > 5
