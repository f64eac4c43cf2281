"""Inputs of which a text and a digest are kept: enough to see what they were, and whether others are the same."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.core.values.describe import describe_inputs
from perdure.core.values.extensions import DIGESTED, Ext, encode
from perdure.core.values.pieces import digest

LONGEST: Final = 2_000
"""Bytes of inputs that are kept as they are, and characters of the text that is kept of others."""

_decode: Final = msgspec.msgpack.Decoder().decode
_HEADERS: Final = {0xC7: 2, 0xC8: 3, 0xC9: 5}


def digested(given: bytes) -> bytes:
    """The text and the digest of packed inputs; dicts of another order have the same."""
    from perdure.core.values.canonical import canonical

    return encode(Ext(DIGESTED, encode([describe_inputs(given, LONGEST), len(given), digest(canonical(given))])))


def is_digested(given: bytes) -> bool:
    """Is it only a text and a digest?"""
    at = _HEADERS.get(given[0]) if given else None
    return at is not None and len(given) > at and given[at] == DIGESTED


def same_inputs(one: bytes, other: bytes) -> bool:
    """Whether two calls were given equal arguments, whatever the order of the dicts in them.

    Of each, no more than a digest may have been kept. Bytes that are damaged equal nothing but themselves.
    """
    if one == other:
        return True
    try:
        from perdure.core.values.canonical import canonical

        if is_digested(one) or is_digested(other):
            return _known_by(one) == _known_by(other)
        # Another order takes as much room.
        return len(one) == len(other) and canonical(one) == canonical(other)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, AttributeError):
        return False


def _known_by(given: bytes) -> list[Any]:
    if not is_digested(given):
        from perdure.core.values.canonical import canonical

        return [len(given), digest(canonical(given))]
    content: Any = _decode(_decode(given).data)
    return list(content[1:])
