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
