"""The API's own book: one line for every request it saw, written before it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Self

import msgspec


class Effect(StrEnum):
    """What a request changed in the API."""

    CHARGED = "charged"
    REPLAYED = "replayed"  # the key was known: the first answer again, nothing charged
    NOTHING = "nothing"


class Request(msgspec.Struct, frozen=True, tag="request"):
    """One request as the API saw it.

    Args:
        order: id of the order.
        key: the Idempotency-Key header; empty if there was none.
        outcome: what came back: "answered", a `Mishap`, or a `Refusal`.
        effect: what it changed.
        amount: of the order, as text so that no digit is lost.
        currency: of the amount.
        seconds: since the API started.
    """

    order: str
    key: str
    outcome: str
    effect: Effect
    amount: str
    currency: str
    seconds: float


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """A line that the API was asked to draw; what stands above it was seen before."""

    name: str
    seconds: float


Line = Request | Mark


class Ledger:
    """Appends lines to a file; each is with the operating system before `append` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def append(self, line: Line) -> None:
        """Add one line."""
        data = msgspec.json.encode(line) + b"\n"
        with self._lock:
            self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read(path: Path) -> list[Line]:
    """The whole lines of a ledger; a last line still being written is left out."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]


def charged(lines: Iterable[Line]) -> list[str]:
    """The orders of all charges that took effect, an order charged twice named twice."""
    return [line.order for line in lines if isinstance(line, Request) and line.effect is Effect.CHARGED]
