"""The API of `perdure ui` says what the state file says, and keeps the form that its description promises."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest
from ui_server import Ui, environment, run_all

import warm
from perdure.web.api_reading import ENDPOINTS


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_all(tmp_path_factory.mktemp("ui"))


@pytest.fixture(scope="module")
def api(state: Path) -> Iterator[httpx.Client]:
    with Ui(state, "--port", "0") as served, served.client() as client:
        client.base_url = httpx.URL(f"{served.address}/api/v1")
        yield client


def test_every_address_answers_in_its_form(api: httpx.Client):
    """Each address that is described answers 200 with the fields that its struct has."""
    names = {"run": "ui_month", "seq": "2", "letter": "1", "job": "0"}
    for one in ENDPOINTS:
        found = api.get(one.path.format(**names) + ("?q=ui" if one.path == "/search" else ""))
        if "{job}" in one.path:
            assert found.status_code == 404
            continue
        assert found.status_code == 200, (one.path, found.text)
        assert set(found.json()) == set(one.answer.__struct_fields__), one.path
    assert api.get("/openapi.json").json()["paths"].keys() >= {f"/api/v1{one.path}" for one in ENDPOINTS}


def test_what_needs_somebody_comes_first(api: httpx.Client, state: Path):
    """Overview, runs and letters are those of the command line, asked by another process."""
    page = api.get("/overview").json()
    assert [one["kind"] for one in page["needs"]] == ["failed", "interrupted", "approval", "letters", "nobody"]
    assert page["letters"] == 3
    (reason,) = page["reasons"]
    assert (reason["error"], reason["shape"], reason["letters"]) == ("ValueError", "amount of … is no number: …", 3)
    command = [sys.executable, "-m", "perdure", "ps", "--json"]
    done = warm.run(command, env=environment(state), capture_output=True, text=True, check=True)
    runs = api.get("/runs").json()["runs"]
    stands = lambda one: (one["id"], one["status"], one["steps"], one["dead_letters"])  # noqa: E731
    assert [stands(one) for one in runs] == [stands(one) for one in json.loads(done.stdout)["runs"]]
    letters = api.get(f"/letters?reason={reason['reason']}").json()["letters"]
    assert [one["data"][0]["id"] for one in letters] == ["R-8", "R-4", "R-0"]


def test_what_a_call_printed_stands_beside_it(api: httpx.Client):
    """The lines of its attempts, of that call alone; the last ones of a run, and those
    up to one of them."""
    page = api.get("/runs/ui_month/log?seq=1").json()
    (line,) = page["lines"]
    assert (line["text"], line["attempt"], line["logger"]) == ("the price of R-0", 1, "stdout")
    last = api.get("/runs/ui_month/log?limit=2").json()
    assert ([one["text"] for one in last["lines"]], last["earlier"]) == (["the price of R-7", "the price of R-8"], True)
    until = {"limit": 2, "until": last["lines"][0]["at"]}
    assert [one["text"] for one in api.get("/runs/ui_month/log", params=until).json()["lines"]] == [
        "the price of R-6",
        "the price of R-7",
    ]
    assert api.get("/runs/ui_month/log?seq=99").status_code == 404


def test_lists_are_read_on_by_cursor(api: httpx.Client):
    """Pages follow on each other without a gap and without a repetition, filtered or not."""
    for path, rows, key in (
        ("/runs?limit=1", "runs", lambda one: one["id"]),
        ("/runs/ui_month/steps?limit=2", "steps", lambda one: one["seq"]),
        ("/runs/ui_month/steps?limit=1&show=dead", "steps", lambda one: one["seq"]),
        ("/runs/ui_month/steps?limit=2&q=R-", "steps", lambda one: one["seq"]),
    ):
        whole = api.get(re.sub("limit=.", "limit=200", path)).json()[rows]
        found, cursor = [], ""
        while cursor is not None:
            page = api.get(path + (f"&after={cursor}" if cursor else "")).json()
            found += page[rows]
            cursor = page["next"]
        assert [key(one) for one in found] == [key(one) for one in whole]
        assert found


def test_errors_have_a_code_and_a_way_out(api: httpx.Client):
    """An error is a problem (RFC 9457) with a code, what happened, and what to do."""
    for path, status, code in (
        ("/runs/nothing", 404, "not-found"),
        ("/runs/ui_month/steps/99", 404, "not-found"),
        ("/letters/x", 404, "not-found"),
        ("/runs?limit=201", 400, "bad-query"),
        ("/runs?nothing=1", 400, "bad-query"),
        ("/runs?limit=1&limit=2", 400, "bad-query"),
        ("/runs/ui_month/steps?since=nan", 400, "bad-query"),
        ("/runs/ui_month/steps?until=-inf", 400, "bad-query"),
        (f"/runs/ui_month/steps?longer={'9' * 30}", 400, "bad-query"),
        (f"/deeds?after={1 << 63}", 400, "bad-query"),
        ("/nothing", 404, "not-found"),
    ):
        found = api.get(path)
        assert found.headers["content-type"] == "application/problem+json", path
        assert (found.status_code, found.json()["code"]) == (status, code), path
        assert found.json()["title"]


def test_changes_are_told(state: Path):
    """Who listens is told when another process writes, and when nothing happens is told nothing."""
    with (
        Ui(state, "--port", "0") as served,
        served.client() as client,
        client.stream("GET", "/api/v1/events", timeout=120) as stream,
    ):
        lines = stream.iter_lines()
        first = 'data: {"number":0,"runs":[],"around":false}'
        assert [next(lines), next(lines), next(lines)] == ["event: change", first, ""]
        command = [sys.executable, "-m", "perdure", "signal", "ui_refund", "hello", "1"]
        warm.run(command, env=environment(state), capture_output=True, check=True)
        told = next(
            line for line in islice(lines, 16) if line.startswith("data")
        )  # two minutes of lines that say nothing
        assert told.startswith('data: {"number":1,')
