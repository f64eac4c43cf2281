"""How a dead letter is described."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.digests import blake2b
from perdure.core.exceptions import capture
from perdure.core.letter_record import LetterRecord
from perdure.core.policies.verdicts import Verdict, unpack_verdict, verdict_on
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.core.redaction.nested import Hide


class Failure(msgspec.Struct, frozen=True):
    """One attempt that failed: `number` counts from 1, `seconds` it took; `error` is the exception's class.

    `redrive`: it was made to re-drive the letter. `verdict`: what was known of it when it happened, if that is stored.
    """

    number: int
    time: datetime | None
    seconds: float
    error: str
    message: str
    notes: list[str]
    traceback: str
    redrive: bool
    verdict: Verdict | None = None


class LetterDetails(msgspec.Struct, frozen=True):
    """All about a dead letter, as plain data.

    `id` is the same wherever it is described. `step`, `key` and `seq` are empty for a letter that stands for a
    whole run; `key` is what identifies the call, in hexadecimal digits. `inputs` are the recorded ones, `edited` what
    they were edited into; `notes` is what the error says besides (of a crash loop: each crash); `first` and `last` say
    when it failed first and last, `redriven` how often it was re-driven. `verdict` is what was known of the error
    when it happened, if that is stored. `reason` is what letters go by that failed for the same reason.
    """

    id: str
    letter: int
    status: str
    workflow: str
    run: str
    script: str
    step: str | None
    seq: int | None
    key: str | None
    inputs: Any
    edited: Any
    error: str
    message: str
    notes: list[str]
    attempts: list[Failure]
    first: datetime | None
    last: datetime | None
    parked: datetime | None
    changed: datetime | None
    redriven: int
    result: Any
    verdict: Verdict | None = None
    reason: str | None = None


def letter_id(run: str, seq: int, created: float) -> str:
    """What a letter goes by outside of its state file, wherever that lies: 16 hexadecimal digits."""
    return blake2b(f"{run}\0{seq}\0{created!r}".encode(), digest_size=8).hexdigest()


def describe(
    letter: LetterRecord,
    run: RunRecord,
    record: StepRecord | None,
    attempts: Sequence[AttemptRecord],
    hide: Hide,
) -> LetterDetails:
    """All about a letter, with credentials taken out.

    Args:
        letter: which.
        run: the run that it is of.
        record: the record of its call; None if it stands for the run as a whole.
        attempts: the attempts of its call that failed.
        hide: takes credentials out of a text.
    """

    from perdure.core.redaction.nested import redact_nested  # here, since most runs have no dead letters
    from perdure.core.timestamps import moment

    def plain(packed: bytes | None) -> Any:
        return None if packed is None else redact_nested(codec.to_builtins(packed), hide)

    failures = [_failure(one, letter.created, hide) for one in attempts]
    failed = run.output if run.status in ("failed", "parked") else None
    fault = _fault(failed if record is None else record.output if record.status != "done" else None, hide)
    error, message, notes = fault[:3] if fault else ("", "", [])
    if failures and not error:
        error, message, notes = failures[-1].error, failures[-1].message, failures[-1].notes
    times = [one.time for one in failures if one.time is not None] or [
        time for time in (moment(record.started) if record else moment(run.ended),) if time is not None
    ]
    return LetterDetails(
        id=letter_id(run.id, letter.seq, letter.created),
        letter=letter.lid,
        status=letter.status,
        workflow=run.workflow,
        run=run.id,
        script=run.path,
        step=record.name if record else None,
        seq=letter.seq or None,
        key=record.key.hex() if record else None,
        inputs=plain(record.input if record else run.input),
        edited=plain(letter.input),
        error=error,
        message=message,
        notes=notes,
        attempts=failures,
        first=times[0] if times else None,
        last=times[-1] if times else None,
        parked=moment(letter.created),
        changed=moment(letter.changed),
        redriven=letter.redriven,
        reason=None if letter.fingerprint is None else letter.fingerprint.hex(),
        result=plain(letter.result),
        verdict=failures[-1].verdict if failures else None,
    )


def _failure(one: AttemptRecord, parked: float, hide: Hide) -> Failure:
    from perdure.core.timestamps import moment

    error, message, notes, traceback = _fault(one.error, hide) or ("", "", [], "")
    seconds = one.ms / 1000
    seen = unpack_verdict(one.verdict)
    return Failure(
        number=one.number,
        time=moment(one.started),
        seconds=seconds,
        error=error,
        message=message,
        notes=notes,
        traceback=traceback,
        redrive=one.started + seconds > parked,
        verdict=verdict_on(seen) if seen is not None else None,
    )


def _fault(packed: bytes | None, hide: Hide) -> tuple[str, str, list[str], str] | None:
    """Class, message, notes and traceback; a fault that cannot be read is described as such."""
    from perdure.core.redaction.text import bounded

    if packed is None:
        return None
    try:
        fault = capture.decode(packed)
    except PerdureError as unreadable:
        return "unreadable", unreadable.what, [], ""
    notes = [hide(bounded(note)) for note in fault.notes]
    return fault.name, hide(bounded(fault.message)), notes, hide(fault.traceback)
