"""The process in which Apprise sends one alert: the request on standard input, the outcome on standard output."""

from __future__ import annotations

import logging
import os
import sys
from threading import Timer
from typing import Any

import msgspec

from perdure.alerts.channels.apprise_channel import Outcome, Request
from perdure.alerts.channels.send_timeout import SECONDS

LATE = f"no answer within {SECONDS:g} s"


def main() -> None:
    """Send what standard input asks for."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    import apprise

    deadline = Timer(SECONDS, _answer, (Outcome(False, LATE),))
    deadline.daemon = True
    deadline.start()
    _answer(send(apprise, request))


def send(apprise: Any, request: Request) -> Outcome:
    """Send it by the module `apprise`."""
    warnings = _LastWarning()
    logging.getLogger("apprise").addHandler(warnings)
    asset = apprise.AppriseAsset(async_mode=False, app_id="perdure", app_desc="perdure", app_url="")
    service = apprise.Apprise.instantiate(request.url, asset=asset)
    if service is None:
        return Outcome(False, f"Apprise does not understand the address: {warnings.last or 'an unknown kind'}")
    channel = apprise.Apprise(asset=asset)
    channel.add(service)
    sent = channel.notify(
        body=request.body, title=request.title, notify_type=request.kind, body_format=apprise.NotifyFormat.TEXT
    )
    return Outcome(True) if sent else Outcome(False, warnings.last or "not delivered; Apprise does not say why")


def _answer(outcome: Outcome) -> None:
    # Ends at once: the threads of Apprise may hang.
    os.write(1, msgspec.json.encode(outcome))
    os._exit(0)


class _LastWarning(logging.Handler):
    """The last warning that Apprise logs: it returns no reasons."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


if __name__ == "__main__":
    main()
