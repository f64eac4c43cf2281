"""What a run has left beside its own records: runs, signals, schedules, published values, large data, dead letters."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from perdure.core.letter_record import WHOLE_RUN
from perdure.core.records import RESERVED

if TYPE_CHECKING:
    from perdure.core.records import RunRecord
    from perdure.store.runs import Store

AGAIN = {
    "enqueue": "in a step, which may be made again, give an id, with_options(id=...), or take @workflow(once=True)",
    "signal": "in a step, which may be made again, give an id: perdure.signal(..., id=...)",
}
"""The kinds of which a second one can be left over, and what to do about that."""

MOST = 1_000
"""Runs that are looked at."""


class Kept(msgspec.Struct, frozen=True):
    """A row that is there at the end.

    Attributes:
        kind: "enqueue" (a run of its own), "signal", "schedule", "published", "artifact" or "letter" (a dead letter).
        what: which, in words; for the first two as `Effect.what` says it.
        details: digests of what it is, the closest first.
    """

    kind: str
    what: str
    details: list[str]


def enqueued(workflow: str) -> str:
    """A run of its own in words."""
    return f"run of {workflow}"


def sent(event: str) -> str:
    """A signal in words."""
    return f"signal {event!r}"


def alerted(text: str) -> str:
    """An alert of a step in words."""
    return f"alert {text.partition(chr(10))[0]!r}"


def kept_rows(store: Store, runs: Sequence[RunRecord], own: str, given: Callable[[str], bool]) -> list[Kept]:
    """All of them.

    Args:
        store: the state file.
        runs: those that are in it, without child runs.
        own: the id of the run that is tried.
        given: says of the name of a signal whether the test itself sends it.

    Raises:
        StateError: the state file cannot be read.
    """
    from perdure.store import schedules

    found = [each for run in runs for each in _of_run(store, run, own, given)]
    for each in schedules.every(store):
        rules = (each.workflow, each.spec, each.tz, each.overlap, each.missed, each.status, each.queue or "")
        found.append(Kept("schedule", f"schedule {each.name!r}", [_digest(*rules, each.key.hex()), _digest(*rules)]))
    return found


def _of_run(store: Store, run: RunRecord, own: str, given: Callable[[str], bool]) -> Iterator[Kept]:
    from perdure.store import dead_letters, pieces, published, signals

    whose = ""
    if run.id != own:
        whose = f" of a {enqueued(run.workflow)}"
        inputs = run.key.hex()
        yield Kept("enqueue", enqueued(run.workflow), [_digest(inputs, run.id), _digest(inputs)])
    for letter in signals.all_of(store, run.rid):
        if not letter.event.startswith(RESERVED) and not given(letter.event):
            said = (letter.topic, letter.value.hex())
            yield Kept("signal", sent(letter.event), [_digest(run.id, *said), _digest(*said)])
    for value in published.of_run(store, run.rid):
        if not value.name.startswith(RESERVED):
            yield Kept("published", f"the published {value.name!r}{whose}", [_digest(value.value.hex())])
    for name in store.journal.read(partial(pieces.artifacts_used_by, rid=run.rid)):
        yield Kept("artifact", f"large data{whose}", [name])
    for dead in dead_letters.of_run(store, run.rid):
        step, call = "the run", ""
        if dead.seq != WHOLE_RUN:
            record = store.record(run.rid, dead.seq)
            step, call = repr(record.name), f"{record.key.hex()}:{record.n}"
        why = (dead.error or "", (dead.fingerprint or b"").hex())
        yield Kept("letter", f"the dead letter of {step}{whose}", [_digest(call, *why), _digest(*why)])


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()


class KeptByAll:
    """What undisturbed runs have left in their state files.

    Args:
        ends: the rows of each of them.
    """

    def __init__(self, ends: Sequence[Sequence[Kept]]) -> None:
        self._ends = [_grouped(each) for each in ends]

    def more(self, now: Sequence[Kept], kind: str, what: str) -> bool:
        """Are there more rows of that now than any of them has left?"""
        here = len(_grouped(now).get((kind, what), ()))
        return here > max(len(end.get((kind, what), ())) for end in self._ends)

    def others(self, now: Sequence[Kept]) -> Iterator[tuple[str, str]]:
        """What is not as it is in all of them: which, and how it is otherwise, in words."""
        here, (usual, *more) = _grouped(now), self._ends
        for key in sorted(usual.keys() | here.keys()):
            mine, first, *rest = (each.get(key, []) for each in (here, usual, *more))
            if any(len(each) != len(first) for each in rest):
                continue
            if len(mine) != len(first):
                yield key[1], f"is there {_times(len(mine))}, undisturbed {_times(len(first))}"
                continue
            for depth in range(len(first[0].details) if first else 0):
                details = [Counter(row.details[depth] for row in rows) for rows in (mine, first, *rest)]
                if all(each == details[1] for each in details[2:]):
                    if details[0] != details[1]:
                        yield key[1], "is another one than undisturbed"
                    break

    def unstable(self) -> Iterator[str]:
        """What differs between them, in words."""
        first, *more = self._ends
        for key in sorted(set().union(*self._ends)):
            if any(len(each.get(key, ())) != len(first.get(key, ())) for each in more):
                yield f"how often {key[1]} is there"


def _grouped(rows: Sequence[Kept]) -> Mapping[tuple[str, str], list[Kept]]:
    found: dict[tuple[str, str], list[Kept]] = {}
    for row in rows:
        found.setdefault((row.kind, row.what), []).append(row)
    return found


def _times(number: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number} times")
