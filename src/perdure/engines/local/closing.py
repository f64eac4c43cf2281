"""The end of a run that its process writes together with the ends of others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from perdure.core.execution.call_end import Failed
from perdure.core.execution.run import Ended, Life
from perdure.core.execution.run_effects import End
from perdure.engines.local import run_lifecycle
from perdure.engines.local.outside import result
from perdure.engines.local.resources import Resources
from perdure.errors import StateError
from perdure.store.group_commit import Entry


class Closing:
    """A run whose function is over, and whose end is not written yet.

    Args:
        resources: the state file and what goes with it.
        effect: how it has ended.
        rest: its life, which waits for that to be written.
        outside: where its caller is.

    `entry` is to be committed, and then `finish` to be called. `plain`: that takes no time, since nobody is alerted.
    """

    __slots__ = ("_effect", "_outside", "_resources", "_rest", "entry", "plain")

    def __init__(self, resources: Resources, effect: End, rest: Life, outside: AbstractContextManager[None]) -> None:
        self._resources, self._effect, self._rest, self._outside = resources, effect, rest, outside
        self.entry = Entry(effect.rows, run_lifecycle.end_operation(resources, effect))
        self.plain = effect.status == "done" and not resources.monitor.monitors(effect.run)

    def finish(self) -> Any:
        """It was committed, or could not be: the workflow's result.

        Raises:
            StateError: the end could not be written.
            Exception: what the workflow has raised.
        """
        with self._outside:
            return result(self._written())

    def _written(self) -> Ended | Failed:
        trouble: StateError | None = None
        try:
            parking = self.entry.outcome()
        except StateError as error:
            trouble = error
            run_lifecycle.not_ended(self._resources, self._effect, error)
        else:
            run_lifecycle.ended(self._resources, self._effect, parking)
        try:
            self._rest.send(trouble)
        except StopIteration as end:
            ended: Ended | Failed = end.value
            return ended
        raise AssertionError("a run does nothing after its end")
