"""How long it takes to look through a text for credentials has a bound, however long a text another sends."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.redaction import text as redaction
from perdure.engines.observers.event_json import error_line
from perdure.engines.observers.json_logs import JsonFormatter

MESSAGE = "begin " + "password=[" * 110_000 + " end"


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the texts that the rules were given: what time grows with, and the same on every machine."""
    lengths: list[int] = []
    rules = redaction._by_shape

    def counted(text: str) -> str:
        lengths.append(len(text))
        return rules(text[:1000])

    monkeypatch.setattr(redaction, "_by_shape", counted)
    return lengths


class Attributed(Exception):
    """Carries what a server has sent."""

    def __init__(self, body: str) -> None:
        super().__init__("refused")
        self.body = body


def noted() -> Exception:
    error = ValueError("short")
    error.add_note(MESSAGE)
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(MESSAGE),
        ValueError(1, [MESSAGE]),
        Attributed(MESSAGE),
        noted(),
        ExceptionGroup(MESSAGE, [OSError()]),
    ],
    ids=["message", "argument", "attribute", "note", "group"],
)
def test_an_exception(error: Exception, looked_at: list[int]) -> None:
    """Its message, arguments, attributes and notes are each looked through as far as 100,000 characters."""
    capture.to_fault(error)
    assert looked_at
    assert max(looked_at) < redaction.LONGEST + 200


def test_what_later_lives_are_given(looked_at: list[int]) -> None:
    """Of texts of over 100,000 characters a million in all are looked through, each text once."""
    whole = "w" * 600_000
    fault, kept = capture.to_record(Attributed(whole), "")
    assert capture.decode(fault).message == "refused"
    assert looked_at.count(600_000) == 1
    assert vars(kept)["body"] == whole

    error = ValueError(whole, whole, MESSAGE)
    looked_at.clear()
    _, given = capture.to_record(error, "")
    assert looked_at.count(600_000) == 1  # one argument as the other; the message, of all three, has no room any more
    assert sum(each for each in looked_at if each > redaction.LONGEST + 200) <= 1_000_000
    assert given is not error
    assert str(given) == capture.decode(capture.encode(capture.to_fault(given))).message


@pytest.mark.parametrize("show", [secrets.conceal, lambda text: error_line(ValueError(text))])
def test_what_is_shown(show: Callable[[str], str], looked_at: list[int]) -> None:
    """So are lines of the log and what commands print."""
    show(MESSAGE)
    assert max(looked_at) < redaction.LONGEST + 200


def test_a_line_of_json(looked_at: list[int]) -> None:
    """So is a record of any logger."""
    record = logging.LogRecord("x", logging.INFO, "f", 1, MESSAGE, (), None)
    assert len(json.loads(JsonFormatter().format(record))["message"]) < redaction.LONGEST + 200
    assert max(looked_at) < redaction.LONGEST + 200


def test_both_ends_of_a_long_text_stay() -> None:
    """The beginning says who asked, the end what happened."""
    short = redaction.bounded(MESSAGE)
    assert short.startswith("begin ")
    assert short.endswith(" end")
    assert "characters left out ...]" in short
    assert redaction.bounded("as it is") == "as it is"


def test_no_word_is_cut_in_two() -> None:
    """Half a credential is not known again."""
    words = "".join(f"{number:09} " for number in range(50_000))
    assert {len(word) for word in redaction.bounded(words).split() if word.isdigit() and len(word) > 6} == {9}
