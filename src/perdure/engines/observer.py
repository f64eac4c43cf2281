"""What an onlooker is told while workflows run: a live view, or a log."""

from __future__ import annotations

from typing import Protocol

from perdure.core.effects import Outcome
from perdure.core.spec import Call


class Observer(Protocol):
    """Called from whichever thread it happens in; quick, and never raising."""

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed, with that many records behind it."""

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run is done or failed."""

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record."""

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins."""

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated after that many seconds."""

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come."""
