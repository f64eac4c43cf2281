"""How large the value of a signal may be, and a published one."""

from __future__ import annotations

from perdure.errors import TooLarge

LARGEST_SENT = 1_000_000
"""Bytes of the value of a signal, or of a published one, packed. What is larger lies in a file."""


def check_signal(event: str, value: bytes) -> None:
    """Return if the packed value of a signal is not too large.

    Raises:
        TooLarge: it is.
    """
    if len(value) > LARGEST_SENT:
        raise TooLarge(
            f"the value of signal {event!r} takes {len(value):,} bytes, more than {LARGEST_SENT:,}",
            "keep large data in a file or an object store, and send where it is",
        )
