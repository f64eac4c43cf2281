"""R2: power cuts of real file systems. A loop device is mounted and shut down in the middle of a workload, its log not
flushed; what was not synced is lost as in a power cut. Mounted again, the workload goes on from what is there.

Half of the victims are stopped first, so that nothing comes after the cut. The others live on, on a file system that
answers each call with an error: they have to end with a named error, and the run has to go on. What those had seen is
not judged: to a process that lives on, ext4 may acknowledge an fdatasync that was under way and is lost, as a plain
loop of pwrite and fdatasync shows (8 of 40 shutdowns on Linux 6.18). After a real cut no process is there to see it.

The file of the loop device lies in memory in three of four rounds over the file systems: there a sync of the file
system under test still writes and flushes in its order, and waits for no disk beneath.

As root on Linux only. The part's process has a mount namespace of its own, so nothing stays mounted whatever becomes
of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.crash import ledger, oracle, trial
from tests.crash.broken import REFUSED
from tests.crash.cases import MEMORY
from tests.crash.kill import Kill
from tests.crash.oracle import Reference
from tests.crash.shape import QUICK, SHAPES
from tests.crash.victim import INSIDE, Home, Nursery
from tests.proof.form import Figures, Proof, each_of
from tests.waiting import until

CLONE_NEWNS = 0x20000
SHUT_DOWN = 0x8004587D
"""The ioctl of ext4 and xfs (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN), as of `xfs_io -x -c shutdown`."""
WITHOUT_LOG = struct.pack("I", 2)

SYSTEMS = {
    "ext4 ordered": ("ext4", "data=ordered"),
    "ext4 writeback": ("ext4", "data=writeback"),
    "ext4 journal": ("ext4", "data=journal"),
    "xfs": ("xfs", "defaults"),
}
SIZES = {"ext4": 64 << 20, "xfs": 320 << 20}


class Device:
    """A file system in a file.

    Args:
        folder: for the file and for where it is mounted.
        name: of SYSTEMS.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.mounted = folder / "mounted"
        self._image = folder / "image"
        self._kind, self._options = SYSTEMS[name]
        self.mounted.mkdir()
        with self._image.open("wb") as file:
            file.truncate(SIZES[self._kind])
        command("mkfs." + self._kind, "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        command("mount", "-o", f"loop,{self._options}", "-t", self._kind, str(self._image), str(self.mounted))

    def cut(self) -> None:
        """The power is gone."""
        descriptor = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUT_DOWN, WITHOUT_LOG)
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """As soon as the last process has let go of it: a watchdog ends a moment after what it has watched."""

        def unmounted() -> bool:
            done = subprocess.run(["umount", str(self.mounted)], capture_output=True, text=True, check=False)
            if done.returncode and "busy" not in done.stderr:
                raise OSError(f"umount: {done.stderr.strip()}")
            return not done.returncode

        until(unmounted, "the file system is not used any more")


def command(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{argv[0]}: {done.stderr.strip()}")


def stopped(pid: int) -> bool:
    """Whether none of its threads runs any more: a signal takes its time to reach another processor."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that ends just now
            if task.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True


def alone() -> None:
    """Give this process a mount namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace of its own: this proof is for root on Linux")
    command("mount", "--make-rprivate", "/")


def cuts(part: int, seed: int, cases: int, *, synced: bool = True) -> Figures:
    """So many cuts of one file system, over the shapes in turn."""
    system = list(SYSTEMS)[part % len(SYSTEMS)]
    rng = random.Random(f"{seed}/{part}")
    found = Figures(seen={"file systems": {system}})
    alone()
    memory = part // len(SYSTEMS) % 4 < 3 and MEMORY.is_dir()
    with tempfile.TemporaryDirectory(prefix="perdure-proof-", dir=MEMORY if memory else None) as name:
        folder = Path(name)
        device = Device(folder, system)
        gentle = [False]

        def strike(pid: int) -> None:
            if not gentle[0]:
                os.kill(pid, signal.SIGSTOP)
                while not stopped(pid):
                    pass
            device.cut()
            if not gentle[0]:
                os.kill(pid, signal.SIGKILL)

        with Nursery(strike) as nursery:
            for number in range(cases):
                shape = QUICK[(part // len(SYSTEMS) * cases + number) % len(QUICK)]
                undisturbed = trial.measured(nursery, SHAPES[shape], folder / shape)
                gentle[0] = rng.random() < 0.5
                case = Case(nursery, device, shape, folder / "case", synced, gentle[0])
                found.add(
                    case.run(
                        *undisturbed,
                        rng,
                        f"{system}, {'living' if gentle[0] else 'stopped'}, cut {number} of part {part}, seed {seed}",
                    )
                )
        device.unmount()
    return found


@dataclasses.dataclass
class Case:
    """One cut.

    Args:
        nursery: whose strike is the cut.
        device: the file system.
        shape: the workload.
        folder: for everything but the state, which is on the device.
        synced: False for the control.
        gentle: the victim lives on after the cut.
    """

    nursery: Nursery
    device: Device
    shape: str
    folder: Path
    synced: bool
    gentle: bool

    def run(self, expected: Reference, lines: int, rng: random.Random, label: str) -> Figures:
        """Cut, mount again, go on, judge; nothing counts if the workload was through before its time."""
        shape = dataclasses.replace(SHAPES[self.shape], editions=SHAPES[self.shape].editions[-1:])
        home = Home(self.folder)
        home.state = self.device.mounted / "work" / "state.db"
        home.state.parent.mkdir()
        home.install(shape.files[-1])
        found = Figures()
        kill = Kill("event", at=rng.randint(1, lines), spin=rng.expovariate(1 / 0.002))
        env = {} if self.synced else {"CRASH_FAULT": "unsynced:0"}
        death = self.nursery.live(home, 0, kill, argv=[str(INSIDE / "faulty.py"), str(home.script)], env=env)
        cut = not os.access(self.device.mounted / "work", os.W_OK) or _shut(self.device.mounted)
        self._power_is_back()
        if cut:
            found.cases = 1
            found.counts["lived on"] = int(self.gentle)
            refused = [line for line in ledger.read(home.ledger) if line.what == "refused"]
            found.counts["named errors"] = len(refused)
            # The kernel's answer to who touches a mapped page of a file whose device is gone; SQLite maps its index.
            ended = death.status == -signal.SIGBUS
            found.counts["ended by SIGBUS"] = int(ended)
            if self.gentle and not ended and (death.hung or death.status not in (0, REFUSED)):
                found.failures.append(f"raw: {self.shape}, {label}: status {death.status}\n{home.said()[-1500:]}")
            wrong = trial.unreadable(home.state, home.folder / "copy")
            before = ledger.read(home.ledger)
            if shape.named or not oracle.complete(before, expected):
                outcome = trial.chain(self.nursery, shape, expected, home, [], first_life=1)
                wrong += outcome.violations
            # What a process that lived on was told is saved may be gone: its calls, and the attempts that it has made.
            judged = [each for each in wrong if not (self.gentle and each.kind in ("again", "lost", "attempts"))]
            found.failures += [f"{each.kind}: {self.shape}, {label}: {each.what}" for each in judged]
        shutil.rmtree(home.state.parent)
        shutil.rmtree(self.folder)
        return found

    def _power_is_back(self) -> None:
        self.device.unmount()
        self.device.mount()


def _shut(folder: Path) -> bool:
    """Whether the file system is down: it takes no new file."""
    try:
        (folder / "probe").write_bytes(b"")
    except OSError:
        return True
    return False


def control(seed: int) -> Figures:
    """The same with SQLite's syncs acknowledged and not done."""
    found = Figures()
    for part in (0, 3):
        found.add(cuts(part, seed, 24, synced=False))
    return each_of(found, "lost: ", "ext4 ordered", "xfs")


def says(found: Figures) -> str:
    systems = ", ".join(sorted(found.seen.get("file systems", ())))
    return (
        f"{systems}; {found.counts['lived on']:,} processes lived on after the cut,"
        f" {found.counts['named errors']:,} named errors, {found.counts['ended by SIGBUS']:,} ended by SIGBUS, none raw"
    )


PROOF = Proof(
    name="R2",
    claim="power cut of a real file system at any moment: nothing acknowledged is lost, artifacts included; a process"
    " that lives on ends with a named error, or by SIGBUS",
    unit="real power cuts",
    size=10_000,
    part=24,
    run=cuts,
    control=control,
    controlled="SQLite's syncs acknowledged and not done",
    short="tests/crash/test_power_loss.py",
    says=says,
)
