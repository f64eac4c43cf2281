"""The evidence: what the victims of one trial said, in the order in which they said it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of the ledger; `life` counts the victims of the trial from 0, `pid` is the process."""

    life: int
    what: str
    step: str = ""
    item: str = ""
    key: str = ""
    attempt: int = 0
    token: str = ""
    value: Any = None
    code: str = ""
    pid: int = 0

    @property
    def call(self) -> tuple[str, str]:
        """Which step call of the workload this is about."""
        return self.step, self.item


def read(path: Path) -> list[Line]:
    """Every line of a ledger file; none if the file does not exist."""
    return list(_lines(path.read_bytes())) if path.exists() else []


def _lines(content: bytes) -> Iterator[Line]:
    for line in content.splitlines():
        yield Line(**json.loads(line))
