"""Approvals: what a run asks a person, found in the state file alone, and the answer: a signal that is sent once.

The question is a record of its own, made before the wait for the answer: it holds what was asked, and the topic of that
wait, which no other wait has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import apsw
import msgspec

from perdure.core import commands
from perdure.core.callables import EMPTY
from perdure.core.records import RunRecord, StepRecord
from perdure.core.redaction.printable import one_line
from perdure.core.timestamps import moment
from perdure.core.values import codec
from perdure.core.waits import APPROVAL
from perdure.errors import AlreadyDecided, StateCorrupt
from perdure.store import pieces, signals
from perdure.store.damaged_rows import if_sound
from perdure.store.group_commit import Operation
from perdure.store.rows import checked_of_run, corrupt, sound
from perdure.store.runs import Store
from perdure.store.signals import Letter, Sent
from perdure.store.statements import load
from perdure.store.waits import WaitRow

_SQL = load("approvals.sql")

NOTE: Final = 2_000
"""Characters of a note; of a name, a tenth of that."""

_plain: Final = codec.plan(EMPTY, owner="an approval")


class Question(msgspec.Struct, frozen=True):
    """What a run asks. `asked` and `expires` are in seconds since the epoch; `nonce` is the question's alone."""

    title: str
    details: str
    nonce: str
    asked: float
    expires: float

    @property
    def topic(self) -> str:
        """The key of the wait for the answer."""
        return f"{self.title} #{self.nonce}"


class Answer(msgspec.Struct, frozen=True):
    """What a person has answered: `by` is a name as that person gave it, `at` in seconds since the epoch."""

    approved: bool
    by: str
    note: str
    at: float

    def text(self) -> str:
        """The same in a few words, without the moment."""
        return f"{'approved' if self.approved else 'rejected'} by {one_line(self.by)}"


class Standing(msgspec.Struct, frozen=True):
    """How an approval stands: of which root, what was asked, the answer, and whether it can be answered still."""

    run: RunRecord
    question: Question
    answer: Answer | None
    is_open: bool


def pack_question(question: Question) -> dict[str, Any]:
    """The question as plain data, for a record; with its topic."""
    return {**msgspec.structs.asdict(question), "topic": question.topic}


def unpack_question(said: dict[str, Any]) -> Question:
    """The question that `pack_question` has packed."""
    return msgspec.convert(said, Question)


def pack_answer(approved: bool, by: str, note: str) -> bytes:
    """An answer, as the signal carries it."""
    said = {"approved": approved, "by": _text(" ".join(by.split()), NOTE // 10), "note": _text(note, NOTE)}
    return codec.pack_value(said, owner="an approval")


def _text(text: str, longest: int) -> str:
    """A text of another's that can be stored: half a character, which JSON can name, is replaced."""
    return text[:longest].encode("utf-8", "replace").decode("utf-8")


def unpack_answer(value: bytes, at: float) -> Answer:
    """The answer that a signal of that moment carries.

    Raises:
        ValueError: it carries something else.
    """
    said = _plain.unpack(value)
    return msgspec.convert({**said, "at": at} if isinstance(said, dict) else said, Answer)


def answering(store: Store, run: str, topic: str, value: bytes, *, clock: Callable[[], float] = time.time) -> Operation:
    """An operation that answers an approval once; returns Sent.

    Args:
        store: the state file.
        run: the id of the run.
        topic: of the wait for the answer.
        value: the answer, packed.
        clock: the time of day.

    Raises:
        NotFound, RunHasEnded: in the operation.
        AlreadyDecided: in the operation: it was answered, or the run does not wait for it any more.
    """

    def check(connection: apsw.Connection, root: RunRecord, stamp: float) -> None:
        waits = signals.waits_for(store, connection, root.rid, APPROVAL, topic)
        over = bool(waits) and all(signals.is_over(wait, stamp) for wait in waits)
        if over or (not waits and _is_closed(connection, root.rid, topic)):
            raise AlreadyDecided(
                f"run {root.id} does not wait for this approval any more: its time is over",
                f"see what became of it: {commands.show(root.id)}",
            )

    send = signals.send(store, run, APPROVAL, topic, value, id_of(topic), clock=clock, check=check)

    def operation(connection: apsw.Connection) -> Sent:
        sent: Sent = send(connection)
        if sent.outcome == "repeated":
            raise answered_before(sent.run.id, _answer_of(sent.letter))
        return sent

    return operation


def answered_before(run: str, answer: Answer) -> AlreadyDecided:
    """The error for a second answer: it says who has given the first one."""
    at = moment(answer.at)
    when = f" on {at:%Y-%m-%d at %H:%M} UTC" if at else ""
    return AlreadyDecided(
        f"this approval was answered before: {answer.text()}{when}", f"see what became of it: {commands.show(run)}"
    )


def id_of(topic: str) -> str:
    """The id of the signal that answers."""
    return f"{APPROVAL}:{topic.rpartition('#')[2]}"


def open_topics(store: Store, run: RunRecord) -> list[tuple[str, bool]]:
    """The topics of the approvals that a run waits for, and whether each was answered; what was asked first in front.

    Raises:
        StateCorrupt: a row is not as it was written.
    """

    def question(connection: apsw.Connection) -> list[tuple[str, bool]]:
        root = signals.root_of(store, connection, run.id)
        rows: list[Any] = connection.execute(_SQL["open"], (root.rid,)).fetchall()
        if not all(map(sound, rows)):
            raise corrupt(store.path)
        topics = dict.fromkeys(WaitRow(*row).topic or "" for row in rows)
        return [(one, signals.known(store, connection, root.rid, id_of(one)) is not None) for one in topics]

    found: list[tuple[str, bool]] = store.journal.read(question)
    return found


def asking(store: Store, most: int) -> list[RunRecord]:
    """The suspended runs that wait for approvals, for themselves or for runs they have called, the oldest first; but
    for those that are damaged.

    Args:
        store: the state file.
        most: how many at most.

    Raises:
        StateError: the file cannot be read.
    """

    def question(connection: apsw.Connection) -> list[RunRecord]:
        rows: list[Any] = connection.execute(_SQL["asking"], (most,)).fetchall()
        found = (if_sound(partial(store.run_in, connection, rid), lambda: None) for (rid,) in rows)
        return [run for run in found if run is not None]

    found: list[RunRecord] = store.journal.read(question)
    return found


def standing(store: Store, run: str, nonce: str, now: float) -> Standing | None:
    """How an approval stands; None if that run has not asked it.

    Args:
        store: the state file.
        run: the id of the run.
        nonce: of the question.
        now: in seconds since the epoch.

    Raises:
        NotFound: there is no such run.
        StateCorrupt: something is not as it was written.
    """

    def question(connection: apsw.Connection) -> Standing | None:
        root = signals.root_of(store, connection, run)
        asked = _question(store, connection, root.rid, nonce)
        if asked is None:
            return None
        letter = signals.known(store, connection, root.rid, id_of(asked.topic))
        answer = None if letter is None else _answer_of(letter)
        waits = signals.waits_for(store, connection, root.rid, APPROVAL, asked.topic)
        is_open = (
            answer is None
            and root.status not in ("done", "cancelled")
            and (
                any(not signals.is_over(wait, now) for wait in waits)
                or not (waits or _is_closed(connection, root.rid, asked.topic))
            )
        )
        return Standing(root, asked, answer, is_open)

    found: Standing | None = store.journal.read(question)
    return found


def topics_asked(store: Store, run: RunRecord) -> list[str]:
    """The topics of all that a run has asked so far, the newest first.

    Raises:
        StateCorrupt: a row is not as it was written.
    """

    def question(connection: apsw.Connection) -> list[str]:
        root = signals.root_of(store, connection, run.id)
        return [one.topic for one in _questions(store, connection, root.rid)]

    found: list[str] = store.journal.read(question)
    return found


def _question(store: Store, connection: apsw.Connection, rid: int, nonce: str) -> Question | None:
    return next((one for one in _questions(store, connection, rid) if one.nonce == nonce), None)


def _questions(store: Store, connection: apsw.Connection, rid: int) -> Iterator[Question]:
    for row in connection.execute(_SQL["asked"], (rid,)).fetchall():
        record = pieces.whole(connection, checked_of_run(StepRecord, row, store.path), store.path)
        try:
            yield msgspec.convert(_plain.unpack(record.output), Question)
        except ValueError as error:
            raise StateCorrupt(
                f"the record of an approval holds something else: {store.path}", "see `perdure doctor`"
            ) from error


def _is_closed(connection: apsw.Connection, rid: int, topic: str) -> bool:
    return connection.execute(_SQL["closed"], (rid, codec.digest(topic.encode()))).fetchone() is not None


def _answer_of(letter: Letter) -> Answer:
    return unpack_answer(letter.value, letter.stamp)
