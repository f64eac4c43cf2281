"""The companion: a small process that sees how the process of a run ends, and starts whoever tells of it.

    python -I -S -c "...; import process; process.main()" PIPE PIDFD PID BORN FLIGHT PYTHON

It imports nothing of ours and little of Python's, so that it starts in milliseconds and stays small. The run's process
(`alerts/watchdog/client.py`) writes lines into the pipe; what is in braces is JSON that only the teller reads:

    hello {...}                          whom to tell, and how
    began N STALL DEADLINE {...}         run N is open; it hangs after STALL s without progress, DEADLINE s from now
    ended N                              run N is closed
    loose N                              run N was cancelled: whether that is an alarm depends on how the process ends
    stopped N {...}                      run N was stopped in its middle; how
    bye {...}                            the exception that is about to end the process
    tell {...}                           tell this at once

The process is dead when the pipe is closed and the process is gone, whichever order the two come in: a grandchild may
keep the pipe open, and a script that makes itself a daemon may close it. Then, if a run was open, somebody is told.
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
"""Offsets in a flight record (`store/flight_recorder.py`)."""

QUICK, SLOW = 1.0, 8.0
"""Seconds between two looks at the memory of the process; longer while it does not grow."""

LAST_WORDS = 300.0
"""Seconds that the tellers are given after the death of the process."""

TELLER = (
    "import json, sys; spec = json.load(sys.stdin);"
    "sys.path += [place for place in spec['hello']['path'] if place not in sys.path];"
    "from perdure.alerts.watchdog.report import speak; speak(spec)"
)


class Run:
    """An open run: what the teller is to know of it, and when it counts as hanging."""

    def __init__(self, stall: float, deadline: float, about: bytes, now: float) -> None:
        self.about = about
        self.began = now
        self.stall = stall
        self.deadline = now + deadline if deadline else 0.0
        self.stalled = False
        self.loose = False


class Companion:
    """Watches one process.

    Args:
        pipe: what it says.
        pidfd: says when it is gone (pidfd_open(2)); -1 where there is none.
        pid: its number.
        born: when it was started, in ticks since boot, as /proc/PID/stat has it; empty if that is not known.
        flight: the path of its flight record.
        python: the interpreter for whoever tells.
    """

    def __init__(self, pipe: int, pidfd: int, pid: int, born: str, flight: str, python: str) -> None:
        self.pipe = pipe
        self.pidfd = pidfd
        self.pid = pid
        self.born = born
        self.python = python
        self.flight = flight
        self.record = lock(flight)
        self.buffer = b""
        self.hello = b"{}"
        self.bye = b"null"
        self.runs: dict[bytes, Run] = {}
        self.tellers: list[int] = []
        self.progress = b""
        self.moved = time.monotonic()
        self.memory = 0
        self.interval = QUICK
        self.sample_at = self.moved
        self.hurt = exit_cause.Hurt(pid)

    def watch(self) -> None:
        """Until the process is dead."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(self.patience() * 1000)]
            if self.pipe in ready and not self.hear():
                poll.unregister(self.pipe)
                if not self.runs or self.pidfd < 0 or self.is_dead(exit_cause.GRACE):
                    return
            if self.pidfd in ready or (self.pidfd < 0 and not exists(self.pid)):
                self.hear_all()
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

    # -- what the process says ----------------------------------------------------------------------------------------

    def hear(self) -> bool:
        """Take what is in the pipe; False at its end."""
        try:
            data = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.obey(line)
        return True

    def hear_all(self) -> None:
        """What a dead process had still said; others may hold the pipe open, so its end is not waited for."""
        os.set_blocking(self.pipe, False)
        while select.select([self.pipe], [], [], 0)[0] and self.hear():
            pass

    def obey(self, line: bytes) -> None:
        """One line."""
        verb, _, rest = line.partition(b" ")
        number, _, about = rest.partition(b" ")
        if verb == b"hello":
            self.hello = rest
        elif verb == b"began":
            stall, deadline, about = about.split(b" ", 2)
            self.runs[number] = Run(float(stall), float(deadline), about, time.monotonic())
            self.hurt.look()
        elif verb == b"ended":
            self.runs.pop(number, None)
        elif verb == b"loose" and number in self.runs:
            self.runs[number].loose = True
        elif verb == b"stopped" and number in self.runs:
            self.tell(b"stopped", [self.runs.pop(number)], b'"stop":' + about)
        elif verb == b"bye":
            self.bye = rest
        elif verb == b"tell":
            self.tell(b"tell", [], b'"message":' + rest)

    # -- what can be seen from outside --------------------------------------------------------------------------------

    def look(self) -> None:
        """Whatever is due: memory, stalls, deadlines, tellers that are done."""
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
                self.tell(b"stall", [run], b'"seconds":%.3f' % idle)
            elif run.stalled and idle < run.stall:
                run.stalled = False
                self.tell(b"moving", [run], b'"seconds":%.3f' % idle)
            if run.deadline and now >= run.deadline:
                run.deadline = 0.0
                self.tell(b"deadline", [run], b'"seconds":%.3f' % (now - run.began))

    def sample(self, now: float) -> None:
        """How much memory it has used at most, for the record; a sign of life at the same time."""
        self.hurt.look(alive=True)
        seen = exit_cause.high_water(self.pid)
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

    # -- telling ------------------------------------------------------------------------------------------------------

    def mourn(self) -> None:
        """The process is dead. If a run was open, say how it died, and have it told."""
        died = time.time()
        runs = list(self.runs.values())
        if not runs:
            return
        status = exit_cause.exit_status(self.pid, self.born, self.pidfd)
        starved = self.hurt.starved() if status in (None, 9) else ""
        cause = "oom" if starved else exit_cause.name_of(status)
        self.write(MEMORY, struct.pack("<Qd", self.memory, died))
        self.write(CAUSE, cause.encode().ljust(CAUSE_LENGTH, b"\0"))
        if all(run.loose for run in runs) and status == 0:
            return
        found = f'"cause":"{cause}","evidence":"{starved}","limit":{self.hurt.limit()},"memory":{self.memory}'
        self.tell(b"death", runs, f'{found},"died":{died:.6f},"bye":'.encode() + self.bye)

    def tell(self, kind: bytes, runs: list[Run], details: bytes) -> None:
        """Start a full Python that tells of it; it inherits the record's lock, the right to tell of the death."""
        about = b",".join(run.about for run in runs)
        fixed = (kind, self.hello, about, self.pid, self.record >= 0)
        spec = b'{"kind":"%s","hello":%s,"runs":[%s],"pid":%d,"held":%d,' % fixed + details + b"}"
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        if self.record >= 0:
            os.set_inheritable(self.record, kind == b"death")
        try:
            self.tellers.append(
                os.posix_spawn(self.python, [self.python, "-P", "-c", TELLER], os.environ, file_actions=actions)
            )
            os.close(reading)
            reading = -1
            while spec:
                spec = spec[os.write(writing, spec) :]
        except OSError:
            pass  # nothing to be told with: the next start will do it
        finally:
            os.close(writing)
            if reading >= 0:
                os.close(reading)

    def reap(self) -> None:
        """Forget the tellers that are done."""
        for pid in list(self.tellers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.tellers.remove(pid)

    def rest(self) -> None:
        """Wait for the tellers, but not for ever."""
        until = time.monotonic() + LAST_WORDS
        while self.tellers and time.monotonic() < until:
            self.reap()
            time.sleep(0.05)


def lock(path: str) -> int:
    """Open a flight record and take its lock: while it is held, nobody else tells of the process. -1: no record."""
    try:
        import fcntl

        record = os.open(path, os.O_RDWR)
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return -1
    return record


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
    """Close all descriptors but the standard ones and those: nobody who waits for their end is to wait for us."""
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
    """Watch, and have it told."""
    # What ends the process that is watched, Ctrl-C in a terminal say, is not to end whoever is to tell of it.
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    pipe, pidfd, pid = map(int, sys.argv[1:4])
    let_go(pipe, pidfd)
    companion = Companion(pipe, pidfd, pid, *sys.argv[4:7])
    companion.watch()
    companion.mourn()
    companion.rest()
