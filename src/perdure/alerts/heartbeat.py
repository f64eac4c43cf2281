"""The dead-man's switch: pings to a service that raises the alarm when it hears nothing.

The form is that of https://healthchecks.io/docs/http_api/: URL/start, URL for success, URL/fail; `rid`, a UUID, ties
the start of a run to its end; the body is kept as a log, its first 100 kB.
"""

from __future__ import annotations

import logging
import uuid
from typing import Literal
from urllib.parse import urlsplit

from perdure.alerts.channels.send_timeout import SECONDS
from perdure.alerts.sanitize import clean
from perdure.errors import AlertError

LOG = 100_000
"""Bytes."""

Signal = Literal["start", "success", "fail"]

_logger = logging.getLogger("perdure")


def ping(url: str, signal: Signal, run: str = "", log: str = "", *, seconds: float = SECONDS) -> bool:
    """Report that a run started, succeeded or failed. Never raises; a failure is logged.

    Args:
        url: the address of the check.
        signal: which of them.
        run: the id of the run; sent as a UUID that is always the same for it.
        log: a text to send with it, redacted; the first 100 kB are sent.
        seconds: how long it may take.

    Returns:
        Whether the service accepted it.
    """
    try:
        from perdure.alerts.channels import http

        body = clean(log, LOG).encode()[:LOG] if log else None
        answer = http.post(_address(url, signal, run), body, {"Content-Type": "text/plain"}, seconds=seconds)
        if 200 <= answer.status < 300:
            return True
        why = f"answered {answer.status}"
    except AlertError as error:
        why = error.what
    except Exception as error:  # noqa: BLE001  a heartbeat must not harm a run
        why = type(error).__name__
    _logger.warning("heartbeat %r not delivered: %s", signal, why)
    return False


def run_uuid(run: str) -> str:
    """The UUID of a run: a name-based one (RFC 9562 5.5), so that it is the same in every process."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"perdure:{run}"))


def _address(url: str, signal: Signal, run: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + ("" if signal == "success" else f"/{signal}")
    query = "&".join(part for part in (parts.query, f"rid={run_uuid(run)}" if run else "") if part)
    return parts._replace(path=path, query=query).geturl()
