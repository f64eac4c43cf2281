"""The workloads: what is run, how many steps it has, what is read off it, and what was set as the goal."""

from __future__ import annotations

from dataclasses import dataclass, field

PEERS = ("floor", "perdure", "dbos", "dbos-full", "stitch", "huey")
_IN_PROCESS = ("floor", "perdure", "dbos", "dbos-full", "stitch")  # libraries that have steps
_THREADS = ("floor", "perdure", "dbos", "dbos-full")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, for every peer that knows it.

    Attributes:
        name: how results, rows and targets refer to it.
        workload: the workload that it belongs to, w1 to w6.
        kind: how it is measured: "steps" (timed inside a fresh process), "resume", "import", "program", "command",
            "bytes".
        task: what the peer's worker is asked to do; the code of an import, empty for that of the library; a command.
        steps: how many steps or items.
        fewer: steps for a peer that would take minutes; its rate is what is compared.
        peers: who can do it.
    """

    name: str
    workload: str
    kind: str
    task: str
    steps: int
    fewer: dict[str, int] = field(default_factory=dict)
    peers: tuple[str, ...] = _IN_PROCESS

    def steps_of(self, peer: str) -> int:
        """How many steps this peer is asked for."""
        return self.fewer.get(peer, self.steps)


_FEWER = {"dbos": 1_000, "dbos-full": 1_000, "huey": 1_000}

CASES = (
    Case("w1", "w1", "steps", "sequential", 1_000),
    Case("w1-small-wal", "w1", "steps", "sequential-small-wal", 1_000, peers=("floor",)),
    Case("w2-async", "w2", "steps", "fleet-async", 2_000),
    Case("w2-threads", "w2", "steps", "fleet-threads", 2_000, peers=_THREADS),
    Case("w3-async", "w3", "steps", "map-async", 10_000, fewer={"stitch": 1_000}),
    Case("w3-threads", "w3", "steps", "map-threads", 10_000, fewer=_FEWER, peers=(*_THREADS, "huey")),
    Case("w4", "w4", "resume", "resume", 10_000),
    Case("w5-import", "w5", "import", "", 0, peers=(*_IN_PROCESS, "huey")),
    Case("w5-names", "w5", "import", "from perdure import step, workflow", 0, peers=("perdure",)),
    Case("w5-program", "w5", "program", "", 3),
    Case("version", "w5", "command", "perdure --version", 0, peers=("perdure",)),
    Case("ps", "w5", "command", "perdure ps", 0, peers=("perdure",)),
    Case("w6", "w6", "bytes", "sequential", 1_000),
)
MILLION = (
    Case("w3-async-million", "w3", "steps", "map-async", 1_000_000, peers=("perdure",)),
    Case("w3-threads-million", "w3", "steps", "map-threads", 1_000_000, peers=("perdure",)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of medians."""

    case: str
    metric: str
    title: str
    unit: str
    digits: int = 0


ROWS = (
    Row("w1", "us", "w1 1,000 steps in a row, time a step", "µs", 1),
    Row("w1", "us_median", "w1 median of the single step", "µs", 1),
    Row("w1", "rate", "w1 rate", "steps/s"),
    Row("w1-small-wal", "us", "w1 time a step, write-ahead log kept small", "µs", 1),
    Row("w2-async", "rate", "w2 100 workflows x 20 steps, asyncio", "steps/s"),
    Row("w2-threads", "rate", "w2 100 workflows x 20 steps, threads", "steps/s"),
    Row("w3-async", "rate", "w3 map of 10,000, asyncio, 1,000 in flight", "items/s"),
    Row("w3-async", "growth", "w3 asyncio, growth of memory", "MB", 1),
    Row("w3-threads", "rate", "w3 map of 10,000, threads, 64 in flight", "items/s"),
    Row("w3-threads", "growth", "w3 threads, growth of memory", "MB", 1),
    Row("w3-async-million", "rate", "w3 map of 1,000,000, asyncio", "items/s"),
    Row("w3-async-million", "growth", "w3 1,000,000, asyncio, growth of memory", "MB", 1),
    Row("w3-threads-million", "rate", "w3 map of 1,000,000, threads", "items/s"),
    Row("w3-threads-million", "growth", "w3 1,000,000, threads, growth of memory", "MB", 1),
    Row("w4", "ms", "w4 process start to last step, 10,000 done", "ms"),
    Row("w4", "programs", "w4 whole process, in programs of 3 steps", "times", 2),
    Row("w5-import", "ms", "w5 import, above bare python", "ms", 1),
    Row("w5-import", "times", "w5 import, in `python -I -c pass`", "times", 2),
    Row("w5-names", "times", "w5 `from perdure import step, workflow`, in the same", "times", 2),
    Row("w5-program", "ms", "w5 program of 3 steps, whole process", "ms", 1),
    Row("w5-program", "times", "w5 program of 3 steps, in the same", "times", 2),
    Row("version", "times", "`perdure --version`, in the same", "times", 2),
    Row("ps", "times", "`perdure ps` of one run, in the same", "times", 2),
    Row("w6", "bytes", "w6 a step on disk", "bytes"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A goal for perdure.

    Attributes:
        case, metric: what is judged.
        against: the peer that it is compared with; empty for an absolute goal.
        at_least: the smallest ratio or value that meets it, or None.
        at_most: the largest, or None.
        upside_down: the ratio is peer / perdure (for times), so that more is better.
    """

    case: str
    metric: str
    against: str = ""
    at_least: float | None = None
    at_most: float | None = None
    upside_down: bool = False


TARGETS = (
    Target("w1", "us_median", "floor", at_most=0.85),
    Target("w1", "rate", "dbos", at_least=8),
    Target("w1", "rate", "dbos-full", at_least=4),
    Target("w2-async", "rate", "floor", at_least=12),
    Target("w2-threads", "rate", "floor", at_least=4),
    Target("w2-async", "rate", "dbos", at_least=50),
    Target("w2-threads", "rate", "dbos", at_least=50),
    Target("w3-async", "rate", "floor", at_least=15),
    Target("w3-threads", "rate", "floor", at_least=4),
    Target("w3-async", "rate", "dbos", at_least=100),
    Target("w3-threads", "rate", "dbos", at_least=100),
    Target("w3-async", "growth", at_most=20),
    Target("w3-threads", "growth", at_most=20),
    Target("w3-async-million", "growth", at_most=20),
    Target("w3-threads-million", "growth", at_most=20),
    Target("w4", "ms", "dbos", at_least=30, upside_down=True),
    Target("w4", "programs", at_most=1.5),
    Target("w5-import", "times", at_most=3),
    Target("w5-program", "times", at_most=5),
    Target("w5-program", "ms", "dbos", at_least=10, upside_down=True),
    Target("version", "times", at_most=5),
    Target("ps", "times", at_most=10),
    Target("w6", "bytes", at_most=110),
)
