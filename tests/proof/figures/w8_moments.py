"""W8: signals aimed at the moment at which a run is left, with bells removed, and with workers held up."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

from tests.proof.figures.w4_signals import SCRIPT, Sender, judge
from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, again_and_again, children, until

WORKERS = 3
SENDERS = 4
RUNS = 3
"""Runs that each sender sends to."""

LATEST = 1.5
"""Seconds after which a signal is taken at the latest, where the machine holds nobody up."""

AIMED = SCRIPT.replace("rng.uniform(0.0, 0.05)", "rng.expovariate(200)").replace(
    "@step\n",
    """
if os.environ.get("LOOKS_BEFORE"):  # what would prevent a suspension is looked for before its transaction
    suspending, look, seen = waits.suspending, waits._look, {}
    def before(store, root, given, *how):
        inside = suspending(store, root, given, *how)
        views = {one.id: store.journal.read(lambda connection, one=one: look(store, connection, one)) for one in given}
        time.sleep(0.02)
        def operation(connection):
            seen.update(views)
            try:
                return inside(connection)
            finally:
                seen.clear()
        return operation
    waits.suspending = before
    waits._look = lambda store, connection, one: seen.get(one.id) or look(store, connection, one)
@step
""",
    1,
)
AIMED = AIMED.replace("import perdure\n", "import perdure\nfrom perdure.store import waits\n", 1)


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many signals; of three parts, one with the bells removed, and one with workers held up."""
    label, many = f"{seed}/{part}", cases // (SENDERS * RUNS)
    groups = [[f"s{sender}-{n}" for n in range(RUNS)] for sender in range(SENDERS)]
    names = [name for group in groups for name in group]
    found = Figures(many * len(names), measured={"taken after": []})
    how = ("as they come", "with all bells removed", "with workers held up")[part % 3]
    found.counts[how] += found.cases
    with Place(AIMED, LOOKS_BEFORE="1" if control else "") as place, contextlib.ExitStack() as stack:
        (place.folder / "ledger").touch()
        place.python(f"for name in {names}: app.takes.with_options(id=name).enqueue(name, {many})")
        workers = [place.worker("--slots", "8") for _ in range(WORKERS)]
        until(lambda: place.said.read_bytes().count(b"; ready") == WORKERS)
        held_up = stack.enter_context(_beside(place))
        if how == "with all bells removed":
            stack.enter_context(again_and_again(lambda: _remove_bells(place)))
        if how == "with workers held up":
            rng = random.Random(label)
            stack.enter_context(again_and_again(lambda: _hold_up(workers, rng)))
        senders = [Sender(place, group, many, f"{label}/{n}") for n, group in enumerate(groups)]
        stack.callback(lambda: [sender.kill() for sender in senders])
        whole = len(names) * many
        if not until(lambda: _taken(place) >= whole, 15.0 if control else PATIENCE + whole):
            found.failures.append(f"{whole - _taken(place)} signals are never taken: {label}")
        judge(place.lines("ledger"), names, many, found, label)
        limit = LATEST + 2 * max(held_up)
        late = [after for after in found.measured["taken after"] if after > limit]
        found.failures += [f"taken after {after:.2f} s, later than {limit:.2f} s: {label}" for after in late]
    return found


def _taken(place: Place) -> int:
    return len({(name, n) for what, name, n, _ in place.lines("ledger") if what == "took"})


def _remove_bells(place: Place) -> None:
    for bell in place.state.with_name("state.db-locks").glob("*.bell"):
        bell.unlink(missing_ok=True)


@contextlib.contextmanager
def _beside(place: Place) -> Iterator[list[float]]:
    """For how many seconds this machine holds up a process that writes a little to the same disk; the longest."""
    longest = [0.0]
    with (place.folder / "beside").open("wb", buffering=0) as file:

        def write() -> None:
            began = time.monotonic()
            time.sleep(0.01)
            file.write(b"x")
            os.fdatasync(file.fileno())
            longest[0] = max(longest[0], time.monotonic() - began)

        with again_and_again(write, lambda: 0.02):
            yield longest


def _hold_up(workers: list[subprocess.Popen[bytes]], rng: random.Random) -> None:
    """An executor stands still for a moment, wherever it is, be it with the turn to write."""
    for pid in children(rng.choice(workers).pid)[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(pid, signal.SIGCONT)


def control(seed: int) -> Figures:
    """What would prevent a suspension is looked for before its transaction."""
    return run(0, seed, 240, control=True)


def says(found: Figures) -> str:
    shares = {"p50": 0.5, "p99": 0.99, "p100": 1.0}
    after = ", ".join(f"{name} {found.percentile('taken after', share):.2f} s" for name, share in shares.items())
    kinds = ", ".join(f"{number:,} {how}" for how, number in sorted(found.counts.items()) if how != "signals")
    return f"{kinds}; taken after {after}"


PROOF = Proof(
    name="W8",
    claim="signals sent at about the moment at which a run is left to its wait, with bells removed, and with workers"
    " held up wherever they are: each is taken once, in order, and within 1.5 s"
    " beside what the machine holds up",
    unit="signals",
    size=10_000,
    part=600,
    run=run,
    control=control,
    controlled="what would prevent a suspension is looked for before its transaction",
    short="tests/integration/test_suspended_runs.py",
    says=says,
    alone=True,
)
