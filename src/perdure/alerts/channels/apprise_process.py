"""The process in which Apprise sends one alert: the order on standard input, the outcome on standard output."""

from __future__ import annotations

import logging
import os
import sys
from threading import Timer
from typing import Any

import msgspec

from perdure.alerts.channels.apprise_channel import Order, Outcome
from perdure.alerts.channels.send_timeout import SECONDS

LATE = f"no answer within {SECONDS:g} s"


def main() -> None:
    """Send what standard input asks for."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    import apprise

    deadline = Timer(SECONDS, _tell, (Outcome(False, LATE),))
    deadline.daemon = True
    deadline.start()
    _tell(send(apprise, order))


def send(apprise: Any, order: Order) -> Outcome:
    """Send it by this module."""
    heard = _Heard()
    logging.getLogger("apprise").addHandler(heard)
    asset = apprise.AppriseAsset(async_mode=False, app_id="perdure", app_desc="perdure", app_url="")
    service = apprise.Apprise.instantiate(order.url, asset=asset)
    if service is None:
        return Outcome(False, f"Apprise does not understand the address: {heard.last or 'an unknown kind'}")
    channel = apprise.Apprise(asset=asset)
    channel.add(service)
    sent = channel.notify(
        body=order.body, title=order.title, notify_type=order.kind, body_format=apprise.NotifyFormat.TEXT
    )
    return Outcome(True) if sent else Outcome(False, heard.last or "not delivered; Apprise does not say why")


def _tell(outcome: Outcome) -> None:
    # Whatever is still under way, this is the end: its threads are not waited for.
    os.write(1, msgspec.json.encode(outcome))
    os._exit(0)


class _Heard(logging.Handler):
    """What Apprise logs: it returns no reasons."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


if __name__ == "__main__":
    main()
