"""What is changed through `perdure ui` is changed once, as its command does it, and not at all where it only looks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ui_server import Ui, environment, run_all

import warm

ACTIONS = (
    "/runs/ui_refund/approve",
    "/runs/ui_refund/reject",
    "/services/api/reset",
    "/services/api/isolate",
    "/runs/ui_report/resume",
    "/runs/ui_report/cancel",
    "/runs/ui_report/fork",
    "/letters/redrive",
    "/letters/drop",
    "/letters/redrive-matching",
    "/letters/drop-matching",
    "/letters/1",
    "/alerts/test",
    "/alerts/flush",
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return run_all(tmp_path)


def perdure(state: Path, *arguments: str) -> str:
    """What another process says."""
    command = [sys.executable, "-m", "perdure", *arguments]
    done = warm.run(command, env=environment(state), capture_output=True, text=True, check=True)
    return done.stdout


def test_an_answer_is_given_once(state: Path):
    """A request that is sent again with its key is answered as before and changes nothing; the run gets one answer."""
    with Ui(state, "--port", "0") as served, served.client() as client:
        client.base_url = f"{served.address}/api/v1"  # type: ignore[assignment]
        assert client.post("/runs/ui_refund/approve", json={}).json()["code"] == "no-key"
        key = {"Idempotency-Key": "a-key-of-mine"}
        first = client.post("/runs/ui_refund/approve", json={"note": "fine"}, headers=key)
        assert (first.status_code, first.json()["approved"]) == (200, True)
        again = client.post("/runs/ui_refund/approve", json={"note": "fine"}, headers=key)
        assert again.content == first.content
        other = client.post("/runs/ui_refund/reject", json={"note": "fine"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "key-reused")
        late = client.post("/runs/ui_refund/reject", json={}, headers={"Idempotency-Key": "another-key"})
        assert (late.status_code, late.json()["code"]) == (409, "already-decided")
        wrong = client.post("/runs/ui_refund/approve", json={"nothing": 1}, headers={"Idempotency-Key": "a-third-key"})
        assert wrong.json()["code"] == "bad-request"
    run = next(
        one["id"] for one in json.loads(perdure(state, "ps", "--json"))["runs"] if one["workflow"] == "ui_refund"
    )
    assert json.loads(perdure(state, "resume", run, "--json"))["result"] is True


def test_breakers_are_changed_for_every_process(state: Path):
    """What is isolated and reset here is so for the command line."""
    with Ui(state, "--port", "0") as served, served.client() as client:
        for verb, stands in (("isolate", "isolated"), ("reset", "closed")):
            path = f"/api/v1/services/a%20b/{verb}"
            answer = client.post(path, json={}, headers={"Idempotency-Key": f"key-to-{verb}"})
            assert answer.json() == {"name": "a b", "state": stands}
            shown = [
                one for one in json.loads(perdure(state, "breaker", "ls", "--json"))["services"] if one["name"] == "a b"
            ]
            assert [one["state"] for one in shown] == [stands]


def test_nothing_acts_where_it_only_looks(state: Path):
    """With --read-only the addresses that act do not exist, nor are they described."""
    with Ui(state, "--port", "0", "--read-only") as served, served.client() as client:
        assert client.get("/api/v1/").json()["read_only"] is True
        described = client.get("/api/v1/openapi.json").json()["paths"]
        assert {method for path in described.values() for method in path} == {"get"}
        for path in ACTIONS:
            answer = client.post(f"/api/v1{path}", json={}, headers={"Idempotency-Key": "a-key-of-mine"})
            assert answer.status_code in (404, 405), path
    assert "waits for an approval" in perdure(state, "ps")
