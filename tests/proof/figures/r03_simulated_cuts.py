"""R3: simulated power cuts, of which what is left is read in this process: thousands a minute instead of dozens.

A part records one run of a shape and cuts its power again and again. What a cut leaves is opened as the next process
would open it: SQLite goes over the whole file, every row of every run is checked against its checksum, and each result
that the workflow had seen before the cut has to be in a completed record. Cuts of a part that leave the same files
differ in what had been seen, and are looked at once. One cut in some thousand is gone on with to the end of the
workload, and judged by the ledger as in tests/crash.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from tests.crash import power
from tests.crash.cases import MEMORY, Ground
from tests.crash.disk import Disk, Left
from tests.crash.shape import RECORDED, SHAPES
from tests.crash.victim import Home
from tests.proof.figures.r01_sigkills import figures_of
from tests.proof.form import Figures, Proof

from perdure.errors import PerdureError
from perdure.store.runs import Store

GONE_ON_WITH = 2_000
"""One cut of so many is gone on with by the workload itself."""


def cuts(part: int, seed: int, cases: int, *, honest: bool = True) -> Figures:
    """Record a run of one shape, and cut its power so many times."""
    name = RECORDED[part % len(RECORDED)]
    rng = random.Random(f"{seed}/{part}")
    found = Figures(seen={"shapes": {name}})
    with (
        Ground(seed, memory=True) as ground,
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
    ):
        events = power.record(ground.nursery, SHAPES[name], Path(folder) / "recorded")
        again = {rng.randrange(cases) for _ in range(cases // GONE_ON_WITH)} if honest else set()
        said_at_all = frozenset(filter(None, map(_token, events)))
        looked_at: dict[int, Kept] = {}
        for number, (left, tokens, said) in enumerate(_images(events, rng, cases, honest)):
            # The disks themselves would fill the memory; that two of a part have one hash is a chance of 1 in 10**11.
            if (disk := hash(tuple(sorted(left.items(), key=itemgetter(0))))) not in looked_at:
                home = Path(folder) / "cut"
                _written(home, left)
                looked_at[disk] = read(home / "state.db", said_at_all)
                shutil.rmtree(home)
            if wrong := looked_at[disk].without(tokens):
                found.failures.append(f"{name}, cut {number} of part {part}, seed {seed}: {wrong}")
            found.cases += 1
            found.counts["results that had been seen"] += len(tokens)
            if number in again:
                found.add(_gone_on_with(ground, name, Path(folder) / "again", left, said, seed))
        found.counts["different disks"] = len(looked_at)
    return found


class Kept(NamedTuple):
    """What is on a disk: what is wrong with it (empty: nothing), and the results of completed records."""

    wrong: str
    results: frozenset[bytes] = frozenset()

    def without(self, tokens: set[bytes]) -> str:
        """What is wrong, if these results had been seen; empty if nothing is."""
        lost = len(tokens - self.results)
        return self.wrong or (f"lost: {lost} of {len(tokens)} results that had been seen" if lost else "")


def _written(folder: Path, left: dict[str, Left]) -> None:
    folder.mkdir(exist_ok=True)
    for name, one in left.items():
        (folder / name).write_bytes(one.content())


def _token(event: tuple[Any, ...]) -> bytes | None:
    """The token of the result that is seen at an event of a recording."""
    if event[0] != "said" or (line := json.loads(event[1]))["what"] != "seen":
        return None
    return bytes(line["value"][1], "utf-8")


def _images(
    events: list[tuple[Any, ...]], rng: random.Random, count: int, honest: bool
) -> Iterator[tuple[dict[str, Left], set[bytes], list[bytes]]]:
    """What each cut leaves, with the tokens of the results that had been seen, and the lines said until then."""
    disk = Disk(honest=honest)
    tokens: set[bytes] = set()
    points = sorted((rng.randint(1, len(events)) for _ in range(count)), reverse=True)
    for done, event in enumerate(events, start=1):
        disk.follow(event)
        if token := _token(event):
            tokens.add(token)
        while points and points[-1] == done:
            points.pop()
            yield disk.cut(rng), tokens, disk.said


def read(state: Path, tokens: frozenset[bytes]) -> Kept:
    """What a cut has left, and which of these results are in it."""
    if not state.exists():
        return Kept("")
    try:
        store = Store(state)
    except PerdureError as error:
        return Kept(f"unreadable: {error.code}: {error.what}")
    try:
        integrity = [
            str(row[0]) for row in store.journal.read(lambda db: db.execute("PRAGMA integrity_check").fetchall())
        ]
        if integrity != ["ok"]:
            return Kept(f"corrupt: {'; '.join(integrity)[:300]}")
        kept = b"\n".join(
            record.output
            for run in store.runs(children=True, most=1_000)
            for record in store.all_records(run.rid)
            if record.status == "done"
        )
    except (PerdureError, apsw.Error) as error:
        return Kept(f"corrupt: {type(error).__name__}: {error}")
    finally:
        store.close()
    return Kept("", frozenset(token for token in tokens if token in kept))


def _gone_on_with(
    ground: Ground, name: str, folder: Path, left: dict[str, Left], said: list[bytes], seed: int
) -> Figures:
    shape = SHAPES[name]
    home = Home(folder)
    _written(folder, left)
    home.ledger.write_bytes(b"".join(said))
    outcome = power.after(ground.nursery, shape, ground.reference(shape), home)
    shutil.rmtree(folder)
    found = figures_of(outcome, name, f"power, seed {seed}", seed)
    return Figures(failures=found.failures, counts=found.counts + type(found.counts)({"gone on with to the end": 1}))


def control(seed: int) -> Figures:
    """The same cuts of a disk that acknowledges syncs and does not do them."""
    found = Figures()
    for part in range(3):
        found.add(cuts(part, seed, 100, honest=False))
    return found


def says(found: Figures) -> str:
    shapes, seen = len(found.seen.get("shapes", ())), found.counts["results that had been seen"]
    return (
        f"{shapes} shapes; the cuts left {found.counts['different disks']:,} different disks; {seen:,} results that had"
        " been seen were looked for after them;"
        f" {found.counts['gone on with to the end']:,} cuts gone on with to the end of the workload"
    )


PROOF = Proof(
    name="R3",
    claim="power cut at any moment, unsynced writes dropped, reordered and torn: nothing corrupt, nothing lost",
    unit="simulated power cuts",
    size=1_000_000,
    part=10_000,
    run=cuts,
    control=control,
    controlled="a disk that acknowledges syncs and does not do them",
    short="tests/crash/test_power_loss.py",
    says=says,
)
