"""The durable waits of a run on a cluster, while its function executes: how they stand, and what wakes them.

They are judged as on one machine, by `core/waits`. All of them together have one timer of Temporal's. What becomes of
one (it begins, it ends, a signal is set aside) is noted in Temporal's history, by a local activity's marker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from temporalio import workflow

from perdure.core import records, waits
from perdure.core.execution.spec import Call
from perdure.core.execution.waiting import CloseWait, SetAside, Wait
from perdure.core.records import Row
from perdure.core.waits import Open, View, Wanted, same_end, verdict
from perdure.engines.temporal.awaited_runs import AwaitedRuns
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.payloads import Carried, Identity, Letter, OpenRow, OpenWaitNote, WaitNote, encode

NOTE = "perdure.wait"
"""What Temporal calls the local activity that notes what becomes of a wait."""
NOTING = timedelta(seconds=10)
LONGEST = 365 * 24 * 3600.0
"""Seconds of one timer; a wait that is longer has several."""


class Spot:
    """A wait that lasts: `decided` is called once, when it is decided, or is to be written down anew (`over`)."""

    def __init__(self, identity: Identity, wanted: Sequence[Wanted], decided: Callable[[View], None]) -> None:
        self.identity = identity
        self.wanted = wanted
        self.decided = decided
        self.until: float | None = None
        self.over = False


class OpenWaits:
    """The waits of one run.

    Args:
        mailbox: what was sent to the run.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.replaying = False
        """A resumed run has not come to all of its waits again."""
        self.runs = AwaitedRuns(mailbox.ends, self.run_ended)
        self._open: dict[Identity, OpenWaitNote] = {}
        self._live: set[Identity] = set()
        self._spots: dict[Identity, Spot] = {}
        self._stirred: set[Identity] = set()
        self._moved = False
        self._watching: asyncio.Task[None] | None = None

    def take_over(self, opened: Iterable[OpenWaitNote]) -> None:
        """An earlier execution of the run has begun these."""
        self._open.update(((one.name, one.key, one.n), one) for one in opened)

    def adopt(self, identity: Identity, rows: list[OpenRow]) -> None:
        """A child run waits for these: that counts among the waits of this run."""
        self._open[identity] = OpenWaitNote(*identity, rows)
        self._live.add(identity)

    def forget(self, identity: Identity) -> None:
        """It waits for them no more."""
        self._open.pop(identity, None)
        self._live.discard(identity)

    # -- how one stands -----------------------------------------------------------------------------------------------

    def look(self, call: Call, wait: Wait, now: float) -> View:
        """How a wait stands at that moment, in seconds since the epoch."""
        return self.view(identity_of(call), wait.wanted, now)

    def view(self, identity: Identity, wanted: Sequence[Wanted], now: float) -> View:
        """The same of the wait that goes by that name, key and occurrence."""
        note = self._open.get(identity)
        rows = note.rows if note is not None else []
        known = len(rows) == len(wanted)
        began: list[float] = []
        found: list[waits.Letter | waits.RunEnd | None] = []
        for position, one in enumerate(wanted):
            row = rows[position] if position < len(rows) else None
            same = row is not None and (row.event, row.topic, row.run) == (one.event, one.topic, one.run)
            start = row.began if row is not None and same else now
            began.append(start)
            known = known and same and row is not None and row.due == one.due(start)
            found.append(self._found(identity, one, start))
        return View(now, tuple(began), tuple(found), open=known)

    def _found(self, own: Identity, one: Wanted, began: float) -> waits.Letter | waits.RunEnd | None:
        if one.run is not None:
            return self.mailbox.ends.get(one.run)
        if one.event is None:
            return None
        due = one.due(began)
        found = self.mailbox.first(one.event, one.topic, due, self._before(own, one, began))
        if found is None:
            return None
        number, letter = found
        # When another program has sent its signal is not known: it came in time.
        stamp = letter.stamp if due is None else min(letter.stamp, due)
        return waits.Letter(number, stamp, letter.value)

    def _before(self, own: Identity, one: Wanted, began: float) -> int:
        """How many open waits come first: those of the same event that began earlier."""
        mine = (began, own)
        count = 0
        for identity, note in self._open.items():
            if identity != own and (self.replaying or identity in self._live):
                same = [row for row in note.rows if (row.event, row.topic) == (one.event, one.topic)]
                count += any((row.began, identity) < mine for row in same)
        return count

    # -- what becomes of one ------------------------------------------------------------------------------------------

    def open(self, call: Call, wait: Wait, view: View) -> WaitNote:
        """It is waited for from now on."""
        rows = [
            OpenRow(one.event, one.topic, one.run, began, one.due(began))
            for one, began in zip(wait.wanted, view.began, strict=True)
        ]
        identity = identity_of(call)
        self._open[identity] = note = OpenWaitNote(*identity, rows)
        self._live.add(identity)
        return WaitNote(opened=note)

    def close(self, effect: CloseWait, now: float) -> WaitNote | View:
        """It has ended, and has its signal; or a View: it has not."""
        call = effect.call
        view = self.look(call, effect.wait, now)
        end = verdict(effect.wait.wanted, view)
        position = getattr(end, "position", None)
        if not same_end(end, effect.end) or (position is not None and view.found[position] != effect.found):
            return view
        taken = effect.found.sid if isinstance(effect.found, waits.Letter) else None
        note = WaitNote(closed=_carried(effect.row), taken=self._take(call, taken))
        self._drop(call)
        return note

    def _take(self, call: Call, number: int | None) -> int | None:
        """A wait ends with that letter; its number, as the history of this run is to have it."""
        if number is not None:
            self.mailbox.take(number)
        return number

    def set_aside(self, effect: SetAside) -> WaitNote:
        """A signal does not fit."""
        self.mailbox.set_aside(effect.letter.sid, effect.reason)
        self.stir()
        return WaitNote(aside=effect.letter.sid, reason=effect.reason)

    def drop(self, call: Call) -> None:
        """It was given up."""
        self._drop(call)

    def _drop(self, call: Call) -> None:
        """It is waited for no more; others may be next for what it has left."""
        self.forget(identity_of(call))
        self.stir()

    async def leave(self) -> None:
        """The run ends."""

    # -- waiting, on Temporal's loop ----------------------------------------------------------------------------------

    def received(self, letter: Letter) -> None:
        """A signal has come."""
        for identity, spot in self._spots.items():
            if any((one.event, one.topic) == (letter.event, letter.topic) for one in spot.wanted):
                self._stirred.add(identity)

    def run_ended(self, run: str) -> None:
        """A run has ended."""
        self._stirred.update(
            identity for identity, spot in self._spots.items() if any(one.run == run for one in spot.wanted)
        )

    def stir(self) -> None:
        """Look at all that wait for signals again."""
        self._stirred.update(
            identity for identity, spot in self._spots.items() if any(one.event is not None for one in spot.wanted)
        )

    async def park(self, call: Call, wait: Wait) -> View:
        """Wait until it may be decided."""
        future: asyncio.Future[View] = asyncio.get_running_loop().create_future()
        spot = Spot(identity_of(call), wait.wanted, lambda view: None if future.done() else future.set_result(view))
        self._live.add(spot.identity)
        self.begin(spot)
        try:
            return await future
        finally:
            self.end(spot.identity)

    def begin(self, spot: Spot) -> None:
        """Wait for it."""
        self._spots[spot.identity] = spot
        self._stirred.add(spot.identity)
        for run in {one.run for one in spot.wanted if one.run is not None}:
            self.runs.want(run)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def end(self, identity: Identity) -> None:
        """Wait for it no more."""
        spot = self._spots.pop(identity, None)
        if spot is not None:
            for run in {one.run for one in spot.wanted if one.run is not None}:
                self.runs.want_no_more(run)
        self._moved = True

    async def _watch(self) -> None:
        """Decide the waits when something comes, or when the earliest is due."""
        while self._spots:
            self._moved = False
            stirred = [self._spots[identity] for identity in sorted(self._stirred) if identity in self._spots]
            self._stirred.clear()
            self._decide(stirred)
            until = waits.earliest([spot.until for spot in self._spots.values() if not spot.over])
            left = None if until is None else min(max(until - workflow.time(), 0.001), LONGEST)
            try:
                await workflow.wait_condition(lambda: bool(self._stirred) or self._moved, timeout=left)
            except TimeoutError:
                now = workflow.time()
                self._stirred.update(
                    identity for identity, spot in self._spots.items() if spot.until is not None and spot.until <= now
                )

    def _decide(self, spots: Iterable[Spot]) -> None:
        now = workflow.time()
        for spot in spots:
            if spot.over:
                continue
            view = self.view(spot.identity, spot.wanted, now)
            end = verdict(spot.wanted, view)
            if isinstance(end, Open) and view.open:
                spot.until = end.until
            else:
                spot.over = True
                spot.decided(view)


async def carry_note(note: WaitNote) -> None:
    """Have Temporal's history say what has become of a wait."""
    await workflow.execute_local_activity(NOTE, encode(note), result_type=bytes, start_to_close_timeout=NOTING)


def identity_of(call: Call) -> Identity:
    """What a wait goes by."""
    return (call.spec.name, call.key, call.n)


def _carried(row: Row) -> Carried:
    name, key, n, status, given, output, started, ms, attempts = row[records.NAME : records.CRC]
    rest = (started, ms / 1000, attempts)
    return Carried(name, key, n, status, given, output, *rest, kind="builtin")
