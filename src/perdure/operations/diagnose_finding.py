"""A finding of a diagnosis: the entry of the catalogue, the records that show it, and commands that can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import datetime

import msgspec

from perdure.catalogue.entries import entries
from perdure.config import secrets
from perdure.core.durations import show
from perdure.core.policies.failure_rules import Confidence
from perdure.core.timestamps import moment
from perdure.operations.diagnose_facts import Failure, RunFacts
from perdure.operations.gone_scripts import has_script
from perdure.operations.processes import INPUTS

SHOWN = 5
"""Records that a finding cites."""

OVER = ("done", "dead", "cancelled", "superseded")
"""How a run stands that cannot be gone on with."""


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


def finding(
    facts: RunFacts,
    code: str,
    confidence: Confidence,
    text: str,
    evidence: Sequence[Evidence],
    commands: Sequence[str] = (),
    fix: str | None = None,
) -> Finding:
    """What was found, with the run, its step and its dead letter in the place of RUN, STEP and N.

    Args:
        facts: of the run.
        code: the entry.
        confidence: how sure it is.
        text: what has happened.
        evidence: the records that show it; the first with a step, or a number, is the one that commands mean.
        commands: that help, with the words RUN, STEP and N.
        fix: what to do now; by default what the entry says.
    """
    entry = entries()[code]
    shown = list(evidence)[:SHOWN]
    commands, fix = list(commands), fix or entry.fix
    if facts.status in OVER:
        fix = _RESUME.sub(_redriven if facts.dead_seqs else _begun_anew, fix)
    elif not has_script(facts.run.path):
        fix = _RESUME.sub(_called_again, fix)
        commands = [one for one in commands if not one.startswith("perdure resume")]
    names = _names(facts, shown)
    fix = _QUOTED.sub(lambda found: f"`{_filled(found[1], names)}`", fix)
    return Finding(
        code, confidence, text, shown, fix, entry.prevent, list(dict.fromkeys(_filled(one, names) for one in commands))
    )


_QUOTED = re.compile(r"`(perdure [^`]*)`")
_RESUME = re.compile(r"(?i)\b(?:then )?(?:resume the run|resume|run it again)\b(?:: finished steps[^.]*)?")
_WORD = re.compile(r"\b(RUN|STEP|N)\b")


def _redriven(found: re.Match[str]) -> str:
    text = "re-drive its dead letters: `perdure dlq redrive --run RUN`"
    return _as(found[0], text)


def _begun_anew(found: re.Match[str]) -> str:
    return _as(found[0], "run the script again, which begins anew")


def _called_again(found: re.Match[str]) -> str:
    return _as(found[0], "call the workflow there again")


def _as(before: str, text: str) -> str:
    text = f"then {text}" if before[:5].lower() == "then " else text
    return text[0].upper() + text[1:] if before[0].isupper() else text


def _names(facts: RunFacts, evidence: list[Evidence]) -> dict[str, str]:
    names = {"RUN": shlex.quote(facts.run.id)}
    step = next((one.step for one in evidence if one.step is not None), None)
    if step is not None:
        names["STEP"] = shlex.quote(step)
    dead = facts.dead_seqs
    seq = next((one.seq for one in evidence if one.seq in dead), next(iter(dead), None))
    if seq is not None:
        names["N"] = shlex.quote(facts.letter(seq))
    return names


def _filled(command: str, names: dict[str, str]) -> str:
    if not set(_WORD.findall(command)) <= set(names):
        command = "perdure dlq ls --run RUN" if command.startswith("perdure dlq") else "perdure show RUN"
    return _WORD.sub(lambda found: names[found[0]], command)


def attempt(one: Failure) -> Evidence:
    """An attempt that failed, as evidence."""
    record = one.record
    call = f"{record.name}{secrets.describe_inputs(record.input, INPUTS)}"
    took = f" after {show(record.ms / 1000)}" if record.ms else ""
    text = f"{call} failed at attempt {record.number}{took}: {one.line}"
    return Evidence(text, step=record.name, attempt=record.number, at=moment(one.ended))
