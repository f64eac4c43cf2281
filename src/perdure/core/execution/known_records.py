"""The records of a run that its calls can claim, as far as they are known: they are read as calls come to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from perdure.core.execution.step_claims import StepClaims
from perdure.core.records import KEY, NAME, RESERVED, WAITS, Row, begun_by

IndexRow = tuple[int, str, bytes, int, str, str]
"""Number, name, key, occurrence, status and kind of a record."""

IndexPage = Sequence[Sequence[Any]]
"""The columns of some index rows: their numbers, their names, and so on. There is at least one row."""


def page_of(rows: Iterable[IndexRow]) -> list[IndexPage]:
    """Rows as a page, if there are any."""
    columns = list(zip(*rows, strict=True))
    return [columns] if columns else []


class Source(Protocol):
    """What the records of a run are read from, in order."""

    def next_page(self) -> IndexPage | None:
        """The index of the next records; None: there are no more."""

    def next_rows(self) -> list[Row] | None:
        """The rows of the next records, if all are of first calls that have ended well, with their results in them.

        None: they are not, or there are no more; `next_page` says so.
        """

    def keep(self, rows: list[Row]) -> IndexPage:
        """The index of such rows, which are wanted one by one from here on."""


_KEY, _NAME, _WHOSE = itemgetter(KEY), itemgetter(NAME), itemgetter(NAME, KEY)


class KnownRecords:
    """The records of one run that calls can claim, by the names of their steps.

    Args:
        exempt: first and last number of each stretch of records that is not held against the script.
    """

    def __init__(self, exempt: Sequence[tuple[int, int]]) -> None:
        self._steps: dict[str, StepClaims] = {}
        self.open = 0  # completed calls that have not been made again
        self._exempt = exempt
        self._not_done: set[int] = set()
        self._failed: set[int] = set()  # of them, those that are no dead letters
        self._uncounted: set[int] = set()  # notes and waits: they are never held against the script
        self._all_open = not exempt  # all records are of completed calls that are held against it
        self.recorded = 0  # records that were there
        self._abandoned: set[int] = set()
        self._source: Source | None = None  # of the records that are not known yet
        # The next records, the first one last, for a script that makes its calls in the order of before. Empty: they
        # can be read (`read_ahead`). None: what is known already is to be asked first, or there are no more.
        self.ahead: list[Row] | None = None
        self._in_hand: list[Row] = []  # those that were read ahead, with those that were claimed since

    def read_when_needed(self, source: Source) -> None:
        """Learn of the records when calls ask for them, in order; they are those of calls, and of none given up.

        A call without a record among those that are known reads on until it has found one, or all are known. So all are
        before anything is judged, and nothing is executed before that.
        """
        self._source = source
        self.ahead = []
        self.open += 1  # there are more, as long as it is not known that there are not

    @property
    def reads_on(self) -> bool:
        """Are there records that are not known yet, and are read when a call asks for them?"""
        return self._source is not None

    def read_all(self) -> None:
        """Learn of all records that there are."""
        while self._source is not None:
            self._read_page()

    def _read_page(self) -> None:
        assert self._source is not None
        if self._put_back():
            return
        page = self._source.next_page()
        if page is not None:
            self._offer_page(page)
            return
        self._source = None
        self.open -= 1

    # A script that was not edited makes its calls in the order of their records. Those are taken from a page in hand
    # one by one then, and what is to be known of a claimed record is noted for the whole page.

    def read_ahead(self) -> bool:
        """Take the next records in hand; False: there are none, or not all of them are plain."""
        assert self._source is not None
        self._put_back()
        rows = self._source.next_rows()
        if not rows or (len(set(map(_KEY, rows))) < len(rows) and len(set(map(_WHOSE, rows))) < len(rows)):
            if rows:
                self._offer_page(self._source.keep(rows))
            else:
                self._read_page()
            return False
        self._in_hand, self.ahead = rows, rows[::-1]
        return True

    def _put_back(self) -> bool:
        """Note which of the records in hand were claimed, and offer the others; were there any?"""
        rows, ahead = self._in_hand, self.ahead or []
        self._in_hand, self.ahead = [], None
        claimed, left = rows[: len(rows) - len(ahead)], rows[len(rows) - len(ahead) :]
        self.recorded += len(claimed)
        for name, found in groupby(sorted(claimed, key=_NAME), _NAME):
            step = self._step(name)
            step.matched = True
            step.claimed += b"".join(map(_KEY, found))
        if left:
            assert self._source is not None
            self._offer_page(self._source.keep(left))
        return bool(left)

    def _offer_page(self, page: IndexPage) -> None:
        """Records that calls can claim. Nearly always, all are of one step, and have ended well."""
        seqs, names, keys, ns, statuses, kinds = page
        self.recorded += len(seqs)
        alike = names.count(names[0]) == statuses.count("done") == kinds.count("step") == ns.count(0) == len(seqs)
        if alike and not self._exempt:
            step, found = self._step(names[0]), dict(zip(keys, seqs, strict=True))
            if len(found) == len(seqs) and not step.taken and step.once.keys().isdisjoint(found):
                step.once.update(found)
                self._offered(step, len(seqs))
                return
        for row in self._offer_done(zip(*page, strict=True)):
            self._remember(*row)

    def _remember(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """A record that is not of a call that has ended well and stands alone."""
        self._offer(seq, name, key, n, status, kind)

    def _offer(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """A record that a call can claim."""
        step = self._step(name)
        earlier = step.once.get(key) if n == 0 else step.again.get(key, {}).get(n)
        if earlier is None:
            step.left += 1
        else:  # it was given up in an earlier life of the script, and was made after all
            if self._is_open(earlier):
                step.open -= 1
                self.open -= 1
            self._abandoned.discard(earlier)
        if n == 0:
            step.once[key] = seq
        else:
            step.again.setdefault(key, {})[n] = seq
            step.taken.setdefault(key, {0} if key in step.once else set()).add(n)
        if n == 0 and key in step.taken:
            step.taken[key].add(0)
        if kind == "defer" or (status == "done" and kind == "builtin" and name.startswith(WAITS)):
            self._uncounted.add(seq)
            self._all_open = False
        elif status == "abandoned":
            self._abandoned.add(seq)
            self._all_open = False
        elif status != "done":
            self._not_done.add(seq)
            if status == "failed":
                self._failed.add(seq)
            self._all_open = False
        elif not self.is_exempt(seq):
            step.open += 1
            self.open += 1

    def _offer_done(self, rows: Iterable[IndexRow]) -> Iterator[IndexRow]:
        """Offer the records of calls that have ended well and stand alone, as nearly all do; it yields the others."""
        name: str | None = None
        step, offered = StepClaims(), 0
        once = step.once
        for row in rows:
            seq, named, key, n, status, kind = row
            plain = not n and status == "done" and kind == "step" and not self._exempt
            if plain and named != name:
                self._offered(step, offered)
                name, step, offered = named, self._step(named), 0
                once = step.once
            if plain and key not in once and not step.taken:
                once[key] = seq
                offered += 1
            else:
                self._offered(step, offered)
                offered = 0
                yield row
        self._offered(step, offered)

    def _offered(self, step: StepClaims, count: int) -> None:
        step.left += count
        step.open += count
        self.open += count

    def _is_open(self, seq: int) -> bool:
        """Is that the record of a completed call that is held against a script which does not make it?"""
        return not (seq in self._not_done or seq in self._abandoned or seq in self._uncounted or self.is_exempt(seq))

    def _step(self, name: str) -> StepClaims:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = StepClaims()
        return step

    def is_done(self, seq: int) -> bool:
        """Is that the record of a success?"""
        return seq not in self._not_done

    def left_behind(self) -> list[tuple[int, str]]:
        """Number and step of the completed calls, in order, that were not made again.

        Nobody is told of them otherwise: whether they are held against the script is asked only where a call has no
        record. What perdure's own steps only answer (`perdure.now`) or wait for is not meant.
        """
        if not self.open and not self._exempt:
            return []
        self.read_all()
        unlike = self._not_done | self._abandoned | self._uncounted
        return sorted(
            (seq, begun_by(name)[1])
            for name, step in self._steps.items()
            if step.left and begun_by(name)[0] != RESERVED
            for seq in step.numbers()
            if seq not in unlike
        )

    def has_failed(self, seq: int) -> bool:
        """Is that the record of a failure that is no dead letter?"""
        return seq in self._failed

    def is_exempt(self, seq: int) -> bool:
        """Is that record not to be held against the script?"""
        return bool(self._exempt) and any(first <= seq <= last for first, last in self._exempt)
