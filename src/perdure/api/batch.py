"""Batch and DeadLetter: what `map` returns."""

from __future__ import annotations

import reprlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NoReturn, TypeVar, overload

import msgspec

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.execution.map_items import Tally
from perdure.core.execution.spec import Spec
from perdure.core.values import codec
from perdure.core.values.builtin_types import store_as_list
from perdure.engines.interface import Reader
from perdure.errors import HasDeadLetters, UsageError

NAMED = 20
"""Letters that a command names one by one."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a `map` that failed for good, with all its attempts. Immutable.

    Attributes:
        step: the name of the step.
        input: the item as text, without credentials.
        error: the last error, in one line.
        attempts: the error of each attempt, in one line each.
        started: when its last attempt began, in seconds since the epoch.
        letter: its number for `perdure dlq`; None on a cluster, and once it was dropped.
    """

    step: str
    input: str
    error: str
    attempts: list[str]
    started: float
    letter: int | None = None


class Results(Sequence[T_co]):
    """The results of the items that succeeded, in the order of the input.

    Each is read from the state file when it is accessed, so a million results need no memory. `list(results)` makes a
    list; as an argument of a step they are stored as a list.
    """

    def __init__(self, seqs: array[int], reader: Reader, plan: codec.Plan) -> None:
        self._seqs = seqs
        self._reader = reader
        self._plan = plan

    def __len__(self) -> int:
        return len(self._seqs)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self._value(seq) for seq in self._seqs[index]]
        value: T_co = self._value(self._seqs[index])
        return value

    def __iter__(self) -> Iterator[T_co]:
        return map(self._value, self._seqs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(reprlib.repr(value) for value in self[:6])
        return f"[{shown}, ... {len(self)} in all]" if len(self) > 6 else f"[{shown}]"

    def _value(self, seq: int) -> Any:
        return self._plan.unpack(self._reader.record(seq).output)


store_as_list(Results)


class Batch(Generic[T]):
    """The outcome of a `map`: results and dead letters.

    `map` makes it. To test a function that takes a Batch, make one: `Batch(["a", "b"], [])`.

    Args:
        results: the results of the items that succeeded, in the order of the input. They are read from the state file
            when they are accessed; `list(batch.results)` reads all of them.
        dead: the dead letters of the items that failed for good, in the order of the input.
        skipped: how many items had ended in an earlier process and were not run again.
    """

    results: Sequence[T]
    dead: Sequence[DeadLetter]
    skipped: int

    def __init__(self, results: Sequence[T], dead: Sequence[DeadLetter], skipped: int = 0) -> None:
        self.results = results
        self.dead = dead
        self.skipped = skipped

    @property
    def ok(self) -> bool:
        """True if every item succeeded, that is if there is no dead letter."""
        return not self.dead

    def raise_if_dead(self) -> None:
        """Raise HasDeadLetters if an item failed for good.

        Raises:
            HasDeadLetters: at least one item failed for good; the message names up to five.
        """
        if self.dead:
            first = "\n".join(f"    {letter.step}{letter.input}: {letter.error}" for letter in self.dead[:5])
            numbers = [str(letter.letter) for letter in self.dead if letter.letter is not None]
            which = " ".join(numbers) if 0 < len(numbers) <= NAMED else "--all"
            raise HasDeadLetters(
                f"{len(self.dead)} of {len(self.dead) + len(self.results)} items failed for good\n{first}",
                f"`perdure dlq ls` lists them; once the cause is fixed, `perdure dlq redrive {which}` runs them again; "
                "then resume the run",
            )

    def __iter__(self) -> NoReturn:
        """It is no list: some of the items may have failed.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "a batch is not the list of its results: items may have failed for good, and have none",
            "use batch.results, and look at batch.dead, or call batch.raise_if_dead(), before",
        )

    def __getitem__(self, place: object) -> NoReturn:
        """The same."""
        self.__iter__()

    def __repr__(self) -> str:
        return f"<batch: {len(self.results)} done, {len(self.dead)} dead, {self.skipped} skipped>"


def batch_of(tally: Tally, reader: Reader, spec: Spec) -> Batch[Any]:
    """The batch that a tally counts: results and dead letters are read from the state file."""
    dead = [_letter(reader, seq) for seq in tally.letters()]
    return Batch(Results(tally.results(), reader, spec.plan), dead, tally.skipped)


def _letter(reader: Reader, seq: int) -> DeadLetter:
    record = reader.record(seq)
    attempts = [_line(attempt.error) for attempt in reader.attempts(record)]
    given = secrets.describe_inputs(record.input)
    return DeadLetter(
        step=record.name,
        input=given,
        error=_line(record.output),
        attempts=attempts,
        started=record.started,
        letter=reader.letter(seq),
    )


def _line(error: bytes) -> str:
    return capture.decode(error).line
