"""What programs ask of `perdure ui`, and letters by the dozen: none is lost, edited blindly, or meant unseen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_ui_actions import perdure
from test_ui_jobs import client_of, ended, post
from ui_server import Ui, run_all


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_all(tmp_path_factory.mktemp("ui"), '"\\\n')


@pytest.fixture(scope="module")
def served(state: Path) -> Iterator[Ui]:
    with Ui(state, "--port", "0") as served:
        yield served


@pytest.fixture(scope="module")
def api(served: Ui) -> Iterator[httpx.Client]:
    with client_of(served) as client:
        yield client


def change(client: httpx.Client, key: str, **body: Any) -> httpx.Response:
    return client.patch("/letters/2", json=body, headers={"Idempotency-Key": key})


def test_metrics_are_read_by_prometheus(served: Ui):
    """Each line has the form of the text format, each name is said once, with its type; no label is a run's id."""
    with served.client() as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    sample = re.compile(r'(perdure_\w+)(\{\w+="([^"\\\n]|\\["\\n])*"(,\w+="([^"\\\n]|\\["\\n])*")*\})? [-+.e0-9]+')
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 7
    found = [line for line in lines if not line.startswith("#")]
    assert all(sample.fullmatch(line) for line in found), found
    assert {line.partition("{")[0].partition(" ")[0] for line in found} <= set(names)
    assert 'perdure_runs{workflow="ui_backup",status="interrupted"} 1' in found
    assert 'perdure_dead_letters{workflow="ui_month",step="ui_price",error="ValueError"} 3' in found
    assert not re.search(r"ui_\w+-\w{10}", answer.text)


def test_an_export_is_what_the_command_writes(api: httpx.Client, state: Path):
    """Every letter, run and step once, a line each; a wrong question is answered as an error, not by an empty file."""
    lines = api.get("/export?what=letters&status=parked").text.splitlines()
    shown = perdure(state, "dlq", "export").splitlines()
    assert {json.loads(one)["letter"] for one in lines} == {json.loads(one)["letter"] for one in shown} == {1, 2, 3}
    assert len(api.get("/export?what=steps&run=ui_month").text.splitlines()) == 9
    runs = [json.loads(one)["id"] for one in api.get("/export?what=runs").text.splitlines()]
    assert runs == [one["id"] for one in json.loads(perdure(state, "ps", "--json"))["runs"]]
    assert api.get("/export?what=steps&run=nothing").status_code == 404
    assert api.get("/export?what=steps").json()["code"] == "bad-option"
    assert api.get("/export?what=all").json()["code"] == "bad-query"
    assert api.get("/export?what=runs").headers["content-disposition"].startswith("attachment")


def test_a_text_is_found_everywhere(api: httpx.Client):
    """In runs by their inputs, in steps, and a number also as a letter; and all of the file was looked through."""
    found = api.get("/search?q=R-4").json()
    assert ([one["workflow"] for one in found["runs"]], found["complete"]) == (["ui_month"], True)
    assert [one["step"]["seq"] for one in found["steps"]] == [5]
    # A run's id may hold the digit too, so other letters may follow.
    assert api.get("/search?q=2").json()["letters"][0]["letter"] == 2
    nothing = {"runs": [], "steps": [], "letters": [], "complete": True, "lines": []}
    assert api.get("/search?q=nothing+of+that").json() == nothing


def test_an_input_is_edited_if_it_is_the_one_that_was_shown(api: httpx.Client, state: Path):
    """What does not fit the step is refused and changes nothing; two editors do not overwrite each other; values stand
    in no argument. Then all that match are redriven, if they are as many as were seen."""
    answer = api.get("/letters/2/input")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    places = {one["path"]: one["value"] for one in shown["places"]}
    assert (places["item.amount"], places["item.currency"], shown["more"]) == ("x", "EUR", 0)
    known = {"script": shown["script"], "version": shown["version"]}
    wrong = ended(api, change(api, "a-wrong-one", **known, changes={"item": 5}).json()["id"])
    assert wrong["outcome"] == "refused"
    assert "dict is declared there" in wrong["output"]
    assert api.get("/letters/2/input").json() == shown
    job = change(api, "a-good-one", **known, changes={"item.amount": "44044"}).json()
    assert "44044" not in job["command"]
    assert ended(api, job["id"])["outcome"] == "done"
    late = change(api, "a-late-one", **known, changes={"item.amount": "8"})
    assert (late.status_code, late.json()["code"]) == (409, "input-has-changed")
    edited = {one["path"]: (one["value"], one["recorded"]) for one in api.get("/letters/2/input").json()["places"]}
    assert edited["item.amount"] == ("44044", "x")
    deed = json.loads(perdure(state, "deeds", "--json"))["deeds"][0]
    assert (deed["what"], deed["target"], deed["detail"], deed["via"]) == ("dlq edit", "2", "item.amount", "page")

    scripts = [shown["script"]]
    few = post(api, "/letters/redrive-matching", {"matching": {"count": 2, "step": "ui_price"}, "scripts": scripts})
    assert (few.status_code, few.json()["code"]) == (409, "not-as-many")
    all_of = {"matching": {"count": 3, "step": "ui_price"}, "scripts": scripts}
    redriven = ended(api, post(api, "/letters/redrive-matching", all_of, "a-key-for-all").json()["id"])
    assert redriven["outcome"] == "failed again, or refused", redriven["output"]
    assert api.get("/letters").json()["totals"] == {"parked": 2, "resolved": 1}
    dropped = post(api, "/letters/drop-matching", {"matching": {"count": 2}}).json()
    assert ended(api, dropped["id"])["outcome"] == "done"
    assert api.get("/letters").json()["totals"] == {"resolved": 1, "dropped": 2}


def test_alerts_without_a_target(api: httpx.Client):
    """A test alert that reaches nobody is an error with a way out; delivering nothing delivers nothing."""
    assert post(api, "/alerts/test", {}).json()["title"] == "no alert target is set"
    assert post(api, "/alerts/flush", {}).json() == {"failed": {}, "waiting": 0}
