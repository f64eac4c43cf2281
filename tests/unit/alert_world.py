"""What the tests of the spool share: targets that keep what they are sent, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.errors import AlertError


class Chat(Target):
    """A target that keeps what it is sent; `trouble` is what it answers instead."""

    def __init__(self, name: str = "chat") -> None:
        super().__init__(name, f"https://example.org/{name}/top-secret-token")
        self.got: list[Alert] = []
        self.trouble: Callable[[Alert], AlertError | None] = lambda _: None
        self.asked = 0

    def _deliver(self, alert: Alert, text: str) -> None:
        self.asked += 1
        error = self.trouble(alert)
        if error is not None:
            raise error
        self.got.append(alert)

    @property
    def said(self) -> list[str]:
        return [alert.error for alert in self.got]


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


def failed(error: str, workflow: str = "nightly") -> Alert:
    return Alert(what="failed", workflow=workflow, error=error)


def by_digest(*chats: Chat) -> dict[str, Target]:
    return {chat.digest: chat for chat in chats}


def down(_: Alert) -> AlertError:
    return AlertError("down")
