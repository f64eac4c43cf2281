"""What an onlooker is told while workflows run: a live view, or a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perdure.core import records
from perdure.core.exceptions import capture
from perdure.core.exceptions.capture import Fault
from perdure.core.execution.effects import Outcome, Save, Wait
from perdure.core.execution.spec import Call


class Observer(Protocol):
    """Called from whichever thread it happens in; quick, and never raising."""

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run cannot begin yet: somebody else has it, or its lock. Told once."""

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed, with that many records behind it."""

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run is done, failed, parked as a whole or cancelled."""

    def run_stopped(self, run_id: str, workflow: str, error: BaseException) -> None:
        """A run was broken off in its middle, by Ctrl-C or sys.exit say: nothing has ended, it can be resumed."""

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record."""

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins."""

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated after that many seconds."""

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet (a breaker is open, or it is not its turn), and asks again after that many seconds."""

    def parked(self, run_id: str, name: str, letter: int, fault: Fault) -> None:
        """A call of that name (a step's, or a clean-up's) has become the dead letter of that number."""

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come."""


def tell_wait(observer: Observer | None, run_id: str, effect: Wait) -> None:
    """Tell an onlooker what a call waits for, if there is one."""
    if observer is None:
        return
    if effect.error is None:
        observer.held(run_id, effect.call, effect.reason, effect.seconds)
    else:
        observer.waiting(run_id, effect.call, effect.attempt, effect.seconds, effect.error)


def tell_parked(observer: Observer | None, run_id: str, effect: Save, numbers: Sequence[int]) -> None:
    """Tell an onlooker, if there is one, which of the records that were saved are dead letters, of those numbers."""
    if observer is not None:
        rows = {row[records.SEQ]: row for row in effect.rows}
        for seq, number in zip(effect.letters, numbers, strict=True):
            observer.parked(run_id, rows[seq][records.NAME], number, capture.decode(rows[seq][records.OUTPUT]))
