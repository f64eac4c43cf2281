"""Alerts reach their channels: whatever the text, whatever the channel does, once."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sinks import CHAT, TOKEN, Sink, TelegramSink, answering, serving

import perdure
from perdure.alerts import heartbeat, sender
from perdure.alerts.alert import Alert
from perdure.alerts.channels import apprise_process, send_timeout
from perdure.alerts.channels import http as request
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.target_address import parse
from perdure.alerts.spool import Spool
from perdure.errors import AlertError

SOURCE = Path(perdure.__file__).parents[1]
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


@pytest.fixture
def telegram() -> Iterator[TelegramSink]:
    with serving(TelegramSink()) as sink:
        yield sink  # type: ignore[misc]


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


def chat(sink: Sink) -> Target:
    return parse(f"tgram://{TOKEN}/{CHAT}?api=http://{sink.address}")[0]


def failed(error: str, **more: Any) -> Alert:
    return Alert(what="failed", workflow="nightly", step="charge", run="7f3a9c", error=error, **more)


def refusal(target: Target, alert: Alert | None = None) -> AlertError:
    with pytest.raises(AlertError) as caught:
        target.send(alert or failed("KeyError: 1"))
    return caught.value


# -- whatever the text ------------------------------------------------------------------------------------------------


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
        assert any("can't parse entities" in text for text in telegram.refused)
        telegram.refused.clear()


def test_every_naughty_text_arrives_by_webhook_and_command(hook: Sink, tmp_path: Path) -> None:
    """As JSON by POST; on standard input and in PERDURE_ALERT of a program."""
    (webhook,) = parse(f"http://{hook.address}/x")
    for text in texts():
        webhook.send(failed(text))
    assert len(hook.texts) == len(texts())
    out = tmp_path / "out"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nprintf %s "$PERDURE_ALERT" >> {out}.json\necho >> {out}.json\ncat >> {out}\n')
    program.chmod(0o700)
    (command,) = parse(f"exec:{program}")
    for text in texts():
        command.send(failed(text))
    told = [json.loads(line)["text"] for line in Path(f"{out}.json").read_text(encoding="utf-8").splitlines()]
    assert told == [text for text in told if text.startswith("ERROR: nightly failed")]
    assert len(told) == len(texts())
    assert out.read_text(encoding="utf-8") == "".join(text + "\n" for text in told)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise's own modules
@pytest.mark.parametrize("form", ["text", "html", "markdown"])
def test_every_naughty_text_arrives_by_apprise(hook: Sink, form: str) -> None:
    """Whatever format the channel has; as one message each."""
    apprise = pytest.importorskip("apprise")
    took = []
    for text in texts():
        title, _, body = failed(text).text().partition("\n")
        url = f"json://{hook.address}/x?format={form}"
        took.append(apprise_process.send(apprise, apprise_process.Order(url, title, body, "failure")).sent)
    assert all(took)
    assert len(hook.requests) == len(texts())
    assert not any(json.loads(body)["message"].strip() == "" for _, _, body in hook.requests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_naughty_text_arrives_by_the_telegram_of_apprise(
    telegram: TelegramSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which sends HTML, so that an entity could be wrong."""
    apprise = pytest.importorskip("apprise")
    from apprise.plugins.telegram import NotifyTelegram

    monkeypatch.setattr(NotifyTelegram, "notify_url", f"http://{telegram.address}/bot")
    for text in texts():
        title, _, body = failed(text).text().partition("\n")
        apprise_process.send(
            apprise, apprise_process.Order(f"tgram://{TOKEN}/{CHAT}?silent=yes", title, body, "failure")
        )
    assert telegram.refused == []
    assert len(telegram.texts) == len(texts())


def accept_json(hook: Sink) -> None:
    hook.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def takes_what_apprise_sends(request: pytest.FixtureRequest) -> None:
    if "apprise" in request.node.name and "hook" in request.fixturenames:
        accept_json(request.getfixturevalue("hook"))


def test_apprise_runs_in_a_process_of_its_own(hook: Sink) -> None:
    """The text arrives whole, without what would ring everybody's phone, and its packages are not loaded here."""
    pytest.importorskip("apprise")
    (target,) = parse(f"json://{hook.address}/x")
    target.send(failed("Bad: <b>_*`[ @everyone <!channel>", commands=(("resume", "perdure resume 7f3a9c"),)))
    ((_, _, body),) = hook.requests
    told = json.loads(body)
    assert told["title"] == "ERROR: nightly failed in step charge"
    assert "resume: perdure resume 7f3a9c" in told["message"]
    assert "Bad: <b>_*`[" in told["message"]
    assert "@everyone" not in told["message"]
    assert "<!channel>" not in told["message"]


def test_apprise_says_why_it_failed_without_the_address(hook: Sink) -> None:
    """A server that says no, an address that it does not know."""
    pytest.importorskip("apprise")
    hook.down = 500
    error = refusal(parse(f"json://user:sesame-open@{hook.address}/secret-path")[0])
    assert "500" in error.what
    assert "sesame" not in str(error)
    assert "secret-path" not in str(error)
    assert "understand the address" in refusal(parse("nosuchthing://hunter2hunter2")[0]).what


# -- whatever the channel does ----------------------------------------------------------------------------------------


def test_what_telegram_says_is_understood(telegram: TelegramSink) -> None:
    """429 names the pause; a wrong token, a wrong chat are explained; a group that moved is followed."""
    target = chat(telegram)
    answer = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 37}}
    telegram.next_answers = [(429, answer)]
    assert refusal(target).retry_after == 37
    wrong = parse(f"tgram://110201543:wrong-token/{CHAT}?api=http://{telegram.address}")[0]
    assert "token is wrong" in refusal(wrong).hint
    assert "wrong-token" not in str(refusal(wrong))
    elsewhere = parse(f"tgram://{TOKEN}/-5?api=http://{telegram.address}")[0]
    assert not refusal(elsewhere).refused
    assert "chat id" in refusal(elsewhere).hint
    moved = {"ok": False, "error_code": 400, "description": "x", "parameters": {"migrate_to_chat_id": int(CHAT)}}
    telegram.next_answers = [(400, moved)]
    elsewhere.send(failed("KeyError: 1"))
    assert len(telegram.texts) == 1


def test_a_text_that_telegram_refuses_is_sent_as_ascii(telegram: TelegramSink) -> None:
    """Once more, in the plainest form there is."""
    telegram.next_answers = [(400, {"ok": False, "error_code": 400, "description": "Bad Request: strange text"})]
    chat(telegram).send(failed("caf\u00e9"))
    assert telegram.texts == [telegram.texts[0]]
    assert telegram.texts[0].isascii()


def test_a_webhook_gets_everything_it_needs(hook: Sink) -> None:
    """Every field, the text to show, a key to tell a repeated one by, and the login of the address as a header."""
    (target,) = parse(f"webhook+http://bob:s%20e@{hook.address}/x?sig=1")
    alert = failed("KeyError: 1", code="state-drift", saved=3)
    target.send(alert)
    ((path, headers, body),) = hook.requests
    told = json.loads(body)
    assert path == "/x?sig=1"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"bob:s e").decode()
    assert headers["idempotency-key"] == told["id"] == alert.id
    assert (told["text"], told["workflow"], told["code"], told["saved"]) == (alert.text(), "nightly", "state-drift", 3)


def test_a_redirect_is_not_followed(hook: Sink) -> None:
    """The token in the address, the text and the login are for the host that was named."""
    with serving(Sink()) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            hook.next_answers = [(status, {"headers": {"Location": f"http://{elsewhere.address}/"}})]
            assert "redirect" in refusal(parse(f"http://bob:pass@{hook.address}/x")[0]).what
        hook.next_answers = [(302, {"headers": {"Location": f"http://{elsewhere.address}/"}})]
        refusal(chat(hook))
        assert elsewhere.requests == []


def silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def trickling(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def endless_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.05):
        connection.sendall(b"X-A")


@pytest.mark.parametrize("behave", [silent, trickling, endless_headers])
def test_a_server_that_never_finishes_is_given_up(behave: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline as a whole, not after a silence; the connection is closed and the thread ends."""
    with answering(behave) as port:
        began = time.monotonic()
        with pytest.raises(AlertError, match="no answer within"):
            request.post(f"http://127.0.0.1:{port}/", b"{}", seconds=0.4)
        assert time.monotonic() - began < 3
        until = time.monotonic() + 10
        while any(thread.name == "perdure alert" for thread in threading.enumerate()):
            assert time.monotonic() < until


def test_name_resolution_that_hangs_is_given_up_and_sends_nothing_late(
    hook: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket has a timeout then; when the answer comes after all, nothing is sent any more."""
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        release.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(AlertError, match="no answer within"):
        request.post(f"http://{hook.address}/x", b"{}", seconds=0.2)
    release.set()
    until = time.monotonic() + 10
    while any(thread.name == "perdure alert" for thread in threading.enumerate()):
        assert time.monotonic() < until
    assert hook.requests == []


def test_the_deadline_is_five_seconds() -> None:
    """For a program too, which is killed with what it started."""
    assert send_timeout.SECONDS == 5


def test_a_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the processes that it started; its exit code and last words are told."""
    from perdure.alerts.channels import command

    monkeypatch.setattr(command, "SECONDS", 0.5)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keeps = os.open(fifo, os.O_RDWR)
    assert "killed" in refusal(parse(f"exec:/bin/sh -c 'cat {fifo} & wait'")[0]).what
    os.close(keeps)
    assert "ended with 3: no such phone" in refusal(parse("exec:/bin/sh -c 'echo no such phone >&2; exit 3'")[0]).what
    assert "cannot be started" in refusal(parse("exec:/nosuchprogram")[0]).what


# -- once -------------------------------------------------------------------------------------------------------------


def run(code: str, folder: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **env},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


DELIVER = """
import os, sys
from pathlib import Path
from perdure.alerts.channels.target_address import parse
from perdure.alerts.alert import Alert
from perdure.alerts.spool import Spool
targets = parse(os.environ["TO"])
spool = Spool(Path("alerts"))
me = os.environ["ME"]
for n in range(int(os.environ["HOW_MANY"])):
    spool.put(Alert(what="message", error=f"{me} {n} x", key=f"{me} {n}"), targets)
print("put", flush=True)
sys.stdin.readline()
spool.deliver({target.digest: target for target in targets})
"""


def test_processes_that_deliver_at_the_same_moment_send_each_once(telegram: TelegramSink, tmp_path: Path) -> None:
    """And each one's alerts in order."""
    to = f"tgram://{TOKEN}/{CHAT}?api=http://{telegram.address}"
    processes = [run(DELIVER, tmp_path, TO=to, ME=f"process{n}", HOW_MANY="20") for n in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "put\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    said = [text.splitlines()[0].removeprefix("ERROR: ") for text in telegram.texts]
    assert len(said) == 80
    for n in range(4):
        assert [text for text in said if text.startswith(f"process{n} ")] == [f"process{n} {i} x" for i in range(20)]


def test_killed_between_put_and_deliver(telegram: TelegramSink, tmp_path: Path) -> None:
    """The next process delivers it, once."""
    to = f"tgram://{TOKEN}/{CHAT}?api=http://{telegram.address}"
    process = run(DELIVER, tmp_path, TO=to, ME="victim", HOW_MANY="3")
    assert process.stdout is not None
    assert process.stdout.readline() == "put\n"
    process.kill()
    process.communicate()
    assert telegram.texts == []
    for _ in range(2):
        assert sender.deliver(parse(to), tmp_path / "alerts") == []
    assert len(telegram.texts) == 3


def test_a_sink_that_is_down_for_an_hour_loses_nothing(telegram: TelegramSink, hook: Sink, tmp_path: Path) -> None:
    """What was sent meanwhile arrives once and in order; the other target had it at once."""
    now = [1_800_000_000.0]
    spool = Spool(tmp_path / "alerts", now=lambda: now[0])
    targets = {target.digest: target for target in (chat(telegram), parse(f"http://{hook.address}/x")[0])}
    telegram.down = 502
    for minute in range(60):
        now[0] += 60
        spool.put(failed(f"Error{minute}: x"), list(targets.values()))
        spool.deliver(targets)
    assert telegram.texts == []
    telegram.down = None
    now[0] += 3600
    assert spool.deliver(targets) == []
    errors = [f"Error{minute}: x" for minute in range(60)]
    assert [text.splitlines()[1] for text in telegram.texts] == errors
    assert [text.splitlines()[1] for text in hook.texts] == errors


# -- the dead-man's switch --------------------------------------------------------------------------------------------


def test_a_heartbeat_has_the_form_that_healthchecks_takes(hook: Sink) -> None:
    """URL/start, URL, URL/fail, with one UUID for a run; the log goes along, without credentials, 100 kB at most."""
    url = f"http://{hook.address}/ping/some-uuid?create=1"
    hook.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]
    assert heartbeat.ping(url, "start", "7f3a9c")
    assert heartbeat.ping(url, "success", "7f3a9c")
    assert heartbeat.ping(url, "fail", "other", "password=hunter2hunter2 " + "x" * 200_000)
    rid, other = heartbeat.run_uuid("7f3a9c"), heartbeat.run_uuid("other")
    assert [path for path, _, _ in hook.requests] == [
        f"/ping/some-uuid/start?create=1&rid={rid}",
        f"/ping/some-uuid?create=1&rid={rid}",
        f"/ping/some-uuid/fail?create=1&rid={other}",
    ]
    body = hook.requests[-1][2]
    assert b"hunter2" not in body
    assert 90_000 < len(body) <= 100_000


def test_a_heartbeat_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, without the address."""
    assert not heartbeat.ping("http://127.0.0.1:1/very-secret-uuid", "start")
    with answering(silent) as port:
        assert not heartbeat.ping(f"http://127.0.0.1:{port}/very-secret-uuid", "start", seconds=0.2)
    assert not heartbeat.ping("not an address", "start")
    assert len(caplog.records) == 3
    assert "very-secret" not in caplog.text
