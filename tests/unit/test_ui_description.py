"""The description of the page's API: within v1 nothing that a program may rely on is taken away.

Written anew, with what was added, by `python tests/unit/test_ui_description.py`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure.web import api_acting, api_reading
from perdure.web.openapi import document

SNAPSHOT = Path(__file__).parents[1] / "openapi.json"
WORDS = ("description", "summary", "title")


def described() -> Any:
    return json.loads(json.dumps(document((*api_reading.ENDPOINTS, *api_acting.ENDPOINTS))))


def missing(known: Any, found: Any, where: str = "") -> Iterator[str]:
    """What a description has no more, or otherwise: whatever may be added is passed over."""
    if isinstance(known, dict) and isinstance(found, dict):
        for name, value in known.items():
            if name in WORDS and not isinstance(value, dict):
                continue
            if name not in found:
                yield f"{where}/{name}"
            else:
                yield from missing(value, found[name], f"{where}/{name}")
    elif isinstance(known, list) and isinstance(found, list):
        for number, value in enumerate(known):
            if all(list(missing(value, one)) for one in found):
                yield f"{where}/{number}"
    elif known != found and not where.endswith("/default"):
        yield f"{where}: {found!r} instead of {known!r}"


def test_nothing_is_taken_away():
    """Every address, field, type and choice of the snapshot is still there."""
    assert list(missing(json.loads(SNAPSHOT.read_text(encoding="utf-8")), described())) == []


def test_what_is_taken_away_is_seen():
    """A control: a field that goes, a type or a choice that changes is seen; an added field is not."""
    known = described()
    for path in (
        ("paths", "/api/v1/runs"),
        ("components", "schemas", "RunView", "properties", "steps"),
        ("components", "schemas", "RunView", "properties", "steps", "type"),
        ("components", "schemas", "RunView", "required", 0),
        ("components", "schemas", "RunView", "properties", "status", "enum", 0),
    ):
        found = copy.deepcopy(known)
        at = found
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]
        assert list(missing(known, found)), path
    known["components"]["schemas"]["RunView"]["properties"].pop("steps")
    assert list(missing(known, described())) == []


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
