"""What listings cost in a large state file: `python benchmarks/listings.py`, with perdure installed.

A file of 1,000,000 runs is made, and one run of 100,000 steps in it (`--runs`, `--steps`). Each command is a process of
its own; what it costs beside an empty file is its own cost, and a ratio to the one SQLite question that reads as many
rows. Aims: `perdure ps` 0.5 s, `perdure show` of the long run 1 s and 60 MB, `ps --limit 0 --json` in bounded memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.exceptions import capture
from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.store import parking
from perdure.store.runs import Store
from perdure.store.statements import load

BEGAN = 1_790_000_000.0
ROUNDS = 5
WORKFLOWS = ("sell", "bill", "ship")
STATUSES = ("done",) * 97 + ("failed", "cancelled", "suspended")


def make(path: Path, runs: int, steps: int) -> None:
    """A state file: so many runs of three workflows, and before the last hundred of them one of so many steps.

    Every 1,000th step of that is a dead letter after 3 attempts, every 500th succeeds at the second attempt.
    """
    store = Store(path)
    error = capture.encode(capture.to_fault(ValueError("no money in the account")))
    given = [codec.pack_inputs([n], {}, owner="sell") for n in range(1000)]
    value = codec.pack_value(7, owner="sell")
    long = max(runs - 100, 1)

    def rows() -> Iterator[tuple[Any, ...]]:
        first = RunRecord(1, "run-1", "shop.py", "/srv/shop.py", "sell", bytes(16), True, None, "done", None, 0,
                          given[0], value, BEGAN, BEGAN, BEGAN + 1, 0)  # fmt: skip
        for rid in range(1, runs + 1):
            status = "done" if rid == long else STATUSES[rid % len(STATUSES)]
            output = {"done": value, "failed": error}.get(status)
            ended = None if status == "suspended" else BEGAN + rid + 1 + (steps / 100 if rid == long else 0)
            made = msgspec.structs.replace(
                first, rid=rid, id=f"run-{rid}" if rid != long else "long", workflow=WORKFLOWS[rid % 3], status=status,
                input=given[rid % 1000], output=output, created=BEGAN + rid, started=BEGAN + rid, ended=ended,
            )  # fmt: skip
            yield msgspec.structs.astuple(made.sealed())

    def step_rows() -> Iterator[tuple[Any, ...]]:
        for seq in range(1, steps + 1):
            dead = seq % 1000 == 0
            tries = 3 if dead else 2 if seq % 500 == 0 else 1
            yield step(long, seq, "charge", "dead" if dead else "done", error if dead else value, tries)
        for rid in range(max(long - 100, 1), runs + 1):
            if rid != long:
                yield step(rid, 1, "load", "done", value, 1)

    def step(rid: int, seq: int, name: str, status: Any, output: bytes, tries: int) -> tuple[Any, ...]:
        about = (
            seq,
            name,
            seq.to_bytes(16, "big"),
            0,
            status,
            given[seq % 1000],
            output,
            BEGAN + rid + seq / 100,
            30,
            tries,
        )
        return (rid, *msgspec.structs.astuple(StepRecord(*about, 0, "step").sealed(rid)))

    def tries_of() -> Iterator[tuple[Any, ...]]:
        for seq in range(500, steps + 1, 500):
            tries = 3 if seq % 1000 == 0 else 2  # the last that fails is the attempt that the record tells of
            for number in range(1, 4 if tries == 3 else 2):
                about = AttemptRecord(0, "charge", seq.to_bytes(16, "big"), 0, number, True, given[seq % 1000], error,
                                      BEGAN + long + seq / 100 - 0.1 * (tries - number), 30, 0)  # fmt: skip
                yield (long, *msgspec.structs.astuple(about.sealed(long)))

    def operation(connection: apsw.Connection) -> None:
        add = load("cluster_snapshot.sql")
        connection.executemany(load("runs.sql")["add_run"], rows())
        for row in step_rows():
            store.insert_rows(connection, [row])
        connection.executemany(add["add_attempt"], tries_of())
        dead = ((long, seq) for seq in range(1000, steps + 1, 1000))
        reason = parking.reason_of(error)
        parking.add_copies(connection, [_letter(rid, seq, *reason) for rid, seq in dead])

    store.journal.write((), operation)
    store.close()


def _letter(rid: int, seq: int, name: str | None, reason: bytes | None) -> LetterRecord:
    return LetterRecord(0, rid, seq, "parked", BEGAN, BEGAN, 0, None, None, None, None, 0, name, reason)


class Took(msgspec.Struct):
    """What a command took: seconds of wall clock and of the processor, peak memory in bytes, bytes that it printed."""

    wall: float
    cpu: float
    memory: int
    printed: int


def command(state: Path, *words: str) -> Took:
    """Carry out a command of perdure's, and measure it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure", *words, "--state", str(state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    printed = 0
    while portion := process.stdout.read1(1 << 20):  # type: ignore[attr-defined]
        printed += len(portion)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"perdure {' '.join(words)}: {process.stderr.read().decode() if process.stderr else ''}")
    return Took(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, printed)


def raw(state: Path, question: str) -> float:
    """Seconds of one question to SQLite, the best of several times."""
    connection = apsw.Connection(str(state), flags=apsw.SQLITE_OPEN_READONLY)

    def once() -> float:
        began = time.perf_counter()
        for _ in connection.execute(question):
            pass
        return time.perf_counter() - began

    return min(once() for _ in range(ROUNDS))


OF_LONG = "FROM step WHERE run = (SELECT rid FROM run WHERE id = 'long')"

COMMANDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ps",), "SELECT * FROM run ORDER BY rid DESC LIMIT 20"),
    (("ps", "--status", "failed"), "SELECT * FROM run WHERE status = 'failed' ORDER BY rid DESC LIMIT 20"),
    (("ps", "--status", "dead"), "SELECT DISTINCT run FROM dead_letter WHERE status = 'parked'"),
    (("ps", "--status", "parked"), "SELECT * FROM run WHERE status = 'parked' ORDER BY rid DESC LIMIT 20"),
    (("ps", "--workflow", "sell"), "SELECT * FROM run WHERE workflow = 'sell' ORDER BY rid DESC LIMIT 20"),
    (("show", "long"), f"SELECT name, status, count(*) {OF_LONG} GROUP BY 1, 2"),
    (("show", "long", "--json"), f"SELECT count(*) {OF_LONG}"),
    (("show", "long", "--limit", "0", "--json"), f"SELECT * {OF_LONG}"),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the files, and measure each command in turns with the same on an empty one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--all", action="store_true", help="list all runs as JSON too, which takes minutes")
    parser.add_argument("--keep", type=Path, help="make the files there, or take those that lie there")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        large, small = folder / "large.db", folder / "small.db"
        for path, runs, steps in ((large, given.runs, given.steps), (small, 200, 100)):
            if not path.exists():
                began = time.perf_counter()
                make(path, runs, steps)
                print(f"{path.name}: {runs:,} runs, {path.stat().st_size:,} bytes, {time.perf_counter() - began:.1f} s")
        every: tuple[tuple[tuple[str, ...], str], ...] = ((("ps", "--limit", "0", "--json"), "SELECT * FROM run"),)
        print(
            f"{'command':<34} {'wall':>8} {'CPU':>8} {'beside small':>12} {'memory':>8} {'printed':>12} {'SQLite':>10}"
        )
        for words, question in COMMANDS + every * given.all:
            turns = [
                (command(large, *words), command(small, *words))
                for _ in range(ROUNDS if words not in dict(every) else 1)
            ]
            wall, cpu = (min(getattr(one, name) for one, _ in turns) for name in ("wall", "cpu"))
            more = cpu - min(other.cpu for _, other in turns)
            memory, printed = max(one.memory for one, _ in turns), turns[0][0].printed
            print(
                f"{' '.join(words):<34} {wall:>6.2f} s {cpu:>6.2f} s {more:>+10.2f} s {memory / 1e6:>5.0f} MB"
                f" {printed:>12,} {raw(large, question) * 1000:>7.1f} ms"
            )


if __name__ == "__main__":
    main()
