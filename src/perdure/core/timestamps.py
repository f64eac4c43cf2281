"""Times of the state file as dates; whatever a damaged file holds, nothing fails here."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(seconds: float | None) -> datetime | None:
    """The date in UTC, or None for no time and for one that is none.

    Args:
        seconds: since the epoch.
    """
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
