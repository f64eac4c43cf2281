"""`perdure dlq ls`, `show` and `export`: dead letters found and shown. (Changed: see dlq_edit.py.)"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.dead_letters import LetterDetails
from perdure.core.durations import seconds
from perdure.core.execution.crash_loop import fitted
from perdure.core.letter_record import LetterRecord, LetterStatus
from perdure.core.policies.verdicts import Verdict
from perdure.core.records import SET_ASIDE, RunRecord, StepRecord
from perdure.core.timestamps import moment
from perdure.errors import NotFound, OptionError, RunError, UsageError
from perdure.operations.find_run import find_run
from perdure.operations.stored_failures import error_line, verdict_of
from perdure.store import dead_letters as letters
from perdure.store import lives
from perdure.store.damaged_rows import LOOK, if_sound
from perdure.store.dead_letter_file import letter_details
from perdure.store.dead_letters import Filter
from perdure.store.runs import Store
from perdure.store.unknown_calls import how_cut

Standing = Literal["parked", "re-driven", "resolved", "dropped", "evicted", "superseded", "damaged"]
"""How a letter stands; "re-driven" is parked, and being tried again at this moment; of a "damaged" one a record is not
as it was written, and nothing else is known."""

_OF_RUN = re.compile(r"(?P<run>.+)#(?P<seq>\d+)")


class Selection(msgspec.Struct, frozen=True):
    """Which letters are meant.

    `run` is a reference as it was typed, `error` a part of the error's class or message; `older` and `newer` are
    durations, by the time at which they were parked. `reason` is that of a LetterReason.
    """

    status: Standing | None = None
    run: str | None = None
    workflow: str | None = None
    step: str | None = None
    error: str | None = None
    older: str | None = None
    newer: str | None = None
    reason: str | None = None

    @property
    def chosen(self) -> bool:
        """Does it say anything besides the status?"""
        return any((self.run, self.workflow, self.step, self.error, self.older, self.newer, self.reason))


class LetterView(msgspec.Struct, frozen=True):
    """A letter in a listing: `inputs` and `error` are one line of text, `attempts` is how many failed.

    `verdict` is what was known of that error when it happened.
    """

    letter: int
    reference: str
    status: Standing
    workflow: str
    run: str
    step: str | None
    inputs: str
    edited: bool
    error: str
    attempts: int
    parked: datetime | None
    redriven: int
    verdict: Verdict | None = None


class Listing(msgspec.Struct, frozen=True):
    """The letters that are meant, the newest first; how many there are of each status, in all."""

    letters: list[LetterView]
    totals: dict[str, int]


def list_letters(store: Store, wanted: Selection, limit: int | None = None) -> Listing:
    """The letters that are meant.

    Args:
        store: the state file.
        wanted: which.
        limit: how many at most, the newest; None for all.

    Raises:
        NotFound: there is no such run.
        OptionError: a duration is not valid.
        StateError: the file cannot be read.
    """
    return Listing(list(islice(newest(store, wanted), limit)), letters.totals(store))


def select(store: Store, wanted: Selection) -> Iterator[LetterRecord]:
    """The letters that are meant, in the order in which they were parked.

    Raises:
        As `list_letters`.
    """
    yield from (one for one in letters.find(store, _filter(store, wanted)) if _is_meant(store, wanted, one))


class NotAsMany(RunError):
    """More or fewer letters match than were shown."""

    code = "not-as-many"


def refuse_others(matching: int, shown: int) -> None:
    """See that letters which match are as many as those that somebody has seen.

    Raises:
        NotAsMany: they are not.
    """
    if matching != shown:
        raise NotAsMany(f"{matching} letters match, and {shown} were shown", "look at those that match now")


def newest(store: Store, wanted: Selection, below: int | None = None) -> Iterator[LetterView]:
    """The letters that are meant, the newest first; those with numbers lower than `below` only.

    Raises:
        As `list_letters`.
    """
    judged = wanted.error is not None or wanted.status == "re-driven"  # by what is not known of one that is damaged
    for lid, letter in letters.find_newest(store, _filter(store, wanted), below):
        instead = None if judged else damaged(lid)
        view = instead if letter is None else if_sound(partial(_if_meant, store, wanted, letter), lambda: instead)  # noqa: B023
        if view is not None and (wanted.status != "damaged" or view is instead):
            yield view


def _if_meant(store: Store, wanted: Selection, letter: LetterRecord) -> LetterView | None:
    return view_of(store, letter) if _is_meant(store, wanted, letter) else None


def damaged(lid: int) -> LetterView:
    """A letter of which something is damaged, as it is listed."""
    return LetterView(lid, "", "damaged", "", "", None, "", False, LOOK, 0, None, 0)


def _filter(store: Store, wanted: Selection) -> Filter:
    now = time.time()
    status: LetterStatus | None = None
    if wanted.status != "damaged":
        status = "parked" if wanted.status == "re-driven" else wanted.status
    if wanted.reason is not None and not re.fullmatch("[0-9a-f]{16}", wanted.reason):
        raise OptionError(
            f"the reason is {wanted.reason[:80]!r}",
            "give one as `perdure dlq reasons` has it, of 16 hexadecimal digits",
        )
    return Filter(
        status=status,
        run=find_run(store, wanted.run).rid if wanted.run else None,
        workflow=wanted.workflow,
        step=wanted.step,
        before=now - seconds(wanted.older, option="--older") if wanted.older else None,
        since=now - seconds(wanted.newer, option="--newer") if wanted.newer else None,
        fingerprint=None if wanted.reason is None else bytes.fromhex(wanted.reason),
    )


def _is_meant(store: Store, wanted: Selection, letter: LetterRecord) -> bool:
    """Does a letter meet what is not written down in its row?"""
    if wanted.status == "re-driven" and letters.holding(store, letter) is None:
        return False
    return wanted.error is None or wanted.error.lower() in _line(_failed(store, letter)[1]).lower()


def find_letter(store: Store, reference: str) -> LetterRecord:
    """The letter that is meant: by its number, or by its run and the number of its record (RUN#7).

    Raises:
        NotFound: there is none.
    """
    if reference.isdecimal():
        return letters.get(store, int(reference))
    match = _OF_RUN.fullmatch(reference)
    if match is None:
        raise NotFound(f"{reference!r} is not a dead letter", "name one by its number: `perdure dlq ls` lists them")
    run = find_run(store, match["run"])
    lid = letters.number(store, run.rid, int(match["seq"]))
    if lid is None:
        raise NotFound(
            f"run {run.id} has no dead letter #{match['seq']}", f"see `perdure dlq ls --run {shlex.quote(run.id)}`"
        )
    return letters.get(store, lid)


def editable_letter(store: Store, reference: str) -> tuple[LetterRecord, RunRecord, StepRecord]:
    """The letter that is meant, its run and the record of its call.

    Raises:
        NotFound: there is none.
        UsageError: it stands for a whole run.
    """
    letter = find_letter(store, reference)
    if not letter.seq:
        raise UsageError(
            f"dead letter {letter.lid} stands for a whole run, whose input cannot be edited",
            "start a run with other inputs, and drop this one",
        )
    return letter, store.run_by_number(letter.run), store.record(letter.run, letter.seq)


def run_named(reference: str) -> str | None:
    """The run that a letter's reference names, if it does."""
    match = _OF_RUN.fullmatch(reference)
    return match["run"] if match else None


def view_of(store: Store, letter: LetterRecord) -> LetterView:
    """A letter as it is listed."""
    run = store.run_by_number(letter.run)
    attempts, error, verdict = _failed(store, letter)
    record = store.record(letter.run, letter.seq) if letter.seq else None
    given = letter.input if letter.input is not None else record.input if record else run.input
    standing: Standing = letter.status
    if letter.status == "parked" and letters.holding(store, letter) is not None:
        standing = "re-driven"
    return LetterView(
        letter=letter.lid,
        reference=f"{run.id}#{letter.seq}",
        status=standing,
        workflow=run.workflow,
        run=run.id,
        step=record.name if record else None,
        inputs=secrets.describe_inputs(given),
        edited=letter.input is not None,
        error=_line(error),
        attempts=attempts,
        parked=moment(letter.created),
        redriven=letter.redriven,
        verdict=verdict_of(run.path, verdict, error) if error else None,
    )


def headline_of(store: Store, letter: LetterRecord) -> tuple[str | None, str]:
    """The step of a letter, if it is one of a step, and the line of its error: a small part of its view."""
    return store.record(letter.run, letter.seq).name if letter.seq else None, _line(_failed(store, letter)[1])


class Texts(msgspec.Struct, frozen=True):
    """Recorded input, edited input and result of a letter, as Python would show them; `cut`: redrives that a process
    died in, or left; `undone`: its call was taken back since."""

    inputs: str
    edited: str | None
    result: str | None
    cut: list[str]
    undone: bool = False


def texts_of(store: Store, letter: LetterRecord) -> Texts:
    """What a letter holds, for a person."""
    record = store.record(letter.run, letter.seq) if letter.seq else None
    given = store.run_by_number(letter.run).input if record is None else record.input
    return Texts(
        secrets.describe_inputs(given, LONG),
        None if letter.input is None else secrets.describe_inputs(letter.input, LONG),
        None if letter.result is None else secrets.describe(letter.result, LONG),
        list(_cut(store, letter)) if letter.seq else [],
        record is not None and record.n >= SET_ASIDE,
    )


def _cut(store: Store, letter: LetterRecord) -> Iterator[str]:
    record = store.record(letter.run, letter.seq)
    call = fitted(record.name), record.key, record.n % SET_ASIDE
    for one in lives.list_of(store, letter.run):
        if (one.name, one.key, one.n) == call and one.ended >= letter.created:
            yield how_cut(one)
    if letter.holder is not None and letters.holding(store, letter) is None:
        yield "its last redrive was under way when its process died"


LONG = 2000
"""Characters of an input or a result that are shown of a single letter."""


def details_of(store: Store, letter: LetterRecord) -> LetterDetails:
    """All about a letter."""
    details = letter_details(store, letter)
    if details.verdict is None and (failed := _failed(store, letter))[1] is not None:
        details = msgspec.structs.replace(details, verdict=verdict_of(details.script, failed[2], failed[1]))
    return details


def _failed(store: Store, letter: LetterRecord) -> tuple[int, bytes | None, bytes | None]:
    """How many attempts failed, the last error, and what was known of it, as they are stored."""
    if not letter.seq:
        run = store.run_by_number(letter.run)
        stop = store.stopped_by(run)
        error = run.output if run.status in ("failed", "parked") else None
        return run.epoch, error, stop.verdict if stop is not None else None
    record = store.record(letter.run, letter.seq)
    tries = store.attempts_of(letter.run, record.name, record.key, record.n)
    if tries:
        return len(tries), tries[-1].error, tries[-1].verdict
    return record.attempts, record.output if record.status != "done" else None, None


def _line(error: bytes | None) -> str:
    return error_line(error) if error else ""


def lines(store: Store, chosen: Sequence[LetterRecord]) -> Iterator[bytes]:
    """Each letter as a line of JSON."""
    for letter in chosen:
        yield msgspec.json.encode(details_of(store, letter)) + b"\n"
