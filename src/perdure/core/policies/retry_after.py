"""How long a server asks to wait: Retry-After and its kin in the headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime


def named_delay(header: Callable[[str], str | None], status: int | None, now: float) -> float | None:
    """How many seconds the server asked to wait.

    Args:
        header: the value of a header of the answer by its name in lower case; None if it has none of that name.
        status: the HTTP status of the answer.
        now: seconds since the epoch.

    Returns:
        seconds from now; None if the server asked for nothing that can be understood.
    """
    # Azure's and OpenAI's finer form comes first, as in their own clients.
    milliseconds = _number(header("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = header("retry-after")
    wait = _number(value)
    if wait is None and value is not None:
        date = _http_date(value)
        # Counted from the server's own clock where it sends it: ours may be wrong.
        wait = max(0.0, date - (_http_date(header("date") or "") or now)) if date is not None else None
    if wait is None and status in (403, 429) and header("x-ratelimit-remaining") == "0":
        # GitHub's form: the second at which the limit is lifted. Others send the seconds that are left.
        reset = _number(header("x-ratelimit-reset"))
        wait = max(0.0, reset - now) if reset is not None and reset > 1e9 else reset
    return wait


def _number(text: str | None) -> float | None:
    """Delta-seconds of RFC 9110 section 10.2.3, with the decimals that some servers add."""
    if text is None or re.fullmatch(r"[0-9]{1,300}(\.[0-9]{1,300})?", text) is None:
        return None
    return float(text)


def _http_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP-date in any of the three forms of RFC 9110 section 5.6.7."""
    if not text or len(text) > 100:
        return None
    # Imported here: email.utils is heavy, and few servers answer with a date.
    import email.utils

    try:
        parts = email.utils.parsedate_tz(text)
        if parts is None:
            return None
        # The asctime form names no zone; an HTTP-date is in GMT always.
        # A leap second is 60, which RFC 9110 allows and datetime does not.
        return datetime(*parts[:5], min(parts[5], 59), tzinfo=UTC).timestamp() - (parts[9] or 0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
