"""Channels that refuse, redirect, hang or trickle: the error says why, in time, and without the address."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from channels import chat, failed, refusal

from conftest import replace
from perdure.alerts.channels import http as request
from perdure.alerts.channels import send_timeout
from perdure.alerts.channels.target_address import parse
from perdure.errors import AlertError
from sinks import CHAT, PATIENCE, TOKEN, Sink, TelegramSink, answering, hook, serving, telegram

__all__ = ["hook", "telegram"]


def test_apprise_says_why_it_failed_without_the_address(hook: Sink) -> None:
    """A server that says no, an address that it does not know."""
    pytest.importorskip("apprise")
    hook.down = 500
    error = refusal(parse(f"json://user:sesame-open@{hook.address}/secret-path")[0])
    assert "500" in error.what
    assert "sesame" not in str(error)
    assert "secret-path" not in str(error)
    assert "understand the address" in refusal(parse("nosuchthing://hunter2hunter2")[0]).what


def test_what_telegram_says_is_understood(telegram: TelegramSink) -> None:
    """429 names the pause; a wrong token, a wrong chat are explained; a group that moved is followed."""
    target = chat(telegram)
    answer = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 37}}
    telegram.next_answers = [(429, answer)]
    assert refusal(target).retry_after == 37
    wrong = parse(f"tgram://110201543:wrong-token/{CHAT}?api=http://{telegram.address}")[0]
    assert "bot's token" in refusal(wrong).hint
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
    """Every field, the text to show, a key to recognize a repeated one, and the login of the address as a header."""
    (target,) = parse(f"webhook+http://bob:s%20e@{hook.address}/x?sig=1")
    alert = failed("KeyError: 1", code="state-drift", saved=3)
    target.send(alert)
    ((path, headers, body),) = hook.requests
    body = json.loads(body)
    assert path == "/x?sig=1"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"bob:s e").decode()
    assert headers["idempotency-key"] == body["id"] == alert.id
    assert (body["text"], body["workflow"], body["code"], body["saved"]) == (alert.text(), "nightly", "state-drift", 3)


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
    over.wait()


def trickling(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def endless_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.05):
        connection.sendall(b"X-A")


def sending_ends() -> bool:
    """Wait for the end of all threads that send; False if one does not end."""
    threads = [thread for thread in threading.enumerate() if thread.name == "perdure alert"]
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("behave", [silent, trickling, endless_headers])
def test_a_server_that_never_finishes_is_given_up(behave: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time as a whole is over, not after a silence; the connection is closed and the thread ends."""
    with answering(behave) as port:
        with pytest.raises(AlertError, match="no answer within"):
            request.post(f"http://127.0.0.1:{port}/", b"{}", seconds=0.4)
        assert sending_ends()


def test_name_resolution_that_hangs_is_given_up_and_sends_nothing_late(
    hook: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket has a timeout then; when the answer comes after all, nothing is sent any more."""
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        release.wait(PATIENCE)
        return real(*args, **kwargs)

    replace(monkeypatch, socket, "getaddrinfo", slow)
    with pytest.raises(AlertError, match="no answer within"):
        request.post(f"http://{hook.address}/x", b"{}", seconds=0.2)
    release.set()
    assert sending_ends()
    assert hook.requests == []


def test_the_deadline_is_five_seconds() -> None:
    """For a program too, which is killed with what it started."""
    assert send_timeout.SECONDS == 5


def test_a_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the processes that it started; its exit code and last line are in the error."""
    from perdure.alerts.channels import command

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keeps = os.open(fifo, os.O_RDWR)
    with monkeypatch.context() as patch:
        patch.setattr(command, "SECONDS", 0.5)
        assert "killed" in refusal(parse(f"exec:/bin/sh -c 'cat {fifo} & wait'")[0]).what
    os.close(keeps)
    assert "ended with 3: no such phone" in refusal(parse("exec:/bin/sh -c 'echo no such phone >&2; exit 3'")[0]).what
    assert "cannot be started" in refusal(parse("exec:/nosuchprogram")[0]).what
