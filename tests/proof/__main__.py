"""The long proofs: `python -m tests.proof R1 R5 --scale 0.01`; without names, all. What was done is not done again.

Exit status 0 if every promise held and every control failed, 1 if not, 2 for a wrong option.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

from .form import all_proofs
from .progress import ROOT, Progress
from .runner import Runner, verdict
from .table import write

SEED = 20261127
PAGE = ROOT / "docs" / "reliability.md"


def main() -> int:
    """Do what the command line says."""
    proofs = all_proofs()
    parser = argparse.ArgumentParser(prog="python3 dev.py proof", description="Measure what docs/reliability.md says.")
    parser.add_argument("names", nargs="*", metavar="FIGURE", help=f"of {', '.join(proofs)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each figure's full size")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no part begins later than that")
    parser.add_argument("--seed", type=int, default=SEED, help="decides every case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parts at a time")
    parser.add_argument("--folder", type=Path, default=ROOT / ".proof", help="where the progress is")
    parser.add_argument("--anew", action="store_true", help="forget what was done of these figures")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table into docs/reliability.md")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in proofs]:
        parser.error(f"unknown figures: {', '.join(unknown)}")
    progress = Progress(options.folder, options.seed)
    if options.table:
        write(PAGE, [(proof, progress.of(proof.name)) for proof in proofs.values()], options.seed)
        return 0
    until = time.monotonic() + 60 * options.minutes
    failed = False
    for name in options.names or proofs:
        proof = proofs[name]
        if options.anew:
            progress.forget(name)
        print(f"{name}, seed {options.seed}: {proof.claim}", flush=True)
        wanted = max(1, math.ceil(proof.size * options.scale))
        done = Runner(proof, progress, options.seed, wanted, options.jobs, until).run()
        wrong = verdict(proof, done)
        failed |= bool(wrong)
        said = f"; {proof.says(done.figures)}" if done.figures.cases else ""
        print(f"{name}: {done.figures.cases:,} {proof.unit}{said}; wrong: {len(wrong)}", flush=True)
        for line in wrong[:10]:
            print(f"  {line}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
