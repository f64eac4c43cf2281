"""`perdure why` says why a run has failed or needs nothing, of children and parents too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from why_shop import Shop, opened

from conftest import Scripts
from perdure.cli import main


@pytest.fixture
def shop(scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with opened(scripts, capsys, monkeypatch) as shop:
        yield shop


def test_a_failed_run(shop: Shop) -> None:
    """Which step, at which attempt, the error's first line, what kind of failure it is, and how to go on."""
    assert shop.run("full") == 1
    said = shop.why()
    assert "has failed" in said
    assert "full() failed at its only attempt, " in said  # a full disk is not tried again
    assert "ago: OSError: [Errno 28] No space left on device" in said
    assert "this kind of failure: disk-full" in said
    assert "1 step saved, and none of them runs again" in said
    assert "perdure resume flow-" in said
    assert shop.json("why", "last")["code"] == "disk-full"


def test_a_child_and_its_parent(shop: Shop) -> None:
    """The parent says what its child has in flight; the child says whose it is, and how that stands."""
    shop.begin("child", "stuck")
    said = shop.why()
    assert "in flight: stuck of child run flow-" in said
    (run,) = shop.json("ps")["runs"]
    children = [one["id"] for one in shop.json("ps", "--all")["runs"] if one["id"] != run["id"]]
    said = shop.why(min(children, key=len))
    assert f"it is a child of run {run['id']}, which is running, and goes on when that does" in said
    assert f"perdure why {run['id']}" in said


def test_a_parent_of_a_failed_child(shop: Shop) -> None:
    """It was the child that failed: that is where to look."""
    assert shop.run("failed child") == 1
    said = shop.why()
    assert "its child run flow-" in said
    assert "ago: OSError: [Errno 28]" in said


def test_a_parked_run(shop: Shop) -> None:
    """It was set aside, after which error; and the command that tries it again."""
    assert shop.run("fragile") == 1
    said = shop.why()
    assert "is set aside" in said
    assert "the last time with OSError: [Errno 28]" in said
    assert "perdure dlq redrive 1" in said


def test_runs_that_need_nothing(shop: Shop) -> None:
    """One that is done says so, and what is left of it; one that was cancelled as well."""
    assert shop.run("dead") == 0
    said = shop.why()
    assert "is done, with dead letters" in said
    assert "1 dead letter is left" in said
    assert "perdure dlq redrive --run flow-" in said
    assert shop.run("full") == 1
    shop.cancel()
    assert "was cancelled" in shop.why()
    assert shop.run("none") == 0
    assert "there is nothing to wait for" in shop.why()
    assert shop.json("why", "last")["ways"] == []


def test_a_run_that_failed_at_an_open_breaker(shop: Shop) -> None:
    """What opened the breaker, until when it is open, and the commands that show and close it; a run that failed for
    another reason says nothing of it."""
    assert shop.run("refused") == 1
    said = shop.why()
    assert "breaker 'gate' is open until " in said
    assert (
        "opened by 2 failures in a row, the last ConnectionError: no answer: calls that it guards wait or fail" in said
    )
    assert "perdure breaker reset gate" in said
    assert "perdure breaker ls" in said
    assert shop.run("refused") == 1  # now the call is not made at all
    said = shop.why()
    assert "asks for fewer calls" not in said
    assert "opened by 2 failures in a row, the last ConnectionError: no answer" in said
    assert shop.run("full") == 1
    assert "breaker" not in shop.why()


def test_the_last_step_is_the_one_that_failed(shop: Shop) -> None:
    """`perdure ps`: also a step that was not saved; the time is counted from the start that is shown."""
    assert shop.run("full") == 1
    (run,) = shop.json("ps")["runs"]
    assert run["last_step"] == "full"
    (line,) = [line for line in shop.printed("ps").splitlines() if "full" in line]
    assert run["created"][:10] in line


def test_json_says_the_same(shop: Shop) -> None:
    """Reasons and commands, under stable names."""
    assert shop.run("full") == 1
    said, data = shop.why(), shop.json("why", "last")
    assert set(data) == {"run", "workflow", "status", "reasons", "ways", "code", "asks"}
    assert all(way["command"] in said for way in data["ways"])
    assert data["reasons"][-1].split(";")[0] in said


def test_no_such_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and the exit code is not 0."""
    assert shop.run("none") == 0
    assert main(["why", "nothing", "--file", str(shop.script)]) != 0
    assert "there is no run 'nothing'" in capsys.readouterr().err
