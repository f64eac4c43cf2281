"""The long crash test: `python -m tests.crash --kills 10000 --seed 1 --shapes all --jobs 2`.

Exit status 0 if every promise held, 1 if one was broken (the case is printed with the command that runs it again), 2
for a wrong option.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time

from .campaign import Campaign
from .cases import Ground
from .kill import no_strace
from .shape import SHAPES
from .trial import Outcome


def show(campaign: Campaign, seconds: float, seed: int) -> None:
    """The table, and what to run again."""
    columns = ("kills", 7), ("random", 8), ("call", 6), ("power", 7), ("fault", 7), ("resumed", 9), ("in flight", 11)
    print("\n" + "shape".ljust(14) + "".join(name.rjust(width) for name, width in columns) + "broken".rjust(8))
    total = Outcome()
    for shape, outcome in campaign.by_shape.items():
        _row(shape, outcome)
        total.add(outcome)
    _row("all", total)
    kinds = [violation.kind for violation in total.violations]
    again, lost, unreadable = kinds.count("again"), kinds.count("lost"), kinds.count("unreadable")
    print(
        f"\nsteps again after their result was visible: {again} · lost: {lost} · unreadable: {unreadable}"
        f" · other: {len(kinds) - again - lost - unreadable} · {seconds:.0f} s, seed {seed}"
    )
    for report in campaign.broken[:10]:
        print(f"\n{report.unit.shape} {report.broken}")
        for violation in report.outcome.violations[:5]:
            print(f"  {violation}")
        print(f"  again: python -m tests.crash --seed {seed} --shapes {report.unit.shape} --case {report.broken}")
        print("  " + report.outcome.said[-1500:].replace("\n", "\n  "))


def _row(name: str, outcome: Outcome) -> None:
    kills = outcome.kills
    timed = kills["point"] + kills["event"] + kills["time"]
    print(
        f"{name:14}{kills.total():>7}{timed:>8}{kills['call']:>6}{kills['power']:>7}{kills['fault']:>7}"
        f"{outcome.resumed:>9}{outcome.again:>11}{len(outcome.violations):>8}"
    )


def one_case(shapes: list[str], case: str, seed: int) -> int:
    """Run one case again, and show everything about it."""
    with Ground(seed) as ground:
        outcomes = {shape: ground.case(SHAPES[shape], case) for shape in shapes}
    for shape, outcome in outcomes.items():
        print(f"{shape} {case}: {dict(outcome.kills)}, {len(outcome.violations)} broken")
        for violation in outcome.violations:
            print(f"  {violation}")
        if outcome.said:
            print(outcome.said)
    return int(any(outcome.violations for outcome in outcomes.values()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="Kill workflows and judge what is left.")
    parser.add_argument("--kills", type=int, default=1000, help="how many SIGKILLs; half of them at system calls")
    parser.add_argument("--power-cuts", type=int, default=0, help="how many simulated power cuts beside them")
    parser.add_argument("--faults", type=int, default=0, help="how many failures of the disk beside them")
    parser.add_argument("--seed", type=int, help="decides every case; default: another one each time")
    parser.add_argument("--shapes", default="all", help=f"names with commas between them, of {', '.join(SHAPES)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at work")
    parser.add_argument("--case", help="run this one case again, as printed with a failure")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    shapes = list(SHAPES) if options.shapes == "all" else options.shapes.split(",")
    if unknown := [shape for shape in shapes if shape not in SHAPES]:
        parser.error(f"unknown shapes: {', '.join(unknown)}")
    if options.case:
        return one_case(shapes, options.case, seed)
    wanted = {"random": options.kills, "call": 0, "power": options.power_cuts, "fault": options.faults}
    if why := no_strace():
        print(f"no kills at system calls: {why}")
    else:
        wanted |= {"random": options.kills - options.kills // 2, "call": options.kills // 2}
    started = time.monotonic()
    campaign = Campaign(shapes, wanted, seed, options.jobs)
    campaign.run()
    show(campaign, time.monotonic() - started, seed)
    return int(bool(campaign.broken))


if __name__ == "__main__":
    sys.exit(main())
