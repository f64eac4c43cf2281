"""What a worker knew of a failure is kept by the cluster: all commands say the same, on whatever machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.conftest import Server
from tests.conformance.test_commands import Desk

REFUSED = """
    import email.message, urllib.error

    def answer(status: int) -> Exception:
        return urllib.error.HTTPError("http://api.test/", status, "no", email.message.Message(), None)

    @step(retry=perdure.Retry(attempts=2, delay="10ms", jitter=0))
    def fetch(n: int) -> int:
        if n == 1:
            raise answer(401)
        return n

    @step(retry=perdure.Retry(attempts=2, delay="10ms", jitter=0))
    def pay() -> int:
        raise answer(402)

    @workflow
    def nightly() -> None:
        fetch.map(range(3))
        pay()
"""


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Iterator[Desk]:
    """A desk beside a cluster."""
    desk = Desk(tmp_path, server.url(dead_after="2s"))
    yield desk
    desk.close()


def test_verdicts_of_workers_are_told_by_commands(desk: Desk) -> None:
    """By status, which a stored copy of the exception does not show; what is not kept is said, and no command is
    offered that a cluster does not have."""
    desk.write(REFUSED)
    code, _, err = desk.type("run", str(desk.script))
    assert (code, "HTTP Error 402" in err) == (1, True), err
    run = next(one["id"] for one in desk.told("ps")["runs"] if one["script"] == str(desk.script))
    shown = desk.told("show", run)
    assert (shown["verdict"]["code"], shown["verdict"]["confidence"]) == ("over-budget", "certain")
    (dead,) = [one["verdict"] for one in shown["steps"] if one["status"] == "dead"]
    assert (dead["code"], dead["status"], dead["confidence"]) == ("credential-expired", 401, "certain")
    assert desk.told("dlq", "ls", "--run", run)["letters"][0]["verdict"] == dead
    assert desk.told("why", run)["code"] == "over-budget"
    found = desk.told("diagnose", run)
    assert [one["code"] for one in found["findings"]][:2] == ["over-budget", "credential-expired"]
    assert not [one for each in found["findings"] for one in each["commands"] if "fork" in one or "redrive" in one]
    assert any("a cluster does not keep" in one for one in found["not_seen"])
    for command in ("show", "why", "diagnose"):
        _, out, err = desk.type(command, run)
        assert "a cluster does not keep how often a call was executed" in out, err


LEFT = """
    import os

    @step(retry=None)
    def charge() -> str:
        if not os.path.exists(FLAG):
            open(FLAG, "w").close()
            raise PermissionError("declined")
        return "paid"

    @step
    def refund() -> str:
        return "refunded"

    @workflow
    def shop() -> str:
        try:
            return charge()
        except PermissionError:
            refund()
            raise
"""


def test_what_a_handler_has_done_is_said_once_the_step_goes_well(desk: Desk, tmp_path: Path) -> None:
    """As on one machine: the worker that ends the run has a line about the completed call, and `show` has it."""
    desk.write(LEFT.replace("FLAG", repr(str(tmp_path / "flag"))))
    code, _, err = desk.type("run", str(desk.script))
    assert (code, "did not come to" in err) == (1, False), err
    code, _, err = desk.type("run", str(desk.script))
    said = "did not come to a step that an earlier try had completed: refund"
    assert (code, err.count(said)) == (0, 1), err
    run = next(one["id"] for one in desk.told("ps")["runs"] if one["script"] == str(desk.script))
    shown = desk.told("show", run)
    assert said in shown["remarks"][0]
    assert shown["published"] == {}
    assert not [one for one in desk.told("diagnose", run)["findings"] if one["code"] == "silent-failure"]
