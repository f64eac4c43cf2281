"""Alerts by a POST of JSON."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target, what_to_do
from perdure.alerts.sanitize import cut, one_line
from perdure.errors import AlertError

_REFUSED = {400, 413, 415, 422}
"""Statuses by which a server refuses this message, rather than the address or the moment (RFC 9110 15.5)."""


class Webhook(Target):
    """An address that takes JSON by POST: `title`, `text`, and every field of the alert."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        pieces = [unquote(piece) for piece in parts.path.split("/")] + [parts.path.strip("/"), parts.query]
        pieces += [value for _, value in parse_qsl(parts.query)]
        super().__init__(
            f"{parts.scheme}://{parts.hostname or ''}", url, [url, parts.password or "", parts.netloc, *pieces]
        )
        self._url = url

    def _deliver(self, alert: Alert, text: str) -> None:
        from perdure.alerts.channels import http

        headers = {"Content-Type": "application/json", "Idempotency-Key": alert.id}
        answer = http.post(self._url, msgspec.json.encode(alert.as_json()), headers)
        status = answer.status
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise AlertError(
                f"answered {status}, a redirect, which alerts do not follow", "set the address it leads to"
            )
        reply = one_line(answer.body.decode("utf-8", "replace"))
        raise AlertError(
            f"answered {status}{f': {cut(reply, 120)}' if reply else ''}",
            what_to_do(status),
            retry_after=answer.retry_after,
            refused=status in _REFUSED,
        )
