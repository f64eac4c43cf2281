"""What a check says: findings, files that cannot be checked, places that it cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "hint"]


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One place that breaks a rule; `col` counts characters from 1, `until` is the last line of the place."""

    file: str
    line: int
    col: int
    code: str
    severity: Severity
    text: str
    fix: str
    until: int = 0


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """A file or folder that cannot be checked, and why."""

    file: str
    text: str


@dataclass(frozen=True, order=True, slots=True)
class Unseen:
    """A place behind which the check cannot look."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that a check says; every list is sorted."""

    files: int
    findings: list[Finding]
    problems: list[Problem]
    not_seen: list[Unseen]
