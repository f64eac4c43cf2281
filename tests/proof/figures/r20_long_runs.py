"""R20: a run of a million steps, beside which a program reads the state file and does not finish."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.proof.form import Figures, Proof

SCRIPT = Path(__file__).parents[1] / "long_run.py"
MEMORY = Path("/dev/shm")
SOURCE = Path(__file__).parents[3] / "src"
NAMED_WITHIN = 60.0
"""Seconds after which the reader has to be named."""
SAID = 1_000
"""Every so many steps there is a word."""
BESIDE = 10
"""The reader begins after one of so many parts of the steps."""

PARKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM run").fetchone()
print("reads", flush=True)
sys.stdin.readline()
"""


class Life:
    """A process of the run.

    Args:
        folder: where its state, its script and its ledger are.
        count: how many steps it has.
        env: more of its environment.
    """

    def __init__(self, folder: Path, count: int, **env: str) -> None:
        began = time.monotonic()
        self.state = folder / "state.db"
        self.ledger = folder / "ledger"
        given = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(self.state), "LEDGER": str(self.ledger)}
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "long_run.py")],
            env={**os.environ, **given, "COUNT": str(count), "PERDURE_ALERTS": "", **env},
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.complaints: list[tuple[float, str]] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.started = began

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.complaints.append((time.monotonic(), line))

    def lines(self) -> Any:
        """What it says."""
        assert self.process.stdout is not None
        return self.process.stdout

    def resident(self) -> float:
        """MB that it has in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def computed(self) -> float:
        """Seconds that its threads have had a processor: what a machine with other things to do does not change."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def journal(self) -> float:
        """MB of the state file's journal; none is left by the last that closes the file."""
        path = Path(f"{self.state}-wal")
        return path.stat().st_size / 1e6 if path.exists() else 0.0

    def over(self) -> int:
        """Its exit status, when it has ended."""
        status = self.process.wait()
        self._listener.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return status

    def named(self, pid: int) -> float | None:
        """When it named that process."""
        return next((at for at, line in list(self.complaints) if f"process {pid} (" in line), None)


def run(part: int, seed: int, cases: int, *, silent: bool = False) -> Figures:
    """One run of so many steps; killed after the last, and resumed."""
    found = Figures(cases, Counter(runs=1))
    with tempfile.TemporaryDirectory(prefix="perdure-proof-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        (folder / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
        _first_life(folder, cases, found, silent)
        life = Life(folder, cases)
        resident = 0.0
        total = ""
        for line in life.lines():
            resident = max(resident, life.resident()) if line.strip() == str(cases) else resident
            if line.strip() == str(cases):
                found.measured["seconds to resume"] = [time.monotonic() - life.started]
                found.measured["seconds of computing to resume"] = [life.computed()]
            total = line.strip()
        status = life.over()
        found.measured["MB resumed"] = [resident]
        if status or total != f"total {cases * (cases + 1) // 2}":
            found.failures.append(f"resumed, it ends with status {status} and says {total!r}: {life.complaints[-3:]}")
        if (executed := life.ledger.stat().st_size) != cases:
            found.failures.append(f"{executed} executions of {cases} steps")
    return found


def _first_life(folder: Path, cases: int, found: Figures, silent: bool) -> None:
    life = Life(folder, cases, DIE="1", **({"SILENT": "1"} if silent else {}))
    reader: subprocess.Popen[bytes] | None = None
    since = longest = 0.0
    named: float | None = None
    for line in life.lines():
        done = int(line)
        if done == cases // BESIDE:
            found.measured["MB at a tenth"] = [life.resident()]
            reader = subprocess.Popen([sys.executable, "-c", PARKED, str(life.state)], stdin=-1, stdout=-1)
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"reads\n"
            since = time.monotonic()
        if done == cases - SAID:
            found.measured["MB at the end"] = [life.resident()]
        if done == cases:
            found.measured["steps a second"] = [cases / (time.monotonic() - life.started)]
        if reader is not None and reader.poll() is None:
            longest = life.journal()
            named = life.named(reader.pid)
            if named is not None or time.monotonic() - since > NAMED_WITHIN:
                reader.communicate(b"\n")
    if life.over() != -9:
        found.failures.append(f"the first life ends by itself: {life.complaints[-3:]}")
    assert reader is not None
    if reader.poll() is None:
        reader.communicate(b"\n")
    for stream in (reader.stdin, reader.stdout):
        assert stream is not None
        stream.close()
    after = life.journal()
    found.measured |= {"MB of journal while it read": [longest], "MB of journal in the end": [after]}
    if named is None:
        found.failures.append(f"the reader is not named within {NAMED_WITHIN:.0f} s, or before the run ends")
        return
    found.measured["seconds until it was named"] = [named - since]
    if after > longest + 8:
        found.failures.append(f"the journal grows on without the reader, from {longest:.0f} to {after:.0f} MB")


def control(seed: int) -> Figures:
    """The same when nobody looks at the journal's length."""
    return run(0, seed, 40_000, silent=True)


def says(found: Figures) -> str:
    def worst(name: str) -> float:
        return max(found.measured.get(name, [float("nan")]))

    return (
        f"{found.counts['runs']:,} runs in memory; the reader named after {worst('seconds until it was named'):.1f} s,"
        f" at {worst('MB of journal while it read'):.0f} MB of journal, {worst('MB of journal in the end'):.0f} MB in"
        f" the end; memory {worst('MB at a tenth'):.0f} MB after a tenth and {worst('MB at the end'):.0f} MB after all;"
        f" resumed to the last step in {worst('seconds to resume'):.1f} s"
        f" ({worst('seconds of computing to resume'):.1f} s of computing) with {worst('MB resumed'):.0f} MB"
    )


PROOF = Proof(
    name="R20",
    claim="a run of 1,000,000 steps beside a program that reads the state file and does not finish: that is named"
    " within a minute, and the journal grows no more when it has; nothing is executed again",
    unit="steps",
    size=1_000_000,
    part=1_000_000,
    run=run,
    control=control,
    controlled="nobody looks at the length of the journal",
    short="tests/unit/test_parked_readers.py",
    says=says,
    alone=True,
)
