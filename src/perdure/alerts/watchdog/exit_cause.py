"""How a process ended, as far as the kernel shows it (part of the watchdog process: it imports nothing of ours)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` costs a tenth of the watchdog process's memory
import os
import struct
import time

GRACE = 0.5
"""Seconds that a process may take to be gone after it has closed its files."""

PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, 64 bytes) of linux/pidfd.h."""
PIDFD_INFO_EXIT = 1 << 3


class OomDetector:
    """Whether the kernel has killed the process for want of memory, since it was first looked at.

    Counters of its memory cgroup are proof enough (cgroup-v2.rst, memory.events; v1: memory.oom_control); so is the
    kernel's log, if it may be read. The machine's own counter (vmstat) shows only that some process was killed.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.since = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0
        self.folders: list[str] = []
        self.events = ""
        self.bound = 0
        self.before = self.latest = self.count()
        self.look()

    def look(self, alive: bool = False) -> None:
        """Find the cgroup again: a process may be moved, and the count begins anew then.

        What was counted before an earlier look at which the process was `alive` was not its death. Not the last one:
        the kernel counts before it kills.
        """
        folders = []
        known = read_text(f"/proc/{self.pid}/cgroup")
        if is_gone(self.pid):
            # A dead process is in the root of a hierarchy of version 1, wherever it was before (proc_cgroup_show in the
            # kernel). If it was dead at the first look: we began in its cgroup, since it started us.
            known = "" if self.folders else read_text("/proc/self/cgroup")
        for line in known.splitlines():
            _, _, rest = line.partition(":")
            kinds, _, path = rest.partition(":")
            if not kinds:
                folders += with_parents("/sys/fs/cgroup", path)
            elif "memory" in kinds.split(","):
                folders += with_parents("/sys/fs/cgroup/memory", path)
        if folders and folders != self.folders:
            self.folders = folders
            files = [f"{folder}/{name}" for folder in folders for name in ("memory.events", "memory.oom_control")]
            self.events = next((file for file in files if read_text(file)), "")
            self.before = self.latest = self.count()
            self.bound = 0
            self.bound = self.limit()
        elif alive:
            self.before, self.latest = self.latest, self.count()

    def count(self) -> tuple[int, int]:
        """How many processes were killed so far: of the cgroup, and of the whole machine."""
        anywhere = field(read_text("/proc/vmstat"), "oom_kill")
        return field(read_text(self.events), "oom_kill"), anywhere

    def evidence(self) -> str:
        """What shows that the process was killed for want of memory; empty if nothing does."""
        here, anywhere = self.count()
        if here > self.before[0]:
            return "cgroup"
        if self.in_log():
            return "kernel log"
        return "vmstat" if anywhere > self.before[1] else ""

    def limit(self) -> int:
        """Bytes that the cgroup and those above it may use; 0 if there is no limit."""
        if self.bound and not read_text(self.events):
            return self.bound  # the cgroup was removed with its last process
        names = ("memory.max", "memory.limit_in_bytes")
        texts = [read_text(f"{folder}/{name}").strip() for folder in self.folders for name in names]
        return min((int(text) for text in texts if text.isdigit() and int(text) < 1 << 60), default=0)

    def in_log(self) -> bool:
        """Does the kernel's log show that it killed the process since then? (Documentation/ABI/testing/dev-kmsg)"""
        try:
            log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            wanted = f"Killed process {self.pid} ("
            while True:
                try:
                    prefix, _, text = os.read(log, 8192).decode("utf-8", "replace").partition(";")
                except BrokenPipeError:
                    continue  # records were overwritten while we read
                if wanted in text and int(prefix.split(",")[2]) / 1e6 > self.since - 1:
                    return True
        except (OSError, ValueError, IndexError):
            return False
        finally:
            os.close(log)


def with_parents(root: str, path: str) -> list[str]:
    """The folder of a cgroup, and those of all above it; the nearest first."""
    parts = [part for part in path.split("/") if part]
    return ["/".join([root, *parts[:length]]) for length in range(len(parts), -1, -1)]


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc_pid_stat(5))."""
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def exit_status(pid: int, born: str, pidfd: int) -> int | None:
    """How the process ended, as wait(2) gives it; None if that cannot be found out.

    While it is a zombie /proc has it; once its parent has waited for it, only its pidfd, since Linux 6.15.
    """
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        fields = stat_fields(pid)
        if fields[19:20] != [born]:
            fields = []  # the number belongs to another process by now
        if len(fields) > 49 and (fields[0] in "ZX" or fields[49] != "0"):
            return int(fields[49])
        if fields:
            time.sleep(0.001)  # on its way out: the pipe closes first
            continue
        return status_by(pidfd) if pidfd >= 0 else None
    return None


def status_by(pidfd: int) -> int | None:
    """How a process ended, from its pidfd alone."""
    try:
        import fcntl

        info = bytearray(struct.pack("<Q", PIDFD_INFO_EXIT).ljust(64, b"\0"))
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except (ImportError, OSError):
        return None
    if not struct.unpack_from("<Q", info)[0] & PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("<i", info, 60)[0]
    return status


def name_of(status: int | None) -> str:
    """A word for it: "SIGKILL", "exit 3", "unknown"."""
    if status is None:
        return "unknown"
    number = status & 0x7F
    if not number:
        return f"exit {status >> 8}"
    for name, value in vars(_signal).items():
        if (
            name.startswith("SIG")
            and not name.startswith("SIG_")
            and value == number
            and name not in ("SIGIOT", "SIGCLD")
        ):
            return str(name)
    return f"signal {number}"


def high_water(pid: int) -> int:
    """The most memory that the process has used, in bytes; 0 if the system does not show it."""
    return field(read_text(f"/proc/{pid}/status"), "VmHWM:") * 1024


def is_dying(pid: int) -> bool:
    """Has the process been killed, though a busy machine has not ended it yet? (SigPnd and ShdPnd, proc(5))"""
    for line in read_text(f"/proc/{pid}/status").splitlines():
        name, _, mask = line.partition(":")
        if name in ("SigPnd", "ShdPnd") and int(mask, 16) >> (_signal.SIGKILL - 1) & 1:
            return True
    return False


def is_gone(pid: int) -> bool:
    """Is the process ending, or dead? (the state and PF_EXITING of proc_pid_stat(5))"""
    fields = stat_fields(pid)
    return len(fields) < 7 or fields[0] in "ZX" or bool(int(fields[6]) & 4)


def field(text: str, name: str) -> int:
    """The number behind a name at the beginning of a line; 0 if there is none."""
    for line in text.splitlines():
        parts = line.split()
        if len(parts) > 1 and parts[0] == name and parts[1].isdigit():
            return int(parts[1])
    return 0


def read_text(path: str) -> str:
    """A small file of the kernel's; empty if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
