"""What stands under the name of a secret is hidden wherever it is shown: as text, as data, packed inside a record."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.config import secrets
from perdure.core.execution.argument_paths import Arguments
from perdure.core.execution.wait_any_record import Winner, pack, returned
from perdure.core.values import codec
from perdure.core.values.drawn import drawn_anew
from perdure.errors import OptionError

SECRET = "tulip-garden-walk"


def _packed(value: Any) -> bytes:
    return codec.pack_value(value, owner="a test")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": 123456, "count": 7}, {"password": "***", "count": 7}),
        ({"password": True, "api_key": None}, {"password": True, "api_key": None}),
        ({"credentials": {"user": "bob", "more": [SECRET]}}, {"credentials": {"user": "***", "more": ["***"]}}),
        ({"passwords": ["plain", "a1b2c3d4"]}, {"passwords": ["plain", "***"]}),
        ({"a": {"api_key": [SECRET]}, "b": SECRET}, {"a": {"api_key": ["***"]}, "b": SECRET}),
    ],
)
def test_data_hides_what_text_hides(value: Any, shown: Any) -> None:
    """`--json` shows no value that the text of the same value hides: numbers, and what lies deeper under the name."""
    assert secrets.to_builtins(_packed(value)) == shown
    text = secrets.describe(_packed(value))
    for one in ("123456", "bob", "a1b2c3d4"):
        assert one not in text


def test_a_payload_inside_a_record_is_unpacked_before_it_is_shown() -> None:
    """The record of `wait_any` holds the payload packed: it is shown as what it is, without what its names hide."""
    record = pack(Winner("event go ", 0, 1_700_000_000.0, "done", _packed({"user": "bob", "password": SECRET})))
    assert SECRET in repr(secrets.to_builtins(record)) + secrets.describe(record)  # as it stands nothing is found
    seen = returned("builtin", "perdure.wait_any", record)
    assert SECRET not in secrets.describe(seen)
    assert secrets.to_builtins(seen) == {
        "wait": "event go",
        "value": {"user": "bob", "password": "***"},
        "at": "2023-11-14T22:13:20+00:00",
        "status": "done",
    }
    assert returned("step", "perdure.wait_any", record) is record  # a name alone says nothing


@pytest.mark.parametrize("damaged", [b"", b"\x95\xa1a", _packed(["x", SECRET]), b"\xff" * 40])
def test_a_damaged_record_shows_nothing_that_it_holds(damaged: bytes) -> None:
    """What is no record of a `wait_any` is unreadable, rather than shown as it stands."""
    seen = returned("builtin", "perdure.wait_any", damaged)
    assert secrets.describe(seen) == f"<unreadable: {len(damaged)} bytes>"


def test_what_differs_between_two_inputs_is_not_said_under_such_a_name() -> None:
    """A random id that is a key is compared, and not quoted."""
    one, other = "2f1e8a7c-0000-4000-8000-000000000001", "2f1e8a7c-0000-4000-8000-000000000002"
    given = [codec.pack_inputs([], {"api_key": each, "id": each}, owner="a test") for each in (one, other)]
    assert drawn_anew(*given) == [("***", "***"), (one, other)]


@pytest.mark.parametrize("path", ["password.x", "order.api_key.x", "order.n.x"])
def test_a_refused_change_quotes_no_secret(path: str) -> None:
    """`dlq edit --set` of a place that is not there says what stands there, but not under such a name."""
    arguments = Arguments(
        codec.pack_inputs([SECRET, {"api_key": SECRET, "n": 5}], {}, owner="a test"), ["password", "order"]
    )
    with pytest.raises(OptionError) as refused:
        arguments.set(path, 1)
    assert SECRET not in str(refused.value)
    assert ("it is 5" in str(refused.value)) is (path == "order.n.x")
