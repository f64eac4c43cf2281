"""What the records of a run show, by the entries of the failure catalogue. A finding cites records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec

from perdure.catalogue.entries import entries
from perdure.config import secrets
from perdure.core.commands import commands_in
from perdure.core.durations import show
from perdure.core.policies.failure_rules import Confidence
from perdure.core.sizes import show_size
from perdure.core.timestamps import moment
from perdure.errors import PerdureError
from perdure.operations.processes import INPUTS
from perdure.operations.run_facts import Failure, RunFacts, line_of, size_of
from perdure.operations.stored_failures import STAYS, restored

SHOWN = 5
"""Records that a finding cites."""

REPEATS = 10
GROWN = 100_000
LARGE = 1_000_000
"""A call with one input more often than that; inputs and results larger than that, in bytes."""

BY_INPUT = (None, "poison-item", "schema-change")
"""What an item fails with that is at fault itself."""


class Evidence(msgspec.Struct, frozen=True):
    """A record that shows something: its number, or the step and attempt of one that has none, and when that was."""

    text: str
    seq: int | None = None
    step: str | None = None
    attempt: int | None = None
    at: datetime | None = None


class Finding(msgspec.Struct, frozen=True):
    """What a diagnosis has found.

    Attributes:
        code: the entry of the failure catalogue.
        confidence: "certain", "likely" or "possible".
        text: what has happened, in a sentence.
        evidence: the records that show it.
        fix: what to do now.
        prevent: how it does not happen again.
        commands: that help.
    """

    code: str
    confidence: Confidence
    text: str
    evidence: list[Evidence]
    fix: str
    prevent: str
    commands: list[str]


def find(facts: RunFacts) -> list[Finding]:
    """All findings, the surest first."""
    found: dict[str, Finding] = {}
    for look in _LOOKS:
        for one in look(facts):
            before = found.get(one.code)
            if before is None or _RANK[one.confidence] < _RANK[before.confidence]:
                found[one.code] = one
    return sorted(found.values(), key=lambda one: _RANK[one.confidence])


_RANK: dict[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}


def _finding(
    facts: RunFacts,
    code: str,
    confidence: Confidence,
    text: str,
    evidence: Sequence[Evidence],
    commands: Sequence[str] = (),
    fix: str | None = None,
) -> Finding:
    entry = entries()[code]
    run = shlex.quote(facts.run.id)
    named = [command.replace("RUN", run) for command in commands]
    return Finding(code, confidence, text, list(evidence)[:SHOWN], fix or entry.fix, entry.prevent, named)


def _attempt(one: Failure) -> Evidence:
    record = one.record
    call = f"{record.name}{secrets.describe_inputs(record.input, INPUTS)}"
    text = f"{call} failed at attempt {record.number} after {show(record.ms / 1000)}: {one.line}"
    return Evidence(text, step=record.name, attempt=record.number, at=moment(one.ended))


# -- what ended the run, and what its calls failed with ---------------------------------------------------------------


def _errors(facts: RunFacts) -> Iterator[Finding]:
    """By the verdicts on what has ended the run, on calls that are not completed, and on dead letters."""
    seen = facts.verdict
    failures = facts.open_failures() if facts.status not in ("done", "cancelled") else []
    failures += facts.dead_failures()
    if seen is not None and seen.code is not None:
        line = line_of(facts.error)
        same = [one for one in failures if one.line == line]
        evidence = [_attempt(one) for one in same[-SHOWN:]]
        at = facts.run.ended if facts.stop is None else facts.stop.at
        evidence = evidence or [Evidence(f"the run was ended by {line}", at=moment(at) if at is not None else None)]
        finding = _error_finding(facts, seen.code, seen.confidence, line, evidence, same)
        if finding is not None:
            yield finding
    for one in failures:
        if one.seen.code is not None:
            finding = _error_finding(facts, one.seen.code, one.seen.confidence, one.line, [_attempt(one)], [one])
            if finding is not None:
                yield finding


def _error_finding(
    facts: RunFacts, code: str, confidence: Confidence, line: str, evidence: list[Evidence], failures: list[Failure]
) -> Finding | None:
    commands = ["perdure resume RUN"]
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
    if facts.status in ("done", "cancelled"):
        commands = ["perdure dlq ls --run RUN", "perdure dlq redrive --run RUN"]
    return _finding(facts, code, confidence, text, evidence, commands, fix)


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
                yield _finding(
                    facts,
                    "rate-limit-spiral",
                    "certain",
                    text,
                    [_attempt(each) for each in row[-3:]],
                    ["perdure resume RUN"],
                )
                return


def _timeouts(facts: RunFacts) -> Iterator[Finding]:
    """More than half of the time of a run that has failed went by in attempts that timed out."""
    late = [one for one in facts.failures if one.seen.code == "cascading-timeout"]
    spent = sum(one.record.ms for one in late) / 1000
    whole = (facts.run.ended or facts.now) - facts.run.started
    if late and spent > whole / 2 and facts.status != "done":
        text = f"{show(round(spent, 1))} of {show(round(whole, 1))} went by in {len(late)} attempts that timed out"
        yield _finding(facts, "cascading-timeout", "certain", text, map(_attempt, late), ["perdure show RUN"])  # type: ignore[arg-type]


# -- deaths -----------------------------------------------------------------------------------------------------------


def _damage(facts: RunFacts) -> Iterator[Finding]:
    if facts.damage is not None:
        text = f"{facts.damage.what.partition(':')[0]}, behind record #{facts.records}"
        evidence = [Evidence(text, facts.records or None)]
        yield _finding(facts, "state-drift", "certain", text, evidence, ["perdure doctor"])


def _deaths(facts: RunFacts) -> Iterator[Finding]:
    for one in facts.suspects:
        if one.crashes >= one.limit:
            text = f"{one.step}{one.inputs} was in flight at {one.crashes} crashes in a row ({one.cause})"
            evidence = Evidence(text, step=one.step, attempt=one.attempt, at=one.last)
            yield _finding(facts, "crash-loop", "certain", text, [evidence], ["perdure show RUN", "perdure resume RUN"])
    process = facts.process
    if process is not None and not process.alive and process.cause == "oom":
        calls = ", ".join(f"{one.step}{one.inputs}" for one in process.in_flight[:SHOWN])
        text = f"the process (pid {process.pid}) was killed for lack of memory" + (f", in {calls}" if calls else "")
        peak = f"it had used up to {show_size(process.memory)}" if process.memory else text
        yield _finding(
            facts, "out-of-memory", "certain", text, [Evidence(peak, at=process.ended)], ["perdure resume RUN"]
        )


# -- done twice -------------------------------------------------------------------------------------------------------


def _twice(facts: RunFacts) -> Iterator[Finding]:
    twice = [one for one in facts.marked if one.lives and not one.keyed]
    if twice:
        one = twice[0]
        call = f"{one.name}{secrets.describe_inputs(one.input, INPUTS)}"
        text = f"{call} was executed in {one.lives} lives without an idempotency key: it may have been done twice"
        found = [Evidence(f"#{each.seq} {each.name}, {each.lives} lives", each.seq, each.name) for each in twice]
        yield _finding(
            facts, "phantom-retry", "likely", text, found, [f"perdure show RUN --step {shlex.quote(one.name)}"]
        )
    for record in facts.marked:
        if record.lives or record.keyed or record.status != "done":
            continue
        lost = [
            one
            for one in facts.of((record.name, record.key, record.n))
            if one.seen.kind == "transient" and one.seen.status is None and one.seen.code in (None, "cascading-timeout")
        ]
        if lost and any(
            word in lost[-1].line for word in ("imeout", "timed out", "Connection", "Disconnected", "reset")
        ):
            text = f"{record.name!r} was tried again after its answer was lost, without an idempotency key"
            yield _finding(facts, "phantom-retry", "possible", text, map(_attempt, lost))  # type: ignore[arg-type]
            return


_MOMENT = re.compile(
    r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$|\d{10}\.\d+$)"
)


def _new_identity(facts: RunFacts) -> Iterator[Finding]:
    """Runs of one workflow whose arguments differ only in a time or in a random id."""
    mine = _flat(facts.run.input)
    others = [one for one in facts.store.runs(workflow=facts.run.workflow, most=20) if one.rid != facts.run.rid]
    for one in others:
        theirs = _flat(one.input)
        differing = [(a, b) for a, b in zip(mine, theirs, strict=False) if a != b]
        if len(mine) == len(theirs) and differing and all(_MOMENT.match(a) and _MOMENT.match(b) for a, b in differing):
            if one.status == "done" and facts.run.status == "done":
                continue
            text = (
                f"runs {one.id} and {facts.run.id} differ only in a time or a random id: each begins anew, "
                "rather than going on with the one before"
            )
            evidence = [Evidence(f"{one.id}: {a}; {facts.run.id}: {b}", at=moment(one.created)) for b, a in differing]
            yield _finding(facts, "phantom-retry", "likely", text, evidence, ["perdure ps"])
            return


def _flat(given: bytes) -> list[str]:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, each in value.items():
                yield str(key)
                yield from walk(each)
        elif isinstance(value, list | tuple):
            for each in value:
                yield from walk(each)
        else:
            yield str(value)

    return list(walk(secrets.to_builtins(given))) if size_of(given) == len(given) else []


# -- silent, in circles, too large ------------------------------------------------------------------------------------

_BAD = ("error", "failed", "failure", "declined", "rejected", "denied")


def _silent(facts: RunFacts) -> Iterator[Finding]:
    for record in facts.telling:
        said = _bad(secrets.to_builtins(record.output))
        if said:
            text = f"{record.name!r} returned {secrets.describe(record.output, 80)}: an answer is no success ({said})"
            evidence = Evidence(
                f"#{record.seq} {record.name} -> {secrets.describe(record.output)}", record.seq, record.name
            )
            again = f"perdure fork RUN --from {shlex.quote(record.name)}"
            yield _finding(facts, "silent-failure", "likely", text, [evidence], [again])
            return


def _bad(value: Any) -> str:
    """What a result says that is no success; empty if nothing."""
    if not isinstance(value, dict):
        return ""
    for name, each in value.items():
        key = str(name).lower()
        if key in ("status", "state", "result", "outcome") and isinstance(each, str) and each.lower() in _BAD:
            return f"{name}: {each}"
        if key in ("error", "errors", "exception") and each:
            return str(name)
        if key in ("success", "ok", "succeeded") and each is False:
            return f"{name}: false"
    return ""


def _letters(facts: RunFacts) -> Iterator[Finding]:
    """A few items of a batch fail for good, and the others do not; or a run is done, and all of a batch has failed."""
    for step in facts.steps.values():
        dead, total = len(step.dead), len(step.dead) + len(step.done) + len(step.failed)
        if not dead:
            continue
        failures = [one for one in facts.dead_failures() if one.record.name == step.name]
        own = [one for one in failures if one.seen.kind == "permanent" and one.seen.code in BY_INPUT]
        evidence = [_attempt(one) for one in failures[:SHOWN]]
        evidence = evidence or [Evidence(f"#{seq} {step.name} is a dead letter", seq, step.name) for seq in step.dead]
        commands = ["perdure dlq ls --run RUN", "perdure dlq redrive --run RUN"]
        if own and len(own) == len(failures) and (dead * 10 <= total or (dead == 1 and total >= 5)):
            fail = "fails" if dead == 1 else "fail"
            text = f"{dead} of {total} calls of {step.name!r} {fail} by its input; the others do not"
            yield _finding(facts, "poison-item", "certain", text, evidence, commands)
        elif facts.status == "dead":
            text = f"the run is done, and {dead} of {total} calls of {step.name!r} have failed for good"
            yield _finding(facts, "silent-failure", "likely", text, evidence, commands)


def _circles(facts: RunFacts) -> Iterator[Finding]:
    for call, times in facts.calls.most_common(SHOWN):
        if times <= REPEATS or call[0].startswith("perdure."):
            break
        seq, given = facts.first_of[call]
        name = f"{call[0]}{secrets.describe_inputs(given, INPUTS)}"
        same = ", with one result" if facts.outputs.get(call) is not None else ""
        text = f"{name} was called {times} times{same}"
        confidence: Confidence = "certain" if same else "likely"
        evidence = [Evidence(f"first called as #{seq}, {times} times in all", seq, call[0])]
        yield _finding(
            facts, "tool-loop", confidence, text, evidence, [f"perdure show RUN --step {shlex.quote(call[0])}"]
        )
        return
    last = facts.order[-6:]
    if len(last) == 6 and last[0] != last[1] and last[0::2] == [last[0]] * 3 and last[1::2] == [last[1]] * 3:
        text = f"{last[0][0]!r} and {last[1][0]!r} take turns with the same inputs"
        evidence = [
            Evidence(f"{name}, first called as #{facts.first_of[name, key][0]}", step=name) for name, key in last[:2]
        ]
        yield _finding(facts, "tool-loop", "likely", text, evidence, ["perdure show RUN"])


def _sizes(facts: RunFacts) -> Iterator[Finding]:
    for step in facts.steps.values():
        sizes = [size for _, size in step.sizes]
        if len(sizes) >= 5 and sizes[-1] > GROWN and sizes[-1] > 5 * max(sizes[0], 1):
            growing = sum(b > a for a, b in pairwise(sizes))
            if growing >= 0.8 * (len(sizes) - 1):
                text = (
                    f"the inputs of {step.name!r} grow: {show_size(sizes[-1])} after {len(sizes)} calls, "
                    f"{show_size(sum(sizes))} in all"
                )
                ends = (step.sizes[0], step.sizes[-1])
                evidence = [
                    Evidence(f"#{seq} {step.name}: {show_size(size)} of inputs", seq, step.name) for seq, size in ends
                ]
                yield _finding(facts, "context-saturation", "likely", text, evidence, ["perdure show RUN"])
        seq, size = step.largest
        if size > LARGE:
            text = f"{step.name!r} returned {show_size(size)}, which is kept in the state file"
            evidence = [Evidence(f"#{seq} {step.name} -> {show_size(size)}", seq, step.name)]
            yield _finding(facts, "oversized-payload", "likely", text, evidence, ["perdure show RUN"])


# -- what is left behind, waits, or goes backwards --------------------------------------------------------------------


def _left_behind(facts: RunFacts) -> Iterator[Finding]:
    if facts.clean_ups:
        one = facts.clean_ups[0]
        text = f"the clean-up {one.name} has failed: what it puts away is still there"
        evidence = [
            Evidence(f"#{each.seq} {each.name}: {line_of(each.output)}", each.seq, each.name)
            for each in facts.clean_ups
        ]
        yield _finding(facts, "incomplete-cleanup", "certain", text, evidence, ["perdure dlq ls --run RUN"])


def _waits(facts: RunFacts) -> Iterator[Finding]:
    if facts.status != "running" or facts.process is None:
        return
    for one in facts.process.in_flight:
        step = facts.steps.get(one.step)
        if step is None or len(step.durations) < 3 or one.seconds is None:
            continue
        usual = max(median(step.durations) / 1000, 0.1)
        if one.seconds > 10 * usual:
            text = (
                f"{one.step}{one.inputs} is in flight for {show(round(one.seconds, 1))}; it usually takes {show(usual)}"
            )
            evidence = [Evidence(text, step=one.step, attempt=one.attempt, at=one.since)]
            yield _finding(facts, "stuck-wait", "likely", text, evidence, ["perdure why RUN", "perdure cancel RUN"])
            return
    for call, times in facts.calls.most_common(1):
        if times > REPEATS and facts.outputs.get(call) is not None and facts.order[-3:] == [call] * 3:
            seq, given = facts.first_of[call]
            text = f"it polls {call[0]}{secrets.describe_inputs(given, INPUTS)}: {times} times, with one result"
            evidence = [Evidence(f"first called as #{seq}", seq, call[0])]
            yield _finding(facts, "stuck-wait", "certain", text, evidence, ["perdure why RUN", "perdure cancel RUN"])


def _clock(facts: RunFacts) -> Iterator[Finding]:
    for seq, name, before, ended in facts.backward[:1]:
        text = f"the clock went back by {show(round(before - ended, 1))} before #{seq} {name} was saved"
        evidence = [Evidence(f"#{seq} {name} ended before the record in front of it", seq, name, at=moment(ended))]
        yield _finding(facts, "clock-jump", "likely", text, evidence)


_LOOKS: tuple[Callable[[RunFacts], Iterator[Finding]], ...] = (
    _damage,
    _deaths,
    _letters,
    _waits,
    _errors,
    _throttled,
    _timeouts,
    _left_behind,
    _twice,
    _new_identity,
    _circles,
    _silent,
    _sizes,
    _clock,
)
