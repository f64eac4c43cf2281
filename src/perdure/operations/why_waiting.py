"""What holds a run that no process executes: waits, deadline, queue, slots, a lock, a hold, or that none serves it."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial

import msgspec

from perdure.core.commands import signal
from perdure.core.execution.run_effects import Locked
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.core.waits import Standing, earliest, show_moment
from perdure.operations.gone_scripts import script_gone
from perdure.operations.location import Location
from perdure.operations.open_questions import waited_for
from perdure.operations.queues import place_in_queue, way_on
from perdure.operations.run_views import view_of
from perdure.operations.stored_failures import error_line
from perdure.store import claims, queue_order, runs_on_hold, workers
from perdure.store.awaited_runs import unserved
from perdure.store.queue import AFTER_OTHERS
from perdure.store.runs import Store
from perdure.store.schedule_runs import runs_before
from perdure.store.waits import standing_of
from perdure.store.workers import Worker

MOST_NAMED = 3
"""Runs that are waited for and stand still."""


class Way(msgspec.Struct, frozen=True):
    """A command that helps, and what for."""

    purpose: str
    command: str


class Waiting:
    """What is found out about one run; `reasons` are sentences, the most important first, `ways` commands that help.

    Args:
        store: the state file.
        run: which.
        location: where it was found.
        now: in seconds since the epoch.
    """

    def __init__(self, store: Store, run: RunRecord, location: Location, now: float) -> None:
        self.reasons: list[str] = []
        self.ways: list[Way] = []
        self._store, self._run, self._location, self._now = store, run, location, now

    def suspended(self, *, stays: bool = False) -> None:
        """All its branches wait, or it was given back; `stays`: it would stop at the same place if it only went on."""
        run, waits = self._run, standing_of(self._store, self._run.rid)
        due = run.wake is not None and run.wake <= self._now
        if run.hold is None and (waits or not due):
            said, place = waited_for(self._store, run, waits, self._now), len(self.reasons)
            stuck = self._stuck(waits)
            self.reasons.insert(place, said if stuck else f"{said}; no process is needed meanwhile")
        if run.hold is not None:
            self._held(run.hold, stays)
        elif run.wake is not None and due:
            self._say(f"it is due since {show_moment(run.wake, self._now, past=True)}")
            if not self._has_no_slot() and not self._locked():
                self._unserved()
            self._way("go on with it", "resume")
        elif (over := self._deadline(waits)) is not None:
            self._say(f"its time (timeout=) is over before that, at {show_moment(over, self._now)}: it ends then")
        if run.hold is None and not due:  # else what it waits for may have come
            self._send(waits)

    def queued(self) -> None:
        """It has not begun."""
        standing = place_in_queue(self._store, self._run, self._now)
        self._say(f"it stands in a queue, and has not begun: {standing.line}")
        way = way_on(standing, self._location.option)
        if self._run.hold is not None and standing.why == "hold":
            self._say("a worker tries it again when its script is edited")
        elif way is not None:
            self.ways.append(Way(*way))
        elif standing.why == "after" and not self._store.counts_queues:
            self.ways.append(Way("see its schedule", f"perdure schedule ls{self._location.option}"))
        elif standing.why == "after":
            for id in runs_before(self._store, self._run.rid):
                self._say(f"run {id} of its schedule has not ended")
                self.ways.append(Way("see why", f"perdure why {shlex.quote(id)}{self._location.option}"))
        elif standing.why == "time" or not self._locked() or not workers.living(self._store.path):
            self._unserved()
        self._way("end it", "cancel")

    def under_way(self) -> bool:
        """A process executes it, or a cluster keeps it; returns whether it waits there."""
        waits = standing_of(self._store, self._run.rid)
        if waits:
            where = "it does so in its process" if self._store.counts_queues else "the cluster keeps it meanwhile"
            self._say(f"{waited_for(self._store, self._run, waits, self._now)}; {where}")
            self._stuck(waits)
            self._send(waits)
        return bool(waits)

    def _stuck(self, waits: Sequence[Standing]) -> bool:
        """Say which runs that it waits for, or those in turn, come to no end by themselves: are there any?"""
        if not self._store.counts_queues:
            return False
        rest = [one.run for one in waits if one.run is not None]
        idle = {one.rid for one in unserved(self._store, rest)}
        seen = {self._run.id}
        named = 0
        while rest and named < MOST_NAMED:
            id = rest.pop(0)
            if id in seen:
                continue
            seen.add(id)
            run = self._store.newest(self._store.run(id))
            if (how := self._stands_still(run)) is None and run.rid in idle:
                how = "it stands in a queue, and no worker executes it"
            if how is None:
                rest += [one.run for one in standing_of(self._store, run.rid) if one.run is not None]
                continue
            named += 1
            self._say(f"run {run.id} does not go on by itself: {how}")
            self.ways.append(Way("see why", f"perdure why {shlex.quote(run.id)}{self._location.option}"))
        return named > 0

    def _stands_still(self, run: RunRecord) -> str | None:
        """How a run stands that goes on only if somebody acts; None of any other."""
        if run.hold is not None and run.hold != AFTER_OTHERS:
            return f"it is on hold: {runs_on_hold.reason_of(run.hold)}"
        match view_of(self._store, run).status:
            case "failed":
                return f"it has failed: {error_line(run.output or b'')}"
            case "parked":
                return "it has failed too often and is parked, as a dead letter"
            case "interrupted":
                return "it was interrupted, and no process executes it"
            case _:
                return None

    def _send(self, waits: Sequence[Standing]) -> None:
        """The command that sends the signal that it waits for."""
        for one in waits[:1]:
            if one.event is not None and not one.event.startswith("perdure."):
                command = signal(self._run.id, one.event, one.topic or "")
                self.ways.append(Way("send it", f"{command}{self._location.option}"))

    # -- what holds it ------------------------------------------------------------------------------------------------

    def _held(self, hold: str, stays: bool) -> None:
        self._say(f"it is on hold: {runs_on_hold.reason_of(hold)}")
        if codec.withholds(self._run.input):
            self._say(
                "only its script can go on with it, called with the same arguments: it gives the Secret again; "
                "no worker and no `perdure resume` can"
            )
            self._way("end it", "cancel")
            return
        self._say("a worker tries it again when its script is edited")
        name = self._run.workflow
        no_command_can = runs_on_hold.no_workflow(name) in hold or runs_on_hold.several_workflows(name) in hold
        if not stays and not no_command_can:
            self._way("go on with it", "resume")

    def _deadline(self, waits: Sequence[Standing]) -> float | None:
        """When its timeout ends it, if that is nearer than what it waits for."""
        due, wake = earliest([one.due for one in waits]), self._run.wake
        return wake if wake is not None and (due is None or wake < due) else None

    def _has_no_slot(self) -> bool:
        run = self._run
        free: bool = self._store.journal.read(lambda connection: queue_order.has_slot(self._store, connection, run))
        if not free:
            self._say(
                f"all slots of queue {run.queue}, or of its key there, are taken: it goes on as soon as one is free"
            )
        return not free

    def _locked(self) -> bool:
        run = self._run
        names = {
            lock
            for one in workers.living(self._store.path)
            for script, workflow, lock in one.locks
            if (script, workflow) == (run.script, run.workflow)
        } or {f"{run.script}:{run.workflow}"}  # lock=True; another name is in the script, or another run has it
        names |= self._store.journal.read(partial(self._store.locks.of_workflow, run=run))
        for name in sorted(names):
            found: Locked | None = self._store.journal.read(partial(self._store.locks.taken, name=name, rid=run.rid))
            if found is None:
                continue
            who = "suspended" if found.by is None else f"pid {found.by.pid} on {found.by.host}"
            of_run = "a block of that process" if found.run is None else f"run {found.run.id}"
            self._say(f"it needs the lock {name!r}, which {of_run} has ({who}): it goes on when that is free")
            if found.run is not None:
                self.ways.append(Way("see why", f"perdure why {shlex.quote(found.run.id)}{self._location.option}"))
            return True
        return False

    def _unserved(self) -> None:
        """Who would execute it."""
        run, living = self._run, workers.living(self._store.path)
        if not self._store.counts_queues:
            self._say("the cluster does not say what its workers do; one that has loaded its script begins it")
            script = shlex.quote(run.path) if run.path else "FILE"
            self.ways.append(Way("start a worker", f"perdure worker {script}{self._location.option}"))
            return
        serving = [one for one in living if one.serves(run.script, run.workflow, run.queue)]
        gone = script_gone(run.path)
        script = shlex.quote(os.path.relpath(run.path)) if run.path and not gone else "FILE"
        if not serving and gone:
            self._say(gone)
        if not serving:
            self._say(_nobody(living, run))
            self.ways.append(Way("start a worker", f"perdure worker {script}{self._location.option}"))
            return
        busy = Counter(each.token for each in claims.executed(self._store))
        free = [one for one in serving if sum(busy[each] for each in one.executors) < one.slots * len(one.executors)]
        pids = ", ".join(str(one.pid) for one in (free or serving)[:5])
        slots = sum(one.slots * len(one.executors) for one in serving)
        if not free:
            taken = "its slot is taken" if slots == 1 else f"all {slots:,} slots are taken"
            self._say(f"worker pid {pids} serves it, and {taken}: it begins when one is free")
        else:
            self._say(f"worker pid {pids} serves it, and takes it when it may begin")

    # -- words --------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.reasons.append(text)

    def _way(self, purpose: str, command: str) -> None:
        self.ways.append(Way(purpose, self._command(command)))

    def _command(self, command: str) -> str:
        return f"perdure {command} {shlex.quote(self._run.id)}{self._location.option}"


def _nobody(living: Sequence[Worker], run: RunRecord) -> str:
    """Why no worker executes it."""
    if not living:
        return "no worker runs on this state file"
    queues = sorted({name for one in living if one.serves(run.script, run.workflow) for name in one.queues})
    if queues:
        return f"no worker serves queue {run.queue}: those that serve its script serve only {', '.join(queues)}"
    scripts = sorted({os.path.basename(path) for one in living for path in one.scripts})
    return f"no worker serves workflow {run.workflow} of {run.path}: those that run have loaded {', '.join(scripts)}"
