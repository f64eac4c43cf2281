"""What a tool answers: bounded, redacted, and with what comes from outside of perdure under `untrusted`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.redaction.printable import printable
from perdure.errors import OptionError, PerdureError

Answer = dict[str, Any]

LARGEST = 20_000
"""Bytes of an answer, as JSON."""

HEAD = LARGEST // 2
"""Bytes of what stands before a list, at most."""

RESERVE = 400
"""Bytes that are kept free for the cursor and what else is added last."""

LONG = 2_000
"""Characters of one text; of a longer one the middle is left out."""

UNTRUSTED = "untrusted"


def plain(value: Any) -> Any:
    """A struct as builtins, as JSON has it, without what is None or empty."""
    return _filled(msgspec.to_builtins(value, builtin_types=()))


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner for key, each in value.items() if (inner := _filled(each)) not in (None, "", [], {})}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def item(trusted: Mapping[str, Any], **untrusted: Any) -> Answer:
    """Something to be answered.

    Args:
        trusted: what perdure says itself.
        untrusted: texts that come from inputs, results, errors, logs or scripts.
    """
    found, outside = plain(dict(trusted)), plain(untrusted)
    return {**found, UNTRUSTED: outside} if outside else found


def start_of(cursor: str | None) -> int:
    """The number that a cursor stands for; 0 for none.

    Raises:
        OptionError: it is no cursor.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 16):
        raise OptionError(f"the cursor is {cursor[:80]!r}", "give the next_cursor of the answer before, or none")
    return int(cursor)


def fitting(head: Answer, items: Iterable[Answer]) -> list[Answer]:
    """As many items as an answer has room for: at least one, which is cut as far as it has to be.

    Args:
        head: what else is in the answer.
        items: what there is, the first first.
    """
    room = LARGEST - RESERVE - _size(finished(head))
    found: list[Answer] = []
    for one in items:
        shown = finished(one)
        size = _size(shown) + 1
        if size > room:
            if found:
                break
            shown = within(one, room)
            size = room
        found.append(shown)
        room -= size
    return found


def page(head: Answer, name: str, items: Iterable[Answer], start: int, *, more: bool = False) -> Answer:
    """A part of a list, and the cursor of what follows it.

    Args:
        head: what else is in the answer.
        name: of the list in the answer.
        items: from `start` on.
        start: how many came before.
        more: there are more than these.
    """
    all_of_them = list(items)
    head = within(head, HEAD)
    shown = fitting(head, all_of_them)
    answer = {**head, name: shown}
    if more or len(shown) < len(all_of_them):
        answer["next_cursor"] = str(start + len(shown))
    return answer


def finished(value: Any, longest: int = LONG) -> Any:
    """The same without credentials, with texts of bounded length in which nothing is hidden from a reader."""
    hide = secrets.redactor()

    def clean(one: Any) -> Any:
        if isinstance(one, str):
            return _cut(printable(hide(one if len(one) <= 100_000 else _cut(one, 100_000))), longest)
        if isinstance(one, dict):
            return {key: clean(each) for key, each in one.items()}
        return [clean(each) for each in one] if isinstance(one, list) else one

    return clean(value)


def within(answer: Answer, most: int = LARGEST) -> Answer:
    """The same, redacted and cut until its JSON has no more bytes than that."""
    longest = LONG
    shown = finished(answer)
    while _size(shown) > most and longest > 20:
        longest //= 2
        shown = _fewer(finished(answer, longest), longest // 20)
        shown["cut"] = "long texts and lists are cut to fit"
    return shown if _size(shown) <= most else {"cut": "it is too large to be shown"}


def _fewer(value: Any, most: int) -> Any:
    if isinstance(value, dict):
        return {key: _fewer(each, most) for key, each in value.items()}
    return [_fewer(each, most) for each in value[: max(most, 1)]] if isinstance(value, list) else value


def failure(error: PerdureError) -> Answer:
    """An error of perdure's: its code, what happened, what to do."""
    return within({"error": plain({"code": type(error).code, "text": error.what, "hint": error.hint})})


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = max((longest - 40) // 2, 4)
    return f"{text[:half]} ... {len(text) - 2 * half:,} characters ... {text[-half:]}"


def _size(value: Any) -> int:
    return len(encoded(value))


def encoded(answer: Answer) -> bytes:
    """The answer as JSON."""
    return msgspec.json.encode(answer)
