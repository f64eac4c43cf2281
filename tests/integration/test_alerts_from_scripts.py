"""`perdure.alert` in scripts, steps and workflows, and the commands around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import step, workflow
from perdure.api.alert import alert
from perdure.cli import main
from perdure.errors import OptionError
from sinks import Sink, serving


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with serving(Sink()) as sink:
        monkeypatch.setenv("PERDURE_ALERTS", f"http://{sink.address}/x")
        yield sink


@step
def careful(text: str) -> str:
    alert(text, level="warning")
    return text


@step(retry=None)
def maybe(fail: bool) -> None:
    if Path("fail").exists():
        raise ValueError("not yet")


@workflow
def alerting(text: str) -> str:
    alert(f"{text} from the workflow")
    careful(f"{text} from a step")
    maybe(True)
    return text


@workflow
async def alerting_async(text: str) -> str:
    alert(text)
    return text


def test_outside_of_everything(machine: object, hook: Sink) -> None:
    """The text and the level; the first line is the title."""
    assert alert("three invoices\nhave no address", level="warning")
    assert hook.texts[0].startswith("WARNING: three invoices\nhave no address\n")
    assert hook.alerts[0]["run"] == ""


def test_in_a_step_it_names_run_and_step_and_in_a_workflow_it_is_sent_once(
    machine: object, hook: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed and goes on does not send again what it has sent."""
    monkeypatch.chdir(tmp_path)
    Path("fail").touch()
    with pytest.raises(ValueError, match="not yet"):
        alerting("hello")
    Path("fail").unlink()
    assert alerting("hello") == "hello"
    first, second = hook.alerts
    assert (first["error"], first["step"]) == ("hello from the workflow", "")
    assert (second["error"], second["step"]) == ("hello from a step", "careful")
    assert first["run"] == second["run"] != ""


async def _run() -> str:
    return await alerting_async("from async code")


def test_in_an_async_workflow(machine: object, hook: Sink) -> None:
    """It is a step there too."""
    import asyncio

    assert asyncio.run(_run()) == "from async code"
    assert hook.alerts[0]["error"] == "from async code"


def test_no_target_is_no_error(machine: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does nothing; a level that there is not is refused all the same."""
    monkeypatch.setenv("PERDURE_ALERTS", "")
    assert not alert("no target")
    with pytest.raises(OptionError, match="'warning'"):
        alert("x", level="warn")  # type: ignore[arg-type]


def test_the_commands(
    machine: object, hook: Sink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """test proves, pending lists, flush delivers; exit code 1 while something cannot be delivered."""
    assert main(["alert", "test"]) == 0
    assert "delivered in" in capsys.readouterr().out
    hook.down = 503
    assert main(["alert", "test", "--json"]) == 1
    (tried,) = json.loads(capsys.readouterr().out)["tests"]
    assert (tried["delivered"], tried["target"]) == (False, "http://127.0.0.1")
    assert not alert("wait for me")
    assert main(["alert", "pending"]) == 0
    assert "wait for me" in capsys.readouterr().out
    assert main(["alert", "flush"]) == 1
    assert "answered 503" in capsys.readouterr().out
    hook.down = None
    assert main(["alert", "flush"]) == 0
    assert "no alert waits" in capsys.readouterr().out
    assert [text.splitlines()[0] for text in hook.texts] == ["INFO: perdure test", "INFO: wait for me"]
    monkeypatch.setenv("PERDURE_ALERTS", "")
    assert main(["alert", "test"]) == 2
    assert "PERDURE_ALERTS" in capsys.readouterr().err
