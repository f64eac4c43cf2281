"""W9b: a signal and the end of its wait, brought together by a clock that all processes share.

The clock stands still until it is moved: to 2 ms before the end of the wait, and from there on in steps to 2 ms after
it, each with a bell. Two processes race for the file meanwhile: one whose run waits, and one that sends when it sees
the moment that was drawn for it. So every stamp lies within 2 ms of the end, however busy the machine is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.proof.form import Figures, Proof
from tests.proof.serving import Place

SCRIPT = """
import contextlib, json, mmap, os, random, signal, sqlite3, struct, sys, time
from pathlib import Path
import perdure
from perdure import step, workflow
from perdure.engines.local import engine as engines
from perdure.engines.runtime.clock import RealWorld
from perdure.store import bell, waits

START, TIMEOUT, NEAR, TICK = 1_800_000_000.0, 1.0, 0.002, 0.00025
PATH = Path("state.db").absolute()
SHARED = mmap.mmap(-1, 16)  # the steady clock, and by how much the time of day is ahead of it
STEADY, AHEAD = 0.0, START

def put(steady, ahead):
    SHARED[:] = struct.pack("dd", steady, ahead)

class Shared(RealWorld):
    def clock(self):
        return struct.unpack("dd", SHARED[:])[0]
    def now(self):
        return sum(struct.unpack("dd", SHARED[:]))

WORLD = Shared()

def engine():
    made = engines._engines[PATH] = engines.LocalEngine(PATH, world=WORLD)
    made.store.journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
    made.resources.suspend_after = float("inf")

@step
def note(n: int, got: int) -> None:
    with open("ledger", "ab", buffering=0) as ledger:
        ledger.write(b"%d %d;" % (n, got))

@workflow
def races(many: int) -> None:
    for n in range(many):
        note(n, perdure.wait_for("number", key=str(n), type=int, timeout=TIMEOUT, default=-1))
    perdure.wait_for("end")

def waits_life(many):
    engine()
    races.with_options(id="race")(many)

def sends_life(orders, answers):
    engine()
    for order in orders:
        n, moment = json.loads(order)
        while WORLD.now() < moment:
            time.sleep(0)
        print(json.dumps(perdure.signal("race", "number", n, key=str(n), id=str(n))), file=answers, flush=True)

def child(act, *given):
    pid = os.fork()
    if pid == 0:
        try:
            act(*given)
        except BaseException as error:
            Path("trouble").write_text(repr(error))
        os._exit(0)
    return pid

def killed(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def patiently(look):
    end = time.monotonic() + 120
    while not (found := look()):
        if os.path.exists("trouble") or time.monotonic() > end:
            raise SystemExit(Path("trouble").read_text() if os.path.exists("trouble") else "nothing happens")
        time.sleep(0.0005)
    return found

def main(seed, many, control):
    global STEADY, AHEAD
    rng = random.Random(seed)
    if control:  # what is there when somebody looks has come in time
        found = waits._found
        import msgspec
        def whenever(*given):
            letter = found(*given[:-1], None)
            return letter and msgspec.structs.replace(letter, stamp=0.0)
        waits._found = whenever
    put(STEADY, AHEAD)
    read, write = os.pipe()
    back, answer = os.pipe()
    sender = child(sends_life, os.fdopen(os.dup(read)), os.fdopen(os.dup(answer), "w"))
    orders, answers = os.fdopen(write, "w"), os.fdopen(back)
    os.set_blocking(back, False)
    waiter = child(waits_life, many)
    patiently(lambda: PATH.exists() and os.path.exists(f"{PATH}-wal"))
    file = sqlite3.connect(f"file:{PATH}?mode=ro", uri=True, isolation_level=None)
    def due_of(n):
        with contextlib.suppress(sqlite3.OperationalError):
            row = file.execute("SELECT due FROM wait WHERE topic = ? AND due IS NOT NULL", (str(n),)).fetchone()
            return row and row[0]
    told, how = {}, ""
    for n in range(many):
        moved = how == "set back"  # it may have been so after this wait had begun
        due = patiently(lambda: due_of(n))
        dues, how = {due}, rng.choices(("plain", "killed", "away", "set back"), (80, 10, 5, 5))[0]
        at = rng.randint(0, 15)
        STEADY = max(STEADY, due - NEAR - AHEAD)
        put(STEADY, AHEAD)
        print(json.dumps([n, due + rng.choice((-6, -3, -2, -1, 0, 0, 1, 2, 3, 6)) * TICK]), file=orders, flush=True)
        for tick in range(17):
            if tick == at and how in ("killed", "away"):
                killed(waiter)
                if how == "killed":
                    waiter = child(waits_life, many)
            if tick == at and how == "set back":
                AHEAD -= rng.choice((0.001, 0.05, 0.3))
            STEADY = max(STEADY + TICK / 2, due - NEAR + tick * TICK - AHEAD) if how != "set back" else STEADY + TICK
            put(STEADY, AHEAD)
            bell.ring(PATH)
            time.sleep(rng.random() * 0.001)
            if (now := due_of(n)) is not None:
                dues.add(now)
        outcome = None
        while outcome is None or due_of(n) is not None or how == "away":
            if outcome is None and (line := answers.readline()):
                outcome = json.loads(line)
            if how == "set back":
                if (now := due_of(n)) is not None:
                    dues.add(now)
                STEADY += 0.002
                put(STEADY, AHEAD)
            if how == "away" and outcome is not None:
                STEADY += rng.choice((0.0, 1.0, 100.0))
                put(STEADY, AHEAD)
                waiter, how = child(waits_life, many), "was away"
            bell.ring(PATH)
            if os.path.exists("trouble"):
                raise SystemExit(Path("trouble").read_text())
            time.sleep(0.0005)
        told[n] = [how, sorted(dues), outcome, moved or how == "set back"]
    # Of the last one: a step that was killed may have written down an earlier one twice.
    patiently(lambda: any(each.startswith(b"%d " % (many - 1)) for each in Path("ledger").read_bytes().split(b";")))
    for each in (waiter, sender):
        killed(each)
    letters = file.execute("SELECT topic, stamp, status FROM signal WHERE topic <> ''").fetchall()
    ledger = [each.split() for each in Path("ledger").read_text().split(";") if each]
    print(json.dumps({"told": told, "letters": letters, "ledger": ledger}))

main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["control"])
"""

HOW = {"plain": "undisturbed", "killed": "killed", "was away": "with nobody there", "set back": "with a clock set back"}


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many races of one run and one sender."""
    found = Figures()
    label = f"{seed}/{part}"
    with Place(SCRIPT) as place:
        command = [sys.executable, "app.py", label, str(cases), *(["control"] if control else [])]
        env = {**place.env, "PERDURE_QUIET": "1"}
        done = subprocess.run(command, cwd=place.folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        found.failures.append(f"{done.stderr[-300:]}: {label}")
        return found
    _judge(json.loads(done.stdout), found, label)
    return found


def _judge(what: dict[str, Any], found: Figures, label: str) -> None:
    """Each was taken, or its time was over, as the stamps in the file say, and the ledger has that value alone.

    A clock that stands still has one case more: over, recorded as such, and sent, all in the same moment."""
    letters = {topic: (stamp, status) for topic, stamp, status in what["letters"]}
    got: dict[str, set[str]] = {}
    for n, value in what["ledger"]:
        got.setdefault(n, set()).add(value)
    for n, (how, dues, outcome, moved) in what["told"].items():
        found.cases += 1
        found.counts[HOW[how]] += 1
        stamp, status = letters[n]
        taken = status == "taken"
        may_be = {stamp <= due for due in dues}
        if outcome == "stored" and (moved or stamp in dues):
            may_be.add(False)  # the wait was over, by a clock that was ahead, or is the same
        wrong = taken not in may_be or (outcome == "taken" and not taken)
        if wrong or got.get(n) != {n if taken else "-1"}:
            found.failures.append(f"{n} got {got.get(n)}: {status} at {stamp}, due {dues}, {how}, {outcome}: {label}")
        found.counts["signals in time"] += taken
        found.counts["times over"] += not taken
        found.counts["in the same moment"] += stamp in dues
        found.counts["within 2 ms"] += min(abs(stamp - due) for due in dues) <= 0.0021


def control(seed: int) -> Figures:
    """The stamps are not looked at: who is there when somebody looks has won."""
    return run(0, seed, 100, control=True)


def says(found: Figures) -> str:
    counts = found.counts
    kinds = ", ".join(f"{counts[how]:,} {how}" for how in HOW.values())
    return (
        f"{counts['signals in time']:,} signals in time, {counts['times over']:,} times over,"
        f" {counts['in the same moment']:,} in the same moment, {counts['within 2 ms']:,} within 2 ms; {kinds}"
    )


PROOF = Proof(
    name="W9b",
    claim="a signal and the end of its wait within 2 ms, by a clock that both processes share, with kills, nobody there"
    " for a while, the clock set back: the stamps in the file decide",
    unit="races",
    size=10_000,
    part=250,
    run=run,
    control=control,
    controlled="stamps are not looked at: what is there has come in time",
    short="tests/unit/test_waits_judged.py",
    says=says,
)
