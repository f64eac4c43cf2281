"""Keeps an onlooker from harming what it looks at."""

from __future__ import annotations

from collections.abc import Callable

from perdure.core.effects import Outcome
from perdure.core.spec import Call
from perdure.engines.observer import Observer


class Shield:
    """An onlooker that cannot harm the run: when it raises, it is told nothing more."""

    def __init__(self, watch: Observer) -> None:
        self._watch: Observer | None = watch

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        if self._watch is not None:
            try:
                tell(self._watch)
            except Exception:  # noqa: BLE001  a view that fails is no reason to stop what it shows
                self._watch = None

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run has to wait for somebody."""
        self._tell(lambda watch: watch.standing_by(workflow, reason))

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed."""
        self._tell(lambda watch: watch.run_began(run_id, workflow, recorded, resumed))

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run is done or failed."""
        self._tell(lambda watch: watch.run_ended(run_id, workflow, status))

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record."""
        self._tell(lambda watch: watch.replayed(run_id, call))

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins."""
        self._tell(lambda watch: watch.began(run_id, call, attempt))

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""
        self._tell(lambda watch: watch.ended(run_id, call, attempt, outcome))

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated."""
        self._tell(lambda watch: watch.waiting(run_id, call, attempt, seconds, error))

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet."""
        self._tell(lambda watch: watch.held(run_id, call, reason, seconds))

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""
        self._tell(lambda watch: watch.batch(run_id, name, done, dead, skipped, total))

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come."""
        self._tell(lambda watch: watch.progress(run_id, call, done, total, note))
