"""What an agent is answered by `perdure mcp`: nothing it could harm with, nothing secret, nothing too large."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.integration.mcp_shop import CANARIES, HOSTILE, MANY, Answered, Shop, outside_of

import warm

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="mcp is not installed")

READ = {
    "list_runs",
    "show_run",
    "why_run",
    "diagnose_run",
    "explain_failure",
    "list_dead_letters",
    "show_dead_letter",
    "list_breakers",
    "check_script",
}
WRITE = {"redrive_dead_letter", "resume_run", "cancel_run", "signal_run", "reset_breaker"}


class Looked:
    """What a client of one server, without the flag, has seen."""

    tools: list[Any]
    instructions: str
    by_name: dict[str, Answered]
    first: list[Answered]
    last: list[Answered]
    refused: list[Answered]
    shop: Shop


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    """One server, asked once about everything."""
    found = Looked()
    found.shop = shop = Shop(tmp_path_factory.mktemp("mcp"))
    shop.prepare()

    async def calls(client: Any) -> None:
        found.tools = (await client.list_tools()).tools
        found.instructions = client.instructions
        runs = {one["workflow"]: one["id"] for one in (await shop.call(client, "list_runs")).content["runs"]}
        found.by_name = {
            "list_runs": shop.answered[0],
            "sell": await shop.call(client, "show_run", run=runs["sell"]),
            "news": await shop.call(client, "show_run", run=runs["news"]),
            "named": await shop.call(client, "show_run", run=runs["sell"], step="charge"),
            "why_run": await shop.call(client, "why_run", run=runs["news"]),
            "diagnose_run": await shop.call(client, "diagnose_run", run=runs["sell"]),
            "next": await shop.call(client, "diagnose_run", run=runs["sell"], cursor="1"),
            "entry": await shop.call(client, "explain_failure", code="poison-item"),
            "text": await shop.call(
                client, "explain_failure", text=f"OSError: [Errno 28] No space left on device: {HOSTILE}"
            ),
            "codes": await shop.call(client, "explain_failure"),
            "list_dead_letters": await shop.call(client, "list_dead_letters", error="instructions"),
            "show_dead_letter": await shop.call(client, "show_dead_letter", letter=1),
            "list_breakers": await shop.call(client, "list_breakers"),
            "check_script": await shop.call(client, "check_script", path="unsound.py", hints=True),
        }
        found.first = await shop.pages(client, 3, "show_run", run=runs["many"])
        found.last = await shop.pages(client, 99, "show_run", run=runs["many"], cursor="301")
        found.refused = [
            await shop.call(client, "show_run", run="nothing"),
            await shop.call(client, "show_run", run="last", cursor="-1"),
            await shop.call(client, "show_run", runs="last"),
            await shop.call(client, "show_dead_letter", letter="99"),
            *[await shop.call(client, name, run="last", letter="1", name="mail") for name in sorted(WRITE)],
        ]

    shop.talk(calls)
    return found


def test_only_tools_that_look_are_offered(looked: Looked) -> None:
    """Without the flag there is no tool that writes, and every tool says that it only reads."""
    assert {tool.name for tool in looked.tools} == READ
    assert all(tool.annotations.read_only_hint for tool in looked.tools)
    assert "untrusted" in looked.instructions


def test_a_tool_that_is_not_offered_does_nothing(looked: Looked) -> None:
    """Called by its name all the same, a tool that writes is refused."""
    for answer in looked.refused[-len(WRITE) :]:
        assert answer.error
        assert answer.content["error"]["code"] == "bad-option"
        assert "no tool" in answer.content["error"]["text"]
    assert looked.by_name["list_dead_letters"].content["totals"] == {"parked": 1}


def test_errors_have_code_text_and_hint(looked: Looked) -> None:
    """What perdure refuses is an error of the tool with what to do, and the server goes on."""
    errors = [answer.content["error"] for answer in looked.refused[:4]]
    assert all(answer.error for answer in looked.refused)
    assert [one["code"] for one in errors] == ["not-found", "bad-option", "bad-option", "not-found"]
    assert all(one["text"] and one["hint"] for one in errors)


def test_runs_and_what_stopped_them(looked: Looked) -> None:
    """Each run is there as it stands, with its steps, its error and what helps."""
    seen = looked.by_name
    assert {(one["workflow"], one["status"]) for one in seen["list_runs"].content["runs"]} == {
        ("sell", "dead"),
        ("news", "failed"),
        ("many", "done"),
    }
    (step,) = seen["sell"].content["steps"]
    assert (step["name"], step["status"], step["letter"], step["letter_status"]) == ("charge", "dead", 1, "parked")
    assert seen["news"].content["untrusted"]["error"]["type"] == "ConnectionError"
    assert any("perdure resume" in way["command"] for way in seen["why_run"].content["ways"])


def test_diagnoses_and_entries(looked: Looked) -> None:
    """Findings with their commands, what they quote apart; an entry by its code, or by the text of an error."""
    seen = looked.by_name
    found = seen["diagnose_run"].content
    assert found["status"] == "dead"
    assert found["findings"][0]["commands"]
    assert found["findings"][0]["untrusted"]["evidence"]
    assert seen["next"].content.get("findings", []) == found["findings"][1:]
    assert seen["entry"].content["entry"]["code"] == "poison-item"
    assert seen["text"].content["verdict"]["code"] == "disk-full"
    assert len(seen["codes"].content["entries"]) == 20


def test_letters_and_breakers(looked: Looked) -> None:
    """The letter with its attempt, the open breaker with its last error."""
    (letter,) = looked.by_name["list_dead_letters"].content["letters"]
    assert (letter["letter"], letter["step"]) == (1, "charge")
    (attempt,) = looked.by_name["show_dead_letter"].content["attempts"]
    assert HOSTILE in attempt["untrusted"]["message"]
    (breaker,) = looked.by_name["list_breakers"].content["breakers"]
    assert (breaker["name"], breaker["state"]) == ("mail", "open")


def test_a_script_that_is_checked_is_not_executed(looked: Looked) -> None:
    """Findings come from the source; the file that the script writes when it is loaded is not there."""
    lines = looked.by_name["check_script"].content["lines"]
    assert "no-timeout" in {line["code"] for line in lines if line["kind"] == "finding"}
    assert not (looked.shop.folder / "executed").exists()


def test_texts_from_outside_are_marked(looked: Looked) -> None:
    """A hostile text of an error or an input is in the answers, and nowhere but under `untrusted`."""
    holding = [one for one in looked.shop.answered if HOSTILE in one.text]
    assert len(holding) >= 6
    assert not [text for one in looked.shop.answered for text in outside_of(one.content) if HOSTILE in text]


def test_no_secret_is_answered(looked: Looked) -> None:
    """Credentials in errors, inputs, results and the environment are in no answer."""
    texts = "".join(one.text for one in looked.shop.answered)
    assert [canary for canary in CANARIES if canary in texts] == []


def test_answers_are_bounded_and_lose_nothing(looked: Looked) -> None:
    """Of 10,000 steps each answer has at most 20 kB, and the cursors lead from each to the next, to the first step."""
    sizes = [len(one.text.encode()) for one in looked.shop.answered]
    assert max(sizes) <= 20_000
    first, last = (
        [step["seq"] for answer in part for step in answer.content["steps"]] for part in (looked.first, looked.last)
    )
    assert first == list(range(MANY, first[-1] - 1, -1))
    assert looked.first[-1].content["next_cursor"] == str(first[-1])
    assert last == list(range(300, 0, -1))


@pytest.fixture(scope="module")
def wrote(looked: Looked) -> tuple[list[Any], dict[str, Answered]]:
    """A server with the flag, that repairs all there is, and cancels what it cannot."""
    shop = looked.shop
    (shop.folder / "fixed").touch()

    async def calls(client: Any) -> tuple[list[Any], dict[str, Answered]]:
        runs = {one["workflow"]: one["id"] for one in (await shop.call(client, "list_runs")).content["runs"]}
        return (await client.list_tools()).tools, {
            "early": await shop.call(client, "resume_run", run=runs["news"], wait=30),
            "signal": await shop.call(client, "signal_run", run=runs["news"], event="go", value={"n": [1]}, id="once"),
            "again": await shop.call(client, "signal_run", run=runs["news"], event="go", id="once"),
            "reset": await shop.call(client, "reset_breaker", name="mail"),
            "resume": await shop.call(client, "resume_run", run=runs["news"]),
            "redrive": await shop.call(client, "redrive_dead_letter", letter="1"),
            "cancel": await shop.call(client, "cancel_run", run=runs["news"]),
            "late": await shop.call(client, "signal_run", run=runs["news"], event="go"),
            "after": await shop.call(client, "list_runs"),
        }

    found: tuple[list[Any], dict[str, Answered]] = shop.talk(calls, "--allow-writes")
    return found


def test_with_the_flag_runs_are_repaired(wrote: tuple[list[Any], dict[str, Answered]]) -> None:
    """The tools that write are there, say so, and do what the commands do."""
    tools, seen = wrote
    assert {tool.name for tool in tools if not tool.annotations.read_only_hint} == WRITE
    assert [tool.name for tool in tools if tool.annotations.destructive_hint] == ["cancel_run"]
    assert seen["early"].content["outcome"] == "failed"
    assert "open" in seen["early"].content["untrusted"]["output"]
    sent = seen["signal"].content
    assert (sent["event"], sent["outcome"], sent["status"], sent["pid"]) == ("go", "stored", "failed", None)
    assert seen["again"].content["outcome"] == "repeated"
    assert seen["late"].content["error"]["code"] == "run-ended"
    assert seen["reset"].content == {"name": "mail", "state": "closed"}
    assert seen["resume"].content["outcome"] == "done"
    assert seen["redrive"].content["outcome"] == "resolved"
    assert "done already" in seen["cancel"].content["untrusted"]["output"]
    assert {one["status"] for one in seen["after"].content["runs"]} == {"done"}
    assert not [one for one in seen.values() for canary in CANARIES if canary in one.text]


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    """The error has the command that installs it, and the exit code of wrong usage."""
    program = "import sys; sys.modules['mcp_types'] = None\nfrom perdure.cli import main; sys.exit(main(['mcp']))"
    done = warm.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'what to do: pip install "perdure[mcp]"' in done.stderr
    assert done.stdout == ""
