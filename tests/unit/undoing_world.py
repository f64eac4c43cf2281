"""A service with bookings, programs of calls that can be undone, and what people do with their runs: see
test_undoing_by_chance.py."""

from __future__ import annotations

import random
import re
import sqlite3
import struct
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.spec import spec_of
from perdure.core.records import SET_ASIDE, RunRecord
from perdure.core.values import codec
from perdure.engines.interface import under_way
from perdure.engines.local import engine as local_engine
from perdure.engines.local.redrive import Redriver
from perdure.errors import PerdureError, StateCorrupt
from perdure.operations import cancel as cancelling
from perdure.operations import fork as forking
from perdure.operations.dead_letters import Selection, list_letters
from perdure.operations.find_run import find_run
from perdure.operations.location import Location
from perdure.operations.ps import list_runs
from perdure.operations.show import details_of, run_details
from perdure.operations.step_rows import step_rows
from perdure.operations.why import explain
from perdure.store import dead_letters, forks, step_pages

WORDS = ("a", "b", "c")

DAMAGED = (
    *["run"] * 4,
    *["step"] * 8,
    *["dead_letter"] * 3,
    *["attempt"] * 2,
    "function",
    "exempt",
    "crash",
    "life",
    "session",
    "batch",
)
"""Tables with rows of a run."""


class Service:
    """What is outside: who has which seat. It honours idempotency keys, as the steps' own service would."""

    def __init__(self, clock: Any, *, alike: bool) -> None:
        self.clock = clock
        self.alike = alike
        """Two bookings of one name have one seat; else each has its own."""
        self.seats: Counter[str] = Counter()
        self.answers: dict[str, str] = {}
        self.broken: set[str] = set()
        self.dies = 0
        self.log: list[str] = []
        self.in_doubt: set[str] = set()

    def ask(self, what: str, name: str) -> str:
        """An effect; the process may die before it or after it."""
        self.clock.time += 1
        self.dies -= 1
        if self.dies == 0:
            raise Died
        if f"{what} {name.partition('#')[0]}" in self.broken:
            raise Trouble(f"{what} {name}")
        key = perdure.idempotency_key()
        if key not in self.answers:
            answer = name if self.alike or what != "book" else f"{name}#{len(self.answers)}"
            self.answers[key] = answer
            if what == "book":
                self.seats[answer] += 1
            elif what == "cancel":
                self.seats[name] -= 1
            self.log.append(f"{what} {answer}")
        self.dies -= 1
        if self.dies == 0:
            if what == "book":
                self.in_doubt.add(self.answers[key])
            raise Died
        return self.answers[key]


service: Service


@step(name="chance.cancel", retry=None)
def cancel(seat: str) -> None:
    service.ask("cancel", seat)


@step(name="chance.book", retry=None, undo=cancel)
def book(name: str) -> str:
    return service.ask("book", name)


@step(name="chance.soft", retry=None, undo=cancel, on_failure="dead_letter")
def soft(name: str) -> str:
    return service.ask("book", name)


@step(name="chance.pay", retry=None)
def pay(name: str) -> None:
    service.ask("pay", name)


@workflow(name="chance.kid")
def kid(program: list[Any]) -> list[str]:
    return walk(program)


@workflow(name="chance.main")
def main(program: list[Any]) -> list[str]:
    return walk(program)


SPECS = {one._spec.name: spec_of(one) for one in (book, soft, pay)} | {"undo:chance.cancel": spec_of(cancel)}


def walk(program: list[Any]) -> list[str]:
    """Make the calls of a program; the seats that it stands on."""
    seats: list[str] = []
    for what, given in program:
        if what == "book":
            seats.append(book(given))
        elif what == "soft":
            seats += filter(None, [soft(given)])
        elif what == "map":
            seats += book.map(given, concurrency=1).results
        elif what == "handled":
            with suppress(Trouble):
                seats.append(book(given))
        elif what == "pay":
            pay(given)
        elif what == "kid":
            seats += kid(given)
        elif what == "handled kid":
            with suppress(Trouble):
                seats += kid(given)
    return seats


def program_of(chance: random.Random, depth: int = 0) -> list[Any]:
    """A random program, which ends with what fails as long as it is not paid."""
    found: list[Any] = []
    for _ in range(chance.randint(1, 3)):
        what = chance.choice(["book", "book", "soft", "map", "handled", "pay", *(["kid", "handled kid"] * (depth < 2))])
        if what in ("kid", "handled kid"):
            found.append([what, program_of(chance, depth + 1)])
        elif what == "map":
            found.append([what, [chance.choice(WORDS) for _ in range(chance.randint(1, 2))]])
        else:
            found.append([what, chance.choice(WORDS)])
    return [*found, ["pay", "z"]]


class Trial:
    """One program, and what becomes of its runs."""

    def __init__(self, machine: Machine, seed: int) -> None:
        global service
        self.machine = machine
        self.chance = random.Random(seed)
        service = Service(machine.world, alike=self.chance.random() < 0.4)
        self.breaks = self.chance.choice([0.15, 0.3, 0.5])
        self.program = program_of(self.chance)
        self.forked = 0
        self.acts: list[str] = []
        self.last: RunRecord | None = None

    # -- what people do ------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """One deed, in a process that may die in it."""
        chance = self.chance
        known = [f"{what} {word}" for what in ("book", "cancel") for word in WORDS] + ["pay a", "pay z"]
        service.broken = {one for one in known if chance.random() < self.breaks}
        service.dies = chance.choice([0, 0, chance.randint(1, 12)])
        deeds = [self.run, self.run, self.run, self.redrive, self.edit, self.drop, self.fork, self.cancel]
        self.do(chance.choices(deeds, (4, 4, 4, 3, 3, 1, 1, 1))[0])

    def do(self, deed: Any) -> None:
        said = deed.__name__
        try:
            said += f": {deed()}"
        except (Died, Trouble, PerdureError) as error:
            said += f"! {type(error).__name__}: {error}".partition("\n")[0]
        self.acts.append(said)
        self.machine.world.time += 10
        under_way.clear()
        self.machine.boot()
        service.dies = 0

    def run(self) -> Any:
        return main(self.program)

    def newest(self) -> RunRecord | None:
        return next(iter(self.machine.engine.store.runs()), None)

    def letters(self, *status: str) -> list[Any]:
        found = dead_letters.find(self.machine.engine.store, dead_letters.Filter())
        return [one for one in found if one.status in status]

    def redrive(self) -> Any:
        parked = [one.lid for one in self.letters("parked")]
        chosen = parked if self.chance.random() < 0.5 else parked[:1]
        return self._redrive(chosen)

    def _redrive(self, lids: list[int]) -> list[Any]:
        found: list[Any] = []
        Redriver(self.machine.engine, lambda run, record: SPECS[record.name], found.append).run(lids)
        return [(one.letter, one.status, str(one.error or "")[:60]) for one in found]

    def edit(self) -> Any:
        store = self.machine.engine.store
        for letter in self.letters("parked"):
            record = store.record(letter.run, letter.seq)
            if record.kind == "step" and self.chance.random() < 0.5:
                given = codec.pack_inputs([self.chance.choice("xy")], {}, owner="book")
                now = self.machine.world.now()
                store.journal.write((), dead_letters.edit(store, letter.lid, given, letter.input, now))
                return letter.lid, self._redrive([letter.lid])
        return None

    def drop(self) -> Any:
        store = self.machine.engine.store
        for letter in self.letters("parked"):
            if self.chance.random() < 0.3:
                store.journal.write((), dead_letters.drop(store, letter.lid, self.machine.world.now()))
                return letter.lid
        return None

    def fork(self) -> Any:
        run = self.newest()
        if run is None or self.forked > 2:
            return None
        store = self.machine.engine.store
        last = max([record.seq for record in store.all_records(run.rid)], default=0)
        before = self.chance.randint(1, last + 1)
        new = f"fork-{self.forked}"
        store.journal.write((), forks.fork(store, run, new, before, self.machine.world.now(), child_id))
        self.forked += 1
        return f"{new} of {run.id} before {before}"

    def cancel(self) -> Any:
        run = self.newest()
        return None if run is None else self.machine.engine.cancel(run.id, lambda run: None).outcome

    # -- what has to hold ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All works, the last run comes to its end, and what is left of undoings is re-driven."""
        service.broken = set()
        service.dies = 0
        run = self.newest()
        if run is not None and run.status not in ("done", "cancelled"):
            deed = self.chance.choice([self.run, self.cancel])
            for _ in range(6):
                if (run := self.newest()) is not None and run.status in ("done", "cancelled"):
                    break
                self.do(deed)
        self.do(self._redrive_undoings)
        self.do(self._redrive_undoings)

    def _redrive_undoings(self) -> Any:
        store = self.machine.engine.store
        lids = [one.lid for one in self.letters("parked") if store.record(one.run, one.seq).kind == "undone"]
        return self._redrive(lids)

    def faults(self) -> list[str]:
        """What does not hold."""
        store = self.machine.engine.store
        found: list[str] = []
        runs = store.runs(children=True, most=1000)
        tops = [run for run in runs if run.parent is None]
        if any(run.status not in ("done", "cancelled") and not run.superseded for run in tops):
            found.append("a run has come to no end")
        stands, explained = self._known(tops)
        for seat, count in service.seats.items():
            if count > explained[seat]:
                found.append(f"{seat} is booked {count} times, and known {explained[seat]} times")
            if count < 0:
                found.append(f"{seat} is cancelled too often")
        for seat, count in stands.items():
            if service.seats[seat] < count:
                found.append(f"{seat} is gone, and a run that is done stands on it")
        found += self._as_edited()
        doubted = [seat for seat in service.in_doubt if service.seats[seat] > 0 and not service.alike]
        for seat in doubted:
            named = any(details_of(store, run).unknown for run in tops if run.status == "cancelled")
            known = explained[seat] > 10
            if not known and not named and all(run.status == "cancelled" for run in tops if not run.superseded):
                found.append(f"{seat} may be booked, and nothing says so")
        return found

    def _known(self, tops: list[RunRecord]) -> tuple[Counter[str], Counter[str]]:
        """What runs that are done stand on, and of which bookings the state says anything at all."""
        store = self.machine.engine.store
        stands: Counter[str] = Counter()
        explained: Counter[str] = Counter()
        for run in tops:
            if run.status != "done":
                continue
            assert run.output is not None
            result = value_of(store.whole(run).output)
            stands |= Counter(result)
            explained |= Counter(result)
            for each in store.family(run.rid):
                for record in store.all_records(each.rid):
                    if (
                        record.kind == "step"
                        and record.status == "done"
                        and record.name in ("chance.book", "chance.soft")
                    ):
                        explained[value_of(record.output)] += 1
        for letter in self.letters("parked", "dropped", "resolved"):
            record = store.record(letter.run, letter.seq)
            if record.kind == "undone" and record.name.startswith("undo:") and letter.status != "resolved":
                explained[seat_of(record.input)] += 1
            elif letter.status == "resolved" and letter.result is not None and record.kind == "step":
                top = self._top(letter.run)
                if top.status == "done":
                    explained[value_of(letter.result)] += 1
        for seat in service.in_doubt:
            explained[seat] += 10
        return stands, explained

    def _as_edited(self) -> list[str]:
        """What was made with another input than the one that the last letter of its call has."""
        store = self.machine.engine.store
        edits: dict[Any, str] = {}
        for letter in self.letters("resolved", "superseded"):
            record = store.record(letter.run, letter.seq)
            if record.name in ("chance.book", "chance.soft"):
                given = letter.input if letter.input is not None else record.input
                edits[letter.run, record.name, record.key, record.n % SET_ASIDE] = seat_of(given)
        found = []
        for run in store.runs(children=True, most=1000):
            for record in store.all_records(run.rid):
                name = edits.get((run.rid, record.name, record.key, record.n))
                if name is not None and record.status == "done" and value_of(record.output).partition("#")[0] != name:
                    found.append(f"{value_of(record.output)} was booked, and {name} is what its letter says")
        return found

    def _top(self, rid: int) -> RunRecord:
        store = self.machine.engine.store
        run = store.run_by_number(rid)
        while run.parent is not None:
            run = store.run_by_number(run.parent)
        return run


def value_of(payload: bytes) -> Any:
    return msgspec.msgpack.decode(payload)


def seat_of(given: bytes) -> str:
    (seat,), _ = codec.unpack_inputs(given, (), owner="cancel")
    return str(seat)


WAY = r"`perdure cancel (\S+) --skip-damaged`"


class DamagedTrial(Trial):
    """The same, and then a byte of one row of the newest run, or of a child run of it, is not as it was written."""

    damaged = ""
    """The table and the column."""
    said: str = ""
    """What was said when the run was ended all the same."""

    def damage(self) -> bool:
        """Flip a bit; is there a row whose schema takes that?"""
        store = self.machine.engine.store
        run = self.newest()
        if run is None:
            return False
        family = [one.rid for one in store.family(run.rid)]
        self.machine.boot()
        local_engine.close_all()
        database = sqlite3.connect(self.machine.state, isolation_level=None)
        database.text_factory = bytes
        try:
            for _ in range(40):
                table = self.chance.choice(DAMAGED)
                names = [
                    (name.decode(), kind.decode())
                    for _, name, kind, *_ in database.execute(f"PRAGMA table_info({table})")
                ]
                of_run = "rid" if table == "run" else "run"
                marks = ", ".join("?" * len(family))
                rows = database.execute(f"SELECT * FROM {table} WHERE {of_run} IN ({marks})", family).fetchall()
                if not rows:
                    continue
                row = self.chance.choice(rows)
                place = self.chance.randrange(len(names))
                changed = self._changed(row[place])
                if changed is None:
                    continue
                name, kind = names[place]
                where = " AND ".join(f"CAST({each} AS BLOB) IS CAST(? AS BLOB)" for each, _ in names)
                try:
                    value = "CAST(? AS TEXT)" if kind == "TEXT" else "?"
                    made = database.execute(f"UPDATE {table} SET {name} = {value} WHERE {where}", (changed, *row))
                except sqlite3.Error:
                    continue
                if made.rowcount == 1:
                    self.damaged = f"{table}.{name}: {row[place]!r} -> {changed!r}"
                    return True
            return False
        finally:
            database.close()
            self.machine.boot()

    def _changed(self, value: Any) -> Any:
        chance = self.chance
        if value is None or value == b"":
            return None
        if isinstance(value, bytes):
            at = chance.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]
        if isinstance(value, int):
            return value ^ 1 << chance.randrange(8)
        return struct.unpack(
            "<d", (struct.unpack("<Q", struct.pack("<d", value))[0] ^ 1 << chance.randrange(64)).to_bytes(8, "little")
        )[0]

    def all_that_is_offered(self) -> list[str]:
        """What goes wrong with the commands of a run, other than that it is refused with the way that works."""
        found: list[str] = []
        id = self._newest_id()
        self._look(found, id)
        deeds = [self.run, self.redrive_all, self.fork_it, self.cancel_it]
        self.chance.shuffle(deeds)
        service.broken, service.dies = set(), 0
        for deed in deeds:
            id = self._newest_id()
            unfinished = self._status(id) is not None
            with self._judged(found, deed.__name__, id if unfinished else ""):
                self.acts.append(f"{deed.__name__}: {deed()}")
            under_way.clear()
            self.machine.boot()
        return found

    def end_all_the_same(self) -> list[str]:
        """What goes wrong with the way out, and with what follows on it."""
        found: list[str] = []
        id = self._newest_id()
        said = ""
        with self._judged(found, "cancel --skip-damaged", strictly=True):
            outcome = cancelling.end(self._location, id, lambda run: None, skip_damaged=True)
            said = next((line for line in outcome.missed if line.startswith("damaged, ")), "")
            self.acts.append(f"cancel --skip-damaged {id}: {outcome}")
            found += self._not_undone(said)
        if self._status(id) not in ("done", "cancelled"):
            found.append(f"run {id} is {self._status(id)}")
        self._look(found, id, strictly=True)
        with self._judged(found, "why", strictly=True):
            store = self.machine.engine.store
            if said and said not in details_of(store, store.run(id)).notes:
                found.append("show does not say what was damaged")
            if said and said not in explain(store, store.run(id), self._location).reasons:
                found.append("why does not say what was damaged")
        for deed in (self.redrive_all, self.fork_it, self.run):
            with self._judged(found, f"then {deed.__name__}", strictly=True):
                self._as_it_says(deed)
            under_way.clear()
        return found

    def _as_it_says(self, deed: Any) -> None:
        """Carry it out, if need be after what its refusal says that helps."""
        try:
            self.acts.append(f"{deed.__name__}: {deed()}")
        except StateCorrupt as error:
            if (way := re.search(WAY, error.hint)) is None:
                raise
            under_way.clear()
            self.acts.append(f"as {deed.__name__} says: {way[0]}")
            cancelling.end(self._location, way[1], lambda run: None, skip_damaged=True)
            self.acts.append(f"{deed.__name__}: {deed()}")

    @property
    def _location(self) -> Location:
        return Location(self.machine.state, "test")

    def _look(self, found: list[str], id: str, *, strictly: bool = False) -> None:
        store = self.machine.engine.store
        looks = {
            "ps": lambda: list_runs(store),
            "show": lambda: run_details(store, id),
            "steps": lambda: step_rows(store, find_run(store, id)),
            "why": lambda: explain(store, find_run(store, id), self._location),
            "dlq ls": lambda: list_letters(store, Selection()),
        }
        for name, look in looks.items():
            with self._judged(found, name, strictly=strictly):
                look()

    def redrive_all(self) -> Any:
        store = self.machine.engine.store
        found: Any = store.journal.read(
            lambda at: at.execute("SELECT lid FROM dead_letter WHERE status = 'parked'").fetchall()
        )
        return self._redrive([lid for (lid,) in found])

    def fork_it(self) -> Any:
        id = self._newest_id()
        run = find_run(self.machine.engine.store, id)
        last = step_pages.last_number(self.machine.engine.store, run.rid)
        at = self.chance.randint(1, last + 1)
        return forking.fork(self._location, run, f"#{at}", self.machine.world.now()).run.id

    def cancel_it(self) -> Any:
        id = self._newest_id()
        find_run(self.machine.engine.store, id)
        return cancelling.end(self._location, id, lambda run: None, skip_damaged=False)

    def _not_undone(self, said: str) -> list[str]:
        """Bookings that nothing is known of, beyond those whose rows were given up."""
        if " row" in said:  # of a run, which may be that of another one then
            return []
        try:
            _, explained = self._known([run for run in self.machine.engine.store.runs() if run.parent is None])
        except StateCorrupt:  # of the source of a fork, or of a run that is done: neither is meant
            return []
        left = sum(max(count - explained[seat], 0) for seat, count in service.seats.items())
        return [f"{left} bookings stand, and nothing is known of them"] if left > said.count("#") else []

    def too_many(self) -> list[str]:
        """What was taken back too often, or not although its record is intact."""
        return [f"{seat} is cancelled too often" for seat, count in service.seats.items() if count < 0]

    def _newest_id(self) -> str:
        found = self.machine.engine.store.journal.read(
            lambda connection: connection.execute(
                "SELECT id FROM run WHERE parent IS NULL ORDER BY rid DESC LIMIT 1"
            ).fetchone()
        )
        return str(found[0])

    def _status(self, id: str) -> str | None:
        found = self.machine.engine.store.journal.read(
            lambda connection: connection.execute("SELECT status FROM run WHERE id = ?", (id,)).fetchone()
        )
        return None if found is None else str(found[0])

    @contextmanager
    def _judged(self, found: list[str], what: str, id: str = "", *, strictly: bool = False) -> Iterator[None]:
        try:
            yield
        except StateCorrupt as error:
            self.acts.append(f"{what}! {error}")
            if strictly or (id and not re.search(WAY, error.hint)):
                found.append(f"{what}: {error}")
        except (Trouble, PerdureError) as error:
            self.acts.append(f"{what}! {type(error).__name__}: {error}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            found.append(f"{what}: {type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}")
