"""Large payloads in pieces: cut where the content says so, so that what two of them have in common is the same piece.

A list that grows by an item each time, or a result that is given on as an argument, then costs only what is new. The
pieces joined are the payload: nothing needs to be known of what it holds. What stands in its place is a *manifest*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import msgspec

from perdure.core.digests import blake2b
from perdure.core.patterns import later
from perdure.core.values.extensions import APART, Ext, encode

INLINE: Final = 8_192
"""Payloads of up to so many bytes stay as they are."""

DIGEST: Final = 16
"""Bytes of a piece's digest."""

MOST_LEVELS: Final = 4
MOST_BYTES: Final = 1 << 31

_SHORTEST: Final = 4_096
_LONGEST: Final = 32_768
_WINDOW: Final = 32
_MASK: Final = 255
_TRIES: Final = 512
# Where a piece may end: behind one byte of some that are common in text, JSON, base64, hexadecimal
# digits and binary data. The bytes before decide: it ends there if their checksum has eight zero bits.
_candidates: Final = later(rb'[" \n.,+Q7\x01-\x08\xf0-\xf7]')

IN_FILE: Final = -1
"""The level of a manifest whose payload lies in a file of its own."""

FILE_DIGEST: Final = 32
"""Bytes of the digest that such a file is named by."""


class Large(bytes):
    """A payload that is to lie in a file of its own, where the store has files."""

    __slots__ = ()


Piece = tuple[bytes, bytes]
"""A digest and the bytes that have it."""


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What is stored in the place of a payload.

    `size` is that of the payload in bytes; `digests` are those of its pieces, one after the other. With `level` 1 or
    more they are of pieces of such a list of digests. With `level` IN_FILE it is the one digest of a file.
    """

    size: int
    level: int
    digests: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_ext: Final = msgspec.msgpack.Decoder(Ext).decode
# How the header of an extension begins, and at which byte its code stands.
_CODE_AT: Final = {0xC7: 2, 0xC8: 3, 0xC9: 5}
MAY_BE_APART: Final = frozenset(bytes([head]) for head in _CODE_AT)
"""The first byte of a manifest is one of these; so are those of some other payloads."""


def digest(data: bytes) -> bytes:
    """What a piece is known by: 16 bytes of BLAKE2b (RFC 7693)."""
    return blake2b(data, digest_size=DIGEST).digest()


def cut(data: bytes, alike: Sequence[Piece] = ()) -> list[Piece]:
    """The pieces of `data`, 4 to 32 kB each. Where one ends depends on what is near alone.

    Args:
        data: what is cut.
        alike: the pieces of something that may be nearly the same, which is found out faster than cutting it.
    """
    pieces: list[Piece] = []
    start, size = 0, len(data)
    known = {key: number for number, (key, _) in enumerate(alike)}
    number, last = 0, len(alike) - 1  # the last one ended because the data did
    while size > start:
        if number < last and data.startswith(alike[number][1], start):
            piece = alike[number]
            number += 1
        else:
            part = data[start : _end(data, start, size)]
            piece = digest(part), part
            number = known.get(piece[0], number) + 1
        pieces.append(piece)
        start += len(piece[1])
    return pieces


def _end(data: bytes, start: int, size: int) -> int:
    """Where the piece that begins at `start` ends."""
    stop = min(start + _LONGEST, size)
    left = _TRIES
    for match in _candidates.finditer(data, start + _SHORTEST, stop):
        at = match.end()
        left -= 1
        if not left or not crc32(data[at - _WINDOW : at]) & _MASK:
            return at
    return stop


def manifest_of(size: int, pieces: list[Piece]) -> tuple[bytes, dict[bytes, bytes]]:
    """The manifest of a payload of so many bytes, and all pieces that it needs, each of them once."""
    found: dict[bytes, bytes] = {}
    level = 0
    while True:
        found.update(pieces)
        digests = b"".join([key for key, _ in pieces])
        if len(digests) <= INLINE // 2:
            return encode(Ext(APART, _encode(Manifest(size, level, digests)))), found
        # By number and not by content: a list that grows at its end keeps those before.
        parts = [digests[first : first + INLINE // 2] for first in range(0, len(digests), INLINE // 2)]
        pieces = [(digest(part), part) for part in parts]
        level += 1


def in_file(payload: bytes) -> tuple[bytes, str]:
    """The manifest of a payload that lies in a file of its own, and what that file is called."""
    name = blake2b(payload, digest_size=FILE_DIGEST).digest()
    return encode(Ext(APART, _encode(Manifest(len(payload), IN_FILE, name)))), name.hex()


def is_apart(payload: bytes) -> bool:
    """Is it a manifest?"""
    at = _CODE_AT.get(payload[0]) if payload else None
    return at is not None and len(payload) > at and payload[at] == APART


def manifest(payload: bytes) -> Manifest:
    """The manifest that is stored.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found = msgspec.msgpack.decode(_ext(payload).data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a manifest ({error})") from error
    sound = 0 <= found.size <= MOST_BYTES and IN_FILE <= found.level <= MOST_LEVELS
    whole = len(found.digests) == FILE_DIGEST if found.level == IN_FILE else not len(found.digests) % DIGEST
    if not sound or not whole:
        raise ValueError("not a manifest")
    return found


def split_digests(digests: bytes) -> list[bytes]:
    """The digests, one by one."""
    return [digests[first : first + DIGEST] for first in range(0, len(digests), DIGEST)]
