"""Secrets in what goes wrong are in no alert, of no kind and on no way; those of the targets themselves are nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from canary_script import SCRIPT as CANARIES
from canary_script import canary, found

from conftest import Scripts
from sinks import CHAT, TOKEN, Sink, TelegramSink, serving
from waiting import until

HEAD = CANARIES[CANARIES.index("def canary") : CANARIES.index("@step(retry=ONCE)")]
"""How secrets are written: the sixteen shapes."""

SCRIPT = f'''
import os, signal, sys
import perdure
from perdure import Breaker, Retry, step, workflow

TARGETS = os.environ["TARGETS"].split(" | ")
BEAT = os.environ["BEAT"]
{HEAD}

class Refused(Exception):
    pass


@step(retry=None)
def broken(text):
    raise Refused(text)


@step(retry=None)
def from_environment(n):
    raise Refused("the server said: " + os.environ[f"CANARY_{{n}}_TOKEN"])


def ended(name, function):
    """A workflow of its own, so that each is alerted."""
    try:
        workflow(function, name=name, alert=TARGETS, heartbeat=BEAT)()
    except (Refused, ConnectionError, perdure.errors.PerdureError):
        pass


for n in range(16):
    ended(f"message{{n}}", lambda: broken(shapes(n, canary("msg", n))))
for n in range(4):
    ended(f"environment{{n}}", lambda: from_environment(n))
ended("letters", lambda: len(broken.map([shapes(n, canary("let", n)) for n in range(16)]).dead))


@step
def done(url):
    return 1


def drifting():
    done(shapes(1, canary("dri", PASS)))
    broken(shapes(2, canary("dri", 9)))


for PASS in range(2):
    ended("drifting", drifting)

SICK = Breaker("sick", failures=1, cooldown=0.01)


@step(breaker=SICK, retry=Retry(attempts=30, delay=0.01, factor=1, jitter=0))
def ill():
    raise ConnectionError("the service: " + shapes(9, canary("bre", 0)))


ended("ill", lambda: ill())
os.environ["PERDURE_ALERTS"] = " ".join(TARGETS)
perdure.alert(shapes(4, canary("own", 0)))
print("waiting", flush=True)
sys.stdin.readline()
text_at_the_end = shapes(5, canary("exi", 0))
workflow(lambda: sys.exit(text_at_the_end), name="exits", alert=TARGETS, heartbeat=BEAT)()
'''

HOOK_SECRET = "hk5ecretPathPart9"
PASSWORD = "pa5sw0rdOfTheHook"
BEAT_SECRET = "b3atUu1dOfTheCheck"
KINDS = {"msg": 16, "let": 16, "dri": 10, "bre": 1, "own": 1, "exi": 1}
NEVER = [canary(kind, n) for kind, count in KINDS.items() for n in range(count)]
ENVIRONMENT = [canary("env", n) for n in range(4)]
TARGETS = [TOKEN, TOKEN.partition(":")[2], HOOK_SECRET, PASSWORD, BEAT_SECRET]


class Output(NamedTuple):
    """All that came out of it: by channel, on the disk beside the state file, from its standard error, as commands."""

    channels: dict[str, list[bytes]]
    files: dict[str, bytes]
    err: str
    commands: list[bytes]


def _commands() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes()
            except OSError:
                continue


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    scripts = Scripts(tmp_path_factory.mktemp("output"))
    path = scripts.write(SCRIPT, "job.py")
    by_command = scripts.folder / "by-command"
    by_command.mkdir()
    program = scripts.write(
        f'#!/bin/sh\n{{ cat; printf %s "$PERDURE_ALERT"; }} > {by_command}/$$.txt\n', "tell"
    )  # fmt: skip
    program.chmod(0o700)
    commands: set[bytes] = set()
    with serving(Sink()) as hook, serving(TelegramSink()) as telegram, serving(Sink()) as beat:
        beat.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]
        targets = [
            f"http://bob:{PASSWORD}@{hook.address}/{HOOK_SECRET}",
            f"tgram://{TOKEN}/{CHAT}?api=http://{telegram.address}",
            f"exec:{program}",
            f"http://bob:{PASSWORD}@127.0.0.1:1/{HOOK_SECRET}",  # down: what is for it stays in the spool
        ]
        env = {f"CANARY_{n}_TOKEN": value for n, value in enumerate(ENVIRONMENT)}
        env |= {"TARGETS": " | ".join(targets), "BEAT": f"http://{beat.address}/{BEAT_SECRET}"}
        process = scripts.start(path, **env, PERDURE_ALERT_BREAKER_AFTER="0.02s")
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n", process.stderr and process.stderr.read()
        commands.update(_commands())
        _, err = process.communicate("go\n", timeout=60)

        def over() -> bool:
            now = set(_commands())
            commands.update(now)
            return not any(os.fsencode(scripts.folder) in each for each in now)

        until(over, "the end of its processes")
        channels = {
            "webhook": [repr(request).encode() for _, _, request in hook.requests],
            "telegram": [body for _, _, body in telegram.requests],
            "command": [each.read_bytes() for each in by_command.iterdir()],
            "heartbeat": [body for _, _, body in beat.requests],
        }
        beats = [path.partition("?")[0].rpartition("/")[2] for path, _, _ in beat.requests]
    assert {"start", "fail"} <= set(beats)
    kept = [each for each in (scripts.folder / ".perdure").rglob("*") if each.is_file()]
    files = {str(each.relative_to(scripts.folder)): each.read_bytes() for each in kept}
    return Output(channels, files, err, sorted(commands))


def test_all_kinds_were_sent(output: Output) -> None:
    """The test would prove nothing if nothing had been sent."""
    for channel in ("webhook", "telegram", "command"):
        text = b"".join(output.channels[channel]).decode()
        for words in ("failed in step broken", "dead letters", "circuit breaker", "code-drift", "sys.exit("):
            assert words in text, (channel, words)
        assert "***" in text
    assert b"***" in b"".join(output.channels["heartbeat"])
    assert any("-alerts/" in name and b"***" in data for name, data in output.files.items())


@pytest.mark.parametrize("channel", ["webhook", "telegram", "command", "heartbeat"])
def test_no_secret_goes_out(channel: str, output: Output) -> None:
    """Neither those in errors, arguments and what the script says nor those of the environment."""
    assert not found(b"\n".join(output.channels[channel]), NEVER + ENVIRONMENT)


def test_no_secret_waits_on_the_disk(output: Output) -> None:
    """In the spool, its windows and the flight records."""
    files = {name: data for name, data in output.files.items() if "-alerts/" in name or "-flight/" in name}
    assert files
    assert {name for name, data in files.items() if found(data, NEVER + ENVIRONMENT)} == set()


def test_breakers_keep_none(output: Output) -> None:
    """Their file says with what a service failed."""
    services = b"".join(data for name, data in output.files.items() if "-services" in name)
    assert b"AWS_SECRET_ACCESS_KEY=***" in services
    assert not found(services, NEVER + ENVIRONMENT)


def test_targets_keep_their_own(output: Output) -> None:
    """Tokens and passwords of the targets: in no file beside the state, no log, no command line, no other channel."""
    assert {name for name, data in output.files.items() if found(data, TARGETS)} == set()
    assert found(output.err, TARGETS) == []
    assert [each for each in output.commands if found(each, TARGETS)] == []
    assert any(b"process.main()" in each for each in output.commands)
    for channel, bodies in output.channels.items():
        assert not found(b"\n".join(bodies), TARGETS), channel
