"""Dead letters and runs that were broken off are logged once each; what is shown holds no credentials."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from observed_steps import acharge, charge, messages

import perdure
from perdure import step, workflow
from perdure.cli.view.progress_lines import ProgressLines
from perdure.config import settings
from perdure.core.exceptions.capture import to_fault
from perdure.engines.events import DeadLetterParked, Observer
from perdure.engines.local.engine import close_all, engine_at
from perdure.errors import HasDeadLetters


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    yield
    close_all()


def test_what_is_deferred_is_shown_rather_than_the_deferring() -> None:
    """The step that is to be called and its inputs, in the lines about a run."""
    lines: list[str] = []
    watch = ProgressLines(lambda text, style: lines.append(text))

    @workflow
    def job() -> None:
        perdure.defer(charge, 2)

    engine_at(settings.state_path("")).observer = watch
    job()
    texts = [line.partition(" ran in ")[0] for line in lines if " ran in " in line]
    assert texts == ["defer charge(2)", "defer:charge(2)"]


def test_dead_letters_show_no_credentials() -> None:
    """Neither the input of a dead letter nor what `raise_if_dead` says."""

    @step(retry=None)
    def fetch(url: str) -> None:
        raise ValueError("no")

    @workflow
    def job() -> None:
        batch = fetch.map(["https://user:hunter2@example.com/"])
        assert batch.dead[0].input == "('https://user:***@example.com/')"
        batch.raise_if_dead()

    with pytest.raises(HasDeadLetters) as raised:
        job()
    assert "fetch('https://user:***@example.com/')" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_each_dead_letter_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its number and its error, at WARNING; nothing about those of an earlier process when the run is resumed."""
    caplog.set_level(logging.WARNING, "perdure")
    broken = True

    @workflow
    def job() -> None:
        charge.map(range(4))
        if broken:
            raise OSError("the printer is off")

    with pytest.raises(OSError, match="printer"):
        job()
    said = [f"step 'charge' is parked as dead letter {n}: ValueError: order {2 * n - 1} is odd" for n in (1, 2)]
    assert messages(caplog, "parked") == said
    broken = False
    job()
    assert messages(caplog, "parked") == said


def test_dead_letters_of_async_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Just the same."""
    import asyncio

    caplog.set_level(logging.WARNING, "perdure")

    @workflow
    async def job() -> None:
        await acharge.map([1, 2])

    asyncio.run(job())
    assert messages(caplog, "parked") == ["step 'acharge' is parked as dead letter 1: ValueError: order 1 is odd"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(3)])
def test_a_run_that_is_broken_off_is_logged(caplog: pytest.LogCaptureFixture, stop: BaseException) -> None:
    """As broken off, once, and not as ended: it can be resumed."""
    caplog.set_level(logging.INFO, "perdure")
    stops = [stop]

    @workflow
    def job() -> str:
        charge(2)
        if stops:
            raise stops.pop()
        return "done"

    with pytest.raises(type(stop)):
        job()
    assert len(messages(caplog, f"was broken off: {type(stop).__name__}")) == 1
    assert not messages(caplog, " done")
    assert job() == "done"
    assert len(messages(caplog, "was broken off")) == 1


def test_an_async_run_that_is_broken_off_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Just the same."""
    import asyncio

    caplog.set_level(logging.INFO, "perdure")

    @workflow
    async def job() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        asyncio.run(job())
    assert len(messages(caplog, "was broken off: SystemExit: 3")) == 1


def test_the_observers_of_the_settings_observe_a_worker(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A script that sets up logging gets what its steps do on a worker as well."""
    from perdure.operations import worker

    class Cluster:
        observer: Observer | None = None

        def serve(self, *_: object) -> None:
            assert self.observer is not None
            self.observer.notify(DeadLetterParked("r", "job", "charge", 7, to_fault(ValueError("no"))))

    script = tmp_path / "served.py"
    script.write_text("")
    monkeypatch.setattr(worker, "worker_engine_at", lambda url, command: Cluster())
    worker.serve("temporal://nowhere", [script], lambda stems: None)
    assert messages(caplog, "parked") == ["step 'charge' is parked as dead letter 7: ValueError: no"]
