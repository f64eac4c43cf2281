"""What is written down of a dead letter."""

from __future__ import annotations

from typing import Literal, Self, get_args

import msgspec

from perdure.core.checksums import row_checksum
from perdure.core.records import is_time

LetterStatus = Literal["parked", "resolved", "dropped", "evicted", "superseded"]
_STATUSES = frozenset(get_args(LetterStatus))

WHOLE_RUN = 0
"""The number of the record, for a dead letter that stands for its run as a whole."""


class LetterRecord(msgspec.Struct, frozen=True):
    """A dead letter. `run` and `holder` are row numbers, `seq` is the number of the step's record.

    `input` is the edited input, `result` what a redrive came to, `exported` None if it is not to be exported. `error`
    is the class of the failure, and letters of one `fingerprint` (8 bytes) have one reason; None in rows of before.
    """

    lid: int
    run: int
    seq: int
    status: LetterStatus
    created: float
    changed: float
    redriven: int
    holder: int | None
    input: bytes | None
    result: bytes | None
    exported: int | None
    crc: int
    error: str | None = None
    fingerprint: bytes | None = None

    def checksum(self) -> int:
        """What `crc` is."""
        about = (self.lid, self.run, self.seq, self.status, float(self.created), float(self.changed), self.redriven)
        more = () if self.error is None and self.fingerprint is None else (self.error, self.fingerprint)
        return row_checksum(*about, self.holder, self.input, self.result, self.exported, *more)

    def sealed(self) -> Self:
        """The record, under a checksum of what it says now."""
        return msgspec.structs.replace(self, crc=self.checksum())

    def intact(self) -> bool:
        """Is it as it was written?"""
        times = is_time(self.created) and is_time(self.changed)
        return self.crc == self.checksum() and self.status in _STATUSES and times
