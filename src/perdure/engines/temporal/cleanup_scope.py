"""A run whose function is over, on a cluster: what it has left is put away by steps like any other."""

from __future__ import annotations

from typing import Any

from perdure.core.execution.cleanup import unwind
from perdure.core.execution.effects import Row, Save
from perdure.core.execution.spec import Call, Spec
from perdure.engines.registry import find_step
from perdure.engines.temporal.commands import carry_step
from perdure.engines.temporal.payloads import StepCommand
from perdure.engines.temporal.scope import ClusterScope


class CleanupScope(ClusterScope):
    """One run, while its clean-ups are made. Nothing bounds them: neither a deadline, nor how much the run has kept."""

    most_kept = float("inf")

    def clean(self, *, ok: bool) -> list[str]:
        """Put everything away; `ok`: the run has succeeded. Returns what was not put away, a line each."""
        missed: list[str] = self.drive(unwind(self.history, find_step, ok=ok))
        return missed

    def perform(self, effect: Any) -> Any:
        """An effect that needs no waiting; and the dead letter of a clean-up that could not even be tried."""
        if isinstance(effect, Save):
            for row in effect.rows:
                if row[1] in effect.letters and row[10] == 0:
                    self._note_refusal(row)
        return super().perform(effect)

    def _note_refusal(self, row: Row) -> None:
        """Temporal remembers what steps came to, and nothing else: let a worker say it, so that it is not lost."""
        command = StepCommand(
            run_id=self.id,
            module=self.command.module,
            name=row[2],
            key=row[3],
            n=row[4],
            input=row[6],
            named=False,
            dead_after=self.command.dead_after,
            parked=True,
            refused=row[7],
        )
        spec = Spec("step", _never_called, row[2])
        self._result(self.thread.submit(lambda: carry_step(command, spec), len(row[6]) + len(row[7])))

    def given(self, call: Call) -> bytes:
        """The inputs of a clean-up have been packed when it was deferred, or when what is undone was saved."""
        return call.input


def _never_called() -> None:
    """Stands for a step that no worker knows."""
