"""However a process dies in the middle of a run, one alert is sent, and nothing else happens because of it.

The long version is a command, which also measures how soon: `python tests/integration/deaths.py --trials 200`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deaths
import pytest
from deaths import ALERTED, PATIENCE, QUIET, Sink, Trial, all_gone, attempt, gone, left_running, memory_cgroup

import warm
from perdure.alerts.watchdog import report
from perdure.store import crashes, flight_record
from perdure.store.runs import Store
from waiting import until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid in left_running(tmp_path):
        os.kill(pid, signal.SIGKILL)


def the_alert(trial: Trial, way: str) -> dict[str, Any]:
    """The one alert, checked to be the right one."""
    assert len(trial.alerts) == 1, (trial.alerts, trial.err)
    (alert,) = trial.alerts
    what, words = ALERTED[way]
    assert alert["what"] == what
    assert words in alert["text"]
    return alert


PLACES = ("step", "between", "threads", "child", "async step", "async between", "tasks", "async child")


def start(way: str, folder: Path, sink: Sink, *options: str, **how: Any) -> subprocess.Popen[str]:
    """A process that waits for its next line."""
    process, said = begin(way, folder, sink, *options, **how)
    assert said == "waiting\n"
    return process


def begin(way: str, folder: Path, sink: Sink, *options: str, **how: Any) -> tuple[subprocess.Popen[str], str]:
    """The same, and what it says first."""
    sink.got.clear()
    process = warm.Popen(
        deaths.command(way, folder / "state.db", sink, *options),
        env=deaths.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.parametrize("way", [way for way in ALERTED if way != "out of memory"])
def test_every_death_is_one_alert(way: str, folder: Path, sink: Sink) -> None:
    """It says how the process died and what it was doing; its pipes close, and no process of it stays."""
    alert = the_alert(attempt(way, folder, sink), way)
    assert (alert["workflow"], alert["run"], alert["saved"]) == ("nightly", "nightly-1", 1)
    assert [command for _, command in alert["commands"]] == [
        f"perdure show nightly-1 --state {folder}/state.db",
        f"perdure resume nightly-1 --state {folder}/state.db",
    ]
    if not way.startswith("sys.exit"):  # which goes through the step's `finally`
        assert (alert["step"], alert["attempt"]) == ("charge", 2)


def test_out_of_memory_is_named(folder: Path, sink: Sink) -> None:
    """Of a process that the kernel killed for want of memory, and not merely that it was killed."""
    with memory_cgroup() as cgroup:
        if cgroup is None:
            pytest.skip("no memory cgroup can be made here (needs root, and a writable /sys/fs/cgroup)")
        alert = the_alert(attempt("out of memory", folder, sink, within=cgroup), "out of memory")
    assert alert["code"] == "out-of-memory"
    assert "probably" not in alert["text"]
    assert any("of 134 MB" in note for note in alert["notes"])


@pytest.mark.parametrize(
    ("way", "where"),
    [
        *((way, where) for way in ("SIGKILL", "sys.exit") for where in PLACES),
        ("os._exit", "threads"),
        ("os._exit", "tasks"),
    ],
)
def test_wherever_it_dies(way: str, where: str, folder: Path, sink: Sink) -> None:
    """In a step and between steps, in threads, in tasks, in a child run: one alert, which says what was in flight."""
    alert = the_alert(attempt(way, folder, sink, f"where={where}", forked=True), way)
    assert (alert["workflow"], alert["run"]) == ("nightly", "nightly-1")
    if way != "sys.exit":
        flying = [note for note in alert["notes"] if "in flight" in note]
        several = where in ("threads", "tasks")
        assert len(flying) == {"between": 0, "async between": 0, "threads": 4, "tasks": 4}.get(where, 1)
        assert (alert["step"] in ("charge", "acharge")) == (len(flying) == 1)
        assert all("item, attempt 2" in note for note in flying[:3]) or not several


@pytest.mark.parametrize(
    ("way", "where"), [*(("Ctrl-C", where) for where in PLACES), ("clean", "threads"), ("clean", "tasks")]
)
def test_no_alarm_wherever(way: str, where: str, folder: Path, sink: Sink) -> None:
    """Ctrl-C in a thread's main thread and in an event loop look different inside."""
    trial = attempt(way, folder, sink, f"where={where}", forked=True)
    assert trial.alerts == [], trial.err
    assert trial.status == (0 if way == "clean" else -signal.SIGINT), trial.err


@pytest.mark.parametrize("way", QUIET)
def test_no_alarm(way: str, folder: Path, sink: Sink) -> None:
    """A clean end, Ctrl-C, the end of a forked child; and a script may wait for its children: the watchdog is none."""
    trial = attempt(way, folder, sink)
    assert trial.alerts == []
    if way in ("clean", "forks"):
        assert trial.status == 0, trial.err
        assert os.listdir(flight_record.folder_of(folder / "state.db")) == []
    if way == "forks":
        assert trial.said == "childless\n"


@pytest.mark.parametrize("where", ["step", "between", "async step", "async between"])
def test_interrupts_are_alerted_if_asked_for(where: str, folder: Path, sink: Sink) -> None:
    """As information; the setting is PERDURE_ALERT_INTERRUPTS, or `alert_interrupts` in pyproject.toml."""
    (alert,) = attempt("Ctrl-C", folder, sink, "interrupts=yes", f"where={where}").alerts
    assert (alert["what"], alert["level"]) == ("interrupted", "info")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_to_the_group(number: int, folder: Path, sink: Sink) -> None:
    """What ends the run's whole process group, as a shell or cron does it, leaves the watchdog process to alert."""
    process = start("wait", folder, sink, start_new_session=True)
    os.killpg(process.pid, number)
    process.communicate()
    assert sink.wait(1)
    assert all_gone(folder)
    assert [signal.Signals(number).name in alert["text"] for _, alert in sink.got] == [True]


def test_pipes_close_without_the_watchdog(folder: Path, sink: Sink) -> None:
    """Cron, a container and a pipeline wait until all pipes of a script are closed: the watchdog process holds none."""
    reading, writing = os.pipe()  # as a shell hands on to everything that it starts
    high = os.dup2(writing, 200)  # a number that nothing else of the process gets
    process = start("wait", folder, sink, stderr=subprocess.PIPE, pass_fds=(high,))
    os.close(writing)
    os.close(high)
    (watchdog,) = [pid for pid in left_running(folder) if pid != process.pid]
    until(lambda: any(flight_record.is_watched(each) for each in folder.rglob("*.rec")), "the watchdog to begin")
    os.kill(watchdog, signal.SIGSTOP)  # it can neither close a pipe nor end
    try:
        process.kill()
        process.communicate(timeout=PATIENCE)
        assert select.select([reading], [], [], PATIENCE)[0]
        assert left_running(folder) == [watchdog]
    finally:
        os.kill(watchdog, signal.SIGCONT)
        os.close(reading)
    assert sink.wait(1)
    assert all_gone(folder)


def test_signals_do_not_end_the_watchdog(folder: Path, sink: Sink) -> None:
    """A service manager sends SIGTERM to every process; the one that is to alert stays until the end."""
    process = start("wait", folder, sink)
    (watchdog,) = [pid for pid in left_running(folder) if pid != process.pid]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(watchdog, number)
    process.kill()
    process.communicate()
    assert sink.wait(1)
    assert all_gone(folder)
    assert len(sink.got) == 1


def test_a_watchdog_that_is_killed_harms_no_run(folder: Path, sink: Sink) -> None:
    """The run goes on, whatever the script has made of SIGPIPE."""
    process = start("loses its watchdog", folder, sink)
    (watchdog,) = [pid for pid in left_running(folder) if pid != process.pid]
    os.kill(watchdog, signal.SIGKILL)
    assert gone(watchdog)
    say(process)
    out, _ = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("alive\n", 0)


@pytest.mark.parametrize("where", ["step", "async step"])
def test_a_hang_is_alerted_while_it_hangs(where: str, folder: Path, sink: Sink) -> None:
    """Once, with the step that is under way; and again, as information, when steps finish again."""
    process = start("hangs", folder, sink, "stall=1", f"where={where}")
    assert sink.wait(1)
    assert process.poll() is None
    assert (sink.got[0][1]["what"], sink.got[0][1]["step"]) == ("hung", {"step": "charge"}.get(where, "acharge"))
    say(process)
    assert sink.wait(2)
    assert (sink.got[1][1]["what"], sink.got[1][1]["level"]) == ("recovered", "info")
    say(process)
    process.communicate(timeout=PATIENCE)
    assert all_gone(folder)
    assert process.returncode == 0


@pytest.mark.parametrize("option", ["timeout=2", "stall=1"])
def test_what_cannot_be_interrupted_is_alerted_while_it_hangs(option: str, folder: Path, sink: Sink) -> None:
    """A C call that is deaf to signals and holds the interpreter's lock: the process itself could not alert."""
    process, said = begin("cannot be interrupted", folder, sink, option)
    seconds = 2
    while not said:  # a busy machine: the deadline had passed before the call began
        process.communicate(timeout=PATIENCE)
        assert all_gone(folder)
        seconds *= 4
        assert seconds < PATIENCE
        folder = folder / "again"
        folder.mkdir()
        process, said = begin("cannot be interrupted", folder, sink, f"timeout={seconds}")
    assert sink.wait(1)
    assert process.poll() is None
    ((_, alert),) = sink.got
    assert (alert["what"], alert["step"], alert["attempt"]) == ("hung", "charge", 2)
    assert ("deadline" in alert["text"]) == option.startswith("timeout")
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert all_gone(folder)
    assert [alert["what"] for _, alert in sink.got] == ["hung", "killed"]


def die_alone(folder: Path, sink: Sink) -> Path:
    """A run whose process and watchdog process die at the same moment, as at a power cut; returns the record."""
    process = start("wait", folder, sink)
    for pid in left_running(folder):
        if pid != process.pid:
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.communicate()
    assert all_gone(folder)
    (record,) = flight_record.folder_of(folder / "state.db").iterdir()
    return record


@pytest.mark.parametrize("lost", ["nothing", "the record", "the boot"])
def test_what_was_not_reported_is_reported_at_the_next_start(lost: str, folder: Path, sink: Sink) -> None:
    """Once, also with several processes that start at the same moment; also if the record did not survive."""
    record = die_alone(folder, sink)
    match lost:
        case "the record":
            record.unlink()
        case "the boot":
            data = bytearray(record.read_bytes())
            data[flight_record.MORE + 4 : flight_record.CAUSE] = b"another boot did"
            record.write_bytes(data)
    assert sink.got == []
    both = threading.Barrier(4)
    reported: list[int] = []

    def next_start() -> None:
        store = Store(folder / "state.db")
        both.wait()
        reported.append(report.report_at_start(store, (sink.url,)))
        store.close()

    threads = [threading.Thread(target=next_start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reported) == [0, 0, 0, 1]
    report.deliver((sink.url,), folder / "state.db")
    ((_, alert),) = sink.got
    assert (alert["what"], alert["run"]) == ("killed", "nightly-1")
    assert ("machine went down" in alert["text"]) == (lost == "the boot")
    assert ("charge" in alert["text"]) == (lost != "the record")
    store = Store(folder / "state.db")
    assert report.report_at_start(store, (sink.url,)) == 0
    store.close()


def test_what_the_watchdog_reported_is_not_reported_again(folder: Path, sink: Sink) -> None:
    """The next start finds the death marked as reported; and what was in flight is still there for who asks."""
    attempt("SIGKILL", folder, sink)
    store = Store(folder / "state.db")
    assert report.report_at_start(store, (sink.url,)) == 0
    (found,) = flight_record.dead(flight_record.folder_of(store.path), crashes.locks_of(store.path))
    assert (found.reported, found.cause, [call.name for call in found.calls]) == (True, "SIGKILL", ["charge"])
    store.close()
