"""`perdure breaker`: what is known of services is shown, and can be changed from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.api.breaker import Breaker
from perdure.api.rate import Rate
from perdure.cli import main


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state file of the test's own."""
    path = tmp_path / "state.db"
    monkeypatch.setenv("PERDURE_STATE", str(path))
    return path


def broken() -> None:
    raise ConnectionError("https://user:hunter2@example.com does not answer")


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert main(["breaker", "ls", "--json"]) == 0
    return {view["name"]: view for view in json.loads(capsys.readouterr().out)["services"]}


def test_nothing_is_known_before_a_failure(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list, no error, and no file is made by looking."""
    assert main(["breaker", "ls"]) == 0
    assert "no breaker has seen a failure" in capsys.readouterr().out
    assert list(state.parent.iterdir()) == []


def test_an_open_breaker_is_shown_and_closed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, state, failures, openings, the last error without its password; reset lets calls through."""
    breaker = Breaker("payments", failures=1)
    with pytest.raises(ConnectionError):
        breaker.call(broken)
    shown = listed(capsys)["payments"]
    assert (shown["state"], shown["failures"], shown["openings"]) == ("open", 1, 1)
    assert shown["until"] is not None
    assert "hunter2" not in str(shown)
    assert "does not answer" in str(shown["error"])
    assert main(["breaker", "ls"]) == 0
    assert "open until" in capsys.readouterr().out
    assert main(["breaker", "reset", "payments"]) == 0
    assert breaker.call(len, "abc") == 3


def test_isolate_and_reset(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A breaker can be isolated before any call was made; a typing error is at least told."""
    assert main(["breaker", "isolate", "payments"]) == 0
    assert "new:" in capsys.readouterr().out
    assert Breaker("payments").state == "isolated"
    assert main(["breaker", "isolate", "payments", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "payments", "state": "isolated"}
    assert main(["breaker", "reset", "payments", "--state", str(state)]) == 0
    assert Breaker("payments").state == "closed"


def test_a_name_that_is_not_known_is_refused(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reset names those that there are."""
    main(["breaker", "isolate", "payments"])
    assert main(["breaker", "reset", "payment"]) == 2
    assert "give one of: payments" in capsys.readouterr().err


def test_rates_and_pauses_are_shown(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The limit as it was written; the pause after a 429, which a reset ends."""

    class TooMany(Exception):
        response = type("Response", (), {"status_code": 429, "headers": {"retry-after": "500"}})()

    def throttled() -> None:
        raise TooMany

    with pytest.raises(TooMany):
        Rate("100/s", name="api").call(throttled)
    shown = listed(capsys)["api"]
    assert (shown["state"], shown["rate"]) == (None, "100/s")
    assert shown["paused_until"] is not None
    main(["breaker", "reset", "api"])
    assert listed(capsys)["api"]["paused_until"] is None
