"""Runs of real scripts that fail, are killed, drift or recover: one alert each, and none of what is well."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import Shop

from conftest import Scripts
from sinks import Sink, serving


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


@pytest.fixture
def shop(scripts: Scripts, hook: Sink) -> Shop:
    return Shop(scripts, hook)


def test_a_failed_run(shop: Shop, hook: Sink) -> None:
    """One alert: step, attempt, the first line of the error, what is saved; and its commands work when typed."""
    shop.touch("fail")
    assert shop.run("nightly").returncode == 1
    (alert,) = hook.alerts
    assert (alert["what"], alert["level"], alert["step"], alert["attempt"]) == ("failed", "error", "charge", 2)
    assert alert["text"].splitlines()[1] == "CardDeclined: card 4 declined"
    assert "second line" not in alert["text"]
    assert alert["saved"] == 1
    see, go_on = (shlex.split(command) for _, command in alert["commands"])
    shown = shop.perdure(*see[1:])
    assert (shown.returncode, "card 4 declined" in shown.stdout) == (0, True)
    shop.remove("fail")
    assert shop.perdure(*go_on[1:]).returncode == 0
    shop.settle()
    assert [(each["what"], each["level"]) for each in hook.alerts] == [("failed", "error"), ("recovered", "info")]


def test_failing_again_is_counted_and_sent_with_the_recovery(shop: Shop, hook: Sink) -> None:
    """Three failures of the same kind are one alert, and that of the recovery has the count."""
    shop.touch("fail")
    for _ in range(3):
        shop.run("nightly")
    shop.remove("fail")
    assert shop.run("nightly").returncode == 0
    assert [(each["what"], each["repeated"]) for each in hook.alerts] == [("failed", 0), ("recovered", 2)]


def test_dead_letters_are_a_warning(shop: Shop, hook: Sink) -> None:
    """The run is done; its commands list and re-drive them."""
    shop.touch("fail")
    shop.run("batch")
    (alert,) = hook.alerts
    assert (alert["what"], alert["level"]) == ("dead-letters", "warning")
    assert "3 items became dead letters" in alert["text"]
    see, again = (shlex.split(command) for _, command in alert["commands"])
    assert shop.perdure(*see[1:]).stdout.count("charge") >= 3
    shop.remove("fail")
    assert shop.perdure(*again[1:]).returncode == 0


def test_killed_resumed_and_recovered(shop: Shop, hook: Sink) -> None:
    """One alert of the death over crash, restart and resumption; one of the recovery; then no more."""
    shop.touch("die")
    assert shop.run("nightly").returncode == -signal.SIGKILL
    assert [each["what"] for each in hook.alerts] == ["killed"]
    shop.remove("die")
    assert shop.run("nightly").returncode == 0
    assert [each["what"] for each in hook.alerts] == ["killed", "recovered"]
    assert shop.run("nightly").returncode == 0
    assert len(hook.alerts) == 2


def test_a_clean_end_is_silent(shop: Shop, hook: Sink) -> None:
    """No alert is sent, and no file of alerts is left on the disk."""
    assert shop.run("nightly").returncode == 0
    assert hook.alerts == []
    assert not list((shop.folder / ".perdure").glob("*-alerts"))
    assert list((shop.folder / ".perdure" / "state.db-flight").iterdir()) == []


def test_cancelled_is_silent(shop: Shop, hook: Sink) -> None:
    """It was asked for."""
    process = shop.scripts.start(shop.path, "quiet", HOOK=f"http://{hook.address}/x")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert shop.perdure("cancel", "last").returncode == 0
    process.communicate(timeout=60)
    shop.settle()
    assert hook.alerts == []


def test_drift(shop: Shop, hook: Sink) -> None:
    """A run that stops since the script was edited is alerted with the code of the error."""
    shop.touch("fail")
    shop.run("drifting", N="1")
    assert shop.run("drifting", N="2").returncode == 1
    assert [(each["what"], each["code"]) for each in hook.alerts] == [("failed", ""), ("failed", "code-drift")]


@pytest.mark.parametrize("how", ["garbage", "a folder that is none"])
def test_a_state_file_that_cannot_be_used(how: str, shop: Shop, hook: Sink, tmp_path: Path) -> None:
    """Critical, once in a while however often it is tried, also where nothing can be written beside it."""
    place = tmp_path / "place"
    if how == "garbage":
        place.mkdir()
        (place / "state.db").write_bytes(b"not a state file " * 100)
    else:
        place.write_text("a file")
    for _ in range(3):
        ended = shop.run("nightly", PERDURE_STATE=str(place / "state.db"), TMPDIR=str(tmp_path))
        assert ended.returncode == 1
    (alert,) = hook.alerts
    assert (alert["what"], alert["level"]) == ("state-unusable", "critical")
    assert alert["code"].startswith("state-")
    assert "cannot use its state file" in alert["title"]


def test_a_state_file_that_is_taken_from_a_run(shop: Shop, hook: Sink) -> None:
    """One alert of the run that it stops, which says what to do, and none besides that the file cannot be used."""
    shop.touch("move")
    assert shop.run("nightly").returncode == 1
    (alert,) = hook.alerts
    assert (alert["what"], alert["code"]) == ("failed", "state-replaced")
    assert "what to do: end what still runs" in alert["text"]


def test_a_run_without_targets_pays_for_nothing(scripts: Scripts) -> None:
    """`import perdure` loads nothing of alerts; a run without targets loads only what finds out that there are none."""
    path = scripts.write(
        """
        import sys
        from perdure import step, workflow
        assert not [name for name in sys.modules if name.startswith("perdure.alerts")]
        @step
        def one(n):
            return n
        @workflow
        def plain():
            return one.map(range(3)).ok and one(7)
        plain()
        print(sorted(name for name in sys.modules if name.startswith("perdure.alerts")))
        """
    )
    ended = scripts.run(path, fresh=True)
    assert (ended.stdout, ended.stderr) == ("['perdure.alerts', 'perdure.alerts.recipients']\n", "")
