"""Signals for child runs on a cluster: the mailbox is the root's, so a child asks the root, and the root judges.

A child that comes to a wait for a signal tells the root what for (`ASK`), and waits. The root judges that wait among
its own, as if it were one: whoever began first is first, and what was sent in time wins, whoever is woken first. It
answers once, with the signal or with the time that is over (`ANSWER`), and keeps what it has handed over until the
child says that it was taken. What a child has given up, or leaves when it ends, goes back into the mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from temporalio import workflow

from perdure.core import waits
from perdure.core.execution.spec import Call
from perdure.core.execution.waiting import SetAside, Wait
from perdure.core.waits import View, Wanted, Won, verdict
from perdure.engines.temporal.awaited_runs import tell
from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.messages import ANSWER, ASK, ChildAnswer, ChildAsk
from perdure.engines.temporal.open_waits import OpenWaits, Spot, identity_of
from perdure.engines.temporal.payloads import Identity, OpenRow, WaitNote, encode

UNKNOWN = 0.0
"""The moment of a look, as long as the root has not answered: nothing is over then."""


class ChildWaits(OpenWaits):
    """The waits of a child run.

    Args:
        mailbox: what its root has answered.
        run: its id.
        root: what Temporal knows its root by.
    """

    def __init__(self, mailbox: Mailbox, run: str, root: str) -> None:
        super().__init__(mailbox)
        self._run = run
        self._root = root
        self._asked: dict[Identity, list[OpenRow]] = {}
        self._left: list[ChildAsk] = []
        self._telling: asyncio.Task[None] | None = None

    def view(self, identity: Identity, wanted: Sequence[Wanted], now: float) -> View:
        """How a wait stands, by what the root has answered."""
        view = super().view(identity, wanted, now)
        if not is_asked(wanted):
            return view
        answer = self.mailbox.answers.get(identity)
        if answer is None or not view.open:
            return View(UNKNOWN, view.began, (None,) * len(wanted), open=view.open)
        found: list[waits.Letter | waits.RunEnd | None] = [None] * len(wanted)
        if answer.letter is not None:
            found[answer.position] = waits.Letter(*answer.letter)
        elif answer.end is not None:
            found[answer.position] = waits.RunEnd(*answer.end)
        return View(answer.now, view.began, tuple(found), open=True)

    def _take(self, call: Call, number: int | None) -> int | None:
        if self._asked.pop(identity_of(call), None) is not None:
            self._tell(ChildAsk(self._run, *identity_of(call), [], taken=number))
        return None

    def set_aside(self, effect: SetAside) -> WaitNote:
        """A signal does not fit: the root is to give it to none, and to look for another one."""
        identity = identity_of(effect.call)
        self.mailbox.answers.pop(identity, None)
        note = self._open[identity]
        self._tell(ChildAsk(self._run, *identity, note.rows, aside=effect.letter.sid, reason=effect.reason))
        return WaitNote()

    def drop(self, call: Call) -> None:
        """It was given up: what the root has handed over for it goes back."""
        super().drop(call)
        self._give_up(identity_of(call))

    def _give_up(self, identity: Identity) -> None:
        if self._asked.pop(identity, None) is not None:
            self.mailbox.answers.pop(identity, None)
            self._tell(ChildAsk(self._run, *identity, []))

    def _tell(self, ask: ChildAsk) -> None:
        """Also on the function's thread: it is sent, in its turn, as soon as the loop goes on."""
        self._left.append(ask)

    async def park(self, call: Call, wait: Wait) -> View:
        """Wait until it may be decided."""
        if not is_asked(wait.wanted):
            return await super().park(call, wait)
        identity = identity_of(call)
        rows = self._open[identity].rows
        self._live.add(identity)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_all())
        if self._asked.get(identity) != rows:
            self._asked[identity] = rows
            self.mailbox.answers.pop(identity, None)
            self._tell(ChildAsk(self._run, *identity, rows))
        await workflow.wait_condition(lambda: identity in self.mailbox.answers)
        return self.look(call, wait, workflow.time())

    async def _tell_all(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._left))
            await tell(self._root, ASK, encode(self._left[0]))
            del self._left[0]

    async def leave(self) -> None:
        """The run ends: what was handed over and not taken goes back."""
        for identity in list(self._asked):
            self._give_up(identity)
        if self._telling is not None:
            await workflow.wait_condition(lambda: not self._left)


class ChildAsks:
    """What the child runs of a root have asked it.

    Args:
        waits: those of the root.
    """

    def __init__(self, own: OpenWaits) -> None:
        self._waits = own
        self._mailbox = own.mailbox
        self._begun = False
        self._sending: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """The letters of earlier executions are there: answer."""
        self._begun = True
        self.received()

    def received(self) -> None:
        """A child run has asked something, or has taken it."""
        while self._begun and self._mailbox.asks:
            ask = self._mailbox.asks.pop(0)
            if self._mailbox.child_asked(ask):
                self._begin(ask)
            else:
                self._end(ask)
            self._waits.stir()

    def _begin(self, ask: ChildAsk) -> None:
        identity = identity_in_root(ask)
        self._end(ask)
        self._waits.adopt(identity, ask.rows)
        wanted = tuple(Wanted(row.event, row.topic, row.run, at=row.due) for row in ask.rows)
        self._waits.begin(Spot(identity, wanted, lambda view: self._decided(ask, wanted, view)))

    def _end(self, ask: ChildAsk) -> None:
        identity = identity_in_root(ask)
        self._waits.forget(identity)
        self._waits.end(identity)

    def _decided(self, ask: ChildAsk, wanted: Sequence[Wanted], view: View) -> None:
        end = verdict(wanted, view)
        answer = ChildAnswer(ask.run, ask.name, ask.key, ask.n, view.now)
        if isinstance(end, Won):
            found = view.found[end.position]
            answer = msgspec.structs.replace(answer, position=end.position)
            if isinstance(found, waits.Letter):
                self._mailbox.hand_over(answer.owner, found.sid)
                answer = msgspec.structs.replace(answer, letter=(found.sid, found.stamp, found.value))
            elif found is not None:
                answer = msgspec.structs.replace(answer, end=(found.status, found.stamp, found.output))
        self._waits.forget(identity_in_root(ask))
        task = asyncio.create_task(tell(ask.run, ANSWER, encode(answer)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


def is_asked(wanted: Sequence[Wanted]) -> bool:
    """Does the root judge such a wait of a child?"""
    return any(one.event is not None for one in wanted)


def identity_in_root(ask: ChildAsk) -> Identity:
    """What the wait of a child goes by among those of its root."""
    return (f"{ask.run}\0{ask.name}", ask.key, ask.n)
