"""Alerts by a Telegram bot."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target, what_to_do
from perdure.errors import AlertError

API: Final = "https://api.telegram.org"

_HINTS = {
    400: "check the chat id; add the bot to the chat, or write to it first",
    401: "check the bot's token: it is wrong or was revoked",
    403: "add the bot to the chat again, or write to it first",
    404: "check the bot's token",
}


class _Parameters(msgspec.Struct):
    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


class _Answer(msgspec.Struct):
    """https://core.telegram.org/bots/api#making-requests"""

    ok: bool
    description: str = ""
    error_code: int = 0
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class Telegram(Target):
    """A chat of a Telegram bot.

    The text goes as it is, without a parse_mode, so there is no markup in it that could be wrong
    (https://core.telegram.org/bots/api#sendmessage).

    Args:
        token: the bot's.
        chat: the number of a chat, or the @name of a channel.
        api: the address of a Bot API server.
    """

    def __init__(self, token: str, chat: str, api: str = API) -> None:
        self._api = api.rstrip("/")
        self._token = token
        self._chat = chat if chat.lstrip("-").isdecimal() or chat.startswith("@") else f"@{chat}"
        # Without the token: an alert that waits is still for this chat when the token has been renewed.
        super().__init__(f"telegram chat {self._chat}", f"telegram {self._api} {self._chat}", [token])

    def _deliver(self, alert: Alert, text: str) -> None:
        try:
            self._ask(self._chat, text)
        except AlertError as error:
            if not error.refused:
                raise
            self._ask(self._chat, alert.plainest())

    def _ask(self, chat: str, text: str, moved: bool = False) -> None:
        from perdure.alerts.channels import http

        body = msgspec.json.encode({"chat_id": chat, "text": text, "link_preview_options": {"is_disabled": True}})
        url = f"{self._api}/bot{self._token}/sendMessage"
        answer = http.post(url, body, {"Content-Type": "application/json"})
        try:
            reply = msgspec.json.decode(answer.body, type=_Answer)
        except msgspec.DecodeError:
            raise AlertError(
                f"answered {answer.status}, but not as Telegram does",
                f"check the address of the Bot API server: {self._api}",
            ) from None
        if reply.ok:
            return
        if reply.parameters.migrate_to_chat_id and not moved:  # the group has become a supergroup
            self._ask(str(reply.parameters.migrate_to_chat_id), text, moved=True)
            return
        raise AlertError(
            f"Telegram answered {reply.error_code or answer.status}: {reply.description}",
            _HINTS.get(reply.error_code, what_to_do(reply.error_code or answer.status)),
            retry_after=reply.parameters.retry_after or answer.retry_after,
            refused=reply.error_code == 400 and "chat not found" not in reply.description,
        )


def from_environment() -> Telegram | None:
    """The chat that ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID name, at ALERT_TELEGRAM_API if that is set.

    None unless both are set.
    """
    token, chat = os.environ.get("ALERT_TELEGRAM_TOKEN", "").strip(), os.environ.get("ALERT_CHAT_ID", "").strip()
    return Telegram(token, chat, os.environ.get("ALERT_TELEGRAM_API") or API) if token and chat else None


class Unset(Target):
    """Telegram without a bot and a chat: sending reports that, and the script runs all the same."""

    ready = False

    def __init__(self) -> None:
        super().__init__("telegram", "telegram unset")

    def _deliver(self, alert: Alert, text: str) -> None:
        raise AlertError("no bot and no chat are set", "set ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID")
