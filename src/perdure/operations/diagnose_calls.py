"""What the calls of a run show that did not fail: done twice, unsaved, in circles, too large, left behind, waiting."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.execution.cleanup_records import called, was_cut_off
from perdure.core.policies.failure_rules import Confidence
from perdure.core.records import called_step
from perdure.core.sizes import show_size
from perdure.core.timestamps import moment
from perdure.core.values.drawn import drawn_anew
from perdure.operations.diagnose_facts import RunFacts, line_of
from perdure.operations.diagnose_finding import SHOWN, Evidence, Finding, attempt, finding
from perdure.operations.processes import INPUTS

REPEATS = 10
GROWN = 100_000
LARGE = 1_000_000
"""A call with one input more often than that; inputs and results larger than that, in bytes."""

LONGER = 10
"""Times as long as it usually takes: it waits for something."""

UNDER_WAY = ("running", "stopping")


# -- done twice -------------------------------------------------------------------------------------------------------


def _twice(facts: RunFacts) -> Iterator[Finding]:
    twice = [one for one in facts.marked if one.lives and not one.keyed]
    if twice:
        one = twice[0]
        call = f"{one.name}{secrets.describe_inputs(one.input, INPUTS)}"
        text = f"{call} was executed in {one.lives} lives without an idempotency key: it may have been done twice"
        found = [Evidence(f"#{each.seq} {each.name}, {each.lives} lives", each.seq, each.name) for each in twice]
        yield finding(facts, "phantom-retry", "likely", text, found, ["perdure show RUN --step STEP"])
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
            evidence = [attempt(one) for one in lost]
            yield finding(facts, "phantom-retry", "possible", text, evidence, ["perdure show RUN --step STEP"])
            return


def _new_identity(facts: RunFacts) -> Iterator[Finding]:
    """Runs of one workflow whose arguments differ only in a time or in a random id."""
    for one in facts.store.runs(workflow=facts.run.workflow, most=20):
        pairs = drawn_anew(one.input, facts.run.input) if one.rid != facts.run.rid else []
        if not pairs or (one.status == "done" and facts.run.status == "done"):
            continue
        text = (
            f"runs {one.id} and {facts.run.id} differ only in a time or a random id: each begins anew, "
            "rather than going on with the one before"
        )
        evidence = [Evidence(f"{one.id}: {a}; {facts.run.id}: {b}", at=moment(one.created)) for a, b in pairs]
        commands = [f"perdure show {shlex.quote(one.id)}", "perdure show RUN"]
        yield finding(facts, "phantom-retry", "likely", text, evidence, commands)
        return


# -- silent, in circles, too large ------------------------------------------------------------------------------------

_BAD = ("error", "failed", "failure", "declined", "rejected", "denied")


def _unsaved(facts: RunFacts) -> Iterator[Finding]:
    """Calls that went by the records: on a thread of no run, inside another step."""
    if facts.notes:
        evidence = [Evidence(note) for note in facts.notes]
        fix = "Change the call as that line says. What it did so far is not saved: the next run does it again."
        yield finding(facts, "silent-failure", "likely", facts.notes[0], evidence, ["perdure show RUN"], fix)


def _unlike(facts: RunFacts) -> Iterator[Finding]:
    """Results that are not what their annotations say."""
    if facts.unlike:
        fix = "Mend the annotation or what is returned, whichever is wrong. What is saved stays as it is."
        evidence = [Evidence(each) for each in facts.unlike]
        yield finding(facts, "state-drift", "likely", facts.unlike[0], evidence, ["perdure show RUN"], fix)


def _silent(facts: RunFacts) -> Iterator[Finding]:
    for record in facts.telling:
        said = _bad(secrets.to_builtins(record.output))
        if said:
            text = f"{record.name!r} returned {secrets.describe(record.output, 80)}: an answer is no success ({said})"
            shown = f"#{record.seq} {record.name} -> {secrets.describe(record.output)}"
            evidence = Evidence(shown, record.seq, record.name)
            fix = "Look at that result, mend the cause, and make the step again: `perdure fork RUN --from STEP`."
            again = "perdure fork RUN --from STEP"
            yield finding(facts, "silent-failure", "likely", text, [evidence], [again], fix)
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


def _circles(facts: RunFacts) -> Iterator[Finding]:
    stop = "Stop it: `perdure cancel RUN`. Then look" if facts.status in UNDER_WAY else "Look"
    fix = (
        f"{stop} at the input that repeats, `perdure show RUN --step STEP`: often it is misspelt, or the answer empty."
    )
    for call, times in facts.calls.most_common(SHOWN):
        if times <= REPEATS or call[0].startswith("perdure."):
            break
        seq, given = facts.first_of[call]
        name = f"{call[0]}{secrets.describe_inputs(given, INPUTS)}"
        same = ", with one result" if facts.outputs.get(call) is not None else ""
        text = f"{name} was called {times} times{same}"
        confidence: Confidence = "certain" if same else "likely"
        evidence = [Evidence(f"first called as #{seq}, {times} times in all", seq, call[0])]
        yield finding(facts, "tool-loop", confidence, text, evidence, ["perdure show RUN --step STEP"], fix)
        return
    last = facts.order[-6:]
    if len(last) == 6 and last[0] != last[1] and last[0::2] == [last[0]] * 3 and last[1::2] == [last[1]] * 3:
        text = f"{last[0][0]!r} and {last[1][0]!r} take turns with the same inputs"
        evidence = [
            Evidence(f"{name}, first called as #{facts.first_of[name, key][0]}", step=name)
            for name, key in last[:2]
            if (name, key) in facts.first_of
        ]
        yield finding(facts, "tool-loop", "likely", text, evidence, ["perdure show RUN"], fix)


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
                fix = "Shorten what each call is given: see it with `perdure show RUN --step STEP`."
                commands = ["perdure show RUN --step STEP"]
                yield finding(facts, "context-saturation", "likely", text, evidence, commands, fix)
        seq, size = step.largest
        if size > LARGE:
            text = f"{step.name!r} returned {show_size(size)}, which is kept with the run"
            evidence = [Evidence(f"#{seq} {step.name} -> {show_size(size)}", seq, step.name)]
            fix = (
                "Write such data to a file in the step and return its path, or return an artifact (`perdure.artifact`)."
            )
            yield finding(facts, "oversized-payload", "likely", text, evidence, ["perdure show RUN --step STEP"], fix)


# -- what is left behind, waits, or goes backwards --------------------------------------------------------------------


def _left_behind(facts: RunFacts) -> Iterator[Finding]:
    if facts.clean_ups:
        evidence, calls = [], []
        for each in facts.clean_ups:
            name = called_step(each.kind, each.name)
            calls.append(f"{name}{secrets.describe_inputs(each.input, INPUTS)}")
            evidence.append(Evidence(f"#{each.seq} {calls[-1]}: {line_of(each.output)}", each.seq, name))
        first = facts.clean_ups[0]
        in_part = first.status == "abandoned" or was_cut_off(first.output)
        there = "may be there in part" if in_part else "is still there"
        text = f"the clean-up {calls[0]} has failed: what it puts away {there}"
        commands = ["perdure dlq show N", "perdure dlq redrive N"]
        yield finding(facts, "incomplete-cleanup", "certain", text, evidence, commands)


def _not_made(facts: RunFacts) -> Iterator[Finding]:
    """Deferred calls of a run that does not go on before a person has acted: they wait for its end."""
    seen = facts.verdict
    permanent = seen is not None and seen.kind == "permanent" and facts.status in ("failed", "parked")
    if not permanent or facts.cleaned_up or not facts.deferred:
        return
    evidence = []
    for one in facts.deferred:
        name, given = called(one.kind, one.name, one.input)
        evidence.append(Evidence(f"#{one.seq} {name}{secrets.describe_inputs(given, INPUTS)}", one.seq))
    call = evidence[0].text.partition("defer ")[2]
    text = f"the clean-up {call} is not made before the run is done or cancelled: what it puts away is still there"
    fix = "Mend the cause and resume the run, or end it for good: `perdure cancel RUN` makes its clean-ups."
    commands = ["perdure cancel RUN", "perdure resume RUN"]
    yield finding(facts, "incomplete-cleanup", "likely", text, evidence, commands, fix)


def waits(facts: RunFacts) -> Iterator[Finding]:
    """A call or a run that goes on for many times as long as it usually takes, or a loop that polls one answer."""
    if facts.status != "running" or facts.process is None:
        return
    commands = ["perdure why RUN", "perdure cancel RUN"]
    for one in facts.process.in_flight:
        step = facts.steps.get(one.step)
        if step is None or len(step.durations) < 3 or one.seconds is None:
            continue
        usual = max(median(step.durations) / 1000, 0.1)
        if one.seconds > LONGER * usual:
            text = (
                f"{one.step}{one.inputs} is in flight for {show(round(one.seconds, 1))}; it usually takes {show(usual)}"
            )
            evidence = [Evidence(text, step=one.step, attempt=one.attempt, at=one.since)]
            yield finding(facts, "stuck-wait", "likely", text, evidence, commands)
            return
    for call, times in facts.calls.most_common(1):
        if times > REPEATS and facts.outputs.get(call) is not None and facts.order[-3:] == [call] * 3:
            seq, given = facts.first_of[call]
            text = f"it polls {call[0]}{secrets.describe_inputs(given, INPUTS)}: {times} times, with one result"
            evidence = [Evidence(f"first called as #{seq}", seq, call[0])]
            yield finding(facts, "stuck-wait", "certain", text, evidence, commands)
            return
    usual, runs = _usual(facts)
    lasts = facts.now - facts.run.started
    if runs >= 3 and lasts > LONGER * usual:
        doing = ", ".join(f"{one.step}{one.inputs}" for one in facts.process.in_flight[:SHOWN]) or "no step"
        text = f"it is under way for {show(round(lasts, 1))}, in {doing}; {runs} runs before it took {show(usual)}"
        evidence = [Evidence(f"pid {facts.process.pid}, in {doing}", at=facts.process.since)]
        yield finding(facts, "stuck-wait", "likely", text, evidence, commands)


def _usual(facts: RunFacts) -> tuple[float, int]:
    """How many seconds the last runs of this workflow took that came to their end, and how many they are."""
    took = [
        one.ended - one.created
        for one in facts.store.runs(status="done", workflow=facts.run.workflow, most=20)
        if one.ended is not None
    ]
    return (max(round(median(took), 1), 0.1) if took else 0.0), len(took)


def _clock(facts: RunFacts) -> Iterator[Finding]:
    for seq, name, before, ended in facts.backward[:1]:
        text = f"the clock went back by {show(round(before - ended, 1))} before #{seq} {name} was saved"
        evidence = [Evidence(f"#{seq} {name} ended before the record in front of it", seq, name, at=moment(ended))]
        yield finding(facts, "clock-jump", "likely", text, evidence)


LOOKS: tuple[Callable[[RunFacts], Iterator[Finding]], ...] = (
    _left_behind,
    _not_made,
    _twice,
    _new_identity,
    _circles,
    _silent,
    _unsaved,
    _sizes,
    _clock,
    _unlike,
)
