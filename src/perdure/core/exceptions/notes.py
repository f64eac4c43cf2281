"""The notes of an exception (PEP 678), also of one whose class answers each look at an attribute with an error."""

from __future__ import annotations

from typing import Any


def add(exc: BaseException, line: str) -> None:
    """Add a note; an exception that takes none stays as it is, since a note must not hide it."""
    try:
        exc.add_note(line)
    except Exception:  # noqa: BLE001  what `__getattr__` or `__setattr__` of a class of the user's raises
        notes = _contents(exc).setdefault("__notes__", [])
        if isinstance(notes, list):
            notes.append(line)


def of(exc: BaseException) -> list[str]:
    """What was added."""
    notes = _contents(exc).get("__notes__")
    return [each for each in notes if isinstance(each, str)] if isinstance(notes, list) else []


def _contents(exc: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(exc, "__dict__")
    return found
