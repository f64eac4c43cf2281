"""How a life of a workflow under test ended that was not killed: what is compared, and what explains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from perdure.config import secrets
from perdure.core.records import CLEAN_UPS
from perdure.crashtest.kept_rows import Kept
from perdure.errors import BudgetExceeded, PerdureError

if TYPE_CHECKING:
    from perdure.core.exceptions.fault import Fault
    from perdure.core.records import StepRecord
    from perdure.store.runs import Store


class Failure(msgspec.Struct, frozen=True):
    """A call of a step that has failed: `call` is its idempotency key, `error` the first line of what it raised."""

    step: str
    call: str
    error: str


class Outcome(msgspec.Struct, frozen=True):
    """How a life ended that was not killed.

    Attributes:
        end: "done", "failed" (the workflow raised), "unusable" (it could not be started), or "over" (the run had failed
            before; started once more it would go on).
        result: what the workflow returned, as JSON text.
        error: class and message of what it raised.
        classes: the class of that, and what it is derived from.
        code: the code of a PerdureError.
        hint: what that says to do.
        dead_letters: how many items failed for good.
        returned: it failed when the workflow's function had returned, by its dead letters.
        queued: the workflows of runs that stand in queues, one for each run.
        over_budget: what a budget said that refused the call of a step; empty if none did.
        missing: signals and answers that were waited for, and that nothing was given for.
        clean_ups: those that failed for good, with their errors.
        failures: calls of steps whose last attempt failed.
        kept: what is in the state file beside the records of the run.
    """

    end: str
    result: str = ""
    error: str = ""
    classes: list[str] = []
    code: str = ""
    hint: str = ""
    dead_letters: int = 0
    returned: bool = False
    queued: list[str] = []
    over_budget: str = ""
    missing: list[str] = []
    clean_ups: list[str] = []
    failures: list[Failure] = []
    kept: list[Kept] = []

    @property
    def error_line(self) -> str:
        """The first line of the error."""
        return self.error.partition("\n")[0]

    @property
    def kind(self) -> str:
        """The class of what the workflow raised."""
        return next(iter(self.classes), "")

    def is_a(self, name: str) -> bool:
        """Did the workflow raise an error of that class, named as it is or with its module?"""
        return any(name in (each, each.rpartition(".")[2]) for each in self.classes)


class LastAttempts:
    """Watches how the last attempt of each call ended, and says nothing."""

    shows = True

    def __init__(self) -> None:
        self.failed: dict[tuple[str, str], Failure] = {}

    def notify(self, event: object, /) -> None:
        """Keep the failures of calls, until an attempt succeeds."""
        from perdure.core.execution.idempotency import idempotency_key
        from perdure.engines.events import AttemptEnded

        if isinstance(event, AttemptEnded):
            call, error = event.call, event.error
            name, key = call.spec.name, idempotency_key(event.run, call.spec.name, call.key + call.salt, call.n)
            self.failed.pop((name, key), None)
            if error is not None:
                self.failed[name, key] = Failure(name, key, error_text(error).partition("\n")[0])


def over_budget(store: Store, run: str, outcome: Outcome) -> str:
    """What a budget said that has refused a call of the run. If that ends it, no record of the call says so."""
    if outcome.code == BudgetExceeded.code:
        return outcome.error_line.partition(": ")[2]
    said = (
        _first_line(fault.message) for _, fault in _failed_calls(store, run) if fault.name == BudgetExceeded.__name__
    )
    return next(said, "")


def failed_clean_ups(store: Store, run: str) -> list[str]:
    """The clean-ups of the run that are dead letters."""
    found = []
    for record, fault in _failed_calls(store, run):
        if record.kind in CLEAN_UPS:
            said = _first_line(fault.message)
            found.append(f"{record.name}: {fault.name}: {said}" if said else f"{record.name}: {fault.name}")
    return found


def _first_line(message: str) -> str:
    return secrets.conceal(message.partition("\n")[0])


def _failed_calls(store: Store, run: str) -> Iterator[tuple[StepRecord, Fault]]:
    from perdure.core.exceptions import capture

    first = 0
    while chunk := store.records(store.run(run).rid, first):
        for record in chunk:
            if record.status in ("failed", "dead"):
                yield record, capture.decode(store.whole(record).output)
        first = chunk[-1].seq + 1


def classes_of(error: BaseException) -> list[str]:
    """The names of its class and of those that it is derived from."""
    found = [cls for cls in type(error).__mro__ if cls not in (BaseException, object)]
    return [
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}" for cls in found
    ]


def error_text(error: BaseException) -> str:
    """Class and message of an exception, without credentials."""
    try:
        text = secrets.conceal(error.what if isinstance(error, PerdureError) else str(error))
    except Exception:  # noqa: BLE001  a __str__ of the user's may fail
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
