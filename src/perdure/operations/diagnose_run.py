"""What the records of a run show, by the entries of the failure catalogue. A finding cites records."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from perdure.config import secrets, settings
from perdure.core.commands import commands_in
from perdure.core.durations import show
from perdure.core.execution.crash_loop import CrashLine, blames
from perdure.core.execution.run_refusals import STAYS
from perdure.core.policies.classify import Assessment
from perdure.core.policies.failure_rules import Confidence
from perdure.core.records import RESERVED
from perdure.core.sizes import show_size
from perdure.core.timestamps import moment
from perdure.errors import CrashLoop, DiskFull, PerdureError
from perdure.operations import diagnose_calls
from perdure.operations.diagnose_facts import Failure, RunFacts, line_of
from perdure.operations.diagnose_finding import OVER, SHOWN, Evidence, Finding, attempt, finding
from perdure.operations.failed_by import failed_by
from perdure.operations.gone_scripts import has_script
from perdure.operations.stored_failures import assessment_of, error_line, restored
from perdure.store import crashes

BY_INPUT = (None, "poison-item", "schema-change")
"""What an item fails with that is at fault itself."""

OF_INPUTS = ("ValueError", "KeyError", "IndexError", "LookupError", "ArithmeticError", "UnicodeError")
"""What a function raises about what it was given."""


def find(facts: RunFacts) -> list[Finding]:
    """All findings, the surest first."""
    found: dict[str, Finding] = {}
    for look in (*_LOOKS, *diagnose_calls.LOOKS):
        for one in look(facts):
            before = found.get(one.code)
            if before is None or _RANK[one.confidence] < _RANK[before.confidence]:
                found[one.code] = one
    return sorted(found.values(), key=lambda one: _RANK[one.confidence])


_RANK: dict[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}


def _ways_on(facts: RunFacts) -> list[str]:
    """The commands that go on with the run, or with what is left of it."""
    if facts.dead_seqs and facts.status in OVER:
        return ["perdure dlq ls --run RUN", "perdure dlq redrive --run RUN"]
    if facts.status in OVER:
        return ["perdure show RUN"]
    if facts.status in ("running", "stopping"):
        return ["perdure why RUN"]
    return ["perdure resume RUN"] if has_script(facts.run.path) else []


# -- what ended the run, and what its calls failed with ---------------------------------------------------------------


def _errors(facts: RunFacts) -> Iterator[Finding]:
    """By the verdicts on what has ended the run, on calls that are not completed, and on dead letters."""
    seen = facts.verdict
    failures = facts.open_failures() if facts.status not in ("done", "cancelled") else []
    failures += facts.dead_failures()
    if seen is not None and seen.code is not None:
        line = line_of(facts.error)
        same = [one for one in failures if one.line == line]
        evidence = [attempt(one) for one in same[-SHOWN:]]
        at = facts.run.ended if facts.stop is None else facts.stop.at
        evidence = evidence or [Evidence(f"the run was ended by {line}", at=moment(at) if at is not None else None)]
        others = [] if same else failed_by(facts.store, facts.run)
        for other in others[-1:]:
            how = (
                "was cancelled"
                if other.run.status == "cancelled"
                else f"has failed: {error_line(other.run.output or b'')}"
            )
            evidence.insert(0, Evidence(f"{other.name} {how}"))
        found = _error_finding(facts, seen.code, seen.confidence, line, evidence, same)
        if found is not None and others:
            ways = [way.command for one in reversed(others) if (way := one.way(facts.store, "")) is not None]
            commands = [f"perdure why {shlex.quote(others[-1].run.id)}", *ways, *found.commands]
            found = msgspec.structs.replace(found, commands=commands)
        if found is not None:
            yield found
    for one in failures:
        if one.seen.code is not None:
            found = _error_finding(facts, one.seen.code, one.seen.confidence, one.line, [attempt(one)], [one])
            if found is not None:
                yield found


def _error_finding(
    facts: RunFacts, code: str, confidence: Confidence, line: str, evidence: list[Evidence], failures: list[Failure]
) -> Finding | None:
    commands = _ways_on(facts)
    text = line
    if failures:
        step = facts.steps.get(failures[-1].record.name)
        if confidence == "possible" and code == "schema-change":
            if step is None or not step.done:
                return None  # a KeyError from the first call on is a fault of the program
            confidence = "likely"
        if step is not None and step.done and code in ("credential-expired", "schema-change"):
            last = moment(step.last_done)
            at = f" (record #{step.done[-1]}, {last:%Y-%m-%d %H:%M:%S})" if last is not None else ""
            text += f"; {step.name!r} had worked before{at}"
    elif confidence == "possible":
        return None
    error = restored(facts.error) if facts.error and not failures else None
    fix = None
    if isinstance(error, PerdureError) and error.hint:
        fix = secrets.redactor()(error.hint)
        commands = commands_in(fix) or ([] if code in STAYS else commands)
    elif code == "state-drift":
        commands = ["perdure doctor"]
    if isinstance(error, DiskFull):
        text += f"; {_free(facts)} there now"
        commands = ["perdure doctor", *commands]
    return finding(facts, code, confidence, text, evidence, commands, fix)


def _free(facts: RunFacts) -> str:
    try:
        return f"{show_size(shutil.disk_usage(facts.store.path.parent).free)} free"
    except OSError:
        return "an unknown space"


def _throttled(facts: RunFacts) -> Iterator[Finding]:
    """Three throttled attempts of one call in a row."""
    by_call: dict[Any, list[Failure]] = {}
    for one in facts.failures:
        by_call.setdefault(one.identity, []).append(one)
    for calls in by_call.values():
        row: list[Failure] = []
        for one in calls:
            row = [*row, one] if one.seen.kind == "throttled" else []
            if len(row) >= 3:
                lasted = show(round(row[-1].ended - row[0].record.started, 1))
                asked = max((each.seen.retry_after or 0.0 for each in row), default=0.0)
                wanted = f"; the service asked for {show(asked)}" if asked else ""
                text = f"{one.record.name!r} was throttled {len(row)} times in a row, for {lasted}{wanted}"
                evidence = [attempt(each) for each in row[-3:]]
                yield finding(facts, "rate-limit-spiral", "certain", text, evidence, _ways_on(facts))
                return


def _timeouts(facts: RunFacts) -> Iterator[Finding]:
    """More than half of the time of a run that has failed, in its last life, went by in attempts that timed out."""
    since = facts.run.started
    late = [one for one in facts.failures if one.seen.code == "cascading-timeout" and one.record.started >= since]
    spent = together(late)
    # A run that has ended undoes what it had done, and its letters are re-driven: that is later.
    whole = max([facts.run.ended or facts.now, *(one.ended for one in late)]) - since
    if late and spent > whole / 2 and facts.status != "done":
        text = f"{show(round(spent, 1))} of {show(round(whole, 1))} went by in {len(late)} attempts that timed out"
        evidence = [attempt(one) for one in late[:SHOWN]]
        yield finding(facts, "cascading-timeout", "certain", text, evidence, ["perdure show RUN", *_ways_on(facts)])


def together(attempts: list[Failure]) -> float:
    """For how many seconds at least one of these attempts was under way."""
    found, upto = 0.0, 0.0
    for one in sorted(attempts, key=lambda each: each.record.started):
        found += max(0.0, one.ended - max(one.record.started, upto))
        upto = max(upto, one.ended)
    return found


# -- deaths -----------------------------------------------------------------------------------------------------------


def _damage(facts: RunFacts) -> Iterator[Finding]:
    if facts.damage is not None:
        text = f"{facts.damage.what.partition(':')[0]}, behind record #{facts.records}"
        evidence = [Evidence(text, facts.records or None)]
        yield finding(facts, "state-drift", "certain", text, evidence, ["perdure doctor"])


def _deaths(facts: RunFacts) -> Iterator[Finding]:
    for one in facts.suspects:
        if one.given_up:
            text = f"{one.step}{one.inputs} was in flight at {one.crashes} crashes in a row ({one.cause})"
            evidence = Evidence(text, step=one.step, attempt=one.attempt, at=one.last)
            yield finding(facts, "crash-loop", "certain", text, [evidence], ["perdure show RUN", *_ways_on(facts)])
    if facts.status == "interrupted":
        dead = facts.process is not None and not facts.process.alive and not facts.process.in_flight
        deaths = list(crashes.deaths_of(facts.store, facts.run.rid))
        if dead:  # which is not counted yet
            deaths.append(CrashLine("", 0.0, crashes.others_beside(facts.store, facts.run.rid)))
        if blames(deaths, settings.crash_limit(facts.run.path)):
            last = facts.store.last_record(facts.run.rid)
            after = "before its first record" if last is None else f"after #{last.seq} {last.name}, in no step"
            text = f"its process died {len(deaths)} times in a row {after}"
            evidence = Evidence(text, last.seq if last is not None else None)
            yield finding(facts, "crash-loop", "certain", text, [evidence], ["perdure show RUN", *_ways_on(facts)])
    process = facts.process
    if process is not None and not process.alive and process.cause == "oom":
        calls = ", ".join(f"{one.step}{one.inputs}" for one in process.in_flight[:SHOWN])
        text = f"the process (pid {process.pid}) was killed for lack of memory" + (f", in {calls}" if calls else "")
        peak = f"it had used up to {show_size(process.memory)}" if process.memory else text
        evidence = Evidence(peak, at=process.ended)
        yield finding(facts, "out-of-memory", "certain", text, [evidence], _ways_on(facts))


# -- items ------------------------------------------------------------------------------------------------------------


def _letters(facts: RunFacts) -> Iterator[Finding]:
    """A few items of a batch fail for good, and the others do not; or a run is done, and some of a batch has failed."""
    for step in facts.steps.values():
        dead, total = len(step.dead), len(step.dead) + len(step.done) + len(step.failed)
        if not dead:
            continue
        errors = {seq: facts.dead_errors[seq] for seq in step.dead if seq in facts.dead_errors}
        evidence = [
            Evidence(f"#{seq} {step.name} is a dead letter: {line_of(error)}", seq, step.name)
            for seq, error in list(errors.items())[:SHOWN]
        ]
        evidence = evidence or [Evidence(f"#{seq} {step.name} is a dead letter", seq, step.name) for seq in step.dead]
        few = dead * 10 <= total or (dead == 1 and total >= 5)
        by_input = {_fails_by_input(facts, step.name, seq, error) for seq, error in errors.items()}
        if few and len(by_input) == 1 and (what := by_input.pop()):
            text = f"{dead} of {total} calls of {step.name!r} {what[0] if dead == 1 else what[1]}; the others do not"
            commands = ["perdure dlq show N", "perdure dlq edit N", "perdure dlq redrive N"]
            yield finding(facts, "poison-item", "certain", text, evidence, commands)
        elif facts.status == "dead":
            text = f"the run is done, and {dead} of {total} calls of {step.name!r} have failed for good"
            fix = "Mend the cause, then re-drive the dead letters: `perdure dlq redrive --run RUN`."
            commands = ["perdure dlq ls --run RUN", "perdure dlq redrive --run RUN"]
            yield finding(facts, "silent-failure", "likely", text, evidence, commands, fix)


def _caught(facts: RunFacts) -> Iterator[Finding]:
    """A run is done, and calls have failed for good: the workflow caught that, and may or may not have meant to."""
    for step in facts.steps.values():
        if facts.status != "done" or not step.failed or step.name.startswith(RESERVED):
            continue
        failed, total = len(step.failed), len(step.done) + len(step.failed)
        text = (
            f"the run is done, and {failed} of {total} calls of {step.name!r} failed for good: the workflow caught it"
        )
        evidence = [Evidence(f"#{seq} {step.name} has failed", seq, step.name) for seq in step.failed[:SHOWN]]
        fix = "See whether the workflow may go on without that result: `perdure show RUN --step STEP`."
        yield finding(facts, "silent-failure", "possible", text, evidence, ["perdure show RUN --step STEP"], fix)
        return


def _fails_by_input(facts: RunFacts, name: str, seq: int, error: bytes) -> tuple[str, str] | None:
    """What an item does that is at fault itself, of one and of several; None if it is not, or that is not known."""
    seen = facts.seen_of_dead(seq) or _assess(facts, error)
    if isinstance(restored(error), CrashLoop):
        return "kills its process", "kill their process"
    if seen.kind == "permanent" and seen.code in BY_INPUT:
        return "fails by its input", "fail by their inputs"
    return None


def _assess(facts: RunFacts, error: bytes) -> Assessment:
    return assessment_of(facts.run.path, None, error)


def _stops_at_an_item(facts: RunFacts) -> Iterator[Finding]:
    """A loop that stops at an input which its step cannot take, and took the ones before."""
    if facts.status != "failed":
        return
    for one in facts.open_failures():
        step = facts.steps.get(one.record.name)
        others = len(step.done) if step is not None else 0
        if others >= 3 and one.seen.kind == "permanent" and one.seen.code is None and one.name in OF_INPUTS:
            text = f"{one.record.name!r} fails by its input; {others} other calls of it do not"
            fix = (
                "Correct what it was given, or the step, then resume the run: `perdure resume RUN`. "
                "With `.map()` such an item becomes a dead letter, and the others go on."
            )
            yield finding(facts, "poison-item", "likely", text, [attempt(one)], _ways_on(facts), fix)
            return


_LOOKS: tuple[Callable[[RunFacts], Iterator[Finding]], ...] = (
    _damage,
    _deaths,
    _letters,
    _caught,
    _stops_at_an_item,
    diagnose_calls.waits,
    _errors,
    _throttled,
    _timeouts,
)
