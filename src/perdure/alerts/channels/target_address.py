"""The addresses of alert targets, parsed: which channel each is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from perdure.alerts.channels import telegram
from perdure.alerts.channels.apprise_channel import SCHEME, AppriseTarget
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.command import Command
from perdure.alerts.channels.telegram import Telegram
from perdure.alerts.channels.webhook import Webhook
from perdure.errors import OptionError

TELEGRAM: Final = "telegram"

_SEPARATOR = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://|exec:|telegram(?:[\s,]|\Z))")
"""A new target begins where a scheme does: a command's arguments and a comma in an address are no separators."""
_BOT = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")
_CHAT = re.compile(r"-?[0-9]+|@?[A-Za-z][A-Za-z0-9_]*")


def parse(texts: str | Sequence[str]) -> list[Target]:
    """The targets that are named.

    Args:
        texts: each holds one target or several, separated by spaces or commas: `exec:/path arguments`, `https://...`
            or `webhook+https://...` (a webhook), `tgram://TOKEN/CHAT`, `telegram` (from ALERT_TELEGRAM_TOKEN and
            ALERT_CHAT_ID), or any address that Apprise knows. Of two that are the same, one counts.

    Raises:
        OptionError: one of them is none of these. The text of the error holds no address.
    """
    found: dict[str, Target] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        for one in _SEPARATOR.split(text.strip(" \t\r\n,")):
            for target in _targets(one):
                found.setdefault(target.digest, target)
    return list(found.values())


def _targets(text: str) -> list[Target]:
    if not text:
        return []
    if text == TELEGRAM:
        return [telegram.from_environment() or telegram.Unset()]
    if text.startswith("exec:"):
        return [_command(text[5:])]
    scheme = SCHEME.match(text)
    if scheme is None or len(text) == scheme.end():
        raise OptionError(
            f"an alert target is not an address ({len(text)} characters, not shown: they may be secret)",
            "give https://host/path, exec:/path/to/program, or an address that Apprise knows",
        )
    kind = scheme[1].lower()
    if kind in ("http", "https", "webhook+http", "webhook+https"):
        return [_webhook(kind.removeprefix("webhook+") + text[scheme.end() - 3 :])]
    return (kind == "tgram" and _telegrams(text[scheme.end() :])) or [AppriseTarget(text)]


def _command(text: str) -> Target:
    try:
        return Command(text)
    except (ValueError, IndexError) as error:
        what = "no program" if isinstance(error, IndexError) else f"arguments that cannot be read: {error}"
        raise OptionError(
            f"an alert target exec: names {what}", "give a program, such as exec:/usr/local/bin/send-alert"
        ) from None


def _webhook(url: str) -> Target:
    try:
        target = Webhook(url)
        if urlsplit(url).hostname:
            return target
    except ValueError:
        pass
    raise OptionError("the address of a webhook for alerts is not valid", "give one such as https://example.org/alerts")


def _telegrams(rest: str) -> list[Target]:
    """What Apprise writes as tgram://TOKEN/CHAT/CHAT, where there is nothing else to it; `?api=` is our own."""
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    token, *chats = [unquote(part) for part in path.strip("/").split("/")]
    if set(options) - {"api"} or not chats or not _BOT.fullmatch(token) or not all(map(_CHAT.fullmatch, chats)):
        return []
    return [Telegram(token, chat, options.get("api", telegram.API)) for chat in chats]
