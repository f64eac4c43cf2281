"""200 secrets go through a run in every way there is; none is in what is stored of errors, shown, logged or printed.

A real script, run by the real command, with real state files. What a step is given and returns is stored as it is
(docs/secrets.md): those canaries have to be there, and only there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from canary_script import ALL, FROM_ENVIRONMENT, IN_ARGUMENTS, IN_RESULTS, SCRIPT, found

import warm
from perdure.core.exceptions import capture
from perdure.core.values import codec
from perdure.store.runs import Store


class Ran:
    """The script, run once, and the commands that look at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "job.py").write_text(SCRIPT)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE")}
        self.env |= {f"CANARY_{n}_TOKEN": value for n, value in enumerate(FROM_ENVIRONMENT)}
        self.env["PLAIN_LOG"] = str(folder / "plain.log")

    def perdure(self, *arguments: str, **more: str) -> str:
        """What a command prints, on both streams."""
        command = [sys.executable, "-m", "perdure", *arguments]
        env = {name: value for name, value in (self.env | more).items() if value}
        done = warm.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    ran = Ran(tmp_path_factory.mktemp("canaries"))
    ran.printed = ran.perdure("run", "job.py")  # type: ignore[attr-defined]
    assert "Refused: at the end" in ran.printed  # type: ignore[attr-defined]
    return ran


def test_there_are_enough_of_them() -> None:
    """At least 200, of which all but those in arguments and results have to vanish."""
    assert len(ALL) >= 200
    assert len(set(ALL)) == len(ALL)


def test_none_is_printed_by_the_run(ran: Ran) -> None:
    """The lines about each attempt, the traceback at the end."""
    printed = ran.printed  # type: ignore[attr-defined]
    assert "Bearer ***" in printed
    assert not found(printed, ALL + IN_ARGUMENTS)


@pytest.mark.parametrize(
    "command",
    [
        ("show", "last", "--limit", "0"),
        ("show", "last", "-v", "--limit", "0"),
        ("show", "last", "--json"),
        ("ps",),
        ("ps", "--json"),
    ],
    ids=" ".join,
)
def test_none_is_shown(ran: Ran, command: tuple[str, ...]) -> None:
    """Text and JSON, with tracebacks and without: also not what is in the arguments of a step."""
    text = ran.perdure(*command)
    assert "job" in text
    if command[0] == "show":
        assert "***" in text
        assert "db.example:5432" in text  # what helps stays
    assert not found(text, ALL + IN_ARGUMENTS)


def test_none_is_in_the_state_file_but_what_is_stored_by_design(ran: Ran) -> None:
    """Every byte of every file of the run: exceptions and environment have left nothing; arguments and results have."""
    files = [path for path in (ran.folder / ".perdure").rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert not found(content, ALL)
    assert found(content, IN_ARGUMENTS) == IN_ARGUMENTS
    assert found(content, IN_RESULTS) == IN_RESULTS


def test_stored_arguments_and_results_are_in_their_columns_only(ran: Ran) -> None:
    """Where docs/secrets.md says so: the inputs of a step and of its attempts, and its result; not in an error."""
    store = Store(ran.folder / ".perdure" / "state.db")
    try:
        run = store.run(_last(ran))
        records = store.records(run.rid, 0)
        while chunk := store.records(run.rid, records[-1].seq + 1):
            records = [*records, *chunk]
        failed = [record for record in records if record.status != "done"]
        assert len(failed) > 100
        for record in failed:
            assert not found(record.output, ALL + IN_ARGUMENTS)
            assert capture.decode(record.output).message
        for attempt in store.attempt_records(run.rid):
            assert not found(attempt.error, ALL + IN_ARGUMENTS)
        inside = [record for record in records if found(record.input, IN_ARGUMENTS)]
        assert {record.name for record in inside} == {"from_argument"}
        results = [record for record in records if record.status == "done" and found(record.output, IN_RESULTS)]
        assert {record.name for record in results} == {"stored"}
        assert all("Secret('***')" in codec.describe_inputs(r.input) for r in records if r.name == "from_secret")
    finally:
        store.close()


def _last(ran: Ran) -> str:
    rows: list[dict[str, str]] = json.loads(ran.perdure("ps", "--json"))["runs"]
    return rows[0]["id"]


def test_none_is_in_the_log(ran: Ran, tmp_path: Path) -> None:
    """Lines of JSON: what perdure logs, what the script logs, and what is printed there."""
    other = str(tmp_path / "state.db")
    text = ran.perdure("run", "--log-json", "--state", other, "job.py", PLAIN_LOG="")
    records = [json.loads(line) for line in text.splitlines()]
    assert {"perdure", "shop", "stderr"} <= {record["logger"] for record in records}
    mine = [record for record in records if record["logger"] == "shop" and record["level"] == "WARNING"]
    assert {(record["workflow"], record["step"]) for record in mine} == {("job", "from_secret")}
    assert {record["attempt"] for record in mine} == {1, 2}
    assert not found(text, ALL + IN_ARGUMENTS)


def test_none_is_in_what_perdure_logs_to_other_handlers(ran: Ran, tmp_path: Path) -> None:
    """A plain log file of the user's own: what perdure writes there has none."""
    other = str(tmp_path / "state.db")
    ran.perdure("run", "--state", other, "job.py", PLAIN_LOG=str(tmp_path / "plain.log"))
    lines = [line for line in (tmp_path / "plain.log").read_text().splitlines() if ":perdure:" in line]
    assert len(lines) > 200
    assert not found("\n".join(lines), ALL + IN_ARGUMENTS)


def test_none_is_in_an_answer_of_the_page(ran: Ran) -> None:
    """Every address that looks, asked of the run, of steps and letters: what `show` hides is hidden there, too."""
    from perdure.operations.location import Location
    from perdure.web.answers import answer
    from perdure.web.api_reading import ENDPOINTS
    from perdure.web.endpoints import Desk, asked
    from perdure.web.jobs import Jobs

    desk = Desk(Location(ran.folder / ".perdure" / "state.db", "the test"), True, Jobs())
    run = _last(ran)
    seen = 0
    for endpoint in ENDPOINTS:
        fields = endpoint.query.__struct_fields__
        given = {"limit": "200"} if "limit" in fields else {"q": "cnry"} if fields == ("q",) else {}
        numbered = "{seq}" in endpoint.path or "{letter}" in endpoint.path
        numbers = [str(n) for n in range(1, 111, 5)] if numbered else [""]
        if endpoint.path == "/jobs/{job}":
            continue  # what a command prints is another test's
        for number in numbers:
            names = {"run": run, "seq": number, "letter": number}
            text = bytes(answer(endpoint.handle(desk, names, asked(endpoint.query, given))).body)
            assert not found(text, ALL + IN_ARGUMENTS), f"{endpoint.path} {number}"
            seen += b"***" in text
    assert seen > 20
