"""No text takes long to redact: counted in steps of the patterns, not in seconds."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import pytest
from credential_forms import forms
from credential_texts import ORDINARY, SHAPES
from regex_steps import Counted, deep

from perdure.core.redaction import names, shapes
from perdure.core.redaction import text as text_rules
from perdure.core.redaction.text import redact

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


SMALL, LARGE = 90, 270
"""Characters: both far beyond the longest bound of a repeat, which the counting matcher lowers."""


HINTS = " ".join(dict.fromkeys(hint for hints, _ in text_rules._RULES for hint in hints)) + "\n"
"""What every rule looks for before it begins."""


beginnings: dict[tuple[str, ...], int] = {}
"""How many steps the hints alone take, by the patterns that look for them."""


def growth(counted: list[Counted], piece: str, small: int = SMALL, large: int = LARGE) -> float:
    """How many times more steps a larger text takes; what it begins with is not counted."""
    patterns = tuple(each.real.pattern for each in counted)
    if patterns not in beginnings:
        beginnings[patterns] = steps(counted, HINTS)
    fewer, more = (steps(counted, f"{HINTS}{piece * (size // len(piece))}") for size in (small, large))
    return (more - beginnings[patterns]) / (fewer - beginnings[patterns])


@functools.cache
def counting(pattern: re.Pattern[str]) -> Counted:
    """A matcher of the pattern; one for all tests, since to build it takes longer than most of them."""
    return Counted(pattern)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Counted]]:
    """All patterns of the rules, each in a matcher that counts its steps."""
    patterns = []
    for module in (text_rules, names, shapes):
        for name, value in vars(module).copy().items():
            if isinstance(value, re.Pattern):
                patterns.append(counting(value))
                monkeypatch.setattr(module, name, patterns[-1])
    compiled = shapes._compiled
    rows = [counting(compiled(pattern)) for _, pattern, _ in shapes._ROWS]
    monkeypatch.setattr(shapes, "_compiled", lambda pattern: counting(compiled(pattern)))
    counted = [*patterns, *rows]
    for each in counted:
        each.steps = 0
    with deep():
        yield counted


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
    """Three times the text takes about three times as many steps, not nine: no rule runs back and forth."""
    assert growth(counted, piece) < 3.75


@pytest.mark.parametrize(
    ("pattern", "piece"),
    [
        (r"a*b", "a"),  # begins anew at each character of a run
        (r"://[^@]*@", "://"),  # looks for an end that is not there, from each beginning
        (r"(?:a|aa)*-", "a"),
        (r"(?<!a)a.*?c.*?d", "ac"),  # two repeats that share out a text between them
    ],
)
def test_counting_finds_a_rule_that_runs_back_and_forth(
    counted: list[Counted], monkeypatch: pytest.MonkeyPatch, pattern: str, piece: str
) -> None:
    """Put in the place of a rule, a pattern that takes more than time in proportion fails the test above."""
    bad = Counted(re.compile(pattern))
    monkeypatch.setattr(text_rules, "_by_shape", lambda text: bad.sub("", text))
    counted.append(bad)
    assert growth(counted, piece, *((5, 20) if "aa" in pattern else (25, 100))) > 5
