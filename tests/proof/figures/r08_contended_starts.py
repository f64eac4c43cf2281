"""R8: 8 processes with 25 threads each start one id at the same moment; some of the processes are killed."""

from __future__ import annotations

import random
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.crash import ledger
from tests.crash.kill import Kill
from tests.crash.victim import Home, Nursery
from tests.proof.form import Figures, Proof

PROCESSES = 8
THREADS = 25
SCRIPT = Path(__file__).parents[2] / "crash" / "starts.py"
RESULT = sum(range(6))


def run(part: int, seed: int, cases: int, *, locked: bool = True) -> Figures:
    """Rounds of 200 starts each, every one on a new state file."""
    found = Figures()
    rng = random.Random(f"{seed}/{part}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-proof-")))
        nurseries = [stack.enter_context(Nursery()) for _ in range(PROCESSES)]
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        while found.cases < cases:
            label = f"part {part}, starts from {found.cases}, seed {seed}"
            found.add(one_round(nurseries, pool, folder / str(found.cases), rng, locked, label))
    return found


def one_round(
    nurseries: list[Nursery], pool: ThreadPoolExecutor, folder: Path, rng: random.Random, locked: bool, label: str
) -> Figures:
    """All at once, up to three of them killed; then one more, for what the killed have left."""
    homes = [Home(folder / f"process{number}") for number in range(PROCESSES)]
    kills = [Kill()] * PROCESSES
    for number in range(rng.randint(0, 3)):
        at = rng.randint(1, 12)
        kills[number] = rng.choice([Kill("point", at=at), Kill("event", at=at, spin=rng.expovariate(1000))])
    for home in homes:
        home.install(SCRIPT)
        home.state, home.ledger = folder / "state.db", folder / "ledger.jsonl"
    together = threading.Barrier(PROCESSES)
    env = {"CRASH_THREADS": str(THREADS)} | ({} if locked else {"CRASH_UNLOCKED": "1"})

    def life(number: int) -> int:
        together.wait()
        return nurseries[number].live(homes[number], number, kills[number], env=env).status

    statuses = list(pool.map(life, range(PROCESSES)))
    killed = sum(status == -9 for status in statuses)
    statuses.append(nurseries[0].live(homes[0], PROCESSES, Kill(), env=env).status)
    found = Figures(PROCESSES * THREADS, Counter(rounds=1, killed=killed))
    found.failures = [f"{label}: {wrong}" for wrong in judged(homes[0], statuses, killed)]
    if found.failures:
        found.failures += [home.said()[-500:] for home in homes if home.said()]
    return found


def judged(home: Home, statuses: list[int], killed: int) -> list[str]:
    """One run: each step executed once, but for one in flight at each kill, and one result for everybody."""
    lines = ledger.read(home.ledger)
    ran = [line for line in lines if line.what == "ran"]
    ends = [line.value for line in lines if line.what == "end"]
    wrong = [f"process {number}: status {status}" for number, status in enumerate(statuses) if status not in (0, -9)]
    if extra := len(ran) - len({line.item for line in ran}) - killed:
        wrong += [f"{extra} executions too many"] if extra > 0 else []
    if len({line.key for line in ran}) != len({line.item for line in ran}):
        wrong.append("more than one key for a call: more than one run")
    # A process may also be killed when it has said what its threads were given.
    if any(each != [RESULT] * THREADS for each in ends) or not 0 <= len(ends) - statuses.count(0) <= killed:
        wrong.append(f"results {ends} of {statuses.count(0)} processes that ended by themselves")
    return wrong


def control(seed: int) -> Figures:
    """The same with locks that are granted to whoever asks."""
    return run(0, seed, 3 * PROCESSES * THREADS, locked=False)


def says(found: Figures) -> str:
    return f"{found.counts['rounds']:,} runs, {found.counts['killed']:,} of the processes killed meanwhile"


PROOF = Proof(
    name="R8",
    claim="one id started by 8 processes x 25 threads at the same moment, some killed: one run, one result for all",
    unit="contended starts",
    size=10_000,
    part=800,
    run=run,
    control=control,
    controlled="locks granted to whoever asks",
    short="tests/crash/test_contention.py",
    says=says,
    alone=True,
)
