"""Alerts arrive whatever their text is: none is refused, lost or misread by any channel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from channels import chat, failed

from perdure.alerts.channels import apprise_process
from perdure.alerts.channels import http as request
from perdure.alerts.channels.target_address import parse
from sinks import CHAT, TOKEN, Sink, TelegramSink, hook, telegram

__all__ = ["hook", "telegram"]

NAUGHTY = Path(__file__).parents[1] / "naughty" / "blns.json"

NASTY = [
    "\ud800 lone",
    "\udfff",
    "a\x00b",
    "\x1b[2J\x1b[31mred",
    "\u202eevil\u202c",
    "\u2066x\u2069",
    "\ufeffBOM",
    "\r\n\r\n",
    "\x85",
    "_",
    "*",
    "`",
    "[",
    "](",
    "[a](http://x)",
    "_a*b`c[d",
    "**a",
    "__a__ _",
    "```",
    "\\",
    "\\_",
    "~~a",
    "||a||",
    "> q",
    "# h",
    "- l",
    "<",
    ">",
    "&",
    "<b>",
    "</b>",
    "<b",
    "<script>alert(1)</script>",
    "<!-- ",
    "<a href='x",
    "&lt;",
    "&#x0;",
    "&nosuch;",
    "<b><i></b></i>",
    ".!-=|{}()#+>",
    "%s%n%d",
    "{0}{}{x!r}",
    "$(reboot)",
    "`id`",
    "'; DROP TABLE runs;--",
    '" OR 1=1',
    '{"a": ',
    "]]>",
    "${jndi:ldap://x}",
    "x" * 100_000,
    "word " * 30_000,
    "\n" * 5000,
    "e\u0301" * 3000,
    "\U0001f469\u200d\U0001f467" * 2000,
    "\u0300" * 5000,
    "@everyone @here <!channel>",
    "\U000e0041",
    "\ue000",
    "\uffff",
    "\U0010ffff",
    "\u2028\u2029",
    "\u115f\u3164",
    "\t\t",
    "\x7f",
    "Z\u0351\u036b\u0343" * 400,
]


def texts() -> list[str]:
    """The big list of naughty strings, and some that are nastier."""
    return [*json.loads(NAUGHTY.read_text(encoding="utf-8")), *NASTY]


FORMS = ("text", "html", "markdown")
"""The formats that a channel of Apprise may have."""


def some(remainder: int) -> list[str]:
    """Those that are nastier, and every third of the list: with all three remainders, it is the whole of it."""
    return [*json.loads(NAUGHTY.read_text(encoding="utf-8"))[remainder::3], *NASTY]


def accept_json(hook: Sink) -> None:
    hook.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def takes_what_apprise_sends(request: pytest.FixtureRequest) -> None:
    if "apprise" in request.node.name and "hook" in request.fixturenames:
        accept_json(request.getfixturevalue("hook"))


def test_every_naughty_text_arrives_by_telegram(telegram: TelegramSink) -> None:
    """None is refused, none is empty or too long, and the commands are still there."""
    target = chat(telegram)
    for text in texts():
        target.send(failed(text, commands=(("resume", "perdure resume 7f3a9c"),)))
    assert telegram.refused == []
    assert len(telegram.texts) == len(texts()) > 500
    assert all("resume: perdure resume 7f3a9c" in text for text in telegram.texts)
    assert not any("parse_mode" in json.loads(body) for _, _, body in telegram.requests)


def test_a_parse_mode_would_have_lost_some(telegram: TelegramSink) -> None:
    """The control: the server does refuse these texts when they are sent as markup."""
    for mode in ("Markdown", "MarkdownV2", "HTML"):
        for text in texts():
            body = json.dumps({"chat_id": CHAT, "text": failed(text).text(), "parse_mode": mode}).encode()
            request.post(f"http://{telegram.address}/bot{TOKEN}/sendMessage", body)
            if telegram.refused:
                break
        assert any("can't parse entities" in text for text in telegram.refused)
        telegram.refused.clear()


def test_every_naughty_text_arrives_by_webhook_and_command(hook: Sink, tmp_path: Path) -> None:
    """As JSON by POST; a third of them on standard input and in PERDURE_ALERT of a program."""
    (webhook,) = parse(f"http://{hook.address}/x")
    for text in texts():
        webhook.send(failed(text))
    assert len(hook.texts) == len(texts())
    out = tmp_path / "out"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nprintf %s "$PERDURE_ALERT" >> {out}.json\necho >> {out}.json\ncat >> {out}\n')
    program.chmod(0o700)
    (command,) = parse(f"exec:{program}")
    sent = some(0)  # the same text for each channel: what may differ is quoting, and a program takes a while to start
    for text in sent:
        command.send(failed(text))
    arrived = [json.loads(line)["text"] for line in Path(f"{out}.json").read_text(encoding="utf-8").splitlines()]
    assert arrived == [text for text in arrived if text.startswith("ERROR: nightly failed")]
    assert len(arrived) == len(sent)
    assert out.read_text(encoding="utf-8") == "".join(text + "\n" for text in arrived)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise's own modules
@pytest.mark.parametrize(
    ("form", "sent"),
    [
        *((form, some(place)) for place, form in enumerate(FORMS)),
        *(pytest.param(form, texts(), marks=pytest.mark.long) for form in FORMS),
    ],
    ids=[*FORMS, *(f"{form}, all" for form in FORMS)],
)
def test_every_naughty_text_arrives_by_apprise(hook: Sink, form: str, sent: list[str]) -> None:
    """Whatever format the channel has; as one message each."""
    apprise = pytest.importorskip("apprise")
    took = []
    for text in sent:
        title, _, body = failed(text).text().partition("\n")
        url = f"json://{hook.address}/x?format={form}"
        took.append(apprise_process.send(apprise, apprise_process.Request(url, title, body, "failure")).sent)
    assert all(took)
    assert len(hook.requests) == len(sent)
    assert not any(json.loads(body)["message"].strip() == "" for _, _, body in hook.requests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("sent", [some(0), pytest.param(texts(), marks=pytest.mark.long)], ids=["some", "all"])
def test_every_naughty_text_arrives_by_the_telegram_of_apprise(
    telegram: TelegramSink, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    """Which sends HTML, so that an entity could be wrong."""
    apprise = pytest.importorskip("apprise")
    from apprise.plugins.telegram import NotifyTelegram

    monkeypatch.setattr(NotifyTelegram, "notify_url", f"http://{telegram.address}/bot")
    for text in sent:
        title, _, body = failed(text).text().partition("\n")
        apprise_process.send(
            apprise, apprise_process.Request(f"tgram://{TOKEN}/{CHAT}?silent=yes", title, body, "failure")
        )
    assert telegram.refused == []
    assert len(telegram.texts) == len(sent)


def test_apprise_runs_in_a_process_of_its_own(hook: Sink) -> None:
    """The text arrives whole, without what would ring everybody's phone, and its packages are not loaded here."""
    pytest.importorskip("apprise")
    (target,) = parse(f"json://{hook.address}/x")
    target.send(failed("Bad: <b>_*`[ @everyone <!channel>", commands=(("resume", "perdure resume 7f3a9c"),)))
    ((_, _, body),) = hook.requests
    message = json.loads(body)
    assert message["title"] == "ERROR: nightly failed in step charge"
    assert "resume: perdure resume 7f3a9c" in message["message"]
    assert "Bad: <b>_*`[" in message["message"]
    assert "@everyone" not in message["message"]
    assert "<!channel>" not in message["message"]
