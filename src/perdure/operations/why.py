"""Why a run is not moving, and what gets it going: `perdure why`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from perdure.core.commands import cancel_damaged
from perdure.core.durations import roughly
from perdure.core.execution.crash_loop import fitted
from perdure.core.execution.run_refusals import ANEW, ITS_ID
from perdure.core.exit_causes import STOPPED, is_unseen
from perdure.core.policies.verdicts import Stop
from perdure.core.records import AttemptRecord, RunRecord
from perdure.core.sizes import show_size
from perdure.engines.features import Feature
from perdure.engines.selection import capabilities_at
from perdure.errors import StateCorrupt
from perdure.operations.diagnose import facts_of
from perdure.operations.diagnose_run import find
from perdure.operations.location import Location
from perdure.operations.open_questions import unanswered
from perdure.operations.processes import (
    ELSEWHERE,
    ProcessView,
    WaitingCall,
    process_of,
    suspects_of,
)
from perdure.operations.run_views import BEING_CANCELLED, Standing, view_of
from perdure.operations.step_views import error_view
from perdure.operations.stored_failures import assessment_of
from perdure.operations.why_failed import FailureInquiry
from perdure.operations.why_pending import pending_lines, pending_of
from perdure.operations.why_sentences import SHOWN, Inquiry, code_of, line_of, sure, suspicion, time_left
from perdure.operations.why_waiting import Waiting, Way
from perdure.store import crashes, runs_on_hold, sessions
from perdure.store.kept_runs import kept_runs
from perdure.store.runs import Store
from perdure.store.unknown_calls import unknown_calls
from perdure.store.unseen_results import unseen

MOST_RECORDS = 20_000
"""Of a run that is looked through."""

UNSEEN = "how it died is not known: with an alert target (see `perdure alert test`) a watchdog records it"


class Why(msgspec.Struct, frozen=True):
    """Why a run is not moving.

    `reasons` are sentences, the most important first; `ways` the commands that help; `code` the entry of the failure
    catalogue, where it is known; `asks` the titles of what it asks and nobody has answered.
    """

    run: str
    workflow: str
    status: Standing
    reasons: list[str]
    ways: list[Way]
    code: str | None = None
    asks: list[str] = []


def explain(store: Store, run: RunRecord, location: Location) -> Why:
    """Why a run is not moving.

    Args:
        store: the state file, or the records of a cluster.
        run: which.
        location: where it was found.

    Raises:
        StateError: the file cannot be read.
    """
    try:
        return _Answer(store, run, location).answer()
    except StateCorrupt as damage:  # of one of its records: that is why
        status: Standing = "interrupted" if run.status == "running" else run.status
        ways = [Way("look the file over", f"perdure doctor{location.option}")]
        if run.parent is None:
            ways.append(Way("give up what is damaged", f"{cancel_damaged(run.id)}{location.option}"))
        return Why(run.id, run.workflow, status, [damage.what, f"what to do: {damage.hint}"], ways, "state-drift")


class _Answer(FailureInquiry):
    """Why one run is not moving."""

    def answer(self) -> Why:
        """By how the run stands."""
        asks = unanswered(self.store, self.run) if self.view.status in ("running", "suspended") else []
        if asks:
            self.ways += [Way("say yes", self._command("approve")), Way("say no", self._command("reject"))]
        match self.view.status:
            case "running" | "stopping":
                self._under_way()
            case "interrupted":
                self._interrupted()
            case "suspended":
                self._suspended()
            case "queued":
                self._waits().queued()
            case "failed":
                self._failed()
            case "parked":
                self._parked()
            case "superseded":
                self._superseded()
            case "cancelled":
                if self.run.status == "cancelled":
                    self._say(f"it was cancelled {self._ago(self.run.ended)}; {ITS_ID if self.run.named else ANEW}")
                else:
                    self._failed_in_the_end()
                self._dead_letters()
            case _:
                self._say(f"it was done {self._ago(self.run.ended)}: there is nothing to wait for")
                self._dead_letters()
                self._unseen()
        kept = kept_runs(self.store, self.run.rid, self.run.status, self.location.option)
        for line in (kept, unknown_calls(self.store, self.run, self.run.status)):
            if line is not None:
                self._say(line)
        for note in self.store.notes(self.run.rid):
            self._say(error_view(note.error).message)
        if self.code is None:
            self._look_through()
        if not self.location.supports(Feature.EXECUTIONS):
            self._say(capabilities_at(self.location.engine).reason(Feature.EXECUTIONS))
        self._parent()
        return Why(self.run.id, self.run.workflow, self.view.status, self.reasons, self.ways, self.code, asks)

    def _waits(self) -> Waiting:
        """What holds it besides what a process does; its sentences and commands are added to those here."""
        found = Waiting(self.store, self.run, self.location, self.now)
        found.reasons, found.ways = self.reasons, self.ways
        return found

    def _look_through(self) -> None:
        """What its records show, if nothing that stands out says what it is."""
        if self.view.steps > MOST_RECORDS:
            self.ways.append(Way("look through its records", self._command("diagnose")))
            return
        facts = facts_of(self.store, self.run, self.now, self.location)
        found = [one for one in find(facts) if one.confidence != "possible"]
        if found:
            self.code = found[0].code
            if found[0].text not in self.reasons:
                self._say(f"its records show: {found[0].text}")
            self.ways.append(Way("see the records", self._command("diagnose")))

    def _unseen(self) -> None:
        """Results of re-driven dead letters that came too late for it."""
        if self.run.parent is None and self.location.supports(Feature.STATE_FILE):
            found = unseen(self.store, self.run)
            if found is not None:
                self._say(f"what has consumed the items does not see {found.results}")
                self.ways.append(Way("make that again", f"{found.command}{self.location.option}"))

    def _superseded(self) -> None:
        fork = self.view.superseded_by
        self._say(f"its fork {fork} stands on what it has done, and is gone on with in its place")
        self.ways.append(Way("how it stands with the fork", f"perdure why {fork}{self.location.option}"))

    # -- under way ----------------------------------------------------------------------------------------------------

    def _under_way(self) -> None:
        if not self.location.supports(Feature.PROCESSES):
            self._on_cluster()
            return
        process = process_of(self.store, self.run)
        self._say(f"pid {self.view.pid} on {self.view.host} executes it, for {self._since(self.run.started)}")
        in_flight = process.in_flight if process is not None else []
        if self.run.stop is not None:
            self._say(f"it was asked to end {self._ago(self.run.stop)}, and does so at its next safe point")
        for one in in_flight[:SHOWN]:
            self._say(f"in flight: {self._call(one)}")
        more = len(in_flight[SHOWN:]) + (process.more if process is not None else 0)
        if more:
            self._say(f"and {more:,} more in flight")
        seen = process.waiting if process is not None else []
        waiting = self._open_calls(in_flight)
        self._waiting(waiting, seen)
        self._held_calls(seen)
        self._not_begun([*in_flight, *seen])
        waits = self._waits().under_way()
        if not in_flight and not waiting and not waits and not seen:
            self._between_steps()
        if waiting or seen or not in_flight:
            self._services()
        self._locks()
        self._way("see more", "show")
        if self.run.stop is None:
            self._way("end it", "cancel")

    def _on_cluster(self) -> None:
        stop = self.run.stop is not None
        self._say(f"it is under way at {self.location.engine}" + (", and was asked to end" if stop else ""))
        pending = pending_lines(self.store, self.run, self.now)
        for line in pending:
            self._say(line)
        begun = {(one.name, one.key, one.n) for one in pending_of(self.store, self.run) if one.begun}
        waiting = [one for one in self._open_calls([]) if (one.name, one.key, one.n) not in begun]
        self._waiting(waiting)
        waits = self._waits().under_way()
        if not pending and not waiting and not waits:
            self._between_steps()
        self._say(capabilities_at(self.location.engine).reason(Feature.PROCESSES))
        script = shlex.quote(self.run.path) if self.run.path else "FILE"
        self.ways.append(Way("see more", self._command("show")))
        self.ways.append(Way("start a worker", f"perdure worker {script}{self.location.option}"))

    def _waiting(self, waiting: list[AttemptRecord], seen: Sequence[WaitingCall] = ()) -> None:
        due = {(one.step, one.key, one.n): one for one in seen if one.run == self.run.id}
        for one in waiting[:SHOWN]:
            ago = roughly(max(self.now - one.started - one.ms / 1000, 0.0))
            wait = due.get((fitted(one.name), one.key.hex(), one.n))
            rest = "it waits for its next attempt, if it has one left"
            if wait is not None:
                rest = f"it waits for {wait.reason}{time_left(wait)}"
            self._say(f"{self._attempted(one)} failed at attempt {one.number}, {ago} ago: {line_of(one.error)}; {rest}")
            self.code = self.code or sure(assessment_of(self.run.path, one.verdict, one.error))
        if len(waiting) > SHOWN:
            self._say(f"and {len(waiting) - SHOWN:,} more calls wait after a failed attempt")

    def _between_steps(self) -> None:
        last = self.store.last_record(self.run.rid)
        after = "no step has ended yet"
        if last is not None:
            after = f"the last one, {last.name}, ended {self._ago(last.started + last.ms / 1000)}"
        self._say(f"no step of it is in flight or has failed ({after}): its own code runs, or waits for something")

    # -- not under way ------------------------------------------------------------------------------------------------

    def _interrupted(self) -> None:
        process = process_of(self.store, self.run)
        stop = self.store.stopped_by(self.run)
        if stop is not None and stop.error and (process is None or is_unseen(process.cause)):
            self._stopped(stop)  # a full disk may have kept it from letting go of the run
        elif process is None:
            executed = self.store.journal.read(lambda at: sessions.each_of(at, self.run.rid))
            how = "executes it: it was interrupted (Ctrl-C, sys.exit, a deploy)" if executed else "has executed it yet"
            self._say(f"no process {how}, {self._saved()}")
        else:
            self._died(process)
        if self.run.stop is not None:
            self._say(BEING_CANCELLED)
        deaths = len(crashes.deaths_of(self.store, self.run.rid))
        if deaths > 1:
            self._say(f"its process had died {deaths} times in a row without a new record")
        suspects = suspects_of(self.store, self.run)
        for one in suspects:
            if process is None or one.crashes > 1:
                self._say(suspicion(one))
        if any(one.given_up for one in suspects):
            self.code = "crash-loop"
        self._locks()
        if self.run.parent is None and not self.stays:
            self._go_on()
        self._way("see more", "show")

    def _stopped(self, stop: Stop) -> None:
        """It broke off by itself, and said why."""
        line = line_of(stop.error)
        self._say(f"no process executes it: it was interrupted {self._ago(stop.at)} by {line}, {self._saved()}")
        self.as_it_says(stop)

    def _suspended(self) -> None:
        """It waits, or is on hold: what it was left for says what helps."""
        hold, stop, said = self.run.hold, self.store.stopped_by(self.run), Inquiry(self.store, self.run, self.location)
        if hold is not None and stop is not None and runs_on_hold.reason_of(hold).startswith(f"{code_of(stop)}: "):
            said.as_it_says(stop)
            self.code, self.stays = said.code, said.stays
        self._waits().suspended(stays=self.stays)
        self.reasons += said.reasons
        self.ways += said.ways

    def _died(self, process: ProcessView) -> None:
        if process.cause == ELSEWHERE:
            self._say(f"no process executes it in this file; its process was pid {process.pid}: {process.how}")
            return
        if process.cause.startswith(STOPPED):
            self._say(f"no process executes it: pid {process.pid} had it, {self._saved()}")
            self._say(process.how)
            self.code = process.cause.removeprefix(STOPPED)
            return
        when = f" {self._ago(process.ended.timestamp())}" if process.ended is not None and process.watched else ""
        self._say(f"no process executes it: its process (pid {process.pid}) died{when}, {self._saved()}")
        self._say(UNSEEN if process.cause == "unseen" else process.how)
        if process.cause == "oom":
            self.code = "out-of-memory"
        for one in process.in_flight[:SHOWN]:
            self._say(f"it died in {self._call(one)}")
        more = len(process.in_flight[SHOWN:]) + process.more
        if more:
            self._say(f"and {more:,} more in flight")
        for call in self._open_calls(process.in_flight)[-1:]:
            self._say(f"{self._attempted(call)} had failed at attempt {call.number}: {line_of(call.error)}")
        if process.memory:
            self._say(f"it had used up to {show_size(process.memory)} of memory")

    def _parent(self) -> None:
        if self.run.parent is None:
            return
        parent = self.store.run_by_number(self.run.parent)
        standing = view_of(self.store, parent).status
        over = "" if self.view.status in ("done", "cancelled") else ", and goes on when that does"
        self._say(f"it is a child of run {parent.id}, which is {standing}{over}")
        self.ways.insert(0, Way("see why", f"perdure why {shlex.quote(parent.id)}{self.location.option}"))
