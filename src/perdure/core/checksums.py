"""Checksums over the rows of a state file: SQLite does not notice flipped bytes, and edits from outside even less.

Each is over the whole row, what it is about and whose it is included: a row that was changed in any column, or that
stands under another's number, does not match. docs/decisions/0023-every-row-under-a-checksum.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from zlib import crc32

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_numbers = Struct("<dqq").pack
_HIGH = 0x7FFF_FFFF


def row_checksum(*values: object) -> int:
    """CRC-32 over the values of a row. Integers and floats differ: a caller passes what SQLite will give back."""
    return crc32(_encode(values))


def step_checksum(
    run: int,
    seq: int,
    name: str,
    key: bytes,
    n: int,
    status: str,
    given: bytes,
    output: bytes,
    started: float,
    ms: int,
    attempts: int,
    kind: str,
) -> int:
    """Of a step's row, in the order of its columns: the identity's in the upper half, all of the row's in the lower."""
    head = crc32(_encode((run, seq, name, key, n, status, kind))) & _HIGH
    return head << 32 | crc32(output, crc32(given, crc32(_numbers(started, ms, attempts), head)))


def step_identities(*columns: Sequence[object]) -> list[int]:
    """The upper halves of many steps' checksums: over what finds their records, so that payloads need not be read.

    Args:
        columns: run, number, name, key, occurrence, status and kind. A function entered for each row would cost more
            than the rest.
    """
    return [crc & _HIGH for crc in map(crc32, map(_encode, zip(*columns, strict=True)))]


def step_checksums(
    run: Sequence[int],
    seq: Sequence[int],
    name: Sequence[str],
    key: Sequence[bytes],
    n: Sequence[int],
    status: Sequence[str],
    given: Sequence[bytes],
    output: Sequence[bytes],
    started: Sequence[float],
    ms: Sequence[int],
    attempts: Sequence[int],
    kind: Sequence[str],
) -> list[int]:
    """`step_checksum` of many rows, by their columns."""
    heads = step_identities(run, seq, name, key, n, status, kind)
    tails = map(crc32, output, map(crc32, given, map(crc32, map(_numbers, started, ms, attempts), heads)))
    return [head << 32 | tail for head, tail in zip(heads, tails, strict=True)]


def marked(crc: int, lives: int | None, keyed: int | None, *more: object) -> int:
    """A step's checksum once its row has marks or `more`, in the lower half; a row without any keeps its own."""
    if more.count(None) != len(more):
        return crc ^ crc32(_encode((lives, keyed, *more)), crc & 0xFFFF_FFFF)
    if lives is None and keyed is None:
        return crc
    return crc ^ crc32(_encode((lives, keyed)), crc & 0xFFFF_FFFF)


def with_spent(crc: int, spent: str) -> int:
    """`marked` for a row that says nothing more than what was spent."""
    return crc ^ crc32(_encode((None, None, None, None, None, None, spent)), crc & 0xFFFF_FFFF)


def attempt_checksum(
    run: int,
    epoch: int,
    name: str,
    key: bytes,
    n: int,
    number: int,
    counted: bool | int,
    given: bytes,
    error: bytes,
    started: float,
    ms: int,
    verdict: bytes | None = None,
    delay: float | None = None,
    delayed_by: str | None = None,
) -> int:
    """Of an attempt's row, in the order of its columns; one without a verdict has that of before there were any."""
    more: tuple[object, ...] = () if verdict is None else (verdict,)
    if delay is not None or delayed_by is not None:
        more = (verdict, None if delay is None else float(delay), delayed_by)
    return row_checksum(run, epoch, name, key, n, number, int(counted), given, error, float(started), ms, *more)
