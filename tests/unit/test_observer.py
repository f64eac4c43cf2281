"""An observer is notified of everything: each kind of event happens in a real run, and every observer takes it."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from observed_steps import charge

import perdure
from conftest import FakeWorld
from perdure import Retry, step, workflow
from perdure.cli.view.live import LiveWatch, PlainWatch
from perdure.cli.view.progress_lines import ProgressLines
from perdure.cli.view.running_steps import Board
from perdure.cli.view.stream_proxy import StreamProxy
from perdure.config import settings
from perdure.engines.events import AttemptEnded, Event, Observer, RunWaits
from perdure.engines.local import engine as local
from perdure.engines.local.engine import close_all, engine_at
from perdure.engines.observers.event_json import to_json
from perdure.engines.observers.fanout import FanOut
from perdure.engines.observers.log_observer import LogObserver
from perdure.engines.observers.telemetry import Telemetry
from perdure.errors import Suspended

KINDS: tuple[type[Any], ...] = get_args(Event)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    yield
    close_all()


class Recorder:
    """Keeps what it is notified of; `act` is called with each event."""

    def __init__(self, act: Callable[[Event], None] = lambda event: None) -> None:
        self.events: list[Event] = []
        self._act = act

    def notify(self, event: Event) -> None:
        self.events.append(event)
        self._act(event)


def everything(folder: Path) -> list[Event]:
    """The events of runs of this machine in which all happens that can happen."""
    seen, held = threading.Event(), threading.Event()
    stops = [KeyboardInterrupt()]

    @step(retry=Retry(attempts=2, delay=0, jitter=0), rate="2/s")
    def fetch(n: int) -> int:
        perdure.progress(n, 2, "token=abcdef123456")
        if perdure.attempt() == 1:
            raise ConnectionError("postgres://bob:hunter2222@db/x refused")
        return n

    @workflow
    def job() -> None:
        fetch(1)
        charge.map([1, 2])
        if stops:
            raise stops.pop()

    @workflow(lock="till", if_locked="wait")
    def in_turn() -> None: ...

    def hold_the_lock() -> None:
        with perdure.lock("till"):
            held.set()
            seen.wait(60)

    recorder = Recorder(lambda event: seen.set() if isinstance(event, RunWaits) else None)
    # By its clock no time passes while a call is under way: the second one is held, however slow the machine is.
    engine = local._engines[folder / "state.db"] = local.LocalEngine(folder / "state.db", world=FakeWorld())
    engine.observer = recorder
    with pytest.raises(KeyboardInterrupt):
        job()
    job()
    other = threading.Thread(target=hold_the_lock)
    other.start()
    assert held.wait(60)
    in_turn()
    other.join()

    @workflow
    def asleep() -> None:
        perdure.sleep("1d")

    with pytest.raises(Suspended):
        asleep()
    return recorder.events


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_STATE", str(folder / "state.db"))
        found = everything(folder)
    close_all()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_event_happens(happened: list[Event], kind: type) -> None:
    """In a real run; each names its workflow, and its run once there is one."""
    found = [event for event in happened if type(event) is kind]
    assert found
    assert {event.workflow for event in found} <= {"job", "in_turn", "asleep"}
    assert all(getattr(event, "run", event.workflow).startswith(event.workflow) for event in found)


def observers(folder: Path) -> Iterator[Observer]:
    """All that there are."""
    yield from (FanOut(), LogObserver(), LogObserver(as_json=True), Telemetry(), PlainWatch().observer)
    with (folder / "screen").open("w") as stream:
        yield LiveWatch([StreamProxy(stream)]).observer
    yield from (Board(), ProgressLines(lambda text, style: None))


def test_every_observer_takes_every_event(happened: list[Event], tmp_path: Path) -> None:
    """Also one of a kind that it does not know: one that raised would be dropped."""

    class Unknown(msgspec.Struct, tag_field="event", tag="unknown"):
        workflow: str = "job"

    for observer in observers(tmp_path):
        for event in [*happened, Unknown()]:
            observer.notify(event)  # type: ignore[arg-type]
        if isinstance(observer, FanOut):
            assert observer.left == observer.given


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_event_is_logged(happened: list[Event], kind: type, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG at the latest, about its run and step, and without credentials."""
    caplog.set_level(logging.DEBUG, "perdure")
    found = [event for event in happened if type(event) is kind]
    for event in found:
        LogObserver().notify(event)
    last, record = found[-1], caplog.records[-1]
    assert record.perdure_workflow == last.workflow  # type: ignore[attr-defined]
    assert record.perdure_run == getattr(last, "run", "")  # type: ignore[attr-defined]
    assert record.perdure_step == getattr(last, "step", "")  # type: ignore[attr-defined]
    assert "abcdef123456" not in caplog.text
    assert "hunter2222" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_event_is_a_json_object(happened: list[Event], kind: type) -> None:
    """Plain, flat, redacted, with a name of its own, and with no key that a line of JSON has for something else."""
    names = {each.__struct_config__.tag for each in KINDS}
    assert len(names) == len(KINDS)
    for event in happened:
        if type(event) is kind:
            found = to_json(event)
            assert found["event"] in names
            assert all(type(value) in (str, int, float, type(None)) for value in found.values()), found
            assert json.loads(json.dumps(found)) == found
            assert not found.keys() & {"time", "level", "logger", "message", "exception", "stack"}
            assert "abcdef123456" not in str(found)
            assert "hunter2222" not in str(found)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_event_is_documented(happened: list[Event], kind: type) -> None:
    """In the table of docs/observability.md, with its fields."""
    (event, *_) = [each for each in happened if type(each) is kind]
    found = to_json(event)
    lines = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{found['event']}` |")]
    fields = row.split("|")[-2]
    missing = found.keys() - {"event", "run", "workflow"} - set(re.findall(r"`(\w+)`", fields))
    assert missing == ({"step", "key", "n"} if hasattr(event, "call") else set())
    assert fields.strip().startswith("call") == hasattr(event, "call")


def test_the_events_of_a_call_are_in_order(happened: list[Event]) -> None:
    """A started attempt ends before the next one is scheduled; a call is held before its attempt; replays come last."""
    of = [type(event).__name__ for event in happened if getattr(event, "step", "") == "fetch"]
    begins = ["AttemptStarted", "StepProgress", "AttemptEnded"]
    retried = [*begins, "RetryScheduled", "CallHeld", *begins]
    assert of == [*retried, "StepReplayed"]


def test_the_times_of_an_attempt_are_seconds(happened: list[Event]) -> None:
    """`started` since the epoch, and not before the attempt that came before."""
    ends = [event for event in happened if isinstance(event, AttemptEnded)]
    assert all(event.started > 1e9 and 0 <= event.seconds < 60 for event in ends)
    assert sorted(event.started for event in ends) == [event.started for event in ends]


def test_nothing_is_built_without_an_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that has no observer does not pay for events."""
    import sys

    def refuse(*_: object) -> None:
        raise AssertionError("an event was built")

    for module in [each for name, each in sys.modules.items() if name.startswith("perdure.engines.local")]:
        for name in [*(kind.__name__ for kind in KINDS), "attempt_ended"]:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, refuse)

    @workflow
    def job() -> int:
        return len(charge.map([1, 2]).dead)

    engine_at(settings.state_path("")).observer = None
    monkeypatch.setattr("perdure.engines.observers.attach.attached", lambda observer, script: None)
    assert job() == 1
