"""The watchdog process: sees how the process of a run ends, and starts the reporter that alerts.

    python -I -S -c "...; import process; process.main()" PIPE PIDFD RECORD PID BORN PYTHON FLIGHT

FLIGHT is for people, who see in the list of processes what it watches.

It imports nothing of ours and little of Python's, so that it starts in milliseconds and stays small. The run's process
(`alerts/watchdog/client.py`) writes lines into the pipe; what is in braces is JSON that only the reporter reads:

    hello {...}                          the state file, the flight record, the settings
    began N STALL DEADLINE {...}         run N is open; it hangs after STALL s without progress, DEADLINE s from now
    ended N                              run N is closed
    cancelled N                          run N was cancelled: a failure only if the process ends badly
    stopped N {...}                      run N was stopped in its middle; by which exception
    goodbye {...}                        the last exception, which is about to end the process
    deliver {...}                        deliver what waits in the spool

The process is dead when the pipe is closed and the process is gone, whichever order the two come in: a grandchild may
keep the pipe open, and a script that makes itself a daemon may close it. Then, if a run was open, an alert is sent.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` costs a tenth of this process's memory
import os
import select
import struct
import sys
import time

TYPE_CHECKING = False  # `typing` is more than half of what this process needs to start
if TYPE_CHECKING:
    from perdure.alerts.watchdog import exit_cause
else:
    import exit_cause

PROGRESS, MEMORY, CAUSE, CAUSE_LENGTH = 24, 32, 72, 64
"""Offsets in a flight record (`store/flight_record.py`)."""

QUICK, SLOW = 1.0, 8.0
"""Seconds between two looks at the memory of the process; longer while it does not grow."""

REPORTING = 300.0
"""Seconds that the reporters have after the death of the process."""

REPORTER = (
    "import json, sys; spec = json.load(sys.stdin);"
    "sys.path += [place for place in spec['hello']['path'] if place not in sys.path];"
    "from perdure.alerts.watchdog.report import report; report(spec)"
)


def reporter_command(python: str) -> list[str]:
    """The command of a reporter; `-P`: it imports nothing from the working directory."""
    return [python, "-P", "-c", REPORTER]


class Run:
    """An open run: what the reporter needs to know of it, and when it counts as hanging."""

    def __init__(self, stall: float, deadline: float, about: bytes, now: float) -> None:
        self.about = about
        self.began = now
        self.stall = stall
        self.deadline = now + deadline if deadline else 0.0
        self.stalled = False
        self.cancelled = False


class WatchdogProcess:
    """Watches one process.

    Args:
        pipe: what it sends.
        pidfd: readable when it is gone (pidfd_open(2)); -1 where there is none.
        record: its flight record, open and locked: while it is, no other process reports the death. -1: there is none.
        pid: its number.
        born: when it was started, in ticks since boot, as /proc/PID/stat has it; empty if that is not known.
        python: the interpreter for the reporter.
    """

    def __init__(self, pipe: int, pidfd: int, record: int, pid: int, born: str, python: str) -> None:
        self.pipe = pipe
        self.pidfd = pidfd
        self.pid = pid
        self.born = born
        self.python = python
        self.record = record
        self.buffer = b""
        self.hello = b"{}"
        self.last_exception = b"null"
        self.runs: dict[bytes, Run] = {}
        self.reporters: list[int] = []
        self.progress = b""
        self.moved = time.monotonic()
        self.memory = 0
        self.interval = QUICK
        self.sample_at = self.moved
        self.oom = exit_cause.OomDetector(pid)

    def watch(self) -> None:
        """Until the process is dead."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(self.patience() * 1000)]
            if self.pipe in ready and not self.receive():
                poll.unregister(self.pipe)
                if not self.runs or self.pidfd < 0 or self.is_dead(exit_cause.GRACE):
                    return
            if self.pidfd in ready or (self.pidfd < 0 and not exists(self.pid)):
                self.receive_rest()
                return
            self.look()

    def is_dead(self, seconds: float) -> bool:
        """Does the process go within that time?"""
        return bool(select.select([self.pidfd], [], [], seconds)[0])

    def patience(self) -> float:
        """Seconds until something has to be looked at."""
        now = time.monotonic()
        waits = [self.sample_at - now]
        for run in self.runs.values():
            if run.stall:
                waits.append(min(max(run.stall / 10, 0.05), 1.0))
            if run.deadline:
                waits.append(run.deadline - now)
        return max(min(waits), 0.0)

    # -- what the process sends ---------------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Take what is in the pipe; False at its end."""
        try:
            data = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.handle(line)
        return True

    def receive_rest(self) -> None:
        """Take what a dead process had still sent; others may hold the pipe open, so its end is not waited for."""
        os.set_blocking(self.pipe, False)
        while select.select([self.pipe], [], [], 0)[0] and self.receive():
            pass

    def handle(self, line: bytes) -> None:
        """Handle one line."""
        verb, _, rest = line.partition(b" ")
        number, _, about = rest.partition(b" ")
        if verb == b"hello":
            self.hello = rest
        elif verb == b"began":
            stall, deadline, about = about.split(b" ", 2)
            self.runs[number] = Run(float(stall), float(deadline), about, time.monotonic())
            self.oom.look()
        elif verb == b"ended":
            self.runs.pop(number, None)
        elif verb == b"cancelled" and number in self.runs:
            self.runs[number].cancelled = True
        elif verb == b"stopped" and number in self.runs:
            self.start_reporter(b"stopped", [self.runs.pop(number)], b'"stop":' + about)
        elif verb == b"goodbye":
            self.last_exception = rest
        elif verb == b"deliver":
            self.start_reporter(b"deliver", [], b'"message":' + rest)

    # -- what can be seen from outside --------------------------------------------------------------------------------

    def look(self) -> None:
        """Check what is due: memory, stalls, deadlines, reporters that have ended."""
        now = time.monotonic()
        self.reap()
        if now >= self.sample_at:
            self.sample(now)
        if not any(run.stall or run.deadline for run in self.runs.values()):
            return
        progress = self.read(PROGRESS, 8)
        if progress != self.progress:
            self.progress, self.moved = progress, now
        for run in self.runs.values():
            idle = now - max(self.moved, run.began)
            if run.stall and not run.stalled and idle >= run.stall:
                run.stalled = True
                self.start_reporter(b"stall", [run], b'"seconds":%.3f' % idle)
            elif run.stalled and idle < run.stall:
                run.stalled = False
                self.start_reporter(b"moving", [run], b'"seconds":%.3f' % idle)
            if run.deadline and now >= run.deadline:
                run.deadline = 0.0
                self.start_reporter(b"deadline", [run], b'"seconds":%.3f' % (now - run.began))

    def sample(self, now: float) -> None:
        """Write the most memory it has used into its record; a sign of life at the same time."""
        seen = exit_cause.high_water(self.pid)
        self.oom.look(alive=not exit_cause.is_dying(self.pid) and (seen > 0 or not self.memory))
        self.interval = QUICK if seen > self.memory else min(self.interval * 2, SLOW)
        self.sample_at = now + self.interval
        if seen:
            self.memory = seen
            self.write(MEMORY, struct.pack("<Qd", seen, time.time()))

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the flight record."""
        try:
            return os.pread(self.record, size, at) if self.record >= 0 else b""
        except OSError:
            return b""

    def write(self, at: int, data: bytes) -> None:
        """Write into the flight record."""
        try:
            if self.record >= 0:
                os.pwrite(self.record, data, at)
        except OSError:
            pass  # a full disk: the alert is worth more than the record

    # -- reporting ----------------------------------------------------------------------------------------------------

    def report_death(self) -> None:
        """The process is dead. If a run was open, record how it died, and have that reported."""
        died = time.time()
        runs = list(self.runs.values())
        if not runs:
            return
        status = exit_cause.exit_status(self.pid, self.born, self.pidfd)
        evidence = self.oom.evidence() if status in (None, 9) else ""
        cause = "oom" if evidence else exit_cause.name_of(status)
        self.write(MEMORY, struct.pack("<Qd", self.memory, died))
        self.write(CAUSE, cause.encode().ljust(CAUSE_LENGTH, b"\0"))
        if all(run.cancelled for run in runs) and status == 0:
            return
        found = f'"cause":"{cause}","evidence":"{evidence}","limit":{self.oom.limit()},"memory":{self.memory}'
        self.start_reporter(
            b"death", runs, f'{found},"died":{died:.6f},"last_exception":'.encode() + self.last_exception
        )

    def start_reporter(self, kind: bytes, runs: list[Run], details: bytes) -> None:
        """Start a full Python that reports it; it inherits the record's lock, the right to report the death."""
        about = b",".join(run.about for run in runs)
        fixed = (kind, self.hello, about, self.pid, self.record >= 0)
        spec = b'{"kind":"%s","hello":%s,"runs":[%s],"pid":%d,"held":%d,' % fixed + details + b"}"
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        if self.record >= 0:
            os.set_inheritable(self.record, kind == b"death")
        try:
            self.reporters.append(
                os.posix_spawn(self.python, reporter_command(self.python), os.environ, file_actions=actions)
            )
            os.close(reading)
            reading = -1
            while spec:
                spec = spec[os.write(writing, spec) :]
        except OSError:
            pass  # it cannot be started: the next start of a run reports the death
        finally:
            os.close(writing)
            if reading >= 0:
                os.close(reading)

    def reap(self) -> None:
        """Forget the reporters that have ended."""
        for pid in list(self.reporters):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.reporters.remove(pid)

    def wait_for_reporters(self) -> None:
        """Wait for the reporters, for five minutes at most."""
        until = time.monotonic() + REPORTING
        while self.reporters and time.monotonic() < until:
            self.reap()
            time.sleep(0.05)


def exists(pid: int) -> bool:
    """Is there a process of that number?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def let_go(*kept: int) -> None:
    """Close all descriptors but the standard ones and those: who waits for their end must not wait for us."""
    try:
        others = [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        others = list(range(256))
    for descriptor in others:
        if descriptor > 2 and descriptor not in kept:
            try:  # noqa: SIM105  contextlib is not light
                os.close(descriptor)
            except OSError:
                pass


def main() -> None:
    """Watch, and report."""
    # What ends the watched process, Ctrl-C in a terminal say, must not end the watchdog process.
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    pipe, pidfd, record, pid = map(int, sys.argv[1:5])
    let_go(pipe, pidfd, record)
    watchdog = WatchdogProcess(pipe, pidfd, record, pid, *sys.argv[5:7])
    watchdog.watch()
    watchdog.report_death()
    watchdog.wait_for_reporters()
