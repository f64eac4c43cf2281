"""Failures as they are stored, for the commands that explain runs."""

from __future__ import annotations

from perdure.catalogue.rules import assess_for
from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.policies.classify import Assessment
from perdure.core.policies.verdicts import Verdict, unpack_verdict, verdict_on
from perdure.core.records import AttemptRecord
from perdure.core.run_notes import DONE_FIRST, Remark
from perdure.core.values import codec
from perdure.errors import PerdureError


def restored(packed: bytes) -> BaseException:
    """An exception that was stored; of one that cannot be read, why."""
    try:
        return capture.restore(capture.decode(packed))
    except PerdureError as unreadable:
        return unreadable


def assessment_of(path: str, verdict: bytes | None, packed: bytes) -> Assessment:
    """What was known of a failure when it happened; of one that an earlier version stored, what its copy says.

    Args:
        path: the script, whose rules hold.
        verdict: as it was stored.
        packed: the exception.
    """
    return unpack_verdict(verdict) or assess_for(path, restored(packed))


def verdict_of(path: str, verdict: bytes | None, packed: bytes) -> Verdict:
    """As `assessment_of`, for people and programs."""
    return verdict_on(assessment_of(path, verdict, packed))


def error_line(packed: bytes) -> str:
    """An exception that was stored: its class and the first line of its message, without credentials."""
    try:
        return secrets.conceal(capture.decode(packed).line)
    except PerdureError as unreadable:
        return unreadable.what


def kind_of(packed: bytes) -> str:
    """The name of the class of an exception that was stored; empty if it cannot be read."""
    try:
        return capture.decode(packed).name
    except PerdureError:
        return ""


def kind_of_note(note: AttemptRecord) -> str:
    """Of which kind a note of a run is (`core/run_notes.py`).

    Remarks were stored as warnings of another class once; what each is about tells them apart.
    """
    of_damage = bool(note.input)  # what was taken out is kept with it
    return Remark.__name__ if of_damage or note.key == codec.digest(DONE_FIRST) else kind_of(note.error)


def message_of(packed: bytes) -> str:
    """The message of an exception that was stored, without credentials; of one that cannot be read, why."""
    try:
        return secrets.conceal(capture.decode(packed).message)
    except PerdureError as unreadable:
        return unreadable.what
