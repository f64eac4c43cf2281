"""Why a run has failed, and what goes on with it: what `why` says of runs that ended badly."""

from __future__ import annotations

import shlex

from perdure.config import secrets
from perdure.core.commands import commands_in, located
from perdure.core.exceptions import capture
from perdure.engines.features import Feature
from perdure.errors import PerdureError
from perdure.operations.failed_by import failed_by, undone_with
from perdure.operations.gone_scripts import go_on, has_script, script_gone
from perdure.operations.stored_failures import assessment_of, restored
from perdure.operations.why_sentences import SHOWN, Inquiry, line_of, sure
from perdure.operations.why_waiting import Way
from perdure.store import dead_letters


class FailureInquiry(Inquiry):
    """What is asked of one run that has failed, was parked, or has left dead letters."""

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
            inner = FailureInquiry(self.store, last.run, self.location)
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
