"""Which exception is which failure of a step of a run, for as long as there is that exception."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from perdure.core.exceptions.rebuild import FAILURES


class Failure(msgspec.Struct, eq=False):
    """A step has failed for good, and the record with the number `seq` says so; `replayed`: it was there before.

    `verdict` is what is known of it, packed.
    """

    seq: int
    replayed: bool = False
    verdict: bytes | None = None


class Failures:
    """Those of one run; `numbers` are those of their records.

    Which they are hangs on their exceptions, and these are not kept here: a workflow that handles one failure after the
    other, for days, lets go of each, with the values of the frames that it came through.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def add(self, error: BaseException, failure: Failure) -> None:
        """A step has failed with that; not for the first time, perhaps."""
        contents = object.__getattribute__(error, "__dict__")
        if type(contents.get(FAILURES)) is not _ByRun:
            contents[FAILURES] = _ByRun()
        contents[FAILURES].setdefault(self, []).append(failure)
        self.numbers.append(failure.seq)

    def of(self, error: BaseException) -> Sequence[Failure]:
        """Which of them that exception is."""
        found = object.__getattribute__(error, "__dict__").get(FAILURES)
        return found.get(self, ()) if type(found) is _ByRun else ()


class _ByRun(WeakKeyDictionary[Failures, list[Failure]]):
    """The failures that an exception is: of a step of a child run, say, and of the step that the child run is."""

    def __reduce__(self) -> Any:
        return dict, ()  # a copy of the exception, in another process, say, is another one

    def __deepcopy__(self, memo: Any) -> Any:
        return {}
