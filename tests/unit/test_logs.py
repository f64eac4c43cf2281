"""Logging: quiet by default, each record says where it comes from, and lines of JSON are lines of JSON."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Retry, step, workflow
from perdure.core.execution.spec import Call, Spec
from perdure.engines.events import AttemptEnded, Event, RunEnded
from perdure.engines.local.engine import close_all
from perdure.engines.observers import attach, json_logs
from perdure.engines.observers.fanout import FanOut
from perdure.engines.observers.log_observer import LogObserver

log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    yield
    close_all()


def json_handler(stream: io.StringIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(json_logs.JsonFormatter())  # type: ignore[arg-type]
    handler.addFilter(json_logs.LogContext())
    return handler


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a handler with perdure's formatter and filter writes."""
    stream = io.StringIO()
    handler = json_handler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def records(stream: io.StringIO, logger: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, stream.getvalue().splitlines()) if each["logger"] == logger]


def test_each_record_says_where_it_comes_from(lines: io.StringIO) -> None:
    """Inside a step: run, workflow, step, attempt; in the workflow: run and workflow; outside: nothing."""

    @step(retry=Retry(attempts=2, delay=0.001, jitter=0))
    def fetch() -> None:
        log.info("inside")
        if len(records(lines, "shop")) < 4:
            raise OSError("once")

    @workflow
    def job() -> None:
        log.info("between")
        fetch()

    log.info("outside")
    job()
    outside, between, first, second = records(lines, "shop")
    assert not {"run", "workflow", "step", "attempt"} & outside.keys()
    assert between["workflow"] == "job"
    assert "step" not in between
    assert (first["run"], first["step"], first["attempt"]) == (between["run"], "fetch", 1)
    assert (second["run"], second["step"], second["attempt"]) == (between["run"], "fetch", 2)


def test_what_happens_is_logged(lines: io.StringIO) -> None:
    """Runs, failed attempts, repetitions, dead letters and batches, at their levels, about their steps."""

    @step(retry=Retry(attempts=2, delay=0.001, jitter=0))
    def item(n: int) -> int:
        if n == 2:
            raise OSError("token=abcdef123456 refused")
        return n

    @workflow
    def job() -> None:
        item.map([1, 2])

    job()
    told = records(lines, "perdure")
    by_level = {level: [each["message"] for each in told if each["level"] == level] for level in ("WARNING", "INFO")}
    assert len([text for text in by_level["WARNING"] if "failed at attempt" in text]) == 2
    assert any("dead letter" in text for text in by_level["WARNING"])
    assert any("is tried again" in text for text in by_level["INFO"])
    assert by_level["INFO"][0].endswith("started")
    assert by_level["INFO"][-1].endswith("done")
    assert {each["workflow"] for each in told} == {"job"}
    assert "abcdef123456" not in lines.getvalue()


def test_a_line_of_json_is_one_line_of_json() -> None:
    """Exceptions, odd text, values that JSON does not know, extra fields; credentials are hidden."""
    lines = io.StringIO()
    alone = logging.Logger("alone")  # pytest's handlers see nothing of it: pytest-xdist cannot send on lone surrogates
    alone.addHandler(json_handler(lines))
    try:
        raise ValueError("password=hunter22\n\ud800")
    except ValueError:
        alone.exception("two\nlines \ud800 %s", object, extra={"order": 17, "token": "abc", "odd": {1, 2}})
    text = lines.getvalue()
    (line,) = text.splitlines()
    record = json.loads(line)
    assert record["order"] == 17
    assert record["token"] == "***"
    assert "ValueError: password=***" in record["exception"]
    assert "hunter22" not in text


def test_nothing_is_printed_or_imported_unless_asked(tmp_path: Path) -> None:
    """A script without logging: `import perdure` and a failing step print nothing of perdure's on their own account."""
    script = tmp_path / "quiet.py"
    script.write_text(
        "import sys, perdure\n"
        "assert 'logging' not in sys.modules\n"
        "@perdure.step(retry=perdure.Retry(attempts=2, delay=0.001, jitter=0))\n"
        "def f(): raise OSError('x')\n"
        "@perdure.workflow\n"
        "def w():\n"
        "    try: f()\n"
        "    except OSError: return 1\n"
        "assert w() == 1\n"
        "assert 'perdure.engines.observers.log_observer' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_observer_that_fails_is_dropped_and_the_others_go_on(lines: io.StringIO) -> None:
    """It harms neither the run nor the others, and that it is dropped is logged once, without credentials."""
    notified: list[str] = []
    event = RunEnded("r", "w", "done")

    class Broken:
        def notify(self, event: Event) -> None:
            notified.append("broken")
            raise OSError("token=abcdef123456 gone")

    class Sound:
        def notify(self, event: Event) -> None:
            notified.append("sound")

    fan_out = FanOut(Broken(), Sound())
    fan_out.notify(event)
    fan_out.notify(event)
    assert notified == ["broken", "sound", "sound"]
    (line,) = records(lines, "perdure")
    assert line["level"] == "WARNING"
    assert line["message"] == "the observer Broken has failed and is not notified any more: OSError: token=*** gone"


def test_a_dropped_observer_stays_dropped() -> None:
    """Also when the next workflow of the process is called: it would fail, and be said to, for each."""

    class Broken:
        def notify(self, event: Event) -> None:
            raise OSError("gone")

    broken = Broken()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attach, "observers_of", lambda script: (broken,))
        fan_out = attach.attached(None, "job.py")
        assert isinstance(fan_out, FanOut)
        fan_out.notify(RunEnded("r", "w", "done"))
        assert attach.attached(fan_out, "job.py") is fan_out
    assert fan_out.left == ()


def test_lines_of_json_have_the_fields_of_events(lines: io.StringIO) -> None:
    """What perdure logs about a failed attempt says as data how long it took, and what it failed with."""
    error = OSError("token=abcdef123456 refused")
    call = Call(Spec("step", print, "fetch"), (), {}, b"", b"k" * 16)
    LogObserver(as_json=True).notify(AttemptEnded("r-1", "w", call, 2, error, 1.5e9, 0.25))
    (line,) = records(lines, "perdure")
    assert (line["run"], line["workflow"], line["step"], line["attempt"]) == ("r-1", "w", "fetch", 2)
    assert (line["event"], line["started"], line["seconds"]) == ("attempt_ended", 1.5e9, 0.25)
    assert (line["error_type"], line["error"]) == ("OSError", "OSError: token=*** refused")
