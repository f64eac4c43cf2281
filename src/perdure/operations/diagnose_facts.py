"""What a diagnosis goes by: the records, attempts and lives of one run, gone through once in bounded memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import msgspec

from perdure.core.policies.classify import Assessment
from perdure.core.policies.verdicts import Stop
from perdure.core.records import ENDED, AttemptRecord, RunRecord, StepRecord
from perdure.core.run_notes import UNLIKE, UNSAVED
from perdure.core.values.pieces import IN_FILE, is_apart, manifest
from perdure.errors import StateCorrupt
from perdure.operations.processes import ProcessView, Suspect, process_of, suspects_of
from perdure.operations.run_views import Standing, view_of
from perdure.operations.stored_failures import assessment_of, error_line, kind_of_note, message_of
from perdure.store import dead_letters
from perdure.store.runs import Store

MOST_CALLS = 50_000
"""Calls whose repetitions are counted; behind them only names are."""

LINE = 300
"""Characters of a line about an error."""

SMALL = 4_000
"""Bytes of a result that is looked into."""

_TELLING = re.compile(rb"(?i)error|fail|declin|reject|denied|success|\xa2ok")

Identity = tuple[str, bytes, int]


class Failure(msgspec.Struct, frozen=True):
    """An attempt that failed, and what was known of it."""

    record: AttemptRecord
    seen: Assessment

    @property
    def identity(self) -> Identity:
        """Which call it is of."""
        return self.record.name, self.record.key, self.record.n

    @property
    def ended(self) -> float:
        """When it failed, in seconds since the epoch."""
        return self.record.started + self.record.ms / 1000

    @property
    def line(self) -> str:
        """What it failed with, in a line."""
        return line_of(self.record.error)

    @property
    def name(self) -> str:
        """The class of what it failed with."""
        return self.line.partition(":")[0]


class StepFacts(msgspec.Struct):
    """The records of one name. Sizes in bytes, times in milliseconds; the numbers are those of records."""

    name: str
    done: list[int] = []
    dead: list[int] = []
    failed: list[int] = []
    last_done: float = 0.0
    sizes: list[tuple[int, int]] = []
    stored: int = 0
    largest: tuple[int, int] = (0, 0)
    durations: list[int] = []


class RunFacts:
    """What is known of a run.

    Args:
        store: the state file.
        run: which.
        now: seconds since the epoch.
        numbered: dead letters have numbers of their own.
        one_clock: all records were stamped by the clock of one machine, as soon as they had ended.
    """

    def __init__(
        self, store: Store, run: RunRecord, now: float, *, numbered: bool = True, one_clock: bool = True
    ) -> None:
        self.store = store
        self.run = run
        self.now = now
        self.numbered = numbered
        self.one_clock = one_clock
        self.status: Standing = "interrupted" if run.status == "running" else run.status
        self.stop: Stop | None = store.stopped_by(run)
        self.process: ProcessView | None = None
        self.suspects: list[Suspect] = []
        self.steps: dict[str, StepFacts] = {}
        self.calls: Counter[tuple[str, bytes]] = Counter()
        self.first_of: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        self.outputs: dict[tuple[str, bytes], bytes | None] = {}
        self.order: list[tuple[str, bytes]] = []
        self.marked: list[StepRecord] = []
        self.telling: list[StepRecord] = []
        self.clean_ups: list[StepRecord] = []
        self.deferred: list[StepRecord] = []
        self.cleaned_up = False
        self.backward: list[tuple[int, str, float, float]] = []
        self.recorded: set[Identity] = set()
        self.records = 0
        self.failures: list[Failure] = []
        self.dead_errors: dict[int, bytes] = {}
        self.notes: list[str] = []
        self.unlike: list[str] = []
        self.damage: StateCorrupt | None = None
        self._last_seen: dict[int, Assessment] | None = None
        self._seqs: dict[Identity, int] = {}
        try:
            self.status = view_of(store, run).status
            self.process = process_of(store, run)
            self.suspects = suspects_of(store, run)
            self._read()
            self._leave_out_redriven()
            self.failures += [Failure(one, self._seen(one)) for one in store.attempt_records(run.rid)]
            for note in store.notes(run.rid):
                kind = kind_of_note(note)
                if kind in (UNSAVED, UNLIKE):  # else it speaks of no fault of the script's
                    (self.unlike if kind == UNLIKE else self.notes).append(message_of(note.error))
        except StateCorrupt as damage:
            self.damage = damage  # what was read before is still known

    @property
    def error(self) -> bytes:
        """What has failed the run, or stopped it; empty if nothing did, or that is not known."""
        if self.run.output is not None and self.run.status in ("failed", "parked"):
            return self.run.output
        return self.stop.error if self.stop is not None else b""

    @property
    def verdict(self) -> Assessment | None:
        """What was known of that."""
        if not self.error:
            return None
        return assessment_of(self.run.path, self.stop.verdict if self.stop is not None else None, self.error)

    @property
    def dead_seqs(self) -> list[int]:
        """The numbers of the records that are dead letters, in order."""
        clean_ups = [one.seq for one in self.clean_ups if one.status == "dead"]
        return sorted(clean_ups + [seq for step in self.steps.values() for seq in step.dead])

    def letter(self, seq: int) -> str:
        """What the dead letter of a record goes by."""
        number = dead_letters.number(self.store, self.run.rid, seq) if self.numbered else None
        return f"{self.run.id}#{seq}" if number is None else str(number)

    def of(self, identity: Identity) -> list[Failure]:
        """The failed attempts of a call, in order."""
        return [one for one in self.failures if one.identity == identity]

    def open_failures(self) -> list[Failure]:
        """The last failed attempt of each call that has no record."""
        found = {one.identity: one for one in self.failures if one.identity not in self.recorded}
        return list(found.values())

    def dead_failures(self) -> list[Failure]:
        """The last failed attempt of each call that is a dead letter."""
        dead = {seq for step in self.steps.values() for seq in step.dead}
        wanted = {identity for identity, seq in self._seqs.items() if seq in dead}
        found = {one.identity: one for one in self.failures if one.identity in wanted}
        return list(found.values())

    def seen_of_dead(self, seq: int) -> Assessment | None:
        """What was known of the last failed attempt of a dead letter; None if no attempt of it is recorded."""
        if self._last_seen is None:
            self._last_seen = {self._seqs[one.identity]: one.seen for one in self.dead_failures()}
        return self._last_seen.get(seq)

    def _leave_out_redriven(self) -> None:
        """A clean-up that has failed was made since, if its letter is resolved."""
        if self.clean_ups and self.numbered:
            resolved = dead_letters.find(self.store, dead_letters.Filter(status="resolved", run=self.run.rid))
            made = {letter.seq for letter in resolved}
            self.clean_ups = [one for one in self.clean_ups if one.seq not in made]

    def _seen(self, one: AttemptRecord) -> Assessment:
        return assessment_of(self.run.path, one.verdict, one.error)

    def _read(self) -> None:
        before = 0.0
        for record in self._stored():
            self.records += 1
            ended = record.started + record.ms / 1000
            # What came of a run that is called by an id was when that run was, which may have ended long before.
            own = record.kind == "step" or (record.kind == "builtin" and not record.name.startswith(ENDED))
            if record.status != "abandoned" and own and record.started:
                if ended < before - 2 and self.one_clock:
                    self.backward.append((record.seq, record.name, before, ended))
                before = ended
            if record.kind == "defer":
                self.deferred.append(record)
            if record.kind in ("deferred", "undone"):
                self.cleaned_up = True
                if record.status not in ("done", "failed"):
                    self.clean_ups.append(record)
                continue
            if record.kind != "step":
                continue
            self._step(record)

    def _step(self, record: StepRecord) -> None:
        name = record.name
        step = self.steps.setdefault(name, StepFacts(name))
        identity = (name, record.key, record.n)
        self.recorded.add(identity)
        if record.status != "done":
            (step.dead if record.status == "dead" else step.failed).append(record.seq)
            self._seqs[identity] = record.seq
            if record.status == "dead" and len(self.dead_errors) < 1_000:
                self.dead_errors[record.seq] = record.output
        given, output = size_of(record.input), size_of(record.output)
        step.stored += given + output
        if record.lives or record.keyed is not None:
            self.marked.append(record)
        if record.status == "done":
            step.done.append(record.seq)
            step.last_done = record.started + record.ms / 1000
            step.sizes.append((record.seq, given))
            step.durations.append(record.ms)
            if output > step.largest[1] and not is_in_file(record.output):
                step.largest = record.seq, output
            if len(record.output) <= SMALL and len(self.telling) < 1_000 and _TELLING.search(record.output):
                self.telling.append(record)
        call = name, record.key
        if call in self.calls or len(self.calls) < MOST_CALLS:
            self.calls[call] += 1
            self.first_of.setdefault(call, (record.seq, record.input))
            same = self.outputs.setdefault(call, record.output)
            if same != record.output:
                self.outputs[call] = None
        self.order.append(call)
        if len(self.order) > 400:
            del self.order[:200]

    def _stored(self) -> Iterator[StepRecord]:
        """The records as they are stored: large payloads stay where they are."""
        first = 0
        while chunk := self.store.records(self.run.rid, first):
            yield from chunk
            first = chunk[-1].seq + 1


def size_of(payload: bytes) -> int:
    """Bytes of a payload as a whole."""
    return manifest(payload).size if is_apart(payload) else len(payload)


def is_in_file(payload: bytes) -> bool:
    """Does it lie in a file of its own, and not in the state file?"""
    return is_apart(payload) and manifest(payload).level == IN_FILE


def line_of(packed: bytes) -> str:
    """An exception that was stored, in a line of bounded length."""
    return error_line(packed)[:LINE]
