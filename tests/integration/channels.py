"""What the tests of channels share: an alert, a chat on this machine, and the error of a target that fails."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.target_address import parse
from perdure.errors import AlertError
from sinks import CHAT, TOKEN, Sink


def chat(sink: Sink) -> Target:
    return parse(f"tgram://{TOKEN}/{CHAT}?api=http://{sink.address}")[0]


def failed(error: str, **more: Any) -> Alert:
    return Alert(what="failed", workflow="nightly", step="charge", run="7f3a9c", error=error, **more)


def refusal(target: Target, alert: Alert | None = None) -> AlertError:
    with pytest.raises(AlertError) as caught:
        target.send(alert or failed("KeyError: 1"))
    return caught.value
