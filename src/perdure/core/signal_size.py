"""How large the value of a signal may be, and a published one."""

from __future__ import annotations

from perdure.errors import TooLarge

LARGEST_SENT = 1_000_000
"""Bytes of the value of a signal, or of a published one, packed. What is larger lies in a file."""


def refuse_large(what: str, value: bytes) -> None:
    """Make sure that a packed value is not too large to be sent, or published.

    Args:
        what: what it is, in words.
        value: packed.

    Raises:
        TooLarge: it is.
    """
    if len(value) > LARGEST_SENT:
        raise TooLarge(
            f"{what} takes {len(value):,} bytes, more than {LARGEST_SENT:,}",
            "keep large data in a file or an object store, and say where it is",
        )
