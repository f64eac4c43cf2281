"""The record of a wait for the first of several: what won, with what it carries, which is packed in itself.

What is packed inside of a record is not seen by what shows the record, and a credential in it is not found:
`returned` is what people see.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from perdure.core.records import is_time
from perdure.core.values.codec import pack_value
from perdure.core.values.extensions import INSTANCE, Ext, encode

WAIT_ANY: Final = "perdure.wait_any"
"""The name of its records."""

_UNREADABLE: Final = b"\xc1"
"""A byte that no packed value begins with."""


class Winner(NamedTuple):
    """What a wait for the first of several came to.

    `wait` says what has won, `position` where it stood, `at` is when it came about in seconds since the epoch, `status`
    how a run has ended ("done" for all else), `value` what it carries, packed.
    """

    wait: str
    position: int
    at: float
    status: str
    value: bytes


def pack(winner: Winner) -> bytes:
    """The record."""
    return msgspec.msgpack.encode(winner)


def unpack(data: bytes) -> Winner:
    """What a record says.

    Raises:
        msgspec.DecodeError: it is no such record.
    """
    return msgspec.msgpack.decode(data, type=Winner)


def returned(kind: str, name: str, output: bytes) -> bytes:
    """The packed result of a call as people see it: of a wait for the first of several with its payload unpacked."""
    if kind != "builtin" or name != WAIT_ANY:
        return output
    try:
        if isinstance(msgspec.msgpack.decode(output), Ext):
            return output  # what stands in for a record that cannot be read
        won = unpack(output)
    except msgspec.DecodeError:
        return _UNREADABLE * len(output)  # as it stands it may show what is secret
    at = datetime.fromtimestamp(won.at, UTC) if is_time(won.at) else None
    fields = {
        "wait": won.wait.rstrip(),
        "value": msgspec.Raw(won.value),
        "at": msgspec.Raw(pack_value(at, owner=WAIT_ANY)),
        "status": won.status,
    }
    return encode(Ext(INSTANCE, encode(["Won", fields])))
