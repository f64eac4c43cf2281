"""The engine of a cluster, as the outside sees it: starts runs, waits for them, lists, cancels and checks them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from perdure.core.declared_schedule import DeclaredSchedule
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import Bounds
from perdure.core.records import RunRecord, RunStatus
from perdure.engines import registry
from perdure.engines.events import Observer, RunEnded, RunResumed, RunStarted, RunStopped
from perdure.engines.features import TEMPORAL, Capabilities, Feature
from perdure.engines.interface import Began, Cancellation, Enqueued, ReplayCheck, refuse_child
from perdure.engines.runtime.clock import RealWorld
from perdure.engines.schedule_declarations import declaration_of
from perdure.engines.temporal import schedules
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.commands import queue_of
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.executions import find, published_of, recorded_steps, root_of
from perdure.engines.temporal.queued_runs import cancel_waiting, refuse_waiting, status_of
from perdure.engines.temporal.run_ends import end_of, ending
from perdure.engines.temporal.run_start import RunStarter
from perdure.engines.temporal.schedule_state import Deed
from perdure.engines.temporal.signals import send, send_once
from perdure.engines.temporal.unsupported import refuse_counting, refuse_locks, refuse_parking, refuse_queueing
from perdure.engines.temporal.worker import Workers
from perdure.errors import NotFound
from perdure.store.cluster_snapshot import ListedRun, Snapshot
from perdure.store.runs import Store
from perdure.store.schedule_copies import scratch
from perdure.store.signals import Outcome

if TYPE_CHECKING:
    from concurrent.futures import Future


DELIVERING = 10.0
"""Seconds that a process waits for its alerts to be delivered, which may be the last worker for long."""
AT_A_TIME = 50
"""Runs that are started at a time."""


class TemporalEngine:
    """Runs workflows on a Temporal cluster; this process runs a worker for as long as it waits for a run.

    Args:
        address: where the cluster is.
        url: what that was made of.
    """

    def __init__(self, address: Address, url: str = "") -> None:
        self.address = address
        self.cluster = Cluster(address, url)
        self.workers = Workers(self.cluster)
        self.world = RealWorld()
        self.observer: Observer | None = None
        self._accepted: set[str] = set()
        self._starter = RunStarter(self.cluster, self.world, self._accepted)

    @property
    def capabilities(self) -> Capabilities:
        """What a cluster can do."""
        return TEMPORAL

    @property
    def state_file(self) -> None:
        """A cluster has none."""
        return

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, wait for it if it is under way, or return its result.

        Args:
            call: the workflow's function and arguments.
            script: the path of the script that it is in.
            id: exactly one run under this id, ever.
            resume: the id of a run to go on with, whatever its inputs.
            began: is given the id of the run as soon as it is known.
            attach: needs nothing here: a run that is under way is waited for.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
            Drift: the script was edited so that it does not fit what the run has done.
            EngineError: the cluster cannot be reached.
            Exception: whatever the workflow raises.
        """
        return self.cluster.wait(self._run(call, script, id, resume, began))

    def begin_in_loop(self, call: Call, *, script: str, id: str | None, began: Began) -> None:
        """Runs are executed by the workers of the cluster."""

    async def arun(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run an async workflow to its end, as `run` does."""
        return await self.cluster.awaited(self._run(call, script, id, resume, began))

    async def _run(self, call: Call, script: str, id: str | None, resume: str | None, began: Began | None) -> Any:
        spec = call.spec
        refuse_locks(spec)
        refuse_parking(spec)
        refuse_counting(spec)
        steps = await self.workers.step_activities()
        steps.observer = self.observer
        try:
            found, resumed = await self._starter.take(call, script, id, resume)
        except NotFound:
            await refuse_waiting(self.cluster, resume)
            raise
        if began is not None:
            began(found.memo.id)
        under_way = found.status != "done"
        if self.observer is not None and under_way:
            if resumed:
                self.observer.notify(RunResumed(found.memo.id, spec.name, await recorded_steps(self.cluster, found)))
            else:
                self.observer.notify(RunStarted(found.memo.id, spec.name))
        try:
            async with self.workers.working(queue_of(spec.module)) if under_way else nullcontext():
                steps.alerts.expect(found.memo.id)
                end = await end_of(self.cluster, found, call)
                if not await steps.alerts.delivered(found.memo.id, DELIVERING):
                    logging.getLogger("perdure").warning(
                        "an alert of run %s is not delivered yet; the cluster keeps it for a worker of its script",
                        found.memo.id,
                    )
        except BaseException as error:
            if self.observer is not None and under_way:
                self.observer.notify(RunStopped(found.memo.id, spec.name, error))  # here; the cluster goes on with it
            raise
        if self.observer is not None and under_way:
            self.observer.notify(RunEnded(found.memo.id, spec.name, end.status))
        if end.error is not None:
            raise end.error
        return spec.plan.unpack(end.payload)

    # -- how they stand -----------------------------------------------------------------------------------------------

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
            EngineError: the cluster cannot be reached.
        """
        return self.cluster.wait(status_of(self.cluster, id))

    def enqueue(self, calls: Sequence[Call], how: Enqueued) -> list[str]:
        """Start runs of one workflow for the workers of the cluster, and do not wait for them; returns their ids.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
            OptionError: the workflow, or the queue, has an option that a cluster lacks.
            EngineError: the cluster cannot be reached. Those that were started before stay so.
        """
        for call in calls:
            refuse_queueing(call.spec, how)
        return self.cluster.wait(self._enqueue(calls, how))

    async def _enqueue(self, calls: Sequence[Call], how: Enqueued) -> list[str]:
        limit = asyncio.Semaphore(AT_A_TIME)

        async def one(call: Call) -> str:
            async with limit:
                return await self._starter.enqueue(call, how)

        return list(await asyncio.gather(*map(one, calls)))

    def published(self, id: str) -> dict[str, tuple[bytes, float]]:
        """What a run has published: by name, the packed value and since when, in seconds since the epoch.

        Raises:
            NotFound: there is no such run.
            EngineError: the cluster cannot be reached.
        """
        return self.cluster.wait(self._published(id))

    async def _published(self, id: str) -> dict[str, tuple[bytes, float]]:
        found = await published_of(self.cluster, await root_of(self.cluster, id))
        return {name: (one.value, one.stamp) for name, one in found.items()}

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """The end of a run, whichever process has begun it; the workers of the cluster execute it."""
        return self.cluster.begin(ending(self.cluster, id))

    @contextmanager
    def records(self, reference: str | None = None, most: int | None = None) -> Iterator[Store]:
        """The records of runs, in a state file of the moment: see `list_runs` for which.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        with self._snapshot(self.list_runs(reference, most)) as store:
            yield store

    @contextmanager
    def family(self, id: str) -> Iterator[Store]:
        """The records of a run, of the run that it belongs to, and of its child runs; nothing else is asked for.

        Raises:
            NotFound: there is no such run.
            EngineError: the cluster cannot be reached.
        """
        from perdure.engines.temporal.run_listing import list_family

        with self._snapshot(self.cluster.wait(list_family(self.cluster, id))) as store:
            yield store

    @contextmanager
    def _snapshot(self, runs: Sequence[ListedRun]) -> Iterator[Store]:
        with TemporaryDirectory(prefix="perdure-") as folder:
            store = Snapshot(Path(folder) / "snapshot.db", runs, self.address.target)
            try:
                yield store
            finally:
                store.close()

    def list_runs(self, reference: str | None = None, most: int | None = None) -> list[ListedRun]:
        """The runs of the cluster, parents before their children.

        Args:
            reference: an id, the beginning of one, or "last": the runs that may be meant are listed in full.
            most: without a reference: so many of the newest are listed in full; None for all of them.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        from perdure.engines.temporal.run_listing import list_runs

        return self.cluster.wait(list_runs(self.cluster, reference, most))

    # -- what changes them --------------------------------------------------------------------------------------------

    def declare_schedule(self, spec: Spec, given: DeclaredSchedule) -> None:
        """Write down a schedule of a workflow: a ticker of its own counts it, in the workers of the script.

        Raises:
            OptionError: the workflow, or the queue, has an option that a cluster lacks.
            EngineError: the cluster cannot be reached.
        """
        refuse_queueing(spec, Enqueued(None, given.queue or "", 5))
        declared = declaration_of(spec, given, script=spec.module, origin="call")
        self.cluster.wait(schedules.declare(self.cluster, declared))

    @contextmanager
    def schedules(self) -> Iterator[Store]:
        """The schedules of the cluster, in a state file of the moment.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        with scratch(self.cluster.wait(schedules.states(self.cluster))) as store:
            self.cluster.wait(schedules.refresh(self.cluster, store))
            yield store

    def change_schedule(self, name: str, deed: Deed) -> None:
        """Have something done with a schedule, by its ticker.

        Raises:
            NotFound: there is no such schedule.
            EngineError: the cluster cannot be reached.
        """
        self.cluster.wait(schedules.ask(self.cluster, name, deed))

    def send_signal(self, run: str, event: str, topic: str, value: bytes, id: str | None) -> Outcome:
        """Send a signal to a run: see `signals.send`."""
        return self.cluster.wait(send(self.cluster, run, event, topic, value, id)).outcome

    def send_once(self, run: str, event: str, topic: str, value: bytes, id: str) -> tuple[bytes, float, bool]:
        """Send a signal of which only the first one of that id counts.

        Returns:
            What the one that counts carries, when it was sent, and whether it is this one.
        """
        letter, first = self.cluster.wait(send_once(self.cluster, run, event, topic, value, id))
        return letter.value, letter.stamp, first

    def cancel(self, id: str, load: Callable[[RunRecord], str | None] | None = None) -> Cancellation:
        """Ask a run to end. Steps in flight notice it at their next heartbeat, and a worker makes the clean-ups.

        Args:
            id: the run.
            load: not called: nothing is cleaned up in this process.

        Raises:
            NotFound: there is no such run.
            UsageError: it is a child run.
            EngineError: the cluster cannot be reached.
        """
        return self.cluster.wait(self._cancel(id))

    async def _cancel(self, id: str) -> Cancellation:
        try:
            found = await find(self.cluster, id)
        except NotFound:
            return await cancel_waiting(self.cluster, id)
        refuse_child(id, found.memo.parent)
        if found.status == "running":
            client = await self.cluster.client()
            await client.get_workflow_handle(found.workflow_id, run_id=found.run_id).cancel()
            return Cancellation("running", "requested")
        return Cancellation(found.status, "none")

    def accept_changes(self, run: RunRecord) -> None:
        """When this process goes on with that run next, its records are not held against the edited script."""
        self._accepted.add(run.id)

    def raise_bounds(self, run: RunRecord, bounds: Bounds) -> None:
        """A cluster has no budgets."""
        raise TEMPORAL.unsupported(Feature.BUDGET, option="--budget")

    def raised_any(self, run: RunRecord) -> bool | None:
        """A cluster has no budgets."""
        return False

    def stay(self) -> None:
        """A cluster waits for its runs anyway."""

    # -- workers ------------------------------------------------------------------------------------------------------

    def serve(self, modules: Iterable[str], until: threading.Event, grace: float) -> None:
        """Execute the steps and workflows of the scripts of these stems until the event is set.

        Args:
            modules: the stems of the files, which this process has loaded.
            until: set when it is to end.
            grace: seconds that steps in flight have to end then.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        self.cluster.wait(self._serve(modules, until, grace))

    async def _serve(self, modules: Iterable[str], until: threading.Event, grace: float) -> None:
        (await self.workers.step_activities()).observer = self.observer
        stems = set(modules)
        for spec in registry.every("workflow"):
            if spec.module in stems and spec.schedules:
                refuse_queueing(spec, Enqueued(None, "", 5))
        await schedules.declare_loaded(self.cluster, stems)
        await self.workers.serve(stems, until, grace)

    def check_connection(self) -> None:
        """Return if the cluster answers, and lets this process look at its runs.

        Raises:
            EngineError: it does not.
            OptionError: a certificate or a key cannot be read.
        """
        self.cluster.wait(self._look())

    async def _look(self) -> None:
        async for _ in (await self.cluster.client()).list_workflows(page_size=1):
            break

    def replay_check(self, modules: Iterable[str]) -> list[ReplayCheck]:
        """Which runs that are under way fit the scripts of these stems, as this process has loaded them now.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        from perdure.engines.temporal.replay_check import check_runs

        return self.cluster.wait(check_runs(self.cluster, modules))


_engines: dict[str, TemporalEngine] = {}
_lock = threading.Lock()


def engine_of(url: str) -> TemporalEngine:
    """The engine of this process for that address; there is never more than one.

    Raises:
        OptionError: it is not an address.
    """
    with _lock:
        engine = _engines.get(url)
        if engine is None:
            engine = _engines[url] = TemporalEngine(Address.of(url), url)
        return engine
