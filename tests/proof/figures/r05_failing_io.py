"""R5: each I/O operation of a run fails once: SQLite's own, those on the other files, and system calls beneath both."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from tests.crash import broken
from tests.crash.broken import CALL_FAULTS, OWN_FAULTS, VFS_FAULTS
from tests.crash.cases import Ground
from tests.crash.kill import Kill, no_strace
from tests.crash.shape import QUICK, SHAPES
from tests.crash.trial import Outcome
from tests.crash.victim import INSIDE, Home
from tests.proof.form import Figures, Proof, each_of

FAULTS = (*VFS_FAULTS, *OWN_FAULTS, *(() if no_strace() else CALL_FAULTS))
RUNS = ("artifacts", "alerts", "brief", *(name for name in QUICK if name not in ("artifacts", "alerts", "brief")))
"""The workloads that use most kinds of files come first."""
ROUNDS = 16


def run(part: int, seed: int, cases: int) -> Figures:
    """One workload a part, in turn: a sixteenth of its operations, with each kind of fault.

    Sixteen rounds over the workloads take all operations of each; every other round is in memory.
    """
    first, which = divmod(part, len(RUNS))
    shape = RUNS[which]
    found = Figures(seen={"workloads": {shape}})
    with Ground(seed, memory=first % 2 == 1) as ground:
        for fault in FAULTS:
            for at in itertools.count(first + 1, ROUNDS):
                case = f"{fault}@{at}:0"
                outcome = ground.case(SHAPES[shape], case)
                if not outcome.kills["fault"]:
                    break
                found.add(_figures(outcome, f"{shape}, {case}"))
                found.seen.setdefault("kinds of faults", set()).add(fault)
    return found


def _figures(outcome: Outcome, label: str) -> Figures:
    found = Figures(1, failures=[f"{label}: {each}" for each in outcome.violations])
    found.counts["named errors"] = outcome.refused.total()
    found.seen = {"codes": set(outcome.refused)}
    return found


def control(seed: int) -> Figures:
    """A workload that lets the system's own errors through; and a file with a torn page."""
    found = Figures()
    with Ground(seed) as ground, tempfile.TemporaryDirectory() as name:
        for number, fault in enumerate(("error:3", "own-EIO:1", "own-ENOSPC:2")):
            home = Home(Path(name) / str(number))
            home.script.write_text(
                "import os, apsw\n"
                "folder = os.path.dirname(os.environ['PERDURE_STATE'])\n"
                "with open(os.path.join(folder, 'a'), 'w') as file: file.write('x')\n"
                "os.mkdir(os.path.join(folder, 'b'))\n"
                "apsw.Connection(os.environ['PERDURE_STATE']).execute('CREATE TABLE t (x)')\n"
            )
            argv = [str(INSIDE / "faulty.py"), str(home.script)]
            death = ground.nursery.live(home, 0, Kill(), argv=argv, env={"CRASH_FAULT": fault})
            found.cases += 1
            if death.status not in (0, broken.REFUSED):
                found.failures.append(f"{fault}: status {death.status}")
        found.cases += 1
        found.failures += [f"torn {each}" for each in ground.torn(SHAPES["brief"])]
    return each_of(found, "error:", "own-EIO:", "own-ENOSPC:", "torn unreadable:")


def says(found: Figures) -> str:
    kinds, workloads = (len(found.seen.get(name, ())) for name in ("kinds of faults", "workloads"))
    codes = ", ".join(sorted(found.seen.get("codes", ())))
    return (
        f"{kinds} kinds of faults over {workloads} workloads; {found.counts['named errors']:,} ended the run with a"
        f" named error ({codes}), the others were borne"
    )


PROOF = Proof(
    name="R5",
    claim="each I/O operation failing once, at SQLite's files and at the others: success or a named error, files"
    " intact, the next run goes on",
    unit="failed operations",
    size=20_000,
    part=30,
    parts=ROUNDS * len(RUNS),
    run=run,
    control=control,
    controlled="a workload that lets the system's errors through; a torn page",
    short="tests/crash/test_failing_disk.py",
    says=says,
)
