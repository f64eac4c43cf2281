"""R1: SIGKILLs at random moments and at mutating system calls, over every shape of tests/crash."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.crash.cases import Ground
from tests.crash.kill import MUTATING, no_strace
from tests.crash.shape import CONTROLS, SHAPES
from tests.crash.trial import Outcome
from tests.proof.form import Figures, Proof, each_of

EVERY = 60
STRIDE = 10
ROUNDS = 8


def numbers() -> Iterator[int]:
    """Which of the calls of one name: each of the first, then every tenth, for workloads that write for long."""
    return itertools.chain(range(1, EVERY), itertools.count(EVERY, STRIDE))


def run(part: int, seed: int, cases: int) -> Figures:
    """One shape a part, in turn: an eighth of its mutating calls, and as many kills at random moments.

    Eight rounds over the shapes take all calls of a first life, each eight more those of a life that goes on. Three of
    four are in memory, where a sync does not wait.
    """
    turn, which = divmod(part, len(SHAPES))
    lives, first = divmod(turn, ROUNDS)
    name = list(SHAPES)[which]
    found = Figures(seen={"shapes": {name}})
    with Ground(seed, memory=turn % 4 < 3) as ground:
        for call in () if no_strace() else MUTATING:
            for at in itertools.islice(numbers(), first, None, ROUNDS):
                case = f"{call}@{at}:{lives}"
                outcome = ground.case(SHAPES[name], case)
                found.add(figures_of(outcome, name, case, seed))
                if not outcome.kills["call"]:
                    break
        wanted = max(cases, 2 * found.cases)
        trials = itertools.count(1_000 * turn)
        while found.cases < wanted:
            case = f"random:{next(trials)}"
            found.add(figures_of(ground.case(SHAPES[name], case), name, case, seed))
    return found


def figures_of(outcome: Outcome, shape: str, case: str, seed: int) -> Figures:
    """What a case came to, in the form of a proof."""
    again = f"again: python -m tests.crash --seed {seed} --shapes {shape} --case {case}"
    found = Figures(outcome.kills.total(), failures=[f"{shape} {each} · {again}" for each in outcome.violations])
    at_calls = outcome.kills["call"]
    found.counts.update(
        {"at a system call": at_calls, "resumed lives": outcome.resumed, "in flight again": outcome.again}
    )
    return found


def control(seed: int) -> Figures:
    """Workloads without steps, with a key made up anew, with their state thrown away; a file with a torn page."""
    found = Figures()
    with Ground(seed) as ground:
        for name in ("control_plain", "control_random_key", "control_forgetful"):
            for trial in range(8):
                case = f"random:{trial}"
                found.add(figures_of(ground.case(CONTROLS[name], case), name, case, seed))
        found.cases += 1
        found.failures += [f"torn {each}" for each in ground.torn(SHAPES["brief"])]
    return each_of(
        found, "control_plain again:", "control_random_key key:", "control_forgetful lost:", "torn unreadable:"
    )


def says(found: Figures) -> str:
    shapes = len(found.seen.get("shapes", ()))
    calls, lives, again = (found.counts[each] for each in ("at a system call", "resumed lives", "in flight again"))
    return (
        f"{shapes} shapes; {calls:,} of the kills at a mutating system call; {lives:,} lives resumed; {again:,} steps"
        " that were in flight executed again, under the same key"
    )


PROOF = Proof(
    name="R1",
    claim="SIGKILL at any moment: no completed step again, nothing lost, no file unreadable, no run stuck",
    unit="kills",
    size=10_000,
    part=20,
    run=run,
    control=control,
    controlled="no steps; a key made up anew; the state thrown away; a torn page",
    short="tests/crash/test_kills.py",
    says=says,
)
