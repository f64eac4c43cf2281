"""What the page knows of a call besides its record: its source then, what others were given, what never ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ui_server import Ui, environment, run_all

import warm

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_all(tmp_path_factory.mktemp("ui"), f" password={SECRET}")


@pytest.fixture(scope="module")
def api(state: Path) -> Iterator[httpx.Client]:
    with Ui(state, "--port", "0") as served, served.client() as client:
        client.base_url = httpx.URL(f"{served.address}/api/v1")
        yield client


def numbers(api: httpx.Client) -> tuple[int, int]:
    """The record of a call that failed for good, and that of one that is done."""
    steps = api.get("/runs/ui_month/steps").json()["steps"]
    return tuple(next(one["seq"] for one in steps if one["status"] == status) for status in ("dead", "done"))  # type: ignore[return-value]


def test_the_source_is_shown_as_it_was_or_not_at_all(api: httpx.Client, state: Path):
    """The lines around the one that failed; none of a file that is not what the call executed, though it lies there."""
    dead, done = numbers(api)
    script = state.parent / "ui_shop.py"
    text = script.read_text(encoding="utf-8")
    failed = api.get(f"/runs/ui_month/steps/{dead}/call").json()
    excerpt = failed["excerpt"]
    assert (excerpt["file"], excerpt["function"]) == (str(script), "ui_price")
    assert text.splitlines()[excerpt["line"] - 1].strip().startswith("raise ValueError")
    assert excerpt["lines"][excerpt["line"] - excerpt["first"]].strip().startswith("raise ValueError")
    assert failed["parameters"] == ["item"]
    assert len(failed["idempotency_key"]) == 32
    whole = api.get(f"/runs/ui_month/steps/{done}/call").json()["excerpt"]
    assert whole["lines"][whole["line"] - whole["first"]].startswith("@step")
    script.write_text(text + f"# {SECRET}\n", encoding="utf-8")
    try:
        changed = api.get(f"/runs/ui_month/steps/{dead}/call").json()["excerpt"]
    finally:
        script.write_text(text, encoding="utf-8")
    assert (changed["lines"], changed["note"]) == ([], "the file is not as it was when the call was made")


def test_what_calls_that_succeeded_were_given(api: httpx.Client):
    """Fields whose values are numbers have a range, those with few values name them; others, and those of
    which each call had one of its own, say nothing."""
    found = api.get("/letters/1/accepted").json()
    assert found["calls"] == 6
    fields = {one["name"]: one for one in found["fields"]}
    assert (fields["amount"]["least"], fields["amount"]["most"]) == (1.0, 7.0)
    assert fields["currency"]["values"] == ['"EUR"']
    assert "id" not in fields
    assert api.get("/letters/99/accepted").status_code == 404


LATER = """
from perdure import workflow

@workflow
def ui_later() -> None:
    pass

ui_later()
"""


def test_what_never_ended_is_in_the_timeline(api: httpx.Client, state: Path):
    """A call that failed for good and has no record, and an attempt that was broken off by a kill: once, also when a
    later process has written down how that ended."""
    failed = api.get("/runs/ui_report/timeline").json()
    (call,) = failed["open"]
    assert call["name"] == "ui_send"
    assert "the mail server says no" in call["failures"][0]["error"]
    killed = api.get("/runs/ui_backup/timeline").json()
    warm.run([sys.executable, "-c", LATER], env=environment(state), cwd=state.parent, check=True)
    later = api.get("/runs/ui_backup/timeline").json()
    (cut,), (same,) = killed["cut"], later["cut"]
    assert (same["name"], same["at"]) == (cut["name"], cut["at"])
    assert (cut["name"], cut["attempt"]) == ("ui_die", 1)
    assert killed["length"] >= cut["at"] + cut["ms"]


def test_a_question_is_answered_beside_the_run(api: httpx.Client):
    """`why` says what a run asks, and the commands that answer it."""
    found = api.get("/runs/ui_refund/why").json()
    assert len(found["asks"]) == 1
    assert found["asks"][0].startswith("Refund SO-1")
    assert [one["command"].split()[1] for one in found["ways"]][:2] == ["approve", "reject"]


def test_parts_of_the_overview(api: httpx.Client):
    """The workflows, processes and locks by themselves say what the overview says."""
    whole = api.get("/overview").json()
    for part in ("workflows", "processes", "locks"):
        assert api.get(f"/{part}").json()[part] == whole[part]
    assert whole["totals"]["interrupted"] == 1
    assert "running" not in whole["totals"]


def test_values_are_saved_as_files_without_secrets(api: httpx.Client):
    """Input and result of a step are attachments of JSON; what is secret is not in them, what is missing is said."""
    dead, done = numbers(api)
    given = api.get(f"/runs/ui_month/steps/{done}/input")
    assert given.headers["content-disposition"] == f'attachment; filename="step-{done}-input.json"'
    assert json.loads(given.content)[0]["currency"] == "EUR"
    assert SECRET not in given.text
    assert json.loads(api.get(f"/runs/ui_month/steps/{done}/result").content) in range(1, 8)
    refused = api.get(f"/runs/ui_month/steps/{dead}/result")
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert api.get("/runs/ui_month/steps/99/input").status_code == 404
