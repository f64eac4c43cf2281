"""Why a run is not moving, and what gets it going: `perdure why`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from perdure.config import secrets
from perdure.core.commands import cancel_damaged, commands_in, located
from perdure.core.durations import roughly
from perdure.core.exceptions import capture
from perdure.core.execution.crash_loop import fitted
from perdure.core.execution.run_refusals import ANEW, ITS_ID
from perdure.core.exit_causes import STOPPED, is_unseen
from perdure.core.policies.verdicts import Stop
from perdure.core.records import AttemptRecord, RunRecord
from perdure.core.sizes import show_size
from perdure.engines.features import Feature
from perdure.engines.selection import capabilities_at
from perdure.errors import PerdureError, StateCorrupt
from perdure.operations.diagnose import facts_of
from perdure.operations.diagnose_run import find
from perdure.operations.failed_by import failed_by, undone_with
from perdure.operations.gone_scripts import go_on, has_script, script_gone
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
from perdure.operations.stored_failures import assessment_of, restored
from perdure.operations.why_pending import pending_lines, pending_of
from perdure.operations.why_sentences import SHOWN, Inquiry, code_of, line_of, sure, suspicion, time_left
from perdure.operations.why_waiting import Waiting, Way
from perdure.store import crashes, dead_letters, runs_on_hold, sessions
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


class _Answer(Inquiry):
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
        if any(one.crashes >= one.limit for one in suspects):
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

    def _go_on(self, hint: str = "") -> None:
        """The command that goes on with the run; a notebook or a prompt does so by calling the workflow again.

        `hint` is that of the error which has ended the run: a command in it that goes on knows better how.
        """
        if self.location.supports(Feature.PROCESSES) and not has_script(self.run.path):
            self._say("its script is a notebook or a prompt: call the workflow there again, and it goes on")
            return
        command = self._command("resume")
        option = self.location.option
        gone = script_gone(self.run.path) if self.location.supports(Feature.PROCESSES) else None
        if gone is not None:
            self._say(gone)
            self.ways.append(Way("go on", go_on(self.run.id, self.run.path, option)))
            return
        named = [located(one, option) for one in commands_in(secrets.redactor()(hint))]
        self.ways.append(Way("go on", next((one for one in named if one.startswith(f"{command} ")), command)))

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

    def _failed(self) -> None:
        assert self.run.output is not None
        line = line_of(self.run.output)
        if (cause := undone_with(self.store, self.run)) is not None:
            self._say(f"it was undone with run {cause.id}, which failed {self._ago(cause.ended)}: {line}")
            self._way("see more", "show")
            self._dead_letters()
            return
        if not self._failed_at_a_step(line):
            self._failed_by_another(line)
        stop = self.store.stopped_by(self.run)
        found = assessment_of(self.run.path, stop.verdict if stop else None, self.run.output)
        self.code = sure(found)
        again = {
            "permanent": "the error is permanent: fix the cause, then run it again",
            "transient": "the error is transient: run it again, or fix the cause first",
            "throttled": "the service asks for fewer calls: run it again later",
        }
        held = self._services(line) if self.location.supports(Feature.SERVICE_LISTING) else False
        way = "calls of that service are not made until then: wait, or close it" if held else again[found.kind]
        self._say(f"{way}; {self._saved()}{self._runs_again()}")
        error = restored(self.run.output)
        if self.run.parent is None:  # else it cannot be gone on with alone
            self._go_on(error.hint if isinstance(error, PerdureError) else "")
        self._way("see more", "show")
        self._dead_letters()

    def _failed_at_a_step(self, line: str) -> bool:
        tried = [one for one in self._open_calls([], before=True) if line_of(one.error) == line]
        if tried:
            last = tried[-1]
            times = "at its only attempt" if last.number == 1 else f"at attempt {last.number}"
            self._say(f"{self._attempted(last)} failed {times}, {self._ago(self.run.ended)}: {line}")
        return bool(tried)

    def _failed_by_another(self, line: str) -> None:
        """Its error is not that of a step of its own: another run's, or what the workflow made of a step's."""
        others, ago = failed_by(self.store, self.run), self._ago(self.run.ended)
        if not others:
            self._failed_outside(line)
            return
        last = others[-1]
        cancelled, hint = last.run.status == "cancelled", ""
        failure = "" if cancelled else line_of(last.run.output or b"")
        if cancelled:
            self._say(f"{last.name} was cancelled {self._ago(last.run.ended)}")
        else:
            inner = _Answer(self.store, last.run, self.location)
            if not inner._failed_at_a_step(failure):
                inner._failed_outside(failure)
            self._say(f"{last.name} has failed: {inner.reasons[0]}")
            error = restored(last.run.output or b"")
            hint = secrets.redactor()(error.hint) if isinstance(error, PerdureError) else ""
        for one in others[-2::-1][:SHOWN]:
            self._say(f"{one.name} has failed by that")
        self._say(f"this run failed{'' if cancelled else ' by that'} {ago}" + ("" if failure == line else f": {line}"))
        option = self.location.option
        self.ways.append(Way("see why", f"perdure why {shlex.quote(last.run.id)}{option}"))
        for one in reversed(others):
            if (way := one.way(self.store, option)) is not None:
                self.ways.append(way)
                self._say(f"as long as run {one.run.id} stands as {one.run.status}, this one fails: {one.deed}")
        if hint:
            self._say(f"what to do: {' '.join(hint.split())}")
            self.ways += [Way("as its error says", located(one, option)) for one in commands_in(hint)]
        if self.ways[-1].purpose == "see why" and self.run.parent is None:
            self._say("going on with this run goes on with that one as well")

    def _failed_outside(self, line: str) -> None:
        self._say(f"its workflow failed {self._ago(self.run.ended)}: {line}")
        assert self.run.output is not None
        for note in capture.decode(self.run.output).notes:
            if note.startswith("perdure: "):
                self._say(note.removeprefix("perdure: "))
        for one in self._open_calls([], before=True)[-1:]:
            self._say(f"before that, {self._attempted(one)} failed at attempt {one.number}: {line_of(one.error)}")

    def _failed_in_the_end(self) -> None:
        """It is below a run that was cancelled."""
        error = f" with {line_of(self.run.output)}" if self.run.output is not None else ""
        self._say(f"it had failed {self._ago(self.run.ended)}{error}; what it is a part of was cancelled since")
        self._way("see more", "show")

    def _parked(self) -> None:
        error = f", the last time with {line_of(self.run.output)}" if self.run.output is not None else ""
        self._say(f"it failed too often and was parked {self._ago(self.run.ended)}{error}")
        self._say("the whole run is a dead letter: it stays parked until it is re-driven or dropped")
        number = dead_letters.number(self.store, self.run.rid, 0)
        if number is not None:
            self.ways.append(Way("try it again", f"perdure dlq redrive {number}{self.location.option}"))
        self._way("see more", "show")

    def _dead_letters(self) -> None:
        if self.view.dead_letters:
            many = "1 dead letter is" if self.view.dead_letters == 1 else f"{self.view.dead_letters:,} dead letters are"
            changes = self.location.supports(Feature.CHANGE_DEAD_LETTERS)
            rest = ": what failed for good waits to be re-driven or dropped" if changes else ""
            self._say(f"{many} left{rest}")
            run = shlex.quote(self.run.id)
            self.ways.append(Way("look at them", f"perdure dlq ls --run {run}{self.location.option}"))
            if changes:
                self.ways.append(Way("re-drive them", f"perdure dlq redrive --run {run}{self.location.option}"))

    def _parent(self) -> None:
        if self.run.parent is None:
            return
        parent = self.store.run_by_number(self.run.parent)
        standing = view_of(self.store, parent).status
        over = "" if self.view.status in ("done", "cancelled") else ", and goes on when that does"
        self._say(f"it is a child of run {parent.id}, which is {standing}{over}")
        self.ways.insert(0, Way("see why", f"perdure why {shlex.quote(parent.id)}{self.location.option}"))
