"""Every process that has executed a run is known afterwards, however it left the run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import warm
from conftest import SOURCE, _clean
from looking import looked

SCRIPT = """
import os, signal, sys
import perdure
from perdure import step, workflow

@step(retry=None)
def visit(place):
    match os.environ.get("WAY", ""):
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "left":
            raise KeyboardInterrupt
        case "failed":
            raise PermissionError("no")
    return place

@workflow
def tour():
    perdure.now()
    return visit("home")

tour()
"""


def test_each_process_at_a_run_is_known(tmp_path: Path) -> None:
    """Killed, interrupted, failed and done: one after the other, with how and with what they left it."""
    script = tmp_path / "tour.py"
    script.write_text(SCRIPT)
    state = str(tmp_path / "state.db")
    pids = []
    for way in ("killed", "left", "failed", ""):
        env = {**_clean(), "PYTHONPATH": str(SOURCE), "PERDURE_STATE": state, "PERDURE_WATCHDOG": "0", "WAY": way}
        process = warm.Popen([sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL)
        process.wait(60)
        pids.append(process.pid)
        if way == "killed":
            (unseen,) = sessions(tmp_path, state)
            assert (unseen["pid"], unseen["outcome"]) == (pids[0], "died"), "before anybody has gone on with it"
    found = sessions(tmp_path, state)
    assert [one["pid"] for one in found] == pids
    assert [one["outcome"] for one in found] == ["died", "interrupted", "failed", "done"]
    assert {one["host"] for one in found} == {os.uname().nodename}
    digest = hashlib.blake2b(script.read_bytes(), digest_size=8).hexdigest()
    assert {one["script"] for one in found} == {digest}
    assert all(one["memory"] > 1 << 20 for one in found)
    times = [time for one in found for time in (one["began"], one["ended"])]
    assert times == sorted(times)
    text = looked(tmp_path, "show", run_in(tmp_path, state), PERDURE_STATE=state).stdout
    assert [line.split()[3] for line in text.splitlines() if line.startswith("session")] == [str(pid) for pid in pids]


def run_in(folder: Path, state: str) -> str:
    (run,) = json.loads(looked(folder, "ps", "--json", PERDURE_STATE=state).stdout)["runs"]
    return str(run["id"])


def sessions(folder: Path, state: str) -> list[dict[str, Any]]:
    shown = looked(folder, "show", run_in(folder, state), "--json", PERDURE_STATE=state).stdout
    found: list[dict[str, Any]] = json.loads(shown)["sessions"]
    return found
