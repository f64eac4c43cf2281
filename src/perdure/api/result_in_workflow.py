"""The result of another run, waited for in a workflow: a durable wait, during which the run is suspended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.durable_wait import await_in, block_in
from perdure.api.run_outcome import known_workflow, outcome_of, value_of
from perdure.core.durations import Duration, seconds, show
from perdure.core.execution.spec import Spec
from perdure.engines.interface import StepContext, here
from perdure.errors import NotFound, UsageError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from perdure.core.waits import Lapsed, Letter, RunEnd
    from perdure.core.waits import Won as Winner


def workflow_around(state: Path | None) -> Any:
    """The workflow that the caller is in, if its waits are durable and its runs are in that state file; else None.

    Args:
        state: the state file; None: the runs are on a cluster.
    """
    context: Any = here.get()
    if context is None or isinstance(context, StepContext) or not hasattr(context, "await_wait"):
        return None
    return context if context.state_file == state else None


def workflow_of(scope: Any, id: str, spec: Spec | None) -> Spec | None:
    """The workflow of a run that a workflow waits for, if it is known here; `spec` is what its handle says of that."""
    if spec is not None or scope.state_file is None:
        return spec  # a workflow asks no cluster
    try:
        return known_workflow(scope.resources.store.run(id))
    except NotFound:  # it was pruned since
        return None


def result(scope: Any, id: str, spec: Spec | None, timeout: Duration | None) -> Any:
    """`Handle.result` in a workflow.

    Raises:
        WaitTimeout: the run has not ended in time.
        UsageError: an event loop executes the function, or it is the run itself that is waited for.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        Exception: what the run raised.
    """
    return block_in(scope, "Handle.result()", "await handle", _Result(scope, id, spec, timeout), id)


def aresult(scope: Any, id: str, spec: Spec | None) -> Awaitable[Any]:
    """`await handle` in a workflow."""
    return await_in(scope, _Result(scope, id, spec, None), id)


class _Result:
    """See core/execution/waiting.py: Wait."""

    name = "perdure.result"

    def __init__(self, scope: Any, id: str, spec: Spec | None, timeout: Duration | None) -> None:
        from perdure.core.waits import Wanted

        if id in (scope.id, scope.root_id):
            raise UsageError(
                f"run {id} waits for its own result, which would last for ever", "wait for the end of another run"
            )
        self._scope, self._id, self._spec = scope, id, spec
        limit = None if timeout is None else seconds(timeout, option="timeout")
        self.wanted = (Wanted(run=id, length=limit),)
        self.since: tuple[float, float] | None = None
        self.plan: Any = self
        self.given: list[Any] = [id, limit]

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes | Exception:
        end: Any = found
        if end.status == "done":
            return end.output  # type: ignore[no-any-return]
        return outcome_of(self._id, end.status, end.output, self._workflow())

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        return WaitTimeout(
            f"run {self._id} has not ended within {show(self.wanted[0].length or 0.0)}; it goes on",
            "give more time, catch WaitTimeout, or run again: that waits once more",
        )

    def unpack(self, data: bytes) -> Any:
        """What the run returned, of the classes of its workflow if this process has that."""
        return value_of(data, self._workflow())

    def _workflow(self) -> Spec | None:
        return workflow_of(self._scope, self._id, self._spec)
