"""Outside of a workflow, where its caller is: what a run has returned, or the error that leaves it and what is said."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Any

from perdure.config.os_errors import is_used_up
from perdure.core.execution.call_end import Failed
from perdure.core.execution.run import Ended
from perdure.core.execution.spec import Call
from perdure.engines.local import notices
from perdure.engines.local.resources import Resources
from perdure.errors import PerdureError, Skipped, StateCorrupt, StateError, StopRun, Suspended


class Outside:
    """A `with` around a run: what stopped it comes out of its wrapping, with a hint that its caller can follow.

    Not made of a generator, since each run passes through it once or twice: that enters six functions more.

    Args:
        resources: the state file and what goes with it.
        call: the workflow's function and arguments.
    """

    __slots__ = ("_call", "_resources")

    def __init__(self, resources: Resources, call: Call) -> None:
        self._resources, self._call = resources, call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            return
        inner = error.error if isinstance(error, StopRun) else error
        if isinstance(inner, StateError) and is_used_up(inner.__cause__):
            self._resources.spare.make_room()
        try:
            if isinstance(inner, PerdureError):
                self._tell(inner)
        except OSError as other:
            if not is_used_up(other):
                raise
        if inner is not error:
            raise inner from inner.__cause__

    def _tell(self, error: PerdureError) -> None:
        if isinstance(error, StateCorrupt):
            self._name_way_out(error)
        from perdure.core.commands import located

        # Its commands find the state file from the working directory.
        error.hint = located(error.hint, self._resources.option)
        if isinstance(error, StateError):
            if error is not self._resources.monitor.alerted:
                from perdure.alerts.unusable_state import alert_unusable_state

                alert_unusable_state(self._call.spec, error)
        elif isinstance(error, Suspended):
            notices.suspended(self._resources, error, self._call.spec.file)
        elif isinstance(error, Skipped) and not self._resources.is_shown:
            # Without an observer nothing else says so: uncaught, it ends a script without a word.
            from perdure.config.stderr_line import say
            from perdure.core.redaction.printable import one_line

            say(f"perdure: {one_line(error.what)}; skipped")

    def _name_way_out(self, error: StateCorrupt) -> None:
        """Say how the run of these inputs ends, if there is one, of which something is damaged."""
        from perdure.config.script_identity import script_identity, whole_path
        from perdure.core.execution.run_refusals import with_way_out
        from perdure.store.damaged_run import meant

        call, store = self._call, self._resources.store
        script = script_identity(whole_path(call.spec.file), store.path)
        with suppress(StateError):  # the file as a whole may be damaged
            id = meant(store, call.key, call.spec.name, script)
            if id is not None:
                with_way_out(error, id)


def result(end: Ended | Failed) -> Any:
    """The workflow's result; raises what it raised."""
    if isinstance(end, Failed):
        raise end.take()
    return end.value
