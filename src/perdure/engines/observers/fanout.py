"""Several onlookers at once."""

from __future__ import annotations

from perdure.core.exceptions.capture import Fault
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.engines.observer import Observer


class Fan:
    """Tells several onlookers, each of which is told nothing more once it raises: none harms the run, or the others.

    Args:
        observers: who is told, in this order.
        shows: somebody looks on as it happens, so that what is told need not be printed as well.
    """

    def __init__(self, *observers: Observer, shows: bool = False) -> None:
        self.observers = observers
        self.shows = shows

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run has to wait for somebody."""
        self._tell("standing_by", workflow, reason)

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed."""
        self._tell("run_began", run_id, workflow, recorded, resumed)

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run has ended."""
        self._tell("run_ended", run_id, workflow, status)

    def run_stopped(self, run_id: str, workflow: str, error: BaseException) -> None:
        """A run was broken off."""
        self._tell("run_stopped", run_id, workflow, error)

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record."""
        self._tell("replayed", run_id, call)

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins."""
        self._tell("began", run_id, call, attempt)

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""
        self._tell("ended", run_id, call, attempt, outcome)

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated."""
        self._tell("waiting", run_id, call, attempt, seconds, error)

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet."""
        self._tell("held", run_id, call, reason, seconds)

    def parked(self, run_id: str, name: str, letter: int, fault: Fault) -> None:
        """A call has become a dead letter."""
        self._tell("parked", run_id, name, letter, fault)

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far."""
        self._tell("batch", run_id, name, done, dead, skipped, total)

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come."""
        self._tell("progress", run_id, call, done, total, note)

    def _tell(self, what: str, *particulars: object) -> None:
        for observer in self.observers:
            try:
                getattr(observer, what)(*particulars)
            except Exception:  # noqa: BLE001  looking on is no reason to stop what is looked at
                self.observers = tuple(each for each in self.observers if each is not observer)
