"""What is said of a death: for every way to die, and however strange the names are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.alerts.alert import TEXT
from perdure.alerts.crash_alerts import Hello, Observation, WatchedRun, alerts_for, describe_observation
from perdure.alerts.watchdog.client import LastException
from perdure.core.sizes import show_size
from perdure.store import flight_record
from perdure.store.flight_record import Flight
from perdure.store.flight_recorder import Recorder

KEY = b"k" * 16
TARGETS = ("https://example.org/a",)


def seen(kind: str = "death", **rest: Any) -> Observation:
    about = [WatchedRun("nightly-1", "nightly", TARGETS)]
    return Observation(kind, Hello("/srv/.perdure/state.db"), **{"runs": about, "pid": 7, "died": 1010.0, **rest})


def recorded(folder: Path, *calls: tuple[str, str, float]) -> Flight:
    recorder = Recorder(folder, "7-abc")
    for run, name, started in calls:
        recorder.begin(run, name, KEY, 0, 2, started)
    recorder.close_in_child()
    found = flight_record.read(recorder.path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("facts", "what", "level", "words"),
    [
        ({"cause": "SIGKILL"}, "killed", "error", "SIGKILL"),
        ({"cause": "SIGSEGV"}, "crashed", "error", "segmentation fault"),
        ({"cause": "SIGXCPU"}, "killed", "error", "SIGXCPU"),
        ({"cause": "exit 3"}, "stopped", "error", "exit code 3"),
        (
            {"cause": "exit 1", "last_exception": LastException("ValueError", "no moon")},
            "stopped",
            "error",
            "ValueError: no moon",
        ),
        ({"cause": "SIGINT"}, "interrupted", "info", "SIGINT"),
        ({"cause": "SIGINT", "last_exception": LastException("KeyboardInterrupt")}, "interrupted", "info", "SIGINT"),
        ({"cause": "oom", "evidence": "cgroup"}, "killed", "error", "out of memory and killed it"),
        ({"cause": "oom", "evidence": "vmstat"}, "killed", "error", "probably"),
        ({"cause": "unknown"}, "killed", "error", "how is unknown"),
        ({"cause": "restart"}, "killed", "error", "machine went down"),
        ({"kind": "stopped", "stop": LastException("SystemExit", "", 3)}, "stopped", "error", "sys.exit(3)"),
        ({"kind": "stopped", "stop": LastException("SystemExit", "", 0)}, "stopped", "warning", "sys.exit(0)"),
        ({"kind": "stopped", "stop": LastException("SystemExit", "no disk", 1)}, "stopped", "error", "no disk"),
        (
            {"kind": "stopped", "stop": LastException("Drift", "changed", "code-drift")},
            "failed",
            "error",
            "Drift: changed",
        ),
        ({"kind": "stopped", "stop": LastException("GeneratorExit")}, "stopped", "error", "GeneratorExit"),
        ({"kind": "stall", "seconds": 600.0}, "hung", "error", "no step has finished for 10 min"),
        ({"kind": "deadline", "seconds": 7200.0}, "hung", "error", "2 h"),
        ({"kind": "moving"}, "recovered", "info", "steps finish again"),
    ],
)
def test_every_end_has_its_words(facts: dict[str, Any], what: str, level: str, words: str) -> None:
    """What happened, how bad it is, and how it is said."""
    said = describe_observation(seen(**facts))
    assert (said.what, said.level) == (what, level)
    assert words in said.error


def test_what_was_in_flight(tmp_path: Path) -> None:
    """One step is named in the title, several are listed; child runs belong to it, other runs do not."""
    ((alert, targets),) = alerts_for(seen(cause="SIGKILL"), recorded(tmp_path / "a", ("nightly-1", "charge", 1000.0)))
    assert targets == TARGETS
    assert (alert.step, alert.attempt) == ("charge", 2)
    assert "in flight: charge, attempt 2, for 10 s" in alert.text()
    record = recorded(
        *(tmp_path / "b", ("nightly-1", "a", 1.0), ("nightly-1.child-0", "b", 2.0)),
        *(("nightly-10", "c", 3.0), ("other", "d", 4.0)),
    )
    ((alert, _),) = alerts_for(seen(cause="SIGKILL"), record)
    assert alert.step == ""
    assert [note.split(",")[0] for note in alert.notes if "flight" in note] == ["in flight: a", "in flight: b"]


def test_many_in_flight_are_counted(tmp_path: Path) -> None:
    """Three are named."""
    record = recorded(tmp_path, *(("nightly-1", f"step {n}", float(n)) for n in range(10)))
    ((alert, _),) = alerts_for(seen(cause="SIGKILL"), record)
    notes = [note for note in alert.notes if "flight" in note]
    assert notes[-1] == "and 7 more in flight"
    assert len(notes) == 4


def test_memory_is_said() -> None:
    """The most that was used, and the limit if there is one."""
    ((alert, _),) = alerts_for(seen(cause="oom", evidence="cgroup", memory=1 << 30, limit=1 << 31), None)
    assert "memory: up to 1.07 GB of 2.15 GB" in alert.notes
    assert alert.code == "out-of-memory"
    ((alert, _),) = alerts_for(seen(cause="oom", evidence="cgroup", limit=1 << 31), None)
    assert "memory: a limit of 2.15 GB" in alert.notes  # it died before its memory was looked at
    assert [show_size(n) for n in (0, 999, 1000, 12_345_678, 10**18)] == [
        *("0 bytes", "999 bytes", "1 kB", "12.3 MB", "1,000,000 TB"),
    ]


def test_a_service_is_one_alert() -> None:
    """A thousand runs of a workflow are one alert; another workflow, or other targets, are another."""
    runs = [WatchedRun(f"n-{n}", "nightly", TARGETS) for n in range(1000)]
    runs += [WatchedRun("d-1", "daily", TARGETS), WatchedRun("n-x", "nightly", ("https://example.org/b",))]
    found = alerts_for(seen(cause="SIGKILL", runs=runs), None)
    assert [(alert.workflow, targets[0][-1]) for alert, targets in found] == [
        *(("nightly", "a"), ("daily", "a"), ("nightly", "b")),
    ]
    assert "and 999 more runs of it" in found[0][0].text()
    assert len({alert.id for alert, _ in found}) == 3


def test_reported_again_it_is_the_same_alert(tmp_path: Path) -> None:
    """The id of a death is the same whichever process reports it, so that a receiver can see that it has it already."""
    record = recorded(tmp_path, ("nightly-1", "charge", 1000.0))
    first, again = (alerts_for(seen(cause=cause), record)[0][0].id for cause in ("SIGKILL", "unseen"))
    assert first == again
    assert first != alerts_for(seen("stall", seconds=1.0), record)[0][0].id


def test_strange_names_do_no_harm() -> None:
    """Long, empty, or full of control characters: it stays short, and a command is safe to paste."""
    state = Hello("/srv/my files/'; rm -rf x/state.db")
    for name in ("", "x" * 5000, "\x1b[31m\u202e\n\0", "\N{SNOWMAN}" * 400):
        runs = [WatchedRun(name, name, TARGETS)]
        ((alert, _),) = alerts_for(
            Observation("death", state, runs, cause="SIGKILL", last_exception=LastException(name or "E", name)), None
        )
        assert len(alert.text()) <= TEXT
        assert "\x1b" not in alert.text()
    ((alert, _),) = alerts_for(
        Observation("death", state, [WatchedRun("$(reboot)", "w", TARGETS)], cause="SIGKILL"), None
    )
    assert all("'$(reboot)'" in command for _, command in alert.commands)
