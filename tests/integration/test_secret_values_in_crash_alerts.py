"""The value of a `Secret` in the last exception of a run stays in the run's process: only that knows that it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from deaths import all_gone

from conftest import Scripts
from sinks import Sink, serving

CANARY = "plain words that no rule takes for a credential"
"""Only the process that holds the Secret can know that this is one."""

SCRIPT = """
import asyncio, os, sys, threading
from perdure import Secret, step, workflow

KEY = Secret(sys.stdin.readline().strip())
TARGETS = os.environ["TARGETS"].split()


class Halt(BaseException):
    pass


@step
def one():
    return 1


def leave():
    one()
    sys.exit(f"the server refused {KEY.reveal()}")


def halt():
    one()
    raise Halt(f"the server refused {KEY.reveal()}")


async def aleave():
    sys.exit(f"the server refused {KEY.reveal()}")


waiting = threading.Event()


def wait():
    waiting.set()
    threading.Event().wait(60)


def main(way):
    if way == "an exception beside the run":
        threading.Thread(target=workflow(wait, name="nightly", alert=TARGETS), daemon=True).start()
        waiting.wait(60)
        raise ValueError(f"the server refused {KEY.reveal()}")
    body = {"sys.exit": leave, "BaseException": halt, "async": aleave}[way]
    run = workflow(body, name="nightly", alert=TARGETS, heartbeat=os.environ["BEAT"])
    asyncio.run(run()) if way == "async" else run()


main(sys.argv[1])
"""


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


@pytest.fixture
def beat() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        sink.accept = lambda path, body: (200, {"ok": True})  # type: ignore[method-assign]
        yield sink


@pytest.mark.parametrize("way", ["sys.exit", "BaseException", "async", "an exception beside the run"])
def test_the_value_stays_in_the_process(way: str, scripts: Scripts, hook: Sink, beat: Sink) -> None:
    """In no alert that is sent or waits on disk, no flight record, no heartbeat; the rest of the text is there."""
    path = scripts.write(SCRIPT, "job.py")
    targets = f"http://{hook.address}/x http://127.0.0.1:1/down"
    process = scripts.start(path, way, TARGETS=targets, BEAT=f"http://{beat.address}/check")
    process.communicate(f"{CANARY}\n", timeout=60)
    assert process.returncode == 1
    assert all_gone(scripts.folder)
    (alert,) = [json.loads(body) for _, _, body in hook.requests]
    assert "the server refused ***" in alert["text"]
    kept = {each: each.read_bytes() for each in (scripts.folder / ".perdure").rglob("*") if each.is_file()}
    assert any(b"the server refused ***" in data for each, data in kept.items() if "-alerts" in str(each))
    sent = [body for _, _, body in hook.requests + beat.requests]
    assert [each for each, data in kept.items() if CANARY.encode() in data] == []
    assert [data for data in sent if CANARY.encode() in data] == []
    if way != "an exception beside the run":
        assert b"the server refused ***" in sent[-1]
