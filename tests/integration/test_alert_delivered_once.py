"""Each alert is delivered once, by processes that deliver at once, after a kill, and after an outage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from channels import chat, failed

import perdure
import warm
from perdure.alerts import sender
from perdure.alerts.channels.target_address import parse
from perdure.alerts.spool import Spool
from sinks import CHAT, PATIENCE, TOKEN, Sink, TelegramSink, hook, telegram

__all__ = ["hook", "telegram"]

SOURCE = Path(perdure.__file__).parents[1]


def run(code: str, folder: Path, **env: str) -> subprocess.Popen[str]:
    return warm.Popen(
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
        process.communicate(timeout=PATIENCE)
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
