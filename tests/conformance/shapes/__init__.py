"""Shapes of workflows: each function runs one, and says what must have happened; it is called once on each engine."""

from tests.conformance.shape import SHAPES
from tests.conformance.shapes import (
    again,
    approvals,
    batches,
    branches,
    clean_ups,
    deadlines,
    failures,
    letters,
    names,
    published,
    races,
    results,
    retries,
    waits,
)

__all__ = [
    "SHAPES",
    "again",
    "approvals",
    "batches",
    "branches",
    "clean_ups",
    "deadlines",
    "failures",
    "letters",
    "names",
    "published",
    "races",
    "results",
    "retries",
    "waits",
]
