"""A run whose function is over, on a cluster: what it has left is cleaned up by steps like any other."""

from __future__ import annotations

from typing import Any

from perdure.core import records
from perdure.core.execution.cleanup import unwind
from perdure.core.execution.effects import Save
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import Place, Row, StepKind
from perdure.engines.registry import find_step
from perdure.engines.temporal.call_dispatch import CallDispatch
from perdure.engines.temporal.commands import carry_step
from perdure.engines.temporal.payloads import StepCommand
from perdure.engines.temporal.scope import ClusterScope


class CleanupScope(ClusterScope):
    """One run, while its clean-ups are made. Nothing bounds them: neither a deadline, nor how much the run has kept."""

    def dispatch(self) -> CallDispatch:
        """What hands its clean-ups to Temporal."""
        return CleanupDispatch(self, float("inf"))

    def clean(self, *, ok: bool, final: bool) -> list[str]:
        """Put away what this end asks for: see `unwind`. Returns what was not put away, a line each."""
        missed: list[str] = self.drive(unwind(self.history, self._find_step, ok=ok, final=final))
        return missed

    def _find_step(self, kind: StepKind, module: str, name: str, given: bytes) -> Spec:
        return find_step(self.places.get(name) or Place(module, ""), name, given)

    def perform(self, effect: Any) -> Any:
        """An effect that needs no waiting; and the dead letter of a clean-up that could not even be tried."""
        if isinstance(effect, Save):
            for row in effect.rows:
                if row[records.SEQ] in effect.letters and row[records.ATTEMPTS] == 0:
                    self._note_refusal(row)
        return super().perform(effect)

    def _note_refusal(self, row: Row) -> None:
        """Temporal remembers what steps came to, and nothing else: let a worker say it, so that it is not lost."""
        command = StepCommand(
            run_id=self.id,
            module=self.command.module,
            name=row[records.NAME],
            key=row[records.KEY],
            n=row[records.N],
            input=row[records.INPUT],
            named=False,
            dead_after=self.command.dead_after,
            parked=True,
            refused=row[records.OUTPUT],
            kind=row[records.KIND],
        )
        spec = Spec("step", _never_called, row[records.NAME])
        size = len(row[records.INPUT]) + len(row[records.OUTPUT])
        self._result(self.thread.submit(lambda: carry_step(command, spec, self.command.blind), size))


class CleanupDispatch(CallDispatch):
    """Hands clean-ups to Temporal."""

    def given(self, call: Call) -> bytes:
        """The inputs of a clean-up have been packed when it was deferred, or when what is undone was saved."""
        return call.input


def _never_called() -> None:
    """Stands for a step that no worker knows."""
