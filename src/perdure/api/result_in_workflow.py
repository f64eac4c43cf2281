"""The result of another run, waited for in a workflow: a durable wait, during which the run is suspended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.durable_wait import await_in, block_in
from perdure.api.run_outcome import known_workflows, outcome_of, value_of
from perdure.core.durations import Duration, seconds, show
from perdure.core.execution.spec import Spec
from perdure.engines.functions import is_same_file
from perdure.engines.interface import StepContext, here
from perdure.errors import NotDecodable, NotFound, UsageError, WaitTimeout

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


def workflow_seen_by(scope: Any, id: str, name: str | None = None) -> Spec | None:
    """The workflow of a run, if the script of the workflow that asks defines or imports it, at its top level.

    What else this process has loaded does not count: a worker has other scripts than the next process that executes
    the same run.

    Args:
        scope: of the workflow that asks.
        id: of the run.
        name: of its workflow, where the run may have been removed meanwhile.
    """
    import sys

    from perdure.config.reachable_workflows import leads_to

    own: Spec | None = scope.spec
    if own is None:
        return None
    try:
        run = scope.resources.store.run(id)
        found = known_workflows(run.workflow, run.path)
    except NotFound:
        found = known_workflows(name) if name else []
    module = sys.modules.get(getattr(own.fn, "__module__", None) or "")
    for one in found:
        if is_same_file(one.file, own.file) or (module is not None and leads_to(module, one)):
            return one
    return None


def workflow_of(scope: Any, id: str, spec: Spec | None, of_types: str | None) -> Spec | None:
    """The workflow that says of which types the result of a run is, for a workflow that waits for it; None: plain data.

    Args:
        scope: of the workflow that waits.
        id: of the run.
        spec: the workflow, if its handle says that.
        of_types: what `recorded_answers.find` has recorded.

    Raises:
        NotDecodable: the script had that workflow in an earlier life, and has it no more.
    """
    if spec is not None or scope.state_file is None:
        return spec  # a workflow asks no cluster
    if of_types == "":
        return None
    found = workflow_seen_by(scope, id, of_types)
    if found is None and of_types:
        raise NotDecodable(
            f"the result of run {id} was of the types of workflow {of_types!r} in an earlier life of this run, and the "
            "script neither defines nor imports that workflow now",
            f"import workflow {of_types!r} again at the top level of the script",
        )
    return found


def result(scope: Any, id: str, spec: Spec | None, of_types: str | None, timeout: Duration | None) -> Any:
    """`Handle.result` in a workflow.

    Raises:
        WaitTimeout: the run has not ended in time.
        UsageError: an event loop executes the function, or it is the run itself that is waited for.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        Exception: what the run raised.
    """
    return block_in(scope, "Handle.result()", "await handle", _Result(scope, id, spec, of_types, timeout), id)


def aresult(scope: Any, id: str, spec: Spec | None, of_types: str | None) -> Awaitable[Any]:
    """`await handle` in a workflow."""
    return await_in(scope, _Result(scope, id, spec, of_types, None), id)


class _Result:
    """See core/execution/waiting.py: Wait."""

    name = "perdure.result"

    def __init__(self, scope: Any, id: str, spec: Spec | None, of_types: str | None, timeout: Duration | None) -> None:
        from perdure.core.waits import Wanted

        if id in (scope.id, scope.root_id):
            raise UsageError(
                f"run {id} waits for its own result, which would last for ever", "wait for the end of another run"
            )
        self._scope, self._id, self._spec, self._of_types = scope, id, spec, of_types
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
        """What the run returned, of the classes of its workflow if the script has that."""
        return value_of(data, self._workflow())

    def _workflow(self) -> Spec | None:
        return workflow_of(self._scope, self._id, self._spec, self._of_types)
