"""What loads a user's script is started by `perdure ui` as a command: the right script, once, and on its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_ui_actions import perdure
from ui_server import SCRIPT, Ui, run_all

from waiting import until


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return run_all(tmp_path)


@pytest.fixture
def script(state: Path) -> Path:
    """The script as it was mended: what killed it writes a line, when a file is there; any amount is taken."""
    path = state.parent / "ui_shop.py"
    mended = SCRIPT.replace(
        "    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n",
        "    import pathlib, time\n"
        f"    with open({str(state.parent / 'ledger')!r}, 'a') as ledger:\n        print('backed up', file=ledger)\n"
        f"    while not pathlib.Path({str(state.parent / 'open')!r}).exists():\n        time.sleep(0.01)\n",
    ).replace('if item["amount"] == "x"', 'if item["amount"] == "y"')
    mended = mended.replace('return int(item["amount"])', 'return int(item["amount"].replace("x", "0"))')
    path.write_text(mended, encoding="utf-8")
    return path


def client_of(served: Ui) -> httpx.Client:
    client = served.client()
    client.base_url = f"{served.address}/api/v1"  # type: ignore[assignment]
    return client


def post(client: httpx.Client, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key or f"a-key-for-{path}"})


def ended(client: httpx.Client, id: str) -> Any:
    """A job, as soon as it has ended."""
    return until(lambda: (one := client.get(f"/jobs/{id}").json())["ended"] and one, "the end of the command")


def standing(state: Path, workflow: str) -> list[str]:
    return [one["status"] for one in json.loads(perdure(state, "ps", "--json"))["runs"] if one["workflow"] == workflow]


def test_a_run_is_resumed_once_by_the_script_that_was_shown(state: Path, script: Path):
    """Another path than the recorded one starts nothing. The command outlives the server; asked twice it is one, also
    of another server, and stands among the deeds."""
    ledger = state.parent / "ledger"
    with Ui(state, "--port", "0") as served, client_of(served) as client:
        refused = post(client, "/runs/ui_backup/resume", {"script": "/another.py"}, "a-key-of-mine")
        assert (refused.status_code, refused.json()["code"]) == (409, "script-not-confirmed")
        assert str(script) in refused.json()["title"]
        assert client.get("/jobs").json() == {"jobs": []}
        first = post(client, "/runs/ui_backup/resume", {"script": str(script)})
        assert (first.status_code, first.json()["outcome"]) == (200, "under way")
        assert post(client, "/runs/ui_backup/resume", {"script": str(script)}).content == first.content
        until(ledger.exists, "the step")
        (one,) = client.get("/jobs").json()["jobs"]
        assert one["command"].startswith(f"perdure resume {one['about']}")
    with Ui(state, "--port", "0") as served, client_of(served) as client:
        assert post(client, "/runs/ui_backup/resume", {"script": str(script)}).content == first.content
        assert client.get("/jobs").json() == {"jobs": []}
    (state.parent / "open").touch()
    until(lambda: standing(state, "ui_backup") == ["done"], "the end of the run")
    assert ledger.read_text() == "backed up\n"
    (deed,) = json.loads(perdure(state, "deeds", "--json"))["deeds"]
    assert (deed["what"], deed["target"], deed["via"]) == ("resume", one["about"], "page")


def test_runs_end_and_letters_are_redriven_and_dropped(state: Path, script: Path):
    """Each command says how it ended and what it printed; a run is cancelled, letters are resolved and dropped."""
    (state.parent / "open").touch()
    with Ui(state, "--port", "0") as served, client_of(served) as client:
        cancelled = post(client, "/runs/ui_report/cancel", {"script": str(script)}).json()
        assert ended(client, cancelled["id"])["outcome"] == "done"
        assert standing(state, "ui_report") == ["cancelled"]
        forked = post(client, "/runs/ui_backup/fork", {"script": str(script), "step": 1}).json()
        assert ended(client, forked["id"])["outcome"] == "done"
        assert sorted(standing(state, "ui_backup")) == ["done", "superseded"]
        lines = client.get("/letters").json()["letters"]
        assert {one["script"] for one in lines} == {str(script)}
        body = {"letters": [1, 2], "scripts": [str(script)]}
        elsewhere = post(client, "/letters/redrive", body | {"scripts": []}, "a-key-of-mine")
        assert elsewhere.json()["code"] == "script-not-confirmed"
        redriven = ended(client, post(client, "/letters/redrive", body).json()["id"])
        assert redriven["outcome"] == "resolved", redriven["output"]
        assert "resolved" in redriven["output"]
        ended(client, post(client, "/letters/drop", {"letters": [3]}).json()["id"])
        assert client.get("/letters").json()["totals"] == {"resolved": 2, "dropped": 1}
        deeds = client.get("/deeds?limit=3").json()
        assert [one["what"] for one in deeds["deeds"]] == ["dlq drop", "dlq redrive", "fork"]
        older = client.get(f"/deeds?after={deeds['next']}").json()
        assert [one["what"] for one in older["deeds"]] == ["cancel"]
