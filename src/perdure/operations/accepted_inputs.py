"""What the calls of a step that succeeded were given: a value that none of them had is worth a look."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.records import RunRecord
from perdure.core.values.pieces import is_apart
from perdure.store import code, step_pages
from perdure.store.runs import Store

MOST = 1_000
"""Calls that are looked at, the newest."""

SECONDS = 0.5
"""What that may take."""

FEW = 12
"""Different values that are always few enough to be named; or a tenth of the calls."""

NAMED = 200


class AcceptedField(msgspec.Struct, frozen=True):
    """A field of what they were given: the range of its numbers, or its different values (as JSON) if they are few."""

    name: str
    least: float | None = None
    most: float | None = None
    values: list[str] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """What so many `calls` of a step that succeeded were given, field by field, where that says something."""

    calls: int
    fields: list[AcceptedField]


def fields_of(data: Any, parameters: list[str]) -> dict[str, Any]:
    """What a call was given, by name: the fields of its only argument, or its arguments.

    Args:
        data: its inputs as plain data.
        parameters: of its function, as far as they are known.
    """
    if isinstance(data, dict):
        return data
    if not isinstance(data, list):
        return {"value": data}
    if len(data) == 1 and isinstance(data[0], dict):
        return data[0]
    return {parameters[n] if n < len(parameters) else str(n + 1): one for n, one in enumerate(data)}


def accepted_inputs(store: Store, run: RunRecord, step: str) -> Accepted:
    """What the calls of a step of a run that succeeded were given: what was seen within `SECONDS`.

    Args:
        store: the state file.
        run: whose calls.
        step: its name.

    Raises:
        StateError: the file cannot be read.
    """
    until = time.monotonic() + SECONDS
    names = store.journal.read(lambda at: code.of_run(at, run.rid, store.path))
    parameters = next((list(row.parameters) for (_, name), row in names.items() if name == step), [])
    found: dict[str, list[Any]] = {}
    calls = 0
    for part in step_pages.every(store, run.rid, step_pages.Wanted(name=step, status="done"), "last"):
        for record in part:
            if is_apart(record.input):
                continue
            calls += 1
            for name, value in fields_of(secrets.to_builtins(record.input), parameters).items():
                found.setdefault(name, []).append(value)
        if calls >= MOST or time.monotonic() >= until:
            break
    return Accepted(calls, [field for name, values in found.items() if (field := _field(name, values, calls))])


def _field(name: str, values: list[Any], calls: int) -> AcceptedField | None:
    if len(values) < calls or calls < 2:  # some had none
        return None
    numbers = [_number(value) for value in values]
    if None not in numbers:
        known = [one for one in numbers if one is not None]
        return AcceptedField(name, min(known), max(known))
    different = {msgspec.json.encode(value).decode() for value in values}
    if len(different) == calls or len(different) > min(max(FEW, calls // 10), NAMED):  # each its own, or many
        return None
    return AcceptedField(name, values=sorted(different))


def _number(value: Any) -> float | None:
    """A value as a number, also one that is written as text, as those of Decimal are."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None
