"""Deaths of watched processes, and the alerts of them: `python tests/integration/deaths.py --trials 200`.

A sink on the loopback interface takes the alerts, as a webhook would. Time counts from the moment at which the parent
of the dead process hears of its death.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

import perdure
import warm

VICTIM = Path(__file__).with_name("watched.py")
SOURCE = Path(perdure.__file__).parents[1]
PATIENCE = 60.0
"""Seconds to wait for what has to come; only a trial that fails waits for so long."""
LOOK = 0.005
CGROUPS = Path("/sys/fs/cgroup")
LIMIT = 128 << 20

ALERTED = {
    "SIGKILL": ("killed", "SIGKILL"),
    "SIGTERM": ("killed", "SIGTERM"),
    "SIGHUP": ("killed", "SIGHUP"),
    "segfault": ("crashed", "segmentation fault"),
    "os._exit": ("stopped", "exit code 3"),
    "sys.exit": ("stopped", "sys.exit(3)"),
    "sys.exit with a text": ("stopped", "no disk"),
    "exception": ("failed", "RuntimeError: the moon is full"),
    "out of memory": ("killed", "out of memory"),
    "closes everything": ("killed", "SIGKILL"),
    "leaves a child": ("killed", "SIGKILL"),
}
"""Each way to die, and what the alert says of it."""

QUIET = ("clean", "Ctrl-C", "forks")
"""What is no alarm."""

CAMPAIGN = ("SIGKILL", "out of memory", "segfault", "os._exit", "exception", "SIGTERM", "sys.exit", "clean")


class Sink:
    """A webhook that remembers what it was sent, and when."""

    def __init__(self) -> None:
        self.got: list[tuple[float, dict[str, Any]]] = []
        self.news = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with sink.news:
                    sink.got.append((time.monotonic(), body))
                    sink.news.notify_all()
                with contextlib.suppress(OSError):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"

    def wait(self, count: int, seconds: float = PATIENCE) -> bool:
        """Have so many come within that time?"""
        with self.news:
            return self.news.wait_for(lambda: len(self.got) >= count, seconds)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Trial(msgspec.Struct):
    """How it went: the alerts, how long after the death each came, and how long the pipes stayed open."""

    alerts: list[dict[str, Any]]
    delays: list[float]
    pipes: float
    said: str
    err: str
    status: int


def command(way: str, state: Path, sink: Sink, *options: str) -> list[str]:
    return [sys.executable, str(VICTIM), way, str(state), sink.url, *options]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "ALERT_"))}
    return {**kept, "PYTHONPATH": str(SOURCE)}


def left_running(folder: Path) -> list[int]:
    """The processes that were started with a path in that folder: the run, its watchdog process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def all_gone(folder: Path) -> bool:
    """Wait for the end of all processes of a trial; False if one does not end."""
    while left := left_running(folder):
        if not all(gone(pid) for pid in left):
            return False
    return True


def gone(pid: int) -> bool:
    """Wait for the end of a process; False if it does not end."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()  # which takes descriptors of any number, as select() does not
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(PATIENCE * 1000))
    finally:
        os.close(descriptor)


def attempt(
    way: str, folder: Path, sink: Sink, *options: str, within: Path | None = None, forked: bool = False
) -> Trial:
    """One process dies; returns when nothing of it is left.

    Args:
        way: how it dies.
        folder: of its own.
        sink: where its alerts go.
        options: for the process.
        within: a memory cgroup for it.
        forked: begin it warm; what it forks is not looked for then, only what it starts.
    """
    sink.got.clear()
    words = command(way, folder / "state.db", sink, *options)
    if within is not None:
        words = ["/bin/sh", "-c", f'echo $$ > {within}/cgroup.procs; exec "$@"', "sh", *words]
    process = (warm if forked else subprocess).Popen(
        words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    reader: list[Any] = []
    reading = threading.Thread(target=lambda: reader.append((process.communicate(), time.monotonic())))
    if isinstance(process, warm.Popen):
        process.until_dead()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    died = time.monotonic()
    reading.start()
    reading.join(PATIENCE)
    if not reader:
        process.kill()
        raise AssertionError(f"{way}: the pipes of the dead process are still open")
    (said, err), closed = reader[0]
    if way in ALERTED:
        sink.wait(1)
    if way == "leaves a child":
        os.kill(int(said), 9)
    assert all_gone(folder), f"{way}: still running: {left_running(folder)}"
    delays = [at - died for at, _ in sink.got]
    return Trial([alert for _, alert in sink.got], delays, closed - died, said, err, process.returncode)


@contextlib.contextmanager
def memory_cgroup(limit: int = LIMIT) -> Iterator[Path | None]:
    """A cgroup in which so many bytes may be used; None where none can be made."""
    for parent, file in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        folder = parent / f"perdure-test-{os.getpid()}-{os.urandom(2).hex()}"
        try:
            if not (parent / "cgroup.procs").exists():
                continue
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / file).write_text(str(limit))
        except OSError:
            folder.rmdir()
            continue
        try:
            yield folder
        finally:
            remove(folder)
        return
    yield None


def remove(cgroup: Path) -> None:
    """Remove a cgroup; the kernel takes a moment to see that the last process has left it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK)
        else:
            return


def percentile(values: list[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def campaign(trials: int) -> int:
    """Every way to die, many times; returns how many trials went wrong."""
    sink = Sink()
    wrong = 0
    print(f"{'':24}{'trials':>7}{'alerts':>7}{'median':>9}{'p99':>9}{'longest':>9}  wrong")
    for way in CAMPAIGN:
        delays: list[float] = []
        alerts = bad = 0
        with memory_cgroup() as cgroup:
            if way == "out of memory" and cgroup is None:
                print(f"{way:24} no memory cgroup can be made here")
                continue
            for _ in range(trials):
                with tempfile.TemporaryDirectory() as folder:
                    trial = attempt(
                        way, Path(folder).resolve(), sink, within=cgroup if way == "out of memory" else None
                    )
                alerts += len(trial.alerts)
                delays += trial.delays
                good = [] if way in QUIET else [ALERTED[way][0]]
                bad += [alert["what"] for alert in trial.alerts] != good
        shown = "".join(f"{percentile(delays, share) * 1000:6.0f} ms" for share in (0.5, 0.99, 1)) if delays else ""
        print(f"{way:24}{trials:7}{alerts:7}{shown:27}  {bad}", flush=True)
        wrong += bad + (percentile(delays, 0.99) > 2 if delays else 0)
    sink.close()
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill watched processes, and count the alerts.")
    parser.add_argument("--trials", type=int, default=20, help="of each way to die")
    sys.exit(min(campaign(parser.parse_args().trials), 1))
