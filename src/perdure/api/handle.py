"""A run, as who has started or enqueued it sees it, or who knows its id: `Handle`."""

from __future__ import annotations

from collections.abc import Generator
from shlex import quote
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import perdure.api.artifact_codec  # noqa: F401  a step of before may have returned one
from perdure.api.run_outcome import put_outcome
from perdure.api.running_loop import running_loop
from perdure.core.durations import Duration, seconds, show
from perdure.core.execution.spec import Spec
from perdure.core.records import RunRecord, RunStatus
from perdure.engines.interface import Cancellation, here
from perdure.errors import UsageError, WaitTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from perdure.store.signals import Outcome

T = TypeVar("T")


class Runs(Protocol):
    """Where a run is kept: an engine, or a state file that is only read."""

    @property
    def state_file(self) -> Path | None:
        """The state file; None for a cluster."""

    def status(self, id: str) -> RunStatus:
        """How a run stands."""

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """The end of a run, whichever process executes it."""

    def cancel(self, id: str, load: Callable[[RunRecord], str | None]) -> Cancellation:
        """Ask a run to end."""


class Handle(Generic[T]):
    """A run that `Workflow.start` has started, or that `perdure.run` has found; whichever process executes it.

    `handle.result()` waits for its end in sync code, `await handle` in async code.

    Attributes:
        id: the id of the run, as `perdure ps` lists it.
    """

    id: str

    __perdure_handle__ = True  # see core/values/writer.py: it is no data

    def __init__(
        self,
        id: str,
        runs: Runs,
        future: Future[T] | None = None,
        *,
        spec: Spec | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        of_types: str | None = None,
    ) -> None:
        self.id = id
        self._runs = runs
        self._spec = spec
        self._of_types = of_types  # what the workflow that asks has recorded, see recorded_answers.find
        self._future = future  # None: not asked for yet
        self._loop = loop  # which executes it, or would go on with it

    def status(self) -> RunStatus:
        """The status of the run as the state file has it: "queued", "running", "suspended", "failed", "parked", "done",
        or "cancelled".

        In a workflow it is recorded, as `perdure.now()` is: a resumed run sees what it saw before.

        Raises:
            StateError: the state file cannot be read.
        """
        from perdure.api.recorded_answers import answer, status

        found: RunStatus = answer(status, self._runs, self.id)
        return found

    def result(self, timeout: Duration | None = None) -> T:
        """Wait for the end of the run, and return what the workflow returned.

        Whichever process executes it. A run that was only looked up, and that no process executes, is waited for, too:
        until somebody goes on with it. In a workflow this is a durable wait, like `perdure.wait_for`: the workflow is
        suspended meanwhile, and what has come of the run is a record of it.

        Args:
            timeout: how long to wait at most, in seconds, as a timedelta, or as text such as "2h"; None: no bound.

        Raises:
            WaitTimeout: the run has not ended by then; it goes on. It is a TimeoutError.
            OptionError: the timeout is not a duration.
            UsageError: called in the event loop that executes the run, or in an async workflow.
            Suspended: in a workflow, to its caller, if it is left to its waits.
            Cancelled: the run was cancelled.
            Exception: what the workflow raised.
        """
        limit = None if timeout is None else seconds(timeout, option="timeout")
        around = self._workflow_around()
        if around is not None:
            from perdure.api.result_in_workflow import result

            return result(around, self.id, self._spec, self._of_types, limit)  # type: ignore[no-any-return]
        future = self._ended()
        if self._loop is not None and not future.done() and running_loop() is self._loop:
            raise UsageError(
                f"result() of run {self.id} was called in the event loop that executes it, which would wait for ever",
                "use `result = await handle`",
            )
        from concurrent.futures import wait

        if wait([future], limit).not_done:
            raise WaitTimeout(
                f"run {self.id} has not ended within {show(limit or 0.0)}; it goes on",
                "give more time, or see what it does: perdure why " + quote(self.id),
            )
        return future.result()

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the end of the run without blocking the event loop: `result = await handle`.

        In a workflow this is a durable wait, as `result` is.

        Raises:
            Cancelled: the run was cancelled.
            Exception: what the workflow raised.
        """
        around = self._workflow_around()
        if around is not None:
            from perdure.api.result_in_workflow import aresult

            return aresult(around, self.id, self._spec, self._of_types).__await__()
        import asyncio

        return asyncio.shield(asyncio.wrap_future(self._ended())).__await__()

    def cancel(self) -> Cancellation:
        """Ask the run to end: at its next safe point if a process executes it, else it is ended here.

        What it has deferred is called then, from its script, which is loaded for that if need be. In a workflow it is
        recorded, as `status` is: a resumed run does not ask again.

        Returns:
            A Cancellation: `outcome` is "none" if the run had ended already, "requested", or "ended"; `missed` says
            what could not be cleaned up.

        Raises:
            UsageError: it is a child run.
            RunError: it is superseded by its fork.
            StateError: the state file cannot be used.
        """
        from perdure.api.recorded_answers import answer, cancel

        done: Cancellation = answer(cancel, self._runs, self.id)
        return done

    def signal(self, event: str, value: Any = None, *, key: str = "", id: str | None = None) -> Outcome:
        """Tell the run something: `perdure.signal(handle.id, event, value, key=key, id=id)`.

        Args:
            event: the name, a printable text.
            value: what is sent, of a type that can be stored.
            key: tells signals of one name apart.
            id: unique among the signals of this run: sent again with the same id, nothing is stored.

        Returns:
            "taken", "stored" or "repeated".

        Raises:
            RunHasEnded: the run has ended.
            NotStorable: the value cannot be stored without loss, or is too large.
            OptionError: a name, key or id is not a printable text.
            StateError: the state file cannot be used.
            EngineError: the cluster cannot be reached.
        """
        from perdure.api.signals import signal

        return signal(self.id, event, value, key=key, id=id)

    def published(self, name: str) -> Any:
        """What the run has published last under a name, as plain data: dicts, lists, texts and numbers.

        In a workflow it is recorded, as `status` is.

        Args:
            name: as `perdure.publish` was given it.

        Raises:
            NotFound: it has not published that, yet.
            StateError: the state file cannot be read.
            EngineError: the cluster cannot be reached.
        """
        from perdure.api.recorded_answers import answer, published_by

        return answer(published_by, self._runs, self.id, name)

    def _workflow_around(self) -> Any:
        """The workflow that the caller is in, if it can wait durably for the run."""
        if here.get() is None:
            return None
        from perdure.api.result_in_workflow import workflow_around

        return workflow_around(self._runs.state_file)

    def _ended(self) -> Future[T]:
        if self._future is None:
            from concurrent.futures import Future

            future: Future[T] = Future()
            self._runs.ending(self.id).add_done_callback(lambda ending: put_outcome(future, ending, self._spec))
            self._future = future
        return self._future

    def __repr__(self) -> str:
        return f"<run {self.id!r}>"
